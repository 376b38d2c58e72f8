package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/testbed"
)

// Variables and command lines as the process gets them (behaviours 67, 68, 72).
func TestEnvironment(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).manifest(t, "environment", `
apiVersion: v1
kind: Pod
metadata:
  name: environment
  labels: {app: shop}
  annotations: {owner: jane}
spec:
  containers:
  - name: main
    image: docker.io/bosun/testbox:latest
    imagePullPolicy: IfNotPresent
    command: [/testbox, say, "$(SECOND) $$(SECOND) $(NOBODY)"]
    args: [then, env, then, say, end, then, wait]
    resources: {requests: {cpu: 150m, memory: 20Mi}, limits: {memory: 33Mi}}
    env:
    - {name: FIRST, value: one}
    - {name: SECOND, value: "$(FIRST)-two"}
    - {name: FORWARD, value: "$(LATER)"}
    - {name: LATER, value: later}
    - {name: FROM_IMAGE, value: from the pod}
    - {name: odd.name-1, value: odd}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
    - {name: LABEL, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
    - {name: ANNOTATION, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['owner']"}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: POD_IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
    - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
    - {name: MILLI, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
`)
	said := b.untilSays("main", "end\n")
	s := b.sandbox()
	ip := s.Network.Ip
	contains(t, "output", said,
		"one-two $(SECOND) $(NOBODY)",
		"FIRST=one", "SECOND=one-two", "FORWARD=$(LATER)", "FROM_IMAGE=from the pod", "odd.name-1=odd", "PATH=/",
		"NAME=environment-here", "NAMESPACE=default", "UID="+s.Metadata.Uid, "LABEL=shop", "ANNOTATION=jane", "NODE="+nodeName,
		"POD_IP="+ip, "POD_IPS="+ip, "HOST_IP="+nodeIP, "CPU=1", "MILLI=150", "MEMORY=33",
	)
	if strings.Contains(said, "_SERVICE_HOST=") {
		t.Errorf("variables of services without services:\n%s", said)
	}
}

// The image's own command line, working directory, and a key of an env file (behaviours 67, 73, 86).
func TestEnvironmentOfImageAndFile(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).pod(t, "envfile", `
spec:
  restartPolicy: Never
  volumes: [{name: made, emptyDir: {}}]
  initContainers:
  - {name: make, image: BOX, args: [write, /made/a.env, "COLOUR='deep blue'\n"], volumeMounts: [{name: made, mountPath: /made}]}
  containers:
  - name: main
    workingDir: /tmp
    image: docker.io/bosun/testbox:latest
    imagePullPolicy: IfNotPresent
    args: [where, then, env]
    env:
    - {name: COLOUR, valueFrom: {fileKeyRef: {volumeName: made, path: a.env, key: COLOUR}}}
  - {name: plain, image: BOX, args: [say, plain]}
`)
	said := b.untilDone("main")
	contains(t, "output", said, "COLOUR=deep blue", "cwd=/tmp", "FROM_IMAGE=yes")
	contains(t, "output", b.untilDone("plain"), "plain")
}

// The files that a pod's surroundings are read from (behaviours 51, 74, 75, 77, 78).
func TestHostsHostnameAndResolver(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	plain := n.pod(t, "surroundings", `
spec:
  hostAliases: [{ip: 10.1.2.3, hostnames: [db.local, db]}]
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [one.test, two.test], options: [{name: ndots, value: "2"}, {name: edns0}]}
  containers: [{name: main, image: BOX, args: [where, then, stat, /etc/hosts, then, say, end, then, wait]}]
`)
	named := n.pod(t, "surnamed", `
spec:
  hostname: web-0
  subdomain: web
  dnsPolicy: Default
  containers: [{name: main, image: BOX, args: [where, then, say, end, then, wait]}]
`)
	said := plain.untilSays("main", "end\n")
	ip := plain.sandbox().Network.Ip
	contains(t, "output", said,
		"hostname=surroundings-here",
		"# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", ip+"\tsurroundings-here",
		"# Entries added by HostAliases.", "10.1.2.3\tdb.local\tdb",
		"nameserver 192.0.2.53", "search one.test two.test", "options ndots:2 edns0",
	)
	if !strings.Contains(said, "/etc/hosts mode=-rw-r--r-- uid=0 gid=0") {
		t.Errorf("hosts file is not 0644:\n%s", said)
	}
	said = named.untilSays("main", "end\n")
	// Without a cluster domain the domain is subdomain.namespace.svc (behaviour 51).
	contains(t, "output", said, "hostname=web-0")
	ip = named.sandbox().Network.Ip
	if !strings.Contains(said, ip+"\tweb-0.web.default.svc") || !strings.Contains(said, "\tweb-0\n") {
		t.Errorf("hosts file lacks the names of web-0:\n%s", said)
	}
	node, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(node)) {
		if strings.HasPrefix(line, "nameserver ") && !strings.Contains(said, line) {
			t.Errorf("the pod's resolver lacks %q of the node:\n%s", line, said)
		}
	}
}

