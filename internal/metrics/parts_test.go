package metrics

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

func TestParts(t *testing.T) {
	m := New(Config{})
	other(m)
	m.CredentialProvider("ecr", time.Second, nil)
	wantLines(t, exposed(t, m.Handler()),
		`kubelet_imagemanager_image_mustpull_checks_total{result="credentialRecordFound"} 1`,
		`kubelet_imagemanager_ondisk_pulledrecords 3`,
		`kubelet_imagemanager_ondisk_pullintents 1`,
		`kubelet_credential_provider_plugin_errors_total{plugin_name="ecr"} 1`,
		`kubelet_credential_provider_plugin_duration_sum{plugin_name="ecr"} 2`,
		`csi_operations_seconds_sum{driver_name="disk.example",grpc_status_code="OK",method_name="/csi.v1.Node/NodePublishVolume",migrated="false"} 1`,
		`kubelet_volume_metric_collection_duration_seconds_count{metric_source="du"} 1`,
		`kubelet_websocket_streaming_requests_total{subresource="exec"} 1`,
		`kubelet_preemptions{preemption_signal="cpu"} 1`,
		`plugin_manager_total_plugins{socket_path="/a.sock",state="actual_state_of_world"} 1`,
		`plugin_manager_total_plugins{socket_path="/a.sock",state="desired_state_of_world"} 1`,
		`plugin_manager_total_plugins{socket_path="/b.sock",state="desired_state_of_world"} 1`,
		`rest_client_rate_limiter_duration_seconds_sum{host="",verb="GET"} 0.001`,
		`rest_client_request_retries_total{code="429",host="",verb="GET"} 1`,
		`kubelet_metrics_provider{provider="cadvisor"} 1`,
		`kubelet_restarted_pods_total{static=""} 0`,
	)
	if like(exposed(t, m.SLIHandler()), "process_start_time_seconds") == "" {
		t.Error("/metrics/slis does not tell when this process started")
	}
}

// TestLevels counts pods that are let in by whether they have resources as a whole.
func TestLevels(t *testing.T) {
	some := v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}
	m := New(Config{})
	for _, edit := range []func(*v1.PodSpec){
		func(*v1.PodSpec) {},
		func(s *v1.PodSpec) { s.Containers[0].Resources.Requests = some },
		func(s *v1.PodSpec) { s.Resources = &v1.ResourceRequirements{Requests: some} },
		func(s *v1.PodSpec) {
			s.Resources = &v1.ResourceRequirements{Requests: some}
			s.Containers[0].Resources.Requests = some
		},
	} {
		d := desired("a", func(d *pod.Desired) { edit(&d.Pod.Spec) })
		for range 2 { // a retry is no other pod
			m.Ended(d, plan.Outcome{Effect: plan.Effect{Kind: plan.MakePod}, Began: seen, Ended: seen, Failed: &plan.Fault{Message: "no"}})
		}
		m.Ended(d, plan.Outcome{Effect: plan.Effect{Kind: plan.ForgetPod}})
	}
	wantLines(t, exposed(t, m.Handler()),
		`kubelet_pod_level_resources_admission_total{config_mode="",qos_class="besteffort"} 1`,
		`kubelet_pod_level_resources_admission_total{config_mode="",qos_class="burstable"} 1`,
		`kubelet_pod_level_resources_admission_total{config_mode="pod",qos_class="burstable"} 1`,
		`kubelet_pod_level_resources_admission_total{config_mode="mixed",qos_class="burstable"} 1`,
	)
}

// TestOrphans: pods that nobody wants are told of while their volumes go, and when they do not go.
func TestOrphans(t *testing.T) {
	stray := func(uid string) *pod.Desired {
		return desired(uid, func(d *pod.Desired) { d.Source, d.Wanted = pod.FromRuntime, false })
	}
	failing := &plan.Kept{Failures: map[string]plan.Failure{plan.Effect{Kind: plan.TearVolumes}.Subject(): {}}}
	pods := []Pod{
		{Desired: stray("a"), Stage: plan.Cleaning, Kept: failing}, {Desired: stray("b"), Stage: plan.Cleaning, Kept: &plan.Kept{}},
		{Desired: stray("c"), Stage: plan.Stopping, Kept: failing}, {Desired: desired("d", nil), Stage: plan.Cleaning, Kept: failing},
	}
	wantLines(t, exposed(t, New(Config{Pods: func() []Pod { return pods }}).Handler()),
		`kubelet_orphan_pod_cleaned_volumes 2`, `kubelet_orphan_pod_cleaned_volumes_errors 1`)
}
