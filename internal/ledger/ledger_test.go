package ledger

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
)

var sample = flag.Bool("sample", false, "write the sample of the present format into testdata, unless it is there")

// fullRecord is a record with something in each of its fields; n makes it differ.
func fullRecord(n int) plan.Record {
	at := time.Date(2026, 1, 2, 3, 4, 5, n, time.UTC)
	return plan.Record{Namespace: "default", Name: "web", Kept: plan.Kept{
		Admitted: at,
		Stop:     &plan.Stop{Cause: plan.Deleted, Reason: "why", Message: "words", At: at, Grace: 30 * time.Second, Deadline: at.Add(30 * time.Second), Ran: true},
		Containers: map[string]plan.ContainerMemory{"app": {
			Backoff:   plan.Backoff{Delay: 20 * time.Second, Updated: at, For: "c1", Until: at.Add(20 * time.Second), Of: "abc/0"},
			PostStart: plan.Hook{ID: "c1", Began: at, Done: true, Failure: "exit 1"},
			PreStop:   plan.Hook{ID: "c1", Began: at},
			Kill:      plan.Kill{ID: "c1", Why: "definition changed", At: at, Grace: time.Second, Deadline: at.Add(time.Second), Restart: true},
		}},
		Failures: map[string]plan.Failure{"ensure image app": {
			Count: 3, Reason: "ErrImagePull", Message: "no such image", Class: plan.Soon, Since: at, At: at, Delay: time.Second, RetryAt: at.Add(time.Second),
		}},
	}}
}

// small keeps test files small.
var small = Options{Reserve: -1}

func open(t *testing.T, path string, o Options) *Ledger {
	t.Helper()
	l, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// run runs the writer until the returned function is called.
func run(t *testing.T, l *Ledger) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// save writes records by the way of the agent and closes the ledger.
func save(t *testing.T, path string, records map[types.UID]plan.Record) {
	t.Helper()
	l := open(t, path, small)
	stop := run(t, l)
	for _, uid := range slices.Sorted(maps.Keys(records)) {
		if err := l.Save(t.Context(), uid, records[uid]); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, l *Ledger) (map[types.UID]plan.Record, []BadRecord) {
	t.Helper()
	pods, bad, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	return pods, bad
}

func many(n int) map[types.UID]plan.Record {
	out := map[types.UID]plan.Record{}
	for i := range n {
		out[types.UID(fmt.Sprint("pod-", i))] = fullRecord(i)
	}
	return out
}

func TestRecordsSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	want := many(60)
	save(t, path, want)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	l := open(t, path, Options{})
	if err := l.SetAside(); err != nil {
		t.Error(err)
	}
	if got, bad := load(t, l); !reflect.DeepEqual(got, want) || bad != nil {
		t.Errorf("got %d records, bad %v", len(got), bad)
	}
	stop := run(t, l)
	if err := l.Forget(t.Context(), "pod-7"); err != nil {
		t.Fatal(err)
	}
	if err := l.Forget(t.Context(), "never-heard-of"); err != nil {
		t.Errorf("forgetting what is not there: %v", err)
	}
	if err := l.Save(t.Context(), "pod-8", fullRecord(800)); err != nil {
		t.Fatal(err)
	}
	stop()
	_ = l.Close()
	delete(want, "pod-7")
	want["pod-8"] = fullRecord(800)
	if got, _ := load(t, open(t, path, small)); !reflect.DeepEqual(got, want) {
		t.Errorf("after another life: got %d records, want %d", len(got), len(want))
	}
}

// TestSamples holds that the files of every format there ever was are still read.
func TestSamples(t *testing.T) {
	want := map[types.UID]plan.Record{
		"0f5c6d4e-0000-4000-8000-000000000001": fullRecord(1),
		"0f5c6d4e-0000-4000-8000-000000000002": {Namespace: "kube-system", Name: "dns", Kept: plan.Kept{Admitted: fullRecord(2).Kept.Admitted}},
	}
	present := fmt.Sprintf("testdata/ledger-v%d.db", Format)
	if _, err := os.Stat(present); errors.Is(err, os.ErrNotExist) && *sample {
		save(t, present, want)
	}
	for version := 1; version <= Format; version++ {
		raw, err := os.ReadFile(fmt.Sprintf("testdata/ledger-v%d.db", version))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "bosun.db")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, path, Options{})
		got, bad := load(t, l)
		if l.SetAside() != nil || bad != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: got %+v, bad %v, set aside %v", version, got, bad, l.SetAside())
		}
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	save(t, path, many(2))
	edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(formatKey, []byte("2")) })
	before, _ := os.ReadFile(path)
	l, err := Open(path, Options{})
	var newer *NewerError
	if l != nil || !errors.As(err, &newer) || newer.Found != "2" || !strings.Contains(err.Error(), "newer Bosun") {
		t.Fatalf("got %v, %v", l, err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("a refused file was changed")
	}
}

func TestSomebodyElsesDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	edit(t, path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("v1")); return err })
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "no ledger of Bosun") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "open ledger") {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "no/such/dir/bosun.db"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: got %v", err)
	}
}

// edit changes the file behind the ledger's back.
func edit(t *testing.T, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	page := os.Getpagesize()
	cases := map[string]func([]byte) []byte{
		"garbage":          func(b []byte) []byte { return bytes.Repeat([]byte("manifest: "), 2000) },
		"one byte":         func(b []byte) []byte { return b[:1] },
		"cut":              func(b []byte) []byte { return b[:4*page] },
		"cut to its metas": func(b []byte) []byte { return b[:2*page] },
		"zeros":            func(b []byte) []byte { return make([]byte, len(b)) },
		"metas lost":       func(b []byte) []byte { clear(b[:2*page]); return b },
		"all but metas lost": func(b []byte) []byte {
			clear(b[2*page:])
			return b
		},
		"format is no number": nil,
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bosun.db")
			save(t, path, many(50))
			if damage == nil {
				edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(formatKey, []byte("one")) })
			} else {
				raw, _ := os.ReadFile(path)
				if err := os.WriteFile(path, damage(raw), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			spoilt, _ := os.ReadFile(path)
			l := open(t, path, small)
			var aside *SetAsideError
			if !errors.As(l.SetAside(), &aside) || !strings.HasPrefix(aside.MovedTo, path+".damaged-2") || aside.Err == nil {
				t.Fatalf("set aside: %v", l.SetAside())
			}
			if kept, _ := os.ReadFile(aside.MovedTo); !bytes.Equal(kept, spoilt) {
				t.Error("what was set aside is not what was there")
			}
			usable(t, path, l)
		})
	}
}

// usable holds that a ledger takes and keeps records.
func usable(t *testing.T, path string, l *Ledger) {
	t.Helper()
	stop := run(t, l)
	if err := l.Save(t.Context(), "after", fullRecord(9)); err != nil {
		t.Errorf("save: %v", err)
	}
	stop()
	_ = l.Close()
	again := open(t, path, small)
	if again.SetAside() != nil {
		t.Error(again.SetAside())
	}
	if got, _ := load(t, again); !reflect.DeepEqual(got["after"], fullRecord(9)) {
		t.Errorf("after: %+v", got["after"])
	}
	_ = again.Close()
}

