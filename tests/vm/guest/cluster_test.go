package guest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// clusterFiles is where the host's test has put what leads to the API server, which runs on the host.
const clusterFiles = "/etc/cluster"

// A cluster is the API server as its administrator sees it. It keeps the newest pods and nodes, which it follows.
type cluster struct {
	server string
	client *http.Client

	mu    sync.Mutex
	newer chan struct{} // closed when a pod or node has changed
	pods  map[string]*v1.Pod
	nodes map[string]*v1.Node
}

// openCluster follows the pods of the namespace default, and the nodes, until the test ends.
func openCluster(t *testing.T) *cluster {
	t.Helper()
	file := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(clusterFiles, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	pair, err := tls.X509KeyPair(file("admin.crt"), file("admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(file("ca.crt"))
	c := &cluster{
		server: string(file("server")),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority, Certificates: []tls.Certificate{pair}}}},
		newer:  make(chan struct{}), pods: map[string]*v1.Pod{}, nodes: map[string]*v1.Node{},
	}
	var followers sync.WaitGroup
	for _, path := range []string{"/api/v1/namespaces/default/pods", "/api/v1/nodes"} {
		followers.Go(func() { c.follow(t, path) })
	}
	t.Cleanup(followers.Wait) // the test's context has ended by then
	return c
}

// follow keeps what a watch tells until the test ends. One that breaks off is begun anew.
func (c *cluster) follow(t *testing.T, path string) {
	for t.Context().Err() == nil {
		if err := c.watch(t, path); t.Context().Err() == nil {
			fmt.Println("guest: watch", path, "anew:", err)
			<-time.After(glance)
		}
	}
}

func (c *cluster) watch(t *testing.T, path string) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.server+path+"?watch=1", nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for decoder := json.NewDecoder(resp.Body); ; {
		var told struct {
			Type   string
			Object json.RawMessage
		}
		if err := decoder.Decode(&told); err != nil {
			return err
		}
		c.mu.Lock()
		if strings.HasSuffix(path, "nodes") {
			err = keep(c.nodes, told.Type, told.Object, func(n *v1.Node) string { return n.Name })
		} else {
			err = keep(c.pods, told.Type, told.Object, func(p *v1.Pod) string { return p.Name })
		}
		close(c.newer)
		c.newer = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func keep[T any](all map[string]*T, kind string, text []byte, name func(*T) string) error {
	object := new(T)
	if err := json.Unmarshal(text, object); err != nil {
		return err
	}
	switch kind {
	case "ADDED", "MODIFIED":
		all[name(object)] = object
	case "DELETED":
		delete(all, name(object))
	default:
		return fmt.Errorf("told %s: %s", kind, text)
	}
	return nil
}

// until waits until nothing is wrong with what is known.
func (c *cluster) until(t *testing.T, what func() error) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		err, newer := what(), c.newer
		c.mu.Unlock()
		if err == nil {
			return
		}
		select {
		case <-newer:
		case <-timeout.C:
			t.Fatalf("not within %v: %v", patience, err)
		}
	}
}

// all are the pods that are known.
func (c *cluster) all() []*v1.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.pods))
}

// untilCondition waits until the API server knows a condition of the node.
func (c *cluster) untilCondition(t *testing.T, kind v1.NodeConditionType, want v1.ConditionStatus) {
	t.Helper()
	c.until(t, func() error {
		n := c.nodes[nodeName]
		if n == nil {
			return errors.New("the node is not there")
		}
		i := slices.IndexFunc(n.Status.Conditions, func(c v1.NodeCondition) bool { return c.Type == kind })
		if i < 0 || n.Status.Conditions[i].Status != want {
			return fmt.Errorf("%s is not %s: %+v", kind, want, n.Status.Conditions)
		}
		return nil
	})
}

