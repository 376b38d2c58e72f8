package access

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// tally keeps what it is told.
type tally struct {
	mu   sync.Mutex
	told []string
	now  map[bool]int
}

func (m *tally) tell(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, fmt.Sprintf(format, args...))
}

func (m *tally) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.told
	m.told = nil
	return all
}

func (m *tally) WhoAsked(code string, took time.Duration) { m.tell("who %s %v", code, took) }
func (m *tally) MayAsked(code string, took time.Duration) { m.tell("may %s %v", code, took) }
func (m *tally) Token(known bool, took time.Duration)     { m.tell("token %v %v", known, took) }
func (m *tally) Fetched(ok bool)                          { m.tell("fetched %v", ok) }
func (m *tally) Certificate(left time.Duration)           { m.tell("certificate") }
func (m *tally) Fetching(change int, behind bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now[behind] += change
}

func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &tally{now: map[bool]int{}}
		s := &server{tokens: map[string]authnv1.UserInfo{"t": {Username: "ann"}}, rules: map[string]bool{"ann get pods": true}, hold: make(chan struct{})}
		g := webhook(t, s, func(c *Config) { c.Meter = m })
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { g.Check(withToken("GET", "/pods", "t")) })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if m.now[false] != 1 || m.now[true] != 1 {
			t.Errorf("asking %d, waiting behind %d, want 1 and 1", m.now[false], m.now[true])
		}
		close(s.hold)
		both.Wait()
		if m.now[false] != 0 || m.now[true] != 0 {
			t.Errorf("asking %d, waiting behind %d, want none", m.now[false], m.now[true])
		}
		got := m.take()
		slices.Sort(got)
		want := []string{"fetched true", "may 201 0s", "token false 1s", "token true 1s", "who 201 1s"}
		if !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		g.Check(withToken("GET", "/pods", "t"))
		if got := m.take(); !slices.Equal(got, []string{"token true 0s"}) {
			t.Errorf("what is remembered: told %q", got)
		}
		s.errs = []error{apierrors.NewForbidden(schema.GroupResource{Resource: "tokenreviews"}, "", nil)}
		g.Check(withToken("GET", "/pods", "other"))
		if got := m.take(); !slices.Equal(got, []string{"who 403 0s", "fetched false", "token false 0s"}) {
			t.Errorf("a refusal: told %q", got)
		}
		g.Check(withToken("GET", "/pods", "nobody's"))
		if got := m.take(); !slices.Equal(got, []string{"who 201 0s", "fetched false", "token false 0s"}) {
			t.Errorf("a token of nobody: told %q", got)
		}
		g.Check(httptest.NewRequest("GET", "/pods", nil))
		if got := m.take(); len(got) > 0 {
			t.Errorf("no token: told %q", got)
		}
	})
}

func TestCodeOf(t *testing.T) {
	for want, err := range map[string]error{
		"201":     nil,
		"<error>": fmt.Errorf("dial: %w", errTest("refused")),
		"503":     fmt.Errorf("ask: %w", &apierrors.StatusError{ErrStatus: metav1.Status{Code: 503}}),
	} {
		if got := codeOf(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

type errTest string

func (e errTest) Error() string { return string(e) }
