package objects

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/content"
)

var hour = content.Token{Account: "robot", Seconds: 3600}

func (b *bench) token(p *v1.Pod) string {
	b.t.Helper()
	got, err := b.Token(b.t.Context(), p, hour)
	if err != nil {
		b.t.Error(err)
	}
	return got
}

// Behaviour 181.
func TestTokenIsFetchedAheadAndRenewed(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.slow = 300 * time.Millisecond
		p := podOf(fromToken(3600))
		b.want(p)
		began := time.Now()
		b.is("token", b.token(p), "shop/robot#1")
		b.is("waited", time.Since(began), 300*time.Millisecond)
		r := b.server.asked[0].Spec
		if ref := r.BoundObjectRef; ref.Kind != "Pod" || ref.APIVersion != "v1" || ref.Name != "web" || ref.UID != "u" || *r.ExpirationSeconds != 3600 || r.Audiences != nil {
			t.Errorf("asked for %+v", r)
		}
		b.is("token again", b.token(p), "shop/robot#1")
		b.revision("u")
		_, newer := b.Revisions().Get()
		select {
		case <-newer:
		case <-time.After(time.Hour):
		}
		if at := time.Since(began); at > 48*time.Minute+300*time.Millisecond || at < 48*time.Minute-jitter {
			t.Errorf("renewed after %s", at)
		}
		b.is("token renewed", b.token(p), "shop/robot#2")
		time.Sleep(24 * time.Hour)
		if n := b.server.asks(); n < 30 || n > 32 {
			t.Errorf("asked %d times in a day and an hour", n)
		}
		b.want()
		time.Sleep(24 * time.Hour)
		if n := b.server.asks(); n > 32 {
			t.Errorf("asked %d times, also after the pod had gone", n)
		}
	})
}

func TestLongTokenIsRenewedEachDay(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.want(podOf(fromToken(365 * 24 * 3600)))
		time.Sleep(10 * 24 * time.Hour)
		b.is("asked", b.server.asks(), 11)
	})
}

// The API server may grant less than was asked.
func TestShortenedToken(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.seconds = 600
		p := podOf(fromToken(3600))
		b.want(p)
		b.token(p)
		time.Sleep(481 * time.Second)
		b.is("token", b.token(p), "shop/robot#2")
	})
}

func TestTokensOfOnePodAreOne(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		p := podOf(fromToken(3600), fromToken(3600), fromToken(600))
		other := numbered(podOf(fromToken(3600)), "other")
		b.want(p, other)
		b.is("asked", b.server.asks(), 3)
		f, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[2])
		if err != nil || len(f.Tokens) != 1 || f.Tokens[content.Token{Account: "robot", Seconds: 600}] == "" {
			t.Errorf("%v, %v", f.Tokens, err)
		}
	})
}

func TestTokenRefusedAtFirst(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.tokenFails = []error{errForbidden, errAway, errBroken}
		p := podOf(fromToken(3600))
		began := time.Now()
		b.want(p)
		b.is("token", b.token(p), "shop/robot#4")
		b.is("waited", time.Since(began), 350*time.Millisecond)
	})
}

func TestTokenOfNobody(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.tokenFails = []error{errNoAccount, errNoAccount, errNoAccount}
		p := podOf(fromToken(3600))
		b.want(p)
		began := time.Now()
		_, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[0])
		if want := `failed to fetch token: serviceaccounts "robot" not found`; err == nil || err.Error() != want || time.Since(began) != 0 {
			t.Errorf("error %v after %s, want %s", err, time.Since(began), want)
		}
		if w := b.Waits("u"); len(w) != 1 || w[0].What != "token of service account shop/robot" || w[0].Problem != `serviceaccounts "robot" not found` {
			t.Errorf("waits %v", w)
		}
		gone := numbered(p, "gone")
		b.server.tokenFails = append(b.server.tokenFails, errNoAccount)
		b.want(p, gone)
		b.want(p)
		b.is("leases", b.leasesNow(), 1)
		b.grows("the account is there", 350*time.Millisecond, func() {})
		b.is("token", b.token(p), "shop/robot#5")
	})
}

// While the API server is away a token serves for as long as it holds, and no longer.
func TestTokenWhileTheAPIServerIsAway(t *testing.T) {
	var log bytes.Buffer
	bubble(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, func(b *bench) {
		p := podOf(fromToken(3600))
		b.want(p)
		b.token(p)
		b.server.do(func() { b.server.down = errAway })
		time.Sleep(59 * time.Minute)
		began := time.Now()
		b.is("token that is due", b.token(p), "shop/robot#1")
		b.is("waited", time.Since(began), time.Duration(0))
		asked := b.server.asks()
		time.Sleep(50 * time.Second)
		if more := b.server.asks() - asked; more < 4 || more > 6 {
			t.Errorf("asked %d times in 50 s", more)
		}
		time.Sleep(time.Minute)
		if _, err := b.Token(b.t.Context(), p, hour); err == nil || !strings.HasPrefix(err.Error(), "failed to fetch token: dial tcp") {
			t.Errorf("error %v", err)
		}
		b.server.do(func() { b.server.down = nil })
		// Any word from the API server ends the pause.
		b.grows("is back", time.Second, func() { time.Sleep(time.Second); b.server.put("services", []*v1.Service{{}}) })
		if got := b.token(p); got == "shop/robot#1" {
			t.Errorf("token %s", got)
		}
		if n := strings.Count(log.String(), "cannot renew"); n != 1 || strings.Contains(log.String(), "robot#") {
			t.Errorf("%d lines in the log:\n%s", n, log.String())
		}
	})
}

