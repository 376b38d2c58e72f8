package cluster

import (
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// known are the types that this program exchanges with the API server. A type that is not here is not linked with all that can be done
// to it; so name types one by one and do not call the AddToScheme of a group.
var known = map[schema.GroupVersion][]runtime.Object{
	corev1.SchemeGroupVersion: {
		&corev1.ConfigMap{}, &corev1.ConfigMapList{}, &corev1.Event{}, &corev1.Node{}, &corev1.NodeList{}, &corev1.PersistentVolume{},
		&corev1.PersistentVolumeClaim{}, &corev1.Pod{}, &corev1.PodList{},
		&corev1.Secret{}, &corev1.SecretList{}, &corev1.Service{}, &corev1.ServiceAccount{}, &corev1.ServiceList{},
	},
	coordinationv1.SchemeGroupVersion: {&coordinationv1.Lease{}},
	certificatesv1.SchemeGroupVersion: {
		&certificatesv1.CertificateSigningRequest{}, &certificatesv1.CertificateSigningRequestList{},
		&certificatesv1.ClusterTrustBundle{}, &certificatesv1.ClusterTrustBundleList{},
		&certificatesv1.PodCertificateRequest{}, &certificatesv1.PodCertificateRequestList{},
	},
	authenticationv1.SchemeGroupVersion: {&authenticationv1.TokenRequest{}, &authenticationv1.TokenReview{}},
	authorizationv1.SchemeGroupVersion:  {&authorizationv1.SubjectAccessReview{}},
	nodev1.SchemeGroupVersion:           {&nodev1.RuntimeClass{}, &nodev1.RuntimeClassList{}},
	resourcev1.SchemeGroupVersion:       {&resourcev1.ResourceClaim{}, &resourcev1.ResourceSliceList{}},
	storagev1.SchemeGroupVersion: {
		&storagev1.CSIDriver{}, &storagev1.CSIDriverList{}, &storagev1.CSINode{}, &storagev1.VolumeAttachment{},
	},
}

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for version, objects := range known {
		s.AddKnownTypes(version, objects...)
		metav1.AddToGroupVersion(s, version)
	}
	return s
}
