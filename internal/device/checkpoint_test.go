package device

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/types"
	pb "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/bosun-project/bosun/internal/allocate"
)

func answer(t testing.TB, r *pb.ContainerAllocateResponse) string {
	t.Helper()
	text, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

func TestCheckpointOfAKubelet(t *testing.T) {
	dir := t.TempDir()
	if c, err := ReadCheckpoint(dir); c != nil || err != nil {
		t.Errorf("of no kubelet: %v, %v", c, err)
	}
	text := `{"Data":{"PodDeviceEntries":[
		{"PodUID":"u1","ContainerName":"app","ResourceName":"v.test/gpu","DeviceIDs":{"-1":["b"],"0":["a"],"1":["a"]},"AllocResp":"` +
		answer(t, &pb.ContainerAllocateResponse{Envs: map[string]string{"GPU": "a,b"}}) + `"},
		{"PodUID":"u1","ContainerName":"app","ResourceName":"v.test/nic","DeviceIDs":["n"],"AllocResp":"` +
		answer(t, &pb.ContainerAllocateResponse{CdiDevices: []*pb.CDIDevice{{Name: "v.test/nic=n"}}}) + `"},
		{"PodUID":"u2","ContainerName":"app","ResourceName":"v.test/gpu","DeviceIDs":{"0":["c"]},"AllocResp":"AAAA"},
		{"PodUID":"","ContainerName":"app","ResourceName":"v.test/gpu","DeviceIDs":{"0":["c"]}},
		{"PodUID":"u3","ContainerName":"app","ResourceName":"v.test/gpu","DeviceIDs":7}
	],"RegisteredDevices":{"v.test/nic":["n"],"v.test/gpu":["a","b"]}},"Checksum":12345}`
	if err := os.WriteFile(filepath.Join(dir, checkpointFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ReadCheckpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := &allocate.Assigned{Containers: map[string]allocate.Part{"app": {Devices: map[string][]string{"v.test/gpu": {"a", "b"}, "v.test/nic": {"n"}}}}}
	if got := c.Assigned["u1"]; !reflect.DeepEqual(got, want) {
		t.Errorf("assigned %+v, want %+v", got, want)
	}
	if a := c.Handed["u1"]["app"]; a.Env["GPU"] != "a,b" || !reflect.DeepEqual(a.CDI, []string{"v.test/nic=n"}) {
		t.Errorf("handed out %+v", a)
	}
	if c.Assigned["u2"] == nil || c.Handed["u2"] != nil {
		t.Errorf("of an answer that makes no sense the devices are kept: %+v, %+v", c.Assigned["u2"], c.Handed["u2"])
	}
	if len(c.Damaged) != 3 || !reflect.DeepEqual(c.Resources, []string{"v.test/gpu", "v.test/nic"}) || c.At.IsZero() || c.Assigned[types.UID("u3")] != nil {
		t.Errorf("the rest: %+v", c)
	}
	if err := os.WriteFile(filepath.Join(dir, checkpointFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCheckpoint(dir); err == nil || !strings.Contains(err.Error(), checkpointFile) {
		t.Errorf("of what is no JSON: %v", err)
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte(`{"Data":{"PodDeviceEntries":[{"PodUID":"u","ContainerName":"c","ResourceName":"v.test/d","DeviceIDs":{"0":["a"]},"AllocResp":"CgA="}]}}`))
	f.Add([]byte(`{"Data":{"PodDeviceEntries":[{"DeviceIDs":["a"]}],"RegisteredDevices":{"x":null}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseCheckpoint(text)
		if err != nil {
			return
		}
		for uid, a := range c.Assigned {
			if !a.HasDevices() {
				t.Errorf("pod %q has no devices: %+v", uid, a)
			}
			if _, err := json.Marshal(a); err != nil {
				t.Error(err)
			}
		}
	})
}
