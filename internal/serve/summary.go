package serve

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/worker"
)

// doings says what an effect does, for people: by the beginning of its key (plan.Effect.Key), with what follows put
// in the place of the %s.
var doings = []struct {
	kind plan.Kind
	text string
}{
	{plan.Look, "looking at what the runtime has of it"},
	{plan.MakePod, "making its directories and cgroup"},
	{plan.SetupVolume, "setting up volume %s"},
	{plan.PrepareClaims, "preparing its resource claims"},
	{plan.EnsureImage, "getting the image of container %s"},
	{plan.RunSandbox, "making its sandbox and network"},
	{plan.CreateContainer, "creating container %s"},
	{plan.StartContainer, "starting container %s"},
	{plan.PostStart, "running the postStart hook of container %s"},
	{plan.PreStop, "running the preStop hook of container %s"},
	{plan.StopContainer, "stopping container %s"},
	{plan.UpdateContainer, "changing the resources of container %s"},
	{plan.GrowPod, "changing the resources of its cgroup"},
	{plan.TakeDevices, "asking device plugins for its devices"},
	{plan.RemoveContainer, "removing old container %s"},
	{plan.ReadEnd, "reading how container %s ended"},
	{plan.StopSandbox, "stopping its sandbox"},
	{plan.RemoveSandbox, "removing an old sandbox"},
	{plan.UnprepareClaims, "giving its resource claims back"},
	{plan.TearVolumes, "tearing down its volumes"},
	{plan.UnmakePod, "removing its cgroup"},
	{plan.ForgetPod, "removing its directories"},
}

// Doing turns the key of an effect into words: "ensure image app#0" is "getting the image of container app".
func Doing(key string) string {
	for _, d := range doings {
		rest, ok := strings.CutPrefix(key, d.kind.String())
		if !ok || rest != "" && rest[0] != ' ' {
			continue
		}
		if !strings.Contains(d.text, "%s") {
			return d.text
		}
		if volume, ok := strings.CutPrefix(rest, " of volume "); ok {
			return "getting the image of volume " + volume
		}
		name, _, _ := strings.Cut(strings.TrimSpace(rest), "#")
		return fmt.Sprintf(d.text, name)
	}
	return key
}

// summary answers "how does it fare, and why" in a sentence.
func summary(p *Pod, now time.Time) string {
	for _, say := range []func(*Pod, time.Time) string{sayEnding, sayEnded, sayBlocked, sayFailing, sayCrashing, sayWorking, sayWaiting} {
		if text := say(p, now); text != "" {
			return text
		}
	}
	return sayRunning(p, now)
}

// whyStopped are the causes of a stop, as the end of "is being stopped because …".
var whyStopped = map[plan.Cause]string{
	plan.Removed:   "its source no longer names it",
	plan.Deleted:   "it was deleted",
	plan.Completed: "its containers have ended and may not start again",
	plan.Overdue:   "it ran longer than activeDeadlineSeconds allows",
	plan.Orphaned:  "no source names it",
	plan.Refused:   "it was not let in",
	plan.Ordered:   "the node asks for it",
	plan.Overfull:  "it uses more of the disk than its limits allow",
}

// sayEnding speaks of a pod that is on its way out.
func sayEnding(p *Pod, now time.Time) string {
	if p.Stop == nil || len(p.InFlight)+len(p.Waits) == 0 || resting(p) {
		return ""
	}
	text := "is being stopped because " + whyStopped[p.Stop.Cause]
	if p.Stop.Message != "" {
		text = "is being stopped (" + strings.TrimSuffix(p.Stop.Message, ".") + ")"
	}
	if doing := working(p, now); doing != "" {
		text += ": " + doing
	} else {
		text += ": waits for " + waiting(p.Waits[0], now)
	}
	if left := p.Stop.Deadline.Sub(now); left > 0 && p.Stage == plan.Stopping.String() {
		text += fmt.Sprintf("; what still runs is killed in %s", Span(left))
	}
	return text
}

