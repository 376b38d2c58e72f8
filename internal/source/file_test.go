package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

func TestEmptyDirectoryIsReady(t *testing.T) {
	d := newDesk(t, t.TempDir())
	s := d.f.Cell().Value()
	if !s.Ready {
		t.Error("not ready: want ready as soon as the directory was listed")
	}
	want(t, s, "")
}

func TestFileIsReadWhenItIsClosed(t *testing.T) {
	d := newDesk(t, t.TempDir())
	file := d.open("a.yaml", os.O_CREATE|os.O_WRONLY)
	want(t, d.turn(), "")
	text := podText("web", "nginx:1")
	// The first part is a good manifest of a pod that nobody wants.
	_, err := file.WriteString(text)
	ok(t, err)
	want(t, d.turn(), "")
	_, err = file.WriteString("  - name: side\n    image: side:1\n")
	ok(t, err)
	want(t, d.after(10*Settle), "")
	ok(t, file.Close())
	s := d.turn()
	want(t, s, "web=nginx:1")
	if n := len(one(t, s).Pod.Spec.Containers); n != 2 {
		t.Errorf("%d containers: want 2", n)
	}
}

func TestFileThatStaysOpenIsReadWhenItRests(t *testing.T) {
	d := newDesk(t, t.TempDir())
	file := d.open("a.yaml", os.O_CREATE|os.O_WRONLY)
	defer file.Close()
	_, err := file.WriteString(podText("web", "nginx:1"))
	ok(t, err)
	want(t, d.after(19*time.Second), "")
	want(t, d.after(22*time.Second), "web=nginx:1")
	_, err = file.WriteString("# still writing\n")
	ok(t, err)
	want(t, d.after(50*time.Second), "web=nginx:1")
}

func TestFileBeingWrittenAtTheStartIsAwaited(t *testing.T) {
	for _, closes := range []bool{true, false} {
		d := newDesk(t, t.TempDir())
		d.write("b.yaml", podText("other", "o:1"))
		file := d.open("a.yaml", os.O_CREATE|os.O_WRONLY)
		_, err := file.WriteString(podText("web", "nginx:1"))
		ok(t, err)
		d.start(nil)
		s := d.f.Cell().Value()
		want(t, s, "other=o:1")
		if s.Ready {
			t.Error("ready: want not, what the open file wants is not known")
		}
		if s = d.after(15 * time.Second); s.Ready {
			t.Error("ready: want not yet")
		}
		if closes {
			_, err = file.WriteString("  - name: side\n    image: side:1\n")
			ok(t, err)
			ok(t, file.Close())
			s = d.turn()
		} else {
			defer file.Close()
			s = d.after(30 * time.Second)
		}
		want(t, s, "other=o:1 web=nginx:1")
		if !s.Ready {
			t.Error("not ready: want ready")
		}
	}
}

