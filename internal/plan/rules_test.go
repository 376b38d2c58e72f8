package plan

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

func rule(op v1.ContainerRestartRuleOnExitCodesOperator, values ...int32) v1.ContainerRestartRule {
	return v1.ContainerRestartRule{Action: v1.ContainerRestartRuleActionRestart, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: op, Values: values}}
}

// TestRestarts holds behaviours 89, 105, 109, 114 and 140.
func TestRestarts(t *testing.T) {
	const in, notIn = v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn
	always, onFailure, never := v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyOnFailure, v1.ContainerRestartPolicyNever
	empty := v1.ContainerRestartRule{Action: v1.ContainerRestartRuleActionRestart}
	other := rule(in, 1)
	other.Action = "Explode"
	cases := []struct {
		name  string
		pod   v1.RestartPolicy
		own   *v1.ContainerRestartPolicy
		rules []v1.ContainerRestartRule
		init  bool
		code  int32
		want  bool
	}{
		{"Always, success", v1.RestartPolicyAlways, nil, nil, false, 0, true},
		{"Always, failure", v1.RestartPolicyAlways, nil, nil, false, 1, true},
		{"OnFailure, success", v1.RestartPolicyOnFailure, nil, nil, false, 0, false},
		{"OnFailure, failure", v1.RestartPolicyOnFailure, nil, nil, false, 1, true},
		{"Never, success", v1.RestartPolicyNever, nil, nil, false, 0, false},
		{"Never, failure", v1.RestartPolicyNever, nil, nil, false, 1, false},
		{"its own Always in a pod that never restarts", v1.RestartPolicyNever, &always, nil, false, 0, true},
		{"its own Never in a pod that always restarts", v1.RestartPolicyAlways, &never, nil, false, 1, false},
		{"its own OnFailure, failure", v1.RestartPolicyNever, &onFailure, nil, false, 1, true},
		{"its own OnFailure, success", v1.RestartPolicyAlways, &onFailure, nil, false, 0, false},
		{"a rule that matches", v1.RestartPolicyAlways, &never, []v1.ContainerRestartRule{rule(in, 41, 42)}, false, 42, true},
		{"a rule that does not match", v1.RestartPolicyAlways, &never, []v1.ContainerRestartRule{rule(in, 41, 42)}, false, 1, false},
		{"a rule may restart who succeeded", v1.RestartPolicyNever, &never, []v1.ContainerRestartRule{rule(in, 0)}, false, 0, true},
		{"the second rule matches", v1.RestartPolicyAlways, &never, []v1.ContainerRestartRule{rule(in, 1), rule(notIn, 2)}, false, 3, true},
		{"a rule about all others, one of them", v1.RestartPolicyAlways, &never, []v1.ContainerRestartRule{rule(notIn, 0, 1)}, false, 2, true},
		{"a rule about all others, none of them", v1.RestartPolicyAlways, &never, []v1.ContainerRestartRule{rule(notIn, 0, 1)}, false, 1, false},
		{"a rule without codes matches nothing", v1.RestartPolicyNever, nil, []v1.ContainerRestartRule{empty}, false, 1, false},
		{"a rule with an action nobody knows", v1.RestartPolicyNever, nil, []v1.ContainerRestartRule{other}, false, 1, false},
		{"an init container that succeeded", v1.RestartPolicyAlways, nil, nil, true, 0, false},
		{"an init container that failed", v1.RestartPolicyAlways, nil, nil, true, 1, true},
		{"an init container that failed, OnFailure", v1.RestartPolicyOnFailure, nil, nil, true, 1, true},
		{"an init container that failed, Never", v1.RestartPolicyNever, nil, nil, true, 1, false},
		{"a sidecar that succeeded, Never", v1.RestartPolicyNever, &always, nil, true, 0, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spec := v1.Container{Name: "c", RestartPolicy: c.own, RestartPolicyRules: c.rules}
			p := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: c.pod}}
			list := &p.Spec.Containers
			if c.init {
				list = &p.Spec.InitContainers
			}
			*list = []v1.Container{spec}
			d := &pod.Desired{Pod: p}
			ended := &pod.Container{ID: "c1", Name: "c", State: pod.Exited, ExitCode: c.code}
			if got := Restarts(d, Memory{}, &(*list)[0], ended); got != c.want {
				t.Errorf("restarts %v", got)
			}
			killed := Memory{Kept: Kept{Containers: map[string]ContainerMemory{"c": {Kill: Kill{ID: "c1", Restart: true}}}}}
			if !Restarts(d, killed, &(*list)[0], ended) {
				t.Error("who was killed to be restarted does not restart")
			}
			killed.Kept.Containers["c"] = ContainerMemory{Kill: Kill{ID: "c0", Restart: true}}
			if got := Restarts(d, killed, &(*list)[0], ended); got != c.want {
				t.Errorf("an older instance was killed: restarts %v", got)
			}
		})
	}
}

