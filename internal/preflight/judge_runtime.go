package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bosun-project/bosun/internal/boxruntime"
)

// answering returns the runtime that will be used: the first that answers.
func answering(m Machine) (Runtime, bool) {
	for _, r := range m.Runtimes {
		if r.Name != "" {
			return r, true
		}
	}
	return Runtime{}, false
}

// ownRuntime says whether Bosun will start a runtime of its own.
func ownRuntime(m Machine) bool {
	_, found := answering(m)
	return !found
}

func judgeRuntime(m Machine, c Config) []Finding {
	if r, found := answering(m); found {
		fine := ok("%s %s answers at %s", r.Name, r.Version, r.Endpoint)
		var lacking []Finding
		for _, reason := range r.NotReady {
			mend := fmt.Sprintf("look at %s's log, as with `journalctl -u %s`", r.Name, r.Name)
			if strings.HasPrefix(reason, "NetworkReady") {
				mend = "put a network configuration into /etc/cni/net.d and its plugins into /opt/cni/bin; until then only pods with hostNetwork run"
			}
			lacking = append(lacking, warning(fmt.Sprintf("%s %s at %s is not ready: %s", r.Name, r.Version, r.Endpoint, reason), mend))
		}
		return ifFine(lacking, fine)
	}
	if c.Endpoint != "" {
		why := ""
		if len(m.Runtimes) > 0 && m.Runtimes[0].Err != nil {
			why = ": " + m.Runtimes[0].Err.Error()
		}
		return []Finding{problem("the named runtime does not answer"+why, "start it, or name another endpoint; without one, `bosun up` starts its own runtime")}
	}
	if !c.Up {
		return []Finding{problem("no runtime answers at "+endpoints(m), "start containerd or CRI-O, or name its socket as containerRuntimeEndpoint")}
	}
	var missing []string
	for _, name := range boxruntime.Programs() {
		if m.Programs[name] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		where := "and no --runtime-dir was given"
		if c.RuntimeDir != "" {
			where = fmt.Sprintf("and %s, from which Bosun would start its own, has no %s", c.RuntimeDir, strings.Join(missing, ", "))
		}
		return []Finding{problem(fmt.Sprintf("no runtime answers at %s, %s", endpoints(m), where), "build one with `make tools` and name its directory with --runtime-dir, or install containerd")}
	}
	return []Finding{ok("no runtime runs; Bosun starts its own from %s", c.RuntimeDir)}
}

func endpoints(m Machine) string {
	var list []string
	for _, r := range m.Runtimes {
		list = append(list, strings.TrimPrefix(r.Endpoint, "unix://"))
	}
	return strings.Join(list, ", ")
}

func judgeNetwork(m Machine, c Config) []Finding {
	if !ownRuntime(m) {
		return []Finding{ok("the pods' network is the runtime's")}
	}
	if !c.Up {
		return nil // already said: no runtime
	}
	var found []Finding
	var missing []string
	for _, name := range boxruntime.NetworkPlugins() {
		if m.Plugins[name] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		found = append(found, problem(fmt.Sprintf("the network plugins %s are in none of %s", strings.Join(missing, ", "), strings.Join(c.pluginDirs(), ", ")),
			"build them with `make tools`, or install the package containernetworking-plugins and name its directory (/usr/lib/cni) with --cni-bin-dir"))
	}
	switch {
	case m.Iptables:
	case m.Nft:
		found = append(found, warning("there is no iptables; the network plugins use nft instead, and what they leave behind is not cleaned up", "install the package iptables"))
	default:
		found = append(found, problem("there is neither iptables nor nft: pods could not reach the outside", "install the package iptables"))
	}
	return ifFine(found, ok("a bridge network, with the plugins %s", strings.Join(boxruntime.NetworkPlugins(), ", ")))
}

func judgePorts(m Machine, c Config) []Finding {
	var found []Finding
	var free []string
	for _, p := range c.Ports {
		i := slices.IndexFunc(m.Listeners, func(l Listener) bool { return collides(p, l) })
		if i < 0 {
			free = append(free, fmt.Sprint(p.Number))
			continue
		}
		by, mend := "another process", fmt.Sprintf("end it, or set %s to another port, or to 0 to go without", p.Name)
		if owner := m.Listeners[i].Process; owner.PID != 0 {
			by = fmt.Sprintf("%s (process %d)", owner.Name, owner.PID)
			switch owner.Name {
			case "kubelet":
				mend = "stop that kubelet: systemctl disable --now kubelet"
			case "bosun":
				mend = "stop that Bosun first, or set " + p.Name + " to another port"
			}
		}
		found = append(found, problem(fmt.Sprintf("port %d (%s) is taken by %s", p.Number, p.Name, by), mend))
	}
	if len(free) > 0 {
		found = append(found, ok("%s free", strings.Join(free, ", ")))
	}
	return found
}

// collides says whether listening on p would fail because of l.
func collides(p Port, l Listener) bool {
	if p.Number == 0 || p.Number != l.Port {
		return false
	}
	mine, other := p.Address.Unmap(), l.Address.Unmap()
	if !mine.IsValid() || mine.IsUnspecified() || other.IsUnspecified() && (other.Is6() || mine.Is4()) {
		return true
	}
	return mine == other
}

func judgeAgents(m Machine, c Config) []Finding {
	var found []Finding
	if m.LockHolder.PID != 0 {
		found = append(found, problem(fmt.Sprintf("the lock file %s is held by %s (process %d)", c.LockFile, m.LockHolder.Name, m.LockHolder.PID), "stop that agent, or name another --lock-file"))
	}
	for _, k := range m.Kubelets {
		what := fmt.Sprintf("a kubelet runs on this machine (process %d)", k.PID)
		mend := "stop it: systemctl disable --now kubelet"
		if ownRuntime(m) {
			found = append(found, warning(what+"; Bosun's pods are safe from it in a runtime of their own", mend))
		} else {
			found = append(found, problem(what+": it would remove pods that it does not know from the runtime, and so would Bosun", mend))
		}
	}
	return ifFine(found, ok("none"))
}
