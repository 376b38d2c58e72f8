package config

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	logs "k8s.io/component-base/logs/api/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"
)

// gateSwitches is the one map flag that adds to the file's map instead of replacing it.
func gateSwitches(p *map[string]bool) value {
	first := true
	return value{
		kind: "Gate=true,…",
		set: func(s string) error {
			got := map[string]bool{}
			for _, part := range splitList(s) {
				name, on, ok := strings.Cut(part, "=")
				b, err := strconv.ParseBool(strings.TrimSpace(on))
				if !ok || err != nil {
					return fmt.Errorf("want Gate=true or Gate=false with commas between them, not %s", quote(part))
				}
				got[strings.TrimSpace(name)] = b
			}
			if first {
				first, *p = false, cloneMap(*p)
			}
			maps.Copy(*p, got)
			return nil
		},
		show: func() string { return "" },
	}
}

func cloneMap[V any](m map[string]V) map[string]V {
	out := make(map[string]V, len(m))
	maps.Copy(out, m)
	return out
}

// headers is name:value,… where a name may come more than once.
func headers(p *map[string][]string) value {
	first := true
	return value{
		kind: "name:value,…",
		set: func(s string) error {
			var got [][2]string
			for _, part := range splitList(s) {
				name, v, ok := strings.Cut(part, ":")
				if name = strings.TrimSpace(name); !ok || name == "" {
					return fmt.Errorf("want name:value pairs with commas between them")
				}
				got = append(got, [2]string{name, strings.TrimSpace(v)})
			}
			if first {
				first, *p = false, map[string][]string{}
			}
			for _, h := range got {
				(*p)[h[0]] = append((*p)[h[0]], h[1])
			}
			return nil
		},
		show: func() string { return "" },
	}
}

func taints(p *[]corev1.Taint) value {
	first := true
	return value{
		kind: "key=value:Effect,…",
		set: func(s string) error {
			var got []corev1.Taint
			for _, part := range splitList(s) {
				t, err := parseTaint(part)
				if err != nil {
					return err
				}
				got = append(got, t)
			}
			if first {
				first, *p = false, []corev1.Taint{}
			}
			*p = append(*p, got...)
			return nil
		},
		show: func() string { return "" },
	}
}

func parseTaint(s string) (corev1.Taint, error) {
	at := strings.LastIndex(s, ":")
	if at < 0 {
		return corev1.Taint{}, fmt.Errorf("want key=value:Effect or key:Effect, not %s", quote(s))
	}
	key, val, _ := strings.Cut(s[:at], "=")
	return corev1.Taint{Key: key, Value: val, Effect: corev1.TaintEffect(s[at+1:])}, nil
}

// numaMemory is numa:type=value,type=value;numa:… as in 0:memory=1Gi,hugepages-2Mi=512Mi;1:memory=1Gi.
func numaMemory(p *[]kubelet.MemoryReservation) value {
	first := true
	return value{
		kind: "numa:type=value,…;…",
		set: func(s string) error {
			var got []kubelet.MemoryReservation
			for part := range strings.SplitSeq(s, ";") {
				if part = strings.TrimSpace(part); part == "" {
					continue
				}
				r, err := parseNUMA(part)
				if err != nil {
					return err
				}
				got = append(got, r)
			}
			if first {
				first, *p = false, []kubelet.MemoryReservation{}
			}
			*p = append(*p, got...)
			return nil
		},
		show: func() string { return "" },
	}
}

func parseNUMA(s string) (kubelet.MemoryReservation, error) {
	var r kubelet.MemoryReservation
	node, limits, ok := strings.Cut(s, ":")
	n, err := strconv.ParseInt(strings.TrimSpace(node), 10, 32)
	if !ok || err != nil {
		return r, fmt.Errorf("want node:type=value as in 0:memory=1Gi, not %s", quote(s))
	}
	r = kubelet.MemoryReservation{NumaNode: int32(n), Limits: corev1.ResourceList{}}
	for _, part := range splitList(limits) {
		kind, amount, ok := strings.Cut(part, "=")
		q, err := resource.ParseQuantity(strings.TrimSpace(amount))
		if !ok || err != nil {
			return r, fmt.Errorf("want type=value as in memory=1Gi, not %s", quote(part))
		}
		name := corev1.ResourceName(strings.TrimSpace(kind))
		if _, twice := r.Limits[name]; twice {
			return r, fmt.Errorf("names %s twice for NUMA node %d", name, n)
		}
		r.Limits[name] = q
	}
	return r, nil
}

func addresses(p *[]netip.Addr) value {
	return value{
		kind: "IP[,IP]",
		set: func(s string) error {
			var got []netip.Addr
			for _, part := range splitList(s) {
				a, err := netip.ParseAddr(part)
				if err != nil || a.Zone() != "" {
					return fmt.Errorf("want an IP address, or one of each family with a comma between, not %s", quote(part))
				}
				got = append(got, a.Unmap())
			}
			*p = got
			return nil
		},
		show: func() string {
			out := make([]string, len(*p))
			for i, a := range *p {
				out[i] = a.String()
			}
			return strings.Join(out, ",")
		},
	}
}

func vmodule(p *logs.VModuleConfiguration) value {
	return value{
		kind: "pattern=level,…",
		set: func(s string) error {
			var got logs.VModuleConfiguration
			for _, part := range splitList(s) {
				pattern, level, ok := strings.Cut(part, "=")
				n, err := strconv.ParseUint(level, 10, 31)
				if _, bad := filepath.Match(pattern, ""); !ok || err != nil || bad != nil || pattern == "" {
					return fmt.Errorf("want pattern=level pairs as in worker*=4, not %s", quote(part))
				}
				got = append(got, logs.VModuleItem{FilePattern: pattern, Verbosity: logs.VerbosityLevel(n)})
			}
			*p = got
			return nil
		},
		show: func() string { return "" },
	}
}

// version is a switch that also takes a word: --version, --version=raw, --version=v1.2.3.
func version(p *string) value {
	return value{
		set: func(s string) error {
			switch b, err := strconv.ParseBool(s); {
			case err == nil && !b:
				*p = ""
			case err == nil:
				*p = "true"
			case s == "raw" || strings.HasPrefix(s, "v"):
				*p = s
			default:
				return fmt.Errorf("want true, false, raw, or a version that starts with v")
			}
			return nil
		},
		show: func() string { return "false" },
	}
}
