package volume

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/safepath"
)

// What drivers are told of pods, see https://kubernetes-csi.github.io/docs/pod-info.html.
const (
	podNameKey   = "csi.storage.k8s.io/pod.name"
	namespaceKey = "csi.storage.k8s.io/pod.namespace"
	podUIDKey    = "csi.storage.k8s.io/pod.uid"
	accountKey   = "csi.storage.k8s.io/serviceAccount.name"
	ephemeralKey = "csi.storage.k8s.io/ephemeral"
	tokensKey    = "csi.storage.k8s.io/serviceAccount.tokens"
)

// defaultTokenSeconds is how long a token for a driver holds when its object does not say.
const defaultTokenSeconds = 3600

// describe says what volume of what driver is wanted.
func (k *csiKind) describe(ctx context.Context, r *request) (*driven, error) {
	d := &driven{}
	d.Lifecycle, d.SpecVolID, d.NodeName = persistently, r.name(), k.node
	if inline := r.volume.CSI; inline != nil {
		d.Lifecycle = ephemerally
		d.DriverName, d.VolumeHandle = inline.Driver, inlineHandle(string(r.pod.UID), r.volume.Name)
		d.volume.Context = maps.Clone(inline.VolumeAttributes)
		d.volume.Capability = csi.Capability{Mode: v1.ReadWriteOnce}
		if inline.FSType != nil {
			d.volume.Capability.FSType = *inline.FSType
		}
		r.readOnly = inline.ReadOnly != nil && *inline.ReadOnly
	} else {
		d.source = r.pv.Spec.CSI
		d.DriverName, d.VolumeHandle = d.source.Driver, d.source.VolumeHandle
		d.volume.Context, d.volume.Capability = maps.Clone(d.source.VolumeAttributes), csi.CapabilityOf(r.pv)
		d.volume.Capability.MountOptions = mountOptions(r.pv)
	}
	if err := safepath.Component(d.DriverName); err != nil {
		return nil, fmt.Errorf("%s.csi.driver: %w", r.field, err)
	}
	d.volume.Handle = d.VolumeHandle
	d.AttachmentID = attachment(d.VolumeHandle, d.DriverName, k.node)
	var err error
	if d.object, err = k.cluster.Driver(ctx, d.DriverName); err != nil {
		return nil, err
	}
	k.note(d, r.pod.UID)
	if d.label, err = k.selinux.labelOf(r, d); err != nil {
		return nil, err
	}
	if d.label != "" {
		d.volume.Capability.MountOptions = append(slices.Clip(d.volume.Capability.MountOptions), contextOption(d.label))
	}
	return d, d.allowed()
}

// note remembers whether a driver's volumes are to be attached, and whether the pod's are to be published again and again.
func (k *csiKind) note(d *driven, uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if d.Lifecycle == persistently {
		k.loose[d.DriverName] = !d.attachable()
	}
	if d.republished() {
		k.restless[uid] = true
	}
}

// attachable tells that a volume must be attached to the node before it can be used here.
func (d *driven) attachable() bool {
	return d.Lifecycle == persistently && (d.object == nil || d.object.Spec.AttachRequired == nil || *d.object.Spec.AttachRequired)
}

// allowed checks that the driver is made for volumes of this life. A driver that says nothing has persistent ones only.
func (d *driven) allowed() error {
	if d.Lifecycle == persistently {
		return nil
	}
	if d.object == nil {
		return fmt.Errorf("volume mode %q not supported by driver %s: no CSIDriver object", ephemerally, d.DriverName)
	}
	for _, mode := range d.object.Spec.VolumeLifecycleModes {
		if mode == storage.VolumeLifecycleEphemeral {
			return nil
		}
	}
	return fmt.Errorf("volume mode %q not supported by driver %s (only supports %q)", ephemerally, d.DriverName, d.object.Spec.VolumeLifecycleModes)
}

// republished tells that the driver wants to publish again, now and then, what is published.
func (d *driven) republished() bool {
	return d.object != nil && d.object.Spec.RequiresRepublish != nil && *d.object.Spec.RequiresRepublish
}

