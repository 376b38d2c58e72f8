package simworld

import (
	"reflect"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// Devices are what device plugins have to give. Who sets it stands for them.
func (w *World) Devices() *latest.Cell[allocate.Supplies] { return &w.devices }

// Reboot makes the machine another one than before: nothing runs, and what plugins have handed out is worth nothing. No agent may live.
func (w *World) Reboot(boot string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boot = boot
	for _, s := range w.sandboxes {
		w.stopSandbox(s)
	}
	w.note("the machine is started anew: %s", boot)
}

// takeDevices hands out what belongs to a pod's devices.
func (w *World) takeDevices(uid types.UID) plan.Outcome {
	out := &allocate.Handed{Boot: w.boot, Containers: map[string]allocate.Artifacts{}}
	assigned := w.ledger[uid].Kept.Assigned
	if !assigned.HasDevices() {
		w.violate("%s: plugins are asked for devices that are not remembered", uid)
		return plan.Outcome{}
	}
	for name, part := range assigned.Containers {
		for resource := range part.Devices {
			if !w.devices.Value().Known[resource].Serving {
				return failed("the plugin is away", plan.Again)
			}
		}
		out.Containers[name] = allocate.Artifacts{Env: map[string]string{"HANDED": w.boot}}
	}
	return plan.Outcome{Handed: out}
}

// checkDevices holds that a container that begins has what it asks for, and that nobody else who runs has it.
func (w *World) checkDevices(d *pod.Desired, c *container) {
	spec, _ := pod.FindContainer(d.Pod, c.name)
	kept := w.ledger[d.UID()].Kept
	if spec == nil || w.faults.LedgerFull {
		return
	}
	for name, q := range spec.Resources.Limits {
		if !allocate.Extended(string(name)) || q.Value() == 0 {
			continue
		}
		ids := kept.Assigned.Part(c.name).Devices[string(name)]
		if len(ids) != int(q.Value()) {
			w.violate("%s: container %s starts with %v, and wants %s of %s", d.UID(), c.name, ids, q.String(), name)
		}
		if kept.Handed == nil || kept.Handed.Boot != w.boot {
			w.violate("%s: container %s starts with devices that were not handed out since the machine was started", d.UID(), c.name)
		}
		w.checkShared(d, c, name, ids)
	}
}

func (w *World) checkShared(d *pod.Desired, c *container, resource v1.ResourceName, ids []string) {
	for _, other := range w.containers {
		if other.id == c.id || other.state != pod.Running || other.uid == c.uid && other.name == c.name {
			continue
		}
		for _, id := range w.ledger[other.uid].Kept.Assigned.Part(other.name).Devices[string(resource)] {
			if slices.Contains(ids, id) {
				w.violate("%s: container %s starts with device %s, which container %s of %s has", d.UID(), c.name, id, other.name, other.uid)
			}
		}
	}
}

// checkKept holds that what a pod has for itself stays what it is.
func (a *Agent) checkKept(uid types.UID, r *plan.Record) {
	before, known := a.world.ledger[uid]
	if known && before.Kept.Assigned != nil && !reflect.DeepEqual(before.Kept.Assigned, r.Kept.Assigned) {
		a.world.violate("%s: it had %v for itself, and now it has %v", uid, before.Kept.Assigned, r.Kept.Assigned)
	}
}
