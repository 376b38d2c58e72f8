package manifest

import (
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) allVolumes(list []v1.Volume, at *field.Path) {
	for i := range list {
		v, here := &list[i], at.Index(i)
		c.label(here.Child("name"), v.Name)
		if v.Name != "" && c.volumes[v.Name] != nil {
			c.add(field.Duplicate(here.Child("name"), v.Name))
		}
		if v.Name != "" {
			c.volumes[v.Name] = v
		}
		c.onlyOne(&v.VolumeSource, here, "must specify a volume type", "may not specify more than 1 volume type")
		c.localSource(&v.VolumeSource, here)
		c.remoteSource(&v.VolumeSource, here)
		c.cloudSource(&v.VolumeSource, here)
	}
}

// onlyOne goes through the sources of a volume or of a projection in the order of the type: the second and later ones are
// too many. s is a struct of pointers.
func (c *checker) onlyOne(s any, at *field.Path, none, many string) {
	count := 0
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			continue
		}
		if count++; count > 1 {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			c.forbidden(at.Child(name), many)
		}
	}
	if count == 0 {
		c.required(at, none)
	}
}

// localSource checks the sources that a node can serve by itself, or from objects of the API.
func (c *checker) localSource(s *v1.VolumeSource, at *field.Path) {
	if s.EmptyDir != nil {
		c.emptyDir(s.EmptyDir, at.Child("emptyDir"))
	}
	if h := s.HostPath; h != nil {
		c.hostPath(h, at.Child("hostPath"))
	}
	if k := s.Secret; k != nil {
		here := at.Child("secret")
		if k.SecretName == "" {
			c.required(here.Child("secretName"), "")
		}
		c.fileMode(here.Child("defaultMode"), k.DefaultMode)
		c.userID(here.Child("defaultUser"), k.DefaultUser)
		c.items(k.Items, here.Child("items"))
	}
	if k := s.ConfigMap; k != nil {
		here := at.Child("configMap")
		if k.Name == "" {
			c.required(here.Child("name"), "")
		}
		c.fileMode(here.Child("defaultMode"), k.DefaultMode)
		c.userID(here.Child("defaultUser"), k.DefaultUser)
		c.items(k.Items, here.Child("items"))
	}
	if d := s.DownwardAPI; d != nil {
		here := at.Child("downwardAPI")
		c.fileMode(here.Child("defaultMode"), d.DefaultMode)
		c.userID(here.Child("defaultUser"), d.DefaultUser)
		c.downward(d.Items, here.Child("items"))
	}
	if s.Projected != nil {
		c.projected(s.Projected, at.Child("projected"))
	}
	if i := s.Image; i != nil {
		if i.Reference == "" {
			c.required(at.Child("image", "reference"), "")
		}
		oneOf(c, at.Child("image", "pullPolicy"), i.PullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)
	}
	if s.Ephemeral != nil {
		c.ephemeral(s.Ephemeral, at.Child("ephemeral"))
	}
	if g := s.GitRepo; g != nil {
		if g.Repository == "" {
			c.required(at.Child("gitRepo", "repository"), "")
		}
		c.relative(at.Child("gitRepo", "directory"), g.Directory)
	}
}

func (c *checker) emptyDir(e *v1.EmptyDirVolumeSource, at *field.Path) {
	medium := at.Child("medium")
	switch size, huge := strings.CutPrefix(string(e.Medium), string(v1.StorageMediumHugePagesPrefix)); {
	case e.Medium == v1.StorageMediumDefault, e.Medium == v1.StorageMediumMemory, e.Medium == v1.StorageMediumHugePages:
	case huge:
		if _, err := resource.ParseQuantity(size); err != nil {
			c.invalid(medium, e.Medium, "must end in the size of a page, as HugePages-2Mi does")
		}
	default:
		c.add(field.NotSupported(medium, e.Medium, []string{"", "Memory", "HugePages", "HugePages-SIZE"}))
	}
	if e.SizeLimit != nil && e.SizeLimit.Sign() < 0 {
		c.invalid(at.Child("sizeLimit"), e.SizeLimit.String(), "SizeLimit field must be a valid resource quantity, not less than 0")
	}
	if e.Mode != nil && (*e.Mode < 0 || *e.Mode > 0o1777) {
		c.invalid(at.Child("mode"), *e.Mode, "must be a number between 0 and 01777 (octal), both inclusive")
	}
}

