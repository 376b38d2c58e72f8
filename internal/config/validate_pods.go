package config

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pods checks what shapes pods and where they come from.
func (v *checker) pods() {
	k := v.k
	v.moreThanZero("syncFrequency", k.SyncFrequency)
	v.moreThanZero("fileCheckFrequency", k.FileCheckFrequency)
	v.moreThanZero("httpCheckFrequency", k.HTTPCheckFrequency)
	v.staticURL()
	v.atLeast("maxPods", int64(k.MaxPods), 0)
	v.atLeast("podsPerCore", int64(k.PodsPerCore), 0)
	if k.PodPidsLimit != nil && *k.PodPidsLimit < -1 {
		v.bad("podPidsLimit", *k.PodPidsLimit, "want -1 for no limit, or a number of processes")
	}
	if k.RunOnce {
		v.bad("runOnce", true, "is retired: pods keep running as long as Bosun does; leave it out")
	}
	for i, dns := range k.ClusterDNS {
		if _, err := netip.ParseAddr(dns); err != nil {
			v.bad("clusterDNS", quote(dns), fmt.Sprintf("want an IP address in place %d", i+1))
		}
	}
	for cidr := range strings.SplitSeq(k.PodCIDR, ",") {
		if _, err := netip.ParsePrefix(cidr); err != nil && k.PodCIDR != "" {
			v.bad("podCIDR", quote(cidr), "want an IP range such as 10.85.0.0/16")
		}
	}
	v.oneOf("hairpinMode", k.HairpinMode, "promiscuous-bridge", "hairpin-veth", "none")
	v.oneOf("configMapAndSecretChangeDetectionStrategy", string(k.ConfigMapAndSecretChangeDetectionStrategy), "Watch", "Cache", "Get")
	v.podLogs()
	v.sysctls()
	v.crashLoop()
	if u := k.UserNamespaces; u != nil && u.IDsPerPod != nil {
		if n := *u.IDsPerPod; n <= 0 || n%65536 != 0 || n > math.MaxUint32 {
			v.bad("userNamespaces.idsPerPod", n, "want a multiple of 65536, below 4294967296")
		}
	}
}

func (v *checker) staticURL() {
	k := v.k
	if k.StaticPodURL != "" {
		u, err := url.Parse(k.StaticPodURL)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			v.bad("staticPodURL", quote(redactURL(k.StaticPodURL)), "want a URL that starts with http:// or https://")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.StaticPodURLHeader)) {
		if !headerName.MatchString(name) {
			v.bad("staticPodURLHeader", quote(name), "want a header name: letters, digits and dashes")
		}
		if slices.ContainsFunc(k.StaticPodURLHeader[name], func(s string) bool { return strings.ContainsAny(s, "\r\n\x00") }) {
			v.bad("staticPodURLHeader", quote(name), "the header's value holds a line break; take it out")
		}
	}
}

var (
	headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	sysctlName = regexp.MustCompile(`^[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*$`)
)

func (v *checker) podLogs() {
	k := v.k
	dir := k.PodLogsDir
	isASCII := !strings.ContainsFunc(dir, func(r rune) bool { return r > 127 })
	// One slash at the end is how the field's own documentation writes the default.
	if clean := filepath.Clean(dir); !filepath.IsAbs(dir) || (dir != clean && dir != clean+"/") || !isASCII {
		v.bad("podLogsDir", quote(dir), `want an absolute path in ASCII, without "..", "." or double slashes`)
	}
	if q, err := resource.ParseQuantity(k.ContainerLogMaxSize); err != nil || q.IsZero() {
		v.bad("containerLogMaxSize", quote(k.ContainerLogMaxSize), "want a size such as 10Mi")
	}
	v.atLeastPtr("containerLogMaxFiles", k.ContainerLogMaxFiles, 2)
	v.atLeastPtr("containerLogMaxWorkers", k.ContainerLogMaxWorkers, 1)
	if d := k.ContainerLogMonitorInterval; d != nil && d.Duration < 3*time.Second {
		v.bad("containerLogMonitorInterval", d.Duration, "want 3s or more")
	}
}

func (v *checker) crashLoop() {
	d := v.k.CrashLoopBackOff.MaxContainerRestartPeriod
	if d == nil {
		return
	}
	const field, most = "crashLoopBackOff.maxContainerRestartPeriod", 5 * time.Minute
	if d.Duration < time.Second || d.Duration > most {
		v.bad(field, d.Duration, "want 1s to 5m0s")
	} else if d.Duration != most {
		v.needsGate(field, d.Duration, "KubeletCrashLoopBackOffMax")
	}
}

