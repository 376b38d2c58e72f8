package stats

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/bosun-project/bosun/internal/usage"
)

// mostLinks bounds how many open files of one cgroup are looked at one by one, to know which are sockets.
const mostLinks = 10_000

// processes counts the processes of a cgroup and what they have open.
func (r *reading) processes(path string, p *usage.Processes) {
	pids := bytes.Fields(bytes.Clone(r.files.read(filepath.Join(r.where.main(path), "cgroup.procs"))))
	p.Processes = usage.Of(uint64(len(pids)))
	files, sockets := uint64(0), uint64(0)
	for i, pid := range pids {
		dir := filepath.Join(r.cfg.Proc, string(pid))
		if i == 0 {
			p.OpenFiles = openFiles(r.files.read(filepath.Join(dir, "limits")))
		}
		open, err := os.Open(filepath.Join(dir, "fd"))
		if err != nil {
			continue // it has ended
		}
		names, _ := open.Readdirnames(-1)
		_ = open.Close() // it was only read
		files += uint64(len(names))
		if files > mostLinks {
			continue
		}
		for _, name := range names {
			if to, err := os.Readlink(filepath.Join(dir, "fd", name)); err == nil && strings.HasPrefix(to, "socket:") {
				sockets++
			}
		}
	}
	p.Files = usage.Of(files)
	if files <= mostLinks {
		p.Sockets = usage.Of(sockets)
	}
}

// openFiles reads the soft limit for open files from /proc/PID/limits; unknown if there is none.
func openFiles(text []byte) usage.Number {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max open files")); ok {
			if words := bytes.Fields(rest); len(words) > 0 {
				return number(words[0])
			}
		}
	}
	return usage.Number{}
}

// somePID names a process of a cgroup or of one below it; empty if there is none.
func (r *reading) somePID(path string, deep int) string {
	dir := r.where.main(path)
	if first, _, _ := bytes.Cut(r.files.read(filepath.Join(dir, "cgroup.procs")), []byte{'\n'}); len(first) > 0 {
		return string(first)
	}
	if deep == 0 {
		return ""
	}
	for _, name := range r.where.children(path) {
		below := filepath.Join(path, name)
		if info, err := os.Lstat(r.where.main(below)); err != nil || !info.IsDir() {
			continue
		}
		if pid := r.somePID(below, deep-1); pid != "" {
			return pid
		}
	}
	return ""
}
