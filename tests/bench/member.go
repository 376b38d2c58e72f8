package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// A member is a kubelet as a node of the cluster: Bosun and the upstream one alike, by the same flags and configuration.
type member struct {
	program
	memberConfig
	arguments []string
	// starts are how long each start took until the API server said that the node is Ready.
	starts []time.Duration

	mu   sync.Mutex
	pods map[string]*v1.Pod // that are prepared
}

type memberConfig struct {
	title, node, binary string
	subcommand          []string
	dir                 string
	endpoint            string // the runtime's socket
	trace               bool   // print what is asked of the API server
	fail                func(error)
	image               string
	runtime             runtimeapi.RuntimeServiceClient
	*cluster
}

func newMember(c memberConfig) (*member, error) {
	m := &member{memberConfig: c, pods: map[string]*v1.Pod{}}
	if err := os.MkdirAll(m.root(), 0o755); err != nil {
		return nil, err
	}
	m.program = program{label: c.title, binary: c.binary, log: filepath.Join(c.dir, "log"), failed: c.fail}
	kubeconfig, err := c.plane.NodeKubeconfig(c.node)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(c.dir, "config.yaml")
	if err := m.writeConfig(config); err != nil {
		return nil, err
	}
	m.arguments = append(append([]string{}, c.subcommand...),
		"--config="+config, "--kubeconfig="+kubeconfig, "--root-dir="+m.root(), "--hostname-override="+c.node, "--node-ip="+address)
	return m, nil
}

func (m *member) root() string { return filepath.Join(m.dir, "root") }

// writeConfig writes what kubeadm writes, and what this machine needs. All else is left to the defaults.
func (m *member) writeConfig(file string) error {
	cert, key, err := m.plane.ServingFiles(m.node, address)
	if err != nil {
		return err
	}
	no := map[string]any{"enabled": false}
	settings := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"containerRuntimeEndpoint": "unix://" + m.endpoint,
		"cgroupDriver":             "cgroupfs",
		"failSwapOn":               false, "failCgroupV1": false,
		"authentication": map[string]any{"anonymous": no, "webhook": map[string]any{"enabled": true}, "x509": map[string]any{"clientCAFile": m.plane.CAFile}},
		"authorization":  map[string]any{"mode": "Webhook"},
		"tlsCertFile":    cert, "tlsPrivateKeyFile": key,
		"clusterDomain": "cluster.local", "clusterDNS": []string{clusterDNS},
	}
	if err := testbed.AddRoomy(settings); err != nil {
		return err
	}
	config, err := json.MarshalIndent(settings, "", "  ") // JSON is YAML
	if err != nil {
		return err
	}
	return os.WriteFile(file, config, 0o600)
}

// start returns when the node is Ready.
func (m *member) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("node %s is not Ready after %v", m.node, patience))
	defer cancel()
	w, err := m.client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + m.node})
	if err != nil {
		return err
	}
	defer w.Stop()
	if err := m.launch(m.arguments...); err != nil {
		return err
	}
	for e := range w.ResultChan() {
		node, ok := e.Object.(*v1.Node)
		if !ok {
			return apierrors.FromObject(e.Object)
		}
		for _, c := range node.Status.Conditions {
			if c.Type == v1.NodeReady && c.Status == v1.ConditionTrue {
				m.starts = append(m.starts, time.Since(m.began))
				return nil
			}
		}
	}
	return fmt.Errorf("the watch of the node ended: %w", context.Cause(ctx))
}

// prepare makes objects in memory.
func (m *member) prepare(k kind, pods []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, pod := range pods {
		m.pods[pod] = podOf(k, pod, m.node, m.image)
	}
	return nil
}

// podOf is the object of a pod on a node: the scheduler takes no part.
func podOf(k kind, name, node, image string) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": "bench"}},
		Spec: v1.PodSpec{
			NodeName:   node,
			Containers: []v1.Container{{Name: "main", Image: image, ImagePullPolicy: v1.PullIfNotPresent}},
		},
	}
	if k == plain {
		pod.Spec.AutomountServiceAccountToken = new(bool)
		return pod
	}
	pod.Spec.Volumes = []v1.Volume{
		{Name: "settings", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: material}}}},
		{Name: "secrets", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: material}}},
	}
	pod.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "settings", MountPath: "/settings"}, {Name: "secrets", MountPath: "/secrets"}}
	return pod
}

