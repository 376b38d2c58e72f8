package environ_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/environ"
)

var some = []environ.Var{{Name: "A", Value: "a"}, {Name: "REF", Value: "$(A)"}, {Name: "EMPTY", Value: ""}, {Name: "A", Value: "later"}, {Name: "$(A", Value: "odd"}}

func TestExpand(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"67 nothing to do", "plain", "plain"},
		{"67 a reference", "x$(A)y", "xlatery"},
		{"67 two references", "$(A)$(A)", "laterlater"},
		{"67 values are not looked at again", "$(REF)", "$(A)"},
		{"67 an empty value", "[$(EMPTY)]", "[]"},
		{"67 unknown stays", "$(NONE)", "$(NONE)"},
		{"67 escaped", "$$(A)", "$(A)"},
		{"67 escaped dollar before a reference", "$$$(A)", "$later"},
		{"67 escaped twice", "$$$$(A)", "$$(A)"},
		{"67 lone dollars", "$ $x $", "$ $x $"},
		{"67 shell syntax is none", "${A} $A", "${A} $A"},
		{"67 unclosed", "$(A", "$(A"},
		{"67 unclosed, then an escape", "$(A $$", "$(A $"},
		{"67 empty reference", "$()", "$()"},
		{"67 nested, by the first closing", "$($(A))", "odd)"},
		{"67 beyond ASCII", "é$(A)ü", "élaterü"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := environ.Expand([]string{c.in}, some); got[0] != c.want {
				t.Errorf("got %q, want %q", got[0], c.want)
			}
		})
	}
	t.Run("67 no command stays none", func(t *testing.T) {
		if got := environ.Expand(nil, some); got != nil {
			t.Errorf("got %#v", got)
		}
		if got := environ.Expand([]string{}, some); got == nil || len(got) != 0 {
			t.Errorf("got %#v", got)
		}
	})
}

func TestSubPath(t *testing.T) {
	for _, c := range []struct{ name, sub, expr, want, err string }{
		{"179 whole volume", "", "", "", ""},
		{"179 fixed", "a/$(A)", "", "a/$(A)", ""},
		{"179 expression", "", "x/$(A)", "x/later", ""},
		{"179 escaped expression", "", "$$(A)", "$(A)", ""},
		{"179 unknown variable", "", "x/$(NONE)/$(NONE2)", "", `missing value for "NONE"`},
		{"179 up", "a/../b", "", "", "must not contain '..'"},
		{"179 up by expression", "", "$(UP)", "", "must not contain '..'"},
		{"179 absolute by expression", "", "$(ABS)", "", "must not be an absolute path"},
		{"179 dots in a name", "a/..b", "", "a/..b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			vars := append([]environ.Var{{Name: "UP", Value: ".."}, {Name: "ABS", Value: "/etc"}}, some...)
			got, err := environ.SubPath(&v1.VolumeMount{SubPath: c.sub, SubPathExpr: c.expr, MountPath: "/m"}, vars)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || got != c.want {
				t.Errorf("got %q, %v; want %q, %q", got, err, c.want, c.err)
			}
		})
	}
}

func TestParseEnvFile(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     map[string]string
		err      string
	}{
		{"73 documented example", "# comment\nDB_ADDRESS='address'\n\nMULTI='line1\nline2'\n", map[string]string{"DB_ADDRESS": "address", "MULTI": "line1\nline2"}, ""},
		{"73 empty", "", map[string]string{}, ""},
		{"73 spaces", "  A =  'x'  \n\t# c\n   \n", map[string]string{"A": "x"}, ""},
		{"73 literal content", `A='\n $X "q" # no comment'`, map[string]string{"A": `\n $X "q" # no comment`}, ""},
		{"73 the later holds", "A='1'\nA='2'", map[string]string{"A": "2"}, ""},
		{"73 CRLF", "A='1'\r\nB='2'\r\n", map[string]string{"A": "1", "B": "2"}, ""},
		{"73 unusual names", "a.b-c='1'", map[string]string{"a.b-c": "1"}, ""},
		{"73 a comment that looks like a declaration inside a value", "A='\n# B='\nC='c'", map[string]string{"A": "\n# B=", "C": "c"}, ""},
		{"73 unquoted", "A=value", nil, "line 1: the value of A must be in single quotes"},
		{"73 double quotes", "A=\"value\"", nil, "line 1: the value of A must be in single quotes"},
		{"73 adjacent strings", "A='1''2'", nil, "line 1: nothing may follow the closing quote of A"},
		{"73 concatenation", "A='1'$B", nil, "line 1: nothing may follow the closing quote of A"},
		{"73 no equals sign", "X='\n\n'\nA\nB='2'", nil, "line 4: must be VAR='value'"},
		{"73 no name", "='x'", nil, "line 1: has no variable name before '='"},
		{"73 spaces in a name", "export A='x'", nil, "line 1: the variable name may have printable ASCII characters only, and no spaces"},
		{"73 unclosed", "A='x\n", nil, "line 1: the value of A has no closing single quote"},
		{"73 NUL", "A='\x00'", nil, "line 1: the value of A has a NUL character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := environ.ParseEnvFile([]byte(c.in))
			if c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// naive is a second, slow opinion on expansion: one character at a time.
func naive(in string, vars map[string]string) string {
	out := ""
	for i := 0; i < len(in); {
		if in[i] != '$' || i+1 == len(in) {
			out += in[i : i+1]
			i++
			continue
		}
		end := strings.IndexByte(in[i:], ')')
		switch {
		case in[i+1] == '$':
			out += "$"
			i += 2
		case in[i+1] == '(' && end > 0:
			name := in[i+2 : i+end]
			if v, ok := vars[name]; ok {
				out += v
			} else {
				out += in[i : i+end+1]
			}
			i += end + 1
		default:
			out += "$"
			i++
		}
	}
	return out
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "$", "$$", "$(A)", "$$(A)", "$(A", "$()", "a$(B)c$(A)$$x$(", "$($(A))"} {
		f.Add(s, "A", "v$(A)")
	}
	f.Fuzz(func(t *testing.T, in, name, value string) {
		got := environ.Expand([]string{in}, []environ.Var{{Name: name, Value: value}})[0]
		if want := naive(in, map[string]string{name: value}); got != want {
			t.Errorf("Expand(%q) = %q, a second opinion says %q", in, got, want)
		}
		if back := environ.Expand([]string{strings.ReplaceAll(in, "$", "$$")}, nil)[0]; back != in {
			t.Errorf("escaped %q came back as %q", in, back)
		}
	})
}

func FuzzParseEnvFile(f *testing.F) {
	for _, s := range []string{"A='b'\n", "# x\n\nA='1\n2'\nB=''", "A=b", "='x'", "A='", "A='x' y\n", "\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := environ.ParseEnvFile(in)
		if (got == nil) != (err != nil) {
			t.Fatalf("got %v and error %v", got, err)
		}
		for name, value := range got { // what was read can be written down and read again
			again, err := environ.ParseEnvFile([]byte(name + "='" + value + "'\n"))
			if err != nil || len(again) != 1 || again[name] != value {
				t.Errorf("%q=%q read again gives %v, %v", name, value, again, err)
			}
		}
	})
}
