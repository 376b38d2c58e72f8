package narrate_test

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/narrate"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func desired() *pod.Desired {
	return &pod.Desired{Wanted: true, Source: pod.FromFile, Pod: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "u1"},
		Spec: v1.PodSpec{
			InitContainers:      []v1.Container{{Name: "init", Image: "busybox"}},
			Containers:          []v1.Container{{Name: "app", Image: "nginx:1"}},
			EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "sh"}}},
			Volumes: []v1.Volume{{Name: "data"}, {Name: "conf"}, {Name: "tmp"},
				{Name: "model", VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: "model:1"}}}},
		},
	}}
}

// told writes notes as a person would read them.
func told(notes []note.Note) string {
	var lines []string
	for _, n := range notes {
		lines = append(lines, n.Level.String()+" "+n.Reason+" "+n.About.FieldPath+"| "+n.Message)
	}
	return strings.Join(lines, "\n")
}

func expect(t *testing.T, notes []note.Note, want ...string) {
	t.Helper()
	if got := told(notes); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	for _, n := range notes {
		if n.About.Kind != "Pod" || n.About.Name != "web" || n.About.Namespace != "default" || n.About.UID != "u1" || n.At.IsZero() {
			t.Errorf("note is about %+v at %s", n.About, n.At)
		}
	}
}

func TestBegun(t *testing.T) {
	stopping := plan.Memory{Kept: plan.Kept{Stop: &plan.Stop{Cause: plan.Deleted}}}
	killing := func(why string) plan.Memory {
		return plan.Memory{Kept: plan.Kept{Containers: map[string]plan.ContainerMemory{"app": {Kill: plan.Kill{ID: "c1", Why: why}}}}}
	}
	hooked := plan.Memory{Kept: plan.Kept{Containers: map[string]plan.ContainerMemory{"app": {PreStop: plan.Hook{ID: "c1"}}}}}
	retried := plan.Memory{Kept: plan.Kept{Failures: map[string]plan.Failure{"stop container app": {Count: 1}}}}
	for name, c := range map[string]struct {
		m    plan.Memory
		e    plan.Effect
		want []string
	}{
		"66 the pod ends": {stopping, plan.Effect{Kind: plan.StopContainer, Container: "app", ID: "c1"},
			[]string{"Normal Killing spec.containers{app}| Stopping container app"}},
		"66 an init container ends": {stopping, plan.Effect{Kind: plan.StopContainer, Container: "init", ID: "c1"},
			[]string{"Normal Killing spec.initContainers{init}| Stopping container init"}},
		"66 an ephemeral container ends": {stopping, plan.Effect{Kind: plan.StopContainer, Container: "debug", ID: "c1"},
			[]string{"Normal Killing spec.ephemeralContainers{debug}| Stopping container debug"}},
		"66 liveness": {killing(""), plan.Effect{Kind: plan.StopContainer, Container: "app", ID: "c1", Why: "Container app failed liveness probe, will be restarted"},
			[]string{"Normal Killing spec.containers{app}| Container app failed liveness probe, will be restarted"}},
		"133 told before the preStop hook": {killing("Container app definition changed, will be restarted"), plan.Effect{Kind: plan.PreStop, Container: "app", ID: "c1"},
			[]string{"Normal Killing spec.containers{app}| Container app definition changed, will be restarted"}},
		"133 not again after the hook":       {hooked, plan.Effect{Kind: plan.StopContainer, Container: "app", ID: "c1"}, nil},
		"66 the hook was of another attempt": {hooked, plan.Effect{Kind: plan.StopContainer, Container: "app", ID: "c2"}, []string{"Normal Killing spec.containers{app}| Stopping container app"}},
		"66 not again when it is retried":    {retried, plan.Effect{Kind: plan.StopContainer, Container: "app", ID: "c1"}, nil},
		"47 a lost sandbox is the pod's affair": {killing("Pod sandbox changed, it will be killed and re-created."),
			plan.Effect{Kind: plan.StopContainer, Container: "app", ID: "c1", Why: "Pod sandbox changed, it will be killed and re-created."},
			[]string{"Normal Killing spec.containers{app}| Stopping container app"}},
		"other effects begin in silence": {plan.Memory{}, plan.Effect{Kind: plan.EnsureImage, Container: "app"}, nil},
	} {
		t.Run(name, func(t *testing.T) { expect(t, narrate.Begun(desired(), c.m, c.e, start), c.want...) })
	}
	t.Run("155 a pull begins", func(t *testing.T) {
		expect(t, narrate.Pulling(desired(), "app", "nginx:1", start), `Normal Pulling spec.containers{app}| Pulling image "nginx:1"`)
	})
}

