package agent

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/admission"
	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/ask"
	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/probe"
	"github.com/bosun-project/bosun/internal/runtime"
	"github.com/bosun-project/bosun/internal/worker"
)

// buildProber makes what asks containers how they are.
func (a *Agent) buildProber() {
	a.prober = probe.New(probe.Config{
		Targets: a.probeTargets, Asker: ask.New(ask.Config{Runtime: questions{a.client}, Version: version}), Notes: a.note, Meter: meter{a.metrics}, Began: time.Now(),
	})
}

// probeTargets are the pods as the prober has to know them.
func (a *Agent) probeTargets() ([]probe.Target, <-chan struct{}) {
	entries, newer := a.set.Table().Pods()
	targets := make([]probe.Target, 0, len(entries))
	for _, e := range entries {
		t := probe.Target{
			Version: e, Desired: e.Desired, Containers: e.Observed.Containers, IP: e.Status.PodIP,
			Stopping: e.Memory.Stage >= plan.Stopping, Hooked: hooked(e), Before: before(e),
		}
		targets = append(targets, t)
	}
	return targets, newer
}

// hooked are the containers whose postStart hook is still owed.
func hooked(e *worker.Entry) map[string]bool {
	var out map[string]bool
	for _, m := range e.Memory.Kept.Containers {
		if h := m.PostStart; h.ID != "" && !h.Done {
			if out == nil {
				out = map[string]bool{}
			}
			out[h.ID] = true
		}
	}
	return out
}

// before is what probes said of the containers that ran before this agent did.
func before(e *worker.Entry) map[string]health.Before {
	var out map[string]health.Before
	for _, m := range e.Memory.Kept.Containers {
		if p := m.Proven; p.ID != "" {
			if out == nil {
				out = map[string]health.Before{}
			}
			out[p.ID] = health.Before{Started: p.Started, Ready: p.Ready}
		}
	}
	return out
}

// health hands what the probes say to the workers.
func (a *Agent) health() (map[types.UID]map[string]plan.Health, <-chan struct{}) {
	h, newer := a.prober.Health()
	if h == nil {
		h = probe.Health{}
	}
	return h, newer
}

// questions runs commands of probes in containers.
type questions struct{ client *runtime.Client }

func (q questions) Exec(ctx context.Context, id string, command []string, timeout time.Duration) ([]byte, int32, error) {
	r, err := q.client.ExecSync(ctx, id, command, timeout)
	return append(r.Stdout, r.Stderr...), r.ExitCode, err
}

func (q questions) Ended(ctx context.Context, id string) bool {
	ended, err := q.client.Ended(ctx, id)
	return err == nil && ended // the runtime's errors are told by those who need an answer
}

// judge is admission with what this node is now.
func (a *Agent) judge(candidate *pod.Desired, staying []*pod.Desired, held []*allocate.Assigned) plan.Verdict {
	h := a.observer.Health().Value()
	own, _ := a.member.ownNode()
	if a.member != nil && own.object == nil && !candidate.Static() {
		return plan.Verdict{Message: "the labels of this node are not known yet: the API server has not told of the node"}
	}
	node := admission.Node{
		Name: a.host.Name, Allocatable: a.settings.allocatable, MaxPods: a.room.MaxPods, Kernel: a.host.Kernel,
		Declared: a.declares(), Flat: a.cfg.Kubelet.CgroupsPerQOS != nil && !*a.cfg.Kubelet.CgroupsPerQOS,
		AllowedUnsafeSysctls: a.cfg.Kubelet.AllowedUnsafeSysctls, Handlers: h.Handlers, Features: h.Features, Held: held, Rules: a.rules,
	}
	down, _ := a.goingDown()
	node.ShuttingDown = down.Down()
	node.Pressure = a.pressure.Pressure().Value()
	if own.object != nil {
		node.Labels, node.Taints = own.object.Labels, own.object.Spec.Taints
	}
	if a.host.AppArmor {
		node.AppArmor = &admission.AppArmor{Loaded: host.AppArmorProfiles("/sys/kernel/security/apparmor/profiles")}
	}
	node.Devices = allocate.ChooseDevices(allocate.DeviceNode{
		Supplies: a.stock.Supplies().Value(), Held: held, Patient: candidate.Static(), Now: time.Now(), Prefer: a.stock.Prefer,
	})
	began := time.Now()
	v := admission.Judge(candidate, staying, node)
	if a.rules != nil && a.rules.Topology.Asks() {
		a.metrics.PlaceTook(time.Since(began))
	}
	return v
}
