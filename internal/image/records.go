package image

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/credential"
)

// Book keeps what must survive a restart.
type Book interface {
	// SavePulls returns when all changes are on disk, or none is; nil removes a key.
	SavePulls(ctx context.Context, changes map[string][]byte) error
}

// The keys in the Book.
const (
	saltKey    = "salt"
	pulledKey  = "pulled "  // and the runtime's ID of the image: a record
	pullingKey = "pulling " // and the name that is being pulled
)

// Records remember which logins have brought which images onto the node. That an image is to be pulled is on disk before the
// runtime is asked: an image that came while the agent was killed is not taken for one that somebody has put there.
//
//	(nothing) ──► pulling ──► pulled: with the login's grant
//	                 │  └───► (nothing): the registry has refused
//	                 └──────► torn: it is not known how the pull ended. Before an image on the node is used next, it is asked
//	                          what came of it; what is there is nobody's until a pull shows otherwise.
//
// It is safe for concurrent use.
type Records struct {
	book  Book
	log   *slog.Logger
	salt  []byte
	turns turns

	mu sync.Mutex
	// salted tells that the salt is on disk.
	salted bool
	// pulled are the records by the runtime's ID of the image, pulling counts the pulls of a name that are under way.
	pulled  map[string]record
	pulling map[string]int
	torn    map[string]bool
}

// NewRecords takes up what was kept in an earlier life: what the Book has, and the keys of what in it cannot be read any more.
func NewRecords(book Book, kept map[string][]byte, damaged []string, log *slog.Logger) *Records {
	r := &Records{book: book, log: log, pulled: map[string]record{}, pulling: map[string]int{}, torn: map[string]bool{}}
	for key, value := range kept {
		r.recall(key, value)
	}
	for _, key := range damaged {
		r.recall(key, nil)
	}
	if r.salt == nil {
		r.salt = make([]byte, sha256.Size)
		_, _ = rand.Read(r.salt) // it never fails
	}
	return r
}

// recall takes up one thing. What cannot be read counts as known to be pulled, by nobody.
func (r *Records) recall(key string, value []byte) {
	if key == saltKey {
		if len(value) == sha256.Size {
			r.salt, r.salted = value, true
		}
		return
	}
	if name, ok := strings.CutPrefix(key, pullingKey); ok {
		r.torn[name] = true
		return
	}
	if ref, ok := strings.CutPrefix(key, pulledKey); ok {
		var known record
		if err := json.Unmarshal(value, &known); err != nil {
			known = record{Lost: true}
			r.log.Warn("it is not known any more who has pulled an image: pods that use it pull it again", "image", ref)
		}
		r.pulled[ref] = known
	}
}

// Counts are how many images are known to have been pulled, and how many pulls are under way or torn.
func (r *Records) Counts() (pulled, pulling int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pulled), len(r.pulling) + len(r.torn)
}

// begin notes that an image is about to be pulled.
func (r *Records) begin(ctx context.Context, name string) error {
	defer r.turns.take(pullingKey + name)()
	if !r.count(name, +1) {
		return nil
	}
	err := r.save(ctx, map[string][]byte{pullingKey + name: {}})
	if err != nil {
		r.count(name, -1)
	}
	return err
}

// count counts the pulls of a name; it tells whether this is the first, or was the last.
func (r *Records) count(name string, by int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulling[name] += by
	n := r.pulling[name]
	if n == 0 {
		delete(r.pulling, name)
	}
	return by > 0 && n == 1 || by < 0 && n == 0
}

// failed notes that a pull has brought nothing, or, if it is torn, that this is not known.
func (r *Records) failed(ctx context.Context, name string, torn bool) {
	defer r.turns.take(pullingKey + name)()
	if torn {
		r.mu.Lock()
		r.torn[name] = true
		r.mu.Unlock()
	}
	if r.count(name, -1) {
		r.saveOrWarn(ctx, r.settled(name))
	}
}

// settled is what to save when no pull of a name is under way.
func (r *Records) settled(name string) map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.torn[name] {
		return nil
	}
	return map[string][]byte{pullingKey + name: nil}
}

// arrived notes that a pull has brought an image, and whose login did it.
func (r *Records) arrived(ctx context.Context, name, ref string, by credential.Found) {
	defer r.turns.take(pullingKey + name)()
	defer r.turns.take(pulledKey + ref)()
	changes := map[string][]byte{}
	maps.Copy(changes, r.add(ref, repositoryOf(name), grantOf(by, r.salt)))
	if r.count(name, -1) {
		maps.Copy(changes, r.settled(name))
	}
	r.saveOrWarn(ctx, changes)
}

// share notes that a login has brought an image, of somebody who waited for the same pull.
func (r *Records) share(ctx context.Context, ref, repository string, by credential.Found) {
	defer r.turns.take(pulledKey + ref)()
	r.saveOrWarn(ctx, r.add(ref, repository, grantOf(by, r.salt)))
}

// add adds to a record; it returns what is to be saved. It needs the record's turn.
func (r *Records) add(ref, repository string, g grant) map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.pulled[ref]
	before, known := was.Grants[repository]
	with, changed := before.with(g)
	if known && !changed {
		return nil
	}
	now := record{Updated: time.Now(), Grants: map[string]grant{}, Lost: was.Lost}
	maps.Copy(now.Grants, was.Grants)
	now.Grants[repository] = with
	r.pulled[ref] = now
	text, err := json.Marshal(now)
	if err != nil { // a clock beyond the year 9999; what cannot be read counts as nobody's
		text = []byte{}
	}
	return map[string][]byte{pulledKey + ref: text}
}

