package certs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestUsable(t *testing.T) {
	n := newNode(t)
	now := time.Now()
	n.putPair("good", "system:node:n1", now.Add(-time.Hour), now.Add(time.Hour))
	n.putPair("old", "system:node:n1", now.Add(-2*time.Hour), now.Add(-time.Hour))
	n.putPair("young", "system:node:n1", now.Add(time.Hour), now.Add(2*time.Hour))
	n.write(filepath.Join(n.dir, "empty.crt"), "")
	n.write(filepath.Join(n.dir, "locked.crt"), "")
	for _, c := range []struct {
		title, text string
		want        string // part of the error; empty: usable
	}{
		{"certificate in files", withFiles("good.crt", "good.key"), ""},
		{"token", bootstrapText("a.b"), ""},
		{"not valid yet", withFiles("young.crt", "young.key"), ""},
		{"expired", withFiles("old.crt", "old.key"), "expired at"},
		{"key of another", withFiles("good.crt", "old.key"), "private key does not match public key"},
		{"empty certificate", withFiles("empty.crt", "good.key"), "no CERTIFICATE block"},
		{"missing certificate", withFiles("none.crt", "good.key"), "none.crt: no such file"},
		{"missing key", strings.Replace(withFiles("good.crt", "x"), ", client-key: x", "", 1), "neither client-key nor client-key-data"},
		{"certificate is a directory", withFiles(".", "good.key"), "want a regular file"},
		{"no identity", strings.Replace(bootstrapText("a.b"), "token: a.b", "", 1), "no other way to identify"},
		{"no context", strings.Replace(bootstrapText("a.b"), "current-context: boot", "current-context: x", 1), `current-context "x" is not among the contexts`},
		{"no YAML", "[", "yaml"},
		{"empty", "", "is not among the contexts"},
	} {
		t.Run(c.title, func(t *testing.T) {
			n.write(n.kubeconfig, c.text)
			err := Usable(n.kubeconfig, now)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatalf("usable, want an error with %q", c.want)
			}
			has(t, err.Error(), c.want)
			has(t, err.Error(), n.dir)
		})
	}
	if err := os.Remove(n.kubeconfig); err != nil {
		t.Fatal(err)
	}
	if err := Usable(n.kubeconfig, now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	c := n.bootstrapConfig()
	c.BootstrapKubeconfig = ""
	err := Bootstrap(t.Context(), c)
	if err == nil {
		t.Fatal("no error without any kubeconfig")
	}
	has(t, err.Error(), "--bootstrap-kubeconfig")
}
