package manifest

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) env(one *v1.Container, at *field.Path) {
	for i := range one.EnvFrom {
		c.envFrom(&one.EnvFrom[i], at.Child("envFrom").Index(i))
	}
	for i := range one.Env {
		e, here := &one.Env[i], at.Child("env").Index(i)
		if e.Name == "" {
			c.required(here.Child("name"), "")
		} else {
			c.must(here.Child("name"), e.Name, validation.IsRelaxedEnvVarName(e.Name))
		}
		if e.ValueFrom == nil {
			continue
		}
		if e.Value != "" {
			c.invalid(here.Child("valueFrom"), "", "may not be specified when `value` is not empty")
		}
		c.valueFrom(e.ValueFrom, here.Child("valueFrom"))
	}
}

func (c *checker) envFrom(e *v1.EnvFromSource, at *field.Path) {
	if e.Prefix != "" {
		c.must(at.Child("prefix"), e.Prefix, validation.IsRelaxedEnvVarName(e.Prefix))
	}
	switch {
	case e.ConfigMapRef == nil && e.SecretRef == nil:
		c.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`")
	case e.ConfigMapRef != nil && e.SecretRef != nil:
		c.invalid(at, "", "may not have more than one field specified at a time")
	case e.ConfigMapRef != nil:
		c.subdomain(at.Child("configMapRef", "name"), e.ConfigMapRef.Name)
	default:
		c.subdomain(at.Child("secretRef", "name"), e.SecretRef.Name)
	}
}

func (c *checker) valueFrom(f *v1.EnvVarSource, at *field.Path) {
	count := 0
	if f.FieldRef != nil {
		count++
		c.fieldRef(f.FieldRef, envFields, at.Child("fieldRef"))
	}
	if f.ResourceFieldRef != nil {
		count++
		c.resourceFieldRef(f.ResourceFieldRef, false, at.Child("resourceFieldRef"))
	}
	if r := f.ConfigMapKeyRef; r != nil {
		count++
		c.keyRef(r.Name, r.Key, at.Child("configMapKeyRef"))
	}
	if r := f.SecretKeyRef; r != nil {
		count++
		c.keyRef(r.Name, r.Key, at.Child("secretKeyRef"))
	}
	if f.FileKeyRef != nil {
		count++
		c.fileKeyRef(f.FileKeyRef, at.Child("fileKeyRef"))
	}
	switch {
	case count == 0:
		c.invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`")
	case count > 1:
		c.invalid(at, "", "may not have more than one field specified at a time")
	}
}

func (c *checker) keyRef(name, key string, at *field.Path) {
	if name == "" {
		c.required(at.Child("name"), "")
	}
	if key == "" {
		c.required(at.Child("key"), "")
	} else {
		c.must(at.Child("key"), key, validation.IsConfigMapKey(key))
	}
}

func (c *checker) fileKeyRef(r *v1.FileKeySelector, at *field.Path) {
	volume := c.volumes[r.VolumeName]
	switch {
	case r.VolumeName == "":
		c.required(at.Child("volumeName"), "")
	case volume == nil:
		c.add(field.NotFound(at.Child("volumeName"), r.VolumeName))
	case volume.EmptyDir == nil:
		c.invalid(at.Child("volumeName"), r.VolumeName, "must name an emptyDir volume")
	}
	c.fileInVolume(at.Child("path"), r.Path)
	switch {
	case r.Key == "":
		c.required(at.Child("key"), "")
	case len(r.Key) > 128:
		c.add(field.TooLong(at.Child("key"), r.Key, 128))
	default:
		c.must(at.Child("key"), r.Key, validation.IsRelaxedEnvVarName(r.Key))
	}
}

// fieldSet is which fields of a pod a place may show.
type fieldSet uint8

const (
	envFields fieldSet = iota
	volumeFields
)

func (f fieldSet) names() []string {
	if f == volumeFields {
		return []string{"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
	}
	return []string{"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
}

func (c *checker) fieldRef(r *v1.ObjectFieldSelector, set fieldSet, at *field.Path) {
	if r.APIVersion == "" {
		c.required(at.Child("apiVersion"), "")
	} else if r.APIVersion != "v1" {
		c.invalid(at.Child("apiVersion"), r.APIVersion, "must be v1")
	}
	here := at.Child("fieldPath")
	if r.FieldPath == "" {
		c.required(here, "")
		return
	}
	base, key, subscripted := strings.Cut(r.FieldPath, "['")
	if !subscripted {
		if names := set.names(); !slices.Contains(names, r.FieldPath) {
			c.add(field.NotSupported(here, r.FieldPath, append(names, "metadata.labels['KEY']", "metadata.annotations['KEY']")))
		}
		return
	}
	key, closed := strings.CutSuffix(key, "']")
	switch {
	case !closed:
		c.invalid(here, r.FieldPath, "must end in '], as metadata.labels['KEY'] does")
	case base == "metadata.labels":
		c.add(metavalidation.ValidateLabelName(key, here)...)
	case base == "metadata.annotations":
		c.add(metavalidation.ValidateLabelName(strings.ToLower(key), here)...)
	default:
		c.invalid(here, r.FieldPath, "only metadata.labels and metadata.annotations have keys")
	}
}

// resourceFieldRef checks a reference to a request or a limit of a container.
func (c *checker) resourceFieldRef(r *v1.ResourceFieldSelector, inVolume bool, at *field.Path) {
	if inVolume && r.ContainerName == "" {
		c.required(at.Child("containerName"), "")
	}
	if r.Resource == "" {
		c.required(at.Child("resource"), "")
		return
	}
	kind, name, _ := strings.Cut(r.Resource, ".")
	known := (kind == "limits" || kind == "requests") &&
		(name == "cpu" || name == "memory" || name == "ephemeral-storage" || isHugePages(v1.ResourceName(name)))
	if !known {
		c.add(field.NotSupported(at.Child("resource"), r.Resource, []string{"limits.cpu", "limits.memory", "limits.ephemeral-storage",
			"limits.hugepages-SIZE", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "requests.hugepages-SIZE"}))
		return
	}
	divisors := []string{"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"}
	if name == "cpu" {
		divisors = []string{"1m", "1"}
	}
	if r.Divisor.IsZero() || slices.ContainsFunc(divisors, func(d string) bool { return r.Divisor.Cmp(resource.MustParse(d)) == 0 }) {
		return
	}
	c.invalid(at.Child("divisor"), r.Divisor.String(), "must be one of "+strings.Join(divisors, ", "))
}
