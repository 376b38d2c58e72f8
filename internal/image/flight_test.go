package image

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/reason"
)

func TestSamePullIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		p := New(Config{Service: f, QPS: 1, Burst: 1}) // one token: a second RPC would be refused
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				began := time.Now()
				announced := 0
				got, err := p.Ensure(t.Context(), Request{Image: "a", OnPull: func() { announced++ }})
				if err != nil || !got.Pulled || got.Took != time.Second || got.Waited != time.Since(began) || announced != 1 {
					t.Errorf("%+v, %v, announced %d", got, err, announced)
				}
			})
		}
		all.Wait()
		if f.pulls != 1 {
			t.Errorf("%d pulls, want 1", f.pulls)
		}
		if got, err := p.Ensure(t.Context(), Request{Image: "a"}); err != nil || !got.Present || f.pulls != 1 {
			t.Errorf("afterwards: %+v, %v, %d pulls", got, err, f.pulls)
		}
	})
}

func TestOtherLoginsHandlersAndImagesAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		p := New(Config{Service: f, Keyring: keyring{}})
		var all sync.WaitGroup
		for _, r := range []Request{
			{Image: "reg.io/a"}, {Image: "reg.io/a:latest"}, // these two are the same
			{Image: "reg.io/b"}, {Image: "reg.io/a", Handler: "kata"},
			{Image: "reg.io/a", By: secret("x.io")}, {Image: "reg.io/a", By: secret("y.io")}, {Image: "reg.io/a", By: secret("x.io")},
		} {
			all.Go(func() {
				if _, err := p.Ensure(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if f.pulls != 5 || f.most != 5 {
			t.Errorf("%d pulls, at most %d at once; want 5 and 5", f.pulls, f.most)
		}
	})
}

func TestLeavingAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{pull: func(ctx context.Context, _ string, _ *runtimeapi.AuthConfig) error { return pause(ctx, time.Hour) }} // a registry that hangs
		p := New(Config{Service: f})
		const n = 3
		var cancels [n]context.CancelFunc
		left := make(chan error, n)
		for i := range n {
			ctx, cancel := context.WithCancel(t.Context())
			cancels[i] = cancel
			go func() {
				_, err := p.Ensure(ctx, Request{Image: "a"})
				left <- err
			}()
			synctest.Wait()
		}
		for i, cancel := range cancels {
			if f.cut != 0 {
				t.Fatalf("the pull was cut when %d had left", i)
			}
			cancel()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		}
		if f.pulls != 1 || f.cut != 1 {
			t.Errorf("%d pulls, %d cut; want 1 and 1 as soon as the last one has left", f.pulls, f.cut)
		}
		if len(p.flights) != 0 {
			t.Errorf("flights are left: %v", p.flights)
		}
	})
}

func TestFirstCallerLeavesOthersGetTheImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		p := New(Config{Service: f})
		first, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("pod deleted"))
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := p.Ensure(first, Request{Image: "a"}); err == nil || err.Error() != "ensure image a: pod deleted" {
				t.Errorf("first: %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if got, err := p.Ensure(t.Context(), Request{Image: "a"}); err != nil || !got.Pulled {
				t.Errorf("second: %+v, %v", got, err)
			}
		})
		all.Wait()
		if f.pulls != 1 || f.cut != 0 {
			t.Errorf("%d pulls, %d cut", f.pulls, f.cut)
		}
	})
}

func TestNewcomerDoesNotJoinACancelledPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := 0
		f := &fake{}
		f.pull = func(ctx context.Context, _ string, _ *runtimeapi.AuthConfig) error {
			f.mu.Lock()
			slow++
			n := slow
			f.mu.Unlock()
			err := pause(ctx, time.Second)
			if n == 1 { // takes its time to end after being cancelled
				time.Sleep(10 * time.Second)
			}
			return err
		}
		p := New(Config{Service: f})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := p.Ensure(ctx, Request{Image: "a"}); !errors.Is(err, context.Canceled) {
				t.Errorf("first: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		all.Go(func() {
			if got, err := p.Ensure(t.Context(), Request{Image: "a"}); err != nil || got.Waited != time.Second {
				t.Errorf("newcomer: %+v, %v", got, err)
			}
		})
		all.Wait()
	})
}

func TestCaps(t *testing.T) { // behaviour 157
	for _, c := range []struct {
		name   string
		config Config
		most   int
		took   time.Duration
	}{
		{"serial", Config{Serialize: true, MaxParallel: 5}, 1, 6 * time.Second},
		{"two at once", Config{MaxParallel: 2}, 2, 3 * time.Second},
		{"no limit", Config{}, 6, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				c.config.Service = f
				p := New(c.config)
				began := time.Now()
				var all sync.WaitGroup
				for i := range 6 {
					all.Go(func() {
						got, err := p.Ensure(t.Context(), Request{Image: fmt.Sprint("a", i)})
						if err != nil || got.Took != time.Second || got.Waited != time.Since(began) {
							t.Errorf("%+v, %v after %v", got, err, time.Since(began))
						}
					})
				}
				all.Wait()
				if f.most != c.most || time.Since(began) != c.took {
					t.Errorf("at most %d at once, took %v; want %d, %v", f.most, time.Since(began), c.most, c.took)
				}
			})
		})
	}
}

func TestLeavingTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		p := New(Config{Service: f, Serialize: true})
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		ensure := func(ctx context.Context, image string) {
			all.Go(func() { _, _ = p.Ensure(ctx, Request{Image: image}) })
			synctest.Wait()
		}
		ensure(t.Context(), "a")
		ensure(short, "b")
		ensure(t.Context(), "c")
		began := time.Now()
		all.Wait()
		if f.pulls != 2 || time.Since(began) != 2*time.Second {
			t.Errorf("%d pulls in %v; want a and c only", f.pulls, time.Since(began))
		}
	})
}

func TestQPS(t *testing.T) { // behaviour 157
	synctest.Test(t, func(t *testing.T) {
		f := &fake{pull: answer(nil)}
		p := New(Config{Service: f, QPS: 1, Burst: 2})
		for i, want := range []bool{true, true, false} {
			_, err := p.Ensure(t.Context(), Request{Image: fmt.Sprint("a", i)})
			var e *Error
			if want != (err == nil) || err != nil && (!errors.As(err, &e) || e.Reason != reason.ErrImagePull || err.Error() != "pull QPS exceeded" || !errors.Is(err, ErrQPS)) {
				t.Errorf("pull %d: %v", i, err)
			}
		}
		time.Sleep(time.Second)
		if _, err := p.Ensure(t.Context(), Request{Image: "a2"}); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}

func TestCallerThatIsGoneAlready(t *testing.T) {
	f := &fake{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(Config{Service: f}).Ensure(ctx, Request{Image: "a"}); !errors.Is(err, context.Canceled) || f.pulls != 0 {
		t.Errorf("%v, %d pulls", err, f.pulls)
	}
}
