package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bosun-project/bosun/internal/testbed"
)

// command is kubectl at the API of the node itself, not yet started.
func (n *node) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "../../.cache/bin/kubectl", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(n.root, "bosun.kubeconfig"), "KUBECACHEDIR="+filepath.Join(n.home, "kubectl"), "HOME="+n.home)
	return cmd
}

// kubectl runs it, and returns what it printed on both outputs.
func (n *node) kubectl(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	cmd := n.command(deadline(t, patience), args...)
	cmd.Stdin = strings.NewReader(expand.Replace(input))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is kubectl that has to go well, and to print all of these.
func (n *node) must(t *testing.T, input string, words []string, args ...string) string {
	t.Helper()
	out, err := n.kubectl(t, input, args...)
	if err != nil || !hasAll(out, words) {
		t.Fatalf("kubectl %s: %v, want %q:\n%s", strings.Join(args, " "), err, words, out)
	}
	return out
}

// untilAPIKnown waits until the node has its kubeconfig.
func (n *node) untilAPIKnown(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		out, err := n.kubectl(t, "", "get", "nodes")
		if err != nil || !strings.Contains(out, " Ready ") {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
}

const givenShop = `
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: till}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: page, namespace: till}, data: {index.html: "here I am"}}
- {apiVersion: v1, kind: Secret, metadata: {name: word, namespace: till}, data: {word: c2VzYW1l}}
- apiVersion: v1
  kind: Pod
  metadata: {name: shop, namespace: till, labels: {app: shop}}
  spec:
    terminationGracePeriodSeconds: 1
    volumes: [{name: page, configMap: {name: page}}]
    containers:
    - {name: main, image: SHELL, command: [sh, -c, 'trap "exit 0" TERM; echo the word is $WORD; httpd -p 8080 -h /page; while :; do echo tick; sleep 0.2; done'],
       env: [{name: WORD, valueFrom: {secretKeyRef: {name: word, key: word}}}], volumeMounts: [{name: page, mountPath: /page}],
       readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}}
`

// Plain kubectl at a node without an API server: what people do with pods day by day (pains, rows 5 and 6).
func TestKubectlOnALoneNode(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	n.untilAPIKnown(t)
	in := func(args ...string) []string { return append([]string{"-n", "till"}, args...) }
	n.must(t, givenShop, []string{"namespace/till created", "configmap/page created", "secret/word created", "pod/shop created"}, "apply", "-f", "-")
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), patience) // the test's own has ended
		defer done()
		if out, err := n.command(ctx, "delete", "namespace", "till", "--ignore-not-found").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	n.must(t, "", []string{"condition met"}, in("wait", "--for=condition=Ready", "pod/shop", "--timeout=60s")...)
	n.must(t, givenShop, []string{"namespace/till unchanged", "configmap/page unchanged", "secret/word unchanged", "pod/shop unchanged"}, "apply", "-f", "-")
	n.must(t, "", []string{"shop   1/1     Running   0", nodeName}, in("get", "pods", "-o", "wide")...)
	n.must(t, "", []string{"phase: Running", "nodeName: " + nodeName, "hostIP: " + nodeIP}, in("get", "pod", "shop", "-o", "yaml")...)
	n.must(t, "", []string{"the word is sesame"}, in("logs", "shop")...)
	n.must(t, "", []string{"Readiness:", "/page from page", "Started", "Container started"}, in("describe", "pod", "shop")...)
	n.must(t, "", []string{"Container started"}, in("events", "--for", "pod/shop")...)
	n.must(t, "", []string{"containerd://", "till  "}, "describe", "node", nodeName)
	n.must(t, "", []string{"Opaque"}, in("get", "secrets,configmaps")...)
	n.kubectlStreams(t, in)

	changed := strings.NewReplacer("app: shop", "app: other", "here I am", "here I was").Replace(givenShop)
	n.must(t, changed, []string{"namespace/till unchanged", "configmap/page configured", "pod/shop configured"}, "apply", "-f", "-")
	n.must(t, "", []string{"shop"}, in("get", "pods", "-l", "app=other", "--field-selector=status.phase=Running")...)
	eventually(t, func() error {
		out, err := n.kubectl(t, "", in("exec", "shop", "--", "cat", "/page/index.html")...)
		if err != nil || out != "here I was" {
			return fmt.Errorf("the file holds %q: %v", out, err)
		}
		return nil
	})
	if out, err := n.kubectl(t, strings.Replace(givenShop, "periodSeconds: 1", "periodSeconds: 2", 1), "apply", "-f", "-"); err == nil || !strings.Contains(out, "pod updates may not change fields") {
		t.Errorf("another probe: %v: %s", err, out)
	}
	n.must(t, "", []string{`pod "shop" deleted`}, in("delete", "pod", "shop")...)
	if out, err := n.kubectl(t, "", in("get", "pod", "shop")...); err == nil || !strings.Contains(out, "NotFound") {
		t.Errorf("after its end: %v: %s", err, out)
	}
}