// equip decides who gives the volume to the pod's group: the driver if it can, else the agent as far as the driver allows.
func (d *driven) equip(r *request) {
	own := r.groupOwnership()
	if own.gid == nil {
		return
	}
	if d.driver.Can.MountGroup && !d.volume.Capability.Block {
		d.volume.Capability.Group = own.gid
		return
	}
	policy := storage.ReadWriteOnceWithFSTypeFSGroupPolicy
	if d.object != nil && d.object.Spec.FSGroupPolicy != nil {
		policy = *d.object.Spec.FSGroupPolicy
	}
	switch policy {
	case storage.NoneFSGroupPolicy:
		return
	case storage.ReadWriteOnceWithFSTypeFSGroupPolicy:
		if d.volume.Capability.FSType == "" || r.readOnly || r.pv == nil || !once(r.pv.Spec.AccessModes) {
			return
		}
	case storage.FileFSGroupPolicy:
	}
	d.owned = own
}

// once tells that a volume is used by one node at a time.
func once(modes []v1.PersistentVolumeAccessMode) bool {
	for _, m := range modes {
		if m == v1.ReadWriteOnce || m == v1.ReadWriteOncePod {
			return true
		}
	}
	return false
}

// forPublish adds what a driver wants to know of the pod, and its secrets.
func (d *driven) forPublish(ctx context.Context, c Cluster, r *request) (csi.Volume, error) {
	v := d.volume
	v.Context = maps.Clone(v.Context)
	if v.Context == nil {
		v.Context = map[string]string{}
	}
	if d.object != nil && d.object.Spec.PodInfoOnMount != nil && *d.object.Spec.PodInfoOnMount {
		v.Context[podNameKey], v.Context[namespaceKey], v.Context[podUIDKey] = r.pod.Name, r.pod.Namespace, string(r.pod.UID)
		v.Context[accountKey], v.Context[ephemeralKey] = r.pod.Spec.ServiceAccountName, strconv.FormatBool(d.Lifecycle == ephemerally)
	}
	ref := (*v1.SecretReference)(nil)
	switch {
	case d.source != nil:
		ref = d.source.NodePublishSecretRef
	case r.volume.CSI.NodePublishSecretRef != nil:
		ref = &v1.SecretReference{Namespace: r.pod.Namespace, Name: r.volume.CSI.NodePublishSecretRef.Name}
	}
	var err error
	if v.Secrets, err = secretOf(ctx, c, ref); err != nil {
		return v, err
	}
	tokens, err := d.tokens(ctx, c, r.pod)
	switch {
	case err != nil || tokens == "":
	case d.object.Spec.ServiceAccountTokenInSecrets != nil && *d.object.Spec.ServiceAccountTokenInSecrets:
		if v.Secrets == nil {
			v.Secrets = map[string]string{}
		}
		v.Secrets[tokensKey] = tokens
	default:
		v.Context[tokensKey] = tokens
	}
	return v, err
}

// tokens are the tokens of the pod's service account that the driver asks for, by audience, as JSON; empty if it asks for none.
func (d *driven) tokens(ctx context.Context, c Cluster, p *v1.Pod) (string, error) {
	if d.object == nil || len(d.object.Spec.TokenRequests) == 0 {
		return "", nil
	}
	type token struct {
		Token               string `json:"token"`
		ExpirationTimestamp string `json:"expirationTimestamp"`
	}
	all := map[string]token{}
	for _, wanted := range d.object.Spec.TokenRequests {
		t := content.Token{Account: content.AccountOf(p), Audience: wanted.Audience, Seconds: defaultTokenSeconds}
		if wanted.ExpirationSeconds != nil {
			t.Seconds = *wanted.ExpirationSeconds
		}
		text, err := c.Token(ctx, p, t)
		if err != nil {
			return "", err
		}
		all[wanted.Audience] = token{text, expiry(text).UTC().Format(time.RFC3339)}
	}
	text, err := json.Marshal(all)
	return string(text), err
}

// expiry reads from a token when it ends; zero if it does not say.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
}

// secretOf reads a secret for a driver; nil if none is meant.
func secretOf(ctx context.Context, c Cluster, ref *v1.SecretReference) (map[string]string, error) {
	if ref == nil || ref.Name == "" {
		return nil, nil
	}
	s, err := c.Secret(ctx, ref.Namespace, ref.Name)
	if err != nil {
		return nil, fmt.Errorf("failed to find the secret %s in the namespace %s with error: %w", ref.Name, ref.Namespace, err)
	}
	all := make(map[string]string, len(s.Data))
	for key, value := range s.Data {
		all[key] = string(value)
	}
	return all, nil
}