// known is what is known of an image on the node: whether this node has pulled it, and who may use it. Named is as in record.of.
func (r *Records) known(name, ref string, named bool) (grant, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec, pulled := r.pulled[ref]; pulled {
		if g, pulled := rec.of(repositoryOf(name), named); pulled {
			return g, true
		}
	}
	return grant{}, r.perhaps(name, named)
}

// perhaps tells whether a pull that has not told its end yet may have brought an image. It needs mu.
func (r *Records) perhaps(name string, named bool) bool {
	switch {
	case !named:
		return len(r.pulling)+len(r.torn) > 0
	case r.pulling[name] > 0 || r.torn[name]:
		return true
	case !strings.Contains(name, "@"): // another tag is another image
		return false
	}
	repository := repositoryOf(name)
	for _, names := range []iter.Seq[string]{maps.Keys(r.pulling), maps.Keys(r.torn)} {
		for other := range names {
			if repositoryOf(other) == repository {
				return true
			}
		}
	}
	return false
}

// claimOf is what a pod has to show, in the words of records.
func (r *Records) claimOf(logins []credential.Found, account credential.Owner) claim {
	c := claim{account: ownerOf(account)}
	for _, f := range logins {
		c.secrets = append(c.secrets, secretsOf(f, r.salt)...)
	}
	return c
}

// proven remembers secrets that were known by half only: the next time the other half may be what is left.
func (r *Records) proven(ctx context.Context, ref, repository string, g grant, c claim) {
	var half grant
	for _, s := range c.secrets {
		if g.knows(s) && !slices.Contains(g.Secrets, s) {
			half.Secrets = append(half.Secrets, s)
		}
	}
	if len(half.Secrets) == 0 || len(g.Secrets)+len(half.Secrets) > mostSecrets {
		return
	}
	defer r.turns.take(pulledKey + ref)()
	r.saveOrWarn(ctx, r.add(ref, repository, half))
}

// settle finds out what came of torn pulls. Look returns the runtime's ID of an image, empty if it is not there.
func (r *Records) settle(ctx context.Context, look func(ctx context.Context, name string) (string, error)) error {
	r.mu.Lock()
	names := slices.Collect(maps.Keys(r.torn))
	r.mu.Unlock()
	for _, name := range names {
		if err := r.settleOne(ctx, name, look); err != nil {
			return err
		}
	}
	return nil
}

func (r *Records) settleOne(ctx context.Context, name string, look func(ctx context.Context, name string) (string, error)) error {
	defer r.turns.take(pullingKey + name)()
	r.mu.Lock()
	still, busy := r.torn[name], r.pulling[name] > 0
	r.mu.Unlock()
	if !still || busy { // a pull that is under way will tell
		return nil
	}
	ref, err := look(ctx, name)
	if err != nil {
		return err
	}
	changes := map[string][]byte{}
	if ref != "" {
		defer r.turns.take(pulledKey + ref)()
		maps.Copy(changes, r.add(ref, repositoryOf(name), grant{}))
	}
	r.mu.Lock()
	delete(r.torn, name)
	r.mu.Unlock()
	maps.Copy(changes, r.settled(name))
	r.saveOrWarn(ctx, changes)
	return nil
}

// Prune forgets images that are gone. Present are the runtime's IDs of all images there were, listed after the given
// moment: what was pulled later stays known.
func (r *Records) Prune(ctx context.Context, present []string, listed time.Time) error {
	there := make(map[string]bool, len(present))
	for _, ref := range present {
		there[ref] = true
	}
	changes := map[string][]byte{}
	for _, ref := range r.refs() {
		if there[ref] {
			continue
		}
		defer r.turns.take(pulledKey + ref)()
		r.mu.Lock()
		if rec, ok := r.pulled[ref]; ok && rec.Updated.Before(listed) {
			changes[pulledKey+ref] = nil
			delete(r.pulled, ref)
		}
		r.mu.Unlock()
	}
	return r.save(ctx, changes)
}

func (r *Records) refs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.pulled))
}

// save makes changes durable, the salt with the first of them.
func (r *Records) save(ctx context.Context, changes map[string][]byte) error {
	if len(changes) == 0 {
		return nil
	}
	r.mu.Lock()
	if !r.salted {
		changes[saltKey] = r.salt
	}
	r.mu.Unlock()
	if err := r.book.SavePulls(ctx, changes); err != nil {
		return err
	}
	r.mu.Lock()
	r.salted = true
	r.mu.Unlock()
	return nil
}

// saveOrWarn is save where there is no harm in failing: what is not on disk is asked of the registry again.
func (r *Records) saveOrWarn(ctx context.Context, changes map[string][]byte) {
	if err := r.save(context.WithoutCancel(ctx), changes); err != nil {
		r.log.Warn("who has pulled an image is not remembered over a restart", "err", err)
	}
}

// turns let those who change the same thing go one after the other, to the disk and back: what is saved last is newest.
type turns struct {
	mu    sync.Mutex
	queue map[string]*turn
}

type turn struct {
	sync.Mutex
	wanted int
}

// take waits for a thing; the function it returns gives it back.
func (t *turns) take(key string) func() {
	t.mu.Lock()
	if t.queue == nil {
		t.queue = map[string]*turn{}
	}
	mine := t.queue[key]
	if mine == nil {
		mine = &turn{}
		t.queue[key] = mine
	}
	mine.wanted++
	t.mu.Unlock()
	mine.Lock()
	return func() {
		mine.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.wanted--; mine.wanted == 0 {
			delete(t.queue, key)
		}
	}
}
