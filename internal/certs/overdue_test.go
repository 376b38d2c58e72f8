package certs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// noted keeps the reasons of notes.
type noted struct {
	mu      sync.Mutex
	reasons []string
	texts   []string
}

func (n *noted) sink(x note.Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reasons, n.texts = append(n.reasons, fmt.Sprint(x.Level, " ", x.Reason)), append(n.texts, x.Message)
}

func (n *noted) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.reasons)
}

// A certificate that is not renewed in time is told of once, its end once, and the next one begins anew.
func TestOverdueCertificate(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.life = 10 * day
		joined(t, n)
		notes := &noted{}
		c := n.clientConfig()
		c.Notes = notes.sink
		client, stop := startClient(t, c, n.api)
		defer stop()
		n.api.set(func() { n.api.refuse = errors.New("away") })
		synctest.Wait()
		state := client.State().Value()
		time.Sleep(time.Until(overdueAt(state.RenewAt, state.NotAfter)) - time.Minute)
		if got := notes.all(); len(got) > 0 {
			t.Fatalf("told %v too early", got)
		}
		time.Sleep(2 * time.Minute)
		late := []string{"Warning " + reason.CertificateOverdueForRefresh}
		if got := notes.all(); !slices.Equal(got, late) {
			t.Fatalf("told %v, want %v", got, late)
		}
		time.Sleep(4 * day)
		if got := notes.all(); !slices.Equal(got, append(late, "Warning "+reason.CertificateExpired)) {
			t.Fatalf("told %v", got)
		}
		if !strings.HasPrefix(notes.texts[1], "The client certificate of this node expired at 2000-01-11T") {
			t.Error(notes.texts[1])
		}
		n.api.set(func() { n.api.refuse = nil })
		time.Sleep(day)
		n.api.set(func() { n.api.refuse = errors.New("away") })
		time.Sleep(12 * day)
		if got := notes.all(); len(got) != 4 {
			t.Errorf("told %v, want both again of the next certificate", got)
		}
	})
}

// Of a certificate that others look after only its end is told; a short one is overdue when half of the rest is gone.
func TestOverdueAt(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ renew, end, want time.Time }{
		{time.Time{}, at, time.Time{}},
		{at, at.Add(30 * day), at.Add(day)},
		{at, at.Add(2 * time.Hour), at.Add(time.Hour)},
	} {
		if got := overdueAt(c.renew, c.end); !got.Equal(c.want) {
			t.Errorf("renewal at %v, end at %v: %v, want %v", c.renew, c.end, got, c.want)
		}
	}
}