// namespaced reports whether the kernel keeps a sysctl apart for each pod. Only such may be allowed to pods.
func namespaced(name string) bool {
	for _, prefix := range []string{"kernel.shm", "kernel.msg", "fs.mqueue.", "net."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "kernel.sem"
}

func (v *checker) sysctls() {
	const wantGroup = "want kernel.shm*, kernel.msg*, kernel.sem, or a name below fs.mqueue. or net.: other sysctls belong to the whole host"
	for _, s := range v.k.AllowedUnsafeSysctls {
		name, isPrefix := strings.CutSuffix(s, "*")
		dotted := strings.ReplaceAll(name, "/", ".")
		shape := dotted
		if isPrefix {
			shape = strings.TrimRight(dotted, "._")
		}
		switch {
		case !sysctlName.MatchString(shape):
			v.bad("allowedUnsafeSysctls", quote(s), `want a sysctl's name, or the beginning of one with * at the end`)
		case !namespaced(dotted):
			v.bad("allowedUnsafeSysctls", quote(s), wantGroup)
		}
	}
	if len(v.k.DefaultPodSysctls) == 0 {
		return
	}
	v.needsGate("defaultPodSysctls", showPairs(v.k.DefaultPodSysctls, "="), "DefaultPodSysctls")
	for _, s := range slices.Sorted(maps.Keys(v.k.DefaultPodSysctls)) {
		dotted := strings.ReplaceAll(s, "/", ".")
		ok := namespaced(dotted) || dotted == "kernel.domainname" || strings.HasPrefix(dotted, "user.")
		if !sysctlName.MatchString(dotted) || !ok {
			v.bad("defaultPodSysctls", quote(s), wantGroup)
		}
	}
}

// images checks pulling and removing of images, and the way to the runtime.
func (v *checker) images() {
	k := v.k
	v.endpoint("containerRuntimeEndpoint", k.ContainerRuntimeEndpoint, true)
	v.endpoint("imageServiceEndpoint", k.ImageServiceEndpoint, false)
	v.moreThanZero("runtimeRequestTimeout", k.RuntimeRequestTimeout)
	v.atLeastPtr("registryPullQPS", k.RegistryPullQPS, 0)
	v.atLeast("registryBurst", int64(k.RegistryBurst), 0)
	v.atLeastPtr("maxParallelImagePulls", k.MaxParallelImagePulls, 1)
	if n := k.MaxParallelImagePulls; n != nil && *n > 1 && isTrue(k.SerializeImagePulls) {
		v.bad("maxParallelImagePulls", *n, "cannot be over 1 while serializeImagePulls is true; set that to false")
	}
	v.notNegative("imageMinimumGCAge", k.ImageMinimumGCAge)
	v.imageAges(k.ImageMinimumGCAge, k.ImageMaximumGCAge)
	v.betweenPtr("imageGCHighThresholdPercent", k.ImageGCHighThresholdPercent, 0, 100)
	v.betweenPtr("imageGCLowThresholdPercent", k.ImageGCLowThresholdPercent, 0, 100)
	if low, high := k.ImageGCLowThresholdPercent, k.ImageGCHighThresholdPercent; low != nil && high != nil && *low >= *high {
		v.bad("imageGCLowThresholdPercent", *low, fmt.Sprintf("want less than imageGCHighThresholdPercent, which is %d", *high))
	}
	v.pullPolicy()
}

func (v *checker) imageAges(least, most metav1.Duration) {
	v.notNegative("imageMaximumGCAge", most)
	if most.Duration > 0 && most.Duration <= least.Duration {
		v.bad("imageMaximumGCAge", most.Duration, fmt.Sprintf("want 0s for off, or more than imageMinimumGCAge, which is %s", least.Duration))
	}
}

func (v *checker) endpoint(field, s string, needed bool) {
	if s == "" && !needed {
		return
	}
	path, _ := strings.CutPrefix(s, "unix://")
	if !filepath.IsAbs(path) {
		v.bad(field, quote(s), "want a socket such as unix:///run/containerd/containerd.sock")
	}
}

func (v *checker) pullPolicy() {
	k := v.k
	const field = "imagePullCredentialsVerificationPolicy"
	policy := string(k.ImagePullCredentialsVerificationPolicy)
	if policy != "" {
		v.needsGate(field, quote(policy), "KubeletEnsureSecretPulledImages")
		v.oneOf(field, policy, "NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify")
	}
	if len(k.PreloadedImagesVerificationAllowlist) > 0 && policy != "NeverVerifyAllowlistedImages" {
		v.bad("preloadedImagesVerificationAllowlist", strings.Join(k.PreloadedImagesVerificationAllowlist, ", "),
			"is used only with imagePullCredentialsVerificationPolicy NeverVerifyAllowlistedImages")
	}
	seen := map[string]bool{}
	for _, pattern := range k.PreloadedImagesVerificationAllowlist {
		name, _ := strings.CutSuffix(pattern, "/*")
		last := name[strings.LastIndex(name, "/")+1:]
		if name == "" || strings.ContainsAny(name, "*@ \t") || strings.HasSuffix(name, "/") || (strings.Contains(name, "/") && strings.Contains(last, ":")) {
			v.bad("preloadedImagesVerificationAllowlist", quote(pattern), "want an image without tag or digest, or the beginning of one with /* at the end")
		}
		if seen[pattern] {
			v.bad("preloadedImagesVerificationAllowlist", quote(pattern), "is named twice")
		}
		seen[pattern] = true
	}
}