// TestFlippedBits holds that whatever single byte is spoilt, no record that is returned is wrong, and the ledger works
// on. Only what the last commit wrote may be missing without a sign: when the first page of that commit is spoilt, bbolt
// falls back to the one before.
func TestFlippedBits(t *testing.T) {
	dir := t.TempDir()
	sound := filepath.Join(dir, "sound.db")
	want := many(25)
	save(t, sound, want)
	raw, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(1, 2))
	outcomes := map[string]int{}
	for n := range 100 {
		path := filepath.Join(dir, fmt.Sprint(n, ".db"))
		spoilt := bytes.Clone(raw)
		at := dice.IntN(len(spoilt))
		if n%2 == 0 { // among the heads of the pages, where it hurts most
			at = at/os.Getpagesize()*os.Getpagesize() + dice.IntN(48)
		}
		inMeta := at < 2*os.Getpagesize()
		spoilt[at] ^= byte(1 + dice.IntN(255))
		if err := os.WriteFile(path, spoilt, 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, path, small)
		got, bad := load(t, l)
		switch {
		case l.SetAside() != nil:
			outcomes["file set aside"]++
		case len(bad) > 0:
			outcomes["record set aside"]++
		default:
			outcomes["nothing lost"]++
		}
		for uid, r := range got {
			if !reflect.DeepEqual(r, want[uid]) {
				t.Fatalf("#%d: record %s is wrong and nobody noticed", n, uid)
			}
		}
		if lost := len(want) - len(got) - len(bad); l.SetAside() == nil && lost > 0 && (!inMeta || lost > 1) {
			t.Fatalf("#%d: %d records and %d bad ones, want %d together", n, len(got), len(bad), len(want))
		}
		usable(t, path, l)
	}
	if len(outcomes) != 3 {
		t.Errorf("the dice should have shown all outcomes: %v", outcomes)
	}
}

func TestBadRecordSetsOnePodAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	want := many(3)
	save(t, path, want)
	good, err := encode("elsewhere", fullRecord(1))
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("[1]")
	bad := map[string][]byte{
		"empty": {}, "short": []byte("1234567"), "no-space": []byte("12345678{}"), "flipped": append(bytes.Clone(good[:len(good)-2]), "x}"...),
		"of-another": good, "no-record": []byte(checksum("no-record", text) + " " + string(text)),
	}
	edit(t, path, func(tx *bbolt.Tx) error {
		for uid, value := range bad {
			if err := tx.Bucket(podsBucket).Put([]byte(uid), value); err != nil {
				return err
			}
		}
		return nil
	})
	l := open(t, path, small)
	got, told := load(t, l)
	if l.SetAside() != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %d records, set aside %v", len(got), l.SetAside())
	}
	if len(told) != len(bad) {
		t.Errorf("told of %v, want %d", told, len(bad))
	}
	for _, b := range told {
		if bad[string(b.UID)] == nil || b.Err == nil || !strings.Contains(b.Err.Error(), string(b.UID)) {
			t.Errorf("told %q: %v", b.UID, b.Err)
		}
	}
	if _, again := load(t, l); again != nil {
		t.Errorf("told twice: %v", again)
	}
	_ = l.db.View(func(tx *bbolt.Tx) error {
		for uid, value := range bad {
			if kept := tx.Bucket(damagedBucket).Get([]byte(uid)); !bytes.Equal(kept, value) {
				t.Errorf("%s: kept %q for inspection, want %q", uid, kept, value)
			}
		}
		return nil
	})
}

func TestLockedFileNamesItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	open(t, path, small)
	began := time.Now()
	_, err := Open(path, Options{})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("got %v, want the pid %d", err, os.Getpid())
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s, want about a second", took)
	}
}

func TestLockedBy(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF
2: FLOCK  ADVISORY  WRITE 22 fe:01:77 0 EOF
3: FLOCK  ADVISORY  WRITE 33 fe:00:77 0 EOF
3: -> FLOCK  ADVISORY  WRITE 44 fe:00:77 0 EOF
nonsense
4: FLOCK  ADVISORY  WRITE -1 fe:00:78 0 EOF
5: FLOCK  ADVISORY  WRITE many fe:00:79 0 EOF
`
	dev := uint64(0xfe00)
	for inode, want := range map[uint64]int{77: 33, 78: -1, 79: 0, 80: 0} {
		if got := lockedBy(strings.NewReader(locks), dev, inode); got != want {
			t.Errorf("inode %d: locked by %d, want %d", inode, got, want)
		}
	}
}
