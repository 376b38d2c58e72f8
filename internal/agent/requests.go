package agent

import (
	"context"
	"time"

	authentication "k8s.io/api/authentication/v1"
	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	resource "k8s.io/api/resource/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/cluster"
)

// requests fits the client to what certificates are asked for with.
type requests struct{ *cluster.Client }

func (r requests) FollowCSR(ctx context.Context, name string, tell func(*certificates.CertificateSigningRequest, error)) error {
	r.Client.FollowCSR(ctx, name, func(l cluster.Listing[*certificates.CertificateSigningRequest]) { tell(only(l)) })
	return ctx.Err()
}

// only is what a listing says of the one object it is about: none yet and why, none at all, or that object.
func only[T any](l cluster.Listing[*T]) (*T, error) {
	switch {
	case len(l.Objects) > 0:
		return l.Objects[0], nil
	case l.Synced:
		return nil, nil
	}
	return nil, l.Err
}

// statuses fits the client to what reports are sent with.
type statuses struct{ *cluster.Client }

func (s statuses) DeletePod(ctx context.Context, namespace, name string, uid types.UID, grace time.Duration) error {
	return s.Client.DeletePod(ctx, namespace, name, uid, int64(grace/time.Second))
}

// apiObjects fits the client to what pods are made from.
type apiObjects struct{ client *cluster.Client }

func (o apiObjects) FollowConfigMap(ctx context.Context, namespace, name string, tell func(*v1.ConfigMap, error)) {
	o.client.FollowConfigMap(ctx, namespace, name, one(tell))
}

func (o apiObjects) FollowSecret(ctx context.Context, namespace, name string, tell func(*v1.Secret, error)) {
	o.client.FollowSecret(ctx, namespace, name, one(tell))
}

func (o apiObjects) FollowServices(ctx context.Context, tell func([]*v1.Service, error)) {
	o.client.FollowServices(ctx, all(tell))
}

func (o apiObjects) FollowRuntimeClasses(ctx context.Context, tell func([]*node.RuntimeClass, error)) {
	o.client.FollowRuntimeClasses(ctx, all(tell))
}

func (o apiObjects) FollowTrustBundles(ctx context.Context, tell func([]*certificates.ClusterTrustBundle, error)) {
	o.client.FollowClusterTrustBundles(ctx, all(tell))
}

func (o apiObjects) Account(ctx context.Context, namespace, name string) (*v1.ServiceAccount, error) {
	return o.client.GetServiceAccount(ctx, namespace, name)
}

func (o apiObjects) FollowClaim(ctx context.Context, namespace, name string, tell func(*v1.PersistentVolumeClaim, error)) {
	o.client.FollowClaim(ctx, namespace, name, one(tell))
}

func (o apiObjects) FollowVolume(ctx context.Context, name string, tell func(*v1.PersistentVolume, error)) {
	o.client.FollowVolume(ctx, name, one(tell))
}

func (o apiObjects) ResourceClaim(ctx context.Context, namespace, name string) (*resource.ResourceClaim, error) {
	r, err := o.client.GetResourceClaim(ctx, namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return r, err
}

func (o apiObjects) FollowResourceClaim(ctx context.Context, namespace, name string, tell func(*resource.ResourceClaim, error)) {
	o.client.FollowResourceClaim(ctx, namespace, name, one(tell))
}

func (o apiObjects) FollowCSIDrivers(ctx context.Context, tell func([]*storage.CSIDriver, error)) {
	o.client.FollowCSIDrivers(ctx, all(tell))
}

func (o apiObjects) Token(ctx context.Context, namespace, account string, r *authentication.TokenRequest) (*authentication.TokenRequest, error) {
	return o.client.CreateToken(ctx, namespace, account, r)
}

func (o apiObjects) RequestCertificate(ctx context.Context, r *certificates.PodCertificateRequest) error {
	_, err := o.client.CreatePodCertificateRequest(ctx, r)
	return err
}

func (o apiObjects) FollowCertificateRequest(ctx context.Context, namespace, name string, tell func(*certificates.PodCertificateRequest, error)) {
	o.client.FollowPodCertificateRequest(ctx, namespace, name, one(tell))
}

// one hands on what is known of a single object, and trouble; a listing that knows nothing and has none says nothing.
func one[T any](tell func(*T, error)) func(cluster.Listing[*T]) {
	return func(l cluster.Listing[*T]) {
		switch {
		case l.Err != nil:
			tell(nil, l.Err)
		case l.Synced:
			tell(only(l))
		}
	}
}

func all[T any](tell func([]T, error)) func(cluster.Listing[T]) {
	return func(l cluster.Listing[T]) {
		switch {
		case l.Synced:
			tell(l.Objects, nil)
		case l.Err != nil:
			tell(nil, l.Err)
		}
	}
}
