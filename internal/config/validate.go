package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// checker collects what is wrong with a finished configuration.
type checker struct {
	c *Config
	k *KubeletConfiguration
	// flags names the flag that set a field, where one did.
	flags    map[string]string
	gates    map[string]bool
	problems Problems
}

// validate judges values, never the machine: whether a socket answers or swap is on is for the agent to find out.
func validate(c *Config, flags map[string]string) Problems {
	v := &checker{c: c, k: &c.Kubelet, flags: flags, gates: resolve(c.Kubelet.FeatureGates)}
	gateProblems, notes := checkGates(c.Kubelet.FeatureGates, v.where("featureGates"))
	v.problems = gateProblems
	c.Notes = append(c.Notes, notes...)
	v.pods()
	v.servers()
	v.images()
	v.node()
	v.cgroups()
	v.reservations()
	v.eviction()
	v.pinning()
	v.shutdown()
	v.logging()
	v.flagOnly()
	return v.problems
}

func (v *checker) where(field string) string {
	if label, ok := v.flags[field]; ok {
		return label
	}
	return field
}

// bad reports a field. value is shown as it is, so text should be quoted.
func (v *checker) bad(field string, value any, want string) {
	v.problems.add(v.where(field), fmt.Sprint(value), want)
}

func (v *checker) between(field string, n, low, high int64) {
	if n < low || n > high {
		v.bad(field, n, fmt.Sprintf("want %d to %d", low, high))
	}
}

func (v *checker) betweenPtr(field string, n *int32, low, high int64) {
	if n != nil {
		v.between(field, int64(*n), low, high)
	}
}

func (v *checker) atLeast(field string, n, low int64) {
	if n < low {
		v.bad(field, n, fmt.Sprintf("want %d or more", low))
	}
}

func (v *checker) atLeastPtr(field string, n *int32, low int64) {
	if n != nil {
		v.atLeast(field, int64(*n), low)
	}
}

func (v *checker) notNegative(field string, d metav1.Duration) {
	if d.Duration < 0 {
		v.bad(field, d.Duration, "want 0s or more")
	}
}

func (v *checker) moreThanZero(field string, d metav1.Duration) {
	if d.Duration <= 0 {
		v.bad(field, d.Duration, "want more than 0s")
	}
}

func (v *checker) oneOf(field, s string, allowed ...string) {
	if !slices.Contains(allowed, s) {
		v.bad(field, quote(s), "want one of: "+strings.Join(allowed, ", "))
	}
}

func (v *checker) ip(field, s string) {
	if _, err := netip.ParseAddr(s); err != nil {
		v.bad(field, quote(s), "want an IP address")
	}
}

func (v *checker) needsGate(field string, value any, gate string) {
	if !v.gates[gate] {
		v.bad(field, value, "needs feature gate "+gate+", which is off; set it to true or leave the field out")
	}
}

func isTrue(b *bool) bool { return b != nil && *b }
