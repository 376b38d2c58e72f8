package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

func TestRuleOf(t *testing.T) { // behaviour 115
	r := ruleOf(Liveness, &v1.Probe{}, "s")
	if r.Period != 10*time.Second || r.Timeout != time.Second || r.Delay != 0 || r.Successes != 1 || r.Failures != 3 || r.Grace != nil || r.Exec {
		t.Errorf("defaults: %+v", r)
	}
	r = ruleOf(Readiness, &v1.Probe{
		ProbeHandler:        v1.ProbeHandler{Exec: &v1.ExecAction{}},
		InitialDelaySeconds: 1, PeriodSeconds: 2, TimeoutSeconds: 3, SuccessThreshold: 4, FailureThreshold: 5, TerminationGracePeriodSeconds: new(int64(6)),
	}, "s")
	if r.Period != 2*time.Second || r.Timeout != 3*time.Second || r.Delay != time.Second || r.Successes != 4 || r.Failures != 5 || r.Grace != nil || !r.Exec {
		t.Errorf("all given: %+v", r)
	}
	r = ruleOf(Startup, &v1.Probe{SuccessThreshold: 4, TerminationGracePeriodSeconds: new(int64(6))}, "s")
	if r.Successes != 1 || *r.Grace != 6*time.Second {
		t.Errorf("startup: %+v", r)
	}
}

func TestLate(t *testing.T) {
	for _, c := range []struct {
		timeout, lag time.Duration
		late         bool
	}{
		{time.Second, 249 * time.Millisecond, false}, {time.Second, 250 * time.Millisecond, true},
		{time.Minute, 999 * time.Millisecond, false}, {time.Minute, time.Second, true},
	} {
		if r := (&Rule{Timeout: c.timeout}); r.Late(c.lag) != c.late {
			t.Errorf("timeout %v, lag %v: want %v", c.timeout, c.lag, c.late)
		}
	}
}

func TestRhythm(t *testing.T) {
	at := func(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }
	r := &Rule{Period: 10 * time.Second}
	for _, c := range []struct {
		name                  string
		due, began, now, want float64
	}{
		{"quick answer", 0, 0, 0.1, 10},
		{"began late", 0, 4, 4.1, 10},
		{"answer took longer than the period", 0, 0, 12, 12},
		{"answer took the whole period", 0, 0, 10, 10},
		{"asked after missing periods: the rhythm holds", 0, 34, 34.1, 40},
		{"asked and answered late", 0, 34, 47, 47},
	} {
		if got := r.after(at(c.due), at(c.began), at(c.now)); !got.Equal(at(c.want)) {
			t.Errorf("%s: next +%v, want +%vs", c.name, got.Sub(epoch), c.want)
		}
	}
}

func TestSpread(t *testing.T) {
	// A hundred adopted containers are asked over the whole period.
	var due []time.Duration
	for i := range 100 {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprintf("uid-%d", i))}}
		c := &v1.Container{Name: "app", LivenessProbe: &v1.Probe{}}
		l := Begin(SpecOf(p, c), Instance{ID: "x", Started: epoch.Add(-time.Hour), Agent: epoch}, epoch)
		due = append(due, l.Due(Liveness).Sub(epoch))
	}
	slices.Sort(due)
	for i := range 10 {
		n := 0
		for _, d := range due {
			if d >= time.Duration(i)*time.Second && d < time.Duration(i+1)*time.Second {
				n++
			}
		}
		if n < 2 || n > 25 {
			t.Errorf("%d of 100 in second %d", n, i)
		}
	}
}

func TestProbed(t *testing.T) {
	p := &v1.Pod{Spec: v1.PodSpec{
		InitContainers:      []v1.Container{{Name: "init"}, {Name: "sidecar", RestartPolicy: new(v1.ContainerRestartPolicyAlways)}},
		Containers:          []v1.Container{{Name: "app"}},
		EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug"}}},
	}}
	var names []string
	for _, c := range Probed(p) {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, []string{"sidecar", "app"}) {
		t.Errorf("%q", names)
	}
	if SpecOf(p, &p.Spec.Containers[0]) != nil {
		t.Error("a container without probes has a specification of them")
	}
}

