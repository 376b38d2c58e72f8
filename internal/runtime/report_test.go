package runtime

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var seen = time.Unix(2e9, 0)

func TestFullContainer(t *testing.T) {
	const second = int64(time.Second)
	annotations := map[string]string{names.ContainerHash: "ab12", names.ContainerRestartCount: "7", "x": "y"}
	full := &cri.ContainerStatus{
		Id: "c1", Metadata: &cri.ContainerMetadata{Name: "metadata-name", Attempt: 3}, State: cri.ContainerState_CONTAINER_EXITED,
		CreatedAt: 100 * second, StartedAt: 101 * second, FinishedAt: 102 * second, ExitCode: 137,
		Image: &cri.ImageSpec{Image: "docker.io/library/nginx:1"}, ImageRef: "docker.io/library/nginx@sha256:1", ImageId: "sha256:2",
		Reason: "OOMKilled", Message: "too big", Labels: map[string]string{names.ContainerName: "app"}, Annotations: annotations,
		LogPath: "/var/log/pods/x/app/7.log", StopSignal: cri.Signal_SIGNAL_SIGQUIT,
		Mounts: []*cri.Mount{{ContainerPath: "/etc/hosts", HostPath: "/h"}, {ContainerPath: "/data", Image: &cri.ImageSpec{Image: "sha256:vol"}}},
		User:   &cri.ContainerUser{Linux: &cri.LinuxContainerUser{Uid: 1, Gid: 2, SupplementalGroups: []int64{3, 4}}},
	}
	want := pod.Container{
		ID: "c1", SandboxID: "s1", Name: "app", Attempt: 7, State: pod.Exited, Seen: seen, Hash: "ab12",
		Image: "docker.io/library/nginx:1", ImageID: "docker.io/library/nginx@sha256:1",
		CreatedAt: time.Unix(100, 0), StartedAt: time.Unix(101, 0), FinishedAt: time.Unix(102, 0),
		ExitCode: 137, Reason: "OOMKilled", Message: "too big", LogPath: "/var/log/pods/x/app/7.log", Annotations: annotations,
		User: &pod.User{UID: 1, GID: 2, SupplementalGroups: []int64{3, 4}}, StopSignal: "SIGQUIT",
		Mounted: []string{"sha256:vol"},
	}
	tests := []struct {
		name string
		edit func(*cri.ContainerStatus, *pod.Container)
	}{
		{"full", func(*cri.ContainerStatus, *pod.Container) {}},
		{"attempt of metadata without an annotation", func(s *cri.ContainerStatus, w *pod.Container) {
			s.Annotations, w.Annotations, w.Hash, w.Attempt = nil, nil, "", 3
		}},
		{"attempt of metadata if the annotation is no count", func(s *cri.ContainerStatus, w *pod.Container) {
			s.Annotations = map[string]string{names.ContainerRestartCount: "-1"}
			w.Annotations, w.Hash, w.Attempt = s.Annotations, "", 3
		}},
		{"attempt too large for a count", func(s *cri.ContainerStatus, w *pod.Container) {
			s.Annotations = map[string]string{names.ContainerRestartCount: "99999999999"}
			w.Annotations, w.Hash, w.Attempt = s.Annotations, "", 3
		}},
		{"name of metadata without a label", func(s *cri.ContainerStatus, w *pod.Container) { s.Labels, w.Name = nil, "metadata-name" }},
		{"running", func(s *cri.ContainerStatus, w *pod.Container) {
			s.State, s.FinishedAt, s.ExitCode, s.Reason = cri.ContainerState_CONTAINER_RUNNING, 0, 0, ""
			w.State, w.FinishedAt, w.ExitCode, w.Reason = pod.Running, time.Time{}, 0, ""
		}},
		{"created", func(s *cri.ContainerStatus, w *pod.Container) {
			s.State, w.State = cri.ContainerState_CONTAINER_CREATED, pod.Created
		}},
		{"unknown", func(s *cri.ContainerStatus, w *pod.Container) {
			s.State, w.State = cri.ContainerState_CONTAINER_UNKNOWN, pod.Unknown
		}},
		{"state of a later CRI", func(s *cri.ContainerStatus, w *pod.Container) { s.State, w.State = 77, pod.Unknown }},
		{"times that Go's zero time becomes in CRI", func(s *cri.ContainerStatus, w *pod.Container) {
			s.StartedAt, s.FinishedAt = time.Time{}.UnixNano(), -1
			w.StartedAt, w.FinishedAt = time.Time{}, time.Time{}
		}},
		{"image ID without a reference", func(s *cri.ContainerStatus, w *pod.Container) { s.ImageRef, w.ImageID = "", "sha256:2" }},
		{"no image", func(s *cri.ContainerStatus, w *pod.Container) { s.Image, w.Image = nil, "" }},
		{"no user", func(s *cri.ContainerStatus, w *pod.Container) { s.User, w.User = &cri.ContainerUser{}, nil }},
		{"no stop signal", func(s *cri.ContainerStatus, w *pod.Container) { s.StopSignal, w.StopSignal = 0, "" }},
		{"stop signal of a later CRI", func(s *cri.ContainerStatus, w *pod.Container) { s.StopSignal, w.StopSignal = 999, "" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, want := proto.Clone(full).(*cri.ContainerStatus), want
			test.edit(status, &want)
			if got := fullContainer(status, "s1", seen); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestFullSandbox(t *testing.T) {
	network := func(ip string, more ...string) *cri.PodSandboxNetworkStatus {
		n := &cri.PodSandboxNetworkStatus{Ip: ip}
		for _, m := range more {
			n.AdditionalIps = append(n.AdditionalIps, &cri.PodIP{Ip: m})
		}
		return n
	}
	inNode := &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{Options: &cri.NamespaceOption{Network: cri.NamespaceMode_NODE}}}
	tests := []struct {
		name   string
		status *cri.PodSandboxStatus
		want   pod.Sandbox
	}{
		{"nothing at all", nil, pod.Sandbox{Seen: seen, Ready: true}},
		{
			"both families",
			&cri.PodSandboxStatus{
				Id: "s", Metadata: &cri.PodSandboxMetadata{Attempt: 2}, CreatedAt: int64(time.Second), RuntimeHandler: "kata",
				Network: network("10.0.0.1", "fd00::1", "10.0.0.1", "", "nonsense"),
			},
			pod.Sandbox{ID: "s", Attempt: 2, Ready: true, Seen: seen, CreatedAt: time.Unix(1, 0), IPs: []string{"10.0.0.1", "fd00::1"}, Handler: "kata"},
		},
		{
			"node network", &cri.PodSandboxStatus{Id: "s", Linux: inNode, Network: network("192.168.0.1"), State: cri.PodSandboxState_SANDBOX_NOTREADY},
			pod.Sandbox{ID: "s", Seen: seen, HostNetwork: true},
		},
		{"state of a later CRI", &cri.PodSandboxStatus{Id: "s", State: 9}, pod.Sandbox{ID: "s", Seen: seen}},
	}
	for _, test := range tests {
		if got := fullSandbox(test.status, seen); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestOwnerOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		labels map[string]string
		want   owner
		ours   bool
	}{
		{"331 ours", labelsOf("a", "pod-a"), owner{uid: "a", namespace: labelsOf("a", "pod-a")[names.PodNamespace], name: "pod-a"}, true},
		{"331 made by hand", nil, owner{}, false},
		{"331 without a UID", map[string]string{names.PodName: "x", names.PodNamespace: "y"}, owner{namespace: "y", name: "x"}, false},
		{"331 without a name", map[string]string{names.PodUID: "a"}, owner{uid: "a"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ours := ownerOf(c.labels); got != c.want || ours != c.ours {
				t.Errorf("taken for %+v, %v", got, ours)
			}
		})
	}
}

func TestEventOf(t *testing.T) {
	now := time.Now()
	box := &cri.PodSandboxStatus{Id: "s", Labels: labelsOf("a", "pod-a")}
	ours := &cri.ContainerStatus{Id: "c", Labels: labelsOf("a", "pod-a")}
	others := &cri.ContainerStatus{Id: "d", Labels: labelsOf("b", "pod-b")}
	tests := []struct {
		name       string
		event      *cri.ContainerEventResponse
		uid        string
		kept       bool
		whole      bool
		containers int
	}{
		{"of a container", &cri.ContainerEventResponse{ContainerId: "c", PodSandboxStatus: box, ContainersStatuses: []*cri.ContainerStatus{ours}}, "a", true, true, 1},
		{"of a sandbox", &cri.ContainerEventResponse{ContainerId: "s", PodSandboxStatus: box}, "a", true, true, 0},
		{"of a container that it does not show", &cri.ContainerEventResponse{ContainerId: "e", PodSandboxStatus: box, ContainersStatuses: []*cri.ContainerStatus{ours}}, "a", true, false, 1},
		{"without the sandbox", &cri.ContainerEventResponse{ContainerId: "c", ContainersStatuses: []*cri.ContainerStatus{ours}}, "a", true, false, 1},
		{"with another pod's container", &cri.ContainerEventResponse{ContainerId: "c", PodSandboxStatus: box, ContainersStatuses: []*cri.ContainerStatus{others, ours, nil}}, "a", true, true, 1},
		{"of something removed", &cri.ContainerEventResponse{ContainerId: "s"}, "", true, false, 0},
		{"of what no pod owns", &cri.ContainerEventResponse{ContainerId: "s", PodSandboxStatus: &cri.PodSandboxStatus{Id: "s"}}, "", false, false, 0},
		{"nothing at all", nil, "", true, false, 0},
	}
	for _, test := range tests {
		e, kept := eventOf(test.event, now)
		if kept != test.kept || string(e.UID) != test.uid || e.Whole != test.whole || len(e.Report.Containers) != test.containers || e.Report.Complete || e.Report.Own {
			t.Errorf("%s: kept %v, %+v", test.name, kept, e)
		}
		for _, c := range e.Report.Containers {
			if c.Seen != e.At || c.SandboxID != test.event.GetPodSandboxStatus().GetId() {
				t.Errorf("%s: container %+v", test.name, c)
			}
		}
	}
}

func TestTimeOfEvents(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		made int64
		want time.Time
	}{
		{now.Add(-time.Minute).UnixNano(), now.Add(-time.Minute)},
		{now.Add(time.Hour).UnixNano(), now}, // the clock was set back
		{0, now},
		{math.MinInt64, now},
		{math.MaxInt64, now},
	} {
		e, _ := eventOf(&cri.ContainerEventResponse{CreatedAt: test.made}, now)
		if !e.At.Equal(test.want) || !e.Report.Began.Equal(test.want) {
			t.Errorf("made at %d: %v, want %v", test.made, e.At, test.want)
		}
	}
}

func TestEventKinds(t *testing.T) {
	for kind, want := range map[cri.ContainerEventType]engine.EventKind{
		0: engine.Created, 1: engine.Started, 2: engine.Stopped, 3: engine.Deleted, 4: engine.Other, -1: engine.Other,
	} {
		if got := eventKind(kind); got != want {
			t.Errorf("%v became %v, want %v", kind, got, want)
		}
	}
}

func TestStatusOf(t *testing.T) {
	s := statusOf(&cri.StatusResponse{
		Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
			nil, {Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Reason: "R", Message: "m"}, {Type: "Else", Status: true},
		}},
		RuntimeHandlers: []*cri.RuntimeHandler{{Name: ""}, nil, {Name: "runc", Features: &cri.RuntimeHandlerFeatures{UserNamespaces: true}}},
		Features:        &cri.RuntimeFeatures{SupplementalGroupsPolicy: true},
	})
	if !s.Runtime.OK || s.Network != (engine.Condition{Reason: "R", Message: "m"}) || !s.Features.SupplementalGroupsPolicy {
		t.Errorf("status is %+v", s)
	}
	if h, ok := s.Handler("runc"); !ok || !h.UserNamespaces || h.RecursiveReadOnlyMounts {
		t.Errorf("handler runc is %+v, %v", h, ok)
	}
	if _, ok := s.Handler("kata"); ok {
		t.Error("a handler was made up")
	}
	if got := statusOf(nil); got.Runtime.OK || got.Network.OK {
		t.Errorf("no answer became %+v", got)
	}
}

