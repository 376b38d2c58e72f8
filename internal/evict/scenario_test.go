package evict

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/golden"
)

// world is a node that is looked at, in virtual time. The commands of a scenario:
//
//	hard | soft | grace | reclaim SIGNAL=VALUE ...   the configuration
//	hold DURATION                                    evictionPressureTransitionPeriod
//	pods are limited                                 enforceNodeAllocatable has pods
//	look SIGNAL=AVAILABLE/CAPACITY[,spare=N][,stalled=N] ...   what is found; without any, as before
//	pass DURATION                                    time goes by
//	clock back DURATION | crash                      the clock is set; the agent forgets
type world struct {
	t        *testing.T
	now      time.Time
	texts    Texts
	limited  bool
	settings Settings
	memory   Memory
	readings map[Signal]Reading
	out      strings.Builder
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestScenarios(t *testing.T) { golden.Scenarios(t, play) }

func play(t *testing.T, script string) string {
	w := &world{t: t, now: epoch, settings: Settings{Hold: 5 * time.Minute}, readings: map[Signal]Reading{}, texts: Texts{
		Hard: map[string]string{}, Soft: map[string]string{}, SoftGrace: map[string]string{}, Reclaim: map[string]string{},
	}}
	for line := range strings.Lines(script) {
		if words := strings.Fields(line); len(words) > 0 {
			w.do(words)
		}
	}
	return w.out.String()
}

func (w *world) do(words []string) {
	switch words[0] {
	case "hard":
		w.set(w.texts.Hard, words[1:])
	case "soft":
		w.set(w.texts.Soft, words[1:])
	case "grace":
		w.set(w.texts.SoftGrace, words[1:])
	case "reclaim":
		w.set(w.texts.Reclaim, words[1:])
	case "hold":
		w.settings.Hold = w.duration(words[1])
	case "pods":
		w.limited = true
	case "pass":
		w.now = w.now.Add(w.duration(words[1]))
	case "clock":
		w.now = w.now.Add(-w.duration(words[2]))
	case "crash":
		w.memory = Memory{}
	case "look":
		w.look(words[1:])
	default:
		w.t.Fatalf("no such command: %v", words)
	}
}

func (w *world) set(texts map[string]string, words []string) {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		texts[name] = value
	}
}

func (w *world) look(words []string) {
	var err error
	if w.settings.Thresholds, err = Parse(w.texts, w.limited); err != nil {
		fmt.Fprintf(&w.out, "wrong: %v\n", err)
	}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		parts := strings.Split(value, ",")
		if parts[0] == "gone" {
			delete(w.readings, Signal(name))
			continue
		}
		available, capacity, _ := strings.Cut(parts[0], "/")
		r := Reading{Available: w.amount(available), Capacity: w.amount(capacity)}
		for _, p := range parts[1:] {
			if r.Doubt == nil {
				r.Doubt = &Doubt{Spare: 1 << 60, Stalled: -1}
			}
			if n, ok := strings.CutPrefix(p, "spare="); ok {
				r.Doubt.Spare = w.amount(n)
			}
			if n, ok := strings.CutPrefix(p, "stalled="); ok {
				r.Doubt.Stalled, _ = strconv.ParseFloat(n, 64)
			}
		}
		w.readings[Signal(name)] = r
	}
	v := Look(w.settings, w.memory, Readings{At: w.now, Of: maps.Clone(w.readings)}, w.now)
	w.memory = v.Memory
	w.show(v)
}

func (w *world) show(v View) {
	var says []string
	for _, c := range v.Pressure {
		says = append(says, string(c))
	}
	if len(says) == 0 {
		says = []string{"well"}
	}
	fmt.Fprintf(&w.out, "+%v %s", w.now.Sub(epoch), strings.Join(says, " "))
	for _, s := range v.Short {
		kind := "hard"
		if s.Soft {
			kind = "soft"
		}
		least, lacks := s.Least.Of(s.Signal, s.Reading.Capacity), s.Signal.quantity(s.Lacking())
		fmt.Fprintf(&w.out, ", %s %s<%s for %v lacks %s", kind, s.Signal, least.String(), w.now.Sub(s.Since), lacks.String())
		if s.Due {
			w.out.WriteString(" due")
		}
	}
	if s, ok := v.Urgent(); ok {
		fmt.Fprintf(&w.out, "; %s goes first", s.Signal)
	}
	fmt.Fprintf(&w.out, "; look in %v\n", v.LookAt.Sub(w.now))
}

func (w *world) amount(text string) int64 {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		w.t.Fatalf("amount %q: %v", text, err)
	}
	return q.Value()
}

func (w *world) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// TestUrgencyIsComplete: every signal has a place, a resource and a condition.
func TestUrgencyIsComplete(t *testing.T) {
	all := []Signal{MemoryAvailable, PodsMemory, NodeFSAvailable, NodeFSInodesFree, ImageFSAvailable, ImageFSInodesFree, PIDAvailable}
	for i, s := range all {
		if !s.Known() || urgency[s] != i || !slices.Contains([]string{"memory", "ephemeral-storage", "inodes", "pids"}, string(s.Resource())) {
			t.Errorf("signal %s: urgency %d, resource %s", s, urgency[s], s.Resource())
		}
	}
	if Signal("containerfs.available").Known() {
		t.Error("a signal that decides nothing is known")
	}
}
