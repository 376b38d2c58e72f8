package runtime

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// owner is the pod that labels name.
type owner struct {
	uid             types.UID
	namespace, name string
}

// ownerOf reads the labels of a sandbox or container; false if they are not those of a pod (behaviour 331).
func ownerOf(labels map[string]string) (owner, bool) {
	o := owner{uid: types.UID(labels[names.PodUID]), namespace: labels[names.PodNamespace], name: labels[names.PodName]}
	return o, o.uid != "" && o.name != ""
}

func selector(uid types.UID) map[string]string {
	if uid == "" {
		return nil
	}
	return map[string]string{names.PodUID: string(uid)}
}

// listedSandbox is what a listing tells of a sandbox.
func listedSandbox(s *cri.PodSandbox, seen time.Time) pod.Sandbox {
	return pod.Sandbox{
		ID: s.GetId(), Attempt: s.GetMetadata().GetAttempt(), Ready: s.GetState() == cri.PodSandboxState_SANDBOX_READY,
		Seen: seen, CreatedAt: moment(s.GetCreatedAt()), Handler: s.GetRuntimeHandler(),
	}
}

// fullSandbox is what a status tells of a sandbox.
func fullSandbox(s *cri.PodSandboxStatus, seen time.Time) pod.Sandbox {
	out := pod.Sandbox{
		ID: s.GetId(), Attempt: s.GetMetadata().GetAttempt(), Ready: s.GetState() == cri.PodSandboxState_SANDBOX_READY,
		Seen: seen, CreatedAt: moment(s.GetCreatedAt()), Handler: s.GetRuntimeHandler(),
		HostNetwork: s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == cri.NamespaceMode_NODE,
	}
	if !out.HostNetwork {
		out.IPs = addresses(s.GetNetwork())
	}
	return out
}

// addresses are those of a sandbox, the primary first; what is not an address is left out, as is a repetition.
func addresses(n *cri.PodSandboxNetworkStatus) []string {
	var ips []string
	add := func(ip string) {
		if _, err := netip.ParseAddr(ip); err == nil && !slices.Contains(ips, ip) {
			ips = append(ips, ip)
		}
	}
	add(n.GetIp())
	for _, more := range n.GetAdditionalIps() {
		add(more.GetIp())
	}
	return ips
}

// listedContainer is what a listing tells of a container.
func listedContainer(c *cri.Container, seen time.Time) pod.Container {
	return pod.Container{
		ID: c.GetId(), SandboxID: c.GetPodSandboxId(), Seen: seen,
		Name:    containerName(c.GetLabels(), c.GetMetadata()),
		Attempt: attempt(c.GetAnnotations(), c.GetMetadata()),
		State:   containerState(c.GetState()),
		Hash:    c.GetAnnotations()[names.ContainerHash],
		Image:   c.GetImage().GetImage(), ImageID: either(c.GetImageRef(), c.GetImageId()),
		CreatedAt: moment(c.GetCreatedAt()), Annotations: c.GetAnnotations(),
	}
}

// fullContainer is what a status tells of a container. A status does not name the sandbox.
func fullContainer(c *cri.ContainerStatus, sandboxID string, seen time.Time) pod.Container {
	out := pod.Container{
		ID: c.GetId(), SandboxID: sandboxID, Seen: seen,
		Name:    containerName(c.GetLabels(), c.GetMetadata()),
		Attempt: attempt(c.GetAnnotations(), c.GetMetadata()),
		State:   containerState(c.GetState()),
		Hash:    c.GetAnnotations()[names.ContainerHash],
		Image:   c.GetImage().GetImage(), ImageID: either(c.GetImageRef(), c.GetImageId()),
		CreatedAt: moment(c.GetCreatedAt()), StartedAt: moment(c.GetStartedAt()), FinishedAt: moment(c.GetFinishedAt()),
		ExitCode: c.GetExitCode(), Reason: c.GetReason(), Message: c.GetMessage(), LogPath: c.GetLogPath(),
		Annotations: c.GetAnnotations(), StopSignal: stopSignal(c.GetStopSignal()),
	}
	for _, m := range c.GetMounts() {
		if image := m.GetImage().GetImage(); image != "" {
			out.Mounted = append(out.Mounted, image)
		}
	}
	if u := c.GetUser().GetLinux(); u != nil {
		out.User = &pod.User{UID: u.GetUid(), GID: u.GetGid(), SupplementalGroups: u.GetSupplementalGroups()}
	}
	return out
}

