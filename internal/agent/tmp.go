package agent

import (
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

func (a *Agent) judge(*pod.Desired, []*pod.Desired) plan.Verdict {
	return plan.Verdict{Judged: true, Admit: true}
}