// resting tells whether a pod has ended and only waits for its source to drop it.
func resting(p *Pod) bool {
	return len(p.InFlight) == 0 && len(p.Waits) == 1 && p.Waits[0].For == "removal"
}

// sayEnded speaks of a pod that is over.
func sayEnded(p *Pod, now time.Time) string {
	switch {
	case p.Stop != nil && p.Stop.Cause == plan.Refused:
		return "will not run: " + p.Stop.Message
	case p.Phase == v1.PodSucceeded:
		return "has ended well: its containers are done and may not start again"
	case p.Phase == v1.PodFailed:
		if p.Stop != nil && p.Stop.Message != "" {
			return "has failed: " + p.Stop.Message
		}
		for i := range p.Parts {
			if part := &p.Parts[i]; part.State == "terminated" && !zero(part.ExitCode) {
				return "has failed: container " + part.Name + " " + exited(part.ExitCode, part.Reason, part.Message) + ago(part.Since, now)
			}
		}
		return "has failed"
	}
	return ""
}

// sayBlocked speaks of what holds back everything else, on a pod that is not ready.
func sayBlocked(p *Pod, now time.Time) string {
	if p.Containers > 0 && p.Ready == p.Containers {
		return ""
	}
	for _, w := range p.Waits {
		switch w.For {
		case "runtime":
			w.For = "the container runtime"
		case "network":
			w.For = "the node's network"
		case "admission":
			w.For = "being let in"
		case "older version":
			w.For = "an older version of itself to end"
		default:
			continue
		}
		return "waits for " + waiting(w, now)
	}
	return ""
}

// sayFailing speaks of the newest effect that failed.
func sayFailing(p *Pod, now time.Time) string {
	if len(p.Failures) == 0 {
		return ""
	}
	f := p.Failures[0]
	text := fmt.Sprintf("is not as it should be: %s fails", Doing(f.Effect))
	if p.Ready == 0 {
		text = fmt.Sprintf("is not running: %s fails", Doing(f.Effect))
	}
	if f.Count > 1 {
		text += fmt.Sprintf(" (%d times in %s)", f.Count, Span(now.Sub(f.Since)))
	}
	text += ": " + f.Message
	switch left := f.RetryAt.Sub(now); {
	case busyWith(p, f.Effect):
		text += "; it is being tried again now"
	case left > 0:
		text += fmt.Sprintf("; the next try is in %s", Span(left))
	}
	return text
}

func busyWith(p *Pod, subject string) bool {
	for _, f := range p.InFlight {
		if key, _, _ := strings.Cut(f.Effect, "#"); strings.TrimSpace(key) == subject {
			return true
		}
	}
	return false
}

// sayCrashing speaks of a container that keeps ending.
func sayCrashing(p *Pod, now time.Time) string {
	for i := range p.Parts {
		part := &p.Parts[i]
		if part.State != "waiting" || part.Reason != reason.CrashLoopBackOff {
			continue
		}
		text := fmt.Sprintf("does not stay up: container %s keeps ending", part.Name)
		if part.LastExit != nil {
			text = fmt.Sprintf("does not stay up: container %s %s%s", part.Name,
				exited(&part.LastExit.Code, part.LastExit.Reason, part.LastExit.Message), ago(part.LastExit.At, now))
		}
		if left := part.RetryAt.Sub(now); left > 0 {
			text += fmt.Sprintf("; it starts again in %s", Span(left))
		}
		return text
	}
	return ""
}

// exited tells how a container ended.
func exited(code *int32, why, message string) string {
	text := "ended"
	if code != nil {
		text = fmt.Sprintf("ended with exit code %d", *code)
	}
	if why != "" && why != reason.Error && why != reason.Completed {
		text += " (" + why + ")"
	}
	if message = strings.TrimSpace(message); message != "" {
		line, _, _ := strings.Cut(message, "\n")
		text += ", saying " + fmt.Sprintf("%q", line) + ","
	}
	return text
}

