package translate_test

import (
	"fmt"
	"slices"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/translate"
)

type sec = *runtimeapi.LinuxContainerSecurityContext

func whom(s sec) string {
	show := func(v *runtimeapi.Int64Value) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprint(v.Value)
	}
	return show(s.RunAsUser) + ":" + show(s.RunAsGroup) + ":" + s.RunAsUsername
}

func filter(s sec) string { return s.Seccomp.ProfileType.String() + " " + s.Seccomp.LocalhostRef }

func armor(s sec) string {
	old := s.ApparmorProfile //lint:ignore SA1019 older runtimes read it
	if s.Apparmor == nil {
		return "none " + old
	}
	return s.Apparmor.ProfileType.String() + " " + s.Apparmor.LocalhostRef + " " + old
}

func TestSecurity(t *testing.T) {
	const podWide = "securityContext: {runAsUser: 1, runAsGroup: 2, seLinuxOptions: {level: pod}, seccompProfile: {type: RuntimeDefault}, appArmorProfile: {type: RuntimeDefault}, fsGroup: 3, supplementalGroups: [4, 3]}"
	user := func(name string) string { return "image: app@user=" + name }
	for _, c := range []struct {
		name, spec string
		change     func(*translate.Node, *translate.Inputs)
		got        func(sec) string
		want       string
	}{
		{"91 of the pod", one("", podWide), nil, func(s sec) string { return whom(s) + " " + s.SelinuxOptions.Level + " " + filter(s) + armor(s) },
			"1:2: pod RuntimeDefault RuntimeDefault  runtime/default"},
		{"91 of the container", one("securityContext: {runAsUser: 9, runAsGroup: 8, seLinuxOptions: {user: own}, seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}}", podWide), nil,
			func(s sec) string {
				return whom(s) + " " + s.SelinuxOptions.User + s.SelinuxOptions.Level + " " + filter(s) + armor(s)
			},
			"9:8: own Unconfined Unconfined  unconfined"},
		{"91 user of the container, group of the pod", one("securityContext: {runAsUser: 9}", podWide), nil, whom, "9:2:"},
		{"93 image's number", "containers: [{name: a, " + user("65532") + "}]", nil, whom, "65532:-:"},
		{"93 image's name", "containers: [{name: a, " + user("app") + "}]", nil, whom, "-:-:app"},
		{"93 nobody says: root", one(""), nil, whom, "0:-:"},
		{"93 the pod before the image", "containers: [{name: a, " + user("app") + "}]\n" + podWide, nil, whom, "1:2:"},
		{"94 groups, each once", one("", podWide), func(_ *translate.Node, in *translate.Inputs) { in.Groups = []int64{5, 4} },
			func(s sec) string { return fmt.Sprint(s.SupplementalGroups, s.SupplementalGroupsPolicy) }, "[3 4 5] Merge"},
		{"94 strict", one("", "securityContext: {supplementalGroups: [7], supplementalGroupsPolicy: Strict}"), nil,
			func(s sec) string { return fmt.Sprint(s.SupplementalGroups, s.SupplementalGroupsPolicy) }, "[7] Strict"},
		{"95 unset", one(""), nil, filter, "Unconfined "},
		{"95 unset with seccompDefault", one(""), func(n *translate.Node, _ *translate.Inputs) { n.SeccompDefault = true }, filter, "RuntimeDefault "},
		{"95 Unconfined with seccompDefault", one("securityContext: {seccompProfile: {type: Unconfined}}"), func(n *translate.Node, _ *translate.Inputs) { n.SeccompDefault = true },
			filter, "Unconfined "},
		{"95 local profile", one("securityContext: {seccompProfile: {type: Localhost, localhostProfile: x/y.json}}"), nil, filter, "Localhost /var/lib/kubelet/seccomp/x/y.json"},
		{"96 unset", one(""), nil, armor, "none "},
		{"96 local profile", one("securityContext: {appArmorProfile: {type: Localhost, localhostProfile: p}}"), nil, armor, "Localhost p localhost/p"},
		{"97 no new privileges", one("securityContext: {allowPrivilegeEscalation: false}"), nil, func(s sec) string { return fmt.Sprint(s.NoNewPrivs) }, "true"},
		{"97 allowed", one("securityContext: {allowPrivilegeEscalation: true}"), nil, func(s sec) string { return fmt.Sprint(s.NoNewPrivs) }, "false"},
		{"97 unset", one(""), nil, func(s sec) string { return fmt.Sprint(s.NoNewPrivs) }, "false"},
		{"98 capabilities", one("securityContext: {capabilities: {add: [NET_ADMIN, CAP_SYS_TIME], drop: [ALL]}}"), nil,
			func(s sec) string { return fmt.Sprint(s.Capabilities.AddCapabilities, s.Capabilities.DropCapabilities) }, "[NET_ADMIN SYS_TIME] [ALL]"},
		{"98 none", one(""), nil, func(s sec) string { return fmt.Sprint(s.Capabilities == nil) }, "true"},
		{"98 privileged", one("securityContext: {privileged: true}"), nil, func(s sec) string { return fmt.Sprint(s.Privileged) }, "true"},
		{"99 read-only root", one("securityContext: {readOnlyRootFilesystem: true}"), nil, func(s sec) string { return fmt.Sprint(s.ReadonlyRootfs) }, "true"},
		{"99 default paths", one(""), nil, func(s sec) string {
			return fmt.Sprintln(len(s.MaskedPaths), s.MaskedPaths[12], slices.Contains(s.MaskedPaths, "/proc/kcore"), s.ReadonlyPaths)
		}, "13 /sys/devices/system/cpu/cpu0/thermal_throttle true [/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger]\n"},
		{"99 unmasked", one("securityContext: {procMount: Unmasked}"), nil, func(s sec) string { return fmt.Sprint(len(s.MaskedPaths), len(s.ReadonlyPaths)) }, "0 0"},
		{"52 target's processes", one(""), func(_ *translate.Node, in *translate.Inputs) { in.TargetID = "id" },
			func(s sec) string { return s.NamespaceOptions.Pid.String() + " " + s.NamespaceOptions.TargetId }, "TARGET id"},
		{"52 target in a pod that shares its processes", one("", "shareProcessNamespace: true"), func(_ *translate.Node, in *translate.Inputs) { in.TargetID = "id" },
			func(s sec) string { return s.NamespaceOptions.Pid.String() + s.NamespaceOptions.TargetId }, "POD"},
		{"102 the node's namespaces", one("", "hostPID: true\nhostIPC: true\nhostNetwork: true"), nil,
			func(s sec) string {
				return s.NamespaceOptions.Pid.String() + s.NamespaceOptions.Ipc.String() + s.NamespaceOptions.Network.String()
			}, "NODENODENODE"},
		{"100 user namespace", one("", "hostUsers: false"), nil, func(s sec) string {
			return fmt.Sprint(s.NamespaceOptions.UsernsOptions.Mode, s.NamespaceOptions.UsernsOptions.Uids[0].HostId)
		}, "POD 131072"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := containerOf(t, c.spec, "a", c.change)
			if err != nil {
				t.Fatal(err)
			}
			if have := c.got(got.Linux.SecurityContext); have != c.want {
				t.Errorf("got %q, want %q", have, c.want)
			}
		})
	}
}

