package content

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

// Certificate names a certificate of a pod: the source of one of its projected volumes that asks for it (behaviour 182).
type Certificate struct {
	Volume string
	// Source is the place of the source in the volume.
	Source int
}

// Credential is a key and the certificates issued for it, both as PEM.
type Credential struct{ Key, Chain []byte }

// CertificateSource is the source that a certificate is named for; nil if the pod has none such.
func CertificateSource(p *v1.Pod, c Certificate) *v1.PodCertificateProjection {
	i := slices.IndexFunc(p.Spec.Volumes, func(v v1.Volume) bool { return v.Name == c.Volume })
	if i < 0 || p.Spec.Volumes[i].Projected == nil || c.Source >= len(p.Spec.Volumes[i].Projected.Sources) {
		return nil
	}
	return p.Spec.Volumes[i].Projected.Sources[c.Source].PodCertificate
}

func compareCertificates(a, b Certificate) int {
	return cmp.Or(cmp.Compare(a.Volume, b.Volume), cmp.Compare(a.Source, b.Source))
}

// certificate adds a key and its certificates, in one file, in two, or both ways. As with tokens, only who is meant may read them.
func (b *builder) certificate(s *v1.PodCertificateProjection, of Certificate) error {
	if b.facts.NoCertificates {
		return fault.As(fault.ErrUnsupported, fmt.Errorf("%s is not supported while the feature gate PodCertificateRequest is off", b.field))
	}
	c, ok := b.facts.Certificates[of]
	if !ok {
		return fmt.Errorf("%s: there is no certificate of signer %q yet", b.field, s.SignerName)
	}
	if s.CredentialBundlePath != "" {
		b.putOwn(s.CredentialBundlePath, slices.Concat(c.Key, c.Chain), s.User)
	}
	if s.KeyPath != "" {
		b.putOwn(s.KeyPath, c.Key, s.User)
	}
	if s.CertificateChainPath != "" {
		b.putOwn(s.CertificateChainPath, c.Chain, s.User)
	}
	return nil
}

// BareChain is a chain of certificates as it goes to a volume: its PEM blocks without headers and what stands between them. The
// error says what is wrong with text.
func BareChain(text []byte) ([]byte, error) {
	var out bytes.Buffer
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the chain holds a PEM block %q: must be CERTIFICATE", block.Type)
		}
		if err := pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, errors.New("the chain holds no certificate")
	}
	return out.Bytes(), nil
}
