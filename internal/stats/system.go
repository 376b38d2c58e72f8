package stats

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/usage"
)

// The parts of the node that the summary knows by name.
const (
	kubeletPart = "kubelet"
	runtimePart = "runtime"
	podsPart    = "pods"
)

// peer is the process behind the runtime's socket.
type peer struct {
	asked time.Time
	pid   string
}

const (
	// peerAge is how long it is believed that the runtime is the same process.
	peerAge = time.Minute
	// peerWait bounds how long the runtime may take to let somebody in.
	peerWait = time.Second
)

// system reads the cgroups of the agent, of the runtime and of all pods.
func (r *reading) system(ctx context.Context, pods string) (found []usage.System) {
	agent, runtime := r.cfg.AgentCgroup, r.cfg.RuntimeCgroup
	if agent == "" {
		agent = r.cgroupOf("self")
	}
	if runtime == "" {
		if r.peer.asked.IsZero() || r.now().Sub(r.peer.asked) >= peerAge {
			r.peer = peer{r.now(), r.askPeer(ctx)}
		}
		if r.peer.pid != "" {
			runtime = r.cgroupOf(r.peer.pid)
		}
	}
	for _, part := range []struct{ name, path string }{{kubeletPart, agent}, {runtimePart, runtime}, {podsPart, pods}} {
		if part.path == "" {
			continue
		}
		if c := r.cgroup(filepath.Clean("/" + part.path)); !c.At.IsZero() {
			found = append(found, usage.System{Name: part.name, Cgroup: c})
		}
	}
	return found
}

func (r *reading) cgroupOf(pid string) string {
	return r.where.ownPath(r.files.read(filepath.Join(r.cfg.Proc, pid, "cgroup")))
}

// askPeer finds out which process made the runtime's socket; empty if that is not known.
func (r *reading) askPeer(ctx context.Context) string {
	path := strings.TrimPrefix(strings.TrimPrefix(r.cfg.RuntimeSocket, "unix:"), "//")
	if path == "" {
		return ""
	}
	conn, err := (&net.Dialer{Timeout: peerWait}).DialContext(ctx, "unix", path)
	if err != nil {
		return ""
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return ""
	}
	pid := ""
	_ = raw.Control(func(fd uintptr) { // without an answer there is no process
		if who, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && who.Pid > 1 {
			pid = strconv.Itoa(int(who.Pid))
		}
	})
	return pid
}
