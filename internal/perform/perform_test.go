package perform

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/translate"
)

// one is an effect of each kind, as plans write them.
func one(kind plan.Kind) plan.Effect {
	e := plan.Effect{Kind: kind, Container: "app", Attempt: 3, ID: "c1"}
	switch kind {
	case plan.SetupVolume:
		e = plan.Effect{Kind: kind, Volume: "data"}
	case plan.CreateContainer:
		e = plan.Effect{Kind: kind, Container: "app", Attempt: 4, SandboxID: "s1", Image: "sha256:app"}
	case plan.RunSandbox:
		e = plan.Effect{Kind: kind, Attempt: 2}
	case plan.StopSandbox, plan.RemoveSandbox:
		e = plan.Effect{Kind: kind, ID: "s1", Attempt: 2}
	case plan.Look, plan.MakePod, plan.PrepareClaims, plan.UnprepareClaims, plan.TearVolumes, plan.GrowPod, plan.SettlePod, plan.UnmakePod, plan.ForgetPod:
		e = plan.Effect{Kind: kind}
	case plan.EnsureImage, plan.StartContainer, plan.PostStart, plan.PreStop, plan.StopContainer, plan.ReadEnd, plan.UpdateContainer, plan.RemoveContainer:
	}
	return e
}

// TestDo holds for every kind what is called in which order, and what the report says. Each call to the runtime takes a
// second: a report tells when the call returned, but for one that started something (the container may have ended by then)
// and for looks (which tell of the moment they began).
func TestDo(t *testing.T) {
	for kind, c := range map[plan.Kind]struct {
		calls  []string
		report string
	}{
		plan.Look:          {[]string{"Inspect u1"}, "complete began 0s, sandbox s1#0 ready=false seen 0s"},
		plan.MakePod:       {[]string{"Make", "LostCgroup", "EnsureCgroup"}, "none"},
		plan.SetupVolume:   {[]string{"Setup data"}, "none"},
		plan.PrepareClaims: {[]string{"Prepare"}, "none"}, plan.UnprepareClaims: {[]string{"Unprepare u1"}, "none"},
		plan.EnsureImage: {[]string{"EnsureImage app nginx:1"}, "none"},
		plan.RunSandbox: {[]string{"Range", "RunPodSandbox 2 /kubepods/podu1 handler=", "Sandbox s9"},
			"own began 2s, sandbox s9#2 ready=true seen 2s"},
		plan.CreateContainer: {[]string{"Range", "Hosts", "Termination app#4", "CreateContainer s1 app#4 sha256:app sandbox#2"},
			"own began 1s, app#4 c9 in s1 created seen 1s"},
		plan.StartContainer:  {[]string{"StartContainer c1", "Link app c1 /var/log/pods/x/app/3.log"}, "own began 0s, app#3 c1 in s1 running seen 0s"},
		plan.UpdateContainer: {[]string{"UpdateContainerResources c1 2 -1"}, "none"},
		plan.GrowPod:         {[]string{"GrowCgroup", "UpdatePodSandboxResources s1 2"}, "none"},
		plan.SettlePod:       {[]string{"SettleCgroup", "UpdatePodSandboxResources s1 2"}, "none"},
		plan.PostStart:       {[]string{"Run run postStart of app c1 ip=10.0.0.7"}, "none"},
		plan.PreStop:         {[]string{"Run run preStop of app c1 ip=10.0.0.7"}, "none"},
		plan.StopContainer:   {[]string{"StopContainer c1 0", "Inspect u1"}, "complete began 1s, sandbox s1#0 ready=false seen 1s"},
		plan.ReadEnd:         {[]string{"End app c1"}, "own began 0s, app#3 c1 in s1 created seen 0s"},
		plan.RemoveContainer: {[]string{"RemoveContainer c1", "Unlink app c1"},
			"own began 1s, app#3 c1 in s1 gone seen 1s"},
		plan.StopSandbox:   {[]string{"StopPodSandbox s1", "Inspect u1"}, "complete began 1s, sandbox s1#0 ready=false seen 1s"},
		plan.RemoveSandbox: {[]string{"RemovePodSandbox s1", "Inspect u1"}, "complete began 1s, sandbox s1#0 ready=false seen 1s"},
		plan.TearVolumes:   {[]string{"TearDown u1"}, "none"},
		plan.UnmakePod:     {[]string{"RemoveCgroup u1"}, "none"},
		plan.ForgetPod:     {[]string{"Release u1", "Forget"}, "none"},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.takes, w.end = time.Second, "bye"
				start := time.Now()
				o := w.do(t, w.performer(), web(nil), one(kind), around(), c.calls...)
				if got := tell(o.Report, start); got != c.report || o.Failed != nil {
					t.Errorf("failed %+v, report\n got %s\nwant %s", o.Failed, got, c.report)
				}
			})
		})
	}
}

