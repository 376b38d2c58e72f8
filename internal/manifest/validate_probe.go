package manifest

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// lifecycle checks the probes and hooks of a container that goes on running.
func (c *checker) lifecycle(one *v1.Container, at *field.Path) {
	c.probe(one.LivenessProbe, at.Child("livenessProbe"))
	c.probe(one.StartupProbe, at.Child("startupProbe"))
	c.probe(one.ReadinessProbe, at.Child("readinessProbe"))
	c.onlyOneSuccess(one.LivenessProbe, at.Child("livenessProbe"))
	c.onlyOneSuccess(one.StartupProbe, at.Child("startupProbe"))
	if p := one.ReadinessProbe; p != nil && p.TerminationGracePeriodSeconds != nil {
		c.invalid(at.Child("readinessProbe", "terminationGracePeriodSeconds"), *p.TerminationGracePeriodSeconds,
			"must not be set for readinessProbes")
	}
	if l := one.Lifecycle; l != nil {
		c.hook(l.PostStart, at.Child("lifecycle", "postStart"))
		c.hook(l.PreStop, at.Child("lifecycle", "preStop"))
		c.stopSignal(l.StopSignal, at.Child("lifecycle", "stopSignal"))
	}
}

func (c *checker) onlyOneSuccess(p *v1.Probe, at *field.Path) {
	if p != nil && p.SuccessThreshold != 1 {
		c.invalid(at.Child("successThreshold"), p.SuccessThreshold, "must be 1")
	}
}

func (c *checker) probe(p *v1.Probe, at *field.Path) {
	if p == nil {
		return
	}
	c.handler(handler{exec: p.Exec, http: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC}, at)
	c.nonNegative(at.Child("initialDelaySeconds"), int64(p.InitialDelaySeconds))
	c.nonNegative(at.Child("timeoutSeconds"), int64(p.TimeoutSeconds))
	c.nonNegative(at.Child("periodSeconds"), int64(p.PeriodSeconds))
	c.nonNegative(at.Child("successThreshold"), int64(p.SuccessThreshold))
	c.nonNegative(at.Child("failureThreshold"), int64(p.FailureThreshold))
	if g := p.TerminationGracePeriodSeconds; g != nil && *g <= 0 {
		c.invalid(at.Child("terminationGracePeriodSeconds"), *g, "must be greater than 0")
	}
}

func (c *checker) hook(h *v1.LifecycleHandler, at *field.Path) {
	if h != nil {
		c.handler(handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}, at)
	}
}

// handler is what a probe or a hook does: exactly one of these.
type handler struct {
	exec  *v1.ExecAction
	http  *v1.HTTPGetAction
	tcp   *v1.TCPSocketAction
	grpc  *v1.GRPCAction
	sleep *v1.SleepAction
}

func (c *checker) handler(h handler, at *field.Path) {
	count := 0
	next := func(name string) *field.Path {
		if count++; count > 1 {
			c.forbidden(at.Child(name), "may not specify more than 1 handler type")
		}
		return at.Child(name)
	}
	if h.exec != nil {
		if here := next("exec"); len(h.exec.Command) == 0 {
			c.required(here.Child("command"), "")
		}
	}
	if h.http != nil {
		c.httpGet(h.http, next("httpGet"))
	}
	if h.tcp != nil {
		c.portNumberOrName(h.tcp.Port, next("tcpSocket").Child("port"))
	}
	if h.grpc != nil {
		here := next("grpc")
		c.must(here.Child("port"), h.grpc.Port, validation.IsValidPortNum(int(h.grpc.Port)))
		if h.grpc.Mode != nil {
			oneOf(c, here.Child("mode"), *h.grpc.Mode, v1.GRPCProbeModePlaintext, v1.GRPCProbeModeTLS)
		}
	}
	if h.sleep != nil {
		c.sleep(h.sleep, next("sleep"))
	}
	if count == 0 {
		c.required(at, "must specify a handler type")
	}
}

func (c *checker) sleep(s *v1.SleepAction, at *field.Path) {
	grace := int64(v1.DefaultTerminationGracePeriodSeconds)
	if g := c.pod.Spec.TerminationGracePeriodSeconds; g != nil {
		grace = *g
	}
	if s.Seconds < 0 || s.Seconds > grace {
		c.invalid(at.Child("seconds"), s.Seconds,
			fmt.Sprintf("must be non-negative and not greater than terminationGracePeriodSeconds (%d)", grace))
	}
}

func (c *checker) httpGet(h *v1.HTTPGetAction, at *field.Path) {
	if h.Path == "" {
		c.required(at.Child("path"), "")
	}
	c.portNumberOrName(h.Port, at.Child("port"))
	oneOf(c, at.Child("scheme"), h.Scheme, v1.URISchemeHTTP, v1.URISchemeHTTPS)
	for i, header := range h.HTTPHeaders {
		c.must(at.Child("httpHeaders").Index(i).Child("name"), header.Name, validation.IsHTTPHeaderName(header.Name))
	}
	if h.Protocol == nil {
		return
	}
	oneOf(c, at.Child("protocol"), *h.Protocol, v1.HTTPProtocolHTTP1, v1.HTTPProtocolHTTP2)
	if *h.Protocol == v1.HTTPProtocolHTTP2 && h.Scheme == v1.URISchemeHTTPS {
		c.invalid(at.Child("protocol"), *h.Protocol, "must be used with scheme HTTP")
	}
}

func (c *checker) portNumberOrName(p intstr.IntOrString, at *field.Path) {
	if p.Type == intstr.Int {
		c.must(at, p.IntVal, validation.IsValidPortNum(int(p.IntVal)))
	} else {
		c.must(at, p.StrVal, validation.IsValidPortName(p.StrVal))
	}
}

func (c *checker) stopSignal(s *v1.Signal, at *field.Path) {
	if s == nil {
		return
	}
	switch os := c.pod.Spec.OS; {
	case os == nil || os.Name == "":
		c.forbidden(at, "may not be set for containers in a pod with no `os.name`")
	case os.Name == v1.Windows:
		oneOf(c, at, *s, v1.SIGKILL, v1.SIGTERM)
	case !isLinuxSignal(string(*s)):
		c.invalid(at, *s, "must be the name of a signal of Linux, such as SIGTERM, SIGQUIT or SIGRTMIN+3")
	}
}

func isLinuxSignal(name string) bool {
	for prefix, most := range map[string]int{"SIGRTMIN+": 15, "SIGRTMAX-": 14} {
		var n int
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			_, err := fmt.Sscanf(rest, "%d", &n)
			return err == nil && n >= 1 && n <= most && rest == fmt.Sprint(n)
		}
	}
	return slices.Contains([]string{"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL",
		"SIGINT", "SIGIO", "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT",
		"SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM",
		"SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMAX"}, name)
}
