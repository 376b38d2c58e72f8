package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/types"
)

// TestSoundFilesAreSound holds that no file that bbolt has written is taken for damaged: small and large records, long
// keys, deep trees, long lists of free pages.
func TestSoundFilesAreSound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	l := open(t, path, small)
	dice := rand.New(rand.NewPCG(3, 4))
	check := func(when string) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkFile(data); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	check("fresh")
	for round := range 60 {
		var batch []*request
		for range 1 + dice.IntN(40) {
			r := &request{uid: types.UID(fmt.Sprint(dice.IntN(800)) + strings.Repeat("x", dice.IntN(2*round+1)*8))}
			if dice.IntN(3) > 0 {
				r.value = make([]byte, dice.IntN([]int{10, 2000, 30000}[dice.IntN(3)])+1)
			}
			batch = append(batch, r)
		}
		if err := l.commit(batch); err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprint("round ", round))
	}
	err := l.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(podsBucket).ForEach(func(k, _ []byte) error { return tx.Bucket(podsBucket).Delete(k) })
	})
	if err != nil {
		t.Fatal(err)
	}
	check("emptied")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if next := open(t, path, Options{}); next.SetAside() != nil {
		t.Error(next.SetAside())
	}
	check("with its reserve")
}

// TestUnsoundFiles holds what is said of files that bbolt must not see.
func TestUnsoundFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	save(t, path, many(60))
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := readMeta(sound)
	if err != nil {
		t.Fatal(err)
	}
	kind := func(flags uint16) int { // a page of that kind that is in use
		f.used = map[uint64]bool{}
		if err := f.tree(f.root, nil, nil, true); err != nil {
			t.Fatal(err)
		}
		for id := range f.pages {
			at := id * f.pageSize
			if f.used[id] && order.Uint16(sound[at+8:]) == flags && order.Uint16(sound[at+10:]) > 1 {
				return int(at)
			}
		}
		t.Fatalf("no page of kind %d", flags)
		return 0
	}
	branch, leaf, list := kind(branchFlag), kind(leafFlag), int(f.freelist*f.pageSize)
	cases := map[string]struct {
		at   int
		to   []byte
		want string
	}{
		"another id":                      {leaf, []byte{99, 0, 0, 0, 0, 0, 0, 0}, "says that it is page 99"},
		"another kind":                    {leaf + 8, []byte{0x10, 0}, "no part of a tree"},
		"an empty leaf":                   {leaf + 10, []byte{0, 0}, "no part of a tree"},
		"an empty branch":                 {branch + 10, []byte{0, 0}, "empty branch"},
		"fewer entries":                   {leaf + 10, []byte{1, 0}, "out of place"},
		"more entries than room":          {leaf + 10, []byte{0xff, 0xff}, "more entries than room"},
		"a page that continues too far":   {leaf + 12, []byte{0xff, 0xff, 0xff, 0x7f}, "has no end"},
		"a page that takes another":       {leaf + 12, []byte{1, 0, 0, 0}, "twice"},
		"a circle":                        {branch + headSize + 8, le(uint64(branch) / f.pageSize), "used twice"},
		"a page that is not there":        {branch + headSize + 8, le(1 << 40), "no page"},
		"a page of the metas":             {branch + headSize + 8, le(1), "no page 1"},
		"a place far away":                {leaf + headSize + 4, []byte{0xff, 0xff, 0xff, 0xff}, "out of place"},
		"a key without length":            {leaf + headSize + 8, []byte{0, 0, 0, 0}, "out of place"},
		"a value that is too long":        {leaf + headSize + 12, []byte{0xff, 0xff, 0xff, 0xff}, "out of place"},
		"an entry of a kind nobody knows": {leaf + headSize, []byte{8, 0, 0, 0}, "is of kind 8"},
		"a list that is none":             {list + 8, []byte{2, 0}, "no list"},
		"a list without end":              {list + 10, []byte{0xfe, 0xff}, "no end"},
		"a list with a huge number":       {list + 10, []byte{0xff, 0xff}, ""},
		"a list that forgets":             {list + 10, []byte{0, 0}, "neither used nor free"},
		"a free page that is in use":      {list + headSize, le(uint64(leaf) / f.pageSize), "used twice"},
		"a free page that is not there":   {list + headSize, le(1 << 50), "should be free"},
	}
	for name, c := range cases {
		data := append([]byte(nil), sound...)
		copy(data[c.at:], c.to)
		if err := checkFile(data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := checkFile(sound); err != nil {
		t.Errorf("untouched: %v", err)
	}
	newer := append([]byte(nil), sound...)
	for _, at := range []int{0, int(f.pageSize)} {
		newer[at+headSize+4]++
	}
	if err := checkFile(newer); !errors.Is(err, errNewer) {
		t.Errorf("a newer bbolt: %v", err)
	}
	if err := os.WriteFile(path, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	var refused *NewerError
	if _, err := Open(path, small); !errors.As(err, &refused) || !strings.Contains(err.Error(), path) {
		t.Errorf("opened: %v", err)
	}
}

func le(n uint64) []byte {
	b := make([]byte, 8)
	order.PutUint64(b, n)
	return b
}

// FuzzCheckFile holds that no content whatever makes the check fall over or run on.
func FuzzCheckFile(f *testing.F) {
	sample, err := os.ReadFile("testdata/ledger-v1.db")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample, uint32(0), uint64(0))
	f.Add(sample[:9000], uint32(4096), uint64(1<<60))
	f.Add([]byte("manifest"), uint32(3), uint64(7))
	f.Fuzz(func(t *testing.T, data []byte, at uint32, to uint64) {
		if len(data) > 1<<17 {
			return
		}
		data = append([]byte(nil), data...)
		if int(at)+8 <= len(data) {
			order.PutUint64(data[at:], to)
		}
		_ = checkFile(data)
	})
}
