package kubeadm

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bosun-project/bosun/internal/testbed"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "systemctl" {
		os.Exit(systemctl(os.Args[1:]))
	}
	testbed.Main(m)
}
