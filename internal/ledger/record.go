package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
)

// BadRecord is a record that could not be read. What is in it is kept in the bucket "damaged"; the ledger has
// forgotten the pod.
type BadRecord struct {
	UID types.UID
	Err error
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumLength is the length of a checksum in hexadecimal.
const checksumLength = 8

// encode writes a record as people can read it: the checksum of UID and text, a space, and JSON. bbolt itself checks
// nothing but its two first pages.
func encode(uid types.UID, r plan.Record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return seal(string(uid), text), nil
}

// seal writes a text with the checksum of key and text before it.
func seal(key string, text []byte) []byte { return append([]byte(checksum(key, text)+" "), text...) }

func checksum(key string, text []byte) string {
	sum := crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, text)
	return fmt.Sprintf("%0*x", checksumLength, sum)
}

func decode(uid types.UID, value []byte) (plan.Record, error) {
	text, err := unseal(string(uid), value)
	if err != nil {
		return plan.Record{}, err
	}
	var r plan.Record
	if err := json.Unmarshal(text, &r); err != nil {
		return plan.Record{}, err
	}
	return r, nil
}

func unseal(key string, value []byte) ([]byte, error) {
	if len(value) <= checksumLength || value[checksumLength] != ' ' {
		return nil, fmt.Errorf("it is no record: %s", excerpt(value))
	}
	text := value[checksumLength+1:]
	if want := checksum(key, text); string(value[:checksumLength]) != want {
		return nil, fmt.Errorf("its checksum is %s, want %s", excerpt(value[:checksumLength]), want)
	}
	return text, nil
}

// excerpt shows the beginning of what should have been a record.
func excerpt(b []byte) string {
	const most = 40
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "…"
	}
	return strconv.Quote(string(b))
}

// Load returns the records of all pods. One that cannot be read sets only its own pod aside: it is returned in bad,
// and moved to the bucket "damaged" for whoever wants to look. It is called once, before Run.
func (l *Ledger) Load() (pods map[types.UID]plan.Record, bad []BadRecord, err error) {
	pods = map[types.UID]plan.Record{}
	raw := map[types.UID][]byte{}
	err = guard(func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(podsBucket).ForEach(func(key, value []byte) error {
				uid := types.UID(key)
				r, err := decode(uid, value)
				if err != nil {
					bad = append(bad, BadRecord{UID: uid, Err: fmt.Errorf("ledger %s: the record of pod %s cannot be read: %w", l.path, uid, err)})
					raw[uid] = append([]byte(nil), value...)
					return nil
				}
				pods[uid] = r
				return nil
			})
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read ledger %s: %w", l.path, err)
	}
	if err := l.condemn(raw); err != nil { // they will be found again at the next start
		for i := range bad {
			bad[i].Err = errors.Join(bad[i].Err, err)
		}
	}
	return pods, bad, nil
}

// condemn moves records that cannot be read out of the way.
func (l *Ledger) condemn(raw map[types.UID][]byte) error {
	if len(raw) == 0 {
		return nil
	}
	err := l.update(func(tx *bbolt.Tx) error {
		damaged, err := tx.CreateBucketIfNotExists(damagedBucket)
		if err != nil {
			return err
		}
		for uid, value := range raw {
			if err := damaged.Put([]byte(uid), value); err != nil {
				return err
			}
			if err := tx.Bucket(podsBucket).Delete([]byte(uid)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("damaged records cannot be moved: %w", err)
	}
	return nil
}
