package userns

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/translate"
)

// a node is a state directory and the Ranges over it.
type node struct {
	t   *testing.T
	cfg Config
	m   machine
	r   *Ranges
}

func newNode(t *testing.T, maxPods int) *node {
	n := &node{t: t, cfg: Config{RootDir: t.TempDir(), MaxPods: maxPods}, m: machine{etc: t.TempDir()}}
	n.restart()
	t.Cleanup(func() { n.r.Close() })
	return n
}

func (n *node) restart() {
	n.t.Helper()
	if n.r != nil {
		n.r.Close()
	}
	r, err := open(n.t.Context(), n.cfg, n.m)
	if err != nil {
		n.t.Fatal(err)
	}
	n.r = r
}

func aPod(uid string) *v1.Pod {
	no := false
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: uid, UID: types.UID(uid)}, Spec: v1.PodSpec{HostUsers: &no}}
}

func (n *node) file(uid string) string { return filepath.Join(n.cfg.RootDir, "pods", uid, "userns") }

// write puts text in the place of a pod's record.
func (n *node) write(uid, text string) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Dir(n.file(uid)), 0o750); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(n.file(uid), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) forget(uid string) {
	n.t.Helper()
	if err := os.RemoveAll(filepath.Dir(n.file(uid))); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) wantRange(uid string, first uint32) {
	n.t.Helper()
	got, err := n.r.Range(n.t.Context(), aPod(uid))
	if err != nil {
		n.t.Errorf("pod %s: %v", uid, err)
	} else if want := (translate.IDRange{First: first, Length: 65536}); *got != want {
		n.t.Errorf("pod %s has %+v, want %+v", uid, *got, want)
	}
	if got, ok := n.r.First(types.UID(uid)); !ok || got != first {
		n.t.Errorf("first id of pod %s is %d, %v, want %d", uid, got, ok, first)
	}
}

func (n *node) wantError(uid, text string) {
	n.t.Helper()
	if got, err := n.r.Range(n.t.Context(), aPod(uid)); err == nil || !strings.Contains(err.Error(), text) {
		n.t.Errorf("pod %s: got %v, %v, want an error with %q", uid, got, err, text)
	}
}

func TestPodsOfTheNodesNamespace(t *testing.T) {
	n := newNode(t, 1)
	yes := true
	for _, hostUsers := range []*bool{nil, &yes} {
		p := aPod("a")
		p.Spec.HostUsers = hostUsers
		if got, err := n.r.Range(t.Context(), p); got != nil || err != nil {
			t.Errorf("hostUsers %v: got %v, %v", hostUsers, got, err)
		}
	}
	if _, ok := n.r.First("a"); ok {
		t.Error("a first id without a range")
	}
	if _, err := os.Stat(n.file("a")); err == nil {
		t.Error("a record was written")
	}
	n.r.Release("a")
}

