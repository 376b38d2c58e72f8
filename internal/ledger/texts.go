package ledger

import (
	"context"
	"fmt"

	"go.etcd.io/bbolt"
)

// longestKey is above what any text is called: images have names of at most 255 bytes, and a tag or a digest.
const longestKey = 4096

// loadTexts returns the texts of a bucket as they were saved, and the keys of those that cannot be read any more.
func (l *Ledger) loadTexts(name []byte) (texts map[string][]byte, damaged []string, err error) {
	texts = map[string][]byte{}
	err = guard(func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket(name)
			if bucket == nil {
				return nil
			}
			return bucket.ForEach(func(key, value []byte) error {
				text, err := unseal(string(key), value)
				if err != nil {
					damaged = append(damaged, string(key))
					return nil
				}
				texts[string(key)] = append([]byte{}, text...)
				return nil
			})
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read ledger %s: %w", l.path, err)
	}
	return texts, damaged, nil
}

// saveTexts returns when all changes of a bucket of texts are safe on disk; nil removes one. what names a text for people.
func (l *Ledger) saveTexts(ctx context.Context, bucket []byte, what string, changes map[string][]byte) error {
	sealed := make(map[string][]byte, len(changes))
	for key, text := range changes {
		if key == "" || len(key) > longestKey {
			return fmt.Errorf("ledger: the key of a %s has 1 to %d bytes, this one has %d", what, longestKey, len(key))
		}
		sealed[key] = nil
		if text != nil {
			sealed[key] = seal(key, text)
		}
	}
	if len(sealed) == 0 {
		return nil
	}
	return l.ask(ctx, &request{bucket: bucket, texts: sealed, done: make(chan error, 1)})
}

func changeTexts(tx *bbolt.Tx, name []byte, changes map[string][]byte) error {
	if len(changes) == 0 {
		return nil
	}
	bucket, err := tx.CreateBucketIfNotExists(name)
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
