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
	if _, err := os.Stat(o.kubelet); o.kubelet != none && o.has("cluster") && err != nil {
		return 0, fmt.Errorf("%w; `tools/build.sh .cache/bin kubelet` makes it", err)
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
	whole, err := openJournal(o.out, about.Began)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, whole.file.Close()) }()
	about.write(os.Stdout)
	if err := whole.line("run", about); err != nil {
		return 0, err
	}
	if b.runtime, err = processWith("containerd", filepath.Join(bed.Dir, "config.toml")); err != nil {
		return 0, err
	}
	missed, err := b.all(ctx, &setting{bed: bed, client: client, fail: fail}, whole)
	if err != nil {
		return 0, err
	}
	fmt.Printf("\nload %s at the end, after %v; results in %s\n", load(), time.Since(about.Began).Round(time.Second), whole.file.Name())
	for _, m := range missed {
		fmt.Println("MISSED:", m)
	}
	if len(missed) > 0 && o.strict {
		return 1, nil
	}
	return 0, nil
}

// A setting is where agents are measured.
type setting struct {
	bed    *testbed.Bed
	client runtimeapi.RuntimeServiceClient
	image  string
	fail   func(error)
}

// all measures every part and writes its tables. It returns the missed budgets.
func (b *bench) all(ctx context.Context, s *setting, whole *journal) (missed []string, err error) {
	if s.image, err = pauseImage(ctx, s.bed); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		name    string
		measure func(context.Context, *setting, *journal) (*part, error)
	}{{"files", b.files}, {"cluster", b.cluster}} {
		if !b.options.has(p.name) {
			continue
		}
		measured, err := p.measure(ctx, s, whole.of(p.name))
		if err != nil {
			return nil, fmt.Errorf("part %s: %w", p.name, err)
		}
		more, err := writeTables(os.Stdout, measured)
		if err != nil {
			return nil, err
		}
		missed = append(missed, more...)
	}
	return missed, nil
}

// files measures Bosun with pods from files.
func (b *bench) files(ctx context.Context, s *setting, j *journal) (*part, error) {
	p := &part{
		title: "pods from files", journal: j,
		works: []work{{
			kind: plain, start: thing{"one pod: asked → running", 1.15}, remove: thing{"one pod: asked → gone", 1.4}, stages: runtimeStages("one pod"),
		}},
		startMany: thing{"many pods at once: asked → all running", 1.15}, removeMany: thing{"many pods at once: asked → all gone", 0},
		rounds: b.options.rounds, each: b.options.each, bursts: b.options.bursts, pods: b.options.pods, idle: b.options.idle,
		budgets: budgets{cpuPerPod: 10, idleCPU: 0.5},
	}
	recipes, err := b.record(ctx, s, p, func(socket string) (agent, string, error) {
		a, err := newBosun(b.options.bosun, filepath.Join(s.bed.Dir, "recorded"), socket, s.image, s.fail)
		return a, a.root(), err
	})
	if err != nil {
		return nil, fmt.Errorf("record one pod: %w", err)
	}
	tested, err := newBosun(b.options.bosun, filepath.Join(s.bed.Dir, "bosun"), s.bed.Socket, s.image, s.fail)
	if err != nil {
		return nil, err
	}
	p.agents = b.floors(s, recipes, tested)
	return p, b.measure(ctx, p)
}

// floors puts the floor before the agents, and once more behind them if noise is to be measured.
func (b *bench) floors(s *setting, recipes map[kind]*recipe, agents ...agent) []agent {
	dir := filepath.Join(s.bed.Dir, "bare")
	all := append([]agent{newBare("bare", s.client, recipes, dir, s.fail)}, agents...)
	if b.options.null {
		all = append(all, newBare("bare again", s.client, recipes, dir, s.fail))
	}
	return all
}

// measure measures a part.
func (b *bench) measure(ctx context.Context, p *part) error {
	for _, a := range p.agents {
		if err := a.start(ctx); err != nil {
			return err
		}
		if err := errors.Join(b.empty(ctx, p, a), a.stop(ctx)); err != nil {
			return err
		}
	}
	return b.run(ctx, p)
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
