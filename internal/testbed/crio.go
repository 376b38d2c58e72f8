package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RuntimeVariable is the environment variable that says which runtime beds have: containerd if it is empty, or crio.
const RuntimeVariable = "BOSUN_TEST_RUNTIME"

// OnCRIO tells whether beds have CRI-O instead of containerd. It needs the Debian package conmon and
// `tools/build.sh .cache/bin crio`; `make crio` sees to both.
func OnCRIO() bool { return os.Getenv(RuntimeVariable) == "crio" }

// crioConfig keeps every path inside the bed, but for sockets to attach to, whose paths would be too long. Events of pods are off by default in CRI-O; EVENTS says what the bed wants.
const crioConfig = `[crio]
root = "DIR/root"
runroot = "DIR/runroot"
storage_driver = "overlay"
log_dir = "DIR/crio-logs"
version_file = "DIR/version"
clean_shutdown_file = "DIR/clean-shutdown"
[crio.api]
listen = "DIR/containerd.sock"
stream_address = "127.0.0.1"
stream_port = "0"
[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
pinns_path = "BIN/pinns"
container_exits_dir = "DIR/exits"
container_attach_socket_dir = "/run/BRIDGE"
namespaces_dir = "DIR/namespaces"
seccomp_use_default_when_empty = true
default_runtime = "runc"
enable_pod_events = EVENTS
[crio.runtime.runtimes.runc]
runtime_path = "DIR/runc"
runtime_root = "DIR/runc-state"
monitor_path = "/usr/bin/conmon"
monitor_cgroup = "pod"
[crio.image]
signature_policy = "DIR/policy.json"
pause_image = "registry.k8s.io/pause:3.10.2"
[crio.network]
network_dir = "DIR/cni"
plugin_dirs = ["BIN"]
`

// crioRunc leaves out scores below the machine's: they need CAP_SYS_RESOURCE, which test machines may lack, and CRI-O has no
// restrict_oom_score_adj.
const crioRunc = `#!/bin/sh
for arg; do
	[ "$before" != --bundle ] || sed -i -E 's/"oomScoreAdj": *-[0-9]+/"oomScoreAdj":0/' "$arg/config.json"
	before=$arg
done
exec BIN/runc "$@"
`

// crioRegistries sends those who want an image of `make images` to the bed's own registry.
const crioRegistries = `unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "docker.io"
location = "HOST"
insecure = true
[[registry]]
prefix = "registry.k8s.io"
location = "HOST"
insecure = true
`

// writeCRIO writes what CRI-O needs, and says how it is started. It has no way to import images: it pulls them from the bed's
// registry.
func (b *Bed) writeCRIO(fill *strings.Replacer) error {
	for path, text := range map[string]string{
		"crio.conf":         strings.ReplaceAll(crioConfig, "EVENTS", fmt.Sprint(os.Getenv("BOSUN_TEST_CRIO_EVENTS") != "off")),
		"policy.json":       `{"default": [{"type": "insecureAcceptAnything"}]}`,
		"registries.conf.d": "",
		"runc":              crioRunc,
	} {
		path = filepath.Join(b.Dir, path)
		if text == "" {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(path, []byte(fill.Replace(text)), 0o755); err != nil {
			return err
		}
	}
	b.program = []string{
		filepath.Join(b.BinDir, "crio"), "--config", filepath.Join(b.Dir, "crio.conf"), "--config-dir", "",
		"--registries-conf", filepath.Join(b.Dir, "registries.conf"), "--registries-conf-dir", filepath.Join(b.Dir, "registries.conf.d"),
	}
	return nil
}

// pullImages has CRI-O pull the images from a registry that has them only for so long.
func (b *Bed) pullImages(tars []string) error {
	registry, end, err := b.openRegistry(nil)
	if err != nil {
		return err
	}
	defer end()
	conf := strings.ReplaceAll(crioRegistries, "HOST", registry.Host)
	if err := os.WriteFile(filepath.Join(b.Dir, "registries.conf"), []byte(conf), 0o644); err != nil {
		return err
	}
	if err := b.Restart(); err != nil { // it reads the file when it starts
		return err
	}
	conn, err := b.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	client := runtimeapi.NewImageServiceClient(conn)
	for _, tar := range tars {
		image := strings.TrimSuffix(filepath.Base(tar), ".tar")
		name, err := registry.pushOwn(image)
		if err != nil {
			return err
		}
		if _, err := client.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}}); err != nil {
			return fmt.Errorf("pull %s: %w", name, err)
		}
	}
	return nil
}

// allowHTTP is AllowHTTP for CRI-O, which looks at its configuration again on SIGHUP.
func (b *Bed) allowHTTP(host string) error {
	file := filepath.Join(b.Dir, "registries.conf.d", strings.ReplaceAll(host, ":", "-")+".conf")
	text := fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", host)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	return b.signal(syscall.SIGHUP, func(int) error { return nil })
}
