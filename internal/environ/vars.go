package environ

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Var is one environment variable.
type Var struct{ Name, Value string }

// File names an env file: a path below a volume.
type File struct{ Volume, Path string }

// Facts is what the environment of a container is built from, besides its pod.
type Facts struct {
	NodeName string
	// HostIPs are the node's addresses, the primary one first.
	HostIPs []string
	// PodIPs are the pod's addresses, the primary one first; they may be left out for a pod in the node's network.
	PodIPs []string
	// Allocatable is what the node can give to pods.
	Allocatable v1.ResourceList
	// Services are those of the pod's namespace; none without an API server.
	Services []v1.Service
	// MasterServices are services every container is told of: "kubernetes" of the namespace "default".
	MasterServices []v1.Service
	// ConfigMaps and Secrets are those of the pod's namespace by name. What is not there counts as missing.
	ConfigMaps map[string]*v1.ConfigMap
	Secrets    map[string]*v1.Secret
	// Where is what errors say of where to put a ConfigMap or Secret that is missing; empty in a cluster.
	Where string
	// Files are the contents of env files. What is not there counts as missing.
	Files map[File][]byte
}

// Need is what Vars will look up for a container.
type Need struct {
	ConfigMaps, Secrets []string
	Files               []File
}

// NeedOf lists what the environment of a container refers to, each once, so that the caller can fetch just that.
func NeedOf(c *v1.Container) Need {
	configMaps, secrets, files := map[string]bool{}, map[string]bool{}, map[File]bool{}
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil {
			configMaps[from.ConfigMapRef.Name] = true
		}
		if from.SecretRef != nil {
			secrets[from.SecretRef.Name] = true
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
			configMaps[r.Name] = true
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil {
			secrets[r.Name] = true
		}
		if r := e.ValueFrom.FileKeyRef; r != nil {
			files[File{r.VolumeName, r.Path}] = true
		}
	}
	n := Need{ConfigMaps: slices.Sorted(maps.Keys(configMaps)), Secrets: slices.Sorted(maps.Keys(secrets))}
	n.Files = slices.SortedFunc(maps.Keys(files), compareFiles)
	return n
}

func compareFiles(a, b File) int {
	return cmp.Or(cmp.Compare(a.Volume, b.Volume), cmp.Compare(a.Path, b.Path))
}

// Vars are the variables of a container, each name once: those of services, then of envFrom, then of env, where the
// later hides the earlier (behaviours 68-73). The error is a *Missing when something referred to is not there and not
// optional.
func Vars(p *v1.Pod, c *v1.Container, f Facts) ([]Var, error) {
	b := builder{pod: p, container: c, facts: f, at: map[string]int{}}
	for _, s := range services(p, f) {
		for _, v := range serviceVars(&s) {
			b.set(v.Name, v.Value)
		}
	}
	for i := range c.EnvFrom {
		if err := b.from(&c.EnvFrom[i]); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		if err := b.entry(&c.Env[i]); err != nil {
			return nil, err
		}
	}
	return b.vars, nil
}

// Literals are the variables whose values stand in the container's definition, unexpanded: all that a probe's command
// may refer to (behaviour 127).
func Literals(c *v1.Container) []Var {
	var out []Var
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			out = append(out, Var{e.Name, e.Value})
		}
	}
	return out
}

type builder struct {
	pod       *v1.Pod
	container *v1.Container
	facts     Facts
	vars      []Var
	at        map[string]int // where in vars a name is
}

func (b *builder) set(name, value string) {
	if i, ok := b.at[name]; ok {
		b.vars[i].Value = value
		return
	}
	b.at[name] = len(b.vars)
	b.vars = append(b.vars, Var{name, value})
}

func (b *builder) get(name string) (string, bool) {
	i, ok := b.at[name]
	if !ok {
		return "", false
	}
	return b.vars[i].Value, true
}

func (b *builder) from(from *v1.EnvFromSource) error {
	if ref := from.ConfigMapRef; ref != nil {
		m := b.facts.ConfigMaps[ref.Name]
		if m == nil {
			return b.missing(ref.Optional, ConfigMap, ref.Name, "")
		}
		for _, key := range slices.Sorted(maps.Keys(m.Data)) {
			b.set(from.Prefix+key, m.Data[key])
		}
	}
	if ref := from.SecretRef; ref != nil {
		s := b.facts.Secrets[ref.Name]
		if s == nil {
			return b.missing(ref.Optional, Secret, ref.Name, "")
		}
		for _, key := range slices.Sorted(maps.Keys(s.Data)) {
			b.set(from.Prefix+key, string(s.Data[key]))
		}
	}
	return nil
}

func (b *builder) missing(optional *bool, kind, name, key string) error {
	if optional != nil && *optional {
		return nil
	}
	m := &Missing{Kind: kind, Name: name, Key: key}
	if kind != EnvFile {
		m.Namespace, m.Where = b.pod.Namespace, b.facts.Where
	}
	return m
}

func (b *builder) entry(e *v1.EnvVar) error {
	if e.ValueFrom == nil {
		b.set(e.Name, expand(e.Value, b.get))
		return nil
	}
	src := e.ValueFrom
	switch {
	case src.FieldRef != nil:
		value, err := Field(b.pod, src.FieldRef.FieldPath, b.facts)
		if err != nil {
			return fmt.Errorf("env %s: %w", e.Name, err)
		}
		b.set(e.Name, value)
	case src.ResourceFieldRef != nil:
		value, err := Resource(b.pod, b.container, src.ResourceFieldRef, b.facts.Allocatable)
		if err != nil {
			return fmt.Errorf("env %s: %w", e.Name, err)
		}
		b.set(e.Name, value)
	case src.ConfigMapKeyRef != nil:
		return b.configMapKey(e.Name, src.ConfigMapKeyRef)
	case src.SecretKeyRef != nil:
		return b.secretKey(e.Name, src.SecretKeyRef)
	case src.FileKeyRef != nil:
		return b.fileKey(e.Name, src.FileKeyRef)
	default:
		return fmt.Errorf("env %s: valueFrom names no source", e.Name)
	}
	return nil
}

func (b *builder) configMapKey(name string, ref *v1.ConfigMapKeySelector) error {
	m := b.facts.ConfigMaps[ref.Name]
	if m == nil {
		return b.missing(ref.Optional, ConfigMap, ref.Name, "")
	}
	value, ok := m.Data[ref.Key]
	if !ok {
		return b.missing(ref.Optional, ConfigMap, ref.Name, ref.Key)
	}
	b.set(name, value)
	return nil
}

func (b *builder) secretKey(name string, ref *v1.SecretKeySelector) error {
	s := b.facts.Secrets[ref.Name]
	if s == nil {
		return b.missing(ref.Optional, Secret, ref.Name, "")
	}
	value, ok := s.Data[ref.Key]
	if !ok {
		return b.missing(ref.Optional, Secret, ref.Name, ref.Key)
	}
	b.set(name, string(value))
	return nil
}

func (b *builder) fileKey(name string, ref *v1.FileKeySelector) error {
	full := ref.VolumeName + "/" + ref.Path
	data, ok := b.facts.Files[File{ref.VolumeName, ref.Path}]
	if !ok {
		return b.missing(ref.Optional, EnvFile, full, "")
	}
	values, err := ParseEnvFile(data)
	if err != nil {
		return fmt.Errorf("env %s: env file %s: %w", name, full, err)
	}
	value, ok := values[ref.Key]
	if !ok {
		return b.missing(ref.Optional, EnvFile, full, ref.Key)
	}
	b.set(name, value)
	return nil
}
