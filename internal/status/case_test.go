package status_test

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/status"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 500, time.UTC)

func at(after time.Duration) time.Time { return start.Add(after) }

// A change makes a situation what a test is about.
type change func(*status.Input)

// situation is an admitted pod "web" with a sandbox, looked at a minute after its admission; changes make the rest.
func situation(changes ...change) status.Input {
	in := status.Input{
		Desired: &pod.Desired{Wanted: true, Source: pod.FromAPI, Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "u1", Generation: 3},
			Spec:       v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways},
		}},
		Memory: plan.Memory{Stage: plan.Running, Kept: plan.Kept{
			Admitted: at(0), Containers: map[string]plan.ContainerMemory{}, Failures: map[string]plan.Failure{},
		}},
		Observed: pod.Observed{Inspected: at(time.Second), Sandboxes: []pod.Sandbox{{ID: "s0", Ready: true, IPs: []string{"10.0.0.7"}, Seen: at(time.Second)}}},
		Node:     status.Node{HostIPs: []string{"192.168.0.1"}, RuntimeName: "containerd"},
		Now:      at(time.Minute),
	}
	for _, c := range changes {
		c(&in)
	}
	return in
}

func containers(names ...string) change {
	return func(in *status.Input) {
		for _, n := range names {
			in.Desired.Pod.Spec.Containers = append(in.Desired.Pod.Spec.Containers, v1.Container{Name: n, Image: n + ":1"})
		}
	}
}

func inits(names ...string) change {
	return func(in *status.Input) {
		for _, n := range names {
			in.Desired.Pod.Spec.InitContainers = append(in.Desired.Pod.Spec.InitContainers, v1.Container{Name: n, Image: n + ":1"})
		}
	}
}

func sidecars(names ...string) change {
	return func(in *status.Input) {
		always := v1.ContainerRestartPolicyAlways
		for _, n := range names {
			in.Desired.Pod.Spec.InitContainers = append(in.Desired.Pod.Spec.InitContainers, v1.Container{Name: n, Image: n + ":1", RestartPolicy: &always})
		}
	}
}

func policy(p v1.RestartPolicy) change {
	return func(in *status.Input) { in.Desired.Pod.Spec.RestartPolicy = p }
}

func spec(f func(*v1.PodSpec)) change { return func(in *status.Input) { f(&in.Desired.Pod.Spec) } }

// instance adds a container instance: "app#2" in sandbox s0, ID app-2. It began at a second per attempt.
func instance(what string, state pod.ContainerState, more ...func(*pod.Container)) change {
	return func(in *status.Input) {
		name, number, _ := strings.Cut(what, "#")
		var attempt uint32
		fmt.Sscan(number, &attempt)
		c := pod.Container{ID: name + "-" + number, SandboxID: "s0", Name: name, Attempt: attempt, State: state, CreatedAt: at(time.Duration(attempt) * time.Second)}
		if state != pod.Created {
			c.StartedAt, c.Image, c.ImageID = c.CreatedAt, "docker.io/library/"+name+":1", "sha256:"+name
		}
		if state == pod.Exited {
			c.FinishedAt = c.StartedAt.Add(30 * time.Second)
		}
		for _, m := range more {
			m(&c)
		}
		c.Seen = in.Observed.Inspected
		report := pod.Report{Complete: true, Began: in.Observed.Inspected, Sandboxes: in.Observed.Sandboxes, Containers: []pod.Container{c}}
		in.Observed = in.Observed.Merge(report)
	}
}

func running(what string, more ...func(*pod.Container)) change {
	return instance(what, pod.Running, more...)
}
func created(what string) change { return instance(what, pod.Created) }
func exited(what string, code int32, more ...func(*pod.Container)) change {
	return instance(what, pod.Exited, append([]func(*pod.Container){func(c *pod.Container) { c.ExitCode = code }}, more...)...)
}
func inSandbox(sandbox string) func(*pod.Container) {
	return func(c *pod.Container) { c.SandboxID = sandbox }
}

func sandboxes(list ...pod.Sandbox) change {
	return func(in *status.Input) { in.Observed.Sandboxes = list }
}

