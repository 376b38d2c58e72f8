package health

import (
	"strings"

	"github.com/bosun-project/bosun/internal/reason"
)

// maxOutput bounds what is repeated of a container's output, in bytes: an event holds no more.
const maxOutput = 1000

// killed says why a container is killed (behaviours 66, 121).
func (s *Spec) killed(k Kind) string {
	why := "Container " + s.Container + " failed " + k.word() + " probe"
	if s.Restarts {
		why += ", will be restarted"
	}
	return why
}

// Tell puts an answer into the words that users match on; why is empty if there is nothing to tell. Both are
// warnings: Unhealthy and ProbeWarning (behaviours 121, 124).
func Tell(k Kind, a Answer) (why, message string) {
	switch {
	case a.Result == Failure:
		return reason.Unhealthy, k.String() + " probe failed: " + brief(a.Output)
	case a.Result == Unknown:
		return reason.Unhealthy, k.String() + " probe errored and resulted in unknown state: " + brief(a.Output)
	case a.Warning:
		return reason.ProbeWarning, k.String() + " probe warning: " + brief(a.Output)
	}
	return "", ""
}

// brief keeps the beginning of an output, as text.
func brief(output string) string {
	if len(output) > maxOutput {
		output = output[:maxOutput] + "…"
	}
	return strings.ToValidUTF8(output, "?")
}
