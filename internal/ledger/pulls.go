package ledger

import (
	"context"
	"fmt"

	"go.etcd.io/bbolt"
)

// longestKey is above what any record of a pull is called: images have names of at most 255 bytes, and a tag or a digest.
const longestKey = 4096

// LoadPulls returns the records of pulls as they were saved, and the keys of those that cannot be read any more. Nothing is
// removed: whoever keeps the records writes them anew. It is called once, before Run.
func (l *Ledger) LoadPulls() (pulls map[string][]byte, damaged []string, err error) {
	pulls = map[string][]byte{}
	err = guard(func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(pullsBucket)
			if bucket == nil {
				return nil
			}
			return bucket.ForEach(func(key, value []byte) error {
				text, err := unseal(string(key), value)
				if err != nil {
					damaged = append(damaged, string(key))
					return nil
				}
				pulls[string(key)] = append([]byte{}, text...)
				return nil
			})
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read ledger %s: %w", l.path, err)
	}
	return pulls, damaged, nil
}

// SavePulls returns when all changes of the records of pulls are safe on disk; nil removes a record. Otherwise it is as Save.
func (l *Ledger) SavePulls(ctx context.Context, changes map[string][]byte) error {
	sealed := make(map[string][]byte, len(changes))
	for key, text := range changes {
		if key == "" || len(key) > longestKey {
			return fmt.Errorf("ledger: the key of a pull has 1 to %d bytes, this one has %d", longestKey, len(key))
		}
		sealed[key] = nil
		if text != nil {
			sealed[key] = seal(key, text)
		}
	}
	if len(sealed) == 0 {
		return nil
	}
	return l.ask(ctx, &request{pulls: sealed, done: make(chan error, 1)})
}

func changePulls(tx *bbolt.Tx, changes map[string][]byte) error {
	if len(changes) == 0 {
		return nil
	}
	bucket, err := tx.CreateBucketIfNotExists(pullsBucket)
	if err != nil {
		return err
	}
	for key, value := range changes {
		if value == nil {
			err = bucket.Delete([]byte(key))
		} else {
			err = bucket.Put([]byte(key), value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