func TestEditorsAndTools(t *testing.T) {
	old, edited := podText("web", "nginx:1"), podText("web", "nginx:2")
	for name, edit := range map[string]func(d *desk){
		"write a temporary file and rename": func(d *desk) { d.replace("a.yaml", edited) },
		"sed -i": func(d *desk) {
			d.write("sedAb3xY9", edited)
			d.turn()
			ok(d.t, os.Rename(d.path("sedAb3xY9"), d.path("a.yaml")))
		},
		"unknown temporary file": func(d *desk) {
			d.write("a-new", edited)
			d.turn()
			ok(d.t, os.Rename(d.path("a-new"), d.path("a.yaml")))
		},
		"rsync": func(d *desk) {
			d.write(".a.yaml.Xy12Zz", edited)
			d.turn()
			ok(d.t, os.Rename(d.path(".a.yaml.Xy12Zz"), d.path("a.yaml")))
		},
		"truncate and write": func(d *desk) {
			file := d.open("a.yaml", os.O_WRONLY|os.O_TRUNC)
			d.turn()
			_, err := file.WriteString(edited[:20])
			ok(d.t, err)
			d.turn()
			_, err = file.WriteString(edited[20:])
			ok(d.t, err)
			d.after(5 * Settle)
			ok(d.t, file.Close())
		},
		"truncate, close, and write later": func(d *desk) {
			ok(d.t, os.Truncate(d.path("a.yaml"), 0))
			d.open("a.yaml", os.O_WRONLY|os.O_TRUNC).Close()
			d.after(5 * Settle)
			d.write("a.yaml", edited)
		},
		"vim": func(d *desk) {
			d.write(".a.yaml.swp", "b0VIM")
			d.write("4913", "")
			ok(d.t, os.Remove(d.path("4913")))
			d.turn()
			ok(d.t, os.Rename(d.path("a.yaml"), d.path("a.yaml~")))
			d.turn()
			file := d.open("a.yaml", os.O_CREATE|os.O_WRONLY)
			d.after(3 * Settle) // a slow disk
			_, err := file.WriteString(edited)
			ok(d.t, err)
			d.turn()
			ok(d.t, file.Close())
			d.turn()
			ok(d.t, os.Remove(d.path("a.yaml~")))
			ok(d.t, os.Remove(d.path(".a.yaml.swp")))
		},
		"emacs": func(d *desk) {
			ok(d.t, os.Symlink("me@host.1:2", d.path(".#a.yaml")))
			d.write("#a.yaml#", edited[:40])
			ok(d.t, os.Rename(d.path("a.yaml"), d.path("a.yaml~")))
			d.write("a.yaml", edited)
			ok(d.t, os.Remove(d.path("#a.yaml#")))
			ok(d.t, os.Remove(d.path(".#a.yaml")))
		},
		"remove and write": func(d *desk) {
			ok(d.t, os.Remove(d.path("a.yaml")))
			d.after(Settle / 2)
			d.write("a.yaml", edited)
		},
		"moved into place before it is closed": func(d *desk) {
			file := d.open("a.yaml.tmp", os.O_CREATE|os.O_WRONLY)
			_, err := file.WriteString(edited[:len(edited)-10])
			ok(d.t, err)
			ok(d.t, os.Rename(d.path("a.yaml.tmp"), d.path("a.yaml")))
			d.after(2 * Settle)
			_, err = file.WriteString(edited[len(edited)-10:])
			ok(d.t, err)
			ok(d.t, file.Close())
		},
		"a hard link moved over it": func(d *desk) {
			d.write("other.tmp", edited)
			ok(d.t, os.Remove(d.path("a.yaml")))
			ok(d.t, os.Link(d.path("other.tmp"), d.path("a.yaml")))
		},
		"exchanged with another file": func(d *desk) {
			d.write("a.yaml.new.tmp", edited)
			ok(d.t, unix.Renameat2(unix.AT_FDCWD, d.path("a.yaml"), unix.AT_FDCWD, d.path("a.yaml.new.tmp"), unix.RENAME_EXCHANGE))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, t.TempDir())
			d.write("a.yaml", old)
			before := one(t, d.turn())
			d.check = func(s Snapshot) {
				t.Helper()
				if got := images(s); got != "web=nginx:1" && got != "web=nginx:2" {
					t.Fatalf("on the way: %q, problems %+v; want the old or the new pod all the time", got, s.Problems)
				}
			}
			edit(d)
			s := d.turn()
			want(t, s, "web=nginx:2")
			if after := one(t, s); after.UID() == before.UID() {
				t.Error("the UID is the same: want another one for another content")
			}
			s = d.after(2 * time.Minute)
			want(t, s, "web=nginx:2")
			noProblem(t, s)
			if notes := d.book.all(); len(notes) > 0 && name != "truncate, close, and write later" {
				t.Errorf("notes %+v: want none", notes)
			}
		})
	}
}

func TestTemporaryFileWithoutANameIsReadWhenLinked(t *testing.T) {
	d := newDesk(t, t.TempDir())
	fd, err := unix.Open(d.dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatalf("O_TMPFILE: %v", err)
	}
	_, err = unix.Write(fd, []byte(podText("web", "nginx:1")))
	ok(t, err)
	ok(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, d.path("a.yaml"), unix.AT_SYMLINK_FOLLOW))
	want(t, d.turn(), "")
	want(t, d.after(Settle), "web=nginx:1")
	ok(t, unix.Close(fd))
}

