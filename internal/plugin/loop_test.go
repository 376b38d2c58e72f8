package plugin_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/bosun-project/bosun/internal/plugin"
	"github.com/bosun-project/bosun/internal/testbed/csidriver"
)

// book writes down what it is asked to do.
type book struct {
	mu      sync.Mutex
	lines   []string
	refuses error
}

func (b *book) write(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
}

func (b *book) Validate(string, []string) error { return b.refuses }

func (b *book) Register(_ context.Context, name, socket string, versions []string) error {
	b.write(strings.Join(append([]string{"register", name, filepath.Base(socket)}, versions...), " "))
	return nil
}

func (b *book) Deregister(name, socket string) error {
	b.write("deregister " + name + " " + filepath.Base(socket))
	return nil
}

// watching runs a loop on a directory of short name until the test ends.
func watching(t *testing.T, b *book) (dir string, l *plugin.Loop) {
	t.Helper()
	dir, err := os.MkdirTemp("", "reg")
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "plugins_registry")
	l = plugin.New(plugin.Config{Dir: dir, Handlers: map[string]plugin.Handler{registration.CSIPlugin: b}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
			t.Error(err)
		}
	})
	return dir, l
}

// until waits until the state is as wanted.
func until(t *testing.T, l *plugin.Loop, what string, good func([]plugin.Plugin) bool) {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		state, newer := l.State().Get()
		if good(state) {
			return
		}
		select {
		case <-newer:
		case <-late.C:
			t.Fatalf("not %s: %+v", what, state)
		}
	}
}

func registered(n int) func([]plugin.Plugin) bool {
	return func(all []plugin.Plugin) bool {
		return len(all) == n && !slices.ContainsFunc(all, func(p plugin.Plugin) bool { return !p.Registered })
	}
}

func TestPluginsComeAndGo(t *testing.T) {
	b := &book{}
	dir, l := watching(t, b)
	one := csidriver.Start(t, csidriver.Options{Name: "one", Plugins: dir})
	until(t, l, "registered", registered(1))
	two := csidriver.Start(t, csidriver.Options{Name: "two", Plugins: filepath.Join(dir, "sub")})
	until(t, l, "registered below", registered(2))
	two.Stop(t)
	until(t, l, "gone", registered(1))
	one.Stop(t)
	one.Start(t)
	until(t, l, "back", registered(1))
	one.Await(t, "NotifyRegistrationStatus", 2)
	for _, s := range one.Told() {
		if !s.PluginRegistered {
			t.Errorf("the plugin was told %v", s)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.lines[len(b.lines)-1]; last != "register one s 1.0.0" {
		t.Errorf("what was done last: %s", strings.Join(b.lines, ", "))
	}
	if !slices.Contains(b.lines, "deregister two s") {
		t.Errorf("a plugin whose socket has gone is kept: %s", strings.Join(b.lines, ", "))
	}
}

func TestPluginsThatAreThereAlready(t *testing.T) {
	dir, err := os.MkdirTemp("", "reg")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	csidriver.Start(t, csidriver.Options{Name: "one", Plugins: dir})
	if err := os.WriteFile(filepath.Join(dir, "file.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	csidriver.Start(t, csidriver.Options{Name: ".hidden", Plugins: dir})
	b := &book{}
	l := plugin.New(plugin.Config{Dir: dir, Handlers: map[string]plugin.Handler{registration.CSIPlugin: b}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	until(t, l, "registered", registered(1))
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !slices.Equal(b.lines, []string{"register one s 1.0.0"}) {
		t.Errorf("done: %s; plugins stay when the loop ends", strings.Join(b.lines, ", "))
	}
}

func TestAPluginHearsWhyItIsRefused(t *testing.T) {
	b := &book{refuses: errors.New("not like that")}
	dir, l := watching(t, b)
	d := csidriver.Start(t, csidriver.Options{Name: "one", Plugins: dir})
	until(t, l, "refused", func(all []plugin.Plugin) bool {
		return len(all) == 1 && strings.Contains(all[0].Problem, "not like that")
	})
	d.Await(t, "NotifyRegistrationStatus", 2) // it is tried again
	if s := d.Told()[0]; s.PluginRegistered || s.Error != "not like that" {
		t.Errorf("the plugin was told %v", s)
	}
}

func TestAPluginThatHangsHoldsUpNobody(t *testing.T) {
	b := &book{}
	dir, l := watching(t, b)
	hung := csidriver.Start(t, csidriver.Options{Name: "hung", Plugins: dir})
	release := hung.Hang("GetInfo")
	csidriver.Start(t, csidriver.Options{Name: "well", Plugins: dir})
	until(t, l, "one registered", func(all []plugin.Plugin) bool {
		return slices.ContainsFunc(all, func(p plugin.Plugin) bool { return p.Name == "well" && p.Registered })
	})
	release()
	until(t, l, "both registered", registered(2))
}