func TestEnded(t *testing.T) {
	app := func(k plan.Kind) plan.Effect { return plan.Effect{Kind: k, Container: "app", ID: "c1"} }
	fault := func(reason, message string) *plan.Fault { return &plan.Fault{Reason: reason, Message: message} }
	for name, c := range map[string]struct {
		o    plan.Outcome
		want []string
	}{
		"66 created":  {plan.Outcome{Effect: app(plan.CreateContainer)}, []string{"Normal Created spec.containers{app}| Container created"}},
		"66 started":  {plan.Outcome{Effect: app(plan.StartContainer)}, []string{"Normal Started spec.containers{app}| Container started"}},
		"66 an error": {plan.Outcome{Effect: app(plan.CreateContainer), Failed: fault("", `configmap "x" not found`)}, []string{`Warning Failed spec.containers{app}| Error: configmap "x" not found`}},
		"66 a start that fails": {plan.Outcome{Effect: app(plan.StartContainer), Failed: fault("", "exec: \"nope\": not found")},
			[]string{`Warning Failed spec.containers{app}| Error: exec: "nope": not found`}},
		"155 pulled": {plan.Outcome{Effect: app(plan.EnsureImage), Pulled: &plan.Pulled{Took: 1234567 * time.Microsecond, Waited: 2 * time.Second, Bytes: 4096}},
			[]string{`Normal Pulled spec.containers{app}| Successfully pulled image "nginx:1" in 1.234s (2s including waiting). Image size: 4096 bytes.`}},
		"155 present": {plan.Outcome{Effect: app(plan.EnsureImage), Pulled: &plan.Pulled{Present: true}},
			[]string{`Normal Pulled spec.containers{app}| Container image "nginx:1" already present on machine and can be accessed by the pod`}},
		"155 present, without the gate": {plan.Outcome{Effect: app(plan.EnsureImage), Pulled: &plan.Pulled{Present: true, Open: true}},
			[]string{`Normal Pulled spec.containers{app}| Container image "nginx:1" already present on machine`}},
		"156 a failed pull": {plan.Outcome{Effect: app(plan.EnsureImage), Failed: fault(reason.ErrImagePull, "no such host")}, []string{
			`Warning Failed spec.containers{app}| Failed to pull image "nginx:1": no such host`,
			`Warning Failed spec.containers{app}| Error: ErrImagePull`,
			`Normal BackOff spec.containers{app}| Back-off pulling image "nginx:1"`,
			`Warning Failed spec.containers{app}| Error: ImagePullBackOff`}},
		"189 pulled for a volume": {plan.Outcome{Effect: plan.Effect{Kind: plan.EnsureImage, Volume: "model", Image: "model:1"}, Pulled: &plan.Pulled{Present: true}},
			[]string{`Normal Pulled | Container image "model:1" already present on machine and can be accessed by the pod`}},
		"189 a failed pull for a volume": {plan.Outcome{Effect: plan.Effect{Kind: plan.EnsureImage, Volume: "model", Image: "model:1"}, Failed: fault(reason.ErrImagePull, "no such host")}, []string{
			`Warning Failed | Failed to pull image "model:1": no such host`,
			`Warning Failed | Error: ErrImagePull`,
			`Normal BackOff | Back-off pulling image "model:1"`,
			`Warning Failed | Error: ImagePullBackOff`}},
		"158 the runtime's own word": {plan.Outcome{Effect: app(plan.EnsureImage), Failed: fault(reason.RegistryUnavailable, "down")}, []string{
			`Warning Failed spec.containers{app}| Failed to pull image "nginx:1": down`,
			`Warning Failed spec.containers{app}| Error: RegistryUnavailable`,
			`Normal BackOff spec.containers{app}| Back-off pulling image "nginx:1"`,
			`Warning Failed spec.containers{app}| Error: ImagePullBackOff`}},
		"153 never pulled": {plan.Outcome{Effect: app(plan.EnsureImage), Failed: fault(reason.ErrImageNeverPull, `Container image "nginx:1" is not present with pull policy of Never`)}, []string{
			`Warning ErrImageNeverPull spec.containers{app}| Container image "nginx:1" is not present with pull policy of Never`,
			`Warning Failed spec.containers{app}| Error: ErrImageNeverPull`}},
		"154 a name that means nothing": {plan.Outcome{Effect: app(plan.EnsureImage), Failed: fault(reason.InvalidImageName, "bad")}, []string{
			`Warning InspectFailed spec.containers{app}| bad`, `Warning Failed spec.containers{app}| Error: InvalidImageName`}},
		"132 postStart": {plan.Outcome{Effect: app(plan.PostStart), Failed: fault("", "exit code 1")}, []string{"Warning FailedPostStartHook spec.containers{app}| exit code 1"}},
		"134 preStop":   {plan.Outcome{Effect: app(plan.PreStop), Failed: fault("", "exit code 1")}, []string{"Warning FailedPreStopHook spec.containers{app}| exit code 1"}},
		"54 a sandbox": {plan.Outcome{Effect: plan.Effect{Kind: plan.RunSandbox}, Failed: fault("", "no network")},
			[]string{"Warning FailedCreatePodSandBox | Failed to create pod sandbox: no network"}},
		"172 a mount": {plan.Outcome{Effect: plan.Effect{Kind: plan.SetupVolume, Volume: "data"}, Failed: fault("", "hostPath type check failed: /x is not a directory")},
			[]string{`Warning FailedMount | MountVolume.SetUp failed for volume "data" : hostPath type check failed: /x is not a directory`}},
		"171 a volume that says by itself what failed": {
			plan.Outcome{Effect: plan.Effect{Kind: plan.SetupVolume, Volume: "data"}, Failed: fault(reason.FailedMount, `MountVolume.MountDevice failed for volume "pv" : x`)},
			[]string{`Warning FailedMount | MountVolume.MountDevice failed for volume "pv" : x`}},
		"185 a volume that does not grow": {
			plan.Outcome{Effect: plan.Effect{Kind: plan.SetupVolume, Volume: "data"}, Failed: fault(reason.VolumeResizeFailed, "NodeExpandVolume failed")},
			[]string{`Warning VolumeResizeFailed | NodeExpandVolume failed`}},
		"364 the cgroup": {plan.Outcome{Effect: plan.Effect{Kind: plan.MakePod}, Failed: fault("", "no space")},
			[]string{"Warning FailedCreatePodContainer | unable to ensure pod container exists: no space"}},
		"241 claims": {plan.Outcome{Effect: plan.Effect{Kind: plan.PrepareClaims}, Failed: fault("", "no driver")},
			[]string{"Warning FailedPrepareDynamicResources | Failed to prepare dynamic resources: no driver"}},
		"241 claims that are not taken back": {plan.Outcome{Effect: plan.Effect{Kind: plan.UnprepareClaims}, Failed: fault("", "no driver")},
			[]string{"Warning FailedKillPod | error killing pod: no driver"}},
		"314 an end that fails":  {plan.Outcome{Effect: app(plan.StopContainer), Failed: fault("", "shim is gone")}, []string{"Warning FailedKillPod | error killing pod: shim is gone"}},
		"312 a look that fails":  {plan.Outcome{Effect: plan.Effect{Kind: plan.Look}, Failed: fault("", "deadline exceeded")}, []string{"Warning FailedSync | error determining status: deadline exceeded"}},
		"cancelled by ourselves": {plan.Outcome{Effect: app(plan.EnsureImage), Failed: &plan.Fault{Class: plan.Cancelled, Message: "x"}}, nil},
		"cleaning up is silent":  {plan.Outcome{Effect: app(plan.RemoveContainer), Failed: fault("", "x")}, nil},
		"nothing to tell":        {plan.Outcome{Effect: app(plan.EnsureImage)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Ended = start
			expect(t, narrate.Ended(desired(), plan.Learn(plan.Memory{}, c.o), c.o), c.want...)
		})
	}
}