func TestSameContentKeepsThePod(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("a.yaml", podText("web", "nginx:1"))
	before := one(t, d.turn())
	for name, change := range map[string]func(){
		"written again":  func() { d.write("a.yaml", podText("web", "nginx:1")) },
		"replaced":       func() { d.replace("a.yaml", podText("web", "nginx:1")) },
		"with a comment": func() { d.write("a.yaml", "# hello\n"+podText("web", "nginx:1")) },
		"bad and good":   func() { d.write("a.yaml", "{"); d.turn(); d.write("a.yaml", podText("web", "nginx:1")) },
		"touched":        func() { ok(t, os.Chtimes(d.path("a.yaml"), time.Now(), time.Now())) },
		"gone and back": func() {
			ok(t, os.Rename(d.path("a.yaml"), d.path("a~")))
			d.turn()
			ok(t, os.Rename(d.path("a~"), d.path("a.yaml")))
		},
		"two minutes idle": func() { d.after(2 * time.Minute) },
	} {
		change()
		d.turn()
		if after := one(t, d.after(2*Settle)); after != before {
			t.Errorf("%s: the pod is another object (UID %s, seen %s; before %s, %s)", name, after.UID(), after.Seen, before.UID(), before.Seen)
		}
	}
	if before.Seen.IsZero() || before.Source != "file" || before.Origin != d.path("a.yaml") || !before.Wanted {
		t.Errorf("desired %+v: want seen, source, origin and wanted", before)
	}
}

func TestGivenUIDKeepsSeen(t *testing.T) {
	d := newDesk(t, t.TempDir())
	given := func(image string) string {
		return strings.Replace(podText("web", image), "name: web\n", "name: web\n  uid: 0b2c\n", 1)
	}
	d.write("a.yaml", given("nginx:1"))
	before := one(t, d.turn())
	d.after(time.Minute)
	d.write("a.yaml", given("nginx:2"))
	s := d.turn()
	want(t, s, "web=nginx:2")
	after := one(t, s)
	if after == before || after.UID() != "0b2c" || !after.Seen.Equal(before.Seen) {
		t.Errorf("after the edit: %+v; want a new object with the same UID and time", after)
	}
	if got, had := after.Pod.Annotations["kubernetes.io/config.seen"], before.Pod.Annotations["kubernetes.io/config.seen"]; got != had {
		t.Errorf("annotation config.seen %s: want %s", got, had)
	}
}

func TestRemovedFileEndsItsPodsAfterSettle(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("a.yaml", podText("web", "nginx:1"))
	d.write("b.yaml", podText("db", "pg:1")+"---\n"+podText("cache", "redis:1"))
	want(t, d.turn(), "cache=redis:1 db=pg:1 web=nginx:1")
	ok(t, os.Remove(d.path("b.yaml")))
	want(t, d.turn(), "cache=redis:1 db=pg:1 web=nginx:1")
	want(t, d.after(Settle), "web=nginx:1")
	if len(d.f.files) != 1 || len(d.f.shelf.held) != 1 {
		t.Errorf("files %v, held %v: want only what is there", d.f.files, d.f.shelf.held)
	}
}

func TestRenameIsOneStep(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("a.yaml", podText("web", "nginx:1"))
	want(t, d.turn(), "web=nginx:1")
	d.check = func(s Snapshot) { want(t, s, "web=nginx:1") }
	ok(t, os.Rename(d.path("a.yaml"), d.path("b.yaml")))
	s := d.turn()
	if origin := one(t, s).Origin; origin != d.path("b.yaml") {
		t.Errorf("origin %s: want the new name", origin)
	}
	noProblem(t, d.after(time.Minute))
	if n := d.book.all(); len(n) > 0 {
		t.Errorf("notes %+v: want none", n)
	}
}

