package internal

import (
	"fmt"
	"go/ast"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// checks are what TestLayout asks of every package.
var checks = []func(*source) []string{
	importsGoDown, docSaysWhatItOwns, loopDocHasHeadings, rulesArePure, noEndlessContexts, noEmptyWords, noWideInterfaces, noPanics,
}

// docSaysWhatItOwns wants exactly one package comment, in doc.go.
func docSaysWhatItOwns(s *source) (complaints []string) {
	for base, file := range s.files {
		switch {
		case base == "doc.go" && file.Doc == nil:
			complaints = append(complaints, fmt.Sprintf("%s/doc.go has no package comment", s.dir))
		case base != "doc.go" && file.Doc != nil:
			complaints = append(complaints, fmt.Sprintf("%s: package comment outside doc.go", s.at(file)))
		}
	}
	if s.files["doc.go"] == nil {
		complaints = append(complaints, fmt.Sprintf("%s has no doc.go that says what it owns", s.dir))
	}
	return complaints
}

func loopDocHasHeadings(s *source) (complaints []string) {
	doc := s.files["doc.go"]
	if _, f := floorOf(s.name); f != loops || doc == nil {
		return nil
	}
	for _, heading := range []string{"Reads", "Writes", "Goroutines", "Stops when"} {
		text := "\n" + doc.Doc.Text()
		if !strings.Contains(text, "\n"+heading+":") && !strings.Contains(text, "\n# "+heading+"\n") {
			complaints = append(complaints, fmt.Sprintf("%s/doc.go: the comment of a loop needs %q", s.dir, heading+":"))
		}
	}
	return complaints
}

// impure are the packages (with all below them) that a rule cannot import, and pureAfterAll the exceptions.
var (
	impure       = []string{"context", "os", "net", "sync", "log", "math/rand", "crypto/rand", "io/ioutil", "syscall", "golang.org/x/sys"}
	pureAfterAll = []string{"net/netip", "net/url"}
	impureCalls  = map[string][]string{
		"time":          {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
		"path/filepath": {"Walk", "WalkDir", "Glob", "Abs", "EvalSymlinks"},
	}
)

// rulesArePure complains of everything in a rule that depends on more than its arguments.
func rulesArePure(s *source) (complaints []string) {
	if _, f := floorOf(s.name); f != rules {
		return nil
	}
	info := resolve(s)
	complain := func(n ast.Node, format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf("%s: rule %s %s", s.at(n), s.name, fmt.Sprintf(format, args...)))
	}
	for _, file := range s.files {
		for _, spec := range file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if isBelow(path, impure) && !slices.Contains(pureAfterAll, path) {
				complain(spec, "imports %s", path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				complain(n, "starts a goroutine")
			case *ast.SelectorExpr:
				if path, name := qualified(info, n); slices.Contains(impureCalls[path], name) {
					complain(n, "uses %s.%s: what it gives must come in as an argument", path, name)
				}
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					if v := packageVariable(info, left); v != "" {
						complain(n, "changes the package variable %s", v)
					}
				}
			case *ast.IncDecStmt:
				if v := packageVariable(info, n.X); v != "" {
					complain(n, "changes the package variable %s", v)
				}
			}
			return true
		})
	}
	return complaints
}

func isBelow(path string, tops []string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return path == top || strings.HasPrefix(path, top+"/") })
}

// resolve tells what the identifiers of a package stand for. Imported packages are not loaded: their names suffice here.
func resolve(s *source) *types.Info {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	var files []*ast.File
	for _, file := range s.files {
		files = append(files, file)
	}
	_, _ = config.Check(s.name, s.fset, files, info) // errors are certain, for lack of imports
	return info
}

type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, filepath.Base(path))
	p.MarkComplete()
	return p, nil
}

// qualified takes apart PACKAGE.NAME.
func qualified(info *types.Info, n *ast.SelectorExpr) (path, name string) {
	if id, ok := n.X.(*ast.Ident); ok {
		if p, ok := info.Uses[id].(*types.PkgName); ok {
			return p.Imported().Path(), n.Sel.Name
		}
	}
	return "", ""
}