// A token no volume shows, such as for a credential provider, is renewed when it is asked for.
func TestTokenOnDemand(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		p := podOf()
		b.want(p)
		b.is("token", b.token(p), "shop/robot#1")
		time.Sleep(50 * time.Minute)
		b.is("asked", b.server.asks(), 1)
		b.is("token that is due", b.token(p), "shop/robot#1")
		time.Sleep(time.Second)
		b.is("token", b.token(p), "shop/robot#2")
		time.Sleep(2 * time.Hour)
		b.is("token after it was over", b.token(p), "shop/robot#3")
		b.want()
		time.Sleep(time.Minute)
		b.is("leases", b.leasesNow(), 0)

		// Asked for a moment before the pod is known.
		early := numbered(p, "early")
		b.is("token of a pod to come", b.token(early), "shop/robot#4")
		time.Sleep(10 * time.Second)
		b.is("leases", b.leasesNow(), 1)
		b.want(early)
		time.Sleep(time.Minute)
		b.is("token of it", b.token(early), "shop/robot#4")
		b.want()
		b.is("token of a pod that never comes", b.token(numbered(p, "never")), "shop/robot#5")
		time.Sleep(time.Minute)
		b.is("leases", b.leasesNow(), 0)
	})
}

func (b *bench) leasesNow() int {
	b.Loop.mu.Lock()
	defer b.Loop.mu.Unlock()
	return len(b.leases)
}

func TestLeaseBySeveralClocks(t *testing.T) {
	for _, c := range []struct {
		name         string
		steady, wall time.Duration
		want         time.Duration
	}{
		{"alike", time.Minute, time.Minute, time.Minute},
		{"clock set back", time.Minute, -time.Hour, time.Minute},
		{"clock set forward", time.Minute, time.Hour, time.Hour},
		{"the machine slept", time.Minute, time.Hour, time.Hour},
	} {
		if got := oldest(c.steady, c.wall); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	now := time.Now()
	if got := age(now, now.Add(time.Hour)); got != time.Hour {
		t.Errorf("age %s", got)
	}
}

func TestLifeOf(t *testing.T) {
	began, granted := time.Now(), int64(1800)
	for _, c := range []struct {
		name    string
		granted *int64
		ends    time.Duration // by this node's clock, after the request; 0: not said
		want    time.Duration
	}{
		{"as asked", nil, 0, time.Hour},
		{"granted less", &granted, 0, 30 * time.Minute},
		{"ends earlier", nil, 10 * time.Minute, 10 * time.Minute},
		{"this clock runs behind", &granted, 3 * time.Hour, 30 * time.Minute},
		{"this clock runs ahead", &granted, -3 * time.Hour, 30 * time.Minute},
	} {
		answer := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: c.granted}}
		if c.ends != 0 {
			answer.Status.ExpirationTimestamp = metav1.NewTime(began.Add(c.ends))
		}
		if got := lifeOf(answer, 3600, began); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// Both clocks decide when a token is due.
func TestDue(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name string
		e    lease
		due  bool
		next time.Duration // after now; 0: never
	}{
		{"none yet", lease{}, true, 0},
		{"being asked for", lease{asking: true}, false, 0},
		{"fresh", lease{text: "t", standing: true, got: now, life: time.Hour}, false, look},
		{"nobody shows it", lease{text: "t", got: now.Add(-2 * time.Hour), life: time.Hour}, false, 0},
		{"nobody shows it, asked for", lease{text: "t", asked: true, got: now.Add(-2 * time.Hour), life: time.Hour}, true, 0},
		{"due", lease{text: "t", standing: true, got: now.Add(-48 * time.Minute), life: time.Hour}, true, 0},
		{"kept over a restart", lease{text: "t", standing: true, recalled: true}, true, 0},
		{"failed a moment ago", lease{err: errAway, next: now.Add(time.Second)}, false, time.Second},
		{"failed", lease{err: errAway, next: now}, true, 0},
	} {
		due, next := c.e.due(now)
		if due != c.due || !due && c.next != 0 && !next.Equal(now.Add(c.next)) || !due && c.next == 0 && !next.IsZero() {
			t.Errorf("%s: due %v, next %s", c.name, due, next.Sub(now))
		}
	}
}
