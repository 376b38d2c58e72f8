package manifest

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/pod"
)

var rewrite = flag.Bool("rewrite", false, "write what the code answers into testdata; review the diff")

// scenario is one "=== name" section of a testdata file: a manifest, a line of "----", and the answer.
type scenario struct{ name, manifest, answer string }

func readScenarios(t *testing.T, path string) (head string, out []scenario) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(raw), "=== ")
	for _, p := range parts[1:] {
		name, body, _ := strings.Cut(p, "\n")
		m, answer, found := strings.Cut(body, "\n----\n")
		if !found {
			m, found = strings.CutSuffix(body, "\n----")
		}
		if !found {
			m = strings.TrimRight(body, "\n")
		}
		out = append(out, scenario{name, m + "\n", strings.TrimRight(answer, "\n")})
	}
	return parts[0], out
}

// TestScenarios gives every manifest of testdata to Read. The answer is the pods, or the error as a user reads it.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		head, all := readScenarios(t, file)
		var b strings.Builder
		b.WriteString(head)
		for _, s := range all {
			got := ""
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+s.name, func(t *testing.T) {
				got = answer(t, s.manifest)
				if !*rewrite && got != s.answer {
					t.Error(cmp.Diff(s.answer, got))
				}
			})
			b.WriteString("=== " + s.name + "\n" + s.manifest + "----\n" + got + "\n\n")
		}
		if *rewrite {
			if err := os.WriteFile(file, []byte(strings.TrimRight(b.String(), "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

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
