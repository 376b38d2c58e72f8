package device_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	pb "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/device"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/testbed/deviceplugin"
)

const resource = "vendor.test/thing"

// short is a directory whose path is short enough for sockets.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func connected(t *testing.T, o deviceplugin.Options) (*deviceplugin.Plugin, *device.Plugin) {
	t.Helper()
	o.Resource, o.Dir = resource, short(t)
	real := deviceplugin.Start(t, o)
	p, err := device.Connect(real.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return real, p
}

func TestOptions(t *testing.T) {
	_, p := connected(t, deviceplugin.Options{PreStart: true, Prefers: true})
	if preStart, prefers, err := p.Options(t.Context()); !preStart || !prefers || err != nil {
		t.Errorf("options %v %v, %v", preStart, prefers, err)
	}
	real, p := connected(t, deviceplugin.Options{})
	real.Fail("GetDevicePluginOptions", status.Error(codes.Unimplemented, "what?"))
	if preStart, prefers, err := p.Options(t.Context()); preStart || prefers || err != nil {
		t.Errorf("of a plugin that knows no options: %v %v, %v", preStart, prefers, err)
	}
	if _, err := device.Connect("relative"); err == nil {
		t.Error("a relative socket was taken")
	}
}

type told struct {
	devices map[string]allocate.Device
	problem string
}

