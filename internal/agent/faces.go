package agent

import (
	"log/slog"
	"net"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/containerlog"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/machine"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/serve"
	"github.com/bosun-project/bosun/internal/source"
	"github.com/bosun-project/bosun/internal/status"
	"github.com/bosun-project/bosun/internal/worker"
)

// AdminSocket is the name of the admin server's socket below the state directory.
const AdminSocket = "bosun.sock"

// buildFaces makes the servers that the configuration asks for.
func (a *Agent) buildFaces(level *slog.LevelVar) error {
	k := &a.cfg.Kubelet
	a.hearing = serve.Fresh("syncloop", func() time.Time { return a.observer.Listing().Value().Began }, stale(k.SyncFrequency.Duration))
	who := host.Who()
	config := serve.Config{
		Pods: a.set.Table(), Status: func(e *worker.Entry) v1.PodStatus { return e.Status },
		PodLogsDir: k.PodLogsDir, Notes: func() []note.Note { return a.notes.All("") },
		Problems: func() []source.Problem { return a.merge.Cell().Value().Problems },
		Troubles: a.troubles, Waits: a.waits,
		Machine: machine.Read, Pulls: a.puller.Progress, Streams: a.client, Numbers: a.metrics,
		Usage: a.stats, NodeName: a.host.Name, OSImage: who.OSImage, Kernel: who.Kernel,
		Checks:    []serve.Check{a.hearing},
		Debugging: defaultOn(k.EnableDebuggingHandlers), Profiling: defaultOn(k.EnableProfilingHandler),
		MirrorUID: a.mirrorUID, Forward: a.client, Containers: a.client, CheckpointsDir: filepath.Join(a.cfg.RootDir, "checkpoints"),
		SplitLogStreams: a.cfg.Gate("PodLogsQuerySplitStreams"), OldWebSockets: !a.cfg.Gate("ExtendWebSocketsToKubelet"),
		AllocatedPods:  a.cfg.Gate("KubeletAllocatedPodsEndpoint"),
		SystemLogQuery: k.EnableSystemLogQuery != nil && *k.EnableSystemLogQuery,
		Kubelet:        &a.cfg.Redacted().Kubelet, About: &serve.About{Version: Kubernetes, Started: time.Now()}, Flags: a.cfg.FlagValues, Log: a.log,
	}
	if a.tracer != nil {
		config.Trace = a.tracer.Requests
	}
	a.closeFaces(&config)
	if defaultOn(k.EnableSystemLogHandler) {
		config.SystemLogsDir = "/var/log"
	}
	if config.Profiling && k.EnableContentionProfiling {
		goruntime.SetBlockProfileRate(1)
	}
	if defaultOn(k.EnableDebugFlagsHandler) {
		config.SetVerbosity = verbosity(level)
	}
	faces := serve.New(config)
	a.answers = faces
	admin := serve.NewAdmin(filepath.Join(a.cfg.RootDir, AdminSocket), faces, a.log)
	a.faces = append(a.faces, actor{"admin server", admin.Run})
	a.buildPodResources()
	if k.HealthzPort != nil && *k.HealthzPort > 0 {
		s := serve.NewHealth(address(k.HealthzBindAddress, *k.HealthzPort), a.log)
		a.faces = append(a.faces, actor{"health server", s.Run})
	}
	if k.ReadOnlyPort > 0 {
		s := serve.NewReadOnly(address(k.Address, k.ReadOnlyPort), faces, a.log)
		a.faces = append(a.faces, actor{"read-only server", s.Run})
	}
	if err := a.buildNodeAPI(); err != nil {
		return err
	}
	return a.buildSecure()
}

func defaultOn(b *bool) bool { return b == nil || *b }

// stale is how old the last look at everything the runtime has may be before the agent calls itself ill.
func stale(every time.Duration) time.Duration { return max(2*every, 5*time.Minute) }

func address(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// buildMetrics makes the numbers; their gauges read the table when somebody asks.
func (a *Agent) buildMetrics(release string) {
	major, minor, _ := strings.Cut(version, ".")
	a.metrics = metrics.New(metrics.Config{
		NodeName: a.host.Name,
		Build:    metrics.Build{Major: major, Minor: minor, Version: Kubernetes, Commit: release},
		Pods: func() []metrics.Pod {
			entries, _ := a.set.Table().Pods()
			pods := make([]metrics.Pod, 0, len(entries))
			for _, e := range entries {
				pods = append(pods, metrics.Pod{Desired: e.Desired, Stage: e.Memory.Stage, Observed: &e.Observed, Kept: &e.Memory.Kept, Mounted: e.Memory.Session.Volumes})
			}
			return pods
		},
		Shutdown: a.shutdownTimes, Gates: a.gates,
		Find: func(uid types.UID) *pod.Desired {
			if e := a.set.Table().Pod(uid); e != nil {
				return e.Desired
			}
			return nil
		},
	})
}

// nodeStatus is what the status of each pod tells of the node.
func (a *Agent) nodeStatus() status.Node {
	h := a.observer.Health().Value()
	n := status.Node{HostIPs: a.ips.Value(), RuntimeName: h.RuntimeName, RecursiveReadOnly: map[string]bool{}, NoDeviceHealth: !a.cfg.Gate("ResourceHealthStatus")}
	for _, handler := range h.Handlers {
		n.RecursiveReadOnly[handler.Name] = handler.RecursiveReadOnlyMounts
	}
	return n
}

// buildRotator makes what keeps the logs of running containers short.
func (a *Agent) buildRotator() {
	k := &a.cfg.Kubelet
	c := containerlog.RotatorConfig{Runtime: a.client, Targets: a.logTargets, Log: a.log}
	if q, err := resource.ParseQuantity(k.ContainerLogMaxSize); err == nil {
		c.MaxSize = q.Value()
	}
	if k.ContainerLogMaxFiles != nil {
		c.MaxFiles = int(*k.ContainerLogMaxFiles)
	}
	if k.ContainerLogMaxWorkers != nil {
		c.Workers = int(*k.ContainerLogMaxWorkers)
	}
	if k.ContainerLogMonitorInterval != nil {
		c.Every = k.ContainerLogMonitorInterval.Duration
	}
	a.rotator = containerlog.NewRotator(c)
}

func (a *Agent) logTargets() ([]containerlog.Target, <-chan struct{}) {
	entries, newer := a.set.Table().Pods()
	var targets []containerlog.Target
	for _, e := range entries {
		p := e.Desired.Pod
		dir := names.PodLogDir(a.cfg.Kubelet.PodLogsDir, p.Namespace, p.Name, p.UID)
		for i := range e.Observed.Containers {
			if c := &e.Observed.Containers[i]; c.State == pod.Running {
				targets = append(targets, containerlog.Target{ID: c.ID, Dir: dir, Name: names.ContainerLog(c.Name, c.Attempt)})
			}
		}
	}
	return targets, newer
}
