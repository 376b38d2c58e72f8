package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// families are the counters and histograms of the registry.
type families struct {
	nodeName, cgroupVersion, buildInfo *prometheus.GaugeVec

	operations      *prometheus.CounterVec
	operationErrors *prometheus.CounterVec
	operationTook   *prometheus.HistogramVec

	workerTook              *prometheus.HistogramVec
	workerStarted           prometheus.Histogram
	podStarted              prometheus.Histogram
	podStartTotal           prometheus.Histogram
	podStartSLI             prometheus.Histogram
	firstNetworked          prometheus.Gauge
	storageTook, volumeTook *prometheus.HistogramVec
	cgroupsTook             *prometheus.HistogramVec
	containers              prometheus.Histogram

	sandboxTook   *prometheus.HistogramVec
	sandboxErrors *prometheus.CounterVec

	podsStarted, podsFailed         prometheus.Counter
	usernsStarted, usernsFailed     prometheus.Counter
	containersStarted               *prometheus.CounterVec
	containersFailed                *prometheus.CounterVec
	containersEnded                 *prometheus.CounterVec
	pullTook                        *prometheus.HistogramVec
	images                          *prometheus.CounterVec
	imagesCollected                 *prometheus.CounterVec
	imageVolumesRequested           prometheus.Counter
	imageVolumesMounted             prometheus.Counter
	imageVolumesFailed              prometheus.Counter
	orphans                         prometheus.Counter
	restarted, rejected             *prometheus.CounterVec
	httpFallbacks, sleepsTerminated prometheus.Counter

	relistTook, relistBetween, inspectTook, eventLate prometheus.Histogram
	lastSeen                                          prometheus.Gauge
	eventsDiscarded, streamsUp, streamsFailed         prometheus.Counter

	requests     *prometheus.CounterVec
	requestsTook *prometheus.HistogramVec
	requestsNow  *prometheus.GaugeVec
}

// startBuckets are upper bounds in seconds for things that take from an instant to an hour.
var startBuckets = []float64{0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}

// pullBuckets are upper bounds in seconds for pulls.
var pullBuckets = []float64{1, 5, 10, 20, 30, 60, 180, 300, 600, 900, 1200, 1800, 2700, 3600}

// maker makes collectors and registers them.
type maker struct{ registry *prometheus.Registry }

func (m maker) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m maker) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m maker) gauge(name, help string) prometheus.Gauge {
	c := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m maker) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	c := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m maker) histogram(name, help string, buckets []float64) prometheus.Histogram {
	c := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(c)
	return c
}

func (m maker) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	c := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(c)
	return c
}

func newFamilies(m maker) families {
	standard := prometheus.DefBuckets
	f := families{
		nodeName:      m.gauges("kubelet_node_name", "The name of this node; always 1.", "node"),
		cgroupVersion: m.gauges("kubelet_cgroup_version", "The version of cgroups on this node."),
		buildInfo: m.gauges("kubernetes_build_info", "Which build this is; always 1.",
			"major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform"),

		operations:      m.counters("kubelet_runtime_operations_total", "Calls of the container runtime.", "operation_type"),
		operationErrors: m.counters("kubelet_runtime_operations_errors_total", "Calls of the container runtime that failed.", "operation_type"),
		operationTook:   m.histograms("kubelet_runtime_operations_duration_seconds", "How long calls of the container runtime take.", startSmall(), "operation_type"),

		relistTook:      m.histogram("kubelet_pleg_relist_duration_seconds", "How long a listing of everything the runtime has takes.", standard),
		relistBetween:   m.histogram("kubelet_pleg_relist_interval_seconds", "The time between the beginnings of two listings.", append(standard[:len(standard):len(standard)], 30, 60, 120, 300)),
		inspectTook:     m.histogram("kubelet_pleg_pod_relist_duration_seconds", "How long the inspection of one pod takes.", standard),
		lastSeen:        m.gauge("kubelet_pleg_last_seen_seconds", "When the last listing that came back was begun, in seconds since 1970."),
		eventsDiscarded: m.counter("kubelet_pleg_discard_events", "Events that were thrown away; they never are, since newer ones replace older ones."),
		streamsUp:       m.counter("kubelet_evented_pleg_connection_success_count", "How often the runtime's stream of events was connected."),
		streamsFailed:   m.counter("kubelet_evented_pleg_connection_error_count", "How often the runtime's stream of events ended or could not be had."),
		eventLate:       m.histogram("kubelet_evented_pleg_connection_latency_seconds", "How long after it was made an event of the runtime comes.", standard),
	}
	f.pods(m)
	f.http(m)
	return f
}

