package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// A holding is what a process of the agent holds: open files and goroutines.
type holding struct{ files, goroutines int }

// holds counts what the agent holds now, and lists the goroutines.
func (m *member) holds(t *testing.T) (holding, string) {
	t.Helper()
	m.mu.Lock()
	pid := m.cmd.Process.Pid
	m.mu.Unlock()
	code, goroutines := m.door(t, controlplane.Identity{User: "admin", Groups: []string{"system:masters"}}, "", http.MethodGet, "/debug/pprof/goroutine?debug=1")
	if code != http.StatusOK {
		t.Fatalf("the goroutines: %d %s", code, goroutines)
	}
	first, _, _ := strings.Cut(goroutines, "\n")
	n, err := strconv.Atoi(first[strings.LastIndexByte(first, ' ')+1:])
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(fmt.Sprint("/proc/", pid, "/fd"))
	if err != nil {
		t.Fatal(err)
	}
	return holding{len(files), n}, goroutines
}

// lets waits until the agent holds no more than before, but for a few.
func (m *member) lets(t *testing.T, before holding) {
	t.Helper()
	var now holding
	var list string
	defer func() {
		if t.Failed() {
			t.Logf("goroutines:\n%.6000s", list)
		}
	}()
	eventually(t, func() error {
		now, list = m.holds(t)
		if now.files > before.files+3 || now.goroutines > before.goroutines+5 {
			return fmt.Errorf("the agent holds %+v, before it was %+v", now, before)
		}
		return nil
	})
	t.Logf("held before %+v, after %+v", before, now)
}

// Those who use what runs in pods vanish without a goodbye, or what they use is deleted: nothing of it stays in the agent, nor
// in the pod.
func TestClientsVanish(t *testing.T) {
	t.Parallel()
	m := quietMemberOn(t, testbed.Options{}, controlplane.Shared(t), "")
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "vanish-server", `
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: SHELL, command: [sh, -c, 'trap "exit 0" TERM; while true; do sleep 1; done']}
  - {name: web, image: BOX, args: [http, ":8080"]}
`)
	g.untilReady()
	kubectl := func(args ...string) *exec.Cmd {
		return m.plane.KubectlCommand(t.Context(), append([]string{"-n", ns}, args...)...)
	}
	if out, err := kubectl("exec", "vanish-server", "-c", "main", "--", "true").CombinedOutput(); err != nil { // what stays open after the first use is open
		t.Fatalf("%v: %s", err, out)
	}
	before, _ := m.holds(t)
	g.execsVanish(kubectl)
	m.lets(t, before)
	g.forwardsVanish(kubectl)
	m.lets(t, before)
	g.followersOutlive(kubectl)
	m.lets(t, before)
}

// execsVanish kills those who run commands, of which some read and some write: none of the commands goes on.
func (g *guest) execsVanish(kubectl func(...string) *exec.Cmd) {
	t := g.t
	for _, command := range []string{"echo begun; cat", "echo begun; while sleep 0.05; do echo more || exit; done"} {
		for range 3 {
			cmd := kubectl("exec", "-i", "vanish-server", "-c", "main", "--", "sh", "-c", command)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "begun\n" {
				t.Fatalf("the command says %q (%v)", line, err)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
			in.Close()
		}
	}
	eventually(t, func() error {
		out, err := kubectl("exec", "vanish-server", "-c", "main", "--", "ps").CombinedOutput()
		if err == nil && (strings.Contains(string(out), " cat\n") || strings.Contains(string(out), "begun")) {
			err = errors.New("a command goes on whose user has vanished")
		}
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
}

var forwarded = regexp.MustCompile(`Forwarding from 127\.0\.0\.1:(\d+) -> 8080`)

// forwardsVanish has a hundred connections open at once over one port-forward, serves them all, and then opens as many again and
// kills who forwards them.
func (g *guest) forwardsVanish(kubectl func(...string) *exec.Cmd) {
	t := g.t
	const streams = 100
	cmd := kubectl("port-forward", "vanish-server", ":8080", "--address=127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}()
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	found := forwarded.FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("port-forward says %q (%v)", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, said) }() // it tells of each connection
	open := func() []net.Conn {
		var all []net.Conn
		for range streams {
			conn, err := net.DialTimeout("tcp", "127.0.0.1:"+found[1], patience)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(patience)) // it is open
			all = append(all, conn)
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"); err != nil { // not all of it
				t.Fatal(err)
			}
		}
		return all
	}
	began := time.Now()
	for i, conn := range open() {
		if _, err := io.WriteString(conn, "\r\n"); err != nil {
			t.Error(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != "ok\n" {
			t.Errorf("stream %d: %q (%v)", i, body, err)
		}
		conn.Close()
	}
	t.Logf("%d streams of one port-forward, open at once and served: %v", streams, time.Since(began))
	again := open()
	_ = cmd.Process.Kill()
	for _, conn := range again {
		conn.Close()
	}
}

// followersOutlive has logs followed of a pod that is deleted: the followers get all of it, and end.
func (g *guest) followersOutlive(kubectl func(...string) *exec.Cmd) {
	t := g.t
	short := g.create(t, g.ns, "vanish-followed", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, args: [lines, \"1000\", then, wait]}]}")
	short.untilReady()
	type ending struct {
		text string
		err  error
	}
	ends := make(chan ending, 5)
	for range cap(ends) {
		cmd := kubectl("logs", "-f", "vanish-followed")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		said := bufio.NewReader(out)
		if line, err := said.ReadString('\n'); line != "line 0\n" {
			t.Fatalf("the log begins with %q (%v)", line, err)
		}
		go func() {
			rest, err := io.ReadAll(said)
			ends <- ending{string(rest), errors.Join(err, cmd.Wait())}
		}()
	}
	began := time.Now()
	short.remove()
	for range cap(ends) {
		select {
		case e := <-ends:
			if e.err != nil || strings.Count(e.text, "\n") != 1000 || !strings.HasSuffix(e.text, "line 999\ngot terminated\n") {
				t.Errorf("a follower ended with %d lines, %v: …%s", strings.Count(e.text, "\n"), e.err, e.text[max(0, len(e.text)-100):])
			}
		case <-time.After(patience):
			t.Fatal("a follower of the logs goes on")
		}
	}
	took(t, "deleted until the followers have ended", began, 10*time.Second)
	short.untilGone()
}
