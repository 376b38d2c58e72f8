package agent

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

type noNamespaces struct{}

func (noNamespaces) Range(context.Context, *v1.Pod) (*translate.IDRange, error) { return nil, nil }

func (a *Agent) judge(*pod.Desired, []*pod.Desired) plan.Verdict {
	return plan.Verdict{Judged: true, Admit: true}
}