// TestDoStopsAtAFailure makes each call of each kind fail: nothing is called after it, nothing is reported, and the fault
// carries the words.
func TestDoStopsAtAFailure(t *testing.T) {
	for kind, verbs := range map[plan.Kind][]string{
		plan.Look: {"Inspect"}, plan.MakePod: {"Make", "LostCgroup", "EnsureCgroup"}, plan.SetupVolume: {"Setup"}, plan.PrepareClaims: {"Prepare"}, plan.UnprepareClaims: {"Unprepare"},
		plan.RunSandbox:      {"Range", "RunPodSandbox", "Sandbox"},
		plan.CreateContainer: {"Range", "Hosts", "Termination", "CreateContainer"},
		plan.StartContainer:  {"StartContainer"}, plan.PostStart: {"Run"}, plan.PreStop: {"Run"},
		plan.StopContainer: {"StopContainer", "Inspect"}, plan.ReadEnd: {"End"}, plan.RemoveContainer: {"RemoveContainer", "Unlink"},
		plan.StopSandbox: {"StopPodSandbox", "Inspect"}, plan.RemoveSandbox: {"RemovePodSandbox", "Inspect"},
		plan.TearVolumes: {"TearDown"}, plan.UnmakePod: {"RemoveCgroup"}, plan.ForgetPod: {"Release", "Forget"},
	} {
		for i, verb := range verbs {
			if verb == "Release" { // has no error
				continue
			}
			t.Run(kind.String()+"/"+verb, func(t *testing.T) {
				w := newWorld()
				w.fail[verb] = errors.New("out of luck")
				o := w.performer().Do(t.Context(), web(nil), one(kind), around())
				if o.Failed == nil || o.Failed.Message != "out of luck" || o.Failed.Class != plan.Again || o.Report != nil {
					t.Errorf("failed %+v, report %+v", o.Failed, o.Report)
				}
				if len(w.calls) != i+1 {
					t.Errorf("calls %q, none wanted after %s", w.calls, verb)
				}
			})
		}
	}
}

