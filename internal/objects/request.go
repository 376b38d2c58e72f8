package objects

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	certificates "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/content"
)

// refusal is a signer's no.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// refused tells that another attempt would end the same way until somebody does something.
func refused(err error) bool {
	no := new(refusal)
	return errors.As(err, &no) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// obtain gets one certificate: it has a key, makes a request, and waits for as long as the answer takes.
func (l *Loop) obtain(ctx context.Context, c *certificate) {
	issued, err := l.request(ctx, c)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		err = l.issued(c, issued)
	}
	if err != nil {
		l.unissued(c, err)
	}
	l.wake()
}

// request is a request of a pod as the API server has it in the end.
func (l *Loop) request(ctx context.Context, c *certificate) (*certificates.PodCertificateRequest, error) {
	if c.signer == nil { // one whose answer was lost is used again
		k, err := newKey(c.source.KeyType)
		if err != nil {
			return nil, err
		}
		c.signer = k
	}
	r, err := l.draw(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := l.cfg.Requests.RequestCertificate(ctx, r); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	l.mu.Lock()
	c.request, c.since, c.err = r.Name, time.Now(), nil
	l.tellCertificate(c)
	l.mu.Unlock()
	return l.answer(ctx, r)
}

// draw writes a request. Its name follows from the key, so that it is the same request when it is sent again.
func (l *Loop) draw(ctx context.Context, c *certificate) (*certificates.PodCertificateRequest, error) {
	node, uid, err := l.self(ctx)
	if err != nil {
		return nil, err
	}
	account, err := l.Account(ctx, c.pod)
	if err != nil {
		return nil, err
	}
	stub, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, c.signer)
	if err != nil {
		return nil, fmt.Errorf("write a certificate request: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(c.signer.Public())
	if err != nil {
		return nil, fmt.Errorf("write a certificate request: %w", err)
	}
	sum := sha256.Sum256(public)
	return &certificates.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.pod.Namespace, Name: "req-" + hex.EncodeToString(sum[:20]),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: c.pod.Name, UID: c.pod.UID}},
		},
		Spec: certificates.PodCertificateRequestSpec{
			SignerName: c.source.SignerName, PodName: c.pod.Name, PodUID: c.pod.UID,
			ServiceAccountName: content.AccountOf(c.pod), ServiceAccountUID: account.UID, NodeName: types.NodeName(node), NodeUID: uid,
			MaxExpirationSeconds: c.source.MaxExpirationSeconds, StubPKCS10Request: stub, UnverifiedUserAnnotations: c.source.UserAnnotations,
		},
	}, nil
}

// self is this node, once the API server has it.
func (l *Loop) self(ctx context.Context) (string, types.UID, error) {
	for {
		name, uid, newer := l.cfg.Node()
		if uid != "" {
			return name, uid, nil
		}
		select {
		case <-newer:
		case <-ctx.Done():
			return "", "", ctx.Err()
		}
	}
}

// answer waits until a request is decided.
func (l *Loop) answer(ctx context.Context, r *certificates.PodCertificateRequest) (*certificates.PodCertificateRequest, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var decided *certificates.PodCertificateRequest
	var problem error
	seen := false
	unseen := time.AfterFunc(time.Hour, stop)
	unseen.Stop()
	defer unseen.Stop()
	l.cfg.Requests.FollowCertificateRequest(ctx, r.Namespace, r.Name, func(now *certificates.PodCertificateRequest, err error) {
		switch {
		case err != nil || ctx.Err() != nil: // asked again by itself
		case now == nil && !seen: // perhaps heard from a server that is behind the one that took the request
			unseen.Reset(unseenFor)
		case now == nil:
			stop()
		default:
			unseen.Stop()
			seen = true
			over := false
			if over, problem = decision(now); over {
				decided = now
				stop()
			}
		}
	})
	if decided == nil {
		problem = fmt.Errorf("PodCertificateRequest %s/%s is gone, and was not decided", r.Namespace, r.Name)
	}
	return decided, problem
}

// unseenFor is how long the API server may not know of a request that it has taken.
const unseenFor = 30 * time.Second