func TestRangeIsRecordedAndKept(t *testing.T) {
	n := newNode(t, 3)
	n.wantRange("a", 65536)
	n.wantRange("b", 131072)
	n.wantRange("a", 65536)
	data, err := os.ReadFile(n.file("b"))
	const want = `{"uidMappings":[{"hostId":131072,"containerId":0,"length":65536}],"gidMappings":[{"hostId":131072,"containerId":0,"length":65536}]}` + "\n"
	if err != nil || string(data) != want {
		t.Errorf("record is %s, %v", data, err)
	}
	if info, err := os.Stat(n.file("b")); err != nil || info.Mode() != 0o600 {
		t.Errorf("record has %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(n.file("b"))); err != nil || len(left) != 1 {
		t.Errorf("in the directory are %v, %v", left, err)
	}
	n.restart()
	n.wantRange("b", 131072)
	n.wantRange("c", 196608)
	n.wantRange("a", 65536)
	if d := n.r.Damaged(); len(d) > 0 {
		t.Errorf("damaged: %v", d)
	}
}

func TestNoRangeLeft(t *testing.T) {
	n := newNode(t, 2)
	n.wantRange("a", 65536)
	n.wantRange("b", 131072)
	n.wantError("c", "set aside user ids for pod ns/c: all 131072 ids from 65536 on are in use, by 2 pods")
	n.forget("a")
	n.r.Release("a")
	n.wantRange("c", 65536)
}

func TestReleasedIDsRestUntilTheDirectoryIsGone(t *testing.T) {
	n := newNode(t, 2)
	n.wantRange("a", 65536)
	n.wantRange("b", 131072)
	n.r.Release("a")
	n.wantError("c", "in use")
	n.wantRange("a", 65536) // the same pod once more: no longer released
	n.forget("a")
	n.wantError("c", "in use") // nobody released it since
	n.r.Release("a")
	n.wantRange("c", 65536)
	n.r.Release("never seen")
}

func TestPodThatReturnsIsRecordedAnew(t *testing.T) {
	n := newNode(t, 2)
	n.wantRange("a", 65536)
	n.r.Release("a")
	if err := os.Remove(n.file("a")); err != nil { // removal of the directory has begun
		t.Fatal(err)
	}
	n.wantRange("a", 65536)
	if _, err := os.Stat(n.file("a")); err != nil {
		t.Error(err)
	}
}

func TestFreshIDsComeBeforeReleasedOnes(t *testing.T) {
	n := newNode(t, 3)
	n.wantRange("a", 65536)
	n.forget("a")
	n.r.Release("a")
	n.wantRange("b", 131072)
	n.wantRange("c", 196608)
	n.wantRange("d", 65536)
}

func TestDamagedRecordIsOfItsPodOnly(t *testing.T) {
	const good = `{"uidMappings":[{"hostId":65536,"containerId":0,"length":65536}],"gidMappings":[{"hostId":65536,"containerId":0,"length":65536}]}`
	for title, c := range map[string]struct{ text, err string }{
		"empty":             {"", "the file is empty"},
		"cut off":           {good[:40], "unexpected EOF"},
		"no JSON":           {"\x00\x00\x00", "invalid character"},
		"more":              {good + good, "after the JSON object"},
		"no mapping":        {"{}", "not 0 and 0"},
		"null":              {"null", "not 0 and 0"},
		"two mappings":      {strings.Replace(good, "[{", `[{"hostId":1},{`, 1), "not 2 and 1"},
		"groups differ":     {strings.Replace(good, "65536", "131072", 1), "not the same"},
		"ids of the host":   {strings.ReplaceAll(good, `"hostId":65536`, `"hostId":0`), "belong to the host"},
		"beyond the end":    {strings.ReplaceAll(good, `"hostId":65536`, `"hostId":4294901760`), "beyond the last one"},
		"negative":          {strings.ReplaceAll(good, `"hostId":65536`, `"hostId":-1`), "cannot unmarshal"},
		"odd length":        {strings.ReplaceAll(good, `"length":65536`, `"length":7`), "length 7 is not a multiple"},
		"no length":         {strings.ReplaceAll(good, `,"length":65536`, ``), "length 0"},
		"other containerId": {strings.ReplaceAll(good, `"containerId":0`, `"containerId":5`), "containerId is 5"},
		"far too large":     {good + strings.Repeat(" ", maxRecord), "larger than the limit"},
	} {
		t.Run(title, func(t *testing.T) {
			n := newNode(t, 3)
			n.write("bad", c.text)
			n.write("fine", strings.ReplaceAll(good, `"hostId":65536`, `"hostId":131072`))
			n.restart()
			n.wantError("bad", c.err)
			n.wantError("bad", n.file("bad"))
			if d := n.r.Damaged(); len(d) != 1 || d[0].UID != "bad" || !strings.Contains(d[0].Err.Error(), c.err) {
				t.Errorf("damaged: %v", d)
			}
			if _, ok := n.r.First("bad"); ok {
				t.Error("a first id from a damaged record")
			}
			n.wantRange("fine", 131072)
			n.wantRange("new", 65536)

			if err := os.Remove(n.file("bad")); err != nil { // as the error says
				t.Fatal(err)
			}
			n.wantRange("bad", 196608)
			if d := n.r.Damaged(); len(d) > 0 {
				t.Errorf("still damaged: %v", d)
			}
		})
	}
}

func TestRecordThatIsALink(t *testing.T) {
	n := newNode(t, 2)
	n.wantRange("a", 65536)
	n.write("b", "")
	if err := os.Remove(n.file("b")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(n.file("a"), n.file("b")); err != nil {
		t.Fatal(err)
	}
	n.restart()
	n.wantError("b", "symbolic link")
	n.wantRange("a", 65536)
}

func TestRecordsThatShareIDs(t *testing.T) {
	n := newNode(t, 3)
	n.wantRange("a", 65536)
	data, err := os.ReadFile(n.file("a"))
	if err != nil {
		t.Fatal(err)
	}
	n.write("b", string(data))
	n.restart()
	n.wantRange("a", 65536)
	n.wantError("b", "pod a has ids of the same range")
	n.forget("a")
	n.r.Release("a")
	n.wantRange("b", 65536)
}

func TestStrayFilesAreNoPods(t *testing.T) {
	n := newNode(t, 1)
	n.write("a", "")
	for path, text := range map[string]string{"pods/stray": "x", "pods/a/other": "y"} {
		if err := os.WriteFile(filepath.Join(n.cfg.RootDir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(n.file("a")); err != nil {
		t.Fatal(err)
	}
	n.write(".trash", "")
	n.restart()
	if d := n.r.Damaged(); len(d) > 0 {
		t.Errorf("damaged: %v", d)
	}
	n.wantRange("b", 65536)
}

func TestIDsOfADamagedRecordAreGuessed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving a file away needs root")
	}
	n := newNode(t, 2)
	n.write("bad", "")
	hosts := filepath.Join(n.cfg.RootDir, "pods", "bad", "etc-hosts")
	if err := os.WriteFile(hosts, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(hosts, 65536, 65536); err != nil {
		t.Fatal(err)
	}
	n.restart()
	n.wantRange("new", 131072)
	n.wantError("newer", "in use")
	n.forget("bad")
	n.r.Release("bad")
	n.wantRange("newer", 65536)
}

func TestRecordsOfOtherSettings(t *testing.T) {
	n := newNode(t, 4)
	for _, uid := range []string{"a", "b", "c"} {
		if _, err := n.r.Range(t.Context(), aPod(uid)); err != nil {
			t.Fatal(err)
		}
	}
	n.cfg.IDsPerPod, n.cfg.MaxPods = 131072, 3 // ids from 131072 on
	n.restart()
	n.wantRange("b", 131072) // as recorded, in the first slot
	n.wantRange("c", 196608) // in the first slot as well
	wide := func(uid string, first uint32) {
		t.Helper()
		if got, err := n.r.Range(t.Context(), aPod(uid)); err != nil || *got != (translate.IDRange{First: first, Length: 131072}) {
			t.Errorf("pod %s has %v, %v, want ids from %d on", uid, got, err, first)
		}
	}
	wide("d", 262144)
	n.forget("b")
	n.r.Release("b")
	wide("e", 393216)
	n.wantError("f", "in use") // c is still in the first slot
	n.forget("c")
	n.r.Release("c")
	wide("f", 131072)
}

func TestDelegatedIDsAreUsed(t *testing.T) {
	n := newNode(t, 2)
	const line = "kubelet:655360:131072\n"
	n.m.etc = etc(t, map[string]string{"passwd": "kubelet:x:998:998::/:/bin/false\n", "subuid": line, "subgid": line})
	n.restart()
	n.wantRange("a", 655360)
	n.wantRange("b", 720896)
}

func TestStartUpErrors(t *testing.T) {
	passwd := "kubelet:x:998:998::/:/bin/false\n"
	for title, c := range map[string]struct {
		cfg   Config
		files map[string]string
		want  string
	}{
		"idsPerPod":      {Config{IDsPerPod: 65537}, nil, "userNamespaces.idsPerPod is 65537: want a multiple of 65536"},
		"too many ids":   {Config{IDsPerPod: 1 << 32}, nil, "below 4294967296"},
		"negative":       {Config{IDsPerPod: -65536}, nil, "want a multiple"},
		"maxPods":        {Config{MaxPods: -1}, nil, "maxPods is -1"},
		"no absolute":    {Config{RootDir: "x"}, nil, "must be an absolute path"},
		"bad delegation": {Config{MaxPods: 3}, map[string]string{"passwd": passwd, "subuid": "kubelet:65536:65536", "subgid": "kubelet:65536:65536"}, "not for the 3 of maxPods"},
		"bad file":       {Config{}, map[string]string{"passwd": passwd, "subuid": "kubelet:"}, "find out which ids are for pods"},
	} {
		t.Run(title, func(t *testing.T) {
			if c.cfg.RootDir == "" {
				c.cfg.RootDir = t.TempDir()
			}
			r, err := open(t.Context(), c.cfg, machine{etc: etc(t, c.files)})
			if err == nil {
				r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestRecordThatCannotBeWritten(t *testing.T) {
	n := newNode(t, 2)
	pods := filepath.Join(n.cfg.RootDir, "pods")
	if err := os.WriteFile(pods, nil, 0o600); err != nil { // where the directory should be
		t.Fatal(err)
	}
	n.wantError("a", "record the user ids of pod ns/a")
	if err := os.Remove(pods); err != nil {
		t.Fatal(err)
	}
	n.wantRange("a", 65536)
	n.wantRange("b", 131072)
}

func TestUIDThatIsNoName(t *testing.T) {
	n := newNode(t, 1)
	for _, uid := range []string{"", "..", "a/b"} {
		n.wantError(uid, "metadata.uid")
	}
}

// TestThisMachine reads what is really there; on a machine without a user kubelet that is the default.
func TestThisMachine(t *testing.T) {
	r, err := New(t.Context(), Config{RootDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.ids.First < Unit {
		t.Errorf("ids are %v", r.ids)
	}
}

// TestManyAtOnce has pods come and go from all sides, and restarts now and then; no id ever belongs to two of them.
func TestManyAtOnce(t *testing.T) {
	n := newNode(t, 8)
	for round := range 5 {
		var group sync.WaitGroup
		var owners sync.Map // pod by first id
		for w := range 8 {
			group.Go(func() { comeAndGo(t, n, &owners, fmt.Sprintf("r%d-w%d", round, w)) })
		}
		group.Wait()
		n.restart()
		taken := map[uint64]types.UID{}
		for uid, h := range n.r.held {
			if other, twice := taken[h.ids.First]; twice || h.damaged != nil {
				t.Errorf("pods %s and %s have the same ids, or: %v", uid, other, h.damaged)
			}
			taken[h.ids.First] = uid
		}
		for uid := range n.r.held {
			n.forget(string(uid))
			n.r.Release(uid)
		}
	}
}

func comeAndGo(t *testing.T, n *node, owners *sync.Map, name string) {
	for i := range 30 {
		uid := fmt.Sprintf("%s-%d", name, i)
		got, err := n.r.Range(t.Context(), aPod(uid))
		if err != nil {
			t.Error(err)
			return
		}
		if other, taken := owners.LoadOrStore(got.First, uid); taken {
			t.Errorf("pods %s and %s have the same ids", uid, other)
		}
		again, err := n.r.Range(t.Context(), aPod(uid))
		if err != nil || *again != *got {
			t.Errorf("pod %s: %v, then %v, %v", uid, got, again, err)
		}
		if i == 29 && rand.N(2) == 0 {
			return // stays over the restart
		}
		owners.Delete(got.First)
		if rand.N(2) == 0 { // released before its directory is gone, and once more after
			n.r.Release(types.UID(uid))
		}
		n.forget(uid)
		n.r.Release(types.UID(uid))
	}
}