func (c *checker) hostPath(h *v1.HostPathVolumeSource, at *field.Path) {
	if h.Path == "" {
		c.required(at.Child("path"), "")
	} else {
		c.noBacksteps(at.Child("path"), h.Path)
	}
	if h.Type != nil && *h.Type != v1.HostPathUnset {
		oneOf(c, at.Child("type"), *h.Type, v1.HostPathDirectoryOrCreate, v1.HostPathDirectory, v1.HostPathFileOrCreate,
			v1.HostPathFile, v1.HostPathSocket, v1.HostPathCharDev, v1.HostPathBlockDev)
	}
}

func (c *checker) items(list []v1.KeyToPath, at *field.Path) {
	for i := range list {
		item, here := &list[i], at.Index(i)
		if item.Key == "" {
			c.required(here.Child("key"), "")
		}
		c.fileInVolume(here.Child("path"), item.Path)
		c.fileMode(here.Child("mode"), item.Mode)
		c.userID(here.Child("user"), item.User)
	}
}

func (c *checker) downward(list []v1.DownwardAPIVolumeFile, at *field.Path) {
	for i := range list {
		item, here := &list[i], at.Index(i)
		c.fileInVolume(here.Child("path"), item.Path)
		c.fileMode(here.Child("mode"), item.Mode)
		c.userID(here.Child("user"), item.User)
		switch {
		case item.FieldRef != nil && item.ResourceFieldRef != nil:
			c.invalid(here, "", "fieldRef and resourceFieldRef can not be specified simultaneously")
		case item.FieldRef != nil:
			c.fieldRef(item.FieldRef, volumeFields, here.Child("fieldRef"))
		case item.ResourceFieldRef != nil:
			c.resourceFieldRef(item.ResourceFieldRef, true, here.Child("resourceFieldRef"))
		default:
			c.required(here, "one of fieldRef and resourceFieldRef is required")
		}
	}
}

// projected checks every source, and that no two of them write the same file.
func (c *checker) projected(p *v1.ProjectedVolumeSource, at *field.Path) {
	c.fileMode(at.Child("defaultMode"), p.DefaultMode)
	c.userID(at.Child("defaultUser"), p.DefaultUser)
	taken := map[string]bool{}
	take := func(path string, here *field.Path) {
		if path != "" && taken[path] {
			c.invalid(here, path, "conflicting duplicate paths")
		}
		taken[path] = true
	}
	for i := range p.Sources {
		s, here := &p.Sources[i], at.Child("sources").Index(i)
		c.onlyOne(s, here, "must specify a source", "may not specify more than 1 volume type per source")
		if k := s.Secret; k != nil {
			c.projectedItems(k.Name, k.Items, take, here.Child("secret"))
		}
		if k := s.ConfigMap; k != nil {
			c.projectedItems(k.Name, k.Items, take, here.Child("configMap"))
		}
		if d := s.DownwardAPI; d != nil {
			c.downward(d.Items, here.Child("downwardAPI", "items"))
			for j := range d.Items {
				take(d.Items[j].Path, here.Child("downwardAPI", "items").Index(j).Child("path"))
			}
		}
		c.identities(s, take, here)
	}
}

func (c *checker) projectedItems(name string, list []v1.KeyToPath, take func(string, *field.Path), at *field.Path) {
	if name == "" {
		c.required(at.Child("name"), "")
	}
	c.items(list, at.Child("items"))
	for i := range list {
		take(list[i].Path, at.Child("items").Index(i).Child("path"))
	}
}

