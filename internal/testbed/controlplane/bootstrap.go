package controlplane

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BootstrapToken lets a machine ask for a node's certificate, as kubeadm's tokens do.
const BootstrapToken = "abcdef.0123456789abcdef"

// allowBootstrap makes the token, lets its holders ask for certificates, and has the controller manager approve
// what new nodes and nodes that renew ask for. Serving certificates are approved by nobody: see [Plane.ApproveServing].
func (p *Plane) allowBootstrap(ctx context.Context) error {
	id, secret, _ := strings.Cut(BootstrapToken, ".")
	token := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id, Namespace: metav1.NamespaceSystem},
		Type:       corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{
			"token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
		},
	}
	// The namespace is made by the API server, a moment after it is ready.
	err := p.apiServer.Await(ctx, func(ctx context.Context) error {
		_, err := p.admin.CoreV1().Secrets(token.Namespace).Create(ctx, token, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make the bootstrap token: %w", err)
	}
	const requests = "system:certificates.k8s.io:certificatesigningrequests:"
	for _, b := range []struct{ name, role, group string }{
		{"bosun:node-bootstrapper", "system:node-bootstrapper", "system:bootstrappers"},
		{"bosun:approve-new-nodes", requests + "nodeclient", "system:bootstrappers"},
		{"bosun:approve-renewals", requests + "selfnodeclient", "system:nodes"},
	} {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: b.name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: b.role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: b.group}},
		}
		if _, err := p.admin.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("bind %s to %s: %w", b.role, b.group, err)
		}
	}
	return nil
}
