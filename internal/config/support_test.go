package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/golden"
)

// leaves visits every config field that holds a value, by its path in the file.
func leaves(t reflect.Type, path string, visit func(path string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || isLeaf(t) {
		visit(path)
		return
	}
	for _, name := range fieldNames(t) {
		f, _ := fieldNamed(t, name)
		leaves(f.Type, strings.TrimPrefix(path+"."+name, "."), visit)
	}
}

func configFields() (all []string) {
	leaves(reflect.TypeFor[KubeletConfiguration](), "", func(path string) {
		if path != "kind" && path != "apiVersion" {
			all = append(all, path)
		}
	})
	return all
}

func TestSupportTableIsComplete(t *testing.T) {
	count := map[string]int{}
	for _, s := range append(fieldSupport(), flagSupport()...) {
		count[s.setting]++
	}
	want := configFields()
	for _, f := range plainFlags() {
		if f.field == "" {
			want = append(want, "--"+f.name)
		}
	}
	for _, setting := range want {
		if count[setting] != 1 {
			t.Errorf("%s is in the table %d times, want once", setting, count[setting])
		}
		delete(count, setting)
	}
	for setting := range count {
		t.Errorf("%s is in the table but not in the type or the flags", setting)
	}
	gates := gateTable()
	for _, name := range honouredGates() {
		if _, ok := gates[name]; !ok {
			t.Errorf("%s is no gate", name)
		}
	}
	tops := map[string]bool{}
	for _, f := range configFields() {
		top, _, _ := strings.Cut(f, ".")
		tops[top] = true
	}
	if len(tops) != 126 {
		t.Errorf("the type has %d top-level fields, the specification was written for 126", len(tops))
	}
}

func TestUnsupported(t *testing.T) {
	// Take settings from the table, so that this test lives on when they become honoured.
	notYetSet := map[string]bool{}
	for _, s := range AllUnsupported() {
		notYetSet[s] = true
	}
	body := "port: 10260\nmaxPods: 5\nsyncFrequency: 0s\nprotectKernelDefaults: true\ntracing: {samplingRatePerMillion: 5}\nevictionSoft: {memory.available: 1Mi}\nevictionSoftGracePeriod: {memory.available: 1m}\nhairpinMode: none\n"
	c, err := loadYAML(body, "--kubeconfig=/k", "--lock-file=/l", "--housekeeping-interval=10s", "--root-dir=/r")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, line := range []string{"port: 10260", "protectKernelDefaults: true", "tracing.samplingRatePerMillion: 5", `evictionSoft: {"memory.available":"1Mi"}`,
		`evictionSoftGracePeriod: {"memory.available":"1m"}`, `--kubeconfig: "/k"`, `--lock-file: "/l"`} {
		if setting, _, _ := strings.Cut(line, ": "); notYetSet[setting] {
			want = append(want, line)
		}
	}
	var got []string
	for _, f := range Unsupported(c) {
		got = append(got, f.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// Gates that are on as usual, locked, or that do something, are no news.
	c, err = loadYAML("featureGates: {MemoryQoS: false, EnvFiles: true, ContainerStopSignals: true, AllAlpha: true, AllBeta: true, NodeSwap: true}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(Unsupported(c)); got != "[featureGates.AllAlpha: true featureGates.ContainerStopSignals: true]" {
		t.Error(got)
	}
	// Defaults are nobody's choice.
	for _, args := range [][]string{nil, {"--config=/k"}} {
		if got := Unsupported(load(t, files{"/k": head}, args...)); len(got) > 0 {
			t.Errorf("%q: %v", args, got)
		}
	}
}

// Each flag that mirrors a field sets that field and no other.
func TestMirrorsSetTheirField(t *testing.T) {
	samples := map[string]string{
		"int": "7", "duration": "7s", "string": "seven", "a,b,…": "x,y", "key=value,…": "k=v", "key<value,…": "k<v", "name:value,…": "n:v",
		"Gate=true,…": "MemoryQoS=false", "key=value:Effect,…": "k=v:NoSchedule", "numa:type=value,…;…": "0:memory=1Gi", "pattern=level,…": "a=1", "quantity": "3Ki",
	}
	fields := configFields()
	for _, f := range flagTable() {
		if f.field == "" {
			continue
		}
		c := blank()
		fill(&c.Kubelet)
		before := asObject(c.Kubelet)
		v := f.bind(c)
		sample := samples[v.kind]
		if v.isSwitch() {
			sample = "true"
			if v.show() == "true" {
				sample = "false"
			}
		}
		if err := v.set(sample); sample == "" || err != nil {
			t.Errorf("--%s of kind %q: sample %q: %v", f.name, v.kind, sample, err)
			continue
		}
		after := asObject(c.Kubelet)
		for _, field := range fields {
			if changed := !reflect.DeepEqual(at(before, field), at(after, field)); changed != (field == f.field) {
				t.Errorf("--%s for %s: %s changed: %t", f.name, f.field, field, changed)
			}
		}
	}
}

// The flags of the specification, sections 4.1 to 4.3, all there, and no others but Bosun's own.
func TestFlagsOfTheSpecification(t *testing.T) {
	want := strings.Fields(`config config-dir kubeconfig bootstrap-kubeconfig hostname-override node-ip cert-dir cloud-provider root-dir node-labels
		image-credential-provider-config image-credential-provider-bin-dir lock-file exit-on-lock-contention runtime-cgroups seccomp-default provider-id fail-cgroupv1
		housekeeping-interval v vmodule log-flush-frequency version help
		minimum-container-ttl-duration maximum-dead-containers-per-container maximum-dead-containers experimental-mounter-path experimental-allocatable-ignore-eviction
		enable-server fail-swap-on pod-manifest-path sync-frequency file-check-frequency http-check-frequency manifest-url manifest-url-header address port read-only-port
		container-runtime-endpoint image-service-endpoint anonymous-auth authentication-token-webhook authentication-token-webhook-cache-ttl client-ca-file
		authorization-mode authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl tls-cert-file tls-private-key-file
		rotate-server-certificates tls-cipher-suites tls-min-version rotate-certificates registry-qps registry-burst event-qps event-burst enable-debugging-handlers
		contention-profiling healthz-port healthz-bind-address oom-score-adj cluster-domain volume-plugin-dir cluster-dns streaming-connection-idle-timeout
		node-status-update-frequency minimum-image-ttl-duration image-gc-high-threshold image-gc-low-threshold volume-stats-agg-period feature-gates kubelet-cgroups
		system-cgroups cgroups-per-qos cgroup-driver cgroup-root cpu-manager-policy cpu-manager-policy-options cpu-manager-reconcile-period memory-manager-policy
		reserved-memory topology-manager-policy topology-manager-policy-options topology-manager-scope qos-reserved runtime-request-timeout hairpin-mode max-pods
		pod-cidr pod-max-pids resolv-conf cpu-cfs-quota cpu-cfs-quota-period enable-controller-attach-detach make-iptables-util-chains container-log-max-size
		container-log-max-files allowed-unsafe-sysctls node-status-max-images kernel-memcg-notification local-storage-capacity-isolation max-open-files
		kube-api-content-type kube-api-qps kube-api-burst serialize-image-pulls eviction-hard eviction-soft eviction-soft-grace-period
		eviction-pressure-transition-period eviction-max-pod-grace-period eviction-minimum-reclaim pods-per-core protect-kernel-defaults reserved-cpus system-reserved
		kube-reserved enforce-node-allocatable system-reserved-cgroup kube-reserved-cgroup register-node register-with-taints logging-format log-text-split-stream
		log-text-info-buffer-size log-json-split-stream log-json-info-buffer-size
		runtime-dir images detach offline-restart local-objects node-api node-api-port ledger`)
	have := map[string]int{}
	for _, f := range flagTable() {
		have[f.name]++
	}
	for _, name := range want {
		if have[name] != 1 {
			t.Errorf("--%s is there %d times, want once", name, have[name])
		}
		delete(have, name)
	}
	for name := range have {
		t.Errorf("--%s is not in the specification", name)
	}
	golden.File(t, "flags.golden", Flags())
}

func TestRedacted(t *testing.T) {
	c := load(t, nil, "--manifest-url=https://user:hunter2@host/pods?token=hunter2", "--manifest-url-header=Authorization:hunter2,X:hunter2")
	r := c.Redacted()
	if text := asYAML(t, r.Kubelet); strings.Contains(text, "hunter2") || !strings.Contains(text, "host/pods") || !strings.Contains(text, "Authorization") {
		t.Error(text)
	}
	if c.Kubelet.StaticPodURLHeader["X"][0] != "hunter2" {
		t.Error("the configuration itself was masked")
	}
	values := c.FlagValues()
	if text := asYAML(t, values); strings.Contains(text, "hunter2") || len(values) != len(flagTable()) || values["manifest-url"] != r.Kubelet.StaticPodURL || values["root-dir"] != c.RootDir {
		t.Error(text)
	}
	up, err := Load([]string{"https://u:hunter2@h/pod.yaml", "./pod.yaml"}, Env{Files: files{}, Operands: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(up.Redacted().Args, " "); got != "https://masked@h/pod.yaml ./pod.yaml" {
		t.Errorf("arguments %q", got)
	}
	if got := load(t, nil).Redacted().Kubelet.StaticPodURL; got != "" {
		t.Errorf("no URL became %q", got)
	}
}
