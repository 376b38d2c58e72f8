package kmsg

import (
	"strconv"
	"strings"
)

// A Kill is a process that the kernel ended for want of memory.
type Kill struct {
	// Machine tells that the machine as a whole had no memory left; otherwise a cgroup had reached its limit.
	Machine bool
	// Process is the name of the process, at most 15 characters, PID its number on the node.
	Process string
	PID     int
	// Cgroup is where the process was, with a slash in front; empty if the kernel did not say so.
	Cgroup string
}

// What the kernel says of it: first, since 5.0, the circumstances, then the end of the process.
const (
	circumstances = "oom-kill:"
	killedByAll   = "Out of memory: Kill"
	killedByGroup = "Memory cgroup out of memory: Kill"
)

// A parser follows what the kernel says, record by record.
type parser struct {
	// cgroup and pid are of the circumstances that were told last.
	cgroup string
	pid    int
}

// take reads one record of /dev/kmsg: "PRIORITY,SEQUENCE,TIME,FLAGS[,…];TEXT", and lines about its device after that.
func (p *parser) take(record string) (Kill, bool) {
	head, text, ok := strings.Cut(record, ";")
	if !ok {
		return Kill{}, false
	}
	priority, _, _ := strings.Cut(head, ",")
	if n, err := strconv.Atoi(priority); err != nil || n < 0 || n>>3 != 0 { // not the kernel: programs may write there, too
		return Kill{}, false
	}
	text, _, _ = strings.Cut(text, "\n")
	switch {
	case strings.HasPrefix(text, circumstances):
		p.circumstances(text[len(circumstances):])
	case strings.HasPrefix(text, killedByAll), strings.HasPrefix(text, killedByGroup):
		return p.killed(text)
	}
	return Kill{}, false
}

// circumstances reads "constraint=…,…,task_memcg=/a/b,task=NAME,pid=1,uid=0". A name may hold anything, so that the end counts.
func (p *parser) circumstances(text string) {
	p.cgroup, p.pid = "", 0
	_, text, ok := strings.Cut(text, ",task_memcg=")
	if !ok {
		return
	}
	cgroup, text, ok := strings.Cut(text, ",task=")
	at := strings.LastIndex(text, ",pid=")
	if !ok || at < 0 {
		return
	}
	number, _, _ := strings.Cut(text[at+len(",pid="):], ",")
	if pid, err := strconv.Atoi(number); err == nil && pid > 0 {
		p.cgroup, p.pid = cgroup, pid
	}
}

// killed reads "Out of memory: Killed process 1 (NAME) total-vm:1kB, …".
func (p *parser) killed(text string) (Kill, bool) {
	_, rest, ok := strings.Cut(text, " process ")
	number, rest, named := strings.Cut(rest, " (")
	end := strings.LastIndexByte(rest, ')')
	pid, err := strconv.Atoi(strings.TrimSuffix(number, ",")) // kernels of old put a comma there
	if !ok || !named || end < 0 || err != nil || pid <= 0 {
		return Kill{}, false
	}
	k := Kill{Machine: strings.HasPrefix(text, killedByAll), Process: rest[:end], PID: pid}
	if p.pid == pid {
		k.Cgroup = p.cgroup
	}
	p.cgroup, p.pid = "", 0
	return k, true
}
