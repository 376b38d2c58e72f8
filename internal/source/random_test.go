package source

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/pod"
)

var (
	seed      = flag.Uint64("seed", 0, "begin the random edits here, and do only one history")
	histories = flag.Int("histories", 60, "how many random histories of edits")
)

// TestRandomEdits edits a directory at random, in all the ways that editors and tools have. On the way no name may be
// there twice and the pod of a file that is always there may never be missing; in the end the snapshot must be what
// is in the directory.
func TestRandomEdits(t *testing.T) {
	from, n := uint64(1), *histories
	if *seed != 0 {
		from, n = *seed, 1
	}
	for s := from; s < from+uint64(n); s++ {
		if t.Run(fmt.Sprint(s), func(t *testing.T) { randomHistory(t, s) }); t.Failed() {
			t.Fatalf("again with: go test ./internal/source -run TestRandomEdits -seed %d", s)
		}
	}
}

// chaos is one history.
type chaos struct {
	*desk
	r       *rand.Rand
	version int
	// open holds the writers that have not closed yet.
	open map[string]*os.File
	// lasting is the file that is edited, but never away for long.
	lasting string
	trace   []string
}

func randomHistory(t *testing.T, seed uint64) {
	c := &chaos{desk: newDesk(t, filepath.Join(t.TempDir(), "manifests")), r: rand.New(rand.NewPCG(seed, 1)), open: map[string]*os.File{},
		lasting: "lasting.yaml"}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(strings.Join(c.trace, "\n"))
		}
	})
	ok(t, os.Mkdir(c.dir, 0o755))
	c.turn()
	c.write(c.lasting, podText("lasting", "i:0"))
	c.turn()
	c.check = c.invariants
	for range 150 {
		c.edit()
		switch c.r.IntN(4) {
		case 0:
			c.step()
		case 1:
			c.after(time.Duration(c.r.IntN(20)) * time.Millisecond)
		case 2:
			c.after(time.Duration(c.r.IntN(3)) * Settle)
		}
	}
	c.finish()
}

func (c *chaos) say(format string, args ...any) {
	c.trace = append(c.trace, fmt.Sprintf("%s %s: %s", c.now.Format("05.000"), images(c.f.Cell().Value()), fmt.Sprintf(format, args...)))
}

func (c *chaos) invariants(s Snapshot) {
	names := map[pod.FullName]bool{}
	for uid, d := range s.Pods {
		if full := pod.FullNameOf(d.Pod); names[full] {
			c.t.Fatalf("two pods of the name %s", full)
		} else {
			names[full] = true
		}
		if uid != d.Pod.UID {
			c.t.Fatalf("pod %s under the UID %s", d.Pod.UID, uid)
		}
		if img := d.Pod.Spec.Containers[0].Image; strings.HasPrefix(img, "half") && len(d.Pod.Spec.Containers) < 2 {
			c.t.Fatalf("half of a manifest was read: %s", img)
		}
	}
	if !names["lasting-n1_default"] {
		c.t.Fatal("the pod of the lasting file is not wanted for a while")
	}
}

func (c *chaos) text() string {
	c.version++
	return podText(fmt.Sprintf("p%d", c.r.IntN(6)), fmt.Sprintf("i:%d", c.version))
}

func (c *chaos) name() string { return fmt.Sprintf("%c.yaml", 'a'+rune(c.r.IntN(8))) }

func (c *chaos) edit() {
	name, to := c.name(), c.name()
	op := c.r.IntN(15)
	if op < 8 || op == 10 || op == 11 { // what two writers do to one file is nobody's to mend
		c.abandon(name)
		c.abandon(to)
	}
	switch op {
	case 0, 1:
		c.say("write %s", name)
		c.write(name, c.text())
	case 2, 3:
		c.say("replace %s", name)
		c.replace(name, c.text())
	case 4:
		c.say("remove %s", name)
		_ = os.Remove(c.path(name))
	case 5:
		c.say("rename %s %s", name, to)
		_ = os.Rename(c.path(name), c.path(to))
	case 6:
		c.say("bad %s", name)
		c.write(name, "kind: Nothing\n")
	case 7:
		c.say("empty %s", name)
		c.write(name, "")
	case 8, 9:
		c.writer(name)
	case 10:
		c.say("backup of %s", name)
		_ = os.Link(c.path(name), c.path(name+"~"))
	case 11:
		c.say("copy by link %s %s", name, to)
		_ = os.Link(c.path(name), c.path(to))
	case 12:
		if c.r.IntN(2) == 0 {
			c.say("overflow")
			c.f.drain()
			c.f.overflow = true
		}
	case 13:
		c.wholeDirectory()
	case 14:
		c.editLasting()
	}
}

// abandon removes a file that a writer has open, and ends the writer.
func (c *chaos) abandon(name string) {
	if file := c.open[name]; file != nil {
		c.say("abandon %s", name)
		_ = os.Remove(c.path(name))
		ok(c.t, file.Close())
		delete(c.open, name)
	}
}

