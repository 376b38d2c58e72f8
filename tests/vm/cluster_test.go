package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

const (
	// nodeName is what the machine is called in its cluster.
	nodeName = "vm"
	// ownAddress is the machine's address, and gateway the one at which it finds the loopback of this machine; QEMU has them so.
	ownAddress, gateway = "10.0.2.15", "10.0.2.2"
)

// startCluster brings up a control plane on this machine, where it is quick, and writes what the virtual one needs to join it and
// to administer it into a directory.
func startCluster(ctx context.Context, t *testing.T, dir string) error {
	plane, err := controlplane.Open(ctx, controlplane.Options{
		Dir: t.TempDir(), Hosts: []string{gateway},
		// Nobody is to find the node late, for it is slow.
		ControllerManager: []string{"--controllers=bootstrapsigner,tokencleaner,serviceaccount-controller,root-ca-certificate-publisher-controller"},
	})
	if err != nil {
		return err
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(plane.LogTails(1500))
		}
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	admin, err := plane.Issue(controlplane.Identity{User: "admin", Groups: []string{"system:masters"}})
	if err != nil {
		return err
	}
	node, err := plane.Issue(controlplane.NodeIdentity(nodeName))
	if err != nil {
		return err
	}
	cert, key, err := plane.ServingFiles(nodeName, ownAddress)
	if err != nil {
		return err
	}
	for name, file := range map[string]string{"serving.crt": cert, "serving.key": key} {
		if err := copyFile(filepath.Join(dir, name), file); err != nil {
			return err
		}
	}
	server := strings.Replace(plane.URL, "127.0.0.1", gateway, 1)
	if err := plane.WriteKubeconfig(filepath.Join(dir, "kubeconfig"), server, controlplane.Credentials{Pair: node}); err != nil {
		return err
	}
	authority, err := os.ReadFile(plane.CAFile)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"ca.crt": authority, "admin.crt": admin.Cert, "admin.key": admin.Key, "server": []byte(server)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("write what the machine needs of its cluster: %w", err)
		}
	}
	return nil
}