func TestAppArmorAnnotation(t *testing.T) {
	for _, c := range []struct{ name, annotation, spec, want string }{
		{"96 annotation", "localhost/old", one(""), "Localhost old localhost/old"},
		{"96 annotation, default", "runtime/default", one(""), "RuntimeDefault  runtime/default"},
		{"96 annotation, unconfined", "unconfined", one(""), "Unconfined  unconfined"},
		{"96 annotation before the pod's field", "unconfined", one("", "securityContext: {appArmorProfile: {type: RuntimeDefault}}"), "Unconfined  unconfined"},
		{"96 container's field before the annotation", "unconfined", one("securityContext: {appArmorProfile: {type: RuntimeDefault}}"), "RuntimeDefault  runtime/default"},
		{"96 odd annotation", "docker-default", one(""), `appArmorProfile.type: invalid value "docker-default"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parse(t, c.spec)
			p.Annotations = map[string]string{"container.apparmor.security.beta.kubernetes.io/a": c.annotation}
			got, err := containerOfPod(t, p)
			if err != nil {
				refused(t, err, reason.CreateContainerConfigErr, c.want)
				return
			}
			if have := armor(got.Linux.SecurityContext); have != c.want {
				t.Errorf("got %q, want %q", have, c.want)
			}
		})
	}
}

func TestNonRoot(t *testing.T) {
	const where = ` (pod: "web_shop(u-1)", container: a)`
	for _, c := range []struct{ name, pod, container, user, want string }{
		{"92 image runs as root", "{runAsNonRoot: true}", "{}", "", "container has runAsNonRoot and image will run as root" + where},
		{"92 image says 0", "{runAsNonRoot: true}", "{}", "0", "container has runAsNonRoot and image will run as root" + where},
		{"92 image names a user", "{}", "{runAsNonRoot: true}", "app", "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root" + where},
		{"92 runAsUser is root", "{runAsNonRoot: true}", "{runAsUser: 0}", "5", "container's runAsUser breaks non-root policy" + where},
		{"92 runAsUser of the pod is root", "{runAsUser: 0}", "{runAsNonRoot: true}", "5", "container's runAsUser breaks non-root policy" + where},
		{"92 runAsUser is checked before the image", "{runAsNonRoot: true}", "{runAsUser: 5}", "app", ""},
		{"92 image says a number", "{runAsNonRoot: true}", "{}", "5", ""},
		{"92 container overrules the pod", "{runAsNonRoot: true}", "{runAsNonRoot: false}", "", ""},
		{"92 nothing asked", "{}", "{}", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parse(t, "securityContext: "+c.pod+"\ncontainers: [{name: a, image: 'app@user="+c.user+"', securityContext: "+c.container+"}]")
			_, err := containerOfPod(t, p)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, reason.CreateContainerConfigErr, c.want)
			if err.Error() != c.want {
				t.Errorf("got %q, want %q", err, c.want)
			}
		})
	}
}
