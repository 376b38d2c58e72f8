package iptables

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ownNetwork puts the test, and the programs it starts, into a network namespace of its own. The thread is not used again.
func ownNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	for _, program := range []string{"iptables", "ip6tables"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("this machine has no " + program)
		}
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// rules are the chains and rules of a table.
func rules(t *testing.T, program, table string) (lines []string) {
	t.Helper()
	out, err := exec.Command(program, "-t", table, "-S").Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "-P") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

const drop = `-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`

// want are the chains and rules that must be there.
func checkAll(t *testing.T) {
	t.Helper()
	for _, program := range []string{"iptables", "ip6tables"} {
		filter := []string{"-N KUBE-KUBELET-CANARY"}
		if program == "iptables" {
			filter = []string{drop, "-A INPUT -j KUBE-FIREWALL", "-A OUTPUT -j KUBE-FIREWALL", "-N KUBE-FIREWALL", "-N KUBE-KUBELET-CANARY"}
		}
		for table, want := range map[string][]string{"mangle": {"-N KUBE-IPTABLES-HINT", "-N KUBE-KUBELET-CANARY"}, "nat": {"-N KUBE-KUBELET-CANARY"}, "filter": filter} {
			slices.Sort(want)
			if got := rules(t, program, table); !slices.Equal(got, want) {
				t.Errorf("%s, table %s:\n%s\nwant\n%s", program, table, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
}

func TestChains(t *testing.T) {
	ownNetwork(t)
	c := New(Config{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	look := func(first bool) {
		t.Helper()
		for _, f := range c.families() {
			if c.keep(t.Context(), f, first); f.complained != "" {
				t.Fatal(f.complained)
			}
		}
	}
	look(true)
	checkAll(t)
	look(true) // the agent starts again
	look(false)
	checkAll(t)

	// Somebody flushes everything.
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, table := range []string{"mangle", "nat", "filter"} {
			run(t, program, "-t", table, "-F")
			run(t, program, "-t", table, "-X")
		}
	}
	look(false)
	checkAll(t)

	// Somebody flushes one table: the chains stay, the way to them is gone.
	run(t, "iptables", "-F")
	look(false)
	checkAll(t)

	// What others put there stays.
	run(t, "iptables", "-A", "KUBE-FIREWALL", "-s", "192.0.2.1", "-j", "DROP")
	look(true)
	if got := rules(t, "iptables", "filter"); !slices.Contains(got, "-A KUBE-FIREWALL -s 192.0.2.1/32 -j DROP") {
		t.Errorf("the rule of somebody else is gone:\n%s", strings.Join(got, "\n"))
	}
}

// told is a stand-in for iptables that tells what it is asked. Chains are there if the file "gone" is not.
func told(t *testing.T) (program, gone string, commands *bufio.Scanner) {
	t.Helper()
	dir := t.TempDir()
	pipe, program := filepath.Join(dir, "pipe"), filepath.Join(dir, "iptables")
	gone = filepath.Join(dir, "gone")
	script := fmt.Sprintf(`#!/bin/sh
[ "$5" = -N ] && [ ! -e %s ] && echo "iptables: Chain already exists." >&2 && code=1
[ "$5 $6" = "-N KUBE-FIREWALL" ] && rm -f %[1]s
echo "$@" > %[2]s
exit ${code:-0}
`, gone, pipe)
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.WriteFile(program, []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return program, gone, bufio.NewScanner(f)
}

// A look at chains that are there costs two commands; only when they are gone is everything made.
func TestRun(t *testing.T) {
	program, gone, commands := told(t)
	c := New(Config{Every: time.Millisecond, Log: slog.New(slog.DiscardHandler), look: func(name string) (string, error) {
		if name == "iptables" {
			return program, nil
		}
		return "", exec.ErrNotFound
	}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if !commands.Scan() {
				t.Fatal(commands.Err())
			}
			if got := strings.TrimPrefix(commands.Text(), "-w 5 -t "); !strings.HasPrefix(got, w) {
				t.Fatalf("%s, want %s", got, w)
			}
		}
	}
	look := []string{"mangle -N KUBE-KUBELET-CANARY", "filter -C INPUT -j KUBE-FIREWALL"}
	rest := []string{"nat -N KUBE-KUBELET-CANARY", "filter -N KUBE-KUBELET-CANARY", "filter -N KUBE-FIREWALL", "filter -C KUBE-FIREWALL !", "filter -C INPUT -j KUBE-FIREWALL", "filter -C OUTPUT -j KUBE-FIREWALL"}
	all := append([]string{"mangle -N KUBE-IPTABLES-HINT", "mangle -N KUBE-KUBELET-CANARY"}, rest...)
	expect(look...)
	expect(all...)
	expect(look...)
	expect(look...)
	if err := os.WriteFile(gone, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for seen := false; !seen; { // the looks that were under way
		if !commands.Scan() {
			t.Fatal(commands.Err())
		}
		seen = strings.Contains(commands.Text(), "mangle -N KUBE-IPTABLES-HINT")
	}
	expect(all[1:]...)
	expect(look...)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestNoPrograms(t *testing.T) {
	c := New(Config{Log: slog.New(slog.DiscardHandler), look: func(string) (string, error) { return "", exec.ErrNotFound }})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// A program that does not work is complained of once.
func TestComplaints(t *testing.T) {
	program := filepath.Join(t.TempDir(), "iptables")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no such kernel >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	c := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	f := &family{program: program, firewall: true}
	for range 3 {
		c.keep(t.Context(), f, true)
	}
	if got := log.String(); strings.Count(got, "no such kernel") != 1 {
		t.Error(got)
	}
}
