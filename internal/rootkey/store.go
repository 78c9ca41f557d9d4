package rootkey

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/secret"
)

// Names and types of the Secrets in Keywright's namespace.
const (
	SecretName                          = "keywright-root"
	SecretType        corev1.SecretType = "keywright.dev/root-key"
	SealerSecretName                    = "keywright-root-sealer"
	SealerSecretType  corev1.SecretType = "keywright.dev/root-sealer"
	rootDataKey                         = "root"
	sealerDataKey                       = "key"
	defaultSealerName                   = "secret"
)

// ErrUnavailable is returned when there should be a root key and it cannot be
// opened. The message says which Secret to restore.
var ErrUnavailable = errors.New("root key unavailable")

// ErrMissing is returned by Load when there is no root key, which is as it
// should be before the first start.
var ErrMissing = errors.New("there is no root key yet")

// Load opens the root key. Errors: ErrMissing, ErrUnavailable, and the errors of
// the API server.
func Load(ctx context.Context, reader client.Reader, namespace string) (*Ring, error) {
	var root corev1.Secret
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: SecretName}, &root)
	switch {
	case apierrors.IsNotFound(err):
		return nil, ErrMissing
	case err != nil:
		return nil, fmt.Errorf("get Secret %s: %w", SecretName, err)
	}
	var sealer corev1.Secret
	err = reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: SealerSecretName}, &sealer)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%w: Secret %s/%s is missing, which opens Secret %s; restore it from a backup", ErrUnavailable, namespace, SealerSecretName, SecretName)
	case err != nil:
		return nil, fmt.Errorf("get Secret %s: %w", SealerSecretName, err)
	}
	sealerKey := secret.New(sealer.Data[sealerDataKey])
	defer sealerKey.Clear()
	ring, err := open(root.Data[rootDataKey], defaultSealerName, sealerKey)
	if err != nil {
		return nil, fmt.Errorf("%w: Secret %s/%s: %w; restore it and Secret %s from the same backup", ErrUnavailable, namespace, SecretName, err, SealerSecretName)
	}
	return ring, nil
}

// Ensure opens the root key, and makes it when this is a new installation;
// created says that this call made it. It is safe to interrupt anywhere, repeat
// and race. reader must not be cached. Errors: ErrUnavailable, and the errors of
// the API server.
func Ensure(ctx context.Context, reader client.Reader, writer client.Writer, namespace string, clock clock.PassiveClock) (ring *Ring, created bool, err error) {
	ring, err = Load(ctx, reader, namespace)
	if !errors.Is(err, ErrMissing) {
		return ring, false, err
	}
	if refusal := refuseIfUsed(ctx, reader, namespace); refusal != nil {
		// Somebody else may have made it, and material with it, since.
		if ring, err := Load(ctx, reader, namespace); err == nil {
			return ring, false, nil
		}
		return nil, false, refusal
	}
	// The sealer first: a sealer without a root key seals nothing, while a root
	// key without its sealer would be lost.
	newSealerKey := secret.Random(Size)
	defer newSealerKey.Clear()
	if err := create(ctx, writer, namespace, SealerSecretName, SealerSecretType, sealerDataKey, newSealerKey.Unsafe()); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, false, fmt.Errorf("create Secret %s: %w", SealerSecretName, err)
	}
	var sealer corev1.Secret
	if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: SealerSecretName}, &sealer); err != nil {
		return nil, false, fmt.Errorf("read Secret %s back: %w", SealerSecretName, err)
	}
	sealerKey, root := secret.New(sealer.Data[sealerDataKey]), secret.Random(Size)
	defer sealerKey.Clear()
	defer root.Clear()
	document, err := newDocument(defaultSealerName, sealerKey, root, clock.Now())
	if err != nil {
		return nil, false, fmt.Errorf("%w: Secret %s/%s: %w; it seals nothing yet: delete it", ErrUnavailable, namespace, SealerSecretName, err)
	}
	err = create(ctx, writer, namespace, SecretName, SecretType, rootDataKey, document)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, false, fmt.Errorf("create Secret %s: %w", SecretName, err)
	}
	created = err == nil
	// Read back also when it was made here: nothing is sealed under a root key that
	// has not been seen where it rests.
	ring, err = Load(ctx, reader, namespace)
	return ring, created, err
}

// refuseIfUsed returns ErrUnavailable if anything shows that this installation
// had a root key before.
func refuseIfUsed(ctx context.Context, reader client.Reader, namespace string) error {
	var secrets corev1.SecretList
	err := reader.List(ctx, &secrets, client.InNamespace(namespace), client.MatchingLabels{keywrightv1alpha1.MaterialLabel: "true"}, client.Limit(1))
	if err != nil {
		return fmt.Errorf("list material Secrets: %w", err)
	}
	if len(secrets.Items) > 0 {
		return fmt.Errorf("%w: Secret %s/%s is missing and sealed material such as Secret %s exists; restore it and Secret %s from a backup",
			ErrUnavailable, namespace, SecretName, secrets.Items[0].Name, SealerSecretName)
	}
	// Resources may be restored before the material is.
	options := &client.ListOptions{Limit: 500}
	for {
		var keys keywrightv1alpha1.EncryptionKeyList
		if err := reader.List(ctx, &keys, options); err != nil {
			return fmt.Errorf("list EncryptionKeys: %w", err)
		}
		for i := range keys.Items {
			if id := keys.Items[i].Annotations[keywrightv1alpha1.KeyIDAnnotation]; id != "" {
				return fmt.Errorf("%w: Secret %s/%s is missing and EncryptionKey %s/%s has had material; restore Keywright's Secrets from a backup",
					ErrUnavailable, namespace, SecretName, keys.Items[i].Namespace, keys.Items[i].Name)
			}
		}
		if options.Continue = keys.Continue; options.Continue == "" {
			return nil
		}
	}
}

func create(ctx context.Context, writer client.Writer, namespace, name string, secretType corev1.SecretType, dataKey string, value []byte) error {
	return writer.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       secretType,
		Data:       map[string][]byte{dataKey: value},
	})
}
