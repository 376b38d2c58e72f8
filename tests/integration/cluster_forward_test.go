package integration

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

var forwarding = regexp.MustCompile(`Forwarding from 127\.0\.0\.1:(\d+) -> 8080`)

// forward starts kubectl port-forward to port 8080 and returns the port it listens at and what ends it.
func (g *guest) forward(wire []string) (port string, end func()) {
	g.t.Helper()
	cmd := g.command(wire, "port-forward", g.name, ":8080", "--address=127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	errs := &screen{}
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	found := forwarding.FindStringSubmatch(line)
	if err != nil || found == nil {
		g.t.Fatalf("port-forward says %q (%v) %s", line, err, errs)
	}
	return found[1], func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // as it was told to
	}
}

// kubectl port-forward carries requests one after the other and many at once, over WebSocket and SPDY, and tells when
// nobody listens in the pod.
func TestKubectlPortForward(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "server", `
spec: {containers: [{name: main, image: SHELL, command: [sh, -c, 'mkdir /w; echo here I am > /w/index.html; head -c 3000000 /dev/zero > /w/big; exec httpd -f -p 8080 -h /w'], readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}]}`)
	g.untilReady()
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, end := g.in(t).forward(wire)
			defer end()
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
			fetch := func(path string) (int, error) {
				resp, err := client.Get("http://127.0.0.1:" + port + path)
				if err != nil {
					return 0, err
				}
				defer resp.Body.Close()
				n, err := io.Copy(io.Discard, resp.Body)
				return int(n), err
			}
			results := make(chan error, 20)
			for i := range cap(results) {
				go func() {
					path, want := "/", len("here I am\n")
					if i%4 == 0 {
						path, want = "/big", 3000000
					}
					n, err := fetch(path)
					if err == nil && n != want {
						err = fmt.Errorf("%s: %d bytes, want %d", path, n, want)
					}
					results <- err
				}()
			}
			for range cap(results) {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What happens to a pod is told to whoever describes it, in upstream's words.
func TestEventsOfAPod(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "told", `
spec:
  initContainers: [{name: first, image: BOX, args: [say, hello]}]
  containers: [{name: main, image: SHELL, command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done'], readinessProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1}}]
`)
	const columns = "custom-columns=R:.reason,T:.type,F:.involvedObject.fieldPath,C:.source.component,H:.source.host,M:.message"
	events := func(words ...string) func() error {
		return func() error {
			text := m.kubectl(t, ns, "get", "events", "--no-headers", "-o", columns)
			var lines []string
			for line := range strings.Lines(text) {
				lines = append(lines, strings.Join(strings.Fields(line), " "))
			}
			return containsAll(strings.Join(lines, "\n"), words...)
		}
	}
	from := " kubelet " + m.name + " "
	eventually(t, events(
		"Pulled Normal spec.initContainers{first}"+from+`Container image "docker.io/bosun/testbox:latest" already present on machine`,
		"Created Normal spec.initContainers{first}"+from+"Container created",
		"Started Normal spec.initContainers{first}"+from+"Container started",
		"Started Normal spec.containers{main}"+from+"Container started",
		"Unhealthy Warning spec.containers{main}"+from+"Readiness probe failed",
	))
	g.kubectl(t, ns, "exec", "told", "-c", "main", "--", "touch", "/ready")
	g.untilReady()
	eventually(t, func() error {
		return containsAll(m.kubectl(t, ns, "describe", "pod", "told"), "Events:", "Started", "kubelet", "Container started", "Readiness probe failed")
	})
	g.remove()
	eventually(t, events("Killing Normal spec.containers{main}"+from+"Stopping container main"))
}

// What a node answers through the API server's proxy.
func TestNodeThroughTheProxy(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "seen", `spec: {containers: [{name: main, image: BOX}]}`)
	g.untilReady()
	raw := func(path string) string {
		t.Helper()
		return m.kubectl(t, ns, "get", "--raw", "/api/v1/nodes/"+m.name+"/proxy/"+path)
	}
	same(t, "healthz", raw("healthz"), "ok")
	for path, words := range map[string][]string{
		"pods":         {`"kind":"PodList"`, g.uid, `"kubernetes.io/config.source":"api"`},
		"runningpods/": {`"kind":"PodList"`, g.uid},
		"configz":      {`"kubeletconfig"`, `"kind":"KubeletConfiguration"`, `"apiVersion":"kubelet.config.k8s.io/v1beta1"`, `"podLogsDir":"` + m.podLogs},
		"metrics":      {"\nkubelet_running_pods ", "\nkubelet_node_name{node=\"" + m.name},
		"statusz":      {"kubelet statusz", "Go version"},
		"flagz":        {"kubelet flagz", "hostname-override"},
	} {
		if err := containsAll(raw(path), words...); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	// The runtime has no criu here: that is what is to be read.
	_, err := m.plane.KubectlInput(t.Context(), "", "create", "--raw", "/api/v1/nodes/"+m.name+"/proxy/checkpoint/"+ns+"/seen/main", "-f", "/dev/null")
	if err == nil || !strings.Contains(err.Error(), "criu") && !strings.Contains(err.Error(), "CRIU") {
		t.Errorf("a checkpoint where there is no criu: %v", err)
	}
}
