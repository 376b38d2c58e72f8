package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	v1 "k8s.io/api/core/v1"
)

// counted is a pod that makes most numbers of pods appear.
const counted = `
spec:
  containers:
  - {name: app, image: BOX, args: [ignore-term], resources: {limits: {cpu: 500m, memory: 64Mi}}, volumeMounts: [{name: data, mountPath: /data}],
     readinessProbe: {exec: {command: [/testbox, exit, "0"]}, periodSeconds: 1}}
  volumes: [{name: data, emptyDir: {}}]
  terminationGracePeriodSeconds: 0
`

// family is a line of testdata/upstream-numbers.txt.
type family struct {
	mark     byte
	endpoint string
	// name may be a pattern where the mark is not +.
	name, kind string
	labels     []string
}

func (f family) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", f.endpoint, f.name, f.kind, strings.Join(f.labels, ",")))
}

// recorded reads what an upstream kubelet served: + what this agent has to serve, with type and labels; - what it does not, and why; ? what depends
// on what has happened before.
func recorded(t *testing.T) []family {
	t.Helper()
	text, err := os.ReadFile("testdata/upstream-numbers.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []family
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		said, why, _ := strings.Cut(strings.TrimSpace(line), " # ")
		words := strings.Fields(said)
		f := family{mark: words[0][0], endpoint: words[1], name: words[2]}
		if f.mark == '-' && why == "" {
			t.Errorf("%q: it is not said why", line)
		}
		if len(words) > 3 {
			f.kind = words[3]
		}
		if len(words) > 4 {
			f.labels = strings.Split(words[4], ",")
		}
		all = append(all, f)
	}
	return all
}

// served are the families of an endpoint by name.
func (m *member) served(t *testing.T, endpoint string) map[string]*dto.MetricFamily {
	t.Helper()
	_, text, err := m.get(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	found, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", endpoint, err)
	}
	return found
}

func labelsOf(f *dto.MetricFamily) []string {
	all := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			all[l.GetName()] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// TestNumbersOfUpstream compares what this agent serves with what an upstream kubelet 1.37.1 served: each family is there, with its type
// and labels, or it is written down why not; and what rules, alerts and dashboards look for is found.
func TestNumbersOfUpstream(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "counted", counted)
	g.until("ready", func(p *v1.Pod) bool { return isReady(p) })
	for _, once := range []string{"/metrics", "/metrics/cadvisor", "/stats/summary", "/healthz"} { // some appear once somebody has asked
		if _, _, err := m.get(once); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		have := map[string]map[string]*dto.MetricFamily{}
		for _, endpoint := range []string{"/metrics", "/metrics/probes", "/metrics/cadvisor", "/metrics/resource", "/metrics/slis"} {
			have[endpoint] = m.served(t, endpoint)
		}
		return errors.Join(compare(recorded(t), have), m.summarised(recorded(t)), found(t, have))
	})
}

// compare says what is different from upstream.
func compare(want []family, have map[string]map[string]*dto.MetricFamily) error {
	var wrong []string
	for _, f := range want {
		if f.endpoint == summary {
			continue
		}
		served := have[f.endpoint][f.name]
		switch {
		case f.mark == '+' && served == nil:
			wrong = append(wrong, "missing: "+f.String())
		case f.mark == '-':
			for name := range have[f.endpoint] {
				if ok, _ := path.Match(f.name, name); ok {
					wrong = append(wrong, "served, though it is written that it is not: "+f.endpoint+" "+name)
				}
			}
		case served != nil:
			if now := (family{0, f.endpoint, f.name, strings.ToLower(served.GetType().String()), labelsOf(served)}); now.String() != f.String() {
				wrong = append(wrong, "served as "+now.String()+", want "+f.String())
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("%d differences to upstream:\n%s", len(wrong), strings.Join(wrong, "\n"))
}

// summary is where numbers are fields.
const summary = "/stats/summary"

// summarised says which fields of the summary differ from upstream's.
func (m *member) summarised(want []family) error {
	_, text, err := m.get(summary)
	if err != nil {
		return err
	}
	var all any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return err
	}
	have := map[string]bool{}
	leaves(all, "", have)
	var wrong []string
	for _, f := range want {
		if f.endpoint == summary && f.mark != '?' && have[f.name] != (f.mark == '+') {
			wrong = append(wrong, fmt.Sprintf("%s: there: %v", f.name, have[f.name]))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the summary differs from upstream's in\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// leaves gathers the paths of the fields that hold something: pods[].cpu.usageNanoCores.
func leaves(v any, at string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, inside := range v {
			leaves(inside, strings.TrimPrefix(at+"."+name, "."), into)
		}
	case []any:
		for _, inside := range v {
			leaves(inside, at+"[]", into)
		}
	default:
		into[at] = true
	}
}

// matcher is one condition of a selector: label, operator and value.
var matcher = regexp.MustCompile(`([a-z_]+)(=~|!=|=)"([^"]*)"`)

// found says which selectors of testdata/rules.txt find nothing.
func found(t *testing.T, have map[string]map[string]*dto.MetricFamily) error {
	t.Helper()
	text, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	for line := range strings.Lines(string(text)) {
		endpoint, selector, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		name, conditions, _ := strings.Cut(selector, "{")
		if !slices.ContainsFunc(have[endpoint][name].GetMetric(), func(m *dto.Metric) bool { return selects(m, conditions) }) {
			wrong = append(wrong, endpoint+" "+selector)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("rules find nothing by\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

func selects(m *dto.Metric, conditions string) bool {
	labels := map[string]string{}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	for _, c := range matcher.FindAllStringSubmatch(conditions, -1) {
		value := labels[c[1]]
		switch c[2] {
		case "=":
			if value != c[3] {
				return false
			}
		case "!=":
			if value == c[3] {
				return false
			}
		case "=~":
			if !regexp.MustCompile("^(?:" + c[3] + ")$").MatchString(value) {
				return false
			}
		}
	}
	return true
}
