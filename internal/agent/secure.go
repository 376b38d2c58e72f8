package agent

import (
	"fmt"
	"log/slog"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/bosun-project/bosun/internal/access"
	"github.com/bosun-project/bosun/internal/certs"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/serve"
)

// buildSecure makes the server at 10250. A node without an API server has one only if its configuration says who may come in.
func (a *Agent) buildSecure() error {
	k := &a.cfg.Kubelet
	if k.Port <= 0 || k.EnableServer != nil && !*k.EnableServer {
		return nil
	}
	// What is allowed by default without a configuration file is everything, to everybody.
	if a.member == nil && !slices.ContainsFunc([]string{"port", "authentication", "authorization"}, a.cfg.IsSet) {
		return nil
	}
	gate, err := access.New(a.gateConfig())
	if err != nil {
		return fmt.Errorf("port %d: %w", k.Port, err)
	}
	if a.serving, err = certs.NewServing(a.servingConfig()); err != nil {
		return err
	}
	s := serve.NewSecure(address(k.Address, k.Port), a.answers, serve.TLSConfig(k, a.serving.GetCertificate, gate.ClientCAs), gate, a.log)
	a.faces = append(a.faces, actor{"secure server", s.Run}, actor{"serving certificate", a.serving.Run})
	return nil
}

func (a *Agent) gateConfig() access.Config {
	k := &a.cfg.Kubelet
	on := func(b *bool) bool { return b != nil && *b }
	c := access.Config{
		NodeName: a.host.Name, ClientCAFile: k.Authentication.X509.ClientCAFile, Fixed: !a.cfg.Gate("ReloadKubeletClientCAFile"),
		Tokens: on(k.Authentication.Webhook.Enabled), TokenTTL: k.Authentication.Webhook.CacheTTL.Duration,
		Anonymous:   on(k.Authentication.Anonymous.Enabled),
		AlwaysAllow: k.Authorization.Mode == kubelet.KubeletAuthorizationModeAlwaysAllow,
		AllowedTTL:  k.Authorization.Webhook.CacheAuthorizedTTL.Duration, DeniedTTL: k.Authorization.Webhook.CacheUnauthorizedTTL.Duration,
		Meter: a.metrics.Access(), Log: a.log,
	}
	if a.member != nil {
		c.Reviewer = a.member.client
	}
	return c
}

func (a *Agent) servingConfig() certs.ServingConfig {
	k := &a.cfg.Kubelet
	c := certs.ServingConfig{
		CertFile: k.TLSCertFile, KeyFile: k.TLSPrivateKeyFile, CertDir: a.cfg.CertDir, NodeName: a.host.Name,
		Fixed: !a.cfg.Gate("ReloadKubeletServerCertificateFile"), NamesSuffice: a.cfg.Gate("AllowDNSOnlyNodeCSR"),
		Names: append([]string{a.host.Name}, a.ips.Value()...), Notes: a.note, Log: a.log,
	}
	if a.member != nil {
		c.Renewed, c.RenewFailed = a.member.numbers.Rotated, a.member.numbers.ServingRenewFailed
	}
	if k.ServerTLSBootstrap && a.member != nil {
		c.Bootstrap, c.Requests, c.Addresses = true, requests{a.member.client}, &a.member.addresses
	}
	return c
}

// mirrorUID is the identity of a static pod's picture in the API; empty if it has none.
func (a *Agent) mirrorUID(static types.UID) types.UID {
	if a.member == nil {
		return ""
	}
	for uid, p := range a.member.byUID.Value().pods {
		if p.Annotations[names.ConfigMirror] == string(static) {
			return uid
		}
	}
	return ""
}

// verbosity sets how much is logged: from 4 on everything.
func verbosity(level *slog.LevelVar) func(int) {
	if level == nil {
		return nil
	}
	return func(v int) {
		level.Set(slog.LevelInfo)
		if v >= 4 {
			level.Set(slog.LevelDebug)
		}
	}
}
