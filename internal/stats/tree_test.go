package stats

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/usage"
)

// The names in the recorded trees.
const (
	podUID      = "edbf14cf-0000-4000-8000-00000000000a"
	podCgroup   = "/kubepods/burstable/pod" + podUID
	sandboxPID  = "4001"
	appPID      = "4002"
	recordedNow = 1795244700
)

var (
	sandboxID = strings.Repeat("5a", 32)
	appID     = strings.Repeat("c0", 32)
)

// unpack writes out a recorded tree: sections that begin with "-- path --".
func unpack(t *testing.T, recording string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", recording))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, rest, _ := strings.Cut(string(text), "\n-- ")
	for section := range strings.SplitSeq(rest, "\n-- ") {
		name, content, ok := strings.Cut(section+"\n", " --\n")
		if !ok {
			t.Fatalf("%s: no section begins with %.50q", recording, section)
		}
		if content == "\n" {
			content = ""
		}
		write(t, filepath.Join(dir, name), content)
	}
	for _, link := range [][2]string{{"0", "/dev/null"}, {"1", "pipe:[7]"}, {"2", "pipe:[8]"}, {"3", "socket:[9]"}} {
		fd := filepath.Join(dir, "proc", appPID, "fd")
		if err := os.MkdirAll(fd, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(link[1], filepath.Join(fd, link[0])); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fakeRuntime answers what a runtime would, and counts.
type fakeRuntime struct {
	asked int
	fails bool
	dir   string
}

func (f *fakeRuntime) ListContainerStats(context.Context) ([]*cri.ContainerStats, error) {
	f.asked++
	if f.fails {
		return nil, fault.ErrUnavailable
	}
	number := func(n uint64) *cri.UInt64Value { return &cri.UInt64Value{Value: n} }
	return []*cri.ContainerStats{{
		Attributes: &cri.ContainerAttributes{Id: appID}, Cpu: &cri.CpuUsage{UsageNanoCores: number(77)},
		WritableLayer: &cri.FilesystemUsage{Timestamp: recordedNow * 1e9, UsedBytes: number(2 << 20), InodesUsed: number(11)},
	}}, nil
}

func (f *fakeRuntime) ImageFsInfo(context.Context) (*cri.ImageFsInfoResponse, error) {
	return &cri.ImageFsInfoResponse{ImageFilesystems: []*cri.FilesystemUsage{{
		FsId: &cri.FilesystemIdentifier{Mountpoint: f.dir}, UsedBytes: &cri.UInt64Value{Value: 30 << 20}, InodesUsed: &cri.UInt64Value{Value: 500},
	}}}, nil
}

// clock is set by tests.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// recorded is a reader of a recorded tree with one pod in it.
func recorded(t *testing.T, version string) (*Reader, string, *clock, *fakeRuntime) {
	t.Helper()
	dir := unpack(t, version+".txt")
	where := hierarchies{v1: map[string]string{}}
	if version == "v2" {
		where.unified = filepath.Join(dir, "cgroup")
	} else {
		for _, c := range readers {
			where.v1[c] = filepath.Join(dir, "cgroup", c)
		}
	}
	logs := filepath.Join(dir, "logs", "ns_app_"+podUID)
	write(t, filepath.Join(logs, "app", "0.log"), strings.Repeat("x", 5000))
	runtime := &fakeRuntime{dir: dir}
	c := &clock{time.Unix(recordedNow, 0)}
	r := newReader(Config{
		Pods: func() Pods {
			return Pods{
				All: "/kubepods", Classes: []string{"/kubepods", "/kubepods/burstable", "/kubepods/besteffort"},
				Pods: []Pod{{
					Namespace: "ns", Name: "app", UID: podUID, Cgroup: podCgroup, Own: true, Started: time.Unix(recordedNow-60, 0), Sandbox: sandboxID, LogDir: logs, Claims: map[string]string{"disk": "claim"}, Driven: []string{"disk", "silent"},
					Containers: []Container{{Name: "app", ID: appID, Image: "busybox", Started: time.Unix(recordedNow-59, 0)}},
				}},
			}
		},
		Runtime: runtime, RootDir: filepath.Join(dir, "state"), LogsDir: dir, VolumesEvery: time.Minute, Proc: filepath.Join(dir, "proc"),
	}, where, c.now)
	if err := os.MkdirAll(r.podDir(podUID), 0o755); err != nil {
		t.Fatal(err)
	}
	return r, dir, c, runtime
}

// list writes out all that is known, a line each.
func list(value any) string {
	var b strings.Builder
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch x := v.Interface().(type) {
		case usage.Number:
			if x.Known {
				fmt.Fprintf(&b, "%s %d\n", path, x.Value)
			}
			return
		case time.Time:
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(path, v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		default:
			if !v.IsZero() {
				fmt.Fprintf(&b, "%s %v\n", path, v)
			}
		}
	}
	walk("", reflect.ValueOf(value))
	return b.String()
}