// packageVariable names the package variable that an assignment to left changes, if it does.
func packageVariable(info *types.Info, left ast.Expr) string {
	for {
		switch at := left.(type) {
		case *ast.ParenExpr:
			left = at.X
		case *ast.IndexExpr:
			left = at.X
		case *ast.SelectorExpr:
			left = at.X
		case *ast.StarExpr:
			left = at.X
		case *ast.Ident:
			if v, ok := info.Uses[at].(*types.Var); ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
				return at.Name
			}
			return ""
		default:
			return ""
		}
	}
}

// noEndlessContexts wants every context to come from main or a test.
func noEndlessContexts(s *source) (complaints []string) {
	if _, f := floorOf(s.name); f == support || strings.HasPrefix(s.name, "cmd/") {
		return nil
	}
	info := resolve(s)
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if path, name := qualified(info, sel); path == "context" && (name == "Background" || name == "TODO") {
					complaints = append(complaints, fmt.Sprintf("%s: context.%s outside main and tests", s.at(n), name))
				}
			}
			return true
		})
	}
	return complaints
}

var (
	emptyTypeWords    = []string{"Manager", "Helper", "Helpers", "Impl", "Interface"}
	emptyPackageNames = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "base"}
)

// noEmptyWords complains of names that say nothing.
func noEmptyWords(s *source) (complaints []string) {
	if slices.Contains(emptyPackageNames, filepath.Base(s.name)) {
		complaints = append(complaints, fmt.Sprintf("%s: a package named %s says nothing of what it is about", s.dir, filepath.Base(s.name)))
	}
	eachType(s, func(spec *ast.TypeSpec) {
		for _, word := range words(spec.Name.Name) {
			if slices.Contains(emptyTypeWords, word) {
				complaints = append(complaints, fmt.Sprintf("%s: type %s: %q says nothing of what it is", s.at(spec), spec.Name.Name, word))
			}
		}
	})
	return complaints
}

// words splits a name in camel case; each word begins with a capital.
func words(name string) []string {
	var found []string
	for i, r := range name {
		if i == 0 || unicode.IsUpper(r) {
			found = append(found, "")
			r = unicode.ToUpper(r)
		}
		found[len(found)-1] += string(r)
	}
	return found
}

func noWideInterfaces(s *source) (complaints []string) {
	if _, f := floorOf(s.name); f != loops {
		return nil
	}
	eachType(s, func(spec *ast.TypeSpec) {
		if i, ok := spec.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > 10 {
			complaints = append(complaints, fmt.Sprintf("%s: interface %s has %d methods: more than 10 is several things", s.at(spec), spec.Name.Name, i.Methods.NumFields()))
		}
	})
	return complaints
}

func eachType(s *source, do func(*ast.TypeSpec)) {
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				do(spec)
			}
			return true
		})
	}
}

func noPanics(s *source) (complaints []string) {
	info := resolve(s)
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if id, ok := call.Fun.(*ast.Ident); ok && info.Uses[id] == types.Universe.Lookup("panic") {
					complaints = append(complaints, fmt.Sprintf("%s: panic: return an error", s.at(n)))
				}
			}
			return true
		})
	}
	return complaints
}

