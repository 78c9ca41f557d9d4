package rig

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// NewKey returns an EncryptionKey that is not created yet.
func NewKey(namespace, name string) *keywrightv1alpha1.EncryptionKey {
	return &keywrightv1alpha1.EncryptionKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       keywrightv1alpha1.EncryptionKeySpec{Type: keywrightv1alpha1.CustomerManagedKeyType},
	}
}

// Key creates an EncryptionKey and waits until it is Ready.
func (r *Rig) Key(ctx context.Context, namespace, name string) (types.NamespacedName, error) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	if err := r.Admin.Create(ctx, NewKey(namespace, name)); err != nil {
		return key, fmt.Errorf("create EncryptionKey %s: %w", key, err)
	}
	_, err := r.AwaitKey(ctx, key, Ready)
	return key, err
}

// AwaitKey waits until a key is as wanted, and returns it.
func (r *Rig) AwaitKey(ctx context.Context, name types.NamespacedName, wanted func(*keywrightv1alpha1.EncryptionKey) bool) (*keywrightv1alpha1.EncryptionKey, error) {
	var key keywrightv1alpha1.EncryptionKey
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		key = keywrightv1alpha1.EncryptionKey{}
		return r.Admin.Get(ctx, name, &key) == nil && wanted(&key), nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for EncryptionKey %s: %w; it has status %+v", name, err, key.Status)
	}
	return &key, nil
}

// Ready says that status tells of the spec and is Ready.
func Ready(key *keywrightv1alpha1.EncryptionKey) bool {
	return key.Status.ObservedGeneration == key.Generation &&
		meta.IsStatusConditionTrue(key.Status.Conditions, keywrightv1alpha1.EncryptionKeyReadyCondition)
}

// AtVersion says that a key is Ready with this current version.
func AtVersion(version int32) func(*keywrightv1alpha1.EncryptionKey) bool {
	return func(key *keywrightv1alpha1.EncryptionKey) bool {
		return Ready(key) && key.Status.CurrentVersion == version
	}
}

// Material returns the material Secrets.
func (r *Rig) Material(ctx context.Context) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := r.Admin.List(ctx, &list, client.InNamespace(Namespace), client.MatchingLabels{keywrightv1alpha1.MaterialLabel: "true"}); err != nil {
		return nil, fmt.Errorf("list material: %w", err)
	}
	return list.Items, nil
}
