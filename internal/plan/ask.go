package plan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

// What other rules have to know of a pod is answered here in the same way as the plan answers it for itself.

// Restarts tells whether an ended instance of a container starts again while the pod goes on (behaviours 89, 105, 109,
// 114, 140).
func Restarts(d *pod.Desired, m Memory, c *v1.Container, ended *pod.Container) bool {
	ask := draft{in: Input{Desired: d}, mem: m}
	return ask.restarts(c, ended)
}

// Sandbox is the sandbox the pod lives in, nil if it needs a new one (behaviour 47).
func Sandbox(d *pod.Desired, o pod.Observed) *pod.Sandbox {
	ask := draft{in: Input{Desired: d}, obs: o}
	return ask.sandbox()
}