func TestEndedRemembers(t *testing.T) {
	d := desired()
	fail := func(m plan.Memory, e plan.Effect, class plan.Class, after time.Duration) (plan.Memory, []note.Note) {
		o := plan.Outcome{Effect: e, Ended: start.Add(after), Failed: &plan.Fault{Class: class, Message: "away"}}
		m = plan.Learn(m, o)
		return m, narrate.Ended(d, m, o)
	}
	t.Run("54 what is tried each second is told once", func(t *testing.T) {
		m, first := fail(plan.Memory{}, plan.Effect{Kind: plan.RunSandbox}, plan.Soon, 0)
		m, second := fail(m, plan.Effect{Kind: plan.RunSandbox}, plan.Soon, time.Second)
		expect(t, first, "Warning FailedCreatePodSandBox | Failed to create pod sandbox: away")
		expect(t, second)
		_, third := fail(m, plan.Effect{Kind: plan.RunSandbox}, plan.Again, 2*time.Second)
		expect(t, third, "Warning FailedCreatePodSandBox | Failed to create pod sandbox: away")
	})
	t.Run("156 a runtime that is away is no back-off", func(t *testing.T) {
		_, notes := fail(plan.Memory{}, plan.Effect{Kind: plan.EnsureImage, Container: "app"}, plan.Soon, 0)
		expect(t, notes, `Warning Failed spec.containers{app}| Failed to pull image "nginx:1": away`, "Warning Failed spec.containers{app}| Error: ErrImagePull")
	})
	t.Run("359 a pod that ends needs no sandbox", func(t *testing.T) {
		_, notes := fail(plan.Memory{Kept: plan.Kept{Stop: &plan.Stop{}}}, plan.Effect{Kind: plan.RunSandbox}, plan.Again, 0)
		expect(t, notes)
	})
	t.Run("171 mounts that hang on", func(t *testing.T) {
		e := plan.Effect{Kind: plan.SetupVolume, Volume: "conf"}
		m, notes := fail(plan.Memory{Session: plan.Session{Volumes: map[string]uint64{"data": 0}}}, e, plan.Again, 0)
		expect(t, notes, `Warning FailedMount | MountVolume.SetUp failed for volume "conf" : away`)
		m, notes = fail(m, e, plan.Again, 122*time.Second)
		expect(t, notes, `Warning FailedMount | MountVolume.SetUp failed for volume "conf" : away`)
		_, notes = fail(m, e, plan.Again, 123*time.Second)
		expect(t, notes, `Warning FailedMount | MountVolume.SetUp failed for volume "conf" : away`,
			"Warning FailedMount | Unable to attach or mount volumes: unmounted volumes=[conf tmp], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition")
	})
}

