package translate

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/reason"
)

// namespaces tells which namespaces of the kernel the pod shares with the node, and which its containers share (behaviours
// 52, 100, 102).
func namespaces(p *v1.Pod, n *Node, in PodInputs) (*runtimeapi.NamespaceOption, error) {
	out := &runtimeapi.NamespaceOption{
		Network: podOrNode(p.Spec.HostNetwork),
		Ipc:     podOrNode(p.Spec.HostIPC),
		Pid:     runtimeapi.NamespaceMode_CONTAINER,
	}
	switch {
	case p.Spec.HostPID:
		out.Pid = runtimeapi.NamespaceMode_NODE
	case isTrue(p.Spec.ShareProcessNamespace):
		out.Pid = runtimeapi.NamespaceMode_POD
	}
	if hostUsers(p) {
		out.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_NODE}
		return out, nil
	}
	if !n.Handlers[in.Handler].UserNamespaces {
		return nil, &ConfigError{reason.FailedCreatePodSandBox, fmt.Sprintf("spec.hostUsers is false, but runtime handler %q does not support user namespaces", in.Handler)}
	}
	if in.UserNamespace == nil || in.UserNamespace.Length == 0 {
		return nil, &ConfigError{reason.FailedCreatePodSandBox, "spec.hostUsers is false, but no host ids are set aside for the pod"}
	}
	out.UsernsOptions = &runtimeapi.UserNamespace{
		Mode: runtimeapi.NamespaceMode_POD, Uids: idMappings(p, in), Gids: idMappings(p, in),
	}
	return out, nil
}

func podOrNode(node bool) runtimeapi.NamespaceMode {
	if node {
		return runtimeapi.NamespaceMode_NODE
	}
	return runtimeapi.NamespaceMode_POD
}

func hostUsers(p *v1.Pod) bool { return p.Spec.HostUsers == nil || *p.Spec.HostUsers }

// idMappings map the ids of a pod with a user namespace; nil for other pods.
func idMappings(p *v1.Pod, in PodInputs) []*runtimeapi.IDMapping {
	if hostUsers(p) || in.UserNamespace == nil {
		return nil
	}
	return []*runtimeapi.IDMapping{{HostId: in.UserNamespace.First, ContainerId: 0, Length: in.UserNamespace.Length}}
}
