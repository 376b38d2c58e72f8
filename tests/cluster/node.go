package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// cgroupRoot is the cgroup below which all pods of the node are.
const cgroupRoot = "bosun-cluster"

// restartDelay is that of the systemd unit in the README.
const restartDelay = time.Second

// A node is Bosun, started again when it ends.
type node struct {
	program controlplane.Program
	process *controlplane.Process
}

// startNode configures Bosun as kubeadm configures a kubelet, and starts it.
func (k *keeper) startNode() (*node, error) {
	if err := os.MkdirAll(k.file("node"), 0o750); err != nil {
		return nil, err
	}
	kubeconfig, err := k.plane.NodeKubeconfig(nodeName)
	if err != nil {
		return nil, err
	}
	address := controlplane.OwnAddress()
	cert, key, err := k.plane.ServingFiles(nodeName, address, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	no := map[string]any{"enabled": false}
	settings := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"containerRuntimeEndpoint": k.box.Endpoint(),
		"cgroupRoot":               "/" + cgroupRoot,
		"podLogsDir":               k.file("node", "logs"),
		"failSwapOn":               false, "failCgroupV1": false,
		"authentication": map[string]any{"anonymous": no, "webhook": map[string]any{"enabled": true}, "x509": map[string]any{"clientCAFile": k.plane.CAFile}},
		"authorization":  map[string]any{"mode": "Webhook"},
		"tlsCertFile":    cert, "tlsPrivateKeyFile": key,
		"clusterDomain": "cluster.local",
		"port":          freePort("0.0.0.0", 10250), "healthzPort": freePort("127.0.0.1", 10248),
	}
	if err := testbed.AddRoomy(settings); err != nil {
		return nil, err
	}
	config, err := json.MarshalIndent(settings, "", "  ") // JSON is YAML
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(k.file("node", "config.yaml"), append(config, '\n'), 0o644); err != nil {
		return nil, err
	}
	if err := k.rememberSysctls(); err != nil {
		return nil, err
	}
	n := &node{program: controlplane.Program{
		Name: "bosun", Path: k.bosun, Dir: k.file("node"),
		Args: []string{
			"run", "--config=" + k.file("node", "config.yaml"), "--kubeconfig=" + kubeconfig,
			"--root-dir=" + k.file("node"), "--hostname-override=" + nodeName, "--node-ip=" + address,
		},
	}}
	if n.process, err = n.program.Start(); err != nil {
		return nil, err
	}
	return n, nil
}

// freePort is the wanted port if nobody listens there, else any free one.
func freePort(host string, wanted int) int {
	for _, port := range []int{wanted, 0} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			defer l.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	return wanted // whoever uses it says what is wrong
}

// awaitReady waits for the node to be registered and Ready; what Bosun said is in the error.
func (n *node) awaitReady(ctx context.Context, plane *controlplane.Plane) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return n.process.Await(ctx, func(ctx context.Context) error {
		object, err := plane.Client().CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("it has not registered: %w", err)
		}
		for _, c := range object.Status.Conditions {
			if c.Type == corev1.NodeReady {
				if c.Status == corev1.ConditionTrue {
					return nil
				}
				return fmt.Errorf("the node's condition Ready is %s: %s: %s", c.Status, c.Reason, c.Message)
			}
		}
		return fmt.Errorf("node %s has no condition Ready", nodeName)
	})
}

// keepRunning starts Bosun again whenever it ends, until ctx is done.
func (n *node) keepRunning(ctx context.Context, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.process.Ended():
		}
		log.Warn("bosun ended; it is started again", "log", n.program.Log())
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartDelay):
		}
		process, err := n.program.Start()
		if err != nil {
			log.Error("start bosun", "err", err)
			return
		}
		n.process = process
	}
}

// end ends Bosun. keepRunning must have returned.
func (n *node) end() error { return n.process.End(syscall.SIGTERM) }
