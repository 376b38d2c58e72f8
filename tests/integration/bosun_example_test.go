package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The example of the old tutorial, from the file to the last trace (issue 2; behaviours 2, 9, 50, 55, 62, 142, 146, 175).
func TestExampleNginxLog(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	text, err := os.ReadFile("../../examples/nginx-log/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := n.manifest(t, "nginx-log", string(text))
	nginx, tail := b.untilRunning("nginx"), b.untilRunning("tail")
	sandbox := b.sandbox()
	all, err := b.containers()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.PodSandboxId != sandbox.Id {
			t.Errorf("container %s is in sandbox %s, want %s", c.Metadata.Name, c.PodSandboxId, sandbox.Id)
		}
	}
	if nginx.Metadata.Attempt != 0 || tail.Metadata.Attempt != 0 {
		t.Errorf("attempts %d and %d, want the first", nginx.Metadata.Attempt, tail.Metadata.Attempt)
	}
	if body := fetch(deadline(t, time.Minute), t, "http://"+sandbox.Network.Ip+"/?from=the-test"); !strings.Contains(body, "Welcome to nginx!") {
		t.Errorf("nginx answers %q", body)
	}
	b.untilSays("tail", `"GET /?from=the-test HTTP/1.1" 200`)
	if left := n.remains(sandbox.Metadata.Uid); left == "" {
		t.Error("a running pod leaves no traces: this test sees nothing")
	}

	b.remove()
	b.awaitGone()
	eventually(t, func() error {
		if left := n.remains(sandbox.Metadata.Uid); left != "" {
			return fmt.Errorf("left after the end: %s", left)
		}
		return nil
	})
}
