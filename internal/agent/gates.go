package agent

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/manifest"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/serve"
)

// gates are the feature gates, for the metrics.
func (a *Agent) gates() []metrics.Gate {
	all := a.cfg.Gates()
	out := make([]metrics.Gate, 0, len(all))
	for _, g := range all {
		out = append(out, metrics.Gate(g))
	}
	return out
}

// declares are the features that the node says it has: those whose gates are on. WebSockets need no translation by the API server on their way
// to this node; the scheduler places a pod with a rule that restarts all its containers only where that is declared (behaviour 114), and the
// API server lets the other resizes through only where they are (behaviour 230).
func (a *Agent) declares() []string {
	all := []string{"ExtendWebSocketsToKubelet", "InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers", "RestartAllContainersOnContainerExits"}
	return slices.DeleteFunc(all, func(f string) bool { return !a.cfg.Gate(f) })
}

// closeFaces takes away what feature gates switch off.
func (a *Agent) closeFaces(c *serve.Config) {
	if !a.cfg.Gate("ContainerCheckpoint") {
		c.CheckpointsDir = ""
	}
	if !a.cfg.Gate("ComponentFlagz") {
		c.Flags = nil
	}
	if !a.cfg.Gate("ComponentStatusz") {
		c.About = nil
	}
}

// A counting leaves out of pods what does not count because its feature gate is off. What a source has said once stays one value: workers
// compare by that.
type counting struct {
	off  manifest.Off
	made map[*pod.Desired]*pod.Desired
}

func newCounting(c *config.Config) *counting {
	return &counting{off: manifest.Off{
		RestartRules: !c.Gate("ContainerRestartRules"), RestartAll: !c.Gate("RestartAllContainersOnContainerExits"), PodResources: !c.Gate("PodLevelResources"),
	}}
}

// of are the pods as they count.
func (c *counting) of(pods map[types.UID]*pod.Desired) map[types.UID]*pod.Desired {
	if c.off == (manifest.Off{}) {
		return pods
	}
	made, out := make(map[*pod.Desired]*pod.Desired, len(pods)), make(map[types.UID]*pod.Desired, len(pods))
	for uid, d := range pods {
		counts := c.made[d]
		if counts == nil {
			counts = d
			if p := c.off.Of(d.Pod); p != d.Pod {
				less := *d
				less.Pod, counts = p, &less
			}
		}
		made[d], out[uid] = counts, counts
	}
	c.made = made
	return out
}