func containerState(s cri.ContainerState) pod.ContainerState {
	switch s {
	case cri.ContainerState_CONTAINER_CREATED:
		return pod.Created
	case cri.ContainerState_CONTAINER_RUNNING:
		return pod.Running
	case cri.ContainerState_CONTAINER_EXITED:
		return pod.Exited
	case cri.ContainerState_CONTAINER_UNKNOWN:
	}
	return pod.Unknown
}

func containerName(labels map[string]string, m *cri.ContainerMetadata) string {
	return either(labels[names.ContainerName], m.GetName())
}

// attempt is the restart count the agent wrote at creation, or, if there is none, the runtime's own count.
func attempt(annotations map[string]string, m *cri.ContainerMetadata) uint32 {
	if n, err := strconv.ParseUint(annotations[names.ContainerRestartCount], 10, 32); err == nil {
		return uint32(n)
	}
	return m.GetAttempt()
}

func stopSignal(s cri.Signal) string {
	if s == cri.Signal_SIGNAL_RUNTIME_DEFAULT {
		return ""
	}
	if _, known := cri.Signal_name[int32(s)]; !known {
		return ""
	}
	return strings.TrimPrefix(s.String(), "SIGNAL_")
}

// moment turns CRI's nanoseconds since 1970 into a time. 0 means "not yet", and so does anything before 1970.
func moment(ns int64) time.Time {
	if ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// eventOf translates an event; false if it is about something that belongs to no pod. now is when it came.
func eventOf(e *cri.ContainerEventResponse, now time.Time) (engine.Event, bool) {
	// The age is taken off now, so that the time can be compared with others of this process although the clock
	// may have been set meanwhile.
	at := now
	if made := e.GetCreatedAt(); made > 0 && made < now.UnixNano() {
		at = now.Add(-time.Duration(now.UnixNano() - made))
	}
	out := engine.Event{Kind: eventKind(e.GetContainerEventType()), ObjectID: e.GetContainerId(), At: at}
	out.Report.Began = at
	s := e.GetPodSandboxStatus()
	who, ours := ownerOf(s.GetLabels())
	if s != nil && !ours {
		return out, false
	}
	if s.GetId() != "" {
		out.Report.Sandboxes = []pod.Sandbox{fullSandbox(s, at)}
		out.Whole = e.GetContainerId() == s.GetId()
	}
	for _, c := range e.GetContainersStatuses() {
		whose, labelled := ownerOf(c.GetLabels())
		if c.GetId() == "" || !labelled || ours && whose.uid != who.uid {
			continue
		}
		who, ours = whose, true
		out.Report.Containers = append(out.Report.Containers, fullContainer(c, s.GetId(), at))
		out.Whole = out.Whole || s.GetId() != "" && c.GetId() == e.GetContainerId()
	}
	out.UID, out.Report.Namespace, out.Report.Name = who.uid, who.namespace, who.name
	return out, true
}

func eventKind(t cri.ContainerEventType) engine.EventKind {
	switch t {
	case cri.ContainerEventType_CONTAINER_CREATED_EVENT:
		return engine.Created
	case cri.ContainerEventType_CONTAINER_STARTED_EVENT:
		return engine.Started
	case cri.ContainerEventType_CONTAINER_STOPPED_EVENT:
		return engine.Stopped
	case cri.ContainerEventType_CONTAINER_DELETED_EVENT:
		return engine.Deleted
	}
	return engine.Other
}

func statusOf(r *cri.StatusResponse) engine.Status {
	var s engine.Status
	for _, c := range r.GetStatus().GetConditions() {
		told := engine.Condition{OK: c.GetStatus(), Reason: c.GetReason(), Message: c.GetMessage()}
		switch c.GetType() {
		case cri.RuntimeReady:
			s.Runtime = told
		case cri.NetworkReady:
			s.Network = told
		}
	}
	for _, h := range r.GetRuntimeHandlers() {
		s.Handlers = append(s.Handlers, engine.Handler{
			Name:                    h.GetName(),
			RecursiveReadOnlyMounts: h.GetFeatures().GetRecursiveReadOnlyMounts(),
			UserNamespaces:          h.GetFeatures().GetUserNamespaces(),
		})
	}
	f := r.GetFeatures()
	s.Features = engine.Features{
		SupplementalGroupsPolicy:  f.GetSupplementalGroupsPolicy(),
		UserNamespacesHostNetwork: f.GetUserNamespacesHostNetwork(),
		MountOptions:              f.GetMountOptions(),
	}
	return s
}
