package admission_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/admission"
	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// A change makes a pod what a test is about.
type change func(*pod.Desired)

func make1(name string, changes ...change) *pod.Desired {
	d := &pod.Desired{Wanted: true, Source: pod.FromAPI, Pod: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "app"}}},
	}}
	for _, c := range changes {
		c(d)
	}
	return d
}

func spec(f func(*v1.PodSpec)) change { return func(d *pod.Desired) { f(&d.Pod.Spec) } }

func fromFile(d *pod.Desired) { d.Source = pod.FromFile }

func priority(n int32) change { return spec(func(s *v1.PodSpec) { s.Priority = &n }) }

// list reads "cpu 100m memory 1Gi".
func list(text string) v1.ResourceList {
	out := v1.ResourceList{}
	words := strings.Fields(text)
	for i := 0; i+1 < len(words); i += 2 {
		out[v1.ResourceName(words[i])] = resource.MustParse(words[i+1])
	}
	return out
}

func asks(text string) change {
	return spec(func(s *v1.PodSpec) { s.Containers[0].Resources.Requests = list(text) })
}

// guaranteed asks for CPU and memory with limits to match.
func guaranteed(text string) change {
	return spec(func(s *v1.PodSpec) {
		s.Containers[0].Resources = v1.ResourceRequirements{Requests: list(text), Limits: list(text)}
	})
}

func security(f func(*v1.PodSecurityContext)) change {
	return spec(func(s *v1.PodSpec) {
		if s.SecurityContext == nil {
			s.SecurityContext = &v1.PodSecurityContext{}
		}
		f(s.SecurityContext)
	})
}

func sysctl(name string) change {
	return security(func(sc *v1.PodSecurityContext) { sc.Sysctls = append(sc.Sysctls, v1.Sysctl{Name: name, Value: "1"}) })
}

func tolerates(t v1.Toleration) change {
	return spec(func(s *v1.PodSpec) { s.Tolerations = append(s.Tolerations, t) })
}

func port(p v1.ContainerPort) change {
	return spec(func(s *v1.PodSpec) { s.Containers[0].Ports = append(s.Containers[0].Ports, p) })
}

func hostNetwork(s *v1.PodSpec) { s.HostNetwork = true }

func node(changes ...func(*admission.Node)) admission.Node {
	n := admission.Node{
		Name: "n1", Kernel: "6.1.0-18-amd64", MaxPods: 110,
		Allocatable: list("cpu 2 memory 4Gi ephemeral-storage 10Gi example.com/gpu 1"),
		Handlers:    []engine.Handler{{}, {Name: "vm", UserNamespaces: true, RecursiveReadOnlyMounts: true}},
	}
	for _, c := range changes {
		c(&n)
	}
	return n
}

func declares(features ...string) func(*admission.Node) {
	return func(n *admission.Node) { n.Declared = features }
}

func bindOptions(d *pod.Desired) {
	d.Pod.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "v", MountPath: "/v", BindMountOptions: []string{"noexec"}}}
}

func restartsAll(d *pod.Desired) {
	d.Pod.Spec.Containers[0].RestartPolicyRules = []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestartAllContainers}}
}

func whole(text string) change {
	return spec(func(s *v1.PodSpec) { s.Resources = &v1.ResourceRequirements{Requests: list(text)} })
}

func told(v plan.Verdict) string {
	switch {
	case v.Judged && v.Admit:
		return "yes"
	case v.Judged:
		return v.Reason + ": " + v.Message
	}
	return fmt.Sprintf("not yet, %v: %s", v.Victims, v.Message)
}