// kubectlStreams are logs -f, exec, cp, port-forward and run with the pod shop.
func (n *node) kubectlStreams(t *testing.T, in func(...string) []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(deadline(t, patience))
	defer cancel()
	follow := n.command(ctx, in("logs", "-f", "shop", "--tail=1")...)
	out, err := follow.StdoutPipe()
	if err = errors.Join(err, follow.Start()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 3 {
		if !lines.Scan() || lines.Text() != "tick" {
			t.Errorf("logs -f: %q: %v", lines.Text(), lines.Err())
		}
	}
	cancel()
	_ = follow.Wait() // it was told to end

	cmd := n.command(deadline(t, patience), in("exec", "-i", "shop", "--", "sh", "-c", "cat; exit 7")...)
	cmd.Stdin = strings.NewReader("through")
	said, _ := cmd.Output() // its code tells
	same(t, "exit code of exec", cmd.ProcessState.ExitCode(), 7)
	same(t, "what exec says", string(said), "through")
	term := atTerminal(t, 33, 101, n.command(deadline(t, patience), in("exec", "-it", "shop", "--", "sh")...))
	term.types("stty size\n")
	term.untilShown("33 101")
	term.types("exit 3\n")
	same(t, "exit code at a terminal", term.untilOver(), 3)

	dir := t.TempDir()
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<12)
	if err := os.WriteFile(filepath.Join(dir, "in"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	n.must(t, "", nil, in("cp", filepath.Join(dir, "in"), "shop:/tmp/there")...)
	n.must(t, "", nil, in("cp", "shop:/tmp/there", filepath.Join(dir, "out"))...)
	if back, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || !bytes.Equal(back, data) {
		t.Errorf("cp: %d bytes came back of %d: %v", len(back), len(data), err)
	}
	n.forwards(t, in)

	term = atTerminal(t, 24, 80, n.command(deadline(t, patience), in("run", "visitor", "-it", "--rm", "--restart=Never", "--image-pull-policy=IfNotPresent",
		"--image="+testbed.Busybox, "--", "sh")...))
	n.must(t, "", nil, in("wait", "--for=create", "pod/visitor", "--timeout=60s")...)
	n.must(t, "", nil, in("wait", "--for=condition=Ready", "pod/visitor", "--timeout=60s")...)
	eventually(t, func() error {
		term.types("echo $((6 * 7)) answers\n")
		return containsAll(term.shown(), "42 answers")
	})
	term.types("exit 0\n")
	same(t, "exit code of run", term.untilOver(), 0)
}

// forwards asks the web server of the pod shop through port-forward.
func (n *node) forwards(t *testing.T, in func(...string) []string) {
	t.Helper()
	cmd := n.command(deadline(t, patience), in("port-forward", "shop", ":8080", "--address=127.0.0.1")...)
	out, err := cmd.StdoutPipe()
	if err = errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // as it was told to
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	found := forwarding.FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("port-forward says %q: %v", line, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get("http://127.0.0.1:" + found[1] + "/index.html")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "here I am" {
		t.Errorf("through port-forward: %q, %v", text, err)
	}
}

// A pod of a file waits for its ConfigMap and says so, starts when a file brings it, and sees the file change; kubectl says where
// both are to be changed (pains, row 5).
func TestConfigMapBesideAPod(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	n.untilAPIKnown(t)
	b := n.pod(t, "beside", `spec: {terminationGracePeriodSeconds: 1, volumes: [{name: v, projected: {sources: [{configMap: {name: beside}}, {secret: {name: beside, optional: true}}]}}],
  containers: [{name: main, image: SHELL, command: [sh, -c, 'trap "exit 0" TERM; while :; do cat /v/colour; echo; sleep 0.1; done'], volumeMounts: [{name: v, mountPath: /v}]}]}`)
	eventually(t, func() error {
		out, err := n.bosun(t, "explain", b.full())
		if err != nil || !hasAll(out, []string{`configmap "beside" not found: put it in a manifest beside the pod's`}) {
			return fmt.Errorf("bosun explain: %v: %s", err, out)
		}
		return nil
	})
	path := filepath.Join(n.manifests, "beside-settings.yaml")
	write := func(colour string) {
		text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside}\ndata: {colour: " + colour + "}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	write("blue")
	b.untilRunning("main")
	b.untilSays("main", "blue")
	write("green")
	b.untilSays("main", "green")
	out, err := n.kubectl(t, "", "delete", "pod", b.full())
	if err == nil || !strings.Contains(out, "it comes from "+b.file) {
		t.Errorf("delete of a pod of a file: %v: %s", err, out)
	}
	out, err = n.kubectl(t, "", "label", "configmap", "beside", "a=b")
	if err == nil || !strings.Contains(out, "it comes from "+path) {
		t.Errorf("change of a ConfigMap of a file: %v: %s", err, out)
	}
}

// Whatever was given is there again after a crash in the middle of giving, and pods go on (promise 3).
func TestCrashWhileThingsAreGiven(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	n.untilAPIKnown(t)
	n.must(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: stays}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}\n", nil, "apply", "-f", "-")
	n.must(t, "", nil, "wait", "--for=condition=Ready", "pod/stays", "--timeout=60s")
	id := n.must(t, "", nil, "get", "pod", "stays", "-o", "jsonpath={.status.containerStatuses[0].containerID} {.metadata.uid}")
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(n.root, "bosun.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	maps := api.CoreV1().ConfigMaps("default")
	kept := map[string]string{} // what the API has said it has
	for round := range 5 {
		ctx, stop := context.WithCancel(t.Context())
		var writer sync.WaitGroup
		enough := make(chan struct{}, 1)
		writer.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				m := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m-%d-%d", round, i)}, Data: map[string]string{"k": strings.Repeat(fmt.Sprint(i), 1000)}}
				if _, err := maps.Create(ctx, m, metav1.CreateOptions{}); err == nil {
					kept[m.Name] = m.Data["k"]
					if len(enough) == 0 && i > 10 {
						enough <- struct{}{}
					}
				}
			}
		})
		select {
		case <-enough:
		case <-time.After(patience):
			t.Error("nothing is taken in")
		}
		n.kill(t)
		stop()
		writer.Wait()
		n.start(t)
		n.untilAPIKnown(t)
	}
	for name, text := range kept {
		m, err := maps.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || m.Data["k"] != text {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again := n.must(t, "", nil, "get", "pod", "stays", "-o", "jsonpath={.status.containerStatuses[0].containerID} {.metadata.uid}"); again != id {
		t.Errorf("the pod is %s, and was %s", again, id)
	}
	n.must(t, "", []string{"deleted"}, "delete", "pod", "stays")
	if _, err := api.CoreV1().Pods("default").Get(t.Context(), "stays", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the deleted pod: %v", err)
	}
}