// decision tells whether a request is decided, and what was wrong with it if it was refused.
func decision(r *certificates.PodCertificateRequest) (over bool, problem error) {
	for _, c := range r.Status.Conditions {
		if c.Status != metav1.ConditionTrue {
			continue
		}
		switch c.Type {
		case certificates.PodCertificateRequestConditionTypeIssued:
			return true, nil
		case certificates.PodCertificateRequestConditionTypeDenied:
			return true, no(r, "was denied", c)
		case certificates.PodCertificateRequestConditionTypeFailed:
			return true, no(r, "has failed", c)
		}
	}
	return false, nil
}

func no(r *certificates.PodCertificateRequest, what string, c metav1.Condition) error {
	return &refusal{fmt.Sprintf("PodCertificateRequest %s/%s of signer %q %s: %s: %s", r.Namespace, r.Name, r.Spec.SignerName, what, c.Reason, c.Message)}
}

// issued takes in what was issued.
func (l *Loop) issued(c *certificate, r *certificates.PodCertificateRequest) error {
	credential, leaf, err := credentialOf(c.signer, r.Status.CertificateChain)
	if err != nil {
		return &refusal{fmt.Sprintf("PodCertificateRequest %s/%s of signer %q: what was issued cannot be used: %s", r.Namespace, r.Name, r.Spec.SignerName, err)}
	}
	now := time.Now()
	end := leaf.NotAfter
	refresh := end.Add(-end.Sub(leaf.NotBefore) / 3)
	if at := r.Status.BeginRefreshAt; at != nil {
		refresh = at.Time
	}
	left := min(spread, end.Sub(refresh)/20)
	refresh = refresh.Add(backoff.Jitter(left, 1, fmt.Sprint(c.key)) - left)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.certificates[c.key] == c && c.read {
		l.dirty[c.key.pod] = true
	}
	c.credential, c.refresh, c.end = credential, refresh, end
	c.overdue, c.expired, c.asking, c.signer, c.request, c.err, c.since = false, false, false, nil, "", nil, now
	if c.pause = hasty.Next(c.pause); refresh.After(now.Add(hasty.Max)) {
		c.pause = 0
	}
	c.next = now.Add(c.pause)
	l.tellCertificate(c)
	return nil
}

// unissued notes that an attempt came to nothing.
func (l *Loop) unissued(c *certificate, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.err == nil {
		c.since = time.Now()
		if len(c.credential.Key) > 0 { // otherwise whoever waits for it tells
			l.cfg.Log.Warn("cannot renew the certificate of a pod", "pod", c.pod.Namespace+"/"+c.pod.Name, "volume", c.key.of.Volume,
				"signer", c.source.SignerName, "error", said(err))
		}
	}
	series := pauses
	if refused(err) {
		series = refusals
	}
	if refused(err) || !away(err) {
		c.signer = nil // with this key the answer would be the same
	}
	c.pause = series.Next(c.pause)
	c.asking, c.request, c.err, c.next = false, "", err, time.Now().Add(c.pause)
	l.tellCertificate(c)
}

// tellCertificate wakes who waits for it.
func (l *Loop) tellCertificate(c *certificate) {
	if l.certificates[c.key] == c {
		close(c.news)
		c.news = make(chan struct{})
	}
}

// credentialOf puts a key and what was issued for it together.
func credentialOf(k crypto.Signer, chain string) (content.Credential, *x509.Certificate, error) {
	bare, err := content.BareChain([]byte(chain))
	if err != nil {
		return content.Credential{}, nil, err
	}
	block, _ := pem.Decode(bare)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return content.Credential{}, nil, err
	}
	if own, ok := k.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !own.Equal(leaf.PublicKey) {
		return content.Credential{}, nil, errors.New("it is for another key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return content.Credential{}, nil, errors.New("the key cannot be written")
	}
	return content.Credential{Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), Chain: bare}, leaf, nil
}

// newKey makes a key of a type as pods name it.
func newKey(name string) (crypto.Signer, error) {
	switch name {
	case "RSA3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ECDSAP256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECDSAP384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECDSAP521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ED25519":
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}
	return nil, &refusal{fmt.Sprintf("keyType %q is not known: must be RSA3072, RSA4096, ECDSAP256, ECDSAP384, ECDSAP521 or ED25519", name)}
}