func TestBadFileKeepsItsPods(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("other.yaml", podText("other", "o:1"))
	d.write("a.yaml", podText("web", "nginx:1"))
	d.turn()
	d.write("a.yaml", strings.Replace(podText("web", "nginx:2"), "image:", "imag:", 1))
	s := d.turn()
	want(t, s, "other=o:1 web=nginx:1")
	wantProblem(t, s, "a.yaml", "line 8", "spec.containers[0].imag", "did you mean image")
	p := s.Problems[0]
	if p.Keeps != 1 || p.Unknown || p.Since.IsZero() || p.Source != "file" {
		t.Errorf("problem %+v: want it to keep 1 pod, of a known version", p)
	}
	notes := d.book.all()
	if len(notes) != 1 || notes[0].Reason != reason.FailedValidation || notes[0].Level != note.Warning || notes[0].About.Name != d.path("a.yaml") ||
		notes[0].About.Kind != "Manifest" {
		t.Errorf("notes %+v: want one warning FailedValidation about the manifest", notes)
	}
	since := p.Since
	d.write("a.yaml", "kind: Deployment\n")
	s = d.turn()
	wantProblem(t, s, "Deployment")
	if !s.Problems[0].Since.Equal(since) {
		t.Error("the problem began anew: want the time since when the manifest cannot be used")
	}
	s = d.after(5 * time.Minute)
	want(t, s, "other=o:1 web=nginx:1")
	if n := len(d.book.all()); n != 2 {
		t.Errorf("%d notes: want one for each of the two problems, and none for waiting", n)
	}
	d.write("a.yaml", podText("web", "nginx:3"))
	s = d.turn()
	want(t, s, "other=o:1 web=nginx:3")
	noProblem(t, s)
	d.write("a.yaml", "")
	s = d.turn()
	want(t, s, "other=o:1 web=nginx:3")
	wantProblem(t, s, "is empty")
	ok(t, os.Remove(d.path("a.yaml")))
	d.turn()
	s = d.after(Settle)
	want(t, s, "other=o:1")
	noProblem(t, s)
}

func TestBadFileAtTheStartIsUnknown(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("kind: Pod"), 0o644))
	ok(t, os.WriteFile(filepath.Join(dir, "b.yaml"), []byte(podText("web", "nginx:1")), 0o644))
	ok(t, os.WriteFile(filepath.Join(dir, "empty.yaml"), nil, 0o644))
	s := newDesk(t, dir).f.Cell().Value()
	want(t, s, "web=nginx:1")
	wantProblem(t, s, "a.yaml", "apiVersion")
	if !s.Ready || !s.Problems[0].Unknown {
		t.Errorf("ready %v, problem %+v: want ready, and what ran before unknown", s.Ready, s.Problems[0])
	}
}

func TestSkippedNames(t *testing.T) {
	d := newDesk(t, t.TempDir())
	for _, name := range []string{".hidden.yaml", "a.yaml~", "a.yaml.bak", "#a.yaml#", ".#a.yaml", "a.yaml.swp", "4913", "5036", "sedQ1w2E3", "tmp.Ab12",
		"a.yaml.tmp", "a.yaml.dpkg-old", "a.yaml.rpmsave", "~lock", "a.part", "a.yaml.orig"} {
		d.write(name, podText("web", "nginx:1"))
	}
	ok(t, os.Mkdir(d.path("sub"), 0o755))
	d.write("sub/a.yaml", podText("web", "nginx:1"))
	ok(t, unix.Mkfifo(d.path("pipe"), 0o644))
	s := d.after(time.Minute)
	want(t, s, "")
	noProblem(t, s)
	for _, name := range []string{"a", "a.yml", "web.json", "4912", "sediment", "tmp", "a.tmpl"} {
		if skipped(name) {
			t.Errorf("%s is skipped: want it read", name)
		}
	}
}

