package userns

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// etc makes a directory that stands for /etc, of files by name.
func etc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// script makes a program that stands for getsubids.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "getsubids")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDelegated(t *testing.T) {
	const (
		passwd = "root:x:0:0:root:/root:/bin/sh\nkubelet:x:998:998::/:/bin/false\n"
		line   = "kubelet:65536:7208960\n"
		answer = `echo "0: $2$1 65536 131072"` + "\n"
		fails  = "echo 'Error fetching ranges' >&2; exit 1\n"
	)
	ours := []Span{{65536, 7208960}}
	both := func(s []Span) Delegated { return Delegated{Users: s, Groups: s} }
	type files = map[string]string
	for _, c := range []struct {
		title   string
		files   files
		program string // text of the script; empty: not installed
		want    Delegated
		err     string
	}{
		{"no files", nil, "", Delegated{}, ""},
		{"no user kubelet", files{"passwd": "root:x:0:0::/:/bin/sh\n", "subuid": line, "subgid": line}, answer, Delegated{}, ""},
		{"user with a longer name", files{"passwd": "kubelet2:x:1:1::/:/bin/sh\n", "subuid": line, "subgid": line}, "", Delegated{}, ""},
		{"nothing delegated", files{"passwd": passwd, "subuid": "", "subgid": ""}, "", Delegated{}, ""},
		{"no subuid at all", files{"passwd": passwd}, "", Delegated{}, ""},
		{"files", files{"passwd": passwd, "subuid": "# pods\nroot:1:2\n" + line, "subgid": line}, "", both(ours), ""},
		{"files, by id", files{"passwd": passwd, "subuid": "998:65536:7208960\n", "subgid": " 998:65536:7208960"}, "", both(ours), ""},
		{"files, damaged lines of others", files{"passwd": passwd, "subuid": "a:b:c:d\nbob\n\n" + line, "subgid": line}, "", both(ours), ""},
		{"files, several lines", files{"passwd": passwd, "subuid": line + line, "subgid": line}, "", Delegated{Users: append(ours, ours...), Groups: ours}, ""},
		{"files, no count", files{"passwd": passwd, "subuid": "a:1:1\nkubelet:1\n", "subgid": line}, "", Delegated{}, `subuid: line 2, "kubelet:1": want kubelet:FIRST:COUNT`},
		{"files, bad first", files{"passwd": passwd, "subuid": line, "subgid": "kubelet:x:1"}, "", Delegated{}, `subgid: line 1, "kubelet:x:1": the first id`},
		{"files, count too large", files{"passwd": passwd, "subuid": "kubelet:1:4294967296", "subgid": line}, "", Delegated{}, "value out of range"},
		{"files, negative", files{"passwd": passwd, "subuid": "kubelet:-1:1", "subgid": line}, "", Delegated{}, "the first id"},
		{"program", files{"passwd": passwd, "subuid": line, "subgid": line}, `[ "$*" = kubelet ] || [ "$*" = "-g kubelet" ] || exit 2; echo "0: kubelet 65536 131072"`, both([]Span{{65536, 131072}}), ""},
		{"program, other groups", files{"passwd": passwd}, `[ "$1" = -g ] && echo "0: kubelet 131072 65536" || echo "0: kubelet 65536 65536"`, Delegated{Users: []Span{{65536, 65536}}, Groups: []Span{{131072, 65536}}}, ""},
		{"program, two ranges", files{"passwd": passwd}, `printf '0: kubelet 65536 65536\n1: kubelet 131072 65536\n'`, both([]Span{{65536, 65536}, {131072, 65536}}), ""},
		{"program has none, as Debian's says it", files{"passwd": passwd}, fails, Delegated{}, ""},
		{"program fails, files decide", files{"passwd": passwd, "subuid": line, "subgid": line, "nsswitch.conf": "passwd: files\nsubid: files # local\n"}, fails, both(ours), ""},
		{"program fails, ids elsewhere", files{"passwd": passwd, "subuid": line, "subgid": line, "nsswitch.conf": "subid:\tsss\n"}, fails, Delegated{}, "Error fetching ranges"},
		{"program talks nonsense, ids elsewhere", files{"passwd": passwd, "nsswitch.conf": "subid: sss\n"}, "echo hello", Delegated{}, `cannot read the answer "hello"`},
		{"program gives bad numbers, ids elsewhere", files{"passwd": passwd, "nsswitch.conf": "subid: sss\n"}, "echo 0: kubelet 1 x", Delegated{}, "the number of ids"},
	} {
		t.Run("100 "+c.title, func(t *testing.T) {
			m := machine{etc: etc(t, c.files)}
			if c.program != "" {
				m.program = script(t, c.program)
			}
			got, err := m.delegated(t.Context())
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, %v, want an error with %q", got, err, c.err)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			if (got.Users != nil || got.Groups != nil) && got.Where == "" {
				t.Error("it does not say where the ids are from")
			}
			got.Where = ""
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{"kubelet:65536:7208960\n", "0: kubelet 65536 7208960\n", "998:1:2", "kubelet::", "0: : :", `{"uidMappings":[{"hostId":65536,"containerId":0,"length":65536}]}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, errFile := parseFile(text, "998")
		program, errProgram := parseProgram(text)
		if errFile != nil && file != nil || errProgram != nil && program != nil {
			t.Error("an error and a result")
		}
		if s, err := choose(Delegated{Users: file, Groups: file}, Unit, 1); err == nil {
			if wrong := usable(s); wrong != nil {
				t.Errorf("chose %v: %v", s, wrong)
			}
		}
		if s, err := decode([]byte(text)); err == nil {
			data, err := encode(s)
			again, errAgain := decode(data)
			if err != nil || errAgain != nil || again != s {
				t.Errorf("%v became %v (%v, %v)", s, again, err, errAgain)
			}
		}
	})
}
