package content

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"slices"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/bosun-project/bosun/internal/environ"
)

// trustBundle adds the trust anchors of one bundle, or of all those of a signer that a selector picks (behaviour 182).
func (b *builder) trustBundle(s *v1.ClusterTrustBundleProjection) error {
	chosen, lacks, err := b.chooseBundles(s)
	if err != nil {
		return fmt.Errorf("%s: %w", b.field, err)
	}
	if len(chosen) == 0 {
		if isOptional(s.Optional) {
			b.put(s.Path, nil, nil, s.User) // the path is there, so that the application finds a file
			return nil
		}
		return lacks
	}
	anchors, err := joinAnchors(chosen)
	if err != nil {
		return fmt.Errorf("%s: %w", b.field, err)
	}
	b.put(s.Path, anchors, nil, s.User)
	return nil
}

// chooseBundles picks the bundles a projection means; lacks is the error if there are none.
func (b *builder) chooseBundles(s *v1.ClusterTrustBundleProjection) (chosen []*certificates.ClusterTrustBundle, lacks, err error) {
	var pick func(*certificates.ClusterTrustBundle) bool
	switch {
	case s.Name != nil:
		pick = func(t *certificates.ClusterTrustBundle) bool { return t.Name == *s.Name }
		lacks = &environ.Missing{Kind: environ.TrustBundle, Name: *s.Name, InVolume: true}
	case s.SignerName != nil:
		selector := labels.Nothing() // what an absent selector means
		if s.LabelSelector != nil {
			if selector, err = metav1.LabelSelectorAsSelector(s.LabelSelector); err != nil {
				return nil, nil, fmt.Errorf("labelSelector: %w", err)
			}
		}
		pick = func(t *certificates.ClusterTrustBundle) bool {
			return t.Spec.SignerName == *s.SignerName && selector.Matches(labels.Set(t.Labels))
		}
		lacks = &environ.Missing{Kind: environ.TrustBundle, Key: *s.SignerName, InVolume: true}
	default:
		return nil, nil, fmt.Errorf("must have name or signerName")
	}
	for _, t := range b.facts.TrustBundles {
		if pick(t) {
			chosen = append(chosen, t)
		}
	}
	return chosen, lacks, nil
}

// joinAnchors is the certificates of bundles, each once, without comments and headers, always in the same order.
func joinAnchors(bundles []*certificates.ClusterTrustBundle) ([]byte, error) {
	var certs [][]byte
	for _, t := range bundles {
		rest := []byte(t.Spec.TrustBundle)
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if block.Type != "CERTIFICATE" {
				return nil, fmt.Errorf("ClusterTrustBundle %q holds a PEM block %q: must be CERTIFICATE", t.Name, block.Type)
			}
			certs = append(certs, block.Bytes)
		}
	}
	slices.SortFunc(certs, bytes.Compare)
	certs = slices.CompactFunc(certs, bytes.Equal)
	var out bytes.Buffer
	for _, c := range certs {
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
