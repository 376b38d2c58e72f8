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

// answer reads a manifest; those of local.txt are a lone node's.
func answer(t *testing.T, text string) string {
	t.Helper()
	objects := strings.HasPrefix(t.Name(), "TestScenarios/local/")
	from := From{Source: pod.FromFile, Origin: "/m/a.yaml", NodeName: "node1", Seen: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Objects: objects}
	c, err := ReadAll([]byte(unescape(text)), from)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || len(e.Faults) == 0 || c != nil {
			t.Fatalf("error %v (%T), content %v: want an *Error with faults and nothing else", err, err, c)
		}
		return err.Error()
	}
	var all []any
	for _, p := range c.Pods {
		all = append(all, p)
	}
	for _, m := range c.ConfigMaps {
		all = append(all, m)
	}
	for _, s := range c.Secrets {
		all = append(all, s)
	}
	var out []string
	for _, p := range all {
		raw, err := yaml.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimRight(string(raw), "\n"))
	}
	if len(out) == 0 {
		out = append(out, "no pods")
	}
	for _, left := range c.Left {
		out = append(out, "left: "+left)
	}
	return strings.Join(out, "\n---\n")
}

// unescape lets a scenario hold what an editor would not keep: \t and \0.
func unescape(s string) string { return strings.NewReplacer(`\t`, "\t", `\0`, "\x00").Replace(s) }