func TestJudge(t *testing.T) {
	type change2 = func(*admission.Node)
	under := func(c ...v1.NodeConditionType) change2 { return func(n *admission.Node) { n.Pressure = c } }
	memory := under(v1.NodeMemoryPressure)
	labels := func(l map[string]string) change2 { return func(n *admission.Node) { n.Labels = l } }
	taint := func(effect v1.TaintEffect) change2 {
		return func(n *admission.Node) { n.Taints = []v1.Taint{{Key: "k", Value: "v", Effect: effect}} }
	}
	kernel := func(r string) change2 { return func(n *admission.Node) { n.Kernel = r } }
	unsafe := func(p ...string) change2 { return func(n *admission.Node) { n.AllowedUnsafeSysctls = p } }
	loaded := func(a admission.AppArmor) change2 { return func(n *admission.Node) { n.AppArmor = &a } }
	profile := func(kind v1.AppArmorProfileType, name string) change {
		return spec(func(s *v1.PodSpec) {
			s.Containers[0].SecurityContext = &v1.SecurityContext{AppArmorProfile: &v1.AppArmorProfile{Type: kind, LocalhostProfile: &name}}
		})
	}
	selects := func(key, value string) change {
		return spec(func(s *v1.PodSpec) { s.NodeSelector = map[string]string{key: value} })
	}
	strict := security(func(sc *v1.PodSecurityContext) {
		p := v1.SupplementalGroupsPolicyStrict
		sc.SupplementalGroupsPolicy = &p
	})
	no := false
	ownUsers := spec(func(s *v1.PodSpec) { s.HostUsers = &no })
	handler := func(name string) change { return spec(func(s *v1.PodSpec) { s.RuntimeClassName = &name }) }
	recursive := spec(func(s *v1.PodSpec) {
		on := v1.RecursiveReadOnlyEnabled
		s.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "v", ReadOnly: true, RecursiveReadOnly: &on}}
	})
	initPolicy := func(p v1.ContainerRestartPolicy) change {
		return spec(func(s *v1.PodSpec) { s.InitContainers = []v1.Container{{Name: "i", RestartPolicy: &p}} })
	}
	const ports = "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
	const affinity = "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
	const taints = "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
	const down = "NodeShutdown: Pod was rejected as the node is shutting down."
	running := func(d ...*pod.Desired) []*pod.Desired { return d }
	web := make1("web", port(v1.ContainerPort{ContainerPort: 80, HostPort: 8080, Protocol: v1.ProtocolTCP}))
	for name, c := range map[string]struct {
		d    *pod.Desired
		run  []*pod.Desired
		node admission.Node
		want string
	}{
		"29 nothing against it": {make1("a"), nil, node(), "yes"},

		"33 cpu": {make1("a", asks("cpu 1500m")), running(make1("b", asks("cpu 900m"))), node(),
			"OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 900, capacity: 2000"},
		"33 just enough cpu": {make1("a", asks("cpu 1100m")), running(make1("b", asks("cpu 900m"))), node(), "yes"},
		"33 memory": {make1("a", asks("memory 5Gi")), nil, node(),
			"OutOfmemory: Node didn't have enough resource: memory, requested: 5368709120, used: 0, capacity: 4294967296"},
		"33 storage": {make1("a", asks("ephemeral-storage 11Gi")), nil, node(),
			"OutOfephemeral-storage: Node didn't have enough resource: ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240"},
		"33 pods": {make1("a"), running(make1("b"), make1("c")), node(func(n *admission.Node) { n.MaxPods = 2 }),
			"OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2"},
		"33 an extended resource": {make1("a", asks("example.com/gpu 1")), running(make1("b", asks("example.com/gpu 1"))), node(),
			"OutOfexample.com/gpu: Node didn't have enough resource: example.com/gpu, requested: 1, used: 1, capacity: 1"},
		"33 huge pages": {make1("a", asks("hugepages-2Mi 4Mi")), nil, node(),
			"OutOfhugepages-2Mi: Node didn't have enough resource: hugepages-2Mi, requested: 4194304, used: 0, capacity: 0"},
		"33 the first of several is told":  {make1("a", asks("cpu 3 memory 5Gi")), nil, node(), "OutOfcpu: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000"},
		"33 what runs need not fit":        {make1("a"), running(make1("b", asks("cpu 9"))), node(), "yes"},
		"33 the pod itself does not count": {make1("a", asks("cpu 2")), running(make1("a", asks("cpu 2"))), node(), "yes"},
		"33 nothing is known of room":      {make1("a", asks("cpu 9")), nil, node(func(n *admission.Node) { n.Allocatable = nil }), "yes"},
		"56 overhead counts":               {make1("a", asks("cpu 2"), spec(func(s *v1.PodSpec) { s.Overhead = list("cpu 1m") })), nil, node(), "OutOfcpu: Node didn't have enough resource: cpu, requested: 2001, used: 0, capacity: 2000"},
		"34 a resource nobody advertises":  {make1("a", asks("example.com/fpga 1")), nil, node(), "yes"},
		"33 before place, if not critical": {make1("a", asks("cpu 3"), spec(func(s *v1.PodSpec) { s.NodeName = "n2" })), nil, node(), "OutOfcpu: Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000"},
		"35 place first, if critical":      {make1("a", fromFile, asks("cpu 3"), spec(func(s *v1.PodSpec) { s.NodeName = "n2" })), nil, node(), "NodeName: Predicate NodeName failed: node(s) didn't match the requested node name"},
		"35 another node's":                {make1("a", spec(func(s *v1.PodSpec) { s.NodeName = "n2" })), nil, node(), "NodeName: Predicate NodeName failed: node(s) didn't match the requested node name"},
		"35 this node's":                   {make1("a", spec(func(s *v1.PodSpec) { s.NodeName = "n1" })), nil, node(), "yes"},
		"35 selector, labels known":        {make1("a", selects("disk", "ssd")), nil, node(labels(map[string]string{"disk": "hdd"})), affinity},
		"35 selector matches":              {make1("a", selects("disk", "ssd")), nil, node(labels(map[string]string{"disk": "ssd"})), "yes"},
		"35 selector, labels unknown":      {make1("a", selects("disk", "ssd")), nil, node(), "yes"},
		"35 required affinity":             {make1("a", spec(wantsZone)), nil, node(labels(map[string]string{"zone": "b"})), affinity},
		"35 required affinity matches":     {make1("a", spec(wantsZone)), nil, node(labels(map[string]string{"zone": "a"})), "yes"},
		"35 a static pod is asked, too":    {make1("a", fromFile, selects("disk", "ssd")), nil, node(labels(map[string]string{})), affinity},
		"35 NoExecute":                     {make1("a"), nil, node(taint(v1.TaintEffectNoExecute)), taints},
		"35 NoSchedule is the scheduler's": {make1("a"), nil, node(taint(v1.TaintEffectNoSchedule)), "yes"},
		"35 a static pod ignores taints":   {make1("a", fromFile), nil, node(taint(v1.TaintEffectNoExecute)), "yes"},
		"35 tolerated":                     {make1("a", tolerates(v1.Toleration{Key: "k", Value: "v", Effect: v1.TaintEffectNoExecute})), nil, node(taint(v1.TaintEffectNoExecute)), "yes"},
		"35 tolerated, whatever value":     {make1("a", tolerates(v1.Toleration{Key: "k", Operator: v1.TolerationOpExists})), nil, node(taint(v1.TaintEffectNoExecute)), "yes"},
		"35 all tolerated":                 {make1("a", tolerates(v1.Toleration{Operator: v1.TolerationOpExists})), nil, node(taint(v1.TaintEffectNoExecute)), "yes"},
		"35 another value":                 {make1("a", tolerates(v1.Toleration{Key: "k", Value: "w"})), nil, node(taint(v1.TaintEffectNoExecute)), taints},
		"35 another effect":                {make1("a", tolerates(v1.Toleration{Key: "k", Value: "v", Effect: v1.TaintEffectNoSchedule})), nil, node(taint(v1.TaintEffectNoExecute)), taints},
		"35 another key":                   {make1("a", tolerates(v1.Toleration{Key: "j", Operator: v1.TolerationOpExists})), nil, node(taint(v1.TaintEffectNoExecute)), taints},
		"35 a port that is taken":          {make1("a", port(v1.ContainerPort{HostPort: 8080})), running(web), node(), ports},
		"35 another port":                  {make1("a", port(v1.ContainerPort{HostPort: 8081})), running(web), node(), "yes"},
		"35 another protocol":              {make1("a", port(v1.ContainerPort{HostPort: 8080, Protocol: v1.ProtocolUDP})), running(web), node(), "yes"},
		"35 one address of all":            {make1("a", port(v1.ContainerPort{HostPort: 8080, HostIP: "10.0.0.1"})), running(web), node(), ports},
		"35 two addresses":                 {make1("a", port(v1.ContainerPort{HostPort: 80, HostIP: "10.0.0.1"})), running(make1("b", port(v1.ContainerPort{HostPort: 80, HostIP: "10.0.0.2"}))), node(), "yes"},
		"35 the port of a sidecar":         {make1("a", spec(sidecarOn(8080))), running(web), node(), ports},
		"35 the node's network":            {make1("a", spec(hostNetwork), port(v1.ContainerPort{ContainerPort: 8080})), running(web), node(), ports},
		"35 its own network":               {make1("a", port(v1.ContainerPort{ContainerPort: 8080})), running(web), node(), "yes"},
		"36 selector of another OS":        {make1("a", selects("kubernetes.io/os", "windows")), nil, node(), "PodOSSelectorNodeLabelDoesNotMatch: Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"},
		"36 selector of this OS":           {make1("a", selects("kubernetes.io/os", "linux")), nil, node(), "yes"},
		"36 another OS":                    {make1("a", spec(func(s *v1.PodSpec) { s.OS = &v1.PodOS{Name: v1.Windows} })), nil, node(), "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS"},
		"36 this OS":                       {make1("a", spec(func(s *v1.PodSpec) { s.OS = &v1.PodOS{Name: v1.Linux} })), nil, node(), "yes"},
		"37 init restart policy":           {make1("a", initPolicy("Never")), nil, node(), `InitContainerRestartPolicyForbidden: Init container "i" may not have restartPolicy Never: only Always is known for init containers`},
		"37 a sidecar":                     {make1("a", initPolicy("Always")), nil, node(), "yes"},
		"37 strict groups":                 {make1("a", strict), nil, node(), "SupplementalGroupsPolicyNotSupported: SupplementalGroupsPolicy=Strict is not supported in this node"},
		"37 strict groups, supported":      {make1("a", strict), nil, node(func(n *admission.Node) { n.Features.SupplementalGroupsPolicy = true }), "yes"},
		"37 user namespaces":               {make1("a", ownUsers), nil, node(), `PodFeatureUnsupported: the container runtime handler "" does not support user namespaces (spec.hostUsers: false)`},
		"37 user namespaces, supported":    {make1("a", ownUsers, handler("vm")), nil, node(), "yes"},
		"37 recursive read-only":           {make1("a", recursive), nil, node(), `PodFeatureUnsupported: the container runtime handler "" does not support recursive read-only mounts, which container "app" enables`},
		"37 recursive, supported":          {make1("a", recursive, handler("vm")), nil, node(), "yes"},
		"37 bind mount options":            {make1("a", bindOptions), nil, node(), "PodFeatureUnsupported: Pod requires node features that are not available: VolumeBindMountOptions"},
		"37 bind mount options, declared":  {make1("a", bindOptions), nil, node(declares("VolumeBindMountOptions")), "yes"},
		"37 several undeclared":            {make1("a", bindOptions, restartsAll), nil, node(declares("Other")), "PodFeatureUnsupported: Pod requires node features that are not available: RestartAllContainersOnContainerExits, VolumeBindMountOptions"},
		"37 whole pod":                     {make1("a", whole("cpu 1")), nil, node(), "yes"},
		"37 whole pod without a cgroup":    {make1("a", whole("cpu 1")), nil, node(func(n *admission.Node) { n.Flat = true }), "PodLevelResourcesNotSupported: Pod-level resources are not supported on this node: its pods have no cgroups of their own (cgroupsPerQOS: false)"},
		"37 no whole pod without cgroups":  {make1("a", asks("cpu 1")), nil, node(func(n *admission.Node) { n.Flat = true }), "yes"},
		"37 a handler unheard of":          {make1("a", ownUsers, handler("kata")), nil, node(), "yes"},
		"37 a runtime not heard of yet":    {make1("a", ownUsers, strict, recursive), nil, node(func(n *admission.Node) { n.Handlers = nil }), "yes"},
		"38 AppArmor is off":               {make1("a", profile("RuntimeDefault", "")), nil, node(), "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host"},
		"38 unconfined":                    {make1("a", profile("Unconfined", "")), nil, node(), "yes"},
		"38 not loaded":                    {make1("a", profile("Localhost", "deny-write")), nil, node(loaded(admission.AppArmor{Loaded: map[string]bool{}})), `AppArmor: Cannot enforce AppArmor: profile "deny-write" is not loaded`},
		"38 loaded":                        {make1("a", profile("Localhost", "deny-write")), nil, node(loaded(admission.AppArmor{Loaded: map[string]bool{"deny-write": true}})), "yes"},
		"38 nobody knows what is loaded":   {make1("a", profile("Localhost", "deny-write")), nil, node(loaded(admission.AppArmor{})), "yes"},
		"38 the runtime's own":             {make1("a", profile("RuntimeDefault", "")), nil, node(loaded(admission.AppArmor{Loaded: map[string]bool{}})), "yes"},
		"38 by annotation":                 {make1("a", annotated("localhost/deny-write")), nil, node(loaded(admission.AppArmor{Loaded: map[string]bool{}})), `AppArmor: Cannot enforce AppArmor: profile "deny-write" is not loaded`},
		"38 unconfined by annotation":      {make1("a", annotated("unconfined")), nil, node(), "yes"},
		"38 of the pod":                    {make1("a", security(func(sc *v1.PodSecurityContext) { sc.AppArmorProfile = &v1.AppArmorProfile{Type: "RuntimeDefault"} })), nil, node(), "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host"},
		"39 unsafe":                        {make1("a", sysctl("net.core.somaxconn")), nil, node(), `SysctlForbidden: forbidden sysctl: "net.core.somaxconn" not allowlisted`},
		"39 unsafe and allowed":            {make1("a", sysctl("net.core.somaxconn")), nil, node(unsafe("net.core.somaxconn")), "yes"},
		"39 unsafe and allowed by prefix":  {make1("a", sysctl("kernel.msgmax")), nil, node(unsafe("kernel.msg*")), "yes"},
		"39 another prefix":                {make1("a", sysctl("kernel.shmmax")), nil, node(unsafe("kernel.msg*")), `SysctlForbidden: forbidden sysctl: "kernel.shmmax" not allowlisted`},
		"39 with slashes":                  {make1("a", sysctl("net/core/somaxconn")), nil, node(unsafe("net.core.*")), "yes"},
		"39 in the node's network":         {make1("a", spec(hostNetwork), sysctl("net.ipv4.tcp_syncookies")), nil, node(), `SysctlForbidden: forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled`},
		"39 in the node's IPC":             {make1("a", spec(func(s *v1.PodSpec) { s.HostIPC = true }), sysctl("kernel.shm_rmid_forced")), nil, node(), `SysctlForbidden: forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled`},
		"39 the other one of the node's":   {make1("a", spec(hostNetwork), sysctl("kernel.shm_rmid_forced")), nil, node(), "yes"},
		"44 always safe":                   {make1("a", sysctl("kernel.shm_rmid_forced"), sysctl("net.ipv4.ip_local_port_range"), sysctl("net.ipv4.tcp_syncookies"), sysctl("net.ipv4.ping_group_range"), sysctl("net.ipv4.ip_unprivileged_port_start")), nil, node(kernel("")), "yes"},
		"44 safe on a kernel of today":     {make1("a", sysctl("net.ipv4.ip_local_reserved_ports"), sysctl("net.ipv4.tcp_keepalive_time"), sysctl("net.ipv4.tcp_keepalive_intvl"), sysctl("net.ipv4.tcp_keepalive_probes"), sysctl("net.ipv4.tcp_fin_timeout"), sysctl("net.ipv4.tcp_notsent_lowat"), sysctl("net.ipv4.tcp_rmem"), sysctl("net.ipv4.tcp_wmem"), sysctl("net.ipv4.tcp_slow_start_after_idle")), nil, node(kernel("4.15")), "yes"},
		"44 not on an older one":           {make1("a", sysctl("net.ipv4.tcp_rmem")), nil, node(kernel("4.14.300-generic")), `SysctlForbidden: forbidden sysctl: "net.ipv4.tcp_rmem" not allowlisted`},
		"44 nor on one nobody knows":       {make1("a", sysctl("net.ipv4.tcp_rmem")), nil, node(kernel("?")), `SysctlForbidden: forbidden sysctl: "net.ipv4.tcp_rmem" not allowlisted`},
		"41 shutting down":                 {make1("a"), nil, node(func(n *admission.Node) { n.ShuttingDown = true }), down},
		"41 a critical pod, too":           {make1("a", fromFile), nil, node(func(n *admission.Node) { n.ShuttingDown = true }), down},
		"42 memory, asked for nothing":     {make1("a"), nil, node(memory), "Evicted: The node had condition: [MemoryPressure]. "},
		"42 memory, asked for some":        {make1("a", asks("memory 1Mi")), nil, node(memory), "yes"},
		"42 memory, tolerated":             {make1("a", tolerates(v1.Toleration{Key: "node.kubernetes.io/memory-pressure", Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoSchedule})), nil, node(memory), "yes"},
		"42 disk":                          {make1("a", guaranteed("cpu 1 memory 1Mi")), nil, node(under(v1.NodeDiskPressure)), "Evicted: The node had condition: [DiskPressure]. "},
		"42 memory and more":               {make1("a", asks("memory 1Mi")), nil, node(under(v1.NodeMemoryPressure, v1.NodePIDPressure)), "Evicted: The node had condition: [MemoryPressure PIDPressure]. "},
		"12 42 a static pod passes":        {make1("a", fromFile), nil, node(under(v1.NodeDiskPressure)), "yes"},
		"12 42 a mirror pod passes":        {make1("a", func(d *pod.Desired) { d.Pod.Annotations = map[string]string{names.ConfigMirror: "x"} }), nil, node(under(v1.NodeDiskPressure)), "yes"},
		"12 42 a critical pod passes":      {make1("a", priority(2000000000)), nil, node(under(v1.NodeDiskPressure)), "yes"},
		"29 pressure before sysctls":       {make1("a", sysctl("x.y")), nil, node(memory), "Evicted: The node had condition: [MemoryPressure]. "},
		"29 sysctls before room":           {make1("a", sysctl("x.y"), asks("cpu 9")), nil, node(), `SysctlForbidden: forbidden sysctl: "x.y" not allowlisted`},
		"29 place before AppArmor":         {make1("a", profile("RuntimeDefault", "")), nil, node(taint(v1.TaintEffectNoExecute)), taints},
		"29 AppArmor before shutdown":      {make1("a", profile("RuntimeDefault", "")), nil, node(func(n *admission.Node) { n.ShuttingDown = true }), "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told(admission.Judge(c.d, c.run, c.node)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func wantsZone(s *v1.PodSpec) {
	s.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
		NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "zone", Operator: v1.NodeSelectorOpIn, Values: []string{"a"}}}}},
	}}}
}

