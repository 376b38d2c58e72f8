package metrics

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// start has a pod of two containers start: ten seconds after its creation, of which pulls took from second 1 to 3 and from 2 to 5.
func start(m *Metrics, uid string, edit func(*pod.Desired)) {
	created := seen.Add(-2 * time.Second)
	d := desired(uid, func(d *pod.Desired) {
		d.Source, d.Pod.CreationTimestamp = pod.FromAPI, metav1.NewTime(created)
		if edit != nil {
			edit(d)
		}
	})
	end := func(kind plan.Kind, container string, from, to int, pulled *plan.Pulled) {
		m.Ended(d, plan.Outcome{Effect: plan.Effect{Kind: kind, Container: container}, Began: created.Add(time.Duration(from) * time.Second),
			Ended: created.Add(time.Duration(to) * time.Second), Pulled: pulled})
	}
	end(plan.MakePod, "", 0, 0, nil)
	end(plan.EnsureImage, "init", 0, 6, &plan.Pulled{Present: true})
	end(plan.EnsureImage, "log", 2, 5, &plan.Pulled{})
	end(plan.EnsureImage, "app", 1, 3, &plan.Pulled{})
	end(plan.RunSandbox, "", 0, 1, nil)
	end(plan.StartContainer, "app", 6, 7, nil)
	end(plan.StartContainer, "log", 7, 10, nil)
}

func TestStartOfPods(t *testing.T) {
	m := New(Config{})
	wantLines(t, exposed(t, m.Handler()), `kubelet_first_network_pod_start_sli_duration_seconds 0`)
	start(m, "host", func(d *pod.Desired) { d.Pod.Spec.HostNetwork = true })
	wantLines(t, exposed(t, m.Handler()), `kubelet_first_network_pod_start_sli_duration_seconds 0`)
	start(m, "file", func(d *pod.Desired) { d.Source = pod.FromFile })
	start(m, "first", nil)
	start(m, "second", nil)
	wantLines(t, exposed(t, m.Handler()),
		`kubelet_pod_start_duration_seconds_count 4`,
		`kubelet_pod_start_total_duration_seconds_sum 30`, `kubelet_pod_start_total_duration_seconds_count 3`,
		`kubelet_pod_start_sli_duration_seconds_sum 18`, `kubelet_pod_start_sli_duration_seconds_count 3`,
		`kubelet_first_network_pod_start_sli_duration_seconds 6`,
	)
}

func TestVolumes(t *testing.T) {
	at := func(source v1.VolumeSource) v1.Volume { return v1.Volume{Name: "v", VolumeSource: source} }
	for want, v := range map[string]v1.Volume{
		"kubernetes.io/configmap":    at(v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{}}),
		"kubernetes.io/projected":    at(v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{}}),
		"kubernetes.io/downward-api": at(v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{}}),
		"kubernetes.io/csi:a.b":      at(v1.VolumeSource{CSI: &v1.CSIVolumeSource{Driver: "a.b"}}),
		"":                           at(v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{}}),
	} {
		if got := pluginOf(&v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	ending := desired("a", nil)
	m := New(Config{Pods: func() []Pod {
		return []Pod{{Desired: ending, Stage: plan.Stopping, Mounted: map[string]uint64{"data": 0}}, {Desired: desired("b", nil)}}
	}})
	wantLines(t, exposed(t, m.Handler()),
		`volume_manager_total_volumes{plugin_name="kubernetes.io/empty-dir",state="actual_state_of_world"} 1`,
		`volume_manager_total_volumes{plugin_name="kubernetes.io/empty-dir",state="desired_state_of_world"} 1`)
}

// A volume that fails for a while is counted from its first attempt.
func TestVolumeThatFailsFirst(t *testing.T) {
	m := New(Config{})
	d := desired("a", nil)
	for i, failed := range []*plan.Fault{{}, {Class: plan.Cancelled}, nil, nil} {
		began := seen.Add(time.Duration(i) * time.Minute)
		m.Ended(d, plan.Outcome{Effect: plan.Effect{Kind: plan.SetupVolume, Volume: "data"}, Began: began, Ended: began.Add(time.Second), Failed: failed})
	}
	wantLines(t, exposed(t, m.Handler()),
		`volume_operation_total_seconds_sum{operation_name="overall_volume_mount",plugin_name="kubernetes.io/empty-dir"} 122`,
		`volume_operation_total_seconds_count{operation_name="overall_volume_mount",plugin_name="kubernetes.io/empty-dir"} 2`)
}

func TestGates(t *testing.T) {
	m := New(Config{Gates: func() []Gate { return []Gate{{"A", "ALPHA", false}, {"B", "", true}} }})
	wantLines(t, exposed(t, m.Handler()), `kubernetes_feature_enabled{name="A",stage="ALPHA"} 0`, `kubernetes_feature_enabled{name="B",stage=""} 1`)
}

func TestAccess(t *testing.T) {
	m := New(Config{})
	a := m.Access()
	a.WhoAsked("201", time.Second)
	a.MayAsked("<error>", time.Second)
	a.Token(true, 0)
	a.Token(false, time.Second)
	a.Fetching(1, true)
	a.Fetched(true)
	a.Fetched(false)
	a.Certificate(2 * time.Hour)
	wantLines(t, exposed(t, m.Handler()),
		`apiserver_delegated_authn_request_total{code="201"} 1`,
		`apiserver_delegated_authn_request_duration_seconds_bucket{code="201",le="1"} 1`,
		`apiserver_delegated_authz_request_total{code="<error>"} 1`,
		`authentication_token_cache_request_total{status="hit"} 1`,
		`authentication_token_cache_request_duration_seconds_sum{status="miss"} 1`,
		`authentication_token_cache_active_fetch_count{status="blocked"} 1`,
		`authentication_token_cache_active_fetch_count{status="in_flight"} 0`,
		`authentication_token_cache_fetch_total{status="ok"} 1`,
		`authentication_token_cache_fetch_total{status="error"} 1`,
		`apiserver_client_certificate_expiration_seconds_bucket{le="3600"} 0`,
		`apiserver_client_certificate_expiration_seconds_bucket{le="7200"} 1`,
	)
}
