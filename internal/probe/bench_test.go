package probe

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/latest"
)

// instant answers at once and closes done after so many questions.
type instant struct {
	left atomic.Int64
	done chan struct{}
}

func (i *instant) Ask(context.Context, health.Question) (health.Answer, error) {
	if i.left.Add(-1) == 0 {
		close(i.done)
	}
	return health.Answer{Result: health.Success}, nil
}

func (i *instant) Ended(context.Context, string) bool { return false }

// BenchmarkProbe measures the processor time of the agent for one exec probe whose command takes no time, at a rate of
// 1000 a second, and what that means for 100 pods with one each 10 s.
func BenchmarkProbe(b *testing.B) {
	var targets []Target
	for i := range 1000 {
		targets = append(targets, target(fmt.Sprintf("web-%d", i), fmt.Sprintf("c%d", i), func(a *v1.Container) { a.LivenessProbe = exec(1, 3) }))
	}
	asker := &instant{done: make(chan struct{})}
	asker.left.Store(int64(b.N))
	var cell latest.Cell[[]Target]
	cell.Set(targets)
	loop := New(Config{Targets: cell.Get, Asker: asker})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime(b)
	go func() { ended <- loop.Run(ctx) }()
	<-asker.done
	used := processorTime(b) - before
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	each := used / time.Duration(b.N)
	b.ReportMetric(float64(each.Nanoseconds())/1e3, "cpu-µs/probe")
	b.ReportMetric(10*each.Seconds()*100, "%core/100pods")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTargets measures one look at 100 pods of which one has changed.
func BenchmarkTargets(b *testing.B) {
	var targets []Target
	for i := range 100 {
		one := target(fmt.Sprintf("web-%d", i), fmt.Sprintf("c%d", i), func(a *v1.Container) { a.LivenessProbe = exec(10, 3) })
		one.Version = i
		targets = append(targets, one)
	}
	r := newRounds(New(Config{}))
	r.take(targets)
	b.ReportAllocs()
	for i := range b.N {
		targets[i%100].Version = 100 + i
		r.take(targets)
		r.publish()
	}
}