func TestDuplicateNames(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("b.yaml", podText("web", "nginx:b"))
	want(t, d.turn(), "web=nginx:b")
	d.write("a.yaml", podText("web", "nginx:a"))
	s := d.turn()
	want(t, s, "web=nginx:b")
	noProblem(t, s) // it may be a rename on its way
	s = d.after(Settle)
	want(t, s, "web=nginx:b")
	wantProblem(t, s, "a.yaml", "default/web-n1", "b.yaml", "rename or remove")
	notes := d.book.all()
	if len(notes) != 1 || notes[0].Reason != reason.FailedValidation || notes[0].About.Kind != "Pod" || notes[0].About.Name != "web-n1" {
		t.Errorf("notes %+v: want one FailedValidation about the pod", notes)
	}
	d.write("b.yaml", podText("web", "nginx:b2"))
	s = d.after(time.Minute)
	want(t, s, "web=nginx:b2")
	wantProblem(t, s, "a.yaml")
	ok(t, os.Remove(d.path("b.yaml")))
	s = d.turn()
	want(t, s, "web=nginx:a")
	s = d.after(time.Minute)
	want(t, s, "web=nginx:a")
	noProblem(t, s)
	if n := len(d.book.all()); n != 1 {
		t.Errorf("%d notes: want one for the whole time", n)
	}
}

func TestDuplicatesInOneManifest(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("a.yaml", podText("web", "nginx:1")+"---\n"+podText("web", "nginx:2"))
	d.turn()
	s := d.after(Settle)
	want(t, s, "web=nginx:1")
	wantProblem(t, s, "of the same manifest")
}

func TestDuplicateUIDs(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("a.yaml", strings.Replace(podText("a", "i:1"), "name: a\n", "name: a\n  uid: u1\n", 1))
	d.write("b.yaml", strings.Replace(podText("b", "i:1"), "name: b\n", "name: b\n  uid: u1\n", 1))
	d.turn()
	s := d.after(Settle)
	want(t, s, "a=i:1")
	wantProblem(t, s, "b.yaml", "has the UID u1 of pod default/a-n1")
}

func TestAtTheStartTheOneThatRanWins(t *testing.T) {
	dir := t.TempDir()
	d := newDesk(t, dir)
	d.write("b.yaml", podText("web", "nginx:b"))
	uid := one(t, d.turn()).UID()
	d.write("a.yaml", podText("web", "nginx:a"))
	d.turn()
	d.start(nil)
	want(t, d.f.Cell().Value(), "web=nginx:a")
	d.start(func(u types.UID) bool { return u == uid })
	want(t, d.f.Cell().Value(), "web=nginx:b")
}

func TestDirectoryRemovedAndMadeAgain(t *testing.T) {
	d := newDesk(t, filepath.Join(t.TempDir(), "x", "y", "manifests"))
	if s := d.f.Cell().Value(); !s.Ready || len(s.Pods) > 0 {
		t.Fatalf("without a directory: %+v; want ready and empty", s)
	}
	for round := range 3 {
		image := fmt.Sprintf("nginx:%d", round)
		ok(t, os.MkdirAll(d.dir, 0o755))
		d.turn()
		d.write("a.yaml", podText("web", image))
		want(t, d.turn(), "web="+image)
		switch round {
		case 0:
			ok(t, os.RemoveAll(filepath.Dir(filepath.Dir(d.dir))))
		case 1:
			ok(t, os.Rename(filepath.Dir(d.dir), filepath.Dir(d.dir)+"2"))
			d.after(20 * time.Second) // nothing tells of a directory two above that was renamed
		case 2:
			ok(t, os.Rename(d.dir, d.dir+"2"))
		}
		want(t, d.turn(), "web="+image)
		want(t, d.after(Settle), "")
	}
}

