package serve

import (
	"strconv"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// statusWord is the word of kubectl's STATUS column.
func statusWord(p *Pod, s v1.PodStatus) string {
	if p.Stop != nil && p.Stop.Cause != plan.Completed && p.Stop.Cause != plan.Refused && p.Stop.Cause != plan.Overdue &&
		!(p.Phase == v1.PodSucceeded || p.Phase == v1.PodFailed) {
		return "Terminating"
	}
	if p.Source == string(pod.FromRuntime) {
		return "Terminating"
	}
	ended := s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed
	word := string(s.Phase)
	switch {
	case s.Reason != "" && ended: // why the pod as a whole ended says more than what its containers did
		return s.Reason
	case s.Reason != "":
		word = s.Reason
	case word == "":
		word = string(v1.PodPending)
	}
	if init, ok := initWord(p); ok {
		return init
	}
	running, failed := false, false
	for i := len(p.Parts) - 1; i >= 0; i-- { // of several bad ones the first is shown
		part := &p.Parts[i]
		if part.Kind != "container" && part.Kind != "sidecar" {
			continue
		}
		switch {
		case part.State == "waiting" && part.Reason != "":
			word = part.Reason
		case part.State == "terminated" && part.Kind == "container":
			if exit := exitWord(part); exit != reason.Completed {
				word, failed = exit, true
			} else if !failed {
				word = exit
			}
		case part.State == "running" && part.Ready:
			running = true
		}
	}
	if word == reason.Completed && running { // some have ended well, the others run
		return string(v1.PodRunning)
	}
	return word
}

// initWord speaks of init containers while they are not done.
func initWord(p *Pod) (string, bool) {
	total, done := 0, 0
	for i := range p.Parts {
		if k := p.Parts[i].Kind; k == "init" || k == "sidecar" {
			total++
		}
	}
	for i := range p.Parts {
		part := &p.Parts[i]
		switch {
		case part.Kind == "sidecar" && part.State == "running", part.Kind == "init" && part.State == "terminated" && zero(part.ExitCode):
			done++
			continue
		case part.Kind != "init" && part.Kind != "sidecar":
			continue
		case part.State == "terminated":
			if part.Kind == "sidecar" { // it may end with the pod
				continue
			}
			return "Init:" + exitWord(part), true
		case part.State == "waiting" && part.Reason != "" && part.Reason != reason.PodInitializing:
			return "Init:" + part.Reason, true
		}
		if p.Phase == v1.PodPending {
			return "Init:" + strconv.Itoa(done) + "/" + strconv.Itoa(total), true
		}
		return "", false
	}
	return "", false
}

func zero(code *int32) bool { return code != nil && *code == 0 }

func exitWord(p *Part) string {
	switch {
	case p.Reason != "":
		return p.Reason
	case p.ExitCode != nil:
		return "ExitCode:" + strconv.Itoa(int(*p.ExitCode))
	}
	return "Terminated"
}