// TestSandbox holds behaviour 47.
func TestSandbox(t *testing.T) {
	good := pod.Sandbox{ID: "good", Attempt: 1, Ready: true, IPs: []string{"10.0.0.1"}}
	change := func(change func(*pod.Sandbox)) pod.Sandbox { s := good; change(&s); return s }
	old := change(func(s *pod.Sandbox) { s.ID, s.Attempt = "old", 0 })
	for name, c := range map[string]struct {
		host bool
		all  []pod.Sandbox
		want string
	}{
		"none":                         {false, nil, ""},
		"a good one":                   {false, []pod.Sandbox{good}, "good"},
		"not ready":                    {false, []pod.Sandbox{change(func(s *pod.Sandbox) { s.Ready = false }), old}, ""},
		"gone":                         {false, []pod.Sandbox{change(func(s *pod.Sandbox) { s.Gone = true }), old}, "old"},
		"no address":                   {false, []pod.Sandbox{change(func(s *pod.Sandbox) { s.IPs = nil })}, ""},
		"the wrong network":            {true, []pod.Sandbox{good}, ""},
		"the node's network":           {true, []pod.Sandbox{change(func(s *pod.Sandbox) { s.HostNetwork, s.IPs = true, nil })}, "good"},
		"the node's, but it wants one": {false, []pod.Sandbox{change(func(s *pod.Sandbox) { s.HostNetwork = true })}, ""},
		"two ready":                    {false, []pod.Sandbox{good, old}, "good"},
	} {
		d := &pod.Desired{Pod: &v1.Pod{Spec: v1.PodSpec{HostNetwork: c.host}}}
		got := ""
		if s := Sandbox(d, pod.Observed{Sandboxes: c.all}); s != nil {
			got = s.ID
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestShorten holds behaviour 143: a grace period may only become shorter.
func TestShorten(t *testing.T) {
	grace := int64(30)
	in := Input{
		Desired: &pod.Desired{Pod: &v1.Pod{Spec: v1.PodSpec{TerminationGracePeriodSeconds: &grace}}},
		Facts:   Facts{SourcesReady: true, RuntimeUp: true},
		Observed: pod.Observed{Inspected: noon(-1), Containers: []pod.Container{
			{ID: "c1", Name: "app", State: pod.Running, Seen: noon(-1)},
		}},
		Now: noon(0),
	}
	stop := func(at int, change func(*Input)) *Stop {
		in.Now = noon(at)
		change(&in)
		p := Next(in)
		in.Memory = p.Memory
		if len(p.Effects) != 1 || !p.Effects[0].Deadline.Equal(p.Memory.Kept.Stop.Deadline) {
			t.Fatalf("+%d: %+v, want one stop until %s", at, p.Effects, p.Memory.Kept.Stop.Deadline)
		}
		return p.Memory.Kept.Stop
	}
	steps := []struct {
		at     int
		change func(*Input)
		want   int // deadline
	}{
		{0, func(in *Input) {}, 30},
		{5, func(in *Input) { in.Desired.Deletion = &pod.Deletion{Grace: 60e9} }, 30},
		{6, func(in *Input) { in.Desired.Deletion = &pod.Deletion{Grace: 29e9} }, 30}, // from now on that would be +35
		{7, func(in *Input) { in.Desired.Deletion = &pod.Deletion{Grace: 20e9} }, 27},
		{8, func(in *Input) {}, 27},
		{9, func(in *Input) { in.Facts.Order = &Order{Grace: 10e9} }, 19},
		{10, func(in *Input) { in.Desired.Deletion = &pod.Deletion{Grace: 0} }, 11},
		{11, func(in *Input) {}, 11},
	}
	for _, s := range steps {
		if got := stop(s.at, s.change); !got.Deadline.Equal(noon(s.want)) || got.Cause != Removed || !got.Ran {
			t.Errorf("+%d: %+v, want the deadline +%d", s.at, got, s.want)
		}
	}
}
