package internal

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// behaviours is how many numbered behaviours of the upstream kubelet the project's specification lists.
const behaviours = 370

// A compatRow is a row of docs/compat.md.
type compatRow struct {
	number      int
	name, state string
	tests       []string
	note        string
}

var (
	compatLine = regexp.MustCompile(`^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]*) \| ?([^|]*)\|$`)
	quoted     = regexp.MustCompile("`([^`]+)`")
	testName   = regexp.MustCompile(`^((?:[a-z]+/)*[a-z]+)\.((?:Test|Fuzz)[A-Za-z0-9]+)(?:/(.+))?$`)
)

// TestCompatIsComplete: docs/compat.md says of each behaviour once how Bosun stands to it, and what holds that.
func TestCompatIsComplete(t *testing.T) {
	rows := compatRows(t)
	if len(rows) != behaviours {
		t.Errorf("docs/compat.md has %d rows, want %d", len(rows), behaviours)
	}
	for i, r := range rows {
		if r.number != i+1 {
			t.Fatalf("docs/compat.md: row %d stands where %d should", r.number, i+1)
		}
		if wrong := r.wrong(); wrong != "" {
			t.Errorf("docs/compat.md, row %d (%s): %s", r.number, r.name, wrong)
		}
	}
}

// wrong says what a row lacks for its state.
func (r compatRow) wrong() string {
	switch r.state {
	case "done":
		if len(r.tests) == 0 {
			return "done, but no test is named: say `done, untested`"
		}
	case "done, untested":
		if len(r.tests) != 0 {
			return "untested, but a test is named"
		}
	case "partly", "differs", "not yet":
		if r.note == "" && r.state != "not yet" {
			return "nothing says what is missing or why"
		}
	default:
		return fmt.Sprintf("state %q: want done; done, untested; partly; differs; not yet", r.state)
	}
	return ""
}

// TestCompatNamesTests: every test that docs/compat.md names is there.
func TestCompatNamesTests(t *testing.T) {
	files := map[string][]testFile{}
	checked := 0
	for _, r := range compatRows(t) {
		for _, name := range r.tests {
			if wrong := findTest(t, files, name); wrong != "" {
				t.Errorf("docs/compat.md, row %d (%s): `%s`: %s", r.number, r.name, name, wrong)
			}
			checked++
		}
	}
	if checked < behaviours {
		t.Errorf("only %d tests are named: the table was not understood", checked)
	}
}

func compatRows(t *testing.T) (rows []compatRow) {
	t.Helper()
	data, err := os.ReadFile("../docs/compat.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		m := compatLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			if regexp.MustCompile(`^\| \d+ `).MatchString(line) {
				t.Errorf("docs/compat.md: not five columns: %s", line)
			}
			continue
		}
		r := compatRow{name: m[2], state: m[3], note: strings.TrimSpace(m[5])}
		r.number, _ = strconv.Atoi(m[1]) // digits
		for _, q := range quoted.FindAllStringSubmatch(m[4], -1) {
			r.tests = append(r.tests, q[1])
		}
		rows = append(rows, r)
	}
	return rows
}

// A testFile is what one _test.go file offers: its tests, and the strings that name sub-tests.
type testFile struct{ tests, strings []string }

// findTest looks for a test by a name such as plan.TestScenarios/stop/removed. A sub-test that ends in … stands for all
// that begin so. The empty answer means that it is there.
func findTest(t *testing.T, files map[string][]testFile, name string) string {
	m := testName.FindStringSubmatch(name)
	if m == nil {
		return "want package.TestName or package.TestName/sub-test"
	}
	dir := "../internal/" + m[1]
	if strings.HasPrefix(m[1], "tests/") {
		dir = "../" + m[1]
	}
	if _, known := files[dir]; !known {
		files[dir] = readTests(t, dir)
	}
	for _, f := range files[dir] {
		if !slices.Contains(f.tests, m[2]) {
			continue
		}
		start, all := strings.CutSuffix(m[3], "…")
		found := m[3] == "" || slices.ContainsFunc(append(scenarios(t, dir), f.strings...), func(s string) bool {
			return s == start || all && strings.HasPrefix(s, start+" ")
		})
		if !found {
			return "the test has no such sub-test"
		}
		return ""
	}
	return "there is no such test in " + strings.TrimPrefix(dir, "../")
}

func readTests(t *testing.T, dir string) (files []testFile) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		var f testFile
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				f.tests = append(f.tests, n.Name.Name)
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					f.strings = append(f.strings, text)
				}
			}
			return true
		})
		files = append(files, f)
	}
	return files
}

// scenarios are the names of sub-tests that stand in text files: the file, and each of its scenarios.
func scenarios(t *testing.T, dir string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "testdata", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file := strings.TrimSuffix(filepath.Base(path), ".txt")
		names = append(names, file)
		for line := range strings.Lines(string(data)) {
			if title, ok := strings.CutPrefix(line, "=== "); ok {
				names = append(names, file+"/"+strings.TrimSpace(title))
			}
		}
	}
	return names
}

// TestCompatChecksBite holds that the two tests above can fail.
func TestCompatChecksBite(t *testing.T) {
	files := map[string][]testFile{}
	for _, name := range []string{"plan.TestNothing", "plan.TestScenarios/stop/nonsense", "nowhere.TestScenarios", "TestScenarios", "translate.TestSandbox/777…"} {
		if findTest(t, files, name) == "" {
			t.Errorf("%s was found", name)
		}
	}
	for _, name := range []string{"plan.TestScenarios/stop/removed", "translate.TestSandbox/50…"} {
		if wrong := findTest(t, files, name); wrong != "" {
			t.Errorf("%s: %s", name, wrong)
		}
	}
	for _, r := range []compatRow{{state: "done"}, {state: "differs"}, {state: "partly"}, {state: "perhaps"}, {state: "done, untested", tests: []string{"x"}}} {
		if r.wrong() == "" {
			t.Errorf("nothing is said against %+v", r)
		}
	}
}
