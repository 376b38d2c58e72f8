package stats

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/usage"
)

func onDisk(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(info.Sys().(*syscall.Stat_t).Blocks) * blockSize
}

// sum is what a tree takes, by the plain way.
func sum(t *testing.T, dir string) (u use) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		u.bytes += onDisk(t, path)
		u.inodes++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func measured1(t *testing.T, dir string) (use, error) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return measure(t.Context(), f)
}

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	for i := range 2000 { // more than fit into one read
		write(t, filepath.Join(dir, fmt.Sprintf("many/%s%d/f", strings.Repeat("n", 100), i)), "x")
	}
	write(t, filepath.Join(dir, "a/big"), strings.Repeat("y", 1<<20))
	if err := os.Symlink("/usr", filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := sum(t, dir)
	if err := os.Link(filepath.Join(dir, "a/big"), filepath.Join(dir, "a/again")); err != nil { // it takes nothing
		t.Fatal(err)
	}
	if got, err := measured1(t, dir); err != nil || got != want {
		t.Errorf("measured %+v, %v; want %+v", got, err, want)
	}
}

// A pod can make directories deeper than any path is long, and than there are file handles.
func TestMeasureDeep(t *testing.T) {
	top := t.TempDir()
	at, err := unix.Open(top, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	const deep = 3000
	for range deep {
		if err := unix.Mkdirat(at, "directory", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, "directory", unix.O_DIRECTORY|unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(at)
		at = next
	}
	_ = unix.Close(at)
	if got, err := measured1(t, top); err != nil || got.inodes != deep+1 {
		t.Errorf("found %d, %v; want %d", got.inodes, err, deep+1)
	}
}

func TestMeasureEnds(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/b/c"), "x")
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := measure(ctx, f); err == nil {
		t.Error("it goes on though nobody wants it")
	}
}

// Another file system in a volume is not the volume's.
func TestMeasureStaysInside(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "own"), "x")
	inside := filepath.Join(dir, "mounted")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", inside, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(inside, unix.MNT_DETACH) })
	write(t, filepath.Join(inside, "file"), strings.Repeat("x", 1<<16))
	got, err := measured1(t, dir)
	if want := onDisk(t, dir) + onDisk(t, filepath.Join(dir, "own")); err != nil || got.bytes != want || got.inodes != 2 {
		t.Errorf("measured %+v, %v; want %d bytes and 2 inodes", got, err, want)
	}
}

// TestVolumes: what volumes take is measured in Run, is remembered, and is part of what the pod takes of the node's disk.
func TestVolumes(t *testing.T) {
	r, _, c, _ := recorded(t, "v1")
	volumes := filepath.Join(r.podDir(podUID), "volumes")
	write(t, filepath.Join(volumes, "kubernetes.io~empty-dir/data/file"), strings.Repeat("x", 100_000))
	write(t, filepath.Join(volumes, "kubernetes.io~configmap/settings/file"), "x")
	write(t, filepath.Join(volumes, "example.com~driver/foreign/file"), "x")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	r.cfg.Driven = func(_ context.Context, uid types.UID, volume string) (usage.Filesystem, error) {
		if uid != podUID || volume != "disk" {
			return usage.Filesystem{}, fault.ErrUnsupported
		}
		return usage.Filesystem{Capacity: usage.Of(1000), Used: usage.Of(300)}, nil
	}
	read := func() *usage.Pod {
		t.Helper()
		r.last = nil
		s, err := r.Read(t.Context(), usage.Storage)
		if err != nil {
			t.Fatal(err)
		}
		return &s.Pods[0]
	}
	read()
	r.meter.wait(nil, time.Minute) // on a busy machine it may take longer than an asker waits
	p := read()
	if len(p.Volumes) != 3 || p.Volumes[0].Name != "data" || p.Volumes[1].Name != "disk" || p.Volumes[2].Name != "settings" {
		t.Fatalf("volumes %+v", p.Volumes)
	}
	if v := p.Volumes[1]; v.Claim != "claim" || v.Local || v.Capacity != usage.Of(1000) || v.Used != usage.Of(300) || v.At.IsZero() {
		t.Errorf("a driver told other than %+v", v)
	}
	data := sum(t, filepath.Join(volumes, "kubernetes.io~empty-dir/data"))
	if v := p.Volumes[0]; v.Used != usage.Of(data.bytes) || v.InodesUsed != usage.Of(2) || !v.Local || !v.Capacity.Known {
		t.Errorf("volume %+v, want %+v", v, data)
	}
	want := p.Volumes[0].Used.Plus(p.Volumes[2].Used).Plus(p.Containers[0].Layer.Used).Plus(p.Containers[0].Logs.Used)
	if p.Ephemeral.Used != want {
		t.Errorf("the pod takes %v, want %v", p.Ephemeral.Used, want)
	}
	write(t, filepath.Join(volumes, "kubernetes.io~empty-dir/data/more"), strings.Repeat("x", 100_000))
	if again := read(); again.Volumes[0].Used != p.Volumes[0].Used {
		t.Error("a volume was measured anew within its period")
	}
	c.at = c.at.Add(time.Minute)
	read() // this asker gets the old number, and the next one a new one
	r.meter.wait(nil, time.Minute)
	if again := read(); again.Volumes[0].Used.Value <= p.Volumes[0].Used.Value {
		t.Error("a volume was not measured anew after its period")
	}
	stored := r.Stored()
	if s := stored[0]; len(s.Volumes) != 1 || s.Volumes[0].Used != usage.Of(300) || len(s.Containers) != 1 || s.Containers[0].Logs.Used != p.Containers[0].Logs.Used {
		t.Errorf("stored: %+v", stored)
	}
	stop()
	r.meter.every = -1
	if again := read(); again.Volumes != nil {
		t.Errorf("volumes are told of though that is turned off: %+v", again.Volumes)
	}
}

// TestMeterIsLazy: what takes long to measure is measured less often.
func TestMeterIsLazy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(time.Minute, nil, time.Now)
		p := place{"/", "somewhere"}
		m.ask(p, byFiles, p.measure)
		next, ok := m.next()
		if !ok || next.place != p {
			t.Fatal("what was asked for is not measured")
		}
		began := time.Now()
		time.Sleep(30 * time.Second)
		m.done(p, usage.Filesystem{Used: usage.Of(1)}, began, nil)
		for _, c := range []struct {
			after time.Duration
			due   bool
		}{{time.Minute, false}, {8 * time.Minute, false}, {2 * time.Minute, true}} {
			time.Sleep(c.after)
			if f, ok := m.ask(p, byFiles, p.measure); !ok || f.Used != usage.Of(1) || f.At != began {
				t.Error("what was measured is forgotten")
			}
			if due := len(m.queue) > 0; due != c.due {
				t.Errorf("%v after it began, it is due: %v", time.Since(began), due)
			}
		}
	})
}

// TestMeasured: metrics hear how long each measurement took, and who gave it.
func TestMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(time.Minute, nil, time.Now)
		var heard []string
		m.told = func(source string, took time.Duration) { heard = append(heard, source+" "+took.String()) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		m.ask(place{"u", "data"}, byDriver, func(context.Context) (usage.Filesystem, error) {
			time.Sleep(time.Second)
			return usage.Filesystem{}, nil
		})
		time.Sleep(2 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(heard) != 1 || heard[0] != "csi 1s" {
			t.Errorf("heard %q", heard)
		}
	})
}
