package podresources_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	pb "k8s.io/kubelet/pkg/apis/podresources/v1"
	"k8s.io/kubelet/pkg/apis/podresources/v1alpha1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/podresources"
	"github.com/bosun-project/bosun/internal/worker"
)

// counts holds "v1 List 2" and the like.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) add(what string) func(version, method string) {
	return func(version, method string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n[what+" "+version+" "+method]++
	}
}

// asking serves and connects until the test ends.
func asking(t *testing.T, cfg podresources.Config) *grpc.ClientConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "res")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Socket = filepath.Join(dir, podresources.Socket)
	if err := os.MkdirAll(filepath.Dir(cfg.Socket), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.Socket, nil, 0o600); err != nil { // of an earlier life
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- podresources.New(cfg).Run(ctx) }()
	conn, err := grpc.NewClient("unix://"+cfg.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func entry(name string, phase v1.PodPhase) *worker.Entry {
	always := v1.ContainerRestartPolicyAlways
	return &worker.Entry{
		Desired: &pod.Desired{Source: pod.FromAPI, Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: v1.PodSpec{
			InitContainers: []v1.Container{{Name: "init"}, {Name: "side", RestartPolicy: &always}}, Containers: []v1.Container{{Name: "app"}},
		}}},
		Status: v1.PodStatus{Phase: phase},
	}
}

func pods() []*worker.Entry {
	one, orphan := entry("one", v1.PodRunning), entry("orphan", v1.PodRunning)
	orphan.Desired.Source = pod.FromRuntime
	one.Memory.Kept = plan.Kept{Assigned: &allocate.Assigned{Containers: map[string]allocate.Part{
		"init": {Devices: map[string][]string{"v.test/d": {"b"}}},
		"app": {
			Devices: map[string][]string{"v.test/d": {"a", "b"}}, CPUs: allocate.CPUsOf(2, 5),
			Memory: []allocate.Block{{Resource: "memory", Nodes: allocate.NodesOf(1), Size: 4096}},
		},
	}}}
	return []*worker.Entry{entry("done", v1.PodSucceeded), one, orphan}
}

func supplies() allocate.Supplies {
	return allocate.Supplies{Known: map[string]allocate.Supply{
		"v.test/d": {Serving: true, Devices: map[string]allocate.Device{"a": {Healthy: true, Nodes: allocate.NodesOf(0, 1)}, "b": {Healthy: true}, "c": {}}},
		"v.test/e": {Devices: map[string]allocate.Device{"x": {Healthy: true}}},
	}}
}

// told is a message as text, without the spaces that protojson varies.
func told(t *testing.T, m interface {
	String() string
}) string {
	t.Helper()
	return strings.Join(strings.Fields(m.String()), " ")
}

func TestAnswers(t *testing.T) {
	c := &counts{n: map[string]int{}}
	conn := asking(t, podresources.Config{
		Pods: pods, Supplies: supplies, Asked: c.add("asked"), Failed: c.add("failed"),
		Allocatable: func() (allocate.CPUs, []allocate.Block) {
			return allocate.CPUsOf(1, 2), []allocate.Block{{Resource: "memory", Nodes: allocate.NodesOf(0), Size: 8192}}
		},
		Dynamic: func(p *v1.Pod, c *v1.Container) []*pb.DynamicResource {
			if c.Name != "side" {
				return nil
			}
			return []*pb.DynamicResource{{ClaimName: "claim-of-" + p.Name}}
		},
	})
	client := pb.NewPodResourcesListerClient(conn)
	list, err := client.List(t.Context(), &pb.ListPodResourcesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &pb.PodResources{Name: "one", Namespace: "ns", Containers: []*pb.ContainerResources{
		{Name: "side", DynamicResources: []*pb.DynamicResource{{ClaimName: "claim-of-one"}}},
		{
			Name: "app", CpuIds: []int64{2, 5},
			Devices: []*pb.ContainerDevices{
				{ResourceName: "v.test/d", DeviceIds: []string{"a"}, Topology: &pb.TopologyInfo{Nodes: []*pb.NUMANode{{ID: 0}, {ID: 1}}}},
				{ResourceName: "v.test/d", DeviceIds: []string{"b"}},
			},
			Memory: []*pb.ContainerMemory{{MemoryType: "memory", Size: 4096, Topology: &pb.TopologyInfo{Nodes: []*pb.NUMANode{{ID: 1}}}}},
		},
	}}
	if got := told(t, list); got != told(t, &pb.ListPodResourcesResponse{PodResources: []*pb.PodResources{want}}) {
		t.Errorf("the list: %s", protojson.Format(list))
	}
	one, err := client.Get(t.Context(), &pb.GetPodResourcesRequest{PodName: "one", PodNamespace: "ns"})
	if err != nil || told(t, one) != told(t, &pb.GetPodResourcesResponse{PodResources: want}) {
		t.Errorf("one pod: %v, %v", one, err)
	}
	if _, err := client.Get(t.Context(), &pb.GetPodResourcesRequest{PodName: "none", PodNamespace: "ns"}); err == nil || !strings.Contains(err.Error(), "pod none in namespace ns not found") {
		t.Errorf("a pod that is not there: %v", err)
	}
	all, err := client.GetAllocatableResources(t.Context(), &pb.AllocatableResourcesRequest{})
	if err != nil || len(all.Devices) != 2 || !slices.Equal(all.CpuIds, []int64{1, 2}) || all.Memory[0].Size != 8192 {
		t.Errorf("what is to be had: %v, %v", all, err)
	}
	old, err := v1alpha1.NewPodResourcesListerClient(conn).List(t.Context(), &v1alpha1.ListPodResourcesRequest{})
	if err != nil || len(old.PodResources) != 1 || len(old.PodResources[0].Containers[1].Devices) != 2 {
		t.Errorf("in the words of v1alpha1: %v, %v", old, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if got, want := fmt.Sprint(c.n), fmt.Sprint(map[string]int{
		"asked v1 List": 1, "asked v1 Get": 2, "failed v1 Get": 1, "asked v1 GetAllocatableResources": 1, "asked v1alpha1 List": 1,
	}); got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

func TestGates(t *testing.T) {
	client := pb.NewPodResourcesListerClient(asking(t, podresources.Config{Pods: pods, Supplies: supplies, Ended: true, NoGet: true}))
	if list, err := client.List(t.Context(), &pb.ListPodResourcesRequest{}); err != nil || len(list.PodResources) != 2 {
		t.Errorf("pods that have ended: %v, %v", list, err)
	}
	if _, err := client.Get(t.Context(), &pb.GetPodResourcesRequest{PodName: "one", PodNamespace: "ns"}); err == nil {
		t.Error("Get answers though its gate is off")
	}
}

func TestTooManyQuestions(t *testing.T) {
	client := pb.NewPodResourcesListerClient(asking(t, podresources.Config{Pods: pods, Supplies: supplies}))
	const many = 1000
	refused := make(chan error, many)
	var group sync.WaitGroup
	for range many {
		group.Go(func() {
			_, err := client.List(t.Context(), &pb.ListPodResourcesRequest{})
			refused <- err
		})
	}
	group.Wait()
	close(refused)
	good := 0
	for err := range refused {
		switch {
		case err == nil:
			good++
		case status.Code(err) != codes.ResourceExhausted:
			t.Errorf("refused with %v", err)
		}
	}
	if good < 10 || good == many {
		t.Errorf("%d of %d were answered; ten at once are, and a hundred each second", good, many)
	}
}