func (m *member) add(ctx context.Context, pods []string) error {
	m.each(pods, func(pod *v1.Pod) error {
		_, err := m.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
	return nil
}

func (m *member) remove(ctx context.Context, pods []string) error {
	m.each(pods, func(pod *v1.Pod) error {
		return m.client.CoreV1().Pods(namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{})
	})
	return nil
}

// each asks for all pods at once.
func (m *member) each(pods []string, ask func(*v1.Pod) error) {
	var asking sync.WaitGroup
	defer asking.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range pods {
		pod := m.pods[name]
		asking.Go(func() {
			if err := ask(pod); err != nil {
				m.fail(fmt.Errorf("pod %s of %s: %w", name, m.node, err))
			}
		})
	}
}

func (m *member) there(t times) time.Time { return t.ready }
func (m *member) gone(t times) time.Time  { return t.deleted }

func (m *member) clean(pods []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, pod := range pods {
		delete(m.pods, pod)
	}
	return nil
}

// stop ends the agent and takes away what it leaves: the next one must find nothing.
func (m *member) stop(ctx context.Context) error {
	if err := m.program.stop(ctx); err != nil {
		return err
	}
	sandboxes, err := m.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, s := range sandboxes.Items {
		if _, err := m.runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			return err
		}
		if _, err := m.runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			return err
		}
	}
	err = m.client.CoreV1().Nodes().Delete(ctx, m.node, metav1.DeleteOptions{})
	lease := m.client.CoordinationV1().Leases(v1.NamespaceNodeLease).Delete(ctx, m.node, metav1.DeleteOptions{})
	if apierrors.IsNotFound(lease) {
		lease = nil // the garbage collector was faster
	}
	return errors.Join(err, lease)
}

// requests counts what the agent asked the API server for in a time, how much of that was about pods, and the watches it
// began then. A watch that goes on costs nothing.
func (m *member) requests(since, until time.Time) (calls, pods, watches int, err error) {
	events, err := m.plane.Audit(func(e *controlplane.AuditEvent) bool {
		return e.User.Username == "system:node:"+m.node && !e.RequestReceivedTimestamp.Before(since) && e.RequestReceivedTimestamp.Before(until)
	})
	for _, e := range events {
		switch {
		case e.Verb == "watch" && e.Stage == "ResponseStarted":
			watches++
		case e.Verb != "watch" && e.Stage == "ResponseComplete":
			calls++
			if e.ObjectRef != nil && e.ObjectRef.Resource == "pods" {
				pods++
			}
		default:
			continue
		}
		if m.trace {
			fmt.Printf("%s\t%s\t%s %s\t%d\n", m.label, e.RequestReceivedTimestamp.Format("15:04:05.000"), e.Verb, e.RequestURI, e.Code())
		}
	}
	return calls, pods, watches, err
}

// printRequests shows what the agent asked the API server for since then, for the first of the pods and in all.
func (m *member) printRequests(since time.Time, lived []times, pods []string) {
	events, err := m.plane.Requests("system:node:"+m.node, since)
	if err != nil {
		fmt.Println("bench:", err)
		return
	}
	kinds := map[string]int{}
	for _, e := range events {
		what, name := "", ""
		if e.ObjectRef != nil {
			what, name = e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, e.ObjectRef.Name
		}
		kinds[e.Verb+" "+what]++
		if strings.Contains(name, pods[0]) {
			fmt.Printf("%8.1f ms, took %.1f: %s\n", inMS(e.RequestReceivedTimestamp.Sub(since)), inMS(e.StageTimestamp.Sub(e.RequestReceivedTimestamp)), e.String())
		}
	}
	fmt.Printf("%s: sandbox %.1f, created %.1f, running %.1f, ready %.1f ms; of all pods: %v\n", pods[0], inMS(lived[0].sandbox.Sub(since)),
		inMS(lived[0].created.Sub(since)), inMS(lived[0].running.Sub(since)), inMS(lived[0].ready.Sub(since)), kinds)
}
