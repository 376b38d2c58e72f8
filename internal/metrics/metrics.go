package metrics

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Config is what the numbers are about.
type Config struct {
	NodeName string
	// CgroupVersion is 1 or 2; 0 if it is not known.
	CgroupVersion int
	Build         Build
	// Gates returns the feature gates; nil knows of none. It is called by every reader of the metrics.
	Gates func() []Gate
	// Pods returns the pods as they are now. It is called by every reader of the metrics.
	Pods func() []Pod
	// Shutdown returns when the last shutdown of the machine that was heard of began and ended; zero for never. Nil knows of none.
	Shutdown func() (began, ended time.Time)
	// Find returns what is wanted of a pod, or nil. It tells the type of a container that ended; nil finds none.
	Find func(types.UID) *pod.Desired
}

// Pod is what is counted of one pod.
type Pod struct {
	Desired  *pod.Desired
	Stage    plan.Stage
	Observed *pod.Observed
	// Mounted holds the volumes that are set up.
	Mounted map[string]uint64
	// Kept is what is remembered of it; nil counts no resizes.
	Kept *plan.Kept
}

// Metrics are the numbers. Its methods are safe for use by several goroutines and never block for long.
type Metrics struct {
	families
	registry, slis *prometheus.Registry
	probes         probes
	resizes        resizes
	pins           pins
	evictions      evictions
	devices        devices
	podResources   podResources
	parts          parts
	checks         *prometheus.GaugeVec
	checked        *prometheus.CounterVec
	began          time.Time
	find           func(types.UID) *pod.Desired

	mu    sync.Mutex
	lives map[types.UID]*life
	// networked tells that the start of a pod with a network of its own was counted.
	networked bool
	ended     map[types.UID]map[string]struct{} // containers whose end was counted, by pod
}

// life is how far the start of a pod has got.
type life struct {
	begun bool
	// missing are the regular containers that were not started yet; nil when the start was counted, or is not ours.
	missing map[string]struct{}
	// pullFrom and pullTo are when the first pull began and the last one ended; zero if there was none.
	pullFrom, pullTo time.Time
	// volumes are when the setting up of each volume began that is not set up yet.
	volumes map[string]time.Time
}

// New makes a registry of its own and everything in it.
func New(cfg Config) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), slis: prometheus.NewRegistry(), began: time.Now(), find: cfg.Find,
		lives: map[types.UID]*life{}, ended: map[types.UID]map[string]struct{}{},
	}
	if m.find == nil {
		m.find = func(types.UID) *pod.Desired { return nil }
	}
	m.families, m.probes, m.evictions = newFamilies(maker{m.registry}), newProbes(), newEvictions(maker{m.registry})
	m.resizes, m.devices = newResizes(maker{m.registry}), newDevices(maker{m.registry})
	m.podResources = newPodResources(maker{m.registry})
	m.pins = newPins(maker{m.registry})
	m.parts = newParts(maker{m.registry})
	for _, static := range []string{"", "true"} { // rates begin with the first
		m.restarted.WithLabelValues(static)
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.shutdowns(cfg.Shutdown)
	if cfg.Pods != nil {
		m.registry.MustRegister(census{cfg.Pods}, volumes{cfg.Pods})
	}
	if cfg.Gates != nil {
		m.registry.MustRegister(gates{cfg.Gates})
	}
	m.nodeName.WithLabelValues(cfg.NodeName).Set(1)
	m.buildInfo.WithLabelValues(cfg.Build.labels()...).Set(1)
	if cfg.CgroupVersion > 0 {
		m.CgroupVersion(cfg.CgroupVersion)
	}
	m.checks = maker{m.slis}.gauges("kubernetes_healthcheck", "The last result of a health check: 1 for ok.", "type", "name")
	m.checked = maker{m.slis}.counters("kubernetes_healthchecks_total", "Results of health checks.", "type", "name", "status")
	return m
}

// shutdowns registers when the machine went down (behaviour 309).
func (m *Metrics) shutdowns(last func() (began, ended time.Time)) {
	if last == nil {
		last = func() (began, ended time.Time) { return }
	}
	seconds := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return float64(t.UnixNano()) / 1e9
	}
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("kubelet_graceful_shutdown_start_time_seconds", "When the last graceful shutdown of the machine began, in seconds since 1970; 0 for never.", func() float64 {
		began, _ := last()
		return seconds(began)
	})
	gauge("kubelet_graceful_shutdown_end_time_seconds", "When the last graceful shutdown of the machine ended, in seconds since 1970; 0 for never.", func() float64 {
		_, ended := last()
		return seconds(ended)
	})
}