func TestFailure(t *testing.T) {
	refused := &translate.ConfigError{Reason: reason.CreateContainerConfigErr, Message: "no such key"}
	for _, c := range []struct {
		name string
		err  error
		want *plan.Fault
	}{
		{"none", nil, nil},
		{"plain", errors.New("no"), &plan.Fault{Message: "no"}},
		{"away", fmt.Errorf("stop c1: %w", fault.As(fault.ErrUnavailable, errors.New("gone"))), &plan.Fault{Class: plan.Soon, Message: "stop c1: gone"}},
		{"late", fault.As(fault.ErrTimeout, errors.New("late")), &plan.Fault{Message: "late"}},
		{"refused", fmt.Errorf("create: %w", refused), &plan.Fault{Reason: reason.CreateContainerConfigErr, Message: "create: no such key"}},
	} {
		got := failure(c.err)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestRefusedBeforeTheRuntimeIsAsked: what cannot be prepared is the manifest's fault in the pod's status (behaviour 64).
func TestRefusedBeforeTheRuntimeIsAsked(t *testing.T) {
	w := newWorld()
	w.fail["Hosts"] = errors.New("disk full")
	o := w.performer().Do(t.Context(), web(nil), one(plan.CreateContainer), around())
	if o.Failed == nil || *o.Failed != (plan.Fault{Reason: reason.CreateContainerConfigErr, Message: "disk full"}) {
		t.Errorf("%+v", o.Failed)
	}
	w = newWorld()
	w.fail["CreateContainer"] = fault.As(fault.ErrUnavailable, errors.New("no runtime"))
	o = w.performer().Do(t.Context(), web(nil), one(plan.CreateContainer), around())
	if o.Failed == nil || *o.Failed != (plan.Fault{Class: plan.Soon, Message: "no runtime"}) {
		t.Errorf("%+v", o.Failed)
	}
}

func TestUnknownContainer(t *testing.T) {
	for _, kind := range []plan.Kind{plan.EnsureImage, plan.CreateContainer, plan.PostStart, plan.PreStop} {
		w := newWorld()
		e := one(kind)
		e.Container = "other"
		if o := w.do(t, w.performer(), web(nil), e, around()); o.Failed == nil || o.Failed.Message != "pod shop/web has no container other" {
			t.Errorf("%s: %+v", kind, o.Failed)
		}
	}
}

// TestMakePodWithoutCgroup holds that a pod that runs without its cgroup gets none before it is remembered that its sandbox is not in
// it (behaviour 364).
func TestMakePodWithoutCgroup(t *testing.T) {
	w := newWorld()
	w.lost = true
	o := w.do(t, w.performer(), web(nil), one(plan.MakePod), around(), "Make", "LostCgroup")
	if o.Failed != nil || o.Uprooted != "s1" {
		t.Errorf("%+v", o)
	}
	known := around()
	known.Memory.Kept.Uprooted = "s1"
	if o = w.do(t, w.performer(), web(nil), one(plan.MakePod), known, "Make", "EnsureCgroup"); o.Failed != nil || o.Uprooted != "" {
		t.Errorf("%+v", o)
	}
	ended := around()
	ended.Observed.Sandboxes[0].Ready = false
	if o = w.do(t, w.performer(), web(nil), one(plan.MakePod), ended, "Make", "EnsureCgroup"); o.Failed != nil || o.Uprooted != "" {
		t.Errorf("%+v", o)
	}
	w.lost = false
	if o = w.do(t, w.performer(), web(nil), one(plan.MakePod), around(), "Make", "LostCgroup", "EnsureCgroup"); o.Failed != nil || o.Uprooted != "" {
		t.Errorf("%+v", o)
	}
}

func TestMakePodTellsAttempts(t *testing.T) { // behaviour 61
	w := newWorld()
	if o := w.performer().Do(t.Context(), web(nil), one(plan.MakePod), around()); o.LogAttempts["app"] != 4 || len(o.LogAttempts) != 1 {
		t.Errorf("%v", o.LogAttempts)
	}
}

func TestEnsureImage(t *testing.T) {
	w := newWorld()
	w.image, w.pulled = plan.ResolvedImage{Name: "nginx:1", ID: "sha256:app"}, plan.Pulled{Image: "nginx:1", Present: true}
	o := w.do(t, w.performer(), web(nil), one(plan.EnsureImage), around(), "EnsureImage app nginx:1")
	if o.Failed != nil || o.Image.ID != "sha256:app" || o.Pulled == nil || !o.Pulled.Present || len(w.notes) != 0 {
		t.Errorf("%+v, notes %+v", o, w.notes)
	}
	w.pulls = true
	w.do(t, w.performer(), web(nil), one(plan.EnsureImage), around(), "EnsureImage app nginx:1")
	if len(w.notes) != 1 || w.notes[0].Reason != reason.Pulling || w.notes[0].About.Container != "app" {
		t.Errorf("notes %+v", w.notes)
	}
	w.refused = &plan.Fault{Class: plan.Soon, Reason: reason.ErrImagePull, Message: "no route"}
	o = w.do(t, w.performer(), web(nil), one(plan.EnsureImage), around(), "EnsureImage app nginx:1")
	if o.Failed != w.refused || o.Image.ID != "" || o.Pulled != nil {
		t.Errorf("%+v", o)
	}
}

func TestRunSandbox(t *testing.T) {
	w := newWorld()
	w.node.Standalone = false // and no cluster DNS is configured
	w.ids = &translate.IDRange{First: 65536, Length: 65536}
	w.node.Handlers = map[string]translate.Handler{"kata": {UserNamespaces: true}}
	kata, no := "kata", false
	d := web(func(p *v1.Pod) {
		p.Spec.RuntimeClassName, p.Spec.HostUsers, p.Spec.DNSPolicy = &kata, &no, v1.DNSClusterFirst
	})
	o := w.do(t, w.performer(), d, one(plan.RunSandbox), around(), "Range", "RunPodSandbox 2 /kubepods/podu1 handler=kata", "Sandbox s9")
	if o.Failed != nil {
		t.Fatalf("%+v", o.Failed)
	}
	s := w.sandboxes[0]
	if s.Labels["io.kubernetes.pod.uid"] != "u1" || s.Labels["tier"] != "front" || s.LogDirectory != "/var/log/pods/shop_web_u1" {
		t.Errorf("%+v", s)
	}
	if ids := s.Linux.SecurityContext.NamespaceOptions.UsernsOptions; ids == nil || ids.Uids[0].HostId != 65536 {
		t.Errorf("user namespace %+v", ids)
	}
	if len(w.notes) != 1 || w.notes[0].Reason != reason.MissingClusterDNS || w.notes[0].Level != note.Warning ||
		w.notes[0].About != (note.About{Kind: "Pod", Namespace: "shop", Name: "web", UID: "u1"}) {
		t.Errorf("notes %+v", w.notes)
	}
	d = web(func(p *v1.Pod) { p.Spec.DNSPolicy = "Sometimes" })
	if o := w.do(t, w.performer(), d, one(plan.RunSandbox), around(), "Range"); o.Failed == nil || o.Failed.Reason != reason.FailedCreatePodSandBox {
		t.Errorf("%+v", o.Failed)
	}
}

// TestVolumesAreKnownUntilTheyAreTornDown: what was set up is mounted, and not after it was taken away.
func TestVolumesAreKnownUntilTheyAreTornDown(t *testing.T) {
	w := newWorld()
	x := w.performer()
	d := web(func(p *v1.Pod) {
		p.Spec.Volumes = []v1.Volume{{Name: "data"}}
		p.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "data", MountPath: "/data"}}
	})
	create := one(plan.CreateContainer)
	if o := x.Do(t.Context(), d, create, around()); o.Failed == nil || o.Failed.Reason != reason.CreateContainerConfigErr {
		t.Errorf("a volume that is not set up: %+v", o.Failed)
	}
	x.Do(t.Context(), d, one(plan.SetupVolume), around())
	if o := x.Do(t.Context(), d, create, around()); o.Failed != nil || !mounts(w, "/data", "/pods/u1/data") {
		t.Errorf("%+v, %v", o.Failed, w.configs)
	}
	w.fail["TearDown"] = errors.New("busy")
	x.Do(t.Context(), d, one(plan.TearVolumes), around())
	if len(x.volumesOf("u1")) != 1 {
		t.Error("forgot a volume that is still there")
	}
	delete(w.fail, "TearDown")
	x.Do(t.Context(), d, one(plan.TearVolumes), around())
	if len(x.volumesOf("u1")) != 0 || len(x.volumes) != 0 {
		t.Errorf("remembers %v", x.volumes)
	}
}

