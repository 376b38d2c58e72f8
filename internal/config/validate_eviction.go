package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

func signals() []string {
	return []string{"memory.available", "allocatableMemory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree", "pid.available"}
}

// eviction checks the thresholds under which pods have to go.
func (v *checker) eviction() {
	k := v.k
	v.thresholds("evictionHard", k.EvictionHard)
	v.thresholds("evictionSoft", k.EvictionSoft)
	v.thresholds("evictionMinimumReclaim", k.EvictionMinimumReclaim)
	for _, signal := range slices.Sorted(maps.Keys(k.EvictionSoft)) {
		if _, ok := k.EvictionSoftGracePeriod[signal]; !ok {
			v.bad("evictionSoft", quote(signal), "needs a grace period of that name in evictionSoftGracePeriod")
		}
	}
	for _, signal := range slices.Sorted(maps.Keys(k.EvictionSoftGracePeriod)) {
		v.signal("evictionSoftGracePeriod", signal)
		if d, err := time.ParseDuration(k.EvictionSoftGracePeriod[signal]); err != nil || d < 0 {
			v.bad("evictionSoftGracePeriod", quote(signal+"="+k.EvictionSoftGracePeriod[signal]), `want a duration such as "1m30s"`)
		}
	}
	v.notNegative("evictionPressureTransitionPeriod", k.EvictionPressureTransitionPeriod)
}

func (v *checker) signal(field, name string) bool {
	switch {
	case strings.HasPrefix(name, "containerfs."):
		v.bad(field, quote(name), "is worked out from nodefs and imagefs; leave it out")
		return false
	case !slices.Contains(signals(), name):
		v.bad(field, quote(name), "there is no such signal; want one of: "+strings.Join(signals(), ", "))
		return false
	}
	return true
}

func (v *checker) thresholds(field string, m map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		switch {
		case !v.signal(field, name):
		case !validThreshold(m[name]):
			v.bad(field, quote(name+"="+m[name]), "want an amount such as 100Mi, or a percentage from 0% to 100%")
		case field != "evictionMinimumReclaim" && isNothing(m[name]):
			v.bad(field, quote(name+"="+m[name]), `want more than nothing; "0%" switches the signal off`)
		}
	}
}

func validThreshold(s string) bool {
	if strings.HasSuffix(s, "%") {
		p, ok := percent(s)
		return ok && p >= 0 && p <= 100
	}
	q, err := resource.ParseQuantity(s)
	return err == nil && q.Sign() >= 0
}

// isNothing tells whether a threshold that is valid is a quantity of nothing; a percentage of 0 has a meaning of its own.
func isNothing(s string) bool {
	q, err := resource.ParseQuantity(s)
	return err == nil && q.IsZero()
}

// shutdown checks the time pods get when the machine goes down.
func (v *checker) shutdown() {
	k := v.k
	total, critical := k.ShutdownGracePeriod.Duration, k.ShutdownGracePeriodCriticalPods.Duration
	v.grace("shutdownGracePeriod", total)
	v.grace("shutdownGracePeriodCriticalPods", critical)
	if critical > total {
		v.bad("shutdownGracePeriodCriticalPods", critical, fmt.Sprintf("is a part of shutdownGracePeriod and cannot be more than that, which is %s", total))
	}
	if len(k.ShutdownGracePeriodByPodPriority) == 0 {
		return
	}
	const field = "shutdownGracePeriodByPodPriority"
	v.needsGate(field, "set", "GracefulNodeShutdown")
	v.needsGate(field, "set", "GracefulNodeShutdownBasedOnPodPriority")
	if total != 0 || critical != 0 {
		v.bad(field, "set", "cannot be used together with shutdownGracePeriod or shutdownGracePeriodCriticalPods")
	}
	seen := map[int32]bool{}
	for _, p := range k.ShutdownGracePeriodByPodPriority {
		if seen[p.Priority] {
			v.bad(field, fmt.Sprintf("priority %d", p.Priority), "is named twice")
		}
		seen[p.Priority] = true
		if p.ShutdownGracePeriodSeconds < 0 {
			v.bad(field, fmt.Sprintf("priority %d: %d", p.Priority, p.ShutdownGracePeriodSeconds), "want 0 seconds or more")
		}
	}
}

func (v *checker) grace(field string, d time.Duration) {
	switch {
	case d < 0 || (d > 0 && d < time.Second):
		v.bad(field, d, "want 0s for off, or 1s or more")
	case d > 0:
		v.needsGate(field, d, "GracefulNodeShutdown")
	}
}

// logging checks how and what is logged.
func (v *checker) logging() {
	l := v.k.Logging
	v.oneOf("logging.format", l.Format, "text", "json")
	if d := l.FlushFrequency.Duration.Duration; d < 0 {
		v.bad("logging.flushFrequency", d, "want 0s or more")
	}
	if len(l.VModule) > 0 && l.Format != "text" {
		v.bad("logging.vmodule", fmt.Sprintf("%d patterns", len(l.VModule)), "works with logging.format text only")
	}
	for _, m := range l.VModule {
		if _, err := filepath.Match(m.FilePattern, ""); err != nil || m.FilePattern == "" || strings.ContainsAny(m.FilePattern, ",=") {
			v.bad("logging.vmodule", quote(m.FilePattern), "want a file's name without .go, or a pattern for one, without commas and equal signs")
		}
	}
	text, json := l.Options.Text, l.Options.JSON
	for _, o := range []struct {
		field string
		split bool
		size  resource.Quantity
	}{{"logging.options.text", text.SplitStream, text.InfoBufferSize.Quantity}, {"logging.options.json", json.SplitStream, json.InfoBufferSize.Quantity}} {
		if o.split {
			v.needsGate(o.field+".splitStream", true, "LoggingAlphaOptions")
		}
		if o.size.Sign() < 0 {
			v.bad(o.field+".infoBufferSize", o.size.String(), "want 0 or more")
		} else if !o.size.IsZero() {
			v.needsGate(o.field+".infoBufferSize", o.size.String(), "LoggingAlphaOptions")
		}
	}
}