func TestCgroupDriverOf(t *testing.T) {
	answer := func(d cri.CgroupDriver) *cri.RuntimeConfigResponse {
		return &cri.RuntimeConfigResponse{Linux: &cri.LinuxRuntimeConfiguration{CgroupDriver: d}}
	}
	for i, test := range []struct {
		answer *cri.RuntimeConfigResponse
		want   CgroupDriver
	}{
		{nil, ""}, {&cri.RuntimeConfigResponse{}, ""}, {answer(cri.CgroupDriver_SYSTEMD), Systemd},
		{answer(cri.CgroupDriver_CGROUPFS), Cgroupfs}, {answer(9), ""},
	} {
		if got := cgroupDriverOf(test.answer); got != test.want {
			t.Errorf("%d: %q, want %q", i, got, test.want)
		}
	}
}

func TestBriefs(t *testing.T) {
	boxes := []*cri.PodSandbox{
		boxOf("a", "s1", 0, cri.PodSandboxState_SANDBOX_READY), boxOf("b", "s2", 0, cri.PodSandboxState_SANDBOX_READY),
		{Id: "crictl-made"}, nil, {Labels: labelsOf("z", "no-id")},
	}
	containers := []*cri.Container{
		containerOf("a", "s1", "c1", cri.ContainerState_CONTAINER_RUNNING), containerOf("a", "s1", "c2", cri.ContainerState_CONTAINER_EXITED), nil,
	}
	all := briefs(boxes, containers)
	if len(all) != 2 || all["a"].Name != "pod-a" || all["a"].Namespace != "default" {
		t.Fatalf("briefs are %+v", all)
	}
	again := briefs([]*cri.PodSandbox{boxes[1], boxes[0]}, []*cri.Container{containers[1], containers[0]})
	if !reflect.DeepEqual(all, again) {
		t.Error("the order of the lists changed the fingerprints")
	}
	containers[0].State, containers[1].State = containers[1].State, containers[0].State
	if swapped := briefs(boxes, containers); swapped["a"] == all["a"] || swapped["b"] != all["b"] {
		t.Error("the fingerprints do not show that two containers changed places")
	}
	if fewer := briefs(boxes, containers[:1]); fewer["a"] == all["a"] {
		t.Error("the fingerprint does not show that a container is gone")
	}
}

