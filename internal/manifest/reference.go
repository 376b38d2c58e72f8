package manifest

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const mayNotReference = "static pods may not reference "

// references refuses the fields that name objects of the API, which a pod of a file or a URL cannot use
// (behaviour 11), and ephemeral containers, which no new pod may have. With local, ConfigMaps and Secrets are not among them,
// and a service account is a name that means nothing.
func references(p *v1.Pod, local bool) field.ErrorList {
	l := refusals{local: local}
	spec := field.NewPath("spec")
	if p.Spec.ServiceAccountName != "" && !local {
		l.refuse(spec.Child("serviceAccountName"), "service accounts", "")
	}
	for i := range p.Spec.ImagePullSecrets {
		l.object(spec.Child("imagePullSecrets").Index(i), "Secrets",
			"; credentials for registries come from the node's docker config files")
	}
	for i := range p.Spec.ResourceClaims {
		l.refuse(spec.Child("resourceClaims").Index(i), "ResourceClaims", "")
	}
	l.containers(p.Spec.InitContainers, spec.Child("initContainers"))
	l.containers(p.Spec.Containers, spec.Child("containers"))
	for i := range p.Spec.Volumes {
		l.volume(&p.Spec.Volumes[i], spec.Child("volumes").Index(i))
	}
	return l.list
}

// refersTo returns the kind that a fault of references is about, "" for other faults.
func refersTo(e *field.Error) string {
	rest, ok := strings.CutPrefix(e.Detail, mayNotReference)
	if !ok {
		return ""
	}
	kind, _, _ := strings.Cut(rest, ";")
	return strings.TrimSpace(kind)
}

type refusals struct {
	local bool
	list  field.ErrorList
}

// object refuses a reference to an object that a lone node serves itself.
func (l *refusals) object(at *field.Path, kind, hint string) {
	if l.local {
		return
	}
	if hint == "" {
		hint = "; with --local-objects manifests beside the pods may hold them"
	}
	l.refuse(at, kind, hint)
}

func (l *refusals) refuse(at *field.Path, kind, hint string) {
	l.list = append(l.list, field.Forbidden(at, mayNotReference+kind+hint))
}

func (l *refusals) containers(list []v1.Container, at *field.Path) {
	for i := range list {
		c, here := &list[i], at.Index(i)
		for j := range c.EnvFrom {
			if c.EnvFrom[j].ConfigMapRef != nil {
				l.object(here.Child("envFrom").Index(j).Child("configMapRef"), "ConfigMaps", "")
			}
			if c.EnvFrom[j].SecretRef != nil {
				l.object(here.Child("envFrom").Index(j).Child("secretRef"), "Secrets", "")
			}
		}
		for j := range c.Env {
			from := c.Env[j].ValueFrom
			if from == nil {
				continue
			}
			valueFrom := here.Child("env").Index(j).Child("valueFrom")
			if from.ConfigMapKeyRef != nil {
				l.object(valueFrom.Child("configMapKeyRef"), "ConfigMaps", "")
			}
			if from.SecretKeyRef != nil {
				l.object(valueFrom.Child("secretKeyRef"), "Secrets", "")
			}
		}
	}
}

func (l *refusals) volume(v *v1.Volume, at *field.Path) {
	const claims = "PersistentVolumeClaims"
	s := &v.VolumeSource
	if s.PersistentVolumeClaim != nil {
		l.refuse(at.Child("persistentVolumeClaim"), claims, "; use a hostPath volume")
	}
	if s.Ephemeral != nil {
		l.refuse(at.Child("ephemeral"), claims, "; use an emptyDir volume")
	}
	if s.ConfigMap != nil {
		l.object(at.Child("configMap"), "ConfigMaps", "")
	}
	if s.Secret != nil {
		l.object(at.Child("secret"), "Secrets", "")
	}
	if s.Glusterfs != nil {
		l.refuse(at.Child("glusterfs", "endpoints"), "Endpoints", "")
	}
	if s.AzureFile != nil {
		l.refuse(at.Child("azureFile", "secretName"), "Secrets", "")
	}
	for _, secret := range secretRefs(s) {
		if secret.ref != nil {
			l.refuse(at.Child(secret.path), "Secrets", "")
		}
	}
	if s.Projected != nil {
		l.projected(s.Projected, at.Child("projected", "sources"))
	}
}

// secretRef is a reference to a Secret at a path below its volume.
type secretRef struct {
	path string
	ref  *v1.LocalObjectReference
}

func secretRefs(s *v1.VolumeSource) []secretRef {
	var out []secretRef
	if s.RBD != nil {
		out = append(out, secretRef{"rbd.secretRef", s.RBD.SecretRef})
	}
	if s.FlexVolume != nil {
		out = append(out, secretRef{"flexVolume.secretRef", s.FlexVolume.SecretRef})
	}
	if s.Cinder != nil {
		out = append(out, secretRef{"cinder.secretRef", s.Cinder.SecretRef})
	}
	if s.CephFS != nil {
		out = append(out, secretRef{"cephfs.secretRef", s.CephFS.SecretRef})
	}
	if s.ISCSI != nil {
		out = append(out, secretRef{"iscsi.secretRef", s.ISCSI.SecretRef})
	}
	if s.ScaleIO != nil {
		out = append(out, secretRef{"scaleIO.secretRef", s.ScaleIO.SecretRef})
	}
	if s.StorageOS != nil {
		out = append(out, secretRef{"storageos.secretRef", s.StorageOS.SecretRef})
	}
	if s.CSI != nil {
		out = append(out, secretRef{"csi.nodePublishSecretRef", s.CSI.NodePublishSecretRef})
	}
	return out
}

func (l *refusals) projected(p *v1.ProjectedVolumeSource, at *field.Path) {
	for i := range p.Sources {
		source, here := &p.Sources[i], at.Index(i)
		if source.ConfigMap != nil {
			l.object(here.Child("configMap"), "ConfigMaps", "")
		}
		if source.Secret != nil {
			l.object(here.Child("secret"), "Secrets", "")
		}
		if source.ServiceAccountToken != nil {
			l.refuse(here.Child("serviceAccountToken"), "service account tokens", "")
		}
		if source.ClusterTrustBundle != nil {
			l.refuse(here.Child("clusterTrustBundle"), "ClusterTrustBundles", "")
		}
		if source.PodCertificate != nil {
			l.refuse(here.Child("podCertificate"), "PodCertificateRequests", "")
		}
	}
}
