package certs

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the node authorizer takes for a node.
const (
	nodeUser  = "system:node:"
	nodeGroup = "system:nodes"
)

// An order says which certificate is wanted. Two equal orders with the same key are the same request.
type order struct {
	signer string
	node   string
	usage  certv1.KeyUsage // what the key will do beside signing
	dns    []string        // sorted
	ips    []netip.Addr    // sorted
}

func clientOrder(node string) order {
	return order{signer: certv1.KubeAPIServerClientKubeletSignerName, node: node, usage: certv1.UsageClientAuth}
}

// servingOrder wants a certificate for the addresses of a node. ok is false while the node has no IP address, or, where names are enough,
// nothing at all: a cloud tells of the addresses some time after the names.
func servingOrder(node string, addresses []corev1.NodeAddress, namesSuffice bool) (o order, ok bool) {
	o = order{signer: certv1.KubeletServingSignerName, node: node, usage: certv1.UsageServerAuth}
	for _, a := range addresses {
		ip, err := netip.ParseAddr(a.Address)
		switch a.Type {
		case corev1.NodeInternalIP, corev1.NodeExternalIP, corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeExternalDNS:
			if err == nil {
				o.ips = append(o.ips, ip.WithZone("").Unmap())
			} else if a.Address != "" && a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
				o.dns = append(o.dns, a.Address)
			}
		}
	}
	slices.Sort(o.dns)
	o.dns = slices.Compact(o.dns)
	slices.SortFunc(o.ips, netip.Addr.Compare)
	o.ips = slices.Compact(o.ips)
	return o, len(o.ips) > 0 || namesSuffice && len(o.dns) > 0
}

// id tells orders apart.
func (o order) id() string {
	return fmt.Sprintf("%s %s %s %q %v", o.signer, o.node, o.usage, o.dns, o.ips)
}

// metBy tells whether a certificate has every name that is wanted; more do not harm.
func (o order) metBy(leaf *x509.Certificate) bool {
	if leaf.Subject.CommonName != nodeUser+o.node {
		return false
	}
	for _, name := range o.dns {
		if !slices.ContainsFunc(leaf.DNSNames, func(has string) bool { return strings.EqualFold(has, name) }) {
			return false
		}
	}
	for _, ip := range o.ips {
		if !slices.ContainsFunc(leaf.IPAddresses, net.IP(ip.AsSlice()).Equal) {
			return false
		}
	}
	return true
}

// request writes the order out for a key. Its name follows from the order and the public key, so the same request is
// found again after a crash.
func (o order) request(k *signingKey) (*certv1.CertificateSigningRequest, error) {
	template := &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: nodeUser + o.node, Organization: []string{nodeGroup}},
		DNSNames: o.dns,
	}
	for _, ip := range o.ips {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, k.signer)
	if err != nil {
		return nil, fmt.Errorf("write a certificate request for %s: %w", nodeUser+o.node, err)
	}
	parsed, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("write a certificate request for %s: %w", nodeUser+o.node, err)
	}
	// The controllers that approve and sign take exactly these sets: key encipherment is for RSA only.
	usages := []certv1.KeyUsage{certv1.UsageDigitalSignature, o.usage}
	if isRSA(k.signer.Public()) {
		usages = []certv1.KeyUsage{certv1.UsageKeyEncipherment, certv1.UsageDigitalSignature, o.usage}
	}
	sum := sha256.New()
	sum.Write(parsed.RawTBSCertificateRequest) // the signature below it differs each time
	fmt.Fprint(sum, o.signer, usages)
	return &certv1.CertificateSigningRequest{
		TypeMeta:   metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequest"},
		ObjectMeta: metav1.ObjectMeta{Name: "node-csr-" + hex.EncodeToString(sum.Sum(nil)[:20])},
		Spec: certv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: o.signer,
			Usages:     usages,
		},
	}, nil
}

// sameRequest tells whether what the API holds under our name is our request: somebody may have taken the name.
func sameRequest(ours, theirs *certv1.CertificateSigningRequest) error {
	a, err := parseRequest(ours.Spec.Request)
	if err != nil {
		return err
	}
	b, err := parseRequest(theirs.Spec.Request)
	if err != nil {
		return err
	}
	if !bytes.Equal(a.RawTBSCertificateRequest, b.RawTBSCertificateRequest) || ours.Spec.SignerName != theirs.Spec.SignerName {
		return fmt.Errorf("certificate signing request %s holds something else than this node asks for: somebody else made it", ours.Name)
	}
	return nil
}

func parseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("no CERTIFICATE REQUEST block")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}
