package status_test

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/status"
)

func TestPhaseAndStates(t *testing.T) {
	never, onFailure := policy(v1.RestartPolicyNever), policy(v1.RestartPolicyOnFailure)
	completed := stopped(plan.Cleaning, plan.Completed, "", "")
	deleted := stopped(plan.Cleaning, plan.Deleted, "", "")
	two := pod.Sandbox{ID: "s1", Attempt: 1, Ready: true, IPs: []string{"10.0.0.8"}}
	old := pod.Sandbox{ID: "s0"}
	for name, c := range map[string]struct {
		changes []change
		want    string
	}{
		"65 283 nothing yet":                          {[]change{containers("app"), nothing}, "Pending app=ContainerCreating"},
		"65 nothing yet, with init containers":        {[]change{inits("i"), containers("app"), nothing}, "Pending i=PodInitializing app=PodInitializing"},
		"65 made and not started":                     {[]change{containers("app"), created("app#0")}, "Pending app=ContainerCreating"},
		"268 running":                                 {[]change{containers("app"), running("app#0")}, "Running app=running!"},
		"268 one still waits":                         {[]change{containers("a", "b"), running("a#0")}, "Pending a=running! b=ContainerCreating"},
		"268 one waits for another try":               {[]change{containers("a", "b"), running("a#0"), exited("b#1", 1), crashed("b", "b-1", 20*time.Second)}, "Running a=running! b=CrashLoopBackOff<Error(1)×1"},
		"268 all stopped, to be restarted":            {[]change{containers("a"), exited("a#0", 0)}, "Running a=Completed(0)"},
		"268 one done, one runs":                      {[]change{never, containers("a", "b"), exited("a#0", 0), running("b#0")}, "Running a=Completed(0) b=running!"},
		"151 not told before the plan has seen it":    {[]change{never, containers("a"), exited("a#0", 1)}, "Running a=Error(1)"},
		"151 sidecars still run":                      {[]change{never, sidecars("s"), containers("a"), running("s#0"), exited("a#0", 0), stopped(plan.Stopping, plan.Completed, "", "")}, "Running s=running! a=Completed(0)"},
		"268 succeeded":                               {[]change{never, containers("a", "b"), exited("a#0", 0), exited("b#0", 0), completed}, "Succeeded a=Completed(0) b=Completed(0)"},
		"268 failed":                                  {[]change{never, containers("a", "b"), exited("a#0", 0), exited("b#0", 3), completed}, "Failed a=Completed(0) b=Error(3)"},
		"268 onFailure goes on":                       {[]change{onFailure, containers("a", "b"), exited("a#0", 0), exited("b#0", 3)}, "Running a=Completed(0) b=Error(3)"},
		"110 the exit of a sidecar does not matter":   {[]change{never, sidecars("s"), containers("a"), exited("s#0", 137), exited("a#0", 0), completed}, "Succeeded s=Error(137) a=Completed(0)"},
		"113 an ephemeral container does not matter":  {[]change{never, containers("a"), spec(debug), exited("a#0", 0), exited("debug#0", 1), completed}, "Succeeded a=Completed(0) debug=Error(1)"},
		"113 an ephemeral container waits":            {[]change{containers("a"), spec(debug), running("a#0")}, "Running a=running! debug=ContainerCreating"},
		"104 init runs":                               {[]change{inits("i", "j"), containers("a"), running("i#0")}, "Pending i=running j=PodInitializing a=PodInitializing"},
		"104 init is done":                            {[]change{inits("i", "j"), containers("a"), exited("i#0", 0), running("j#0")}, "Pending i=Completed(0)! j=running a=PodInitializing"},
		"105 init failed for good":                    {[]change{never, inits("i"), containers("a"), exited("i#0", 1), completed}, "Failed i=Error(1) a=PodInitializing"},
		"105 init failed, the plan has not seen it":   {[]change{never, inits("i"), containers("a"), exited("i#0", 1)}, "Pending i=Error(1) a=PodInitializing"},
		"105 init is tried again":                     {[]change{inits("i"), containers("a"), exited("i#2", 1), crashed("i", "i-2", 40*time.Second)}, "Pending i=CrashLoopBackOff<Error(1)×2 a=PodInitializing"},
		"107 the record of an init container is gone": {[]change{inits("i", "j"), containers("a"), running("j#0")}, "Pending i=Completed(0)! j=running a=PodInitializing"},
		"108 records of all init containers are gone": {[]change{inits("i"), containers("a"), running("a#0")}, "Running i=Completed(0)! a=running!"},
		"109 a sidecar runs beside":                   {[]change{sidecars("s"), containers("a"), running("s#0"), running("a#0")}, "Running s=running! a=running!"},
		"109 a sidecar has not started":               {[]change{sidecars("s"), containers("a"), created("s#0")}, "Pending s=PodInitializing a=PodInitializing"},
		"48 a new sandbox is initialised anew": {[]change{inits("i"), containers("a"), exited("i#0", 0), exited("a#0", 137), sandboxes(two, old)},
			"Pending i=PodInitializing<Completed(0) a=Error(137)"},
		"48 an init container runs once more": {[]change{inits("i"), containers("a"), exited("i#0", 0), exited("a#0", 137), running("i#1", inSandbox("s1")), sandboxes(two, old)},
			"Pending i=running<Completed(0)×1 a=Error(137)"},
		"147 deleted, all exit 0":                   {[]change{containers("a"), exited("a#0", 0), deleted}, "Succeeded a=Completed(0)"},
		"147 deleted, killed":                       {[]change{containers("a"), exited("a#0", 137), deleted}, "Failed a=Error(137)"},
		"147 deleted, still ending":                 {[]change{containers("a", "b"), exited("a#0", 0), running("b#0"), stopped(plan.Stopping, plan.Deleted, "", "")}, "Running a=Completed(0) b=running!"},
		"147 a static pod stays what it was":        {[]change{fromFile, containers("a"), exited("a#0", 0), stopped(plan.Cleaning, plan.Removed, "", "")}, "Running a=Completed(0)"},
		"147 a static pod that was to end":          {[]change{fromFile, never, containers("a"), exited("a#0", 0), stopped(plan.Cleaning, plan.Removed, "", "")}, "Succeeded a=Completed(0)"},
		"144 the object is gone":                    {[]change{containers("a"), exited("a#0", 137), stopped(plan.Cleaning, plan.Removed, "", "")}, "Failed a=Error(137)"},
		"278 362 deleted before it began":           {[]change{containers("a"), nothingLeft, deletedEarly}, "Failed a=ContainerStatusUnknown(137)"},
		"278 deleted while initialising":            {[]change{inits("i", "j", "k"), containers("a"), exited("i#0", 0), exited("j#0", 137), deleted}, "Failed i=Completed(0)! j=Error(137) k=PodInitializing a=PodInitializing"},
		"278 deleted with one container missing":    {[]change{containers("a", "b"), exited("a#0", 0), deleted}, "Failed a=Completed(0) b=ContainerStatusUnknown(137)"},
		"278 made and never started":                {[]change{containers("a"), created("a#0"), deleted}, "Failed a=ContainerStatusUnknown(137)"},
		"30 refused":                                {[]change{containers("a"), nothing, refused}, "Failed(OutOfcpu)"},
		"149 overdue":                               {[]change{containers("a"), exited("a#0", 0), stopped(plan.Cleaning, plan.Overdue, "DeadlineExceeded", "x")}, "Failed(DeadlineExceeded) a=Completed(0)"},
		"149 151 overdue and still ending":          {[]change{containers("a"), running("a#0"), stopped(plan.Stopping, plan.Overdue, "DeadlineExceeded", "x")}, "Running a=running!"},
		"253 evicted":                               {[]change{containers("a"), exited("a#0", 0), stopped(plan.Cleaning, plan.Ordered, "Evicted", "x")}, "Failed(Evicted) a=Completed(0)"},
		"253 evicted, and its records are gone":     {[]change{never, containers("a"), stopped(plan.Cleaning, plan.Ordered, "Evicted", "x"), after(situation(containers("a"), exited("a#0", 3)))}, "Failed(Evicted) a=Error(3)"},
		"255 over its own limits":                   {[]change{containers("a"), exited("a#0", 0), stopped(plan.Cleaning, plan.Overfull, "Evicted", "x")}, "Failed(Evicted) a=Completed(0)"},
		"358 the sandbox died and nothing restarts": {[]change{never, containers("a", "b"), exited("a#0", 137), completed}, "Failed a=Error(137) b=ContainerStatusUnknown(137)"},
		"356 the runtime lost track":                {[]change{containers("a"), instance("a#0", pod.Unknown)}, "Running a=running"},
		"89 killed to be restarted":                 {[]change{never, containers("a"), exited("a#0", 137), remember("a", plan.ContainerMemory{Kill: plan.Kill{ID: "a-0", Restart: true}})}, "Running a=Error(137)"},
		"114 a container's own policy":              {[]change{containers("a"), spec(neverItself), exited("a#0", 0), completed}, "Succeeded a=Completed(0)"},
		"114 all are to end": {[]change{never, sidecars("s"), inits("i"), containers("a", "b"), exited("s#0", 88, early), exited("i#0", 0, early), exited("a#0", 137), running("b#0"), renewal},
			"Running s=Error(88) i=Completed(0)! a=RestartingAllContainers(137) b=running!"},
		"114 all have ended": {[]change{never, sidecars("s"), inits("i"), containers("a", "b"), exited("s#0", 88, early), exited("i#0", 0, early), exited("a#0", 137), exited("b#0", 0), renewal},
			"Running s=PodInitializing<Error(88) i=PodInitializing<Completed(0) a=PodInitializing<RestartingAllContainers(137) b=PodInitializing<RestartingAllContainers(0)"},
		"114 in back-off": {[]change{never, sidecars("s"), containers("a"), exited("s#0", 88, early), exited("a#0", 137), crashed("s", "s-0", 10*time.Second), renewal},
			"Running s=CrashLoopBackOff<Error(88) a=PodInitializing<RestartingAllContainers(137)"},
		"114 the pod begins again": {[]change{never, sidecars("s"), inits("i"), containers("a", "b"), exited("s#0", 88, early), exited("i#0", 0, early), exited("a#0", 137), exited("b#0", 0), running("s#1"), running("i#1"), renewal},
			"Running s=running<Error(88)×1! i=running<Completed(0)×1 a=PodInitializing<RestartingAllContainers(137) b=PodInitializing<RestartingAllContainers(0)"},
		"114 an init container fails for good then": {[]change{never, sidecars("s"), inits("i"), containers("a"), exited("s#0", 88, early), exited("i#0", 0, early), exited("a#0", 137), exited("i#1", 1), completed, renewal},
			"Failed s=Error(88) i=Error(1)<Completed(0)×1 a=RestartingAllContainers(137)"},
		"114 all have begun": {[]change{never, sidecars("s"), containers("a", "b"), exited("s#0", 88, early), exited("a#0", 137), exited("b#0", 0, early), running("s#1"), running("a#1"), exited("b#1", 0, early), renewal},
			"Running s=running<Error(88)×1! a=running<RestartingAllContainers(137)×1! b=Completed(0)<Completed(0)×1"},
		"114 without init containers": {[]change{containers("s", "a"), exited("s#0", 88, early), exited("a#0", 137), renewal},
			"Running a=ContainerCreating<RestartingAllContainers(137) s=ContainerCreating<Error(88)"},
		"114 the sandbox is lost then": {[]change{inits("i"), containers("s"), exited("i#0", 0, early), exited("s#0", 88, early), sandboxes(two, old), renewal},
			"Pending i=PodInitializing<Completed(0) s=PodInitializing<Error(88)"},
		"a restart that has been made":        {[]change{containers("a"), exited("a#0", 1), created("a#1")}, "Running a=ContainerCreating<Error(1)"},
		"276 restarted":                       {[]change{containers("a"), exited("a#3", 1), running("a#4")}, "Running a=running<Error(1)×4!"},
		"61 made after a reboot, not started": {[]change{containers("a"), created("a#5")}, "Pending a=ContainerCreating×4"},
		"267 sorted by name, init in order":   {[]change{inits("z", "b"), containers("y", "a"), running("y#0"), running("a#0")}, "Running z=Completed(0)! b=Completed(0)! a=running! y=running!"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := brief(status.Of(situation(c.changes...))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func debug(s *v1.PodSpec) {
	s.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "sh"}}}
}

func neverItself(s *v1.PodSpec) {
	no := v1.ContainerRestartPolicyNever
	s.Containers[0].RestartPolicy = &no
}

// renewal is a restart of all containers after the end of s.
func renewal(in *status.Input) {
	renewed("s", 0, 88, map[string]uint32{"s": 1, "i": 1, "a": 1, "b": 1})(in)
}

// early is an end before that.
func early(c *pod.Container) { c.FinishedAt = at(10 * time.Second) }

func nothingLeft(in *status.Input) { in.Observed.Containers = nil }

func deletedEarly(in *status.Input) {
	stopped(plan.Cleaning, plan.Deleted, "", "")(in)
	in.Memory.Kept.Stop.Ran = false
}

func refused(in *status.Input) {
	in.Memory.Stage, in.Memory.Kept.Admitted = plan.Stopping, time.Time{}
	in.Memory.Kept.Stop = &plan.Stop{Cause: plan.Refused, Reason: "OutOfcpu", Message: "Pod was rejected: Node didn't have enough resource", At: at(time.Second)}
}

func TestWaiting(t *testing.T) {
	pull := func(count int, reason string, class plan.Class, retry time.Duration) change {
		return failed(plan.EnsureImage, "app", plan.Failure{Count: count, Reason: reason, Class: class, Message: "no such host", RetryAt: at(time.Minute + retry)})
	}
	for name, c := range map[string]struct {
		changes []change
		want    string
	}{
		"156 the first pull failed":    {[]change{pull(1, reason.ErrImagePull, plan.Again, 10*time.Second)}, "ErrImagePull: no such host"},
		"156 the next pull is put off": {[]change{pull(2, reason.ErrImagePull, plan.Again, 20*time.Second)}, `ImagePullBackOff: Back-off pulling image "app:1": ErrImagePull: no such host`},
		"156 it is pulled again":       {[]change{pull(2, reason.ErrImagePull, plan.Again, 0)}, "ErrImagePull: no such host"},
		"158 the runtime's word":       {[]change{pull(3, reason.RegistryUnavailable, plan.Again, time.Second)}, `ImagePullBackOff: Back-off pulling image "app:1": RegistryUnavailable: no such host`},
		"64 no reason given":           {[]change{pull(1, "", plan.Again, time.Second)}, "ErrImagePull: no such host"},
		"153 never pulled":             {[]change{pull(5, reason.ErrImageNeverPull, plan.Again, time.Second)}, "ErrImageNeverPull: no such host"},
		"154 a bad name":               {[]change{pull(5, reason.InvalidImageName, plan.Again, time.Second)}, "InvalidImageName: no such host"},
		"64 the runtime is away":       {[]change{pull(5, reason.ImageInspectError, plan.Soon, time.Second)}, "ImageInspectError: no such host"},
		"156 pulled with other logins": {[]change{failed(plan.EnsureImage, "app", plan.Failure{Count: 2, Of: "app:1 logins 3", Message: "no such host", RetryAt: at(time.Hour)})},
			`ImagePullBackOff: Back-off pulling image "app:1": ErrImagePull: no such host`},
		"189 the image of a volume cannot be had": {[]change{mounts("app", "model"), volumeFailed("model", plan.Failure{Count: 2, Of: "model:1", Message: "no such host", RetryAt: at(time.Hour)})},
			`ImagePullBackOff: Back-off pulling image "model:1": ErrImagePull: no such host`},
		"189 the image of a volume may not be pulled": {[]change{mounts("app", "model"), volumeFailed("model", plan.Failure{Count: 1, Reason: reason.ErrImageNeverPull, Message: "not present", RetryAt: at(time.Hour)})},
			"ErrImageNeverPull: not present"},
		"189 the image of another's volume": {[]change{mounts("log", "model"), volumeFailed("model", plan.Failure{Count: 2, Of: "model:1", Message: "no such host", RetryAt: at(time.Hour)})}, "ContainerCreating: "},
		"138 another image was edited in":   {[]change{failed(plan.EnsureImage, "app", plan.Failure{Count: 2, Of: "ap:1", Message: "no such image", RetryAt: at(time.Hour)})}, "ContainerCreating: "},
		"64 a bad configuration":            {[]change{failed(plan.CreateContainer, "app", plan.Failure{Count: 1, Reason: reason.CreateContainerConfigErr, Message: `secret "x" not found`})}, `CreateContainerConfigError: secret "x" not found`},
		"64 the runtime will not create":    {[]change{failed(plan.CreateContainer, "app", plan.Failure{Count: 1, Message: "no space"})}, "CreateContainerError: no space"},
		"64 the runtime will not start":     {[]change{created("app#0"), failed(plan.StartContainer, "app", plan.Failure{Count: 1, Message: "not found"})}, "RunContainerError: not found"},
		"64 the latest failure counts": {[]change{
			failed(plan.CreateContainer, "app", plan.Failure{Count: 1, Message: "older", At: at(1)}),
			failed(plan.EnsureImage, "app", plan.Failure{Count: 1, Message: "newer", At: at(2)})}, "ErrImagePull: newer"},
		"139 in back-off":                   {[]change{exited("app#1", 1), crashed("app", "app-1", 10*time.Second)}, "CrashLoopBackOff: back-off 10s restarting failed container=app pod=web_default(u1)"},
		"139 in a long back-off":            {[]change{exited("app#1", 1), crashed("app", "app-1", 160*time.Second)}, "CrashLoopBackOff: back-off 2m40s restarting failed container=app pod=web_default(u1)"},
		"139 the longest back-off":          {[]change{exited("app#9", 1), crashed("app", "app-9", 5*time.Minute)}, "CrashLoopBackOff: back-off 5m0s restarting failed container=app pod=web_default(u1)"},
		"139 the back-off is another's":     {[]change{exited("app#2", 1), crashed("app", "app-1", 10*time.Second)}, ""},
		"132 its postStart hook failed":     {[]change{exited("app#0", 137), remember("app", plan.ContainerMemory{PostStart: plan.Hook{ID: "app-0", Done: true, Failure: "exit code 1"}})}, "PostStartHookError: PostStartHook failed"},
		"71 an object is missing":           {[]change{nothing, failed(plan.CreateContainer, "app", plan.Failure{Count: 1, Reason: "CreateContainerConfigError", Message: "no configmap", Of: "content 3"})}, "CreateContainerConfigError: no configmap"},
		"64 it ended and cannot be made":    {[]change{exited("app#0", 1), failed(plan.CreateContainer, "app", plan.Failure{Count: 1, Message: "no space"})}, "CreateContainerError: no space"},
		"the sandbox failed (54)":           {[]change{nothing, failed(plan.RunSandbox, "", plan.Failure{Count: 3, Message: "cni"})}, "ContainerCreating: "},
		"147 a pod that ends waits no more": {[]change{exited("app#1", 1), crashed("app", "app-1", 10*time.Second), stopped(plan.Stopping, plan.Deleted, "", "")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := status.Of(situation(append([]change{containers("app")}, c.changes...)...)).ContainerStatuses[0]
			got := ""
			if w := s.State.Waiting; w != nil {
				got = w.Reason + ": " + w.Message
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	readiness := spec(func(s *v1.PodSpec) { s.Containers[0].ReadinessProbe = &v1.Probe{} })
	startup := spec(func(s *v1.PodSpec) { s.Containers[0].StartupProbe = &v1.Probe{} })
	health := func(h plan.Health) change {
		return func(in *status.Input) { in.Facts.Health = map[string]plan.Health{"app-0": h} }
	}
	said := func(ready bool) change {
		return func(in *status.Input) {
			in.Previous = &v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{{Name: "app", ContainerID: "containerd://app-0", Ready: ready, Started: &ready,
				State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}}
		}
	}
	hook := func(h plan.Hook) change { return remember("app", plan.ContainerMemory{PostStart: h}) }
	for name, c := range map[string]struct {
		changes []change
		want    string
	}{
		"353 no probes":                          {[]change{probing}, "started ready"},
		"353 nobody probes":                      {[]change{readiness, startup}, "started ready"},
		"117 not probed yet":                     {[]change{probing, readiness}, "started"},
		"118 waits for its startup probe":        {[]change{probing, startup}, ""},
		"118 the startup probe has not passed":   {[]change{probing, startup, health(plan.Health{Ready: true})}, ""},
		"118 the startup probe has passed":       {[]change{probing, startup, health(plan.Health{Started: true, Ready: true})}, "started ready"},
		"123 unready":                            {[]change{probing, readiness, health(plan.Health{Started: true})}, "started"},
		"118 postStart runs":                     {[]change{hook(plan.Hook{ID: "app-0", Began: at(1)})}, ""},
		"118 postStart is done":                  {[]change{hook(plan.Hook{ID: "app-0", Done: true})}, "started ready"},
		"132 postStart failed":                   {[]change{hook(plan.Hook{ID: "app-0", Done: true, Failure: "x"})}, ""},
		"118 postStart of an earlier instance":   {[]change{hook(plan.Hook{ID: "app-9"})}, "started ready"},
		"354 was ready before the agent began":   {[]change{probing, readiness, startup, said(true)}, "started ready"},
		"354 was unready before the agent began": {[]change{probing, readiness, said(false)}, "started"},
	} {
		t.Run(name, func(t *testing.T) {
			s := status.Of(situation(append([]change{containers("app"), running("app#0")}, c.changes...)...)).ContainerStatuses[0]
			got := ""
			if *s.Started {
				got = "started"
			}
			if s.Ready {
				got += " ready"
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("353 reset on exit", func(t *testing.T) {
		s := status.Of(situation(containers("app"), exited("app#0", 1))).ContainerStatuses[0]
		if *s.Started || s.Ready {
			t.Errorf("started %v, ready %v after its exit", *s.Started, s.Ready)
		}
	})
}

// TestForgotten is about what the runtime no longer has, or not yet tells.
func TestForgotten(t *testing.T) {
	run := situation(containers("app"), exited("app#1", 1), running("app#2"))
	for name, c := range map[string]struct {
		changes []change
		want    string
	}{
		"355 the ended instance was removed":        {[]change{containers("app"), running("app#2"), after(run)}, "Running app=running<Error(1)×2!"},
		"355 and the next one ended":                {[]change{containers("app"), running("app#3"), after(situation(containers("app"), exited("app#2", 7), after(run)))}, "Running app=running<Error(7)×3!"},
		"24 nothing is known of the runtime yet":    {[]change{containers("app"), unheardOf, stage(plan.Waiting), after(run)}, "Running app=running<Error(1)×2!"},
		"148 it vanished":                           {[]change{containers("app"), nothingLeft, after(run)}, "Running app=ContainerCreating<ContainerStatusUnknown(137)×3"},
		"148 it vanished, and one more look":        {[]change{containers("app"), nothingLeft, after(situation(containers("app"), nothingLeft, after(run)))}, "Running app=ContainerCreating<ContainerStatusUnknown(137)×3"},
		"148 it vanished as the pod ended":          {[]change{containers("app"), nothingLeft, stopped(plan.Stopping, plan.Deleted, "", ""), after(run)}, "Running app=ContainerStatusUnknown(137)<Error(1)×2"},
		"148 it vanished, then the pod was deleted": {[]change{containers("app"), nothingLeft, stopped(plan.Cleaning, plan.Deleted, "", ""), after(run)}, "Failed app=ContainerStatusUnknown(137)<Error(1)×2"},
		"the record of an end was removed":          {[]change{containers("app"), nothingLeft, after(situation(containers("app"), exited("app#2", 4)))}, "Running app=ContainerCreating<Error(4)×2"},
		"it ended for good and was removed":         {[]change{containers("app"), policy(v1.RestartPolicyNever), nothingLeft, after(situation(policy(v1.RestartPolicyNever), containers("app"), exited("app#0", 4)))}, "Running app=Error(4)"},
		"108 an init container's end was known":     {[]change{inits("i"), containers("app"), running("app#0"), after(situation(inits("i"), containers("app"), exited("i#1", 0)))}, "Running i=Completed(0)×1! app=running!"},
		"269 Failed stays":                          {[]change{containers("app"), running("app#1"), stage(plan.Stopping), after(situation(containers("app"), exited("app#0", 1), stopped(plan.Cleaning, plan.Ordered, "Evicted", "x")))}, "Failed(Evicted) app=running<Error(1)×1!"},
		"23 269 Succeeded in the API stays":         {[]change{containers("app"), nothing, func(in *status.Input) { in.Previous = &v1.PodStatus{Phase: v1.PodSucceeded} }}, "Succeeded app=ContainerStatusUnknown(137)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := brief(status.Of(situation(c.changes...))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestContainerDetails(t *testing.T) {
	t.Run("136 276 user, and nothing of the image's stop signal", func(t *testing.T) {
		s := status.Of(situation(containers("app"), running("app#0", func(c *pod.Container) {
			c.StopSignal, c.User = "SIGQUIT", &pod.User{UID: 101, GID: 102, SupplementalGroups: []int64{7}}
		}))).ContainerStatuses[0]
		if s.StopSignal != nil || s.User.Linux.UID != 101 || s.User.Linux.GID != 102 || s.User.Linux.SupplementalGroups[0] != 7 {
			t.Errorf("stop signal %v, user %+v", s.StopSignal, s.User)
		}
	})
	t.Run("136 the pod's own stop signal", func(t *testing.T) {
		usr1 := v1.SIGUSR1
		s := status.Of(situation(containers("app"), spec(func(s *v1.PodSpec) { s.Containers[0].Lifecycle = &v1.Lifecycle{StopSignal: &usr1} }), running("app#0"))).ContainerStatuses[0]
		if s.StopSignal == nil || *s.StopSignal != v1.SIGUSR1 {
			t.Errorf("stop signal %v", s.StopSignal)
		}
	})
	t.Run("165 276 image and IDs", func(t *testing.T) {
		s := status.Of(situation(containers("app"), running("app#0"))).ContainerStatuses[0]
		if s.Image != "docker.io/library/app:1" || s.ImageID != "sha256:app" || s.ContainerID != "containerd://app-0" {
			t.Errorf("image %q, imageID %q, containerID %q", s.Image, s.ImageID, s.ContainerID)
		}
	})
	t.Run("283 not created", func(t *testing.T) {
		s := status.Of(situation(containers("app"), nothing)).ContainerStatuses[0]
		if s.Image != "app:1" || s.ImageID != "" || s.ContainerID != "" || s.Ready || *s.Started || s.RestartCount != 0 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("191 mounts", func(t *testing.T) {
		possible, enabled := v1.RecursiveReadOnlyIfPossible, v1.RecursiveReadOnlyEnabled
		mounts := spec(func(s *v1.PodSpec) {
			s.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "a", MountPath: "/a"}, {Name: "b", MountPath: "/b", ReadOnly: true},
				{Name: "c", MountPath: "/c", ReadOnly: true, RecursiveReadOnly: &possible}, {Name: "d", MountPath: "/d", ReadOnly: true, RecursiveReadOnly: &enabled}}
		})
		can := func(in *status.Input) { in.Node.RecursiveReadOnly = map[string]bool{"": true} }
		for _, c := range []struct {
			can  change
			want string
		}{{func(*status.Input) {}, "a:- b:Disabled c:Disabled d:Enabled"}, {can, "a:- b:Disabled c:Enabled d:Enabled"}} {
			var got []string
			for _, m := range status.Of(situation(containers("app"), mounts, running("app#0"), c.can)).ContainerStatuses[0].VolumeMounts {
				mode := "-"
				if m.RecursiveReadOnly != nil {
					mode = string(*m.RecursiveReadOnly)
				}
				got = append(got, m.Name+":"+mode)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		}
	})
	t.Run("82 277 the termination message", func(t *testing.T) {
		s := status.Of(situation(containers("app"), exited("app#0", 2, func(c *pod.Container) { c.Message, c.Reason = "out of ideas", "OOMKilled" })))
		if e := s.ContainerStatuses[0].State.Terminated; e.Message != "out of ideas" || e.Reason != "OOMKilled" || e.ContainerID != "containerd://app-0" || !e.FinishedAt.Time.Equal(at(30*time.Second).Truncate(time.Second)) {
			t.Errorf("got %+v", e)
		}
	})
	t.Run("83 messages share their room", func(t *testing.T) {
		long := func(c *pod.Container) { c.Message = strings.Repeat("ä", 6000) }
		s := status.Of(situation(containers("a"), exited("a#0", 1, long)))
		if n := len(s.ContainerStatuses[0].State.Terminated.Message); n != 4096 {
			t.Errorf("one container: %d bytes, want 4096", n)
		}
		s = status.Of(situation(inits("i"), containers("a", "b", "c", "d"), exited("a#0", 1, long), exited("b#0", 1, long)))
		if n := len(s.ContainerStatuses[0].State.Terminated.Message); n != 2456 { // a fifth of 12288, and no half character
			t.Errorf("five containers: %d bytes, want 2456", n)
		}
	})
}

func TestPodDetails(t *testing.T) {
	t.Run("274 start time", func(t *testing.T) {
		first := situation(containers("app"), running("app#0"))
		s := status.Of(first)
		if want := start.Truncate(time.Second); !s.StartTime.Time.Equal(want) {
			t.Errorf("start time %s, want %s", s.StartTime, want)
		}
		later := situation(containers("app"), after(first))
		later.Memory.Kept.Admitted = at(time.Hour)
		if again := status.Of(later); !again.StartTime.Equal(s.StartTime) {
			t.Errorf("the start time changed to %s", again.StartTime)
		}
		waits := situation(containers("app"), nothing)
		waits.Memory.Kept.Admitted = time.Time{}
		if s := status.Of(waits); s.StartTime != nil {
			t.Errorf("start time %s before admission", s.StartTime)
		}
	})
	t.Run("55 275 addresses", func(t *testing.T) {
		dual := func(in *status.Input) {
			in.Observed.Sandboxes[0].IPs = []string{"10.0.0.7", "fd00::7"}
			in.Node.HostIPs = []string{"fd00::1", "192.168.0.1"}
		}
		s := status.Of(situation(containers("app"), dual))
		if s.HostIP != "fd00::1" || len(s.HostIPs) != 2 || s.PodIP != "fd00::7" || len(s.PodIPs) != 2 || s.PodIPs[1].IP != "10.0.0.7" {
			t.Errorf("host %s %v, pod %s %v", s.HostIP, s.HostIPs, s.PodIP, s.PodIPs)
		}
	})
	t.Run("275 addresses stay", func(t *testing.T) {
		first := situation(containers("app"), running("app#0"))
		gone := situation(containers("app"), nothing, after(first))
		notReady := situation(containers("app"), func(in *status.Input) { in.Observed.Sandboxes[0].Ready = false })
		for name, in := range map[string]status.Input{"the sandbox is gone": gone, "the sandbox ended": notReady} {
			if s := status.Of(in); s.PodIP != "10.0.0.7" || len(s.PodIPs) != 1 {
				t.Errorf("%s: pod IP %q", name, s.PodIP)
			}
		}
	})
	t.Run("55 a pod in the node's network", func(t *testing.T) {
		s := status.Of(situation(containers("app"), spec(func(s *v1.PodSpec) { s.HostNetwork = true }), sandboxes(pod.Sandbox{ID: "s0", Ready: true, HostNetwork: true})))
		if s.PodIP != "192.168.0.1" || s.PodIPs[0].IP != "192.168.0.1" {
			t.Errorf("pod IP %q", s.PodIP)
		}
	})
	t.Run("199 class", func(t *testing.T) {
		if s := status.Of(situation(containers("app"))); s.QOSClass != v1.PodQOSBestEffort {
			t.Errorf("class %s", s.QOSClass)
		}
		theirs := func(in *status.Input) { in.Desired.Pod.Status.QOSClass = v1.PodQOSBurstable }
		if s := status.Of(situation(containers("app"), theirs)); s.QOSClass != v1.PodQOSBurstable {
			t.Errorf("class %s is not the API's", s.QOSClass)
		}
	})
	t.Run("231 generation", func(t *testing.T) {
		s := status.Of(situation(containers("app")))
		if s.ObservedGeneration != 3 || s.Conditions[0].ObservedGeneration != 3 {
			t.Errorf("generations %d and %d, want 3", s.ObservedGeneration, s.Conditions[0].ObservedGeneration)
		}
	})
	t.Run("282 other writers' fields", func(t *testing.T) {
		claim := "c1"
		s := status.Of(situation(containers("app"), func(in *status.Input) {
			withPrevious(v1.PodStatus{NominatedNodeName: "n2", ResourceClaimStatuses: []v1.PodResourceClaimStatus{{Name: "gpu", ResourceClaimName: &claim}},
				Conditions: []v1.PodCondition{{Type: "example.com/gate", Status: v1.ConditionTrue, Reason: "Theirs"}}})(in)
		}))
		if s.NominatedNodeName != "n2" || len(s.ResourceClaimStatuses) != 1 || s.Conditions[5].Reason != "Theirs" {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("5 23 282 what the API says", func(t *testing.T) {
		of := func(said *v1.PodStatus, over bool) v1.PodStatus {
			return status.Of(situation(containers("app"), running("app#0"), func(in *status.Input) {
				in.Desired.Source, in.Desired.Over, in.Previous = pod.FromAPI, over, said
				in.Desired.Pod.Status = v1.PodStatus{
					Phase: v1.PodFailed, Reason: "NodeLost", NominatedNodeName: "n2", StartTime: &metav1.Time{Time: time.Unix(7, 0)},
					Conditions: []v1.PodCondition{{Type: "example.com/gate", Status: v1.ConditionTrue, Reason: "New"}, {Type: v1.PodReady, Status: "Stale"}},
				}
			}))
		}
		said := &v1.PodStatus{Phase: v1.PodRunning, NominatedNodeName: "n1",
			Conditions: []v1.PodCondition{{Type: "example.com/gate", Reason: "Old"}, {Type: v1.PodReady, Status: v1.ConditionTrue}}}
		if s := of(nil, true); s.Phase != v1.PodFailed || s.Reason != "NodeLost" || s.StartTime.Unix() != 7 {
			t.Errorf("first word: %+v", s)
		}
		if s := of(said, true); s.Phase != v1.PodFailed || s.Reason != "NodeLost" {
			t.Errorf("an end that others declared: phase %s, reason %s", s.Phase, s.Reason)
		}
		s := of(said, false)
		gate := s.Conditions[len(s.Conditions)-1]
		if s.NominatedNodeName != "n2" || gate.Reason != "New" || s.Phase != v1.PodRunning {
			t.Errorf("others' fields: %+v", s)
		}
		for _, c := range s.Conditions {
			if c.Status == "Stale" {
				t.Errorf("a condition of our own came back from the API: %+v", c)
			}
		}
	})
	t.Run("269 reason and message stay while the phase does", func(t *testing.T) {
		lost := func(in *status.Input) {
			in.Previous = &v1.PodStatus{Phase: v1.PodRunning, Reason: "NodeLost", Message: "unresponsive"}
		}
		if s := status.Of(situation(containers("app"), running("app#0"), lost)); s.Reason != "NodeLost" || s.Message != "unresponsive" {
			t.Errorf("reason %q, message %q", s.Reason, s.Message)
		}
		if s := status.Of(situation(containers("app"), nothing, lost)); s.Reason != "" || s.Message != "" {
			t.Errorf("reason %q and message %q outlived the phase", s.Reason, s.Message)
		}
	})
}
