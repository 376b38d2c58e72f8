package pod

import v1 "k8s.io/api/core/v1"

// Describe names a pod as events and container states do: name_namespace(uid).
func Describe(p *v1.Pod) string { return p.Name + "_" + p.Namespace + "(" + string(p.UID) + ")" }
