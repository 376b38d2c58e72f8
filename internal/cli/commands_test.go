package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/golden"
	"github.com/bosun-project/bosun/internal/serve"
)

func TestGetPods(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct {
		name string
		g    getting
		args []string
	}{
		{"get.txt", getting{}, nil},
		{"get-wide.txt", getting{output: "wide"}, nil},
		{"get-one.txt", getting{}, []string{"typo", "other/crash"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			c.g.asking = n.asking()
			if err := c.g.run(t.Context(), &out, c.args); err != nil {
				t.Fatal(err)
			}
			golden.File(t, c.name, out.Bytes())
		})
	}
	t.Run("namespace", func(t *testing.T) {
		var out bytes.Buffer
		g := getting{asking: n.asking()}
		g.namespace = "other"
		if err := g.run(t.Context(), &out, nil); err != nil || strings.Contains(out.String(), "nginx") || !strings.Contains(out.String(), "crash") {
			t.Errorf("%v:\n%s", err, &out)
		}
	})
	t.Run("colour", func(t *testing.T) {
		var out bytes.Buffer
		g := getting{asking: n.asking()}
		if err := columns(&out, g.table(n.overview.Pods, paint{on: true}, true)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"\x1b[32mRunning\x1b[0m           1 (2h ago)", "\x1b[31mCrashLoopBackOff\x1b[0m  5", "\x1b[1mnginx-log-node\x1b[0m  2/2"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%q", want, out.String())
			}
		}
	})
	t.Run("nothing", func(t *testing.T) {
		n := newNode(t)
		n.overview.Pods = nil
		var out bytes.Buffer
		g := getting{asking: n.asking()}
		if err := g.run(t.Context(), &out, nil); err != nil || out.String() != "no pods; 1 manifest cannot be used: see `bosun explain`\n" {
			t.Errorf("%v %q", err, &out)
		}
	})
	for title, g := range map[string]getting{"output": {output: "xml"}, "watch": {output: "json", watch: true}} {
		g.asking = n.asking()
		if err := g.run(t.Context(), new(bytes.Buffer), nil); err == nil {
			t.Errorf("%s: no error", title)
		}
	}
}

func TestGetPodsAsObjects(t *testing.T) {
	n := newNode(t)
	var out bytes.Buffer
	g := getting{asking: n.asking(), output: "json"}
	if err := g.run(t.Context(), &out, nil); err != nil {
		t.Fatal(err)
	}
	var list v1.PodList
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || len(list.Items) != 4 || list.Items[0].Kind != "Pod" {
		t.Errorf("%v: %s", err, &out)
	}
	out.Reset()
	g.output = "yaml"
	if err := g.run(t.Context(), &out, []string{"crash"}); err != nil {
		t.Fatal(err)
	}
	var one v1.Pod
	if err := yaml.UnmarshalStrict(out.Bytes(), &one); err != nil || one.Name != "crash" || one.Kind != "Pod" || one.APIVersion != "v1" {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestGetPodsWatching(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &shared{}
	g := getting{asking: n.asking(), watch: true}
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx, out, []string{"crash", "typo"}) }()
	o := sample()
	n.watchers <- o
	o = sample()
	o.Pods[0].Status = "Terminating" // of another one
	n.watchers <- o
	o = sample()
	o.Pods[2].Status, o.Pods[2].Ready = "Running", 1
	n.watchers <- o
	o = sample()
	o.Pods = slices.Delete(o.Pods, 2, 3)
	n.watchers <- o
	out.wait(t, "Gone")
	cancel()
	close(n.watchers)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var words []string
	for line := range strings.Lines(out.String()) {
		words = append(words, strings.Fields(line)[3])
	}
	if want := []string{"STATUS", "ImagePullBackOff", "CrashLoopBackOff", "Running", "Gone"}; !slices.Equal(words, want) {
		t.Errorf("statuses %q, want %q:\n%s", words, want, out.String())
	}
}

