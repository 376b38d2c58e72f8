package internal

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var mapColumns = regexp.MustCompile("^\\| `([a-z/]+)` \\| [^|]+ \\| ([^|]*)\\|$")

// TestMapNamesImportsOfTheFloor: the third column of docs/map.md names the packages of its own floor that a package imports,
// no more and no fewer. "any" stands for a package that may import all of them, and safepath may be imported by all.
func TestMapNamesImportsOfTheFloor(t *testing.T) {
	real := map[string][]string{}
	for _, s := range everySource(t) {
		from, here := floorOf(s.name)
		for path := range s.imports() {
			to, there := floorOf(path)
			if there == here && to != from && to != "safepath" && !slices.Contains(real[from], to) {
				real[from] = append(real[from], to)
			}
		}
	}
	data, err := os.ReadFile("../docs/map.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(data)) {
		m := mapColumns.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		rows++
		named := strings.TrimSpace(m[2])
		slices.Sort(real[m[1]])
		if want := strings.Join(real[m[1]], ", "); named != want && named != "any" {
			t.Errorf("docs/map.md: %s imports %q of its own floor, the map says %q", m[1], want, named)
		}
	}
	if rows < 30 {
		t.Errorf("only %d rows of docs/map.md have three columns", rows)
	}
}