// Namespaces shared with the node or within the pod (behaviours 52, 55, 74, 102).
func TestSharedNamespaces(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	const look = `command: [sh, -c, "for s in net ipc pid uts; do echo $s $(readlink /proc/self/ns/$s); done; hostname; cat /etc/hosts; sleep 1000"], `
	host := n.pod(t, "hostish", `
spec:
  terminationGracePeriodSeconds: 1
  hostNetwork: true
  hostPID: true
  hostIPC: true
  containers: [{name: main, `+look+`image: SHELL}]
`)
	shared := n.pod(t, "sharing", `
spec:
  terminationGracePeriodSeconds: 1
  shareProcessNamespace: true
  containers:
  - {name: one, `+look+`image: SHELL}
  - {name: two, `+look+`image: SHELL}
`)
	apart := n.pod(t, "apart", `
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: one, `+look+`image: SHELL}
  - {name: two, `+look+`image: SHELL}
`)
	said := host.untilSays("main", "# Kubernetes-managed hosts file (host network).")
	for _, ns := range []string{"net", "ipc", "pid"} {
		here, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, "output of the pod in the node's namespaces", said, ns+" "+here)
	}
	for _, test := range []struct {
		b    *box
		same map[string]bool
	}{
		{shared, map[string]bool{"net": true, "ipc": true, "uts": true, "pid": true}},
		{apart, map[string]bool{"net": true, "ipc": true, "uts": true, "pid": false}},
	} {
		one, two := test.b.untilSays("one", "# Kubernetes"), test.b.untilSays("two", "# Kubernetes")
		for ns, want := range test.same {
			if got := line(one, ns+" ") == line(two, ns+" "); got != want {
				t.Errorf("pod %s: containers share %s: %v, want %v", test.b.name, ns, got, want)
			}
			here, err := os.Readlink("/proc/self/ns/" + ns)
			if err != nil {
				t.Fatal(err)
			}
			if line(one, ns+" ") == ns+" "+here {
				t.Errorf("pod %s is in the node's %s namespace", test.b.name, ns)
			}
		}
	}
}

// line is the first line of text that begins so.
func line(text, prefix string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, prefix) {
			return strings.TrimSuffix(l, "\n")
		}
	}
	return ""
}

// A host port leads to the container (behaviour 349).
func TestHostPort(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	if why := noPortmap(n.bed); why != "" {
		t.Skip(why)
	}
	b := n.pod(t, "hostport", `
spec:
  containers: [{name: main, image: BOX, args: [http, ":8080"], ports: [{containerPort: 8080, hostPort: 18080}]}]
`)
	b.untilRunning("main")
	if body := fetch(deadline(t, patience), t, fmt.Sprintf("http://%s:18080/through-the-host", n.bed.Gateway)); body != "ok\n" {
		t.Errorf("the host port answers %q", body)
	}
	b.untilSays("main", "GET /through-the-host")
}

// noPortmap says why host ports cannot work on this machine, if so.
func noPortmap(bed *testbed.Bed) string {
	if _, err := os.Stat(filepath.Join(bed.CNIBinDir, "portmap")); err != nil {
		return "the CNI plugin portmap is not built: " + err.Error()
	}
	return ""
}