// mounts tells whether the newest container has something mounted.
func mounts(w *world, in, from string) bool {
	for _, m := range w.configs[len(w.configs)-1].Mounts {
		if m.ContainerPath == in && m.HostPath == from {
			return true
		}
	}
	return false
}

// TestSetupVolumeSaysTheCauseOnly: the event names pod and volume itself.
func TestSetupVolumeSaysTheCauseOnly(t *testing.T) {
	w := newWorld()
	w.fail["Setup"] = fmt.Errorf("set up volume data of shop/web: %w", fault.As(fault.ErrUnavailable, errors.New("no space left")))
	o := w.performer().Do(t.Context(), web(nil), one(plan.SetupVolume), around())
	if o.Failed == nil || *o.Failed != (plan.Fault{Class: plan.Soon, Message: "no space left"}) {
		t.Errorf("%+v", o.Failed)
	}
}

func TestForgetPodReleasesIDsFirst(t *testing.T) {
	w := newWorld()
	w.fail["Forget"] = errors.New("busy")
	o := w.do(t, w.performer(), web(nil), one(plan.ForgetPod), around(), "Release u1", "Forget")
	if o.Failed == nil {
		t.Error("a directory that stays is no failure")
	}
}

// TestReportsAreNewThings: what is known must not change under those who read it.
func TestReportsAreNewThings(t *testing.T) {
	for _, kind := range []plan.Kind{plan.StartContainer, plan.RemoveContainer, plan.ReadEnd} {
		w := newWorld()
		w.end = "bye"
		seen := around()
		before := slices.Clone(seen.Observed.Containers)
		o := w.performer().Do(t.Context(), web(nil), one(kind), seen)
		if c := seen.Observed.Containers[0]; c.State != before[0].State || c.Message != before[0].Message || !c.Seen.Equal(before[0].Seen) {
			t.Errorf("%s changed what was observed: %+v", kind, c)
		}
		if c := o.Report.Containers[0]; c.Hash != "abc" || c.LogPath == "" || c.Attempt != 3 {
			t.Errorf("%s forgot what was known: %+v", kind, c)
		}
	}
	w := newWorld()
	for _, kind := range []plan.Kind{plan.StartContainer, plan.RemoveContainer} { // nothing is known of c1
		o := w.performer().Do(t.Context(), web(nil), one(kind), plan.Seen{})
		if c := o.Report.Containers[0]; c.ID != "c1" || c.Name != "app" || c.Attempt != 3 || c.State == 0 {
			t.Errorf("%s: %+v", kind, c)
		}
	}
	var none pod.Observed
	if o := w.performer().Do(t.Context(), web(nil), one(plan.ReadEnd), plan.Seen{Observed: none}); o.Report != nil || o.Failed != nil {
		t.Errorf("the end of what is unknown: %+v", o)
	}
}
