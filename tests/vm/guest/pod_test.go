package guest

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/testbed"
)

const cgroups = "/sys/fs/cgroup"

// A box is a pod under test: one manifest.
type box struct {
	t    *testing.T
	name string // as in the manifest
}

// newPod writes a manifest, given from "spec:" on, in which BOX is the image of the tests.
func newPod(t *testing.T, name, spec string) *box {
	t.Helper()
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\n" +
		testImage(spec)
	if err := os.WriteFile(filepath.Join(manifests, name+".yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return &box{t, name}
}

// testImage puts the image of the tests where a specification says BOX. It is there, and nowhere else.
func testImage(spec string) string {
	const there = "imagePullPolicy: IfNotPresent"
	return strings.NewReplacer("image: BOX\n", "image: "+testbed.Testbox+"\n    "+there+"\n", "image: BOX", there+", image: "+testbed.Testbox).Replace(spec)
}

// remove takes the manifest away.
func (b *box) remove() {
	b.t.Helper()
	if err := os.Remove(filepath.Join(manifests, b.name+".yaml")); err != nil {
		b.t.Fatal(err)
	}
}

// containers lists the runtime's containers of the pod, newest first.
func (b *box) containers() ([]*runtimeapi.ContainerStatus, error) {
	list, err := cri.ListContainers(b.t.Context(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		LabelSelector: map[string]string{names.PodName: b.name + "-" + nodeName},
	}})
	if err != nil {
		return nil, err
	}
	var all []*runtimeapi.ContainerStatus
	for _, c := range list.Containers {
		resp, err := cri.ContainerStatus(b.t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
		if err != nil {
			return nil, err
		}
		all = append(all, resp.Status)
	}
	slices.SortFunc(all, func(x, y *runtimeapi.ContainerStatus) int { return cmp.Compare(y.CreatedAt, x.CreatedAt) })
	return all, nil
}

// until waits until some instance of a container is as wanted.
func (b *box) until(container, what string, wanted func(*runtimeapi.ContainerStatus) bool) *runtimeapi.ContainerStatus {
	b.t.Helper()
	var found *runtimeapi.ContainerStatus
	eventually(b.t, func() error {
		all, err := b.containers()
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.Metadata.Name == container && wanted(c) {
				found = c
				return nil
			}
		}
		return fmt.Errorf("container %s of pod %s is not %s: %v", container, b.name, what, all)
	})
	return found
}

func (b *box) untilRunning(container string) *runtimeapi.ContainerStatus {
	b.t.Helper()
	return b.until(container, "running", running)
}

func running(c *runtimeapi.ContainerStatus) bool {
	return c.State == runtimeapi.ContainerState_CONTAINER_RUNNING
}

// awaitGone waits until the runtime has no container of the pod.
func (b *box) awaitGone() {
	b.t.Helper()
	eventually(b.t, func() error {
		left, err := b.containers()
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("pod %s still has %v", b.name, left)
		}
		return err
	})
}

// uid waits for the pod's sandbox.
func (b *box) uid() string {
	b.t.Helper()
	var uid string
	eventually(b.t, func() error {
		list, err := cri.ListPodSandbox(b.t.Context(), &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{
			LabelSelector: map[string]string{names.PodName: b.name + "-" + nodeName},
		}})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return fmt.Errorf("pod %s has %d sandboxes, want one", b.name, len(list.Items))
		}
		uid = list.Items[0].Metadata.Uid
		return nil
	})
	return uid
}

// output waits until the first attempt of a container has said a word, and returns all it said.
func (b *box) output(container, word string) string {
	b.t.Helper()
	return said(b.t, filepath.Join("/var/log/pods", "default_"+b.name+"-"+nodeName+"_"+b.uid(), container, "0.log"), word)
}

// said waits until there is a word in a container's log, and returns all that is there.
func said(t *testing.T, log, word string) string {
	t.Helper()
	var text strings.Builder
	eventually(t, func() error {
		text.Reset()
		data, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if fields := strings.SplitN(line, " ", 4); len(fields) == 4 { // time, stream, tag, text
				text.WriteString(fields[3])
			}
		}
		if !strings.Contains(text.String(), word) {
			return fmt.Errorf("%q is not in %s but:\n%s", word, log, text.String())
		}
		return nil
	})
	return text.String()
}

// checkFiles compares files of a cgroup.
func checkFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	for file, value := range want {
		if got := read(t, dir, file); got != value {
			t.Errorf("%s is %q, want %q", filepath.Join(dir, file), got, value)
		}
	}
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(data))
}
