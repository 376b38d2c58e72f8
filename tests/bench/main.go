package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

func main() {
	os.Exit(testbed.Confined(func() int {
		code, err := run()
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return code
	}))
}

func run() (code int, err error) {
	o, err := optionsFromEnvironment()
	if err != nil {
		return 0, err
	}
	if os.Geteuid() != 0 {
		return 0, errors.New("needs root: it runs real containers")
	}
	if _, err := os.Stat(o.bosun); err != nil {
		return 0, fmt.Errorf("%w; `make build` makes it", err)
	}
	alone, err := takePrecedence()
	if err != nil {
		return 0, err
	}
	bed, err := testbed.Open(testbed.Options{Images: []string{}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, bed.Stop()) }()
	ctx, fail := context.WithCancelCause(context.Background())
	defer fail(nil)
	conn, err := bed.Dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()

	b := &bench{options: o, observer: newObserver()}
	var following sync.WaitGroup
	client := runtimeapi.NewRuntimeServiceClient(conn)
	following.Go(func() {
		if err := b.observer.follow(ctx, client); err != nil {
			fail(err)
		}
	})
	defer func() { fail(nil); following.Wait() }()

	about := aboutMachine(ctx)
	about.Precedence = alone
	if b.journal, err = openJournal(o.out, about.Began); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.journal.file.Close()) }()
	about.write(os.Stdout)
	if err := b.journal.line("run", about); err != nil {
		return 0, err
	}
	if b.runtime, err = processWith("containerd", filepath.Join(bed.Dir, "config.toml")); err != nil {
		return 0, err
	}
	missed, err := b.all(ctx, bed, client, fail)
	if err != nil {
		return 0, err
	}
	fmt.Printf("\nload %s at the end; results in %s\n", load(), b.journal.file.Name())
	for _, m := range missed {
		fmt.Println("MISSED:", m)
	}
	if len(missed) > 0 && o.strict {
		return 1, nil
	}
	return 0, nil
}

// all measures everything and writes the tables.
func (b *bench) all(ctx context.Context, bed *testbed.Bed, client runtimeapi.RuntimeServiceClient, fail func(error)) ([]string, error) {
	image, err := pauseImage(ctx, bed)
	if err != nil {
		return nil, err
	}
	recipe, err := b.record(ctx, bed, image, fail)
	if err != nil {
		return nil, fmt.Errorf("record one pod: %w", err)
	}
	floor := newBare("bare", client, recipe, filepath.Join(bed.Dir, "bare"), fail)
	tested, err := newBosun(b.options.bosun, filepath.Join(bed.Dir, "bosun"), bed.Socket, image, fail)
	if err != nil {
		return nil, err
	}
	agents := []agent{floor, tested}
	if b.options.null {
		agents = append(agents, newBare("bare again", client, recipe, filepath.Join(bed.Dir, "bare"), fail))
	}
	var names []string
	for _, a := range agents {
		if a == agent(floor) {
			continue
		}
		names = append(names, a.name())
		if err := a.start(ctx); err != nil {
			return nil, err
		}
		if err := errors.Join(b.empty(ctx, a), a.stop(ctx)); err != nil {
			return nil, err
		}
	}
	if err := b.run(ctx, agents); err != nil {
		return nil, err
	}
	return writeTable(os.Stdout, b.journal, floor.name(), names)
}

func pauseImage(ctx context.Context, bed *testbed.Bed) (string, error) {
	list, err := bed.Ctr(ctx, "images", "list", "-q")
	if err != nil {
		return "", err
	}
	for name := range strings.FieldsSeq(list) {
		if strings.Contains(name, "/pause:") {
			return name, nil
		}
	}
	return "", errors.New("the test bed has no pause image")
}

func aboutMachine(ctx context.Context) machine {
	m := machine{Began: time.Now(), CPUs: runtime.NumCPU(), Load: load(), Commit: "unknown"}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	if out, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "-uno").Output(); err == nil {
		m.Dirty = len(out) > 0
	}
	return m
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:2], " ")
}