// pods adds what is about pods and containers.
func (f *families) pods(m maker) {
	f.workerTook = m.histograms("kubelet_pod_worker_duration_seconds", "How long one step of bringing a pod to what it should be takes.", prometheus.DefBuckets, "operation_type")
	f.workerStarted = m.histogram("kubelet_pod_worker_start_duration_seconds", "The time from first hearing of a pod to beginning work on it.", prometheus.DefBuckets)
	f.podStarted = m.histogram("kubelet_pod_start_duration_seconds", "The time from first hearing of a pod to all its containers being started.", startBuckets)
	f.podStartTotal = m.histogram("kubelet_pod_start_total_duration_seconds", "The time from a pod of the API being created to all its containers being started.", startBuckets)
	f.podStartSLI = m.histogram("kubelet_pod_start_sli_duration_seconds", "The same without the time in which images were pulled.", startBuckets)
	f.firstNetworked = m.gauge("kubelet_first_network_pod_start_sli_duration_seconds", "The same of the first pod with a network of its own since the start of the agent; 0 before there was one.")
	f.storageTook = m.histograms("storage_operation_duration_seconds", "How long an attempt to set up a volume takes.", storageBuckets, "volume_plugin", "operation_name", "status", "migrated")
	f.volumeTook = m.histograms("volume_operation_total_seconds", "The time from the first attempt to set up a volume to success.", storageBuckets, "plugin_name", "operation_name")
	f.cgroupsTook = m.histograms("kubelet_cgroup_manager_duration_seconds", "How long making, changing and removing cgroups takes.", prometheus.DefBuckets, "operation_type")
	f.containers = m.histogram("kubelet_containers_per_pod_count", "How many containers a pod has.", prometheus.ExponentialBuckets(1, 2, 5))
	f.sandboxTook = m.histograms("kubelet_run_podsandbox_duration_seconds", "How long making a pod sandbox takes.", startSmall(), "runtime_handler")
	f.sandboxErrors = m.counters("kubelet_run_podsandbox_errors_total", "Pod sandboxes that could not be made.", "runtime_handler")
	f.podsStarted = m.counter("kubelet_started_pods_total", "Pods whose sandbox was made, or tried to be.")
	f.podsFailed = m.counter("kubelet_started_pods_errors_total", "Pods whose sandbox could not be made.")
	f.usernsStarted = m.counter("kubelet_started_user_namespaced_pods_total", "Pods with a user namespace whose sandbox was made, or tried to be.")
	f.usernsFailed = m.counter("kubelet_started_user_namespaced_pods_errors_total", "Pods with a user namespace whose sandbox could not be made.")
	f.containersStarted = m.counters("kubelet_started_containers_total", "Containers that were started, or tried to be.", "container_type")
	f.containersFailed = m.counters("kubelet_started_containers_errors_total", "Containers that could not be started.", "container_type", "code")
	f.containersEnded = m.counters("kubelet_terminated_containers_total", "Containers that ended.", "container_type", "exit_code", "reason")
	f.pullTook = m.histograms("kubelet_image_pull_duration_seconds", "How long pulling an image takes.", pullBuckets, "image_size_in_bytes")
	f.images = m.counters("kubelet_image_manager_ensure_image_requests_total", "How often a container wanted an image.", "pull_policy", "present_locally", "pull_required")
	f.imagesCollected = m.counters("kubelet_image_garbage_collected_total", "Images that were removed because nobody used them.", "reason")
	f.imageVolumesRequested = m.counter("kubelet_image_volume_requested_total", "Image volumes whose image was asked for.")
	f.imageVolumesMounted = m.counter("kubelet_image_volume_mounted_succeed_total", "Image volumes of containers that were made.")
	f.imageVolumesFailed = m.counter("kubelet_image_volume_mounted_errors_total", "Image volumes of containers that could not be made.")
	f.orphans = m.counter("kubelet_orphaned_runtime_pods_total", "Pods that were found in the runtime, wanted by nobody, and ended.")
	f.restarted = m.counters("kubelet_restarted_pods_total", "Pods that were dropped and wanted again with the same UID.", "static")
	f.rejected = m.counters("kubelet_admission_rejections_total", "Pods that were not let in.", "reason")
	f.httpFallbacks = m.counter("kubelet_lifecycle_handler_http_fallbacks_total", "Lifecycle hooks that wanted HTTPS and were answered in HTTP.")
	f.sleepsTerminated = m.counter("kubelet_sleep_action_terminated_early_total", "Sleep hooks that were cut by the end of the grace period.")
}

func (f *families) http(m maker) {
	labels := []string{"method", "path", "server_type", "long_running"}
	f.requests = m.counters("kubelet_http_requests_total", "Requests that were answered.", labels...)
	f.requestsTook = m.histograms("kubelet_http_requests_duration_seconds", "How long answering a request takes.", prometheus.DefBuckets, labels...)
	f.requestsNow = m.gauges("kubelet_http_inflight_requests", "Requests that are being answered now.", labels...)
}

func startSmall() []float64 { return prometheus.ExponentialBuckets(.005, 2.5, 14) }

// Build tells which build this is.
type Build struct{ Major, Minor, Version, Commit, Date string }

func (b Build) labels() []string {
	return []string{b.Major, b.Minor, b.Version, b.Commit, "", b.Date, runtime.Version(), runtime.Compiler, runtime.GOOS + "/" + runtime.GOARCH}
}