// identities checks the projections that prove who the pod is, or whom it may trust.
func (c *checker) identities(s *v1.VolumeProjection, take func(string, *field.Path), at *field.Path) {
	if t := s.ServiceAccountToken; t != nil {
		here := at.Child("serviceAccountToken")
		if e := t.ExpirationSeconds; e != nil && *e < 10*60 {
			c.invalid(here.Child("expirationSeconds"), *e, "may not specify a duration less than 10 minutes")
		} else if e != nil && *e > 1<<32 {
			c.invalid(here.Child("expirationSeconds"), *e, "may not specify a duration larger than 2^32 seconds")
		}
		c.fileInVolume(here.Child("path"), t.Path)
		take(t.Path, here.Child("path"))
	}
	if b := s.ClusterTrustBundle; b != nil {
		here := at.Child("clusterTrustBundle")
		c.fileInVolume(here.Child("path"), b.Path)
		take(b.Path, here.Child("path"))
		if (b.Name != nil) == (b.SignerName != nil) {
			c.invalid(here, "", "exactly one of name and signerName must be specified")
		}
		if b.Name != nil && b.LabelSelector != nil {
			c.forbidden(here.Child("labelSelector"), "may only be set together with signerName")
		}
		c.add(metavalidation.ValidateLabelSelector(b.LabelSelector, metavalidation.LabelSelectorValidationOptions{}, here.Child("labelSelector"))...)
	}
	if p := s.PodCertificate; p != nil {
		c.podCertificate(p, take, at.Child("podCertificate"))
	}
}

func (c *checker) podCertificate(p *v1.PodCertificateProjection, take func(string, *field.Path), at *field.Path) {
	if p.SignerName == "" {
		c.required(at.Child("signerName"), "")
	}
	oneOf(c, at.Child("keyType"), p.KeyType, "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
	if m := p.MaxExpirationSeconds; m != nil && (*m < 3600 || *m > 7862400) {
		c.invalid(at.Child("maxExpirationSeconds"), *m, validation.InclusiveRangeError(3600, 7862400))
	}
	paths := []struct{ name, path string }{
		{"credentialBundlePath", p.CredentialBundlePath}, {"keyPath", p.KeyPath}, {"certificateChainPath", p.CertificateChainPath},
	}
	if !slices.ContainsFunc(paths, func(f struct{ name, path string }) bool { return f.path != "" }) {
		c.required(at, "must specify at least one of credentialBundlePath, keyPath and certificateChainPath")
	}
	for _, f := range paths {
		if f.path != "" {
			c.fileInVolume(at.Child(f.name), f.path)
			take(f.path, at.Child(f.name))
		}
	}
}

func (c *checker) ephemeral(e *v1.EphemeralVolumeSource, at *field.Path) {
	if e.VolumeClaimTemplate == nil {
		c.required(at.Child("volumeClaimTemplate"), "")
		return
	}
	s, here := &e.VolumeClaimTemplate.Spec, at.Child("volumeClaimTemplate", "spec")
	if len(s.AccessModes) == 0 {
		c.required(here.Child("accessModes"), "at least 1 access mode is required")
	}
	for i, m := range s.AccessModes {
		oneOf(c, here.Child("accessModes").Index(i), m, v1.ReadWriteOnce, v1.ReadOnlyMany, v1.ReadWriteMany, v1.ReadWriteOncePod)
	}
	switch size, has := s.Resources.Requests[v1.ResourceStorage]; {
	case !has:
		c.required(here.Child("resources", "requests").Key(string(v1.ResourceStorage)), "")
	case size.Sign() <= 0:
		c.invalid(here.Child("resources", "requests").Key(string(v1.ResourceStorage)), size.String(), "must be greater than zero")
	}
	if s.VolumeMode != nil {
		oneOf(c, here.Child("volumeMode"), *s.VolumeMode, v1.PersistentVolumeFilesystem, v1.PersistentVolumeBlock)
	}
}
