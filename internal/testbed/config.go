package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// containerdConfig keeps every path inside the bed. An out-of-memory score below the parent's needs CAP_SYS_RESOURCE,
// which test machines may lack.
const containerdConfig = `version = 4
root = 'DIR/root'
state = 'DIR/state'
imports = []

[plugins.'io.containerd.server.v1.grpc']
address = 'DIR/containerd.sock'
[plugins.'io.containerd.server.v1.ttrpc']
address = 'DIR/containerd.sock.ttrpc'
[plugins.'io.containerd.internal.v1.opt']
path = 'DIR/opt'
[plugins.'io.containerd.nri.v1.nri']
disable = true

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = 'DIR/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
cdi_spec_dirs = ['DIR/cdi']
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['BIN']
conf_dir = 'DIR/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
runtime_path = 'BIN/containerd-shim-runc-v2'
options = { BinaryName = 'BIN/runc' }
`

const cniConfig = `{
  "cniVersion": "1.0.0",
  "name": "BRIDGE",
  "plugins": [
    {
      "type": "bridge", "bridge": "BRIDGE", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "DIR/ipam",
        "ranges": [[{"subnet": "SUBNET"}]], "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

func (b *Bed) writeConfig(more string) error {
	fill := strings.NewReplacer("DIR", b.Dir, "BIN", b.BinDir, "BRIDGE", b.bridge, "SUBNET", b.Subnet)
	for path, text := range map[string]string{
		filepath.Join(b.Dir, "config.toml"):              fill.Replace(containerdConfig) + more,
		filepath.Join(b.CNIConfDir, "10-bosun.conflist"): fill.Replace(cniConfig),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	if OnCRIO() {
		return b.writeCRIO(fill)
	}
	return os.MkdirAll(b.CertsDir, 0o755)
}
