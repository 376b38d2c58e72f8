package certs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/bosun-project/bosun/internal/latest"
)

// Requests is what is needed of the API server to get certificates. Errors name the verb and the object, and keep their
// apimachinery status.
type Requests interface {
	// CreateCSR makes the object; the error is AlreadyExists when one of that name is there.
	CreateCSR(ctx context.Context, csr *certv1.CertificateSigningRequest) (*certv1.CertificateSigningRequest, error)
	// GetCSR reads the object as it is now, not from a cache that may be old; the error is NotFound when there is none.
	GetCSR(ctx context.Context, name string) (*certv1.CertificateSigningRequest, error)
	// FollowCSR tells of the object at first and whenever it changes, until ctx ends; it returns then, or when it cannot
	// go on. It tells nil and no error when there is none of that name, and nil and an error when it cannot tell for
	// now and tries again by itself. tell returns at once.
	FollowCSR(ctx context.Context, name string, tell func(*certv1.CertificateSigningRequest, error)) error
}

// A refusal is an answer that asking again with the same key cannot change.
type refusal struct {
	err error
	// final is true when a person or a controller said no, false when only the key or the request has to be another.
	final bool
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// An asking is one request from its creation to its certificate.
type asking struct {
	requests Requests
	// waiting is told what the request waits for; request is empty when it has an answer.
	waiting func(request, sentence string, since time.Time)
	trouble func(error) // told when the request cannot be followed for now; nil when it can
	log     *slog.Logger
}

// patience is how long a request waits before the log says so: most are approved and signed within a moment.
const patience = 5 * time.Second

type csrNews struct {
	csr *certv1.CertificateSigningRequest
	err error
}

// obtain makes the request, or finds it again, and waits for its certificate, as long as it takes.
func (a *asking) obtain(ctx context.Context, o order, k *signingKey) (certPEM []byte, err error) {
	want, err := o.request(k)
	if err != nil {
		return nil, err
	}
	have, fresh, err := a.submit(ctx, want)
	if err != nil {
		return nil, err
	}
	defer a.waiting("", "", time.Time{})
	if text, sentence, err := verdict(have); err != nil || text != nil {
		return a.check(have, text, k, fresh, err)
	} else {
		a.waiting(have.Name, sentence, have.CreationTimestamp.Time)
		return a.follow(ctx, want, k, fresh, sentence)
	}
}

func (a *asking) follow(ctx context.Context, want *certv1.CertificateSigningRequest, k *signingKey, fresh bool, waits string) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	var news latest.Cell[*csrNews]
	ended := make(chan error, 1)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer cancel()
	follower.Go(func() {
		ended <- a.requests.FollowCSR(ctx, want.Name, func(c *certv1.CertificateSigningRequest, err error) { news.Set(&csrNews{c, err}) })
	})
	began, logged := time.Now(), ""
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for {
		said, newer := news.Get()
		if said != nil {
			have, err := said.csr, said.err
			if have == nil && err == nil { // gone, or a cache that does not know it yet
				if have, fresh, err = a.again(ctx, want, fresh); err != nil {
					return nil, err // nothing may be told of it again
				}
			}
			a.trouble(explained(err))
			if have != nil {
				text, sentence, err := verdict(have)
				if err != nil || text != nil {
					return a.check(have, text, k, fresh, err)
				}
				waits = sentence
				a.waiting(have.Name, sentence, have.CreationTimestamp.Time)
			}
		}
		if waits != logged && time.Since(began) >= patience {
			a.log.Info("certificate: " + waits)
			logged = waits
		}
		select {
		case <-patient.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-ended:
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("follow certificate signing request %s: %w", want.Name, orEnded(err))
		case <-newer:
		}
	}
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("the watch ended")
	}
	return err
}

// submit creates the request, or finds it. fresh is true when it was created now.
func (a *asking) submit(ctx context.Context, want *certv1.CertificateSigningRequest) (have *certv1.CertificateSigningRequest, fresh bool, err error) {
	have, err = a.requests.CreateCSR(ctx, want)
	if err == nil {
		return have, true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, false, explained(err)
	}
	have, err = a.requests.GetCSR(ctx, want.Name)
	if err != nil {
		return nil, false, explained(err)
	}
	if err := sameRequest(want, have); err != nil {
		return nil, false, &refusal{err: err}
	}
	return have, false, nil
}

// again looks for a request that is said to be gone, and makes it again if that is so: kube-controller-manager removes
// requests that nobody approves within a day.
func (a *asking) again(ctx context.Context, want *certv1.CertificateSigningRequest, fresh bool) (*certv1.CertificateSigningRequest, bool, error) {
	have, err := a.requests.GetCSR(ctx, want.Name)
	if err == nil {
		return have, fresh, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, fresh, explained(err)
	}
	return a.submit(ctx, want)
}

// check looks at a certificate before it is taken.
func (a *asking) check(have *certv1.CertificateSigningRequest, text []byte, k *signingKey, fresh bool, refused error) ([]byte, error) {
	if refused != nil {
		return nil, refused
	}
	p, err := parsePair(text, k.pem)
	if err != nil {
		return nil, &refusal{err: fmt.Errorf("certificate signing request %s was answered with a certificate that cannot be used: %w", have.Name, err)}
	}
	if now := time.Now(); p.expired(now) {
		err := fmt.Errorf("certificate signing request %s was answered with a certificate that expired at %s, and the clock of this machine says %s",
			have.Name, stamp(p.leaf.NotAfter), stamp(now))
		if fresh {
			err = fmt.Errorf("%w: set the clock that is wrong, here or where kube-controller-manager runs", err)
		}
		return nil, &refusal{err: err, final: fresh}
	}
	return text, nil
}

// verdict reads what was decided: a certificate, a no, or a sentence about what is waited for.
func verdict(csr *certv1.CertificateSigningRequest) (certPEM []byte, sentence string, err error) {
	approved := false
	for _, c := range csr.Status.Conditions {
		if c.Status == corev1.ConditionFalse { // the API admits True only for all three
			continue
		}
		switch c.Type {
		case certv1.CertificateDenied, certv1.CertificateFailed:
			return nil, "", &refusal{final: true, err: errors.New(refusedText(csr, c))}
		case certv1.CertificateApproved:
			approved = true
		}
	}
	switch {
	case approved && len(csr.Status.Certificate) > 0:
		return csr.Status.Certificate, "", nil
	case approved:
		return nil, fmt.Sprintf("certificate signing request %s is approved; waiting for its signer %s, usually kube-controller-manager", csr.Name, csr.Spec.SignerName), nil
	default:
		return nil, fmt.Sprintf("waiting for approval of certificate signing request %s; approve it with: kubectl certificate approve %s", csr.Name, csr.Name), nil
	}
}

func refusedText(csr *certv1.CertificateSigningRequest, c certv1.CertificateSigningRequestCondition) string {
	word := "was denied"
	if c.Type == certv1.CertificateFailed {
		word = "failed at its signer " + csr.Spec.SignerName
	}
	text := fmt.Sprintf("certificate signing request %s %s", csr.Name, word)
	if c.Reason != "" {
		text += ": " + c.Reason
	}
	if c.Message != "" {
		text += ": " + c.Message
	}
	return text
}

// explained adds what is usually the matter.
func explained(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w; is the role system:node-bootstrapper bound to the group of the bootstrap token, and system:node authorised for nodes?", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w; the bootstrap token or the client certificate is expired or not known to this cluster (kubeadm token create makes a new token)", err)
	default:
		return err
	}
}