// do asks the API server. The answer is decoded unless into is nil.
func (c *cluster) do(t *testing.T, method, path, contentType string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(t.Context(), method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// A tenant is a pod of the cluster on this node.
type tenant struct {
	t    *testing.T
	c    *cluster
	name string
	uid  string
}

// create makes a pod in the cluster, given from "spec:" on, in which BOX is the image of the tests. It is on the host's network: that
// costs less to make.
func (c *cluster) create(t *testing.T, name, spec string) *tenant {
	t.Helper()
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\n" + testImage(spec)
	var p v1.Pod
	if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	p.Spec.NodeName, p.Spec.HostNetwork = nodeName, true
	p.Spec.AutomountServiceAccountToken = new(bool)
	body, err := json.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.do(t, http.MethodPost, "/api/v1/namespaces/default/pods", "application/json", body, &p); err != nil {
		t.Fatal(err)
	}
	return &tenant{t, c, name, string(p.UID)}
}

// until waits until the API server has the pod as wanted, and returns it.
func (p *tenant) until(what string, wanted func(*v1.Pod) bool) *v1.Pod {
	p.t.Helper()
	var found *v1.Pod
	p.c.until(p.t, func() error {
		if found = p.c.pods[p.name]; found == nil {
			return fmt.Errorf("there is no pod %s", p.name)
		}
		if !wanted(found) {
			return fmt.Errorf("pod %s is not %s: %+v", p.name, what, found.Status)
		}
		return nil
	})
	return found
}

func (p *tenant) untilReady() *v1.Pod {
	p.t.Helper()
	return p.until("ready", isReady)
}

func isReady(p *v1.Pod) bool {
	c := podCondition(p, v1.PodReady)
	return c != nil && c.Status == v1.ConditionTrue
}

func podCondition(p *v1.Pod, kind v1.PodConditionType) *v1.PodCondition {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == kind {
			return c
		}
	}
	return nil
}

// resize asks for other resources, with a patch of the specification.
func (p *tenant) resize(patch string) {
	p.t.Helper()
	if err := p.c.do(p.t, http.MethodPatch, "/api/v1/namespaces/default/pods/"+p.name+"/resize", "application/strategic-merge-patch+json", []byte(`{"spec": `+patch+`}`), nil); err != nil {
		p.t.Fatal(err)
	}
}

// remove deletes the pod and waits until the API server has it no more: nothing of it is left on the node then.
func (p *tenant) remove() {
	p.t.Helper()
	if err := p.c.do(p.t, http.MethodDelete, "/api/v1/namespaces/default/pods/"+p.name, "", nil, nil); err != nil {
		p.t.Fatal(err)
	}
	p.c.until(p.t, func() error {
		if p.c.pods[p.name] != nil {
			return fmt.Errorf("pod %s is still there", p.name)
		}
		return nil
	})
	if dirs, err := filepath.Glob(filepath.Join(cgroups, "kubepods", "*", "pod"+p.uid)); err != nil || len(dirs) > 0 {
		p.t.Errorf("left of pod %s: %v %v", p.name, dirs, err)
	}
}

// burstable is the cgroup of the pod, if it is of that class, or of one of its containers.
func (p *tenant) burstable(container string) string { return p.cgroup("burstable", container) }

func (p *tenant) cgroup(class, container string) string {
	p.t.Helper()
	dir := filepath.Join(cgroups, "kubepods", class, "pod"+p.uid)
	if container == "" {
		return dir
	}
	return filepath.Join(dir, p.id(p.until("known", func(*v1.Pod) bool { return true }), container))
}

// id is that of the instance of a container which the API server knows.
func (p *tenant) id(found *v1.Pod, container string) string {
	p.t.Helper()
	for _, s := range found.Status.ContainerStatuses {
		if s.Name == container {
			_, id, _ := strings.Cut(s.ContainerID, "://")
			return id
		}
	}
	p.t.Fatalf("nothing is known of container %s of pod %s", container, p.name)
	return ""
}

// log waits until the first attempt of a container has said a word, and returns all it said.
func (p *tenant) log(container, word string) string {
	p.t.Helper()
	return said(p.t, filepath.Join("/var/log/pods", "default_"+p.name+"_"+p.uid, container, "0.log"), word)
}
