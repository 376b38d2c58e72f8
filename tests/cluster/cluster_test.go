package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bosun-project/bosun/internal/keep"
	"github.com/bosun-project/bosun/internal/testbed"
)

// roleVariable makes the test binary be the program, and the agent that the program starts.
const roleVariable = "BOSUN_TEST_CLUSTER_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "" {
		testbed.Main(m)
	}
	if os.Args[1] != "run" {
		main()
		return
	}
	if err := standIn(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "stand-in:", err)
		os.Exit(1)
	}
}

// standIn is an agent that registers its node as ready, and lets go of pods that are to be deleted.
func standIn(args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "")
	name := flags.String("hostname-override", "", "")
	for _, ignored := range []string{"config", "root-dir", "node-ip"} {
		flags.String(ignored, "", "")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if _, err := client.CoreV1().Nodes().Create(ctx, nodeObject(*name), metav1.CreateOptions{}); err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + *name})
	if err != nil {
		return err
	}
	for event := range pods.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok || pod.DeletionTimestamp == nil {
			continue
		}
		var now int64
		if err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			fmt.Fprintln(os.Stderr, "stand-in:", err) // it was deleted already
		}
	}
	return nil
}

// cluster runs the program and returns what it said.
func cluster(t *testing.T, dir, agent, verb string) (string, error) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience) // cleaning up, the test's own has ended
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", verb, "-dir", dir, "-bosun", agent,
		"-bin", filepath.Join(root, ".cache", "bin"), "-images", filepath.Join(root, ".cache", "images"))
	cmd.Env = append(os.Environ(), roleVariable+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The whole way: up, up again, a Deployment whose pods are bound, the keeper killed, up again, down, down again.
func TestUpAndDown(t *testing.T) {
	testbed.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "cluster")
	agent, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	expect := func(verb string, parts ...string) {
		t.Helper()
		said, err := cluster(t, dir, agent, verb)
		if err != nil {
			t.Fatalf("%s: %v: %s", verb, err, said)
		}
		for _, part := range parts {
			if !strings.Contains(said, part) {
				t.Errorf("%s said %q, want %q in it", verb, said, part)
			}
		}
	}
	t.Cleanup(func() {
		if said, err := cluster(t, dir, agent, "down"); err != nil {
			t.Errorf("%v: %s", err, said)
		}
	})
	try := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(bounded(t), "../../.cache/bin/kubectl", args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(dir, "kubeconfig"), "HOME="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("kubectl %v: %v: %s", args, err, out)
		}
	}

	expect("up", "control plane: https://127.0.0.1:6443", "docker.io/library/nginx:latest", "node bosun is ready", "export KUBECONFIG="+dir+"/kubeconfig")
	expect("up", "is up already", "export KUBECONFIG=")
	try("apply", "-f", filepath.Join(dir, "web.yaml"))
	try("wait", "--for=condition=PodScheduled", "--timeout=60s", "pod", "-l", "app=web")
	pid, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("kill", "-KILL", strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
		t.Fatalf("kill the keeper: %v: %s", err, out)
	}
	eventually(t, func() error {
		if pid, err := (place{dir: dir}).keeper(); err != nil || pid != 0 {
			return fmt.Errorf("keeper %d, %v", pid, err)
		}
		return nil
	})
	expect("up", "node bosun is ready")
	try("apply", "-f", filepath.Join(dir, "web.yaml"))
	try("wait", "--for=condition=PodScheduled", "--timeout=60s", "pod", "-l", "app=web")
	kept, inMemory := keep.InMemory(filepath.Join(dir, "node")) // what an agent keeps there, the stand-in does not
	if inMemory {
		if err := os.Mkdir(kept, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	expect("down", "The cluster is gone")
	if _, err := os.Stat(kept); inMemory && !os.IsNotExist(err) {
		t.Errorf("what the node kept is left in %s: %v", kept, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("its directory is left: %v", err)
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*/" + cgroupRoot); err != nil || len(left) > 0 {
		t.Errorf("cgroups are left: %v, %v", left, err)
	}
	expect("down", "is not up")
}

// An agent that cannot do its part is named, with what it said; nothing but logs is left.
func TestUpFails(t *testing.T) {
	testbed.RequireRoot(t)
	dir := filepath.Join(t.TempDir(), "cluster")
	agent := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(agent, []byte("#!/bin/sh\necho no cluster for me >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	said, err := cluster(t, dir, agent, "up")
	if err == nil {
		t.Error("it is said to be up")
	}
	for _, part := range []string{"bosun ended (exit status 3) before it was ready", "no cluster for me", "could not be brought up", filepath.Join(dir, "keeper.log")} {
		if !strings.Contains(said, part) {
			t.Errorf("it said %q, want %q in it", said, part)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node", "bosun.log")); err != nil {
		t.Error(err)
	}
	for _, gone := range []string{"runtime", "plane/ca.key", "kubeconfig"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", gone, err)
		}
	}
	if said, err := cluster(t, dir, agent, "down"); err != nil || !strings.Contains(said, "what is left") {
		t.Errorf("down: %v: %s", err, said)
	}
}
