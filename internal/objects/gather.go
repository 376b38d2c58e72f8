package objects

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/pod"
)

// Gather returns the objects that one volume of a pod is made from. What does not exist is left out: content.Of knows
// whether that matters. It waits as ConfigMap and Token do, once for all; the error names everything there was no answer about.
func (l *Loop) Gather(ctx context.Context, p *v1.Pod, v *v1.Volume) (content.Facts, error) {
	var f content.Facts
	f.Where = l.cfg.Where
	w, needs := l.wait(), content.NeedsOfVolume(p, v)
	errs := []error{w.objects(ctx, p.Namespace, needs.ConfigMaps, needs.Secrets, &f.Facts)}
	for _, t := range needs.Tokens {
		text, err := w.token(ctx, p, t)
		if errs = append(errs, err); err != nil {
			continue
		}
		if f.Tokens == nil {
			f.Tokens = map[content.Token]string{}
		}
		f.Tokens[t] = text
	}
	if f.NoCertificates = l.cfg.Requests == nil; !f.NoCertificates {
		for _, of := range needs.Certificates {
			c, err := w.certificate(ctx, p, of)
			if errs = append(errs, err); err != nil {
				continue
			}
			if f.Certificates == nil {
				f.Certificates = map[content.Certificate]content.Credential{}
			}
			f.Certificates[of] = c
		}
	}
	if needs.TrustBundles {
		all, err := w.trustBundles(ctx)
		f.TrustBundles, errs = all, append(errs, err)
	}
	return f, content.Join(errs...)
}

// Fill adds the objects that the environment of one container is made from to f: services, ConfigMaps and Secrets, those that
// exist. It waits as Gather does; a static pod does not wait for services.
func (l *Loop) Fill(ctx context.Context, d *pod.Desired, c *v1.Container, f *environ.Facts) error {
	w, need := l.wait(), environ.NeedOf(c)
	if l.cfg.Own {
		f.Where = l.cfg.Where
		return w.objects(ctx, d.Pod.Namespace, need.ConfigMaps, need.Secrets, f)
	}
	own, master, err := w.services(ctx, d.Pod.Namespace, !d.Static())
	f.Services, f.MasterServices = own, master
	return content.Join(err, w.objects(ctx, d.Pod.Namespace, need.ConfigMaps, need.Secrets, f))
}

// PullSecrets returns the Secrets with the pod's logins to registries that can be had, and the names of the others, for the event
// FailedToRetrieveImagePullSecret. It waits as Gather does.
func (l *Loop) PullSecrets(ctx context.Context, p *v1.Pod) (found []*v1.Secret, lacking []string) {
	w := l.wait()
	for _, name := range content.NeedsOf(p).PullSecrets {
		if s, err := w.secret(ctx, p.Namespace, name); err == nil {
			found = append(found, s)
		} else {
			lacking = append(lacking, name)
		}
	}
	return found, lacking
}

// objects adds those that exist.
func (w patience) objects(ctx context.Context, namespace string, configMaps, secrets []string, f *environ.Facts) error {
	var errs []error
	for _, name := range configMaps {
		m, err := w.configMap(ctx, namespace, name)
		switch {
		case err == nil:
			if f.ConfigMaps == nil {
				f.ConfigMaps = map[string]*v1.ConfigMap{}
			}
			f.ConfigMaps[name] = m
		case !isMissing(err):
			errs = append(errs, err)
		}
	}
	for _, name := range secrets {
		s, err := w.secret(ctx, namespace, name)
		switch {
		case err == nil:
			if f.Secrets == nil {
				f.Secrets = map[string]*v1.Secret{}
			}
			f.Secrets[name] = s
		case !isMissing(err):
			errs = append(errs, err)
		}
	}
	return content.Join(errs...)
}

func isMissing(err error) bool {
	var missing *environ.Missing
	return errors.As(err, &missing)
}