func TestFinished(t *testing.T) { // behaviour 130
	exited := func(code int32) *pod.Container { return &pod.Container{State: pod.Exited, ExitCode: code} }
	for _, c := range []struct {
		policy v1.RestartPolicy
		own    *v1.ContainerRestartPolicy
		last   *pod.Container
		want   bool
	}{
		{v1.RestartPolicyNever, nil, nil, false},
		{v1.RestartPolicyNever, nil, &pod.Container{State: pod.Running}, false},
		{v1.RestartPolicyNever, nil, exited(1), true},
		{v1.RestartPolicyOnFailure, nil, exited(1), false},
		{v1.RestartPolicyOnFailure, nil, exited(0), true},
		{v1.RestartPolicyAlways, nil, exited(0), false},
		{v1.RestartPolicyNever, new(v1.ContainerRestartPolicyAlways), exited(0), false},
		{v1.RestartPolicyAlways, new(v1.ContainerRestartPolicyNever), exited(0), true},
	} {
		p := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: c.policy}}
		if got := Finished(p, &v1.Container{RestartPolicy: c.own}, c.last); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	rules := &v1.Container{RestartPolicyRules: []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestart}}}
	if Finished(&v1.Pod{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever}}, rules, exited(1)) {
		t.Error("a container with restart rules may come back")
	}
}

func TestTell(t *testing.T) { // behaviours 66, 121, 124
	for _, c := range []struct {
		kind         Kind
		answer       Answer
		why, message string
	}{
		{Liveness, Answer{Result: Success, Output: "fine"}, "", ""},
		{Liveness, Answer{Result: Failure, Output: "HTTP probe failed with statuscode: 500"}, reason.Unhealthy, "Liveness probe failed: HTTP probe failed with statuscode: 500"},
		{Readiness, Answer{Result: Success, Warning: true, Output: "Probe terminated redirects"}, reason.ProbeWarning, "Readiness probe warning: Probe terminated redirects"},
		{Startup, Answer{Output: "no such container"}, reason.Unhealthy, "Startup probe errored and resulted in unknown state: no such container"},
	} {
		if why, message := Tell(c.kind, c.answer); why != c.why || message != c.message {
			t.Errorf("%v %+v: %q %q", c.kind, c.answer, why, message)
		}
	}
	_, message := Tell(Liveness, Answer{Result: Failure, Output: strings.Repeat("ä", 5000) + "\xff"})
	if len(message) > 1100 || !utf8.ValidString(message) {
		t.Errorf("%d bytes, valid %v", len(message), utf8.ValidString(message))
	}
}

func TestStrings(t *testing.T) {
	got := []string{Startup.String(), Liveness.String(), Readiness.String(), Success.String(), Failure.String(), Unknown.String()}
	if !slices.Equal(got, []string{"Startup", "Liveness", "Readiness", "successful", "failed", "unknown"}) {
		t.Errorf("%q: spelled otherwise in metrics", got)
	}
}

// TestRandomAnswers compares the count with a naive twin that looks at all answers so far, and holds that a question is
// never due in the past, nor further away than a period.
func TestRandomAnswers(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := &Rule{Kind: Readiness, Period: time.Duration(1+rnd.IntN(20)) * time.Second, Timeout: time.Second,
			Successes: int32(1 + rnd.IntN(4)), Failures: int32(1 + rnd.IntN(4)), Exec: rnd.IntN(2) == 0, Seed: "x"}
		s := State{Result: Failure, Due: epoch}
		var counted []Result
		now := epoch
		for range 200 {
			began := s.Due.Add(time.Duration(rnd.IntN(3)) * time.Duration(rnd.Int64N(int64(30*time.Second))))
			if began.Before(now) {
				began = now
			}
			now = began.Add(time.Duration(rnd.Int64N(int64(15 * time.Second))))
			a := Asked{Result: Result(rnd.IntN(3)), Late: rnd.IntN(4) == 0, Began: began}
			s = s.Next(r, a, now)
			if a.Result == Success || a.Result == Failure && !a.Late {
				counted = append(counted, a.Result)
			}
			if want := naive(counted, r); s.Result != want {
				t.Fatalf("seed %d after %v: %v, want %v", seed, counted, s.Result, want)
			}
			if s.Due.Before(now) || s.Due.Sub(now) > r.Period {
				t.Fatalf("seed %d: next question in %v, period %v", seed, s.Due.Sub(now), r.Period)
			}
		}
	}
}

func naive(counted []Result, r *Rule) Result {
	result := Failure
	for i := range counted {
		for _, c := range []struct {
			of   Result
			need int
		}{{Success, int(r.Successes)}, {Failure, int(r.Failures)}} {
			if i+1 >= c.need && !slices.ContainsFunc(counted[i+1-c.need:i+1], func(x Result) bool { return x != c.of }) {
				result = c.of
			}
		}
	}
	return result
}
