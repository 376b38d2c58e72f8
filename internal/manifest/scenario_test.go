package manifest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/golden"
	"github.com/bosun-project/bosun/internal/pod"
)

// TestScenarios gives every manifest of testdata to Read. The answer is the pods, or the error as a user reads it.
func TestScenarios(t *testing.T) { golden.Scenarios(t, answer) }

func answer(t *testing.T, text string) string {
	t.Helper()
	from := From{Source: pod.FromFile, Origin: "/m/a.yaml", NodeName: "node1", Seen: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	pods, err := Read([]byte(unescape(text)), from)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || len(e.Faults) == 0 || pods != nil {
			t.Fatalf("error %v (%T), pods %v: want an *Error with faults and no pods", err, err, pods)
		}
		return err.Error()
	}
	out := make([]string, 0, len(pods))
	for _, p := range pods {
		raw, err := yaml.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimRight(string(raw), "\n"))
	}
	if len(out) == 0 {
		return "no pods"
	}
	return strings.Join(out, "\n---\n")
}

// unescape lets a scenario hold what an editor would not keep: \t and \0.
func unescape(s string) string { return strings.NewReplacer(`\t`, "\t", `\0`, "\x00").Replace(s) }
