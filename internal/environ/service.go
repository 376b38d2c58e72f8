package environ

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// services are the services whose variables a container of the pod gets, sorted by name (behaviour 69). A service of
// the pod's own namespace hides a master service of that name.
func services(p *v1.Pod, f Facts) []v1.Service {
	byName := map[string]v1.Service{}
	for _, s := range f.MasterServices {
		byName[s.Name] = s
	}
	if links := p.Spec.EnableServiceLinks; links == nil || *links {
		for _, s := range f.Services {
			if s.Namespace == p.Namespace {
				byName[s.Name] = s
			}
		}
	}
	out := make([]v1.Service, 0, len(byName))
	for _, s := range byName {
		if s.Spec.ClusterIP != "" && s.Spec.ClusterIP != v1.ClusterIPNone && len(s.Spec.Ports) > 0 {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b v1.Service) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// serviceVars are the variables of one service (behaviour 70).
func serviceVars(s *v1.Service) []Var {
	ip, name := s.Spec.ClusterIP, envName(s.Name)
	out := []Var{{name + "_SERVICE_HOST", ip}, {name + "_SERVICE_PORT", port(s.Spec.Ports[0].Port)}}
	for _, p := range s.Spec.Ports {
		if p.Name != "" {
			out = append(out, Var{name + "_SERVICE_PORT_" + envName(p.Name), port(p.Port)})
		}
	}
	out = append(out, Var{name + "_PORT", url(ip, s.Spec.Ports[0])})
	for _, p := range s.Spec.Ports {
		prefix := name + "_PORT_" + port(p.Port) + "_" + protocol(p)
		out = append(out,
			Var{prefix, url(ip, p)},
			Var{prefix + "_PROTO", strings.ToLower(protocol(p))},
			Var{prefix + "_PORT", port(p.Port)},
			Var{prefix + "_ADDR", ip})
	}
	return out
}

func envName(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

func port(n int32) string { return strconv.FormatInt(int64(n), 10) }

func protocol(p v1.ServicePort) string {
	return strings.ToUpper(cmp.Or(string(p.Protocol), string(v1.ProtocolTCP)))
}

func url(ip string, p v1.ServicePort) string {
	if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	return strings.ToLower(protocol(p)) + "://" + ip + ":" + port(p.Port)
}
