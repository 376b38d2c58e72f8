package translate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/translate"
)

func TestResolverTrouble(t *testing.T) {
	domains := func(n, length int) (all []string) {
		for i := range n {
			name := fmt.Sprintf("d%d.", i)
			all = append(all, name+strings.Repeat("x", length-len(name)))
		}
		return all
	}
	for name, c := range map[string]struct {
		searches []string
		cluster  bool
		want     string
	}{
		"81 none":                      {nil, true, ""},
		"81 as many as fit":            {domains(32, 10), false, ""},
		"81 one too many":              {domains(33, 10), false, "Resolv.conf file '/r' contains search line consisting of more than 32 domains!"},
		"81 beside the cluster's":      {domains(29, 10), true, ""},
		"81 too many with the cluster": {domains(30, 10), true, "Resolv.conf file '/r' contains search line consisting of more than 29 domains!"},
		"81 as long as fits":           {append(domains(20, 100), strings.Repeat("y", 28)), false, ""},
		"81 too long":                  {append(domains(20, 100), strings.Repeat("y", 29)), false, "Resolv.conf file '/r' contains search line which length is more than allowed 2048 chars!"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := translate.ResolverTrouble("/r", translate.ResolvConf{Searches: c.searches}, c.cluster); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