// TestLayoutChecksBite shows each check a package that it must complain of, and one that it must leave alone.
func TestLayoutChecksBite(t *testing.T) {
	const doc = "// Package x owns x.\n"
	const loopDoc = doc + "//\n// Reads: a.\n// Writes: b.\n// Goroutines: one.\n// Stops when: its context ends.\n"
	for _, c := range []struct {
		title, name, text string
		want              string // part of the complaint; empty: none
	}{
		{"import down", "plan", `import _ "github.com/bosun-project/bosun/internal/pod"`, ""},
		{"import up", "pod", `import _ "github.com/bosun-project/bosun/internal/plan"`, "imports go only down"},
		{"import sideways", "plan", `import _ "github.com/bosun-project/bosun/internal/translate"`, "same floor"},
		{"import sideways with reason", "narrate", `import _ "github.com/bosun-project/bosun/internal/plan"`, ""},
		{"import below the same package", "volume/hostpath", `import _ "github.com/bosun-project/bosun/internal/volume"`, ""},
		{"loop imports outside", "worker", `import _ "github.com/bosun-project/bosun/internal/runtime"`, "declare an interface"},
		{"test support imported", "serve", `import _ "github.com/bosun-project/bosun/internal/testbed"`, "imports go only down"},
		{"import of the unknown", "serve", `import _ "github.com/bosun-project/bosun/internal/nowhere"`, "no floor"},
		{"impure import", "plan", `import _ "context"`, "imports context"},
		{"impure import below", "plan", `import _ "net/http"`, "imports net/http"},
		{"pure helper of net", "plan", `import _ "net/netip"`, ""},
		{"impure import outside", "runtime", `import _ "os"`, ""},
		{"clock", "plan", "import clock \"time\"\nvar _ = clock.Now", "uses time.Now"},
		{"duration", "plan", "import \"time\"\nvar _ = time.Second", ""},
		{"clock of a value", "plan", "type w struct{ Now int }\nfunc f(time w) int { return time.Now }", ""},
		{"goroutine", "plan", "func f() { go f() }", "starts a goroutine"},
		{"goroutine outside", "runtime", "func f() { go f() }", ""},
		{"package variable", "plan", "var m = map[int]int{}\nfunc f() { m[1] = 2 }", "changes the package variable m"},
		{"package counter", "plan", "var n int\nfunc f() { n++ }", "changes the package variable n"},
		{"shadowed", "plan", "var n int\nfunc f() { n := 1; n++; _ = n }", ""},
		{"endless context", "runtime", "import \"context\"\nvar _ = context.Background()", "context.Background"},
		{"unfinished context", "runtime", "import \"context\"\nvar _ = context.TODO()", "context.TODO"},
		{"context in main", "cmd/bosun", "import \"context\"\nvar _ = context.Background()", ""},
		{"empty type word", "runtime", "type podManager struct{}", `"Manager"`},
		{"lone empty type word", "runtime", "type impl struct{}", `"Impl"`},
		{"word that only looks empty", "runtime", "type Implicit struct{}", ""},
		{"empty package name", "volume/util", "", "says nothing"},
		{"wide interface", "worker", "type w interface{ A(); B(); C(); D(); E(); F(); G(); H(); I(); J(); K() }", "11 methods"},
		{"wide interface elsewhere", "runtime", "type w interface{ A(); B(); C(); D(); E(); F(); G(); H(); I(); J(); K() }", ""},
		{"panic", "runtime", `func f() { panic("no") }`, "panic"},
		{"own panic", "runtime", "func panic(string) {}\nfunc f() { panic(\"no\") }", ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			comment := doc
			if _, f := floorOf(c.name); f == loops {
				comment = loopDoc
			}
			expect(t, complaintsOf(t, c.name, map[string]string{"doc.go": comment + "package x\n", "x.go": "package x\n" + c.text}), c.want)
		})
	}
	for _, c := range []struct {
		title, name string
		files       map[string]string
		want        string
	}{
		{"no doc.go", "pod", map[string]string{"x.go": "package x"}, "has no doc.go"},
		{"empty doc.go", "pod", map[string]string{"doc.go": "package x"}, "no package comment"},
		{"second comment", "pod", map[string]string{"doc.go": doc + "package x", "x.go": "// Package x too.\npackage x"}, "outside doc.go"},
		{"loop without headings", "worker", map[string]string{"doc.go": strings.Replace(loopDoc, "Stops when", "Ends when", 1) + "package x"}, `"Stops when:"`},
	} {
		t.Run(c.title, func(t *testing.T) { expect(t, complaintsOf(t, c.name, c.files), c.want) })
	}
}

func expect(t *testing.T, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("unexpected complaints: %q", got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("complaints %q, want one with %q", got, want)
	}
}

// complaintsOf runs all checks on a package made of these files.
func complaintsOf(t *testing.T, name string, files map[string]string) (complaints []string) {
	t.Helper()
	dir := t.TempDir()
	for base, text := range files {
		if err := os.WriteFile(filepath.Join(dir, base), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := parseSource(name, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range checks {
		complaints = append(complaints, check(s)...)
	}
	return complaints
}