func remember(name string, m plan.ContainerMemory) change {
	return func(in *status.Input) { in.Memory.Kept.Containers[name] = m }
}

// crashed is a back-off under way: the pause ends after the situation's now.
func crashed(name, id string, pause time.Duration) change {
	return remember(name, plan.ContainerMemory{Backoff: plan.Backoff{For: id, Delay: pause, Until: at(time.Minute + pause)}})
}

func failed(kind plan.Kind, container string, f plan.Failure) change {
	return func(in *status.Input) {
		in.Memory.Kept.Failures[plan.Effect{Kind: kind, Container: container}.Subject()] = f
	}
}

// mounts makes a container mount the image volume of that name.
func mounts(container, volume string) change {
	return func(in *status.Input) {
		spec := &in.Desired.Pod.Spec
		spec.Volumes = append(spec.Volumes, v1.Volume{Name: volume, VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: volume + ":1"}}})
		for i := range spec.Containers {
			if spec.Containers[i].Name == container {
				spec.Containers[i].VolumeMounts = append(spec.Containers[i].VolumeMounts, v1.VolumeMount{Name: volume, MountPath: "/" + volume})
			}
		}
	}
}

func volumeFailed(volume string, f plan.Failure) change {
	return func(in *status.Input) {
		in.Memory.Kept.Failures[plan.Effect{Kind: plan.EnsureImage, Volume: volume}.Subject()] = f
	}
}

func stage(s plan.Stage) change { return func(in *status.Input) { in.Memory.Stage = s } }

func stopped(s plan.Stage, cause plan.Cause, reason, message string) change {
	return func(in *status.Input) {
		in.Memory.Stage = s
		in.Memory.Kept.Stop = &plan.Stop{Cause: cause, Reason: reason, Message: message, At: at(50 * time.Second), Ran: cause != plan.Refused}
		in.Observed.Sandboxes[0].Ready = s < plan.Cleaning
	}
}

// after makes what is said of another situation the previous status.
func after(earlier status.Input) change {
	return func(in *status.Input) {
		s := status.Of(earlier)
		in.Previous = &s
	}
}

// renewed is a restart of all containers that the end of one asked for, half a minute ago; the pod is running and
// initialised.
func renewed(container string, attempt, code int, since map[string]uint32) change {
	return func(in *status.Input) {
		in.Memory.Kept.Renewal = &plan.Renewal{Container: container, ID: fmt.Sprint(container, "-", attempt), ExitCode: int32(code), At: at(30 * time.Second), Since: since}
		rule := v1.ContainerRestartRule{Action: v1.ContainerRestartRuleActionRestartAllContainers}
		for _, list := range [][]v1.Container{in.Desired.Pod.Spec.InitContainers, in.Desired.Pod.Spec.Containers} {
			for i := range list {
				if list[i].Name == container {
					list[i].RestartPolicyRules = []v1.ContainerRestartRule{rule}
				}
			}
		}
		in.Previous = &v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodInitialized, Status: v1.ConditionTrue}}}
	}
}

func fromFile(in *status.Input)  { in.Desired.Source = pod.FromFile }
func nothing(in *status.Input)   { in.Observed = pod.Observed{Inspected: at(time.Second)} }
func unheardOf(in *status.Input) { in.Observed = pod.Observed{} }
func probing(in *status.Input)   { in.Facts.Probing = true }

// brief is a status in one line for tables: phase, reason, then each container.
func brief(s v1.PodStatus) string {
	out := string(s.Phase)
	if s.Reason != "" {
		out += "(" + s.Reason + ")"
	}
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for _, c := range list {
			out += " " + c.Name + "=" + briefState(c.State)
			if last := c.LastTerminationState; last.Terminated != nil {
				out += "<" + briefState(last)
			}
			if c.RestartCount > 0 {
				out += fmt.Sprintf("×%d", c.RestartCount)
			}
			if c.Ready {
				out += "!"
			}
		}
	}
	return out
}

func briefState(s v1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Waiting != nil:
		return s.Waiting.Reason
	case s.Terminated != nil:
		return fmt.Sprintf("%s(%d)", s.Terminated.Reason, s.Terminated.ExitCode)
	}
	return "?"
}
