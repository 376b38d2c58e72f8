package agent

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/timeline"
	"github.com/bosun-project/bosun/internal/trace"
	"github.com/bosun-project/bosun/internal/worker"
)

// buildTracer makes what sends spans, if the configuration has somebody to send them to.
func (a *Agent) buildTracer() {
	t := a.cfg.Kubelet.Tracing
	if t == nil {
		return
	}
	c := trace.Config{Service: "kubelet", Host: a.host.Name, Log: a.log}
	if t.Endpoint != nil {
		c.Endpoint = *t.Endpoint
	}
	if t.SamplingRatePerMillion != nil {
		c.PerMillion = *t.SamplingRatePerMillion
	}
	a.tracer = trace.New(c)
}

// tracing is what makes and sends spans. It ends after all that it is about.
func (a *Agent) tracing() []actor {
	if a.tracer == nil {
		return nil
	}
	return []actor{{"traces", a.tracer.Run}}
}

// followed is what follows the pods for their spans.
func (a *Agent) followed() []actor {
	if a.lives == nil {
		return nil
	}
	return []actor{{"spans of pods", a.lives.Run}}
}

// callsTraced makes spans of the calls to the runtime.
func (a *Agent) callsTraced() grpc.UnaryClientInterceptor {
	if a.tracer == nil {
		return nil
	}
	return a.tracer.Calls()
}

// traced makes spans of something that is done again and again.
func (a *Agent) traced(name string) func(context.Context) (context.Context, func(error)) {
	if a.tracer == nil {
		return nil
	}
	return func(ctx context.Context) (context.Context, func(error)) {
		s := a.tracer.Begin(ctx, trace.Inside, name, time.Now())
		return s.Under(ctx), func(err error) {
			if err != nil {
				s.Fail(err.Error())
			}
			s.End(time.Now())
		}
	}
}

// doer does the effects of pods, in spans if there are any.
func (a *Agent) doer(d worker.Doer) worker.Doer {
	if a.tracer == nil {
		return d
	}
	a.lives = timeline.New(timeline.Config{
		Doer: d,
		Begin: func(ctx context.Context, name string, at time.Time, attrs ...slog.Attr) timeline.Span {
			return a.tracer.Begin(ctx, trace.Inside, name, at, attrs...)
		},
		Table: func() ([]timeline.View, <-chan struct{}) {
			entries, newer := a.set.Table().Pods()
			views := make([]timeline.View, 0, len(entries))
			for _, e := range entries {
				views = append(views, viewOf(e))
			}
			return views, newer
		},
	})
	return a.lives
}

func viewOf(e *worker.Entry) timeline.View {
	v := timeline.View{UID: e.Desired.UID(), At: e.At, Stage: e.Memory.Stage, Idle: len(e.InFlight) == 0}
	switch s := e.Stages; {
	case len(s) > 1 && s[0].Stage == plan.Waiting.String():
		v.Judged = s[1].At
	case len(s) > 0 && s[0].Stage == plan.Preparing.String(): // it was let in before its worker first looked
		v.Judged = s[0].At
	}
	for i := range e.Status.Conditions {
		if c := &e.Status.Conditions[i]; c.Type == v1.PodReady {
			v.Ready = c.Status == v1.ConditionTrue
		}
	}
	return v
}
