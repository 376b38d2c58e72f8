package health

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/golden"
)

// world is one container whose probes are asked on time, in virtual time. The commands of a scenario:
//
//	policy NAME                           restart policy of the pod
//	agent TIME                            when the agent began; an hour ago if not said
//	probe KIND [exec] [KEY=SECONDS] ...   keys: delay period timeout success failure grace
//	begin ID [started=TIME] [before=started,ready]
//	answer KIND=ok|fail|late|unknown|slow ...   from now on; slow fails when the time is up
//	run DURATION                          asks whatever becomes due
//	stop                                  the pod is being stopped
type world struct {
	t       *testing.T
	now     time.Time
	agent   time.Time
	pod     *v1.Pod
	answers [Kinds]string
	life    Life
	shown   string
	out     strings.Builder
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestScenarios(t *testing.T) { golden.Scenarios(t, play) }

func play(t *testing.T, script string) string {
	w := &world{t: t, now: epoch, agent: epoch.Add(-time.Hour), answers: [Kinds]string{"ok", "ok", "ok"}}
	w.pod = &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "uid-1"}, Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways, Containers: []v1.Container{{Name: "app"}}}}
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "policy":
			w.pod.Spec.RestartPolicy = v1.RestartPolicy(words[1])
		case "agent":
			w.agent = epoch.Add(w.duration(words[1]))
		case "probe":
			w.probe(words[1], words[2:])
		case "begin":
			w.begin(words[1], words[2:])
		case "answer":
			for _, word := range words[1:] {
				kind, answer, _ := strings.Cut(word, "=")
				w.answers[w.kind(kind)] = answer
			}
		case "run":
			w.run(w.duration(words[1]))
		case "stop":
			w.life = w.life.Stop(w.now)
			w.say("stop")
		default:
			t.Fatalf("unknown command %q", words[0])
		}
	}
	return w.out.String()
}

func (w *world) kind(s string) Kind {
	for k := range Kinds {
		if Kind(k).word() == s {
			return Kind(k)
		}
	}
	w.t.Fatalf("unknown kind %q", s)
	return 0
}

func (w *world) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) probe(kind string, words []string) {
	p := &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{}}}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "exec":
			p.ProbeHandler = v1.ProbeHandler{Exec: &v1.ExecAction{}}
		case "delay":
			p.InitialDelaySeconds = int32(n)
		case "period":
			p.PeriodSeconds = int32(n)
		case "timeout":
			p.TimeoutSeconds = int32(n)
		case "success":
			p.SuccessThreshold = int32(n)
		case "failure":
			p.FailureThreshold = int32(n)
		case "grace":
			p.TerminationGracePeriodSeconds = new(int64(n))
		default:
			w.t.Fatalf("unknown key %q", key)
		}
	}
	c := &w.pod.Spec.Containers[0]
	switch w.kind(kind) {
	case Startup:
		c.StartupProbe = p
	case Liveness:
		c.LivenessProbe = p
	case Readiness:
		c.ReadinessProbe = p
	}
}

func (w *world) begin(id string, words []string) {
	in := Instance{ID: id, Started: w.now, Agent: w.agent}
	for _, word := range words {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "started":
			in.Started = w.now.Add(w.duration(value))
		case "before":
			in.Before = &Before{Started: strings.Contains(value, "started"), Ready: strings.Contains(value, "ready")}
		}
	}
	w.life = Begin(SpecOf(w.pod, &w.pod.Spec.Containers[0]), in, w.now)
	w.say("begin " + id)
}

// run asks what becomes due before the end, in the order of time.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for {
		next, at := Kind(0), time.Time{}
		for k := range Kind(Kinds) {
			if due := w.life.Due(k); !due.IsZero() && (at.IsZero() || due.Before(at)) {
				next, at = k, due
			}
		}
		if at.IsZero() || !at.Before(end) {
			break
		}
		if at.After(w.now) {
			w.now = at
		}
		w.ask(next)
	}
	if w.now.Before(end) {
		w.now = end
	}
}

func (w *world) ask(k Kind) {
	a := Asked{Began: w.now}
	answer := w.answers[k]
	switch answer {
	case "ok":
		a.Result = Success
	case "fail":
		a.Result = Failure
	case "late":
		a.Result, a.Late = Failure, true
	case "slow":
		a.Result = Failure
		w.now = w.now.Add(w.life.spec.Rule(k).Timeout)
	case "unknown":
	default:
		w.t.Fatalf("unknown answer %q", answer)
	}
	w.life = w.life.Learn(k, a, w.now)
	w.say("ask " + k.word() + ": " + answer)
}

func (w *world) say(what string) {
	h := w.life.Health()
	shown := fmt.Sprintf("started=%v ready=%v", h.Started, h.Ready)
	if h.Failed != "" {
		shown += fmt.Sprintf(" failed=%q", h.Failed)
	}
	if h.Grace != nil {
		shown += fmt.Sprintf(" grace=%v", *h.Grace)
	}
	fmt.Fprintf(&w.out, "+%-7v %s", w.now.Sub(epoch).Round(time.Millisecond), what)
	if shown != w.shown {
		fmt.Fprintf(&w.out, "  -> %s", shown)
		w.shown = shown
	}
	w.out.WriteString("\n")
}
