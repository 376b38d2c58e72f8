package translate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/translate"
)

// one is a pod with one container "a" and what else it says.
func one(container string, pod ...string) string {
	return "containers:\n- name: a\n  image: i\n  " + strings.ReplaceAll(strings.TrimSpace(container), "\n", "\n  ") + "\n" + strings.Join(pod, "\n")
}

func TestContainer(t *testing.T) {
	kv := func(c *runtimeapi.ContainerConfig) any {
		out := ""
		for _, e := range c.Envs {
			out += e.Key + "=" + string(e.Value) + ";"
		}
		return out
	}
	for _, c := range []struct {
		name, spec string
		change     func(*translate.Node, *translate.Inputs)
		got        func(*runtimeapi.ContainerConfig) any
		want       any
	}{
		{"60 name and attempt", one(""), nil, func(c *runtimeapi.ContainerConfig) any { return c.Metadata.Name + fmt.Sprint(c.Metadata.Attempt) }, "a0"},
		{"60 annotations of plugins do not hide ours", one(""), func(_ *translate.Node, in *translate.Inputs) {
			in.Plugin.Annotations = map[string]string{"cdi": "x", "io.kubernetes.container.restartCount": "99"}
		}, func(c *runtimeapi.ContainerConfig) any {
			return c.Annotations["cdi"] + c.Annotations["io.kubernetes.container.restartCount"]
		}, "x0"},
		{"62 log path", one(""), nil, func(c *runtimeapi.ContainerConfig) any { return c.LogPath }, "a/0.log"},
		{"63 image by ID", one(""), nil, func(c *runtimeapi.ContainerConfig) any { return c.Image.Image + " " + c.Image.UserSpecifiedImage }, "sha256:of-a i"},
		{"67 command and arguments", one(`
command: [run, $(V), $$(V), $(W)]
args: [$(V)]
env: [{name: V, value: v}]`), nil, func(c *runtimeapi.ContainerConfig) any { return append(c.Command, c.Args...) }, []string{"run", "v", "$(V)", "$(W)", "v"}},
		{"67 image's command", one(""), nil, func(c *runtimeapi.ContainerConfig) any { return len(c.Command) + len(c.Args) }, 0},
		{"68 plugins' variables hold", one("env: [{name: A, value: a}, {name: B, value: b}]"), func(_ *translate.Node, in *translate.Inputs) {
			in.Plugin.Env = []environ.Var{{Name: "A", Value: "plugin"}}
		}, kv, "B=b;A=plugin;"},
		{"86 terminal", one("workingDir: /w\nstdin: true\nstdinOnce: true\ntty: true"), nil,
			func(c *runtimeapi.ContainerConfig) any { return fmt.Sprint(c.WorkingDir, c.Stdin, c.StdinOnce, c.Tty) }, "/wtrue true true"},
		{"86 block devices", one("volumeDevices: [{name: raw, devicePath: /dev/a}, {name: ro-raw, devicePath: /dev/b}]"), func(_ *translate.Node, in *translate.Inputs) {
			in.Plugin.Devices = []*runtimeapi.Device{{ContainerPath: "/dev/gpu", HostPath: "/dev/gpu0", Permissions: "rw"}}
			in.Plugin.CDI = []string{"vendor.com/gpu=0"}
		}, func(c *runtimeapi.ContainerConfig) any {
			out := c.CDIDevices[0].Name
			for _, d := range c.Devices {
				out += ";" + d.HostPath + ">" + d.ContainerPath + ":" + d.Permissions
			}
			return out
		}, "vendor.com/gpu=0;/dev/loop7>/dev/a:mrw;/dev/loop7>/dev/b:r;/dev/gpu0>/dev/gpu:rw"},
		{"136 stop signal", one("lifecycle: {stopSignal: SIGUSR1}"), nil, signal, "SIGNAL_SIGUSR1"},
		{"136 real-time stop signal", one("lifecycle: {stopSignal: SIGRTMIN+3}"), nil, signal, "SIGNAL_SIGRTMINPLUS3"},
		{"136 real-time stop signal from the end", one("lifecycle: {stopSignal: SIGRTMAX-2}"), nil, signal, "SIGNAL_SIGRTMAXMINUS2"},
		{"136 image's stop signal", one("lifecycle: {preStop: {sleep: {seconds: 1}}}"), nil, signal, "SIGNAL_RUNTIME_DEFAULT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := containerOf(t, c.spec, "a", c.change)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, c.got(got)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func signal(c *runtimeapi.ContainerConfig) any { return c.StopSignal.String() }

func mountsOf(c *runtimeapi.ContainerConfig) any {
	out := ""
	for _, m := range c.Mounts {
		if m.ContainerPath == "/etc/hosts" && strings.HasSuffix(m.HostPath, "/etc-hosts") || strings.HasSuffix(m.HostPath, "/0123abcd") {
			continue
		}
		out += m.HostPath + ">" + m.ContainerPath
		if m.Readonly {
			out += " ro"
		}
		if m.RecursiveReadOnly {
			out += " rro"
		}
		if m.SelinuxRelabel {
			out += " relabel"
		}
		if len(m.UidMappings) > 0 && len(m.GidMappings) > 0 {
			out += fmt.Sprintf(" mapped=%d", m.UidMappings[0].HostId)
		}
		if m.Image != nil {
			out += " image=" + m.Image.Image + ":" + m.ImageSubPath
		}
		if m.Propagation != 0 {
			out += " " + strings.TrimPrefix(m.Propagation.String(), "PROPAGATION_")
		}
		out += strings.Join(append([]string{""}, m.MountOptions...), " ") + ";"
	}
	return out
}

const vols = "volumes: [{name: v, hostPath: {path: /h}}, {name: s, secret: {secretName: s}}, {name: img, image: {reference: r}}]"

func TestMounts(t *testing.T) {
	all := func(c *runtimeapi.ContainerConfig) any {
		out := ""
		for _, m := range c.Mounts {
			out += m.ContainerPath + ";"
		}
		return out
	}
	for _, c := range []struct {
		name, spec string
		change     func(*translate.Node, *translate.Inputs)
		got        func(*runtimeapi.ContainerConfig) any
		want       string
	}{
		{"84 plain", one("volumeMounts: [{name: v, mountPath: /a}]", vols), nil, mountsOf, "/h>/a;"},
		{"84 read-only", one("volumeMounts: [{name: v, mountPath: /a, readOnly: true}]", vols), nil, mountsOf, "/h>/a ro;"},
		{"84 a secret is read-only whatever the mount says", one("volumeMounts: [{name: s, mountPath: /a}]", vols), nil, mountsOf,
			"/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~projected/s>/a ro;"},
		{"84 a path without a slash", one("volumeMounts: [{name: v, mountPath: a/../b}]", vols), nil, mountsOf, "/h>/b;"},
		{"84 recursive read-only", one("volumeMounts: [{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: Enabled}]", vols), nil, mountsOf, "/h>/a ro rro;"},
		{"84 recursive read-only disabled", one("volumeMounts: [{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: Disabled}]", vols), nil, mountsOf, "/h>/a ro;"},
		{"84 recursive read-only if possible", one("volumeMounts: [{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: IfPossible}]", vols), nil, mountsOf, "/h>/a ro rro;"},
		{"84 recursive read-only if possible, not possible", one("volumeMounts: [{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: IfPossible}]", vols),
			func(_ *translate.Node, in *translate.Inputs) { in.Handler = "plain" }, mountsOf, "/h>/a ro;"},
		{"84 hosts file and termination message", one("terminationMessagePath: /t"), nil, all, "/etc/hosts;/t;"},
		{"84 mounts of plugins", one(""), func(_ *translate.Node, in *translate.Inputs) {
			in.Plugin.Mounts = []*runtimeapi.Mount{{ContainerPath: "/p"}}
		}, all, "/etc/hosts;/dev/termination-log;/p;"},
		{"74 an own hosts file", one("volumeMounts: [{name: v, mountPath: /etc//hosts}]", vols), nil, all, "/etc/hosts;/dev/termination-log;"},
		{"74 no managed hosts file", one(""), func(_ *translate.Node, in *translate.Inputs) { in.HostsPath = "" }, all, "/dev/termination-log;"},
		{"85 propagation", one("volumeMounts: [{name: v, mountPath: /a, mountPropagation: HostToContainer}, {name: v, mountPath: /b, mountPropagation: Bidirectional}, {name: v, mountPath: /c, mountPropagation: None}]", vols),
			nil, mountsOf, "/h>/a HOST_TO_CONTAINER;/h>/b BIDIRECTIONAL;/h>/c;"},
		{"100 id-mapped volumes", one("volumeMounts: [{name: v, mountPath: /a}, {name: img, mountPath: /b}]", vols, "hostUsers: false"), nil, mountsOf,
			"/h>/a mapped=131072;>/b ro image=sha256:r:;"},
		{"101 relabelled with SELinux only", one("volumeMounts: [{name: s, mountPath: /a}, {name: v, mountPath: /b}]", vols),
			func(n *translate.Node, _ *translate.Inputs) { n.SELinux = true }, mountsOf,
			"/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~projected/s>/a ro relabel;/h>/b;"},
		{"179 subPath", one("volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b, subPath: x}]", vols), nil, mountsOf,
			"/h>/a;/var/lib/kubelet/pods/u-1/volume-subpaths/v/a/1>/b;"},
		{"179 subPathExpr that is empty shows the volume", one("env: [{name: E}]\nvolumeMounts: [{name: v, mountPath: /a, subPathExpr: $(E)}]", vols), nil, mountsOf, "/h>/a;"},
		{"189 image volume", one("volumeMounts: [{name: img, mountPath: /a, subPath: d/e}]", vols), nil, mountsOf, ">/a ro image=sha256:r:d/e;"},
		{"84 mount options", one("volumeMounts: [{name: v, mountPath: /a, bindMountOptions: [noexec, nodev]}]", vols), nil, mountsOf, "/h>/a noexec nodev;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := containerOf(t, c.spec, "a", c.change)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(any(c.want), c.got(got)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestContainerRefused(t *testing.T) {
	for _, c := range []struct {
		name, spec, want string
		change           func(*translate.Node, *translate.Inputs)
	}{
		{"84 volume not set up", one("volumeMounts: [{name: v, mountPath: /a}]"), `container a: volume mount /a: volume "v" is not set up`, nil},
		{"86 device not set up", one("volumeDevices: [{name: v, devicePath: /a}]"), `container a: volume device /a: volume "v" is not set up`,
			func(_ *translate.Node, in *translate.Inputs) { in.BlockDevices = nil }},
		{"179 subPath not set up is never the whole volume", one("volumeMounts: [{name: v, mountPath: /a, subPath: x}]", vols),
			`container a: volume mount /a: subPath of volume "v" is not set up`, func(_ *translate.Node, in *translate.Inputs) { in.SubPaths = nil }},
		{"84 recursive read-only not supported", one("volumeMounts: [{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: Enabled}]", vols),
			`runtime handler "plain" does not support recursive read-only mounts`, func(_ *translate.Node, in *translate.Inputs) { in.Handler = "plain" }},
		{"84 recursive read-only, writable", one("volumeMounts: [{name: v, mountPath: /a, recursiveReadOnly: Enabled}]", vols), "the mount is not readOnly", nil},
		{"84 recursive read-only, propagated", one("volumeMounts: [{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: Enabled, mountPropagation: HostToContainer}]", vols),
			"mountPropagation is not None", nil},
		{"84 odd recursive read-only", one("volumeMounts: [{name: v, mountPath: /a, recursiveReadOnly: Often}]", vols), "must be Disabled, IfPossible or Enabled", nil},
		{"84 mount options not supported", one("volumeMounts: [{name: v, mountPath: /a, bindMountOptions: [noexec]}]", vols), "bindMountOptions are not supported",
			func(n *translate.Node, _ *translate.Inputs) { n.MountOptions = false }},
		{"85 odd propagation", one("volumeMounts: [{name: v, mountPath: /a, mountPropagation: Both}]", vols), `mountPropagation: invalid value "Both"`, nil},
		{"95 local seccomp profile without name", one("securityContext: {seccompProfile: {type: Localhost}}"), "localhostProfile must be set", nil},
		{"95 local seccomp profile outside", one("securityContext: {seccompProfile: {type: Localhost, localhostProfile: ../../etc/passwd}}"), "must be a relative path", nil},
		{"95 odd seccomp profile", one("securityContext: {seccompProfile: {type: Some}}"), `seccompProfile.type: invalid value "Some"`, nil},
		{"96 local AppArmor profile without name", one("securityContext: {appArmorProfile: {type: Localhost}}"), "missing localhost apparmor profile name", nil},
		{"96 odd AppArmor profile", one("securityContext: {appArmorProfile: {type: Some}}"), `appArmorProfile.type: invalid value "Some"`, nil},
		{"100 no ids", one("", "hostUsers: false"), "no host ids are set aside", func(_ *translate.Node, in *translate.Inputs) { in.UserNamespace = nil }},
		{"136 odd stop signal", one("lifecycle: {stopSignal: TERM}"), `lifecycle.stopSignal: invalid value "TERM"`, nil},
		{"136 default is no name", one("lifecycle: {stopSignal: RUNTIME_DEFAULT}"), `lifecycle.stopSignal: invalid value "RUNTIME_DEFAULT"`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := containerOf(t, c.spec, "a", c.change)
			refused(t, err, reason.CreateContainerConfigErr, c.want)
		})
	}
	t.Run("64 no such container", func(t *testing.T) {
		_, err := translate.Container(&pod.Desired{Pod: parse(t, "")}, "x", 0, image(&parse(t, one("")).Spec.Containers[0]), node(), &translate.Inputs{})
		refused(t, err, reason.CreateContainerConfigErr, `the pod has no container "x"`)
	})
	t.Run("71 what is missing, in upstream's words", func(t *testing.T) {
		refused(t, translate.Refusal(&environ.Missing{Kind: environ.ConfigMap, Name: "x"}), reason.CreateContainerConfigErr, `configmap "x" not found`)
		refused(t, translate.Refusal(fmt.Errorf("wrapped: %w", &translate.ConfigError{Reason: "R", Message: "m"})), "R", "m")
	})
}

func TestResources(t *testing.T) {
	type res = *runtimeapi.LinuxContainerResources
	cpu := func(r res) string {
		return fmt.Sprint("shares=", r.CpuShares, " quota=", r.CpuQuota, " period=", r.CpuPeriod)
	}
	memory := func(r res) string {
		return fmt.Sprint("limit=", r.MemoryLimitInBytes, " swap=", r.MemorySwapLimitInBytes)
	}
	file := func(name string) func(res) string {
		return func(r res) string { v, ok := r.Unified[name]; return fmt.Sprint(v, " ", ok) }
	}
	v1 := func(n *translate.Node, _ *translate.Inputs) { n.CgroupVersion = 1 }
	half := 0.5
	for _, c := range []struct {
		name, spec string
		change     func(*translate.Node, *translate.Inputs)
		got        func(res) string
		want       string
	}{
		{"87 request and limit", one("resources: {requests: {cpu: 250m}, limits: {cpu: 1500m}}"), nil, cpu, "shares=256 quota=150000 period=100000"},
		{"87 limit if no request", one("resources: {limits: {cpu: 500m}}"), nil, cpu, "shares=512 quota=50000 period=100000"},
		{"87 nothing", one(""), nil, cpu, "shares=2 quota=-1 period=100000"},
		{"87 request of zero is a request", one("resources: {requests: {cpu: 0}, limits: {cpu: 1}}"), nil, cpu, "shares=2 quota=100000 period=100000"},
		{"87 least quota", one("resources: {limits: {cpu: 1m}}"), nil, cpu, "shares=2 quota=1000 period=100000"},
		{"87 most shares", one("resources: {requests: {cpu: 1000}}"), nil, cpu, "shares=262144 quota=-1 period=100000"},
		{"87 other period", one("resources: {limits: {cpu: 1}}"), func(n *translate.Node, _ *translate.Inputs) { n.CPUCFSQuotaPeriod = 5 * time.Millisecond }, cpu,
			"shares=1024 quota=5000 period=5000"},
		{"87 period not set", one("resources: {limits: {cpu: 1}}"), func(n *translate.Node, _ *translate.Inputs) { n.CPUCFSQuotaPeriod = 0 }, cpu,
			"shares=1024 quota=100000 period=100000"},
		{"87 quota off", one("resources: {limits: {cpu: 1}}"), func(n *translate.Node, _ *translate.Inputs) { n.CPUCFSQuota = false }, cpu, "shares=1024 quota=0 period=0"},
		{"218 own CPUs", one("resources: {limits: {cpu: 1}}"), func(_ *translate.Node, in *translate.Inputs) {
			in.NoCPUQuota, in.CPUs, in.MemoryNodes = true, "3-4", "0"
		},
			func(r res) string { return cpu(r) + " " + r.CpusetCpus + " " + r.CpusetMems }, "shares=1024 quota=-1 period=100000 3-4 0"},
		{"87 memory", one("resources: {requests: {memory: 1Mi}, limits: {memory: 2Mi}}"), nil, memory, "limit=2097152 swap=0"},
		{"217 limits of the pod", one("", "resources: {limits: {cpu: 2, memory: 1Mi}}"), nil, func(r res) string { return cpu(r) + " " + memory(r) },
			"shares=2 quota=200000 period=100000 limit=1048576 swap=0"},
		{"87 huge pages", one("resources: {limits: {hugepages-2Mi: 4Mi}}"), nil, func(r res) string { return fmt.Sprint(r.HugepageLimits) },
			fmt.Sprint([]*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}, {PageSize: "1GB"}})},
		{"87 small huge pages", one("resources: {limits: {hugepages-64Ki: 128Ki}}"), func(n *translate.Node, _ *translate.Inputs) { n.HugePageSizes = []int64{64 << 10} },
			func(r res) string { return fmt.Sprint(r.HugepageLimits) }, fmt.Sprint([]*runtimeapi.HugepageLimit{{PageSize: "64KB", Limit: 128 << 10}})},
		{"88 OOM score", one("resources: {requests: {memory: 2Gi}}"), nil, func(r res) string { return fmt.Sprint(r.OomScoreAdj) }, "750"},
		{"211 killed as a whole", one(""), nil, file("memory.oom.group"), "1 true"},
		{"211 killed by process", one(""), func(n *translate.Node, _ *translate.Inputs) { n.SingleProcessOOMKill = true }, file("memory.oom.group"), " false"},
		{"211 cgroup v1 has no files", one(""), v1, func(r res) string { return fmt.Sprint(len(r.Unified)) }, "0"},
		{"212 no throttling by default", one("resources: {requests: {memory: 1Gi}}"), nil, file("memory.high"), " false"},
		{"212 throttling below the limit", one("resources: {requests: {memory: 1Gi}, limits: {memory: 2Gi}}"),
			func(n *translate.Node, _ *translate.Inputs) { n.MemoryThrottlingFactor = &half }, file("memory.high"), "1610612736 true"},
		{"212 throttling below allocatable, by whole pages", one("resources: {requests: {memory: 4097}}"),
			func(n *translate.Node, _ *translate.Inputs) { n.MemoryThrottlingFactor = &half }, file("memory.high"), "3758096384 true"},
		{"212 request equals limit", one("resources: {requests: {memory: 1Gi}, limits: {memory: 1Gi}}"),
			func(n *translate.Node, _ *translate.Inputs) { n.MemoryThrottlingFactor = &half }, file("memory.high"), " false"},
		{"212 reserved, guaranteed", one("resources: {limits: {cpu: 1, memory: 1Gi}}"), tiered, file("memory.min"), "1073741824 true"},
		{"212 reserved, burstable", one("resources: {requests: {memory: 1Gi}}"), tiered, file("memory.low"), "1073741824 true"},
		{"212 reserved, nothing asked", one(""), tiered, file("memory.low"), " false"},
		{"214 no swap", one("resources: {requests: {memory: 2Gi}}"), nil, file("memory.swap.max"), "0 true"},
		{"214 no swap on cgroup v1", one("resources: {limits: {memory: 1Gi}}"), v1, memory, "limit=1073741824 swap=1073741824"},
		{"214 kernel without swap accounting", one(""), func(n *translate.Node, _ *translate.Inputs) { n.Swap.Controller = false }, file("memory.swap.max"), " false"},
		{"214 share of swap", one("resources: {requests: {memory: 2Gi}}"), limited, file("memory.swap.max"), "1073741824 true"},
		{"214 no share for best effort", one(""), limited, file("memory.swap.max"), "0 true"},
		{"214 no share when request equals limit", one("resources: {requests: {memory: 2Gi}, limits: {memory: 2Gi}}"), limited, file("memory.swap.max"), "0 true"},
		{"214 no share for critical pods", one("resources: {requests: {memory: 2Gi}}", "priority: 2000000000"), limited, file("memory.swap.max"), "0 true"},
		{"214 no share on cgroup v1", one("resources: {requests: {memory: 2Gi}, limits: {memory: 3Gi}}"), func(n *translate.Node, in *translate.Inputs) {
			limited(n, in)
			n.CgroupVersion = 1
		}, memory, "limit=3221225472 swap=3221225472"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := containerOf(t, c.spec, "a", c.change)
			if err != nil {
				t.Fatal(err)
			}
			if have := c.got(got.Linux.Resources); have != c.want {
				t.Errorf("got %s, want %s", have, c.want)
			}
		})
	}
	t.Run("203 shares and quota at their ends", func(t *testing.T) {
		for milli, want := range map[int64]int64{0: 2, 1: 2, 2: 2, 1000: 1024, 256000: 262144, 1 << 62: 262144} {
			if got := translate.Shares(milli); got != want {
				t.Errorf("Shares(%d) = %d, want %d", milli, got, want)
			}
		}
		if got := translate.Quota(0, time.Second); got != -1 {
			t.Errorf("Quota(0) = %d, want -1", got)
		}
	})
}

func tiered(n *translate.Node, _ *translate.Inputs) { n.TieredReservation = true }

func limited(n *translate.Node, _ *translate.Inputs) {
	n.Swap = translate.Swap{Controller: true, Limited: true, Capacity: 4 << 30}
}