// writer opens a file, or writes the rest of one that is open and closes it.
func (c *chaos) writer(name string) {
	if file := c.open[name]; file != nil {
		c.say("rest of %s", name)
		_, err := file.WriteString("  - name: rest\n    image: rest:1\n")
		ok(c.t, err)
		ok(c.t, file.Close())
		delete(c.open, name)
		return
	}
	if st, _, err := look(c.path(name)); err == nil && st.links > 1 {
		return // nobody is told that a file is being written under its other name
	}
	c.say("open %s and write half", name)
	file, err := os.OpenFile(c.path(name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	ok(c.t, err)
	if c.r.IntN(2) == 0 {
		c.step()
	}
	c.version++
	_, err = file.WriteString(podText(fmt.Sprintf("p%d", c.r.IntN(6)), fmt.Sprintf("half:%d", c.version)))
	ok(c.t, err)
	c.open[name] = file
}

// wholeDirectory moves the directory away and back, or puts a copy in its place.
func (c *chaos) wholeDirectory() {
	c.say("directory away")
	ok(c.t, os.Rename(c.dir, c.dir+".away"))
	if c.r.IntN(2) == 0 {
		c.step()
	}
	if c.r.IntN(2) == 0 || len(c.open) > 0 { // a copy of half a file is a whole file to everybody
		c.say("directory back")
		ok(c.t, os.Rename(c.dir+".away", c.dir))
		return
	}
	c.say("copy of the directory")
	ok(c.t, os.CopyFS(c.dir+".copy", os.DirFS(c.dir+".away")))
	ok(c.t, os.RemoveAll(c.dir+".away"))
	ok(c.t, os.Rename(c.dir+".copy", c.dir))
}

func (c *chaos) editLasting() {
	c.version++
	text := podText("lasting", fmt.Sprintf("i:%d", c.version))
	switch c.r.IntN(5) {
	case 0:
		c.say("lasting: write")
		c.write(c.lasting, text)
	case 1:
		c.say("lasting: replace")
		c.replace(c.lasting, text)
	case 2:
		c.say("lasting: as vim does")
		ok(c.t, os.Rename(c.path(c.lasting), c.path(c.lasting+"~")))
		c.step()
		file, err := os.OpenFile(c.path(c.lasting), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
		ok(c.t, err)
		c.after(time.Duration(c.r.IntN(3)) * Settle)
		_, err = file.WriteString(text)
		ok(c.t, err)
		ok(c.t, file.Close())
	case 3:
		c.say("lasting: bad")
		c.write(c.lasting, "kind: [")
	case 4:
		c.say("lasting: empty")
		c.write(c.lasting, "")
	}
}

// finish mends what is bad, waits, and compares.
func (c *chaos) finish() {
	for name := range c.open {
		c.writer(name)
	}
	entries, err := os.ReadDir(c.dir)
	ok(c.t, err)
	wanted := map[string][]string{} // images by name of the pod
	for _, e := range entries {
		raw, err := os.ReadFile(c.path(e.Name()))
		ok(c.t, err)
		text := string(raw)
		if strings.HasSuffix(text, "rest:1\n") || strings.HasPrefix(text, "apiVersion") {
			if c.r.IntN(3) == 0 {
				c.write(e.Name(), text) // once more, without a change
			}
		} else {
			text = c.text()
			c.say("mend %s", e.Name())
			c.write(e.Name(), text)
		}
		if !skipped(e.Name()) {
			name, image := field(text, "  name: "), field(text, "    image: ")
			wanted[name] = append(wanted[name], image)
		}
	}
	c.check = nil
	c.say("end")
	s := c.after(2 * time.Minute)
	for _, d := range s.Pods {
		name, image := strings.TrimSuffix(d.Pod.Name, "-n1"), d.Pod.Spec.Containers[0].Image
		if !slices.Contains(wanted[name], image) {
			c.t.Errorf("pod %s with %s: the directory has %v", name, image, wanted[name])
		}
		if len(wanted[name]) > 1 && !slices.ContainsFunc(s.Problems, func(p Problem) bool {
			return strings.Contains(p.Messages[0], "default/"+d.Pod.Name)
		}) {
			c.t.Errorf("pod %s is given %d times: want a problem", name, len(wanted[name]))
		}
		delete(wanted, name)
	}
	if len(wanted) > 0 {
		c.t.Errorf("missing: %v; problems %+v", wanted, s.Problems)
	}
	for _, p := range s.Problems {
		if !strings.Contains(p.Messages[0], "rename or remove") {
			c.t.Errorf("problem %+v: all manifests are good", p)
		}
	}
}

func field(text, key string) string {
	_, after, _ := strings.Cut(text, "\n"+key)
	value, _, _ := strings.Cut(after, "\n")
	return value
}