// FuzzAnswers feeds arbitrary answers of a runtime through every translation.
func FuzzAnswers(f *testing.F) {
	seed := func(m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(&cri.ContainerEventResponse{ContainerId: "c", CreatedAt: -1, PodSandboxStatus: &cri.PodSandboxStatus{
		Id: "s", Labels: labelsOf("a", "b"), CreatedAt: math.MinInt64, Metadata: &cri.PodSandboxMetadata{Attempt: math.MaxUint32},
		Network: &cri.PodSandboxNetworkStatus{AdditionalIps: []*cri.PodIP{{}}},
	}, ContainersStatuses: []*cri.ContainerStatus{{}, {Id: "x", State: -5, StopSignal: -7, ExitCode: math.MinInt32}}})
	seed(&cri.ListPodSandboxResponse{Items: []*cri.PodSandbox{boxOf("a", "s", 1, -3), {}}})
	seed(&cri.ListContainersResponse{Containers: []*cri.Container{containerOf("a", "", "c", -2), {}}})
	seed(&cri.StatusResponse{RuntimeHandlers: []*cri.RuntimeHandler{{}}, Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{{}}}})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var event cri.ContainerEventResponse
		if proto.Unmarshal(raw, &event) == nil {
			if e, _ := eventOf(&event, seen); e.At.After(seen) || e.Report.Complete || e.Report.Own {
				t.Errorf("event became %+v", e)
			} else {
				_ = pod.Observed{}.Merge(e.Report)
			}
		}
		var boxes cri.ListPodSandboxResponse
		var containers cri.ListContainersResponse
		if proto.Unmarshal(raw, &boxes) == nil {
			for _, b := range boxes.Items {
				_ = listedSandbox(b, seen)
			}
			_ = newestSandbox(boxes.Items)
		}
		if proto.Unmarshal(raw, &containers) == nil {
			for _, c := range containers.Containers {
				if got := listedContainer(c, seen); got.CreatedAt.Before(time.Unix(0, 0)) && !got.CreatedAt.IsZero() {
					t.Errorf("container was created %v", got.CreatedAt)
				}
			}
		}
		for uid, b := range briefs(boxes.Items, containers.Containers) {
			if uid == "" || b.Name == "" {
				t.Errorf("a pod without identity was listed: %q %+v", uid, b)
			}
		}
		var status cri.StatusResponse
		if proto.Unmarshal(raw, &status) == nil {
			_ = statusOf(&status)
		}
	})
}