func TestChanged(t *testing.T) {
	stop := func(cause plan.Cause, reason, message string) plan.Memory {
		return plan.Memory{Stage: plan.Stopping, Kept: plan.Kept{Stop: &plan.Stop{Cause: cause, Reason: reason, Message: message}}}
	}
	crashed := func(id string, until time.Duration) plan.Memory {
		return plan.Memory{Kept: plan.Kept{Containers: map[string]plan.ContainerMemory{"app": {Backoff: plan.Backoff{For: id, Until: start.Add(until)}}}}}
	}
	at := func(s plan.Stage) plan.Memory { return plan.Memory{Stage: s} }
	dead := pod.Observed{Sandboxes: []pod.Sandbox{{ID: "s1"}}}
	network := []plan.Wait{{For: "network", Detail: "network is not ready: cni plugin not initialized"}}
	for name, c := range map[string]struct {
		before, after plan.Memory
		waits         []string
		o             pod.Observed
		afterWaits    []plan.Wait
		never         bool
		want          []string
	}{
		"30 refused": {after: stop(plan.Refused, "OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000"),
			want: []string{"Warning OutOfcpu | Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000"}},
		"149 overdue": {after: stop(plan.Overdue, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
			want: []string{"Normal DeadlineExceeded | Pod was active on the node longer than the specified deadline"}},
		"43 preempted":              {after: stop(plan.Ordered, "Preempting", "Preempted in order to admit critical pod"), want: []string{"Warning Preempting | Preempted in order to admit critical pod"}},
		"255 over its limits":       {after: stop(plan.Overfull, "Evicted", "too much"), want: []string{"Warning Evicted | too much"}},
		"a stop is told once":       {before: stop(plan.Overdue, "DeadlineExceeded", "x"), after: stop(plan.Overdue, "DeadlineExceeded", "x")},
		"143 removed by its source": {after: stop(plan.Removed, "", "")},
		"139 a crash": {before: crashed("c1", -time.Hour), after: crashed("c2", 10*time.Second),
			want: []string{"Warning BackOff spec.containers{app}| Back-off restarting failed container app in pod web_default(u1)"}},
		"139 once for each pause": {before: crashed("c2", 10*time.Second), after: crashed("c2", 10*time.Second)},
		"137 no pause, no word":   {after: crashed("c1", 0)},
		"21 no network":           {after: at(plan.Preparing), afterWaits: network, want: []string{"Warning NetworkNotReady | network is not ready: cni plugin not initialized"}},
		"21 once":                 {before: at(plan.Preparing), after: at(plan.Preparing), waits: []string{"network"}, afterWaits: network},
		"47 the sandbox is lost":  {before: at(plan.Running), after: at(plan.Preparing), o: dead, want: []string{"Normal SandboxChanged | Pod sandbox changed, it will be killed and re-created."}},
		"364 the pod has no cgroup": {before: at(plan.Running), after: plan.Memory{Stage: plan.Preparing, Kept: plan.Kept{Uprooted: "s1"}},
			o:    pod.Observed{Sandboxes: []pod.Sandbox{{ID: "s1", Ready: true, IPs: []string{"10.0.0.1"}}}},
			want: []string{"Normal SandboxChanged | Pod sandbox changed, it will be killed and re-created."}},
		"346 found lost after a reboot":  {before: at(plan.Waiting), after: at(plan.Preparing), o: dead, want: []string{"Normal SandboxChanged | Pod sandbox changed, it will be killed and re-created."}},
		"47 once":                        {before: at(plan.Preparing), after: at(plan.Preparing), o: dead},
		"47 the first sandbox is no new": {before: at(plan.Waiting), after: at(plan.Preparing)},
		"48 a pod that never restarts gets no other": {before: at(plan.Running), after: at(plan.Preparing), never: true,
			o: pod.Observed{Sandboxes: dead.Sandboxes, Containers: []pod.Container{{ID: "c1", Name: "app", State: pod.Running}}}},
		"47 a good one is kept": {before: at(plan.Waiting), after: at(plan.Preparing),
			o: pod.Observed{Sandboxes: []pod.Sandbox{{ID: "s1", Ready: true, IPs: []string{"10.0.0.1"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := desired()
			if c.never {
				d.Pod.Spec.RestartPolicy = v1.RestartPolicyNever
			}
			expect(t, narrate.Changed(d, c.before, c.waits, c.o, plan.Plan{Memory: c.after, Waits: c.afterWaits}, start), c.want...)
		})
	}
}
