package signals

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/evict"
)

// Config is what a Reader is built from.
type Config struct {
	// RootDir is the agent's state directory, on the file system called nodefs; LogsDir holds the logs of pods.
	RootDir, LogsDir string
	// Proc is /proc unless set.
	Proc string
	// PIDs is how many processes and threads the kernel allows; 0 if it does not tell.
	PIDs int64
	// ImageFS asks the runtime on which file systems images are and what containers write: a directory on each. Nothing, without
	// an error, is that the runtime does not answer yet.
	ImageFS func(context.Context) (images, containers string, err error)
	// Memory is where the cgroup of all pods is in the hierarchy for memory; empty while that is not known. Pod is where the
	// cgroup of a pod is in the hierarchy of a controller; empty if there is none.
	Memory func() string
	Pod    func(controller string, p *v1.Pod) string
	// Written is what containers have written to file systems of their own, by ID. Some may be missing.
	Written func(ctx context.Context, ids []string) map[string]evict.Disk
}

// Reader reads. Its methods may be used by several goroutines.
type Reader struct {
	cfg Config

	mu sync.Mutex
	// layout is found out once (behaviour 257); images is a directory on the file system of images.
	layout evict.Layout
	images string
	// root is where the hierarchy for memory is mounted; empty for nowhere, and looked is set once that is known.
	root   string
	looked bool
}

// New builds a Reader. It reads nothing.
func New(cfg Config) *Reader {
	if cfg.Proc == "" {
		cfg.Proc = "/proc"
	}
	return &Reader{cfg: cfg}
}

// Read reads all signals. What cannot be read is missing, and the error says why.
func (r *Reader) Read(ctx context.Context) (evict.Readings, error) {
	out := evict.Readings{At: time.Now(), Of: map[evict.Signal]evict.Reading{}}
	var wrong []string
	tell := func(err error) {
		if err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	tell(r.memory(out))
	tell(r.processes(out))
	tell(disk(r.cfg.RootDir, out, evict.NodeFSAvailable, evict.NodeFSInodesFree))
	images, layout, err := r.where(ctx)
	out.Layout = layout
	if images != "" {
		err = disk(images, out, evict.ImageFSAvailable, evict.ImageFSInodesFree)
	}
	tell(err)
	if len(wrong) > 0 {
		return out, fmt.Errorf("read what the node has left: %s", strings.Join(wrong, "; "))
	}
	return out, nil
}

// processes counts them, threads included, as the kernel's bound does.
func (r *Reader) processes(out evict.Readings) error {
	text, err := os.ReadFile(filepath.Join(r.cfg.Proc, "loadavg"))
	if err != nil {
		return err
	}
	fields := strings.Fields(string(text)) // 0.00 0.01 0.05 1/234 5678
	if len(fields) < 4 {
		return fmt.Errorf("%s/loadavg: %q has no number of processes", r.cfg.Proc, text)
	}
	_, total, _ := strings.Cut(fields[3], "/")
	n, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return fmt.Errorf("%s/loadavg: %w", r.cfg.Proc, err)
	}
	out.Of[evict.PIDAvailable] = evict.Reading{Available: max(r.cfg.PIDs-n, 0), Capacity: r.cfg.PIDs}
	return nil
}