// CgroupVersion tells the version of cgroups, for those who learn it late.
func (m *Metrics) CgroupVersion(version int) { m.cgroupVersion.WithLabelValues().Set(float64(version)) }

// Cgroups counts something done with cgroups: create, update or destroy.
func (m *Metrics) Cgroups(operation string, took time.Duration) {
	m.cgroupsTook.WithLabelValues(operation).Observe(took.Seconds())
}

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler { return handler(m.registry) }

// SLIHandler serves /metrics/slis.
func (m *Metrics) SLIHandler() http.Handler {
	return handler(prometheus.Gatherers{m.slis, startTime()})
}

// handler serves what there is even if one collector fails.
func handler(r prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true, MaxRequestsInFlight: 10})
}

// Operation counts a call of the runtime; it is runtime.Config.Observe.
func (m *Metrics) Operation(operation string, took time.Duration, err error) {
	m.operations.WithLabelValues(operation).Inc()
	m.operationTook.WithLabelValues(operation).Observe(took.Seconds())
	if err != nil {
		m.operationErrors.WithLabelValues(operation).Inc()
	}
}

// Healthcheck takes the result of a health check.
func (m *Metrics) Healthcheck(name string, ok bool) {
	value, status := 1.0, "success"
	if !ok {
		value, status = 0, "error"
	}
	m.checks.WithLabelValues("healthz", name).Set(value)
	m.checked.WithLabelValues("healthz", name, status).Inc()
}

// Request counts a request that begins; call what it returns when the request is answered. path is the first segment
// of a known route: labels must not be up to whoever asks.
func (m *Metrics) Request(method, path, server string, longRunning bool) func() {
	began := time.Now()
	labels := []string{method, path, server, strconv.FormatBool(longRunning)}
	now := m.requestsNow.WithLabelValues(labels...)
	now.Inc()
	return func() {
		now.Dec()
		m.requests.WithLabelValues(labels...).Inc()
		m.requestsTook.WithLabelValues(labels...).Observe(time.Since(began).Seconds())
	}
}

// Note counts what is told in notes only.
func (m *Metrics) Note(n note.Note) {
	if n.Reason == reason.LifecycleHTTPFallback {
		m.httpFallbacks.Inc()
	}
}

// Rejected counts a pod that admission did not let in.
func (m *Metrics) Rejected(why string) { m.rejected.WithLabelValues(why).Inc() }

// Restarted counts a pod that was dropped and is wanted again with the same UID.
func (m *Metrics) Restarted(d *pod.Desired) { m.restarted.WithLabelValues(static(d)).Inc() }

// Image counts a container's wish for an image. pulled tells whether a pull began; refused is why the image cannot be had,
// as a word of package reason, empty if it is there.
func (m *Metrics) Image(policy v1.PullPolicy, pulled bool, refused string) {
	const yes, no, unknown = "true", "false", "unknown"
	present, required := unknown, unknown
	switch {
	case pulled && policy == v1.PullAlways: // nobody looked
		required = yes
	case pulled:
		present, required = no, yes
	case refused == "":
		present, required = yes, no
	case refused == reason.ErrImageNeverPull:
		present, required = no, no
	}
	m.images.WithLabelValues(string(policy), present, required).Inc()
}

// ImageCollected counts an image that was removed because nobody used it; why is "age" or "space".
func (m *Metrics) ImageCollected(why string) { m.imagesCollected.WithLabelValues(why).Inc() }

// SleepCut counts a sleep hook that the end of the grace period cut short.
func (m *Metrics) SleepCut() { m.sleepsTerminated.Inc() }

// The following are the fields of observe.Metrics.

// Relisted takes how long a listing took.
func (m *Metrics) Relisted(took time.Duration) { m.relistTook.Observe(took.Seconds()) }

// RelistInterval takes the time between the beginnings of two listings.
func (m *Metrics) RelistInterval(between time.Duration) { m.relistBetween.Observe(between.Seconds()) }

// LastSeen takes when a listing that came back was begun.
func (m *Metrics) LastSeen(at time.Time) { m.lastSeen.Set(float64(at.UnixNano()) / 1e9) }

// Inspected takes how long the inspection of a pod took.
func (m *Metrics) Inspected(took time.Duration) { m.inspectTook.Observe(took.Seconds()) }

// StreamUp counts a stream of events that was connected.
func (m *Metrics) StreamUp() { m.streamsUp.Inc() }

// StreamFailed counts a stream of events that ended.
func (m *Metrics) StreamFailed() { m.streamsFailed.Inc() }

// EventDelay takes how late an event came.
func (m *Metrics) EventDelay(late time.Duration) { m.eventLate.Observe(late.Seconds()) }