func TestDirectorySwappedWithinSettle(t *testing.T) {
	d := newDesk(t, filepath.Join(t.TempDir(), "manifests"))
	ok(t, os.Mkdir(d.dir, 0o755))
	d.turn()
	d.write("a.yaml", podText("web", "nginx:1"))
	d.write("b.yaml", podText("db", "pg:1"))
	before := d.turn()
	want(t, before, "db=pg:1 web=nginx:1")
	d.check = func(s Snapshot) {
		if got := images(s); !strings.Contains(got, "web=nginx:1") {
			t.Fatalf("on the way: %q; want web all the time", got)
		}
	}
	ok(t, os.Mkdir(d.dir+".new", 0o755))
	ok(t, os.WriteFile(d.dir+".new/a.yaml", []byte(podText("web", "nginx:1")), 0o644))
	ok(t, os.Rename(d.dir, d.dir+".old"))
	d.turn()
	ok(t, os.Rename(d.dir+".new", d.dir))
	d.turn()
	s := d.after(3 * Settle)
	want(t, s, "web=nginx:1")
	for uid, was := range before.Pods {
		if now := s.Pods[uid]; now != nil && now != was {
			t.Error("the pod is another object: want the same")
		}
	}
	d.write("c.yaml", podText("new", "i:1")) // the watch is on the new directory
	want(t, d.turn(), "new=i:1 web=nginx:1")
}

func TestMountedConfigMap(t *testing.T) {
	d := newDesk(t, t.TempDir())
	put := func(version, text string) {
		ok(t, os.Mkdir(d.path("..v"+version), 0o755))
		d.write("..v"+version+"/a.yaml", text)
		ok(t, os.Symlink("..v"+version, d.path("..data_tmp")))
		ok(t, os.Rename(d.path("..data_tmp"), d.path("..data")))
	}
	put("1", podText("web", "nginx:1"))
	d.turn()
	ok(t, os.Symlink("..data/a.yaml", d.path("a.yaml")))
	want(t, d.turn(), "web=nginx:1")
	d.check = func(s Snapshot) {
		if len(s.Pods) != 1 {
			t.Fatalf("on the way: %q; want one pod all the time", images(s))
		}
	}
	put("2", podText("web", "nginx:2"))
	want(t, d.turn(), "web=nginx:2")
	ok(t, os.RemoveAll(d.path("..v1")))
	s := d.after(time.Minute)
	want(t, s, "web=nginx:2")
	noProblem(t, s)
}

func TestLinkedDirectoryIsSwapped(t *testing.T) {
	top := t.TempDir()
	for _, v := range []string{"1", "2"} {
		ok(t, os.Mkdir(filepath.Join(top, v), 0o755))
		ok(t, os.WriteFile(filepath.Join(top, v, "a.yaml"), []byte(podText("web", "nginx:"+v)), 0o644))
	}
	ok(t, os.Symlink("1", filepath.Join(top, "current")))
	d := newDesk(t, filepath.Join(top, "current"))
	want(t, d.f.Cell().Value(), "web=nginx:1")
	ok(t, os.Symlink("2", filepath.Join(top, "next")))
	ok(t, os.Rename(filepath.Join(top, "next"), filepath.Join(top, "current")))
	d.turn()
	want(t, d.after(Settle), "web=nginx:2")
	d.write("b.yaml", podText("db", "pg:1"))
	want(t, d.turn(), "db=pg:1 web=nginx:2")
}

func TestSingleFile(t *testing.T) {
	top := t.TempDir()
	path := filepath.Join(top, "deep", "pod.yaml")
	d := newDesk(t, path)
	ok(t, os.Mkdir(filepath.Dir(path), 0o755))
	d.turn()
	ok(t, os.WriteFile(path, []byte(podText("web", "nginx:1")), 0o644))
	d.turn() // it turns out to be a file
	want(t, d.after(Settle), "web=nginx:1")
	ok(t, os.WriteFile(filepath.Join(top, "deep", "other.yaml"), []byte(podText("other", "o:1")), 0o644))
	want(t, d.turn(), "web=nginx:1")
	ok(t, os.WriteFile(path+".tmp", []byte(podText("web", "nginx:2")), 0o644))
	ok(t, os.Rename(path+".tmp", path))
	want(t, d.turn(), "web=nginx:2")
	ok(t, os.Remove(path))
	d.turn()
	want(t, d.after(Settle), "")
	ok(t, os.WriteFile(path, []byte(podText("web", "nginx:3")), 0o644))
	want(t, d.turn(), "web=nginx:3")
	ok(t, os.Remove(path))
	ok(t, os.Mkdir(path, 0o755))
	ok(t, os.WriteFile(filepath.Join(path, "a.yaml"), []byte(podText("inside", "i:1")), 0o644))
	d.turn()
	want(t, d.after(2*Settle), "inside=i:1")
	ok(t, os.RemoveAll(path))
	d.turn()
	ok(t, unix.Mkfifo(path, 0o644))
	d.turn()
	s := d.after(3 * Settle)
	want(t, s, "")
	wantProblem(t, s, "is no regular file")
}