func TestGetEvents(t *testing.T) {
	n := newNode(t)
	n.events.Events = []serve.Event{
		{At: before(time.Minute), Level: "Normal", Reason: "Pulled", Message: "Container image \"nginx\" already present", Count: 1, Kind: "Pod", Namespace: "default", Name: "nginx-log-node", UID: "uid-nginx", Container: "nginx"},
		{At: before(12 * time.Second), Since: before(10 * time.Minute), Level: "Warning", Reason: "BackOff", Message: "Back-off\nrestarting\x1b[2J", Count: 7, Kind: "Pod", Namespace: "other", Name: "crash", UID: "uid-crash"},
	}
	show := func(args ...string) string {
		var out bytes.Buffer
		q := n.asking()
		if err := q.events(t.Context(), &out, args); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	golden.File(t, "events.txt", []byte(show()))
	if got := show("nginx-log"); strings.Count(got, "\n") != 2 || !strings.Contains(got, "Pulled") {
		t.Errorf("events of one pod:\n%s", got)
	}
	if got := show("gone"); got != "no events\n" {
		t.Errorf("events of an unknown pod: %q", got)
	}
}

func TestExplain(t *testing.T) {
	n := newNode(t)
	for name, args := range map[string][]string{"explain.txt": nil, "explain-nginx.txt": {"nginx-log"}, "explain-failed.txt": {"failed"}} {
		var out bytes.Buffer
		q := n.asking()
		if err := q.explain(t.Context(), &out, args); err != nil {
			t.Fatal(err)
		}
		golden.File(t, name, out.Bytes())
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: an escape sequence where there is no terminal", name)
		}
	}
	var out bytes.Buffer
	q := n.asking()
	err := q.explain(t.Context(), &out, []string{"bad"})
	if err == nil || err.Error() != `no pod "bad"; there is default/nginx-log-node, default/typo-node, other/crash, other/failed` || !strings.Contains(out.String(), "manifest /m/bad.yaml cannot be used") {
		t.Errorf("%v:\n%s", err, &out)
	}
}

func TestPick(t *testing.T) {
	pods := sample().Pods
	twin := pods[2]
	twin.Namespace, twin.UID = "default", "uid-twin"
	older := pods[2]
	older.UID, older.Stop = "uid-older", pods[3].Stop
	pods = append(pods, older)
	for said, want := range map[string]string{
		"nginx-log-node": "uid-nginx", "nginx-log": "uid-nginx", "default/nginx-log": "uid-nginx", "crash": "uid-crash", "other/crash": "uid-crash",
	} {
		if p, err := pick(pods, said); err != nil || p.UID != want {
			t.Errorf("%s: %v %v, want %s", said, p, err, want)
		}
	}
	for said, want := range map[string]string{
		"nginx": `no pod "nginx"`, "other/nginx-log": `no pod "other/nginx-log"`, "crash": `"crash" is the name of several pods: other/crash, default/crash; say which`,
	} {
		if _, err := pick(append(slices.Clone(pods), twin), said); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", said, err, want)
		}
	}
	if _, err := pick(nil, "x"); err == nil || err.Error() != `no pod "x": the agent knows of no pods` {
		t.Errorf("%v", err)
	}
}

