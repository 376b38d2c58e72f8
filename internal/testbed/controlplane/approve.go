package controlplane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApproveServing approves the serving certificates that nodes ask for, as an administrator or a cloud's controller would,
// until ctx is done: of the nodes that are named, or of all. It lives through outages of the API server.
func (p *Plane) ApproveServing(ctx context.Context, nodes ...string) {
	for ctx.Err() == nil {
		if err := p.approveOnce(ctx, nodes); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

// approveOnce lists and watches until the watch ends.
func (p *Plane) approveOnce(ctx context.Context, nodes []string) error {
	requests := p.admin.CertificatesV1().CertificateSigningRequests()
	const serving = "spec.signerName=" + certificatesv1.KubeletServingSignerName
	list, err := requests.List(ctx, metav1.ListOptions{FieldSelector: serving})
	if err != nil {
		return err
	}
	for i := range list.Items {
		if err := p.approve(ctx, &list.Items[i], nodes); err != nil {
			return err
		}
	}
	watch, err := requests.Watch(ctx, metav1.ListOptions{FieldSelector: serving, ResourceVersion: list.ResourceVersion})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		if request, ok := event.Object.(*certificatesv1.CertificateSigningRequest); ok {
			if err := p.approve(ctx, request, nodes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Plane) approve(ctx context.Context, r *certificatesv1.CertificateSigningRequest, nodes []string) error {
	node, is := strings.CutPrefix(r.Spec.Username, "system:node:")
	if !is || len(r.Status.Conditions) > 0 || len(nodes) > 0 && !slices.Contains(nodes, node) {
		return nil
	}
	r = r.DeepCopy()
	r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Testbed", Message: "approved by the control plane of tests",
	})
	_, err := p.admin.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, r.Name, r, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("approve serving certificate %s: %w", r.Name, err)
	}
	return nil
}