func sidecarOn(port int32) func(*v1.PodSpec) {
	return func(s *v1.PodSpec) {
		always := v1.ContainerRestartPolicyAlways
		s.InitContainers = []v1.Container{{Name: "s", RestartPolicy: &always, Ports: []v1.ContainerPort{{HostPort: port}}}}
	}
}

func annotated(profile string) change {
	return func(d *pod.Desired) {
		d.Pod.Annotations = map[string]string{v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + "app": profile}
	}
}

func TestPreempt(t *testing.T) {
	critical := func(text string) *pod.Desired { return make1("crit", priority(2000000000), asks(text)) }
	best := func(name string) *pod.Desired { return make1(name) }
	burst := func(name, text string) *pod.Desired { return make1(name, asks(text)) }
	sure := func(name, text string) *pod.Desired { return make1(name, guaranteed(text)) }
	static := make1("static", fromFile, asks("cpu 2"))
	for name, c := range map[string]struct {
		d    *pod.Desired
		run  []*pod.Desired
		node admission.Node
		want string
	}{
		"43 one gives way":                        {critical("cpu 1"), []*pod.Desired{burst("b", "cpu 1500m")}, node(), "[b]"},
		"43 a static pod is critical":             {make1("crit", fromFile, asks("cpu 1")), []*pod.Desired{burst("b", "cpu 1500m")}, node(), "[b]"},
		"43 the one that just suffices":           {critical("cpu 1"), []*pod.Desired{burst("b", "cpu 1200m"), burst("c", "cpu 500m"), burst("d", "cpu 300m")}, node(), "[b]"},
		"43 the least that suffices":              {critical("cpu 500m"), []*pod.Desired{burst("b", "cpu 1"), burst("c", "cpu 600m"), burst("d", "cpu 400m")}, node(), "[c]"},
		"43 several, if one does not suffice":     {critical("cpu 2"), []*pod.Desired{burst("b", "cpu 1200m"), burst("c", "cpu 800m")}, node(), "[b c]"},
		"43 the lesser class first":               {critical("cpu 1"), []*pod.Desired{sure("g", "cpu 1 memory 1Mi"), burst("b", "cpu 1")}, node(), "[b]"},
		"43 the better class if it must be":       {critical("cpu 2"), []*pod.Desired{sure("g", "cpu 1 memory 1Mi"), burst("b", "cpu 1")}, node(), "[g b]"},
		"43 the better class, and no more":        {critical("cpu 1500m"), []*pod.Desired{sure("g", "cpu 1800m memory 1Mi"), burst("b", "cpu 100m")}, node(), "[g]"},
		"43 for a place, the one that asks least": {critical("cpu 0"), []*pod.Desired{sure("g", "cpu 1 memory 1Mi"), burst("b", "cpu 1"), best("e")}, node(func(n *admission.Node) { n.MaxPods = 3 }), "[e]"},
		"43 two resources at once":                {critical("cpu 1 memory 3Gi"), []*pod.Desired{burst("b", "cpu 1500m"), burst("c", "memory 3Gi"), burst("d", "cpu 500m memory 1Gi")}, node(), "[c b]"},
		"43 one for two resources":                {critical("cpu 1 memory 1Gi"), []*pod.Desired{burst("b", "cpu 1"), burst("c", "memory 2Gi"), burst("d", "cpu 1 memory 2Gi")}, node(), "[d]"},
		"43 critical pods stay": {critical("cpu 1"), []*pod.Desired{make1("b", priority(2000000000), asks("cpu 2"))}, node(),
			"UnexpectedAdmissionError: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 1000), ]"},
		"43 but a lower priority gives way": {make1("crit", priority(2000001000), asks("cpu 1")), []*pod.Desired{make1("b", priority(2000000000), asks("cpu 2"))}, node(), "[b]"},
		"43 static pods stay": {critical("cpu 1"), []*pod.Desired{static}, node(),
			"UnexpectedAdmissionError: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 1000), ]"},
		"43 nothing would do": {critical("cpu 3"), []*pod.Desired{burst("b", "cpu 1")}, node(),
			"UnexpectedAdmissionError: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 2000), ]"},
		"43 nobody gives way for one that is refused anyhow": {make1("crit", priority(2000000000), asks("cpu 1"), spec(func(s *v1.PodSpec) { s.NodeName = "n2" })),
			[]*pod.Desired{burst("b", "cpu 2")}, node(), "NodeName: Predicate NodeName failed: node(s) didn't match the requested node name"},
		"43 there is room": {critical("cpu 1"), []*pod.Desired{burst("b", "cpu 1")}, node(), "yes"},
	} {
		t.Run(name, func(t *testing.T) {
			v := admission.Judge(c.d, c.run, c.node)
			got := told(v)
			if len(v.Victims) > 0 {
				got = fmt.Sprint(v.Victims)
			}
			if got != c.want {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
			if len(v.Victims) == 0 {
				return
			}
			if v.Judged || v.Admit || v.Message == "" || !slices.Contains([]string{"cpu", "memory", "pods"}, v.Detail) {
				t.Errorf("the verdict must wait, and say what is short: %+v", v)
			}
			var left []*pod.Desired
			for _, d := range c.run {
				if !strings.Contains(fmt.Sprint(v.Victims), string(d.UID())) {
					left = append(left, d)
				}
			}
			if again := admission.Judge(c.d, left, c.node); !again.Admit {
				t.Errorf("once %v are gone: %s", v.Victims, told(again))
			}
		})
	}
}

// TestJudgeIsPure holds that the same question has the same answer and that nothing is changed by asking.
func TestJudgeIsPure(t *testing.T) {
	var run []*pod.Desired
	for i := range 20 {
		run = append(run, make1(fmt.Sprint("p", i), asks(fmt.Sprintf("cpu %dm memory %dMi", 50+i%3, 100+i%5))))
	}
	d := make1("crit", priority(2000000000), asks("cpu 1500m memory 3Gi"))
	first := told(admission.Judge(d, run, node()))
	for range 20 {
		if again := told(admission.Judge(d, run, node())); again != first {
			t.Fatalf("first %s\nthen %s", first, again)
		}
	}
}
