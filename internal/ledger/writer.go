package ledger

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
)

// longestUID is far above what any source calls a pod; bbolt itself takes keys of up to 32 KiB.
const longestUID = 1024

// errEnded is what Save and Forget return once the writer has ended.
var errEnded = errors.New("the ledger's writer has ended")

// request is one change somebody waits for.
type request struct {
	uid types.UID
	// value is the record; nil removes it.
	value []byte
	// texts are changes of a bucket of texts instead, by key; nil removes one.
	bucket []byte
	texts  map[string][]byte
	// done gets the answer; it has room for it, so that the writer never waits.
	done chan error
}

// Save returns when the record is safe on disk, or with an error: a full disk, the end of ctx or of Run. After an
// error the record on disk is the old one or, seldom, the new one; saving again is always right. It waits for Run.
func (l *Ledger) Save(ctx context.Context, uid types.UID, r plan.Record) error {
	value, err := encode(uid, r)
	if err != nil {
		return fmt.Errorf("ledger: record of pod %s: %w", uid, err)
	}
	return l.askOfPod(ctx, &request{uid: uid, value: value, done: make(chan error, 1)})
}

// Forget removes the record of a pod; that there is none is no error. Otherwise it is as Save.
func (l *Ledger) Forget(ctx context.Context, uid types.UID) error {
	return l.askOfPod(ctx, &request{uid: uid, done: make(chan error, 1)})
}

func (l *Ledger) askOfPod(ctx context.Context, r *request) error {
	if r.uid == "" || len(r.uid) > longestUID {
		return fmt.Errorf("ledger: a pod's UID has 1 to %d bytes, this one has %d", longestUID, len(r.uid))
	}
	return l.ask(ctx, r)
}

func (l *Ledger) ask(ctx context.Context, r *request) error {
	select {
	case l.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ended:
		return errEnded
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run writes what is asked for until the context ends; then Save and Forget fail. It must be called once.
func (l *Ledger) Run(ctx context.Context) error {
	defer close(l.ended)
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-l.requests:
			batch := l.collect(first)
			err := l.commit(batch)
			for _, r := range batch {
				r.done <- err
			}
		}
	}
}

// collect takes whatever waits besides. Requests that come while a commit is on its way wait for the next: so the
// more there is to do, the more shares one sync, and a lone request waits for nobody.
func (l *Ledger) collect(first *request) []*request {
	batch := []*request{first}
	for {
		select {
		case r := <-l.requests:
			batch = append(batch, r)
		default:
			return batch
		}
	}
}

func (l *Ledger) commit(batch []*request) error {
	return l.update(func(tx *bbolt.Tx) error {
		pods := tx.Bucket(podsBucket)
		for _, r := range batch {
			if err := changeTexts(tx, r.bucket, r.texts); err != nil {
				return err
			}
			if r.uid == "" {
				continue
			}
			if err := change(pods, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// update changes the file in one durable step. Once bbolt has given up over what is in the file, only another start
// of the agent helps: it sets the file aside.
func (l *Ledger) update(change func(*bbolt.Tx) error) error {
	if l.broken != nil {
		return l.broken
	}
	err := guard(func() error { return l.db.Update(change) })
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write ledger %s: %w", l.path, err)
	var damage *damageError
	if errors.As(err, &damage) {
		l.broken = fmt.Errorf("%w; restart Bosun to set the file aside", err)
		return l.broken
	}
	return err
}

func change(pods *bbolt.Bucket, r *request) error {
	if r.value == nil {
		return pods.Delete([]byte(r.uid))
	}
	return pods.Put([]byte(r.uid), r.value)
}