func TestFollow(t *testing.T) {
	real, p := connected(t, deviceplugin.Options{Devices: []string{"a", "b"}})
	news := make(chan told, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- p.Follow(t.Context(), func(d map[string]allocate.Device, problem string) { news <- told{d, problem} })
	}()
	next := func() told {
		select {
		case n := <-news:
			return n
		case <-time.After(time.Minute):
			t.Fatal("the plugin is not followed")
			return told{}
		}
	}
	if got, want := next(), (told{devices: map[string]allocate.Device{"a": {Healthy: true}, "b": {Healthy: true}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("told %+v, want %+v", got, want)
	}
	real.Tell(deviceplugin.Device("a", false, 0, 2), deviceplugin.Device("c", true, -1, 70))
	want := map[string]allocate.Device{"a": {Nodes: allocate.NodesOf(0, 2)}, "c": {Healthy: true}}
	for got := next(); ; got = next() { // other calls wake the plugin, too
		if reflect.DeepEqual(got.devices, want) && got.problem == "" {
			break
		}
	}
	real.Tell(deviceplugin.Device("a", true), deviceplugin.Device("a", false), deviceplugin.Device("", true))
	for got := next(); ; got = next() {
		if reflect.DeepEqual(got.devices, map[string]allocate.Device{"a": {}}) && got.problem != "" {
			break
		}
	}
	real.Stop()
	if err := <-ended; err == nil || !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("when the plugin ended: %v", err)
	}
}

func TestAllocate(t *testing.T) {
	real, p := connected(t, deviceplugin.Options{Devices: []string{"a", "b"}})
	got, err := p.Allocate(t.Context(), []string{"a", "b"})
	want := allocate.Artifacts{
		Env: map[string]string{"DEVICES": "a,b"}, Annotations: map[string]string{"example.com/devices": "a,b"},
		Mounts: []allocate.DeviceMount{{Host: real.Shared, Container: "/shared", ReadOnly: true}},
		Files: []allocate.DeviceFile{
			{Host: "/dev/null", Container: "/dev/thing-a", Permissions: "rw"}, {Host: "/dev/null", Container: "/dev/thing-b", Permissions: "rw"},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("handed out %+v, %v; want %+v", got, err, want)
	}
	one := func(r *pb.ContainerAllocateResponse) *pb.AllocateResponse {
		return &pb.AllocateResponse{ContainerResponses: []*pb.ContainerAllocateResponse{r}}
	}
	for wrong, answer := range map[string]*pb.AllocateResponse{
		"for 0 containers":         {},
		"absolute paths":           one(&pb.ContainerAllocateResponse{Mounts: []*pb.Mount{{HostPath: "a", ContainerPath: "/b"}}}),
		"device node":              one(&pb.ContainerAllocateResponse{Devices: []*pb.DeviceSpec{{HostPath: "/dev/null", ContainerPath: ""}}}),
		"variable without a name":  one(&pb.ContainerAllocateResponse{Envs: map[string]string{"": "x"}}),
		"CDI names, each but once": one(&pb.ContainerAllocateResponse{CdiDevices: []*pb.CDIDevice{{Name: "v/c=1"}, {}, {Name: "v/c=1"}}}),
	} {
		real.Answer("Allocate", answer)
		got, err := p.Allocate(t.Context(), []string{"a"})
		if wrong == "CDI names, each but once" {
			if err != nil || !reflect.DeepEqual(got.CDI, []string{"v/c=1"}) {
				t.Errorf("%s: %v, %v", wrong, got.CDI, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	real.Fail("Allocate", status.Error(codes.Unknown, "no way"))
	if _, err := p.Allocate(t.Context(), []string{"a"}); err == nil || err.Error() != "rpc error: code = Unknown desc = no way" {
		t.Errorf("40: a failure reads %v", err)
	}
	real.Stop()
	if _, err := p.Allocate(t.Context(), []string{"a"}); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("of a plugin that has gone: %v", err)
	}
}

func TestPreferAndPreStart(t *testing.T) {
	real, p := connected(t, deviceplugin.Options{Devices: []string{"a", "b", "c"}})
	ids, err := p.Prefer(t.Context(), allocate.Question{Resource: resource, Available: []string{"a", "b", "c"}, Must: []string{"a"}, Size: 2})
	if err != nil || !reflect.DeepEqual(ids, []string{"a", "c"}) {
		t.Errorf("239: preferred %v, %v", ids, err)
	}
	real.Answer("GetPreferredAllocation", &pb.PreferredAllocationResponse{})
	if _, err := p.Prefer(t.Context(), allocate.Question{Size: 1}); err == nil {
		t.Error("an answer for no container was taken")
	}
	if err := p.PreStart(t.Context(), []string{"a"}); err != nil {
		t.Error(err)
	}
	release := real.Hang("PreStartContainer")
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.PreStart(ctx, []string{"a"}); !errors.Is(err, fault.ErrTimeout) {
		t.Errorf("of a plugin that hangs: %v", err)
	}
}

func TestDoor(t *testing.T) {
	dir := filepath.Join(short(t), device.Dir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	left, err := net.Listen("unix", filepath.Join(dir, "old.sock"))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = left.Close()
	if err := os.WriteFile(filepath.Join(dir, "kubelet_internal_checkpoint"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	entered := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- device.NewDoor(dir, func(resource, socket string) { entered <- resource + " " + socket }).Run(ctx)
	}()
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, device.Socket), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := pb.NewRegistrationClient(conn)
	for _, c := range []struct {
		version, endpoint, resource string
		good                        bool
	}{
		{"v1beta1", "thing.sock", resource, true},
		{"v1alpha", "thing.sock", resource, false},
		{"v1beta1", "../thing.sock", resource, false},
		{"v1beta1", "", resource, false},
		{"v1beta1", "..", resource, false},
		{"v1beta1", "kubelet.sock", resource, false},
		{"v1beta1", "thing.sock", "thing", false},
		{"v1beta1", "thing.sock", "kubernetes.io/thing", false},
		{"v1beta1", "thing.sock", "requests.vendor.test/thing", false},
		{"v1beta1", "thing.sock", "vendor.test/a/b", false},
		{"v1beta1", "thing.sock", "vendor.test/" + strings.Repeat("x", 64), false},
		{"v1beta1", "thing.sock", "", false},
	} {
		_, err := client.Register(t.Context(), &pb.RegisterRequest{Version: c.version, Endpoint: c.endpoint, ResourceName: c.resource})
		if (err == nil) != c.good {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if got, want := <-entered, resource+" "+filepath.Join(dir, "thing.sock"); got != want || len(entered) > 0 {
		t.Errorf("who entered: %s, and %d more; want %s", got, len(entered), want)
	}
	if _, err := os.Lstat(filepath.Join(dir, "old.sock")); !os.IsNotExist(err) {
		t.Errorf("347: an old socket is still there: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "kubelet_internal_checkpoint")); err != nil {
		t.Errorf("what is no socket is gone: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
