package main

import (
	"bytes"
	"regexp"
	"slices"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct{ called, want []string }{
		{nil, []string{"run"}},
		{[]string{"bosun"}, []string{"run"}},
		{[]string{"/usr/local/bin/bosun", "--config=/c"}, []string{"run", "--config=/c"}},
		{[]string{"bosun", "run", "--config=/c"}, []string{"run", "--config=/c"}},
		{[]string{"bosun", "get", "pods"}, []string{"get", "pods"}},
		{[]string{"bosun", "--help"}, []string{"--help"}},
		{[]string{"bosun", "-h"}, []string{"-h"}},
		{[]string{"/usr/bin/kubelet"}, []string{"run"}},
		{[]string{"kubelet", "--version"}, []string{"run", "--version"}},
		{[]string{"/usr/bin/kubelet", "--help"}, []string{"run", "--help"}},
		{[]string{"kubelet", "get"}, []string{"run", "get"}}, // which is refused, as by a kubelet
	} {
		if got := commandLine(c.called); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.called, got, c.want)
		}
	}
}

// TestVersionIsAKubelets holds that the answer is one line of the form that kubeadm demands.
func TestVersionIsAKubelets(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"--version=true"}, {"--config=/nowhere", "--version"}} {
		var out, errs bytes.Buffer
		if cfg, err := load(&out, &errs, args, false); cfg != nil || err != nil {
			t.Errorf("%q: got %v, %v", args, cfg, err)
		}
		if !regexp.MustCompile(`^Kubernetes v1\.37\.\d+\n$`).MatchString(out.String()) || errs.Len() > 0 {
			t.Errorf("%q: answered %q, said %q", args, out.String(), errs.String())
		}
	}
	var out, errs bytes.Buffer
	if _, err := load(&out, &errs, []string{"--version=raw"}, false); err != nil || out.String() != "Kubernetes v1.37.1\nBosun "+release+"\n" {
		t.Errorf("raw: %q, %v", out.String(), err)
	}
	if _, err := load(&out, &errs, []string{"get"}, false); err == nil {
		t.Error("an argument that is no flag was taken")
	}
}
