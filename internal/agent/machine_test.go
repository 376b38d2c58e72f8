package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/note"
)

// told is an agent that only takes notes, and the notes it has taken.
func told(t *testing.T, lines string) (*Agent, func() []string) {
	t.Helper()
	a := &Agent{log: slog.New(slog.DiscardHandler), notes: note.NewList(), metrics: metrics.New(metrics.Config{}), cfg: configured(t, lines)}
	a.host.Name = "here"
	return a, func() (all []string) {
		for _, n := range a.notes.All("") {
			for range max(1, n.Count) {
				all = append(all, n.About.Name+": "+n.Reason)
			}
		}
		slices.Sort(all)
		return all
	}
}

// background runs a part of the agent until the test ends, inside its bubble.
func background(t *testing.T, run func(context.Context) error) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Behaviour 312.
func TestCheckSwap(t *testing.T) {
	for name, c := range map[string]struct {
		swap int64
		kept bool
		err  error
		want int
	}{"no swap": {}, "kept out of it": {swap: 1, kept: true}, "not kept out": {swap: 1, want: 1}, "nobody knows": {swap: 1, err: os.ErrPermission, want: 1}} {
		a, said := told(t, "")
		a.host.Swap = c.swap
		a.checkSwap(func() (bool, error) { return c.kept, c.err })
		if got := said(); len(got) != c.want || c.want > 0 && got[0] != "here: PossibleMemoryBackedVolumesOnDisk" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestCheckResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		age := time.Hour
		write := func(domains int) {
			t.Helper()
			age -= time.Minute // each version has a time of its own
			at := time.Now().Add(-age)
			text := "nameserver 192.0.2.1\nsearch" + strings.Repeat(" x.example", domains) + "\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		a, notes := told(t, "clusterDomain: cluster.local\nresolvConf: "+path+"\n")
		background(t, a.checkResolver)
		expect := func(n int) {
			t.Helper()
			synctest.Wait()
			if got := notes(); !slices.Equal(got, slices.Repeat([]string{"here: CheckLimitsForResolvConf"}, n)) {
				t.Fatalf("told %v, want %d", got, n)
			}
		}
		expect(0) // there is no file yet
		write(29)
		time.Sleep(resolverEvery)
		expect(0)
		write(30)
		time.Sleep(resolverEvery)
		expect(1)
		time.Sleep(resolverAgain - time.Minute)
		expect(1)
		time.Sleep(2 * time.Minute)
		expect(2)
		write(3)
		time.Sleep(2 * resolverAgain)
		expect(2)
	})
}

func TestFamiliesOfAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, notes := told(t, "")
		a.member = &member{}
		pods := map[types.UID]*v1.Pod{}
		add := func(uid types.UID, hostIP string) {
			pods[uid] = &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: string(uid), UID: uid}, Status: v1.PodStatus{HostIP: hostIP}}
			now := map[types.UID]*v1.Pod{}
			for uid, p := range pods {
				now[uid] = p
			}
			a.member.byUID.Set(apiPods{now, true})
		}
		background(t, a.followFamilies)
		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := notes(); !slices.Equal(got, want) {
				t.Fatalf("told %v, want %v", got, want)
			}
		}
		add("four", "192.0.2.1")
		add("new", "")
		expect() // the node's own addresses are not known
		a.ips.Set([]string{"192.0.2.7", "2001:db8::7"})
		expect()
		add("six", "2001:db8::1")
		add("another", "192.0.2.1")
		expect("six: HostIPsIPFamilyMismatch")
		a.ips.Set([]string{"2001:db8::7"})
		expect("another: HostIPsIPFamilyMismatch", "four: HostIPsIPFamilyMismatch", "six: HostIPsIPFamilyMismatch")
	})
}
