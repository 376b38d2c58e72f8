// Package internal holds no code: its tests keep the picture of design.md section 2 true.
package internal

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bosun-project/bosun/"

// A floor is a storey of the building: imports go only down.
type floor int

const (
	nouns   floor = 1
	rules   floor = 2
	outside floor = 3
	loops   floor = 4
	faces   floor = 5
	wiring  floor = 6
	// support is for tests and benchmarks only: it may import what it likes, and nothing that ships imports it.
	support floor = 7
)

// floors is the table of design.md section 2. A package below another one (volume/emptydir) stands on its floor.
// Packages still to come may be named.
var floors = map[string]floor{
	"config": nouns, "engine": nouns, "fault": nouns, "latest": nouns, "names": nouns, "note": nouns, "pod": nouns, "reason": nouns, "usage": nouns,

	"admission": rules, "allocate": rules, "backoff": rules, "collect": rules, "content": rules, "environ": rules, "evict": rules, "exposition": rules, "handler": rules, "health": rules, "manifest": rules,
	"narrate": rules, "nodestatus": rules, "plan": rules, "qos": rules, "status": rules, "translate": rules,

	"access": outside, "ask": outside, "boxruntime": outside, "cgroup": outside, "cluster": outside, "containerlog": outside, "device": outside, "credential": outside, "csi": outside, "dra": outside, "given": outside, "hook": outside, "host": outside, "iptables": outside, "kmsg": outside,
	"image": outside, "ledger": outside, "machine": outside, "metrics": outside, "mount": outside, "podfs": outside, "preflight": outside, "process": outside, "runtime": outside,
	"safepath": outside, "signals": outside, "stats": outside, "systemd": outside, "trace": outside, "userns": outside, "volume": outside,

	"certs": loops, "cleanup": loops, "csinode": loops, "events": loops, "heartbeat": loops, "keep": loops, "limits": loops, "mirror": loops, "objects": loops, "observe": loops, "perform": loops, "pin": loops, "plugin": loops, "pressure": loops, "probe": loops, "resourceslices": loops,
	"report": loops, "shutdown": loops, "source": loops, "staging": loops, "stock": loops, "timeline": loops, "worker": loops,

	"nodeapi": faces, "podresources": faces, "serve": faces,

	"agent": wiring, "cli": wiring, "cmd/bosun": wiring,

	"golden": support, "simworld": support, "testbed": support,
}

// An edge is an import between packages of one floor. "*" stands for any package.
type edge struct{ from, to string }

// sameFloor lists the imports within a floor that are meant, each with its reason.
var sameFloor = map[edge]string{
	{"engine", "pod"}:         "what the runtime tells of itself includes what it tells of each pod",
	{"environ", "qos"}:        "resourceFieldRef speaks of a container's effective requests and limits",
	{"translate", "environ"}:  "a container's configuration holds its environment",
	{"translate", "plan"}:     "it writes out the containers and sandboxes that the plan names",
	{"translate", "qos"}:      "the kernel's shares and scores follow from requests and limits",
	{"image", "credential"}:   "a pull logs in",
	{"narrate", "plan"}:       "it tells what the plan did, in words",
	{"status", "plan"}:        "a status shows what is remembered, and asks what starts again",
	{"status", "qos"}:         "a status names the class",
	{"status", "translate"}:   "a status and a container's environment name the pod's addresses in the same order",
	{"content", "environ"}:    "variables and files show the same fields of a pod",
	{"plan", "allocate"}:      "what a pod has for itself is decided with the rest of its life, and remembered",
	{"allocate", "qos"}:       "only guaranteed pods have processors and memory of their own",
	{"status", "allocate"}:    "a status tells how the devices of a container fare",
	{"admission", "allocate"}: "a pod may run where there is what it wants for itself",
	{"plan", "content"}:       "a volume is set up anew when what it shows has changed",
	{"admission", "plan"}:     "a verdict is the plan's to read",
	{"admission", "qos"}:      "what fits, and who gives way, follows from requests and class",
	{"evict", "plan"}:         "that a pod has to go is an order to its plan",
	{"evict", "qos"}:          "which pod has to go follows from requests, priority and whether it is critical",
	{"health", "plan"}:        "what probes say is a fact that the plan asks for",
	{"health", "backoff"}:     "probes are spread as retries are",
	{"*", "safepath"}:         "the one way to a path that a tenant can influence",
	{"cmd/bosun", "*"}:        "main starts the wiring",
	{"signals", "stats"}:      "there is one way to measure a directory that tenants fill",
	{"volume", "mount"}:       "volumes are made of mounts",
	{"volume", "csi"}:         "a driver stages and publishes what a volume shows",
	{"preflight", "*"}:        "a check asks the outside parts what they need",
}

// A source is one package of this module as its files say it.
type source struct {
	name  string // below internal/, or from the module's root for others
	dir   string
	fset  *token.FileSet
	files map[string]*ast.File // by base name, tests left out
}

func (s *source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", filepath.Join(s.dir, filepath.Base(p.Filename)), p.Line)
}

// imports are the packages of this module that s imports, by name.
func (s *source) imports() map[string]ast.Node {
	found := map[string]ast.Node{}
	for _, file := range s.files {
		for _, spec := range file.Imports {
			if path, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module); ours {
				found[strings.TrimPrefix(path, "internal/")] = spec
			}
		}
	}
	return found
}

