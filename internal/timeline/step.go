package timeline

import (
	"log/slog"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// Act is a part of a pod's life, as upstream's kubelet divides it.
type Act uint8

// The acts.
const (
	Sync Act = iota
	Terminating
	Terminated
)

var actNames = [...]string{Sync: "syncPod", Terminating: "syncTerminatingPod", Terminated: "syncTerminatedPod"}

// String returns the act as its span is called.
func (a Act) String() string { return actNames[a] }

// actOf is the act that a stage belongs to.
func actOf(s plan.Stage) Act {
	switch {
	case s >= plan.Cleaning:
		return Terminated
	case s >= plan.Stopping:
		return Terminating
	}
	return Sync
}

// stepNames are what the spans of effects are called, where that is not what the effects are called themselves. What an effect is about is in
// its attributes.
var stepNames = [...]string{
	plan.Look: "look", plan.MakePod: "make pod", plan.SetupVolume: "volume", plan.EnsureImage: "pull", plan.RunSandbox: "sandbox",
	plan.CreateContainer: "create", plan.StartContainer: "start", plan.PostStart: "postStart", plan.PreStop: "preStop",
	plan.StopContainer: "stop", plan.ReadEnd: "read end", plan.UpdateContainer: "resize", plan.RemoveContainer: "remove",
	plan.StopSandbox: "stop sandbox", plan.RemoveSandbox: "remove sandbox", plan.TearVolumes: "tear down volumes",
	plan.GrowPod: "resize cgroup", plan.SettlePod: "resize cgroup", plan.UnmakePod: "remove cgroup", plan.ForgetPod: "remove directories",
}

// The other steps of a start.
const (
	admitStep = "admit"
	readyStep = "first ready"
)

func stepName(k plan.Kind) string {
	if int(k) < len(stepNames) && stepNames[k] != "" {
		return stepNames[k]
	}
	return k.String()
}

// podAttrs say which pod an act is of.
func podAttrs(d *pod.Desired) []slog.Attr {
	p := d.Pod
	return []slog.Attr{
		slog.String("k8s.pod.uid", string(p.UID)), slog.String("k8s.pod", p.Namespace+"/"+p.Name),
		slog.String("k8s.pod.name", p.Name), slog.String("k8s.namespace.name", p.Namespace),
	}
}

// updateType is how upstream calls what an act is for.
func updateType(a Act, starting bool) slog.Attr {
	word := "sync"
	switch {
	case a != Sync:
		word = "kill"
	case starting:
		word = "create"
	}
	return slog.String("k8s.pod.update_type", word)
}

// effectAttrs say what an effect is about.
func effectAttrs(e plan.Effect) []slog.Attr {
	var attrs []slog.Attr
	if e.Container != "" {
		attrs = append(attrs, slog.String("k8s.container.name", e.Container))
	}
	if e.Volume != "" {
		attrs = append(attrs, slog.String("k8s.volume.name", e.Volume))
	}
	if e.Image != "" {
		attrs = append(attrs, slog.String("container.image.name", e.Image))
	}
	if e.Container != "" || e.Kind == plan.RunSandbox || e.Kind == plan.StopSandbox || e.Kind == plan.RemoveSandbox {
		attrs = append(attrs, slog.Uint64("bosun.attempt", uint64(e.Attempt)))
	}
	return attrs
}

// outcomeAttrs say how an effect came about.
func outcomeAttrs(o plan.Outcome) []slog.Attr {
	if o.Pulled == nil {
		return nil
	}
	attrs := []slog.Attr{slog.Bool("bosun.image.present", o.Pulled.Present)}
	if !o.Pulled.Present {
		attrs = append(attrs, slog.Int64("bosun.image.bytes", o.Pulled.Bytes), slog.Float64("bosun.image.waited_seconds", (o.Pulled.Waited-o.Pulled.Took).Seconds()))
	}
	return attrs
}