func TestUnreadableDirectoryKeepsPods(t *testing.T) {
	top := t.TempDir()
	d := newDesk(t, filepath.Join(top, "manifests"))
	ok(t, os.Mkdir(d.dir, 0o755))
	d.turn()
	d.write("a.yaml", podText("web", "nginx:1"))
	want(t, d.turn(), "web=nginx:1")
	ok(t, os.Rename(d.dir, d.dir+"2"))
	ok(t, os.Symlink("manifests", d.dir)) // a link to itself cannot be followed
	d.turn()
	s := d.after(time.Minute)
	want(t, s, "web=nginx:1")
	wantProblem(t, s, "cannot be read", "too many levels")
	ok(t, os.Remove(d.dir))
	ok(t, os.Rename(d.dir+"2", d.dir))
	d.turn()
	s = d.after(time.Minute)
	want(t, s, "web=nginx:1")
	noProblem(t, s)
}

func TestWithoutInotify(t *testing.T) {
	dir := t.TempDir()
	d := newDesk(t, dir)
	ok(t, d.f.inotify.close())
	n := d.f.inotify
	d.f.inotify = nil
	defer func() { d.f.inotify, _ = newInotify(); _ = n }()
	d.write("a.yaml", podText("web", "nginx:1"))
	want(t, d.after(19*time.Second), "")
	want(t, d.after(2*time.Second), "web=nginx:1")
	d.write("a.yaml", podText("web", "nginx:2"))
	want(t, d.after(21*time.Second), "web=nginx:2")
	ok(t, os.Remove(d.path("a.yaml")))
	want(t, d.after(21*time.Second), "")
}

func TestLostEventsAreFoundByRelisting(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("a.yaml", podText("web", "nginx:1"))
	d.write("b.yaml", podText("db", "pg:1"))
	d.turn()
	d.write("a.yaml", podText("web", "nginx:2"))
	ok(t, os.Remove(d.path("b.yaml")))
	d.write("c.yaml", podText("new", "i:1"))
	file := d.open("d.yaml", os.O_CREATE|os.O_WRONLY)
	defer file.Close()
	d.f.drain() // the kernel's queue overflowed
	d.f.overflow = true
	d.turn()
	want(t, d.after(Settle), "new=i:1 web=nginx:2")
}

func TestFiveHundredFilesAtOnce(t *testing.T) {
	d := newDesk(t, t.TempDir())
	for i := range 500 {
		d.write(fmt.Sprintf("%03d.yaml", i), podText(fmt.Sprintf("p%d", i), "i:1"))
	}
	s := d.turn()
	if len(s.Pods) != 500 || len(s.Problems) > 0 {
		t.Errorf("%d pods, problems %v: want 500 and none", len(s.Pods), s.Problems)
	}
	d.start(nil)
	if n := len(d.f.Cell().Value().Pods); n != 500 {
		t.Errorf("after a restart %d pods: want 500", n)
	}
}

func TestNothingToDoMeansSleep(t *testing.T) {
	d := newDesk(t, t.TempDir())
	for i := range 5 {
		d.write(fmt.Sprintf("%d.yaml", i), podText(fmt.Sprintf("p%d", i), "i:1"))
	}
	d.write("bad.yaml", "{")
	d.write("dup.yaml", podText("p1", "i:2"))
	d.turn()
	d.after(Settle)
	_, newer := d.f.Cell().Get()
	if rest := d.f.sleep(d.now); rest < 19*time.Second {
		t.Errorf("sleeps %s: want until the next relist", rest)
	}
	d.after(10 * time.Minute)
	select {
	case <-newer:
		t.Error("a snapshot was published although nothing changed")
	default:
	}
}