func TestLogs(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct {
		args        []string
		path, query string
		errs        string
	}{
		{[]string{"nginx-log"}, "/containerLogs/default/nginx-log-node/nginx", "", "this is container nginx; for tail use -c\n"},
		{[]string{"nginx-log", "-c", "tail", "-f", "-p", "--timestamps"}, "/containerLogs/default/nginx-log-node/tail", "follow=true&previous=true&timestamps=true", ""},
		{[]string{"crash", "--tail=0", "--since=1500ms", "--limit-bytes=7"}, "/containerLogs/other/crash/app", "limitBytes=7&sinceSeconds=2&tailLines=0", ""},
		{[]string{"crash", "--since-time=2024-05-01T10:00:00Z"}, "/containerLogs/other/crash/app", "sinceTime=2024-05-01T10%3A00%3A00Z", ""},
	} {
		out, errs, err := n.command(t, append([]string{"logs"}, c.args...)...)
		if err != nil || out != "line\n" || errs != c.errs {
			t.Errorf("%v: %q %q %v", c.args, out, errs, err)
		}
		if n.path != c.path || n.asked.Encode() != c.query {
			t.Errorf("%v asked for %s?%s, want %s?%s", c.args, n.path, n.asked.Encode(), c.path, c.query)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"crash", "-c", "nothing"}, `pod other/crash has no container "nothing"; it has app`},
		{[]string{"crash", "--since=1s", "--since-time=2024-05-01T10:00:00Z"}, "give --since or --since-time, not both"},
		{[]string{"crash", "--since=-1s"}, "--since -1s: it must not be negative"},
		{[]string{"typo", "-c", "prepare"}, "container \"prepare\" in pod \"typo-node\" is waiting to start: \uFFFDPodInitializing"},
	} {
		if _, _, err := n.command(t, append([]string{"logs"}, c.args...)...); err == nil || err.Error() != c.want {
			t.Errorf("%v: %v, want %s", c.args, err, c.want)
		}
	}
}

// command runs a command line as main would.
func (n *node) command(t *testing.T, args ...string) (out, errs string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	root := &cobra.Command{Use: "bosun", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands()...)
	root.SetOut(&o)
	root.SetErr(&e)
	at := 1
	if args[0] == "get" {
		at = 2
	}
	root.SetArgs(slices.Insert(slices.Clone(args), at, "--socket="+n.socket))
	err = root.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

func TestCommandLines(t *testing.T) {
	n := newNode(t)
	for _, args := range [][]string{{"get", "po"}, {"get", "pods", "-o", "wide", "-n", "other"}, {"get", "events"}, {"explain"}, {"explain", "crash"}} {
		if out, _, err := n.command(t, args...); err != nil || out == "" {
			t.Errorf("%v: %q %v", args, out, err)
		}
	}
}

func TestNoAgent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), SocketName)
	want := fmt.Sprintf("no agent answers at %s: start one with `bosun up PATH|URL` or `bosun run`, or say with --socket where it is", socket)
	if _, err := (places{sockets: []string{socket}}).find(t.Context()); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestReadOnlyServerStandsIn: for those who may not open the socket; but not something else on that port.
func TestReadOnlyServerStandsIn(t *testing.T) {
	n := newNode(t)
	web := httptest.NewServer(n.handler())
	defer web.Close()
	p := places{sockets: []string{"/nonexistent"}, web: web.URL}
	a, err := p.find(t.Context())
	if err != nil || a.base != web.URL {
		t.Fatalf("%+v %v", a, err)
	}
	other := httptest.NewServer(nil)
	defer other.Close()
	p.web = other.URL
	if _, err := p.find(t.Context()); err == nil || !strings.Contains(err.Error(), "/nonexistent or "+other.URL) {
		t.Errorf("something else stood in: %v", err)
	}
}

func TestWhereTheAgentIs(t *testing.T) {
	n := newNode(t)
	t.Setenv("BOSUN_SOCKET", n.socket)
	for title, q := range map[string]asking{"environment": {}, "root dir": {rootDir: filepath.Dir(n.socket)}, "socket": {socket: n.socket}} {
		if _, err := q.agent(t.Context(), false); err != nil {
			t.Errorf("%s: %v", title, err)
		}
	}
	q := asking{socket: "/nonexistent"}
	if _, err := q.agent(t.Context(), true); err == nil {
		t.Error("a socket that was named and is not there was passed over")
	}
}

func TestExitCode(t *testing.T) {
	for want, err := range map[int]error{0: nil, 1: context.Canceled, 3: fmt.Errorf("exec: %w", &ExitError{Code: 3})} {
		if got := ExitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	if got, want := clean("a\x1b[2Jb\u009bc\td\r"), "a\uFFFD[2Jb\uFFFDc\td\uFFFD"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestColourNeedsATerminal(t *testing.T) {
	if Colour(new(bytes.Buffer)) {
		t.Error("colours for a buffer")
	}
}
