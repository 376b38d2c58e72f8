package status_test

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/golden"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/status"
)

// TestGolden holds whole statuses. `go test ./internal/status -run Golden -rewrite` writes them anew.
func TestGolden(t *testing.T) {
	never := policy(v1.RestartPolicyNever)
	user := func(c *pod.Container) {
		c.User, c.StopSignal = &pod.User{UID: 101, GID: 101, SupplementalGroups: []int64{101}}, "SIGQUIT"
	}
	run := situation(containers("app", "tail"), resources, running("app#0", user), running("tail#0"))
	for name, in := range map[string]status.Input{
		"creating":   situation(containers("app"), sandboxes(), stage(plan.Preparing)),
		"running":    run,
		"init":       situation(inits("fetch"), sidecars("proxy"), containers("app"), exited("fetch#0", 0), created("proxy#0")),
		"crashloop":  situation(containers("app"), exited("app#3", 1, said("panic: no config")), crashed("app", "app-3", 40*time.Second)),
		"pull":       situation(containers("app"), failed(plan.EnsureImage, "app", plan.Failure{Count: 2, Reason: reason.ErrImagePull, Message: "no such host", RetryAt: at(70 * time.Second)})),
		"succeeded":  situation(never, containers("job"), exited("job#0", 0), stopped(plan.Cleaning, plan.Completed, "", "")),
		"failed":     situation(never, containers("job"), exited("job#0", 7, said("disk full")), stopped(plan.Cleaning, plan.Completed, "", "")),
		"refused":    situation(containers("app"), sandboxes(), refused),
		"evicted":    situation(containers("app"), exited("app#0", 137), stopped(plan.Cleaning, plan.Ordered, "Evicted", "The node was low on resource: memory. "), after(situation(containers("app"), running("app#0")))),
		"deadline":   situation(containers("app"), exited("app#0", 143), stopped(plan.Cleaning, plan.Overdue, reason.DeadlineExceeded, "Pod was active on the node longer than the specified deadline")),
		"vanished":   situation(containers("app", "tail"), running("tail#0"), after(run)),
		"deleted":    situation(containers("app", "tail"), exited("app#0", 0), exited("tail#0", 137), stopped(plan.Cleaning, plan.Deleted, "", ""), after(run)),
		"ephemeral":  situation(containers("app"), spec(debug), running("app#0"), running("debug#0")),
		"newsandbox": situation(inits("fetch"), containers("app"), exited("fetch#0", 0), exited("app#0", 255), running("fetch#1", inSandbox("s1")), sandboxes(pod.Sandbox{ID: "s1", Attempt: 1, Ready: true, IPs: []string{"10.0.0.9"}}, pod.Sandbox{ID: "s0"})),
	} {
		t.Run(name, func(t *testing.T) {
			s := status.Of(in)
			got, err := yaml.Marshal(&s)
			if err != nil {
				t.Fatal(err)
			}
			golden.File(t, name+".yaml", got)
		})
	}
}

func said(message string) func(*pod.Container) {
	return func(c *pod.Container) { c.Message = message }
}

func resources(in *status.Input) {
	c := &in.Desired.Pod.Spec.Containers[0]
	c.Resources = v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m")},
		Limits:   v1.ResourceList{v1.ResourceMemory: resource.MustParse("64Mi")},
	}
	c.VolumeMounts = []v1.VolumeMount{{Name: "logs", MountPath: "/var/log/nginx"}, {Name: "conf", MountPath: "/etc/nginx", ReadOnly: true}}
}
