package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// cgroups checks cgroups, CPU quota, swap and memory quality of service.
func (v *checker) cgroups() {
	k := v.k
	v.oneOf("cgroupDriver", k.CgroupDriver, "cgroupfs", "systemd")
	if k.SystemCgroups != "" && k.CgroupRoot == "" {
		v.bad("systemCgroups", quote(k.SystemCgroups), `needs cgroupRoot; set it to "/" for the top`)
	}
	if p := k.CPUCFSQuotaPeriod; p != nil {
		switch {
		case p.Duration < time.Millisecond || p.Duration > time.Second:
			v.bad("cpuCFSQuotaPeriod", p.Duration, "want 1ms to 1s")
		case p.Duration != 100*time.Millisecond:
			v.needsGate("cpuCFSQuotaPeriod", p.Duration, "CustomCPUCFSQuotaPeriod")
		}
	}
	if s := k.MemorySwap.SwapBehavior; s != "" {
		v.oneOf("memorySwap.swapBehavior", s, "NoSwap", "LimitedSwap")
	}
	if f := k.MemoryThrottlingFactor; f != nil {
		v.needsGate("memoryThrottlingFactor", *f, "MemoryQoS")
		if !(*f > 0 && *f <= 1) {
			v.bad("memoryThrottlingFactor", *f, "want more than 0 and at most 1")
		}
	}
	v.oneOf("memoryReservationPolicy", string(k.MemoryReservationPolicy), "None", "TieredReservation")
	if k.MemoryReservationPolicy == "TieredReservation" {
		v.needsGate("memoryReservationPolicy", "TieredReservation", "MemoryQoS")
	}
	if len(k.QOSReserved) > 0 {
		v.needsGate("qosReserved", showPairs(k.QOSReserved, "="), "QOSReserved")
	}
	for _, name := range slices.Sorted(maps.Keys(k.QOSReserved)) {
		if p, ok := percent(k.QOSReserved[name]); name != "memory" || !ok || p < 0 || p > 100 {
			v.bad("qosReserved", quote(name+"="+k.QOSReserved[name]), "want memory with a percentage, as in memory: 50%")
		}
	}
}

func percent(s string) (float64, bool) {
	number, ok := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(number, 64)
	return f, ok && err == nil && f-f == 0 // not NaN, not infinite
}

// reservations checks what is kept for others than pods, and where that is enforced.
func (v *checker) reservations() {
	k := v.k
	v.reserved("systemReserved", k.SystemReserved)
	v.reserved("kubeReserved", k.KubeReserved)
	if k.ReservedSystemCPUs != "" {
		if !validCPUs(k.ReservedSystemCPUs) {
			v.bad("reservedSystemCPUs", quote(k.ReservedSystemCPUs), "want CPU numbers and ranges, as in 0-1,8")
		}
		if k.SystemReservedCgroup != "" || k.KubeReservedCgroup != "" {
			v.bad("reservedSystemCPUs", quote(k.ReservedSystemCPUs), "cannot be used together with systemReservedCgroup or kubeReservedCgroup")
		}
	}
	v.enforcement()
	v.numa()
}

func (v *checker) reserved(field string, m map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains([]string{"cpu", "memory", "ephemeral-storage", "pid"}, name) {
			v.bad(field, quote(name), "want one of: cpu, memory, ephemeral-storage, pid")
			continue
		}
		if q, err := resource.ParseQuantity(m[name]); err != nil || q.Sign() < 0 {
			v.bad(field, quote(name+"="+m[name]), "want a quantity such as 200m or 500Mi, not negative")
		}
	}
}

// validCPUs reports whether s is a list of CPU numbers in the kernel's form.
func validCPUs(s string) bool {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return false
		}
		if isRange {
			if b, err := strconv.ParseUint(last, 10, 16); err != nil || b < a {
				return false
			}
		}
	}
	return true
}

func (v *checker) enforcement() {
	k := v.k
	const field = "enforceNodeAllocatable"
	list := k.EnforceNodeAllocatable
	onlyNone := len(list) == 1 && list[0] == "none"
	if len(list) > 0 && !onlyNone && !isTrue(k.CgroupsPerQOS) {
		v.bad(field, strings.Join(list, ", "), "needs cgroupsPerQOS true; with that false, set this to [none]")
	}
	seen := map[string]bool{}
	for _, entry := range list {
		if seen[entry] {
			v.bad(field, entry, "is named twice")
		}
		seen[entry] = true
		switch entry {
		case "pods":
		case "none":
			if !onlyNone {
				v.bad(field, "none", "stands alone; take the others out, or none")
			}
		case "system-reserved", "system-reserved-compressible":
			if k.SystemReservedCgroup == "" {
				v.bad(field, entry, "needs systemReservedCgroup")
			}
		case "kube-reserved", "kube-reserved-compressible":
			if k.KubeReservedCgroup == "" {
				v.bad(field, entry, "needs kubeReservedCgroup")
			}
		default:
			v.bad(field, quote(entry), "want one of: none, pods, system-reserved, kube-reserved, system-reserved-compressible, kube-reserved-compressible")
		}
	}
	for _, whole := range []string{"system-reserved", "kube-reserved"} {
		if seen[whole] && seen[whole+"-compressible"] {
			v.bad(field, whole+"-compressible", "cannot be used together with "+whole)
		}
	}
}

