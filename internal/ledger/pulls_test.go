package ledger

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/types"
)

func TestPullsSurvive(t *testing.T) { // behaviour 344
	path := filepath.Join(t.TempDir(), "bosun.db")
	save(t, path, many(2)) // a ledger of a Bosun that kept no pulls
	l := open(t, path, small)
	if pulls, damaged, err := l.LoadPulls(); err != nil || len(pulls) != 0 || len(damaged) != 0 {
		t.Fatalf("a ledger without: %v, %v, %v", pulls, damaged, err)
	}
	stop := run(t, l)
	for _, changes := range []map[string][]byte{
		{"salt": []byte("s"), "pulling a": {}, "pulling b": {}},
		{"pulling a": nil, "pulled 1": []byte("x"), "never there": nil},
		{"pulled 1": []byte(`{"of":"a"}`)},
		{},
	} {
		if err := l.SavePulls(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"", strings.Repeat("k", longestKey+1)} {
		if err := l.SavePulls(t.Context(), map[string][]byte{key: {}}); err == nil {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
	}
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path, small)
	pulls, damaged, err := again.LoadPulls()
	want := map[string][]byte{"salt": []byte("s"), "pulling b": {}, "pulled 1": []byte(`{"of":"a"}`)}
	if err != nil || len(damaged) != 0 || !maps.EqualFunc(pulls, want, slices.Equal) {
		t.Errorf("got %q, %v, %v; want %q", pulls, damaged, err, want)
	}
	if pods, bad := load(t, again); len(pods) != 2 || len(bad) != 0 {
		t.Errorf("pods %v, bad %v", pods, bad)
	}
}

func TestDamagedPullIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	l := open(t, path, small)
	stop := run(t, l)
	if err := l.SavePulls(t.Context(), map[string][]byte{"good": []byte("g"), "bad": []byte("b"), "short": []byte("s")}); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(tx *bbolt.Tx) error {
		if err := tx.Bucket(pullsBucket).Put([]byte("bad"), seal("good", []byte("b"))); err != nil {
			return err
		}
		return tx.Bucket(pullsBucket).Put([]byte("short"), []byte("s"))
	})
	pulls, damaged, err := open(t, path, small).LoadPulls()
	slices.Sort(damaged)
	if err != nil || len(pulls) != 1 || !slices.Equal(damaged, []string{"bad", "short"}) {
		t.Errorf("pulls %q, damaged %q, %v", pulls, damaged, err)
	}
}

func TestPullsShareCommitsWithPods(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	synctest.Test(t, func(t *testing.T) {
		l := open(t, path, small)
		before := commits(t, l)
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				key := string(rune('a' + i))
				if err := l.SavePulls(t.Context(), map[string][]byte{"pulling " + key: {}}); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() {
				if err := l.Save(t.Context(), types.UID(rune('a'+i)), fullRecord(i)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all of them wait for Run
		stop := run(t, l)
		group.Wait()
		if got := commits(t, l) - before; got != 1 {
			t.Errorf("%d commits, want 1", got)
		}
		stop()
		_ = l.Close()
	})
}
