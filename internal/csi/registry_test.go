package csi_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/testbed/csidriver"
)

const driverName = "dirs.example.com"

func registered(t *testing.T, o csidriver.Options, timeout time.Duration) (*csidriver.Driver, *csi.Registry, *csi.Driver) {
	t.Helper()
	o.Name = driverName
	real := csidriver.Start(t, o)
	r := csi.NewRegistry(timeout)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.Register(t.Context(), driverName, real.Socket, nil); err != nil {
		t.Fatal(err)
	}
	d, err := r.Driver(driverName)
	if err != nil {
		t.Fatal(err)
	}
	return real, r, d
}

func TestRegisterAsksWhoTheDriverIs(t *testing.T) {
	real, r, d := registered(t, csidriver.Options{Expand: true, Topology: map[string]string{"zone": "a"}, MostVolumes: 7}, 0)
	if d.NodeID != real.NodeID || d.MostVolumes != 7 || d.Topology["zone"] != "a" {
		t.Errorf("driver is %+v", d)
	}
	if want := (csi.Capabilities{Stage: true, Expand: true}); d.Can != want {
		t.Errorf("it can %+v, want %+v", d.Can, want)
	}
	if err := r.Deregister(driverName, "/elsewhere"); err != nil {
		t.Error(err)
	}
	_, newer := r.Drivers()
	if err := r.Deregister(driverName, real.Socket); err != nil {
		t.Error(err)
	}
	select {
	case <-newer:
	default:
		t.Error("nobody was told that the driver has gone")
	}
	if _, err := r.Driver(driverName); !errors.Is(err, fault.ErrNotFound) || !strings.Contains(err.Error(), "not found in the list of registered CSI drivers") {
		t.Errorf("error %v", err)
	}
}

func TestRegisterOfASilentDriverFails(t *testing.T) {
	r := csi.NewRegistry(50 * time.Millisecond)
	real := csidriver.Start(t, csidriver.Options{Name: driverName})
	defer real.Hang("NodeGetInfo")()
	if err := r.Register(t.Context(), driverName, real.Socket, nil); !errors.Is(err, fault.ErrTimeout) {
		t.Errorf("error %v", err)
	}
	if err := r.Register(t.Context(), driverName, filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a driver without a socket was registered")
	}
	if err := r.Register(t.Context(), driverName, "relative", nil); err == nil {
		t.Error("a relative socket was taken")
	}
}

func TestValidate(t *testing.T) {
	r := csi.NewRegistry(0)
	for _, c := range []struct {
		name, versions string
		good           bool
	}{
		{"a.b", "1.0.0", true}, {"A.b", "0.3.0 v1.2.0", true}, {"a.b", "0.3.0", false}, {"a.b", "", false}, {"a/b", "1.0.0", false},
		{strings.Repeat("a", 64), "1.0.0", false}, {"..", "1.0.0", false},
	} {
		if err := r.Validate(c.name, strings.Fields(c.versions)); (err == nil) != c.good {
			t.Errorf("%s %s: %v", c.name, c.versions, err)
		}
	}
}

func TestErrorsHaveAClassAndNoSecrets(t *testing.T) {
	real, _, d := registered(t, csidriver.Options{}, 3*time.Second) // registering must fit in, too
	v := csi.Volume{Handle: "h", Secrets: map[string]string{"password": "hunter22"}}
	real.Fail("NodeStageVolume", status.Error(codes.Unavailable, "cannot log in with hunter22"))
	err := d.Stage(t.Context(), v, t.TempDir())
	if !errors.Is(err, fault.ErrUnavailable) || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("error %v", err)
	}
	if want := "rpc error: code = Unavailable desc = cannot log in with ***stripped***"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	release := real.Hang("NodeStageVolume")
	if err := d.Stage(t.Context(), v, t.TempDir()); !errors.Is(err, fault.ErrTimeout) {
		t.Errorf("error %v", err)
	}
	real.Await(t, "NodeStageVolume", 2) // or the driver would mount when it is released
	release()
	real.Fail("NodeUnstageVolume", status.Error(codes.NotFound, "no such volume"))
	if err := d.Unstage(t.Context(), "h", t.TempDir()); err != nil {
		t.Errorf("what is gone is not taken as unstaged: %v", err)
	}
}

func TestCallsSurviveARestartOfTheDriver(t *testing.T) {
	real, _, d := registered(t, csidriver.Options{}, 0)
	real.Stop(t)
	if err := d.Unstage(t.Context(), "h", t.TempDir()); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	real.Start(t)
	deadline := time.After(time.Minute)
	for d.Unstage(t.Context(), "h", t.TempDir()) != nil {
		select {
		case <-deadline:
			t.Fatal("the driver is not reached any more")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestAccessModes(t *testing.T) {
	block := v1.PersistentVolumeBlock
	for _, c := range []struct {
		mode  v1.PersistentVolumeAccessMode
		multi bool
		want  pb.VolumeCapability_AccessMode_Mode
	}{
		{"", false, pb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		{v1.ReadWriteOnce, true, pb.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
		{v1.ReadWriteOncePod, false, pb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		{v1.ReadWriteOncePod, true, pb.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER},
		{v1.ReadOnlyMany, false, pb.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY},
		{v1.ReadWriteMany, false, pb.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
	} {
		real, _, d := registered(t, csidriver.Options{SingleNodeMultiWriter: c.multi}, 0)
		pv := &v1.PersistentVolume{}
		if c.mode != "" {
			pv.Spec.AccessModes = []v1.PersistentVolumeAccessMode{c.mode}
		}
		pv.Spec.VolumeMode = &block
		if err := d.Stage(t.Context(), csi.Volume{Handle: "h", Capability: csi.CapabilityOf(pv)}, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		r, _ := real.Await(t, "NodeStageVolume", 1)[0].Request.(*pb.NodeStageVolumeRequest)
		if got := r.GetVolumeCapability().GetAccessMode().GetMode(); got != c.want || r.VolumeCapability.GetBlock() == nil {
			t.Errorf("%s: %v, want %v", c.mode, got, c.want)
		}
	}
}
