package config

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

var tlsVersions = [...]string{"VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"}

// servers checks what listens, and who is let in.
func (v *checker) servers() {
	k := v.k
	v.ip("address", k.Address)
	v.ip("healthzBindAddress", k.HealthzBindAddress)
	v.between("port", int64(k.Port), 1, 65535)
	v.between("readOnlyPort", int64(k.ReadOnlyPort), 0, 65535)
	v.betweenPtr("healthzPort", k.HealthzPort, 0, 65535)
	v.tls()
	v.oneOf("authorization.mode", string(k.Authorization.Mode), "AlwaysAllow", "Webhook")
	v.notNegative("authentication.webhook.cacheTTL", k.Authentication.Webhook.CacheTTL)
	v.notNegative("authorization.webhook.cacheAuthorizedTTL", k.Authorization.Webhook.CacheAuthorizedTTL)
	v.notNegative("authorization.webhook.cacheUnauthorizedTTL", k.Authorization.Webhook.CacheUnauthorizedTTL)
	v.atLeastPtr("eventRecordQPS", k.EventRecordQPS, 0)
	v.atLeast("eventBurst", int64(k.EventBurst), 0)
	v.atLeast("kubeAPIBurst", int64(k.KubeAPIBurst), 0)
	if isTrue(k.EnableSystemLogQuery) {
		v.needsGate("enableSystemLogQuery", true, "NodeLogQuery")
		if !isTrue(k.EnableSystemLogHandler) {
			v.bad("enableSystemLogQuery", true, "needs enableSystemLogHandler true")
		}
	}
	if s := k.ShowHiddenMetricsForVersion; s != "" && s != "1.36" {
		v.bad("showHiddenMetricsForVersion", quote(s), `want "1.36", the minor version before this one, or nothing`)
	}
	if t := k.Tracing; t != nil {
		v.betweenPtr("tracing.samplingRatePerMillion", t.SamplingRatePerMillion, 0, 1000000)
		if t.Endpoint != nil && (*t.Endpoint == "" || strings.ContainsAny(*t.Endpoint, " \t\r\n")) {
			v.bad("tracing.endpoint", quote(*t.Endpoint), "want host:port, or leave it out for localhost:4317")
		}
	}
}

func (v *checker) tls() {
	k := v.k
	if (k.TLSCertFile == "") != (k.TLSPrivateKeyFile == "") {
		missing, given := "tlsCertFile", "tlsPrivateKeyFile"
		if k.TLSCertFile != "" {
			missing, given = given, missing
		}
		v.bad(missing, `""`, "want a file, since "+given+" is set; or leave both out to have a certificate made")
	}
	if k.TLSMinVersion != "" {
		v.oneOf("tlsMinVersion", k.TLSMinVersion, tlsVersions[:]...)
	}
	known := map[string]bool{}
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		known[suite.Name] = true
	}
	for _, name := range k.TLSCipherSuites {
		if !known[name] {
			hint := "want an IANA name such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
			if best := nearestShort(name, slices.Collect(maps.Keys(known))); best != "" {
				hint = "there is no such cipher suite; did you mean " + best + "?"
			}
			v.bad("tlsCipherSuites", quote(name), hint)
		}
	}
	for _, id := range k.TLSCurvePreferences {
		if name := tls.CurveID(id).String(); id < 0 || id > 65535 || strings.HasPrefix(name, "CurveID(") {
			v.bad("tlsCurvePreferences", id, "want the number of a curve Go knows, such as 29 for X25519 or 4588 for X25519MLKEM768")
		}
	}
	if k.ServerTLSBootstrap {
		v.needsGate("serverTLSBootstrap", true, "RotateKubeletServerCertificate")
	}
}

func nearestShort(s string, names []string) string {
	if len(s) > maxSuggest {
		return ""
	}
	return nearest(s, names)
}

// flagOnly checks the settings that have no place in the config file.
func (v *checker) flagOnly() {
	c := v.c
	bad := func(flag, value, want string) { v.problems.add("--"+flag, value, want) }
	if c.CloudProvider != "" && c.CloudProvider != "external" {
		bad("cloud-provider", quote(c.CloudProvider), `want external or nothing: cloud code is not built in any more, its controller runs in the cluster`)
	}
	if c.ExitOnLockContention && c.LockFile == "" {
		bad("exit-on-lock-contention", "true", "needs --lock-file")
	}
	if (c.ImageCredentialProviderConfig == "") != (c.ImageCredentialProviderBinDir == "") {
		bad("image-credential-provider-config", quote(c.ImageCredentialProviderConfig), "want both this flag and --image-credential-provider-bin-dir, or neither")
	}
	if c.HousekeepingInterval <= 0 {
		bad("housekeeping-interval", c.HousekeepingInterval.String(), "want more than 0s")
	}
	if c.DeadContainers.MinAge < 0 {
		bad("minimum-container-ttl-duration", c.DeadContainers.MinAge.String(), "want 0s or more")
	}
	if c.RootDir == "" {
		bad("root-dir", `""`, "want a directory")
	}
	v.nodeName()
	v.nodeIPs()
	for _, p := range checkNodeLabels(c.NodeLabels) {
		bad("node-labels", p.Value, p.Want)
	}
}

func (v *checker) nodeIPs() {
	ips := v.c.NodeIPs
	if len(ips) == 0 {
		return
	}
	shown := make([]string, len(ips))
	for i, ip := range ips {
		shown[i] = ip.String()
	}
	reject := func(want string) { v.problems.add("--node-ip", quote(strings.Join(shown, ",")), want) }
	unspecified := slices.ContainsFunc(ips, netip.Addr.IsUnspecified)
	switch {
	case len(ips) > 2:
		reject(fmt.Sprintf("want one address, or one of each family; these are %d", len(ips)))
	case len(ips) == 2 && unspecified:
		reject("0.0.0.0 and :: choose a family and stand alone")
	case len(ips) == 2 && ips[0].Is4() == ips[1].Is4():
		reject("want one IPv4 and one IPv6 address; both are of one family")
	case slices.ContainsFunc(ips, netip.Addr.IsMulticast):
		reject("want an address of this machine, not a multicast one")
	}
}