// sayWorking speaks of what is being done for a pod that is not ready yet.
func sayWorking(p *Pod, now time.Time) string {
	if doing := working(p, now); doing != "" && (p.Containers == 0 || p.Ready < p.Containers) {
		return "is starting: " + doing
	}
	return ""
}

// working lists what is in flight, the oldest first, each with how long it has taken if that is worth telling.
func working(p *Pod, now time.Time) string {
	var out []string
	for _, f := range p.InFlight {
		if f.Cancelled {
			continue
		}
		text := Doing(f.Effect)
		if took := now.Sub(f.Since); took >= time.Second {
			text += " for " + Span(took)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// sayWaiting speaks of what a pod waits for.
func sayWaiting(p *Pod, now time.Time) string {
	if len(p.Waits) == 0 || p.Containers > 0 && p.Ready == p.Containers {
		return ""
	}
	return "waits for " + waiting(p.Waits[0], now)
}

func waiting(w worker.Waiting, now time.Time) string {
	text := w.For
	if took := now.Sub(w.Since); took >= time.Second {
		text += " (for " + Span(took) + ")"
	}
	if w.Detail != "" {
		text += ": " + w.Detail
	}
	if left := w.Until.Sub(now); !w.Until.IsZero() && left > 0 {
		text += fmt.Sprintf("; that ends in %s", Span(left))
	}
	return text
}

// sayRunning speaks of a pod that nothing is done for.
func sayRunning(p *Pod, now time.Time) string {
	if p.Containers > 0 && p.Ready == p.Containers {
		return fmt.Sprintf("is running: %s ready%s%s", containers(p.Ready), since(p, now), resizing(p, now))
	}
	var open []string
	for i := range p.Parts {
		part := &p.Parts[i]
		switch {
		case part.Kind != "container" && part.Kind != "sidecar", part.Ready:
		case part.State == "running":
			open = append(open, "container "+part.Name+" runs but is not ready")
		case part.State == "terminated":
			open = append(open, "container "+part.Name+" "+exited(part.ExitCode, part.Reason, part.Message)+ago(part.Since, now))
		case part.Reason != "":
			open = append(open, "container "+part.Name+" is waiting ("+part.Reason+")")
		default:
			open = append(open, "container "+part.Name+" is not there yet")
		}
	}
	if len(open) == 0 {
		return "is in stage " + p.Stage
	}
	return fmt.Sprintf("is not ready (%d of %d): %s", p.Ready, p.Containers, strings.Join(open, "; "))
}

// resizing tells of other resources that a pod is wanted with and has not got.
func resizing(p *Pod, now time.Time) string {
	for _, w := range p.Waits {
		if w.For == "resize" {
			return "; it has not got the resources it asks for: waits for a " + waiting(w, now)
		}
	}
	return ""
}

func containers(n int) string {
	if n == 1 {
		return "its container is"
	}
	return fmt.Sprintf("all %d containers are", n)
}

// since tells how long all containers have run.
func since(p *Pod, now time.Time) string {
	var newest time.Time
	for i := range p.Parts {
		if part := &p.Parts[i]; part.State == "running" && part.Since.After(newest) {
			newest = part.Since
		}
	}
	if newest.IsZero() || now.Sub(newest) < time.Second {
		return ""
	}
	return ", for " + Span(now.Sub(newest))
}

func ago(at, now time.Time) string {
	if at.IsZero() || now.Before(at) {
		return ""
	}
	return " " + Span(now.Sub(at)) + " ago"
}

// Span is a duration as people say it: 850ms, 12s, 4m10s, 3h20m, 2d4h.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	two := func(big, small time.Duration, b, s string) string {
		text := fmt.Sprintf("%d%s", d/big, b)
		if rest := d % big / small; rest > 0 {
			text += fmt.Sprintf("%d%s", rest, s)
		}
		return text
	}
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", max(d, 0)/time.Millisecond)
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return two(time.Minute, time.Second, "m", "s")
	case d < day:
		return two(time.Hour, time.Minute, "h", "m")
	}
	return two(day, time.Hour, "d", "h")
}