func (v *checker) numa() {
	k := v.k
	sum := resource.Quantity{}
	seen := map[string]bool{}
	for _, r := range k.ReservedMemory {
		for _, name := range slices.Sorted(maps.Keys(r.Limits)) {
			q := r.Limits[name]
			shown := fmt.Sprintf("%d:%s=%s", r.NumaNode, name, q.String())
			if r.NumaNode < 0 {
				v.bad("reservedMemory", shown, "want a NUMA node of 0 or more")
			}
			if name != "memory" && !strings.HasPrefix(string(name), "hugepages-") {
				v.bad("reservedMemory", shown, "want memory or hugepages-<size>")
			}
			if q.Sign() <= 0 {
				v.bad("reservedMemory", shown, "want more than 0")
			}
			if id := fmt.Sprint(r.NumaNode, name); seen[id] {
				v.bad("reservedMemory", shown, "node and type are named twice")
			} else {
				seen[id] = true
			}
			if name == "memory" {
				sum.Add(q)
			}
		}
	}
	if k.MemoryManagerPolicy == "Static" {
		v.numaSum(sum)
	}
}

// numaSum holds the rule that the NUMA nodes together reserve what the node reserves. A hard threshold in percent can only be
// counted once the machine is known, so then nothing is said here.
func (v *checker) numaSum(sum resource.Quantity) {
	k := v.k
	want := resource.Quantity{}
	for _, s := range []string{k.SystemReserved["memory"], k.KubeReserved["memory"], k.EvictionHard["memory.available"]} {
		if s == "" {
			continue
		}
		q, err := resource.ParseQuantity(s)
		if err != nil {
			return
		}
		want.Add(q)
	}
	if sum.Cmp(want) != 0 {
		v.bad("reservedMemory", sum.String(), fmt.Sprintf("memory of all NUMA nodes must add up to %s: systemReserved, kubeReserved and evictionHard memory.available together", want.String()))
	}
}

// pinning checks the CPU, memory and topology policies.
func (v *checker) pinning() {
	k := v.k
	v.oneOf("cpuManagerPolicy", k.CPUManagerPolicy, "none", "static")
	v.moreThanZero("cpuManagerReconcilePeriod", k.CPUManagerReconcilePeriod)
	v.oneOf("memoryManagerPolicy", k.MemoryManagerPolicy, "None", "Static")
	v.oneOf("topologyManagerPolicy", k.TopologyManagerPolicy, "none", "best-effort", "restricted", "single-numa-node")
	v.oneOf("topologyManagerScope", k.TopologyManagerScope, "container", "pod")
	v.options("cpuManagerPolicyOptions", k.CPUManagerPolicyOptions, k.CPUManagerPolicy == "static", "cpuManagerPolicy static", map[string]string{
		"full-pcpus-only":                  "",
		"strict-cpu-reservation":           "",
		"prefer-align-cpus-by-uncorecache": "",
		"distribute-cpus-across-numa":      "CPUManagerPolicyBetaOptions",
		"align-by-socket":                  "CPUManagerPolicyAlphaOptions",
		"distribute-cpus-across-cores":     "CPUManagerPolicyAlphaOptions",
	})
	v.options("topologyManagerPolicyOptions", k.TopologyManagerPolicyOptions, k.TopologyManagerPolicy != "none", "a topologyManagerPolicy other than none", map[string]string{
		"prefer-closest-numa-nodes": "",
		"max-allowable-numa-nodes":  "",
	})
}

// options checks a policy's fine tuning. known gives each option the gate it needs, "" for none.
func (v *checker) options(field string, m map[string]string, allowed bool, need string, known map[string]string) {
	if len(m) > 0 && !allowed {
		v.bad(field, showPairs(m, "="), "needs "+need)
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		gate, ok := known[name]
		switch {
		case !ok:
			v.bad(field, quote(name), "want one of: "+strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			continue
		case gate != "":
			v.needsGate(field, quote(name), gate)
		}
		if name == "max-allowable-numa-nodes" {
			if n, err := strconv.Atoi(m[name]); err != nil || n < 8 {
				v.bad(field, quote(name+"="+m[name]), "want a number of 8 or more")
			}
		} else if _, err := strconv.ParseBool(m[name]); err != nil {
			v.bad(field, quote(name+"="+m[name]), "want true or false, in quotes")
		}
	}
}
