package content

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
)

// Facts is what the files of a volume are made from, besides the pod. Objects that are not there count as missing.
type Facts struct {
	// Facts holds, of what the environment is made from, the objects, and Allocatable and NodeName for the downward API.
	environ.Facts
	// Tokens are the texts of tokens.
	Tokens map[Token]string
	// TrustBundles are all the node knows.
	TrustBundles []*certificates.ClusterTrustBundle
	// Certificates are those issued to the pod. NoCertificates tells that the node makes none for pods.
	Certificates   map[Certificate]Credential
	NoCertificates bool
}

// Of computes the files of one volume of a pod, by the rules of behaviours 177 to 183. The error is a
// *environ.Missing, or holds some, when something referred to is not there and not optional; it is fault.ErrUnsupported for
// a source that is not known. Errors never show contents.
func Of(p *v1.Pod, v *v1.Volume, f Facts) (Files, error) {
	b := builder{pod: p, facts: f, files: Files{}}
	b.field = fmt.Sprintf("spec.volumes[%d].", slices.IndexFunc(p.Spec.Volumes, func(x v1.Volume) bool { return x.Name == v.Name }))
	var err error
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		b.field, b.mode, b.user = b.field+"configMap", s.DefaultMode, s.DefaultUser
		err = b.configMap(s.Name, s.Items, s.Optional)
	case v.Secret != nil:
		s := v.Secret
		b.field, b.mode, b.user = b.field+"secret", s.DefaultMode, s.DefaultUser
		err = b.secret(s.SecretName, s.Items, s.Optional)
	case v.DownwardAPI != nil:
		s := v.DownwardAPI
		b.field, b.mode, b.user = b.field+"downwardAPI", s.DefaultMode, s.DefaultUser
		err = b.downward(s.Items)
	case v.Projected != nil:
		b.field, b.mode, b.user = b.field+"projected", v.Projected.DefaultMode, v.Projected.DefaultUser
		err = b.projected(v.Name, v.Projected.Sources)
	default:
		err = fmt.Errorf("volume %q is not made of files the agent writes", v.Name)
	}
	if err != nil {
		return nil, err
	}
	if err := b.files.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", b.field, err)
	}
	return b.files, nil
}

type builder struct {
	pod   *v1.Pod
	facts Facts
	files Files
	// field is where the source is in the pod; mode and user are its defaults.
	field string
	mode  *int32
	user  *int64
}

// put adds a file; of two at one path the later holds.
func (b *builder) put(name string, data []byte, mode *int32, user *int64) {
	b.files[path.Clean(name)] = File{Data: data, Mode: modeOf(mode, b.mode), UID: firstOf(user, b.user)}
}

func isOptional(optional *bool) bool { return optional != nil && *optional }

func (b *builder) configMap(name string, items []v1.KeyToPath, optional *bool) error {
	m := b.facts.ConfigMaps[name]
	if m == nil {
		return b.missing(environ.ConfigMap, name, "", optional)
	}
	data := make(map[string][]byte, len(m.Data)+len(m.BinaryData))
	for key, text := range m.Data {
		data[key] = []byte(text)
	}
	for key, bytes := range m.BinaryData {
		data[key] = bytes
	}
	return b.keys(data, items, environ.ConfigMap, name, optional)
}

func (b *builder) secret(name string, items []v1.KeyToPath, optional *bool) error {
	s := b.facts.Secrets[name]
	if s == nil {
		return b.missing(environ.Secret, name, "", optional)
	}
	return b.keys(s.Data, items, environ.Secret, name, optional)
}

// keys adds the keys of an object that items name, each under its path, or all if there are no items.
func (b *builder) keys(data map[string][]byte, items []v1.KeyToPath, kind, name string, optional *bool) error {
	if len(items) == 0 {
		for key, bytes := range data {
			b.put(key, bytes, nil, nil)
		}
		return nil
	}
	for i := range items {
		item := &items[i]
		bytes, there := data[item.Key]
		if !there {
			if err := b.missing(kind, name, item.Key, optional); err != nil {
				return err
			}
			continue
		}
		b.put(item.Path, bytes, item.Mode, item.User)
	}
	return nil
}

func (b *builder) missing(kind, name, key string, optional *bool) error {
	if isOptional(optional) {
		return nil
	}
	return &environ.Missing{Kind: kind, Namespace: b.pod.Namespace, Name: name, Key: key, InVolume: true, Where: b.facts.Where}
}

func (b *builder) downward(items []v1.DownwardAPIVolumeFile) error {
	for i := range items {
		item := &items[i]
		var text string
		var err error
		switch {
		case item.FieldRef != nil:
			text, err = environ.Field(b.pod, item.FieldRef.FieldPath, b.facts.Facts)
		case item.ResourceFieldRef != nil:
			text, err = environ.Resource(b.pod, nil, item.ResourceFieldRef, b.facts.Allocatable)
		default:
			err = errors.New("must have fieldRef or resourceFieldRef")
		}
		if err != nil {
			return fmt.Errorf("%s.items[%d]: %w", b.field, i, err)
		}
		b.put(item.Path, []byte(text), item.Mode, item.User)
	}
	return nil
}

// projected adds the files of all sources; all that is missing is told at once.
func (b *builder) projected(volume string, sources []v1.VolumeProjection) error {
	var missing []error
	whole := b.field
	for i := range sources {
		b.field = fmt.Sprintf("%s.sources[%d]", whole, i)
		var lacks *environ.Missing
		switch err := b.projection(&sources[i], Certificate{volume, i}); {
		case err == nil:
		case errors.As(err, &lacks):
			missing = append(missing, err)
		default:
			return err
		}
	}
	b.field = whole
	return Join(missing...)
}

func (b *builder) projection(s *v1.VolumeProjection, at Certificate) error {
	switch {
	case s.ConfigMap != nil:
		b.field += ".configMap"
		return b.configMap(s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional)
	case s.Secret != nil:
		b.field += ".secret"
		return b.secret(s.Secret.Name, s.Secret.Items, s.Secret.Optional)
	case s.DownwardAPI != nil:
		b.field += ".downwardAPI"
		return b.downward(s.DownwardAPI.Items)
	case s.ServiceAccountToken != nil:
		b.field += ".serviceAccountToken"
		return b.token(s.ServiceAccountToken)
	case s.ClusterTrustBundle != nil:
		b.field += ".clusterTrustBundle"
		return b.trustBundle(s.ClusterTrustBundle)
	case s.PodCertificate != nil:
		b.field += ".podCertificate"
		return b.certificate(s.PodCertificate, at)
	}
	name := SourceName(s)
	if name == "" {
		return fmt.Errorf("%s: must name a source", b.field)
	}
	return fault.As(fault.ErrUnsupported, fmt.Errorf("%s.%s is not supported by this version of Bosun; "+
		"what works: configMap, secret, downwardAPI, serviceAccountToken, clusterTrustBundle and podCertificate", b.field, name))
}

// SourceName is the field of a source of a projected volume that is set, as it is spelt in manifests; empty if none is.
func SourceName(s *v1.VolumeProjection) string {
	all := reflect.ValueOf(s).Elem()
	for i := range all.NumField() {
		if f := all.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(all.Type().Field(i).Tag.Get("json"), ",")
			return name
		}
	}
	return ""
}
