package agent

import (
	"github.com/bosun-project/bosun/internal/iptables"
)

// machine is what is kept or watched of the machine beside pods.
func (a *Agent) machine() []actor {
	var parts []actor
	if defaultOn(a.cfg.Kubelet.MakeIPTablesUtilChains) {
		parts = append(parts, actor{"iptables chains", iptables.New(iptables.Config{Log: a.log}).Run})
	}
	return parts
}