// parseSource reads the non-test files of one directory; nil if it has none.
func parseSource(name, dir string) (*source, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	s := &source{name: name, dir: strings.TrimPrefix(dir, "../"), fset: token.NewFileSet(), files: map[string]*ast.File{}}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		if s.files[filepath.Base(path)], err = parser.ParseFile(s.fset, path, nil, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return nil, err
		}
	}
	if len(s.files) == 0 {
		return nil, nil
	}
	return s, nil
}

// everySource reads all packages below internal and cmd.
func everySource(t *testing.T) []*source {
	t.Helper()
	var all []*source
	for _, top := range []string{"../internal", "../cmd"} {
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if os.IsNotExist(err) && path == top {
				return nil
			}
			if err != nil || !e.IsDir() {
				return err
			}
			if e.Name() == "testdata" {
				return fs.SkipDir
			}
			name := strings.TrimPrefix(strings.TrimPrefix(path, "../"), "internal/")
			s, err := parseSource(name, path)
			if s != nil {
				all = append(all, s)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// floorOf finds the floor of a package or of the nearest one above it.
func floorOf(name string) (string, floor) {
	for at := name; at != "."; at = filepath.Dir(at) {
		if f, ok := floors[at]; ok {
			return at, f
		}
	}
	return "", 0
}

func TestLayout(t *testing.T) {
	all := everySource(t)
	if len(all) < 10 {
		t.Fatalf("found %d packages only: looking in the wrong place", len(all))
	}
	mapped := mapRows(t)
	for _, s := range all {
		if top, f := floorOf(s.name); f == 0 {
			t.Errorf("package %s has no floor: add it to floors in internal/layout_test.go and to docs/map.md", s.name)
		} else if _, ok := mapped[top]; !ok {
			t.Errorf("package %s is missing from docs/map.md", s.name)
		}
		for _, check := range checks {
			for _, complaint := range check(s) {
				t.Error(complaint)
			}
		}
	}
}

func TestMapAgreesWithFloors(t *testing.T) {
	mapped := mapRows(t)
	for name, f := range mapped {
		if floors[name] == 0 {
			t.Errorf("docs/map.md names package %s, which has no floor in internal/layout_test.go", name)
		} else if floors[name] != f {
			t.Errorf("docs/map.md puts package %s on floor %d, internal/layout_test.go on %d", name, f, floors[name])
		}
	}
}

var (
	mapHeading = regexp.MustCompile(`^## .*\bfloor (\d)`)
	mapRow     = regexp.MustCompile("^\\| `([a-z/]+)` \\|")
)

// mapRows reads docs/map.md: tables of packages under headings that name the floor.
func mapRows(t *testing.T) map[string]floor {
	t.Helper()
	data, err := os.ReadFile("../docs/map.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]floor{}
	var at floor
	for line := range strings.Lines(string(data)) {
		if m := mapHeading.FindStringSubmatch(line); m != nil {
			at = floor(m[1][0] - '0')
		}
		if m := mapRow.FindStringSubmatch(line); m != nil {
			if _, twice := rows[m[1]]; twice {
				t.Errorf("docs/map.md has two rows for %s", m[1])
			}
			rows[m[1]] = at
		}
	}
	return rows
}

// importsGoDown complains of imports that go up, or stay on a floor without a reason.
func importsGoDown(s *source) (complaints []string) {
	from, here := floorOf(s.name)
	for path, spec := range s.imports() {
		to, there := floorOf(path)
		switch {
		case there == 0:
			complaints = append(complaints, fmt.Sprintf("%s: %s imports %s, which has no floor", s.at(spec), s.name, path))
		case here == support:
			// may import anything
		case here == loops && there == outside:
			complaints = append(complaints, fmt.Sprintf("%s: loop %s imports %s (floor 3): declare an interface with the verbs it needs", s.at(spec), s.name, path))
		case there > here:
			complaints = append(complaints, fmt.Sprintf("%s: %s (floor %d) imports %s (floor %d): imports go only down", s.at(spec), s.name, here, path, there))
		case there == here && from != to && !meant(from, to):
			complaints = append(complaints, fmt.Sprintf("%s: %s imports %s of the same floor %d without an entry in sameFloor", s.at(spec), s.name, path, here))
		}
	}
	slices.Sort(complaints)
	return complaints
}

func meant(from, to string) bool {
	return slices.ContainsFunc(allowing(from, to), func(e edge) bool { return sameFloor[e] != "" })
}

// allowing are the entries of sameFloor that would allow an import.
func allowing(from, to string) []edge {
	return []edge{{from, to}, {"*", to}, {from, "*"}}
}

// TestSameFloorHasNoLeftovers: an entry that no import needs any more would let one come back unseen.
func TestSameFloorHasNoLeftovers(t *testing.T) {
	used := map[edge]bool{}
	for _, s := range everySource(t) {
		from, here := floorOf(s.name)
		for path := range s.imports() {
			if to, there := floorOf(path); there == here && to != from {
				for _, e := range allowing(from, to) {
					used[e] = true
				}
			}
		}
	}
	for e := range sameFloor {
		if !used[e] {
			t.Errorf("sameFloor allows %s to import %s, which it does not", e.from, e.to)
		}
	}
}
