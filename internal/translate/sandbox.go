package translate

import (
	"cmp"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Sandbox is what the runtime is asked for one attempt of the pod's sandbox (behaviours 49-53, 56). The error is a
// *ConfigError.
func Sandbox(d *pod.Desired, attempt uint32, n *Node, in PodInputs) (*runtimeapi.PodSandboxConfig, []Remark, error) {
	p := d.Pod
	hostname, err := kernelName(p, n.ClusterDomain)
	if err != nil {
		return nil, nil, err
	}
	dns, remarks, err := DNS(p, n)
	if err != nil {
		return nil, nil, err
	}
	ports, err := portMappings(p)
	if err != nil {
		return nil, nil, err
	}
	linux, err := sandboxLinux(p, n, in)
	if err != nil {
		return nil, nil, err
	}
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: p.Name, Namespace: p.Namespace, Uid: string(p.UID), Attempt: attempt},
		Hostname:     hostname,
		LogDirectory: names.PodLogDir(n.PodLogsDir, p.Namespace, p.Name, p.UID),
		DnsConfig:    dns,
		PortMappings: ports,
		Labels:       SandboxLabels(p),
		Annotations:  SandboxAnnotations(d),
		Linux:        linux,
	}, remarks, nil
}

func sandboxLinux(p *v1.Pod, n *Node, in PodInputs) (*runtimeapi.LinuxPodSandboxConfig, error) {
	spaces, err := namespaces(p, n, in)
	if err != nil {
		return nil, err
	}
	sc := &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions:         spaces,
		Privileged:               anyPrivileged(p),
		SupplementalGroups:       groups(p, in.Groups),
		SupplementalGroupsPolicy: groupsPolicy(p),
		// The sandbox's own process does next to nothing; no pod has a reason to want it less confined.
		Seccomp: &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
	}
	if own := p.Spec.SecurityContext; own != nil {
		sc.SelinuxOptions = selinux(own.SELinuxOptions)
		sc.RunAsUser = int64Value(own.RunAsUser)
		sc.RunAsGroup = int64Value(own.RunAsGroup)
		if sc.RunAsUser == nil {
			sc.RunAsGroup = nil // runtimes refuse a group without a user
		}
	}
	out := &runtimeapi.LinuxPodSandboxConfig{
		CgroupParent:    in.CgroupParent,
		SecurityContext: sc,
		Sysctls:         sysctls(p, n),
	}
	out.Overhead, out.Resources = PodResize(p, n)
	return out, nil
}

// anyPrivileged tells whether one of the pod's containers is privileged; the sandbox then must be, too.
func anyPrivileged(p *v1.Pod) bool {
	found := false
	visit(p, func(c *v1.Container) {
		found = found || c.SecurityContext != nil && isTrue(c.SecurityContext.Privileged)
	})
	return found
}

func visit(p *v1.Pod, f func(c *v1.Container)) {
	for i := range p.Spec.InitContainers {
		f(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		f(&p.Spec.Containers[i])
	}
}

// portMappings are the ports of all containers that keep running (behaviour 50). The runtime leaves out those without a
// host port.
func portMappings(p *v1.Pod) ([]*runtimeapi.PortMapping, error) {
	var (
		out  []*runtimeapi.PortMapping
		fail error
	)
	visit(p, func(c *v1.Container) {
		if isInit(p, c) && !pod.IsSidecar(c) {
			return
		}
		for _, port := range c.Ports {
			protocol := cmp.Or(string(port.Protocol), string(v1.ProtocolTCP))
			number, ok := runtimeapi.Protocol_value[protocol]
			if !ok {
				fail = &ConfigError{reason.FailedCreatePodSandBox, fmt.Sprintf("container %s, port %d: unknown protocol %q: must be TCP, UDP or SCTP", c.Name, port.ContainerPort, protocol)}
				continue
			}
			out = append(out, &runtimeapi.PortMapping{
				Protocol: runtimeapi.Protocol(number), ContainerPort: port.ContainerPort, HostPort: port.HostPort, HostIp: port.HostIP,
			})
		}
	})
	return out, fail
}

func isInit(p *v1.Pod, c *v1.Container) bool {
	for i := range p.Spec.InitContainers {
		if &p.Spec.InitContainers[i] == c {
			return true
		}
	}
	return false
}

// sysctls are the node's defaults and the pod's own, with dots between their parts (behaviour 53). Defaults are left out
// where they would change the node itself.
func sysctls(p *v1.Pod, n *Node) map[string]string {
	out := map[string]string{}
	for name, value := range n.Sysctls {
		name = dotted(name)
		if p.Spec.HostNetwork && strings.HasPrefix(name, "net.") || p.Spec.HostIPC && isIPC(name) {
			continue
		}
		out[name] = value
	}
	if sc := p.Spec.SecurityContext; sc != nil {
		for _, s := range sc.Sysctls {
			out[dotted(s.Name)] = s.Value
		}
	}
	return out
}

// dotted writes a sysctl name given with slashes the way the kernel's documentation does: net/ipv4/conf/eth0.1/x becomes
// net.ipv4.conf.eth0/1.x. A name whose first separator is a dot is that already.
func dotted(name string) string {
	i := strings.IndexAny(name, "./")
	if i < 0 || name[i] == '.' {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, name)
}

func isIPC(name string) bool {
	for _, prefix := range []string{"kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
