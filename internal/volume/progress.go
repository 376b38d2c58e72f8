package volume

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// slowAfter is when a change of owners is told to be slow, and progressEvery how often it is told after that how far it is.
	slowAfter     = 30 * time.Second
	progressEvery = time.Minute
)

const ownerAdvice = "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods"

// A progress tells of a change of owners that takes long (behaviour 186).
type progress struct {
	files atomic.Int64
	stop  chan struct{}
	over  sync.WaitGroup
}

// follow begins to tell of a change below path; end ends it.
func follow(path string, tell func(string)) *progress {
	p := &progress{stop: make(chan struct{})}
	p.over.Go(func() {
		wait := time.NewTimer(slowAfter)
		defer wait.Stop()
		for slow := false; ; slow = true {
			select {
			case <-p.stop:
				return
			case <-wait.C:
			}
			if slow {
				tell(fmt.Sprintf("Setting volume ownership for %s, processed %d files.", path, p.files.Load()))
			} else {
				tell(fmt.Sprintf("Setting volume ownership for %s is taking longer than expected, consider using OnRootMismatch - %s", path, ownerAdvice))
			}
			wait.Reset(progressEvery)
		}
	})
	return p
}

func (p *progress) end() {
	close(p.stop)
	p.over.Wait()
}
