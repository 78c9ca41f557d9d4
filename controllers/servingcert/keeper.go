// Package servingcert makes and renews the certificate of the crypto endpoint,
// unless somebody else such as cert-manager does, and publishes the CA that
// clients need to trust.
//
//	Secret keywright-server-ca     the CA with its key; only the controller reads it
//	Secret keywright-server-tls    tls.crt, tls.key, ca.crt; servers mount it
//	ConfigMap keywright-ca         ca.crt, for every authenticated client
//	APIService, if there is one    caBundle
package servingcert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
)

// Names in Keywright's namespace.
const (
	CASecretName      = "keywright-server-ca"
	ServingSecretName = "keywright-server-tls"
	ConfigMapName     = "keywright-ca"
	caKey             = "ca.crt"
)

// APIServiceName is the registration of the crypto endpoint with kube-apiserver.
var APIServiceName = cryptov1alpha1.GroupVersion.Version + "." + cryptov1alpha1.GroupVersion.Group

const (
	checkInterval = 5 * time.Minute
	retryInterval = 5 * time.Second
)

// Keeper keeps the serving certificate. It is a manager.Runnable that runs on the
// leader. All fields are required, except where it says so.
type Keeper struct {
	// Reader must not be cached.
	Reader    client.Reader
	Writer    client.Writer
	Namespace string
	// Service is the name of the Service in front of the servers.
	Service string
	// Names are further DNS names and IP addresses to certify. May be empty.
	Names []string
	// External leaves the certificate to somebody else.
	External bool
	// APIService says to keep the caBundle of the APIService.
	APIService bool
	Clock      clock.WithTicker
}

// Start implements manager.Runnable.
func (k *Keeper) Start(ctx context.Context) error {
	log := ctrl.LoggerFrom(ctx).WithName("servingcert")
	for {
		wait := checkInterval
		if err := k.Ensure(ctx); err != nil && ctx.Err() == nil {
			log.Error(err, "Keeping the serving certificate")
			wait = retryInterval
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.Clock.After(wait):
		}
	}
}

// Ensure makes what is missing and renews what runs out. Safe to repeat and race.
func (k *Keeper) Ensure(ctx context.Context) error {
	var ca []byte
	var err error
	if k.External {
		ca, err = k.externalCA(ctx)
	} else {
		ca, err = k.ensureCertificate(ctx)
	}
	if err != nil || ca == nil {
		return err
	}
	if err := k.publish(ctx, ca); err != nil {
		return err
	}
	if k.APIService {
		return k.registerCA(ctx, ca)
	}
	return nil
}

// externalCA returns the CA that came with somebody else's certificate; nil
// while there is none.
func (k *Keeper) externalCA(ctx context.Context) ([]byte, error) {
	serving, err := k.getSecret(ctx, ServingSecretName)
	if err != nil || serving == nil {
		return nil, err
	}
	if len(serving.Data[caKey]) == 0 {
		return nil, fmt.Errorf("Secret %s/%s has no %s; use an issuer that gives its CA", k.Namespace, ServingSecretName, caKey)
	}
	return serving.Data[caKey], nil
}

func (k *Keeper) ensureCertificate(ctx context.Context) ([]byte, error) {
	now := k.Clock.Now()
	ca, caBundle, err := k.ensureCA(ctx, now)
	if err != nil {
		return nil, err
	}
	names := k.names()
	stored, err := k.getSecret(ctx, ServingSecretName)
	if err != nil {
		return nil, err
	}
	if stored != nil && servingIsGood(pairOf(stored), ca, names, now) && bytes.Equal(stored.Data[caKey], caBundle) {
		return caBundle, nil
	}
	serving, err := newServing(ca, names, now)
	if err != nil {
		return nil, fmt.Errorf("issue serving certificate: %w", err)
	}
	return caBundle, k.putSecret(ctx, stored, ServingSecretName, serving, caBundle)
}

// ensureCA returns the CA that signs and the bundle that clients trust.
func (k *Keeper) ensureCA(ctx context.Context, now time.Time) (pair, []byte, error) {
	stored, err := k.getSecret(ctx, CASecretName)
	if err != nil {
		return pair{}, nil, err
	}
	if stored != nil && caIsGood(pairOf(stored), now) {
		return pairOf(stored), bundle(pairOf(stored).certPEM, stored.Data[caKey], now), nil
	}
	ca, err := newCA(now)
	if err != nil {
		return pair{}, nil, fmt.Errorf("make CA: %w", err)
	}
	var earlier []byte
	if stored != nil {
		earlier = append(pairOf(stored).certPEM, stored.Data[caKey]...)
	}
	caBundle := bundle(ca.certPEM, earlier, now)
	if err := k.putSecret(ctx, stored, CASecretName, ca, caBundle); err != nil {
		return pair{}, nil, err
	}
	return ca, caBundle, nil
}

func (k *Keeper) names() []string {
	base := k.Service + "." + k.Namespace
	return append([]string{base + ".svc", base, k.Service, base + ".svc.cluster.local"}, k.Names...)
}

func pairOf(s *corev1.Secret) pair {
	return pair{certPEM: slices.Clone(s.Data[corev1.TLSCertKey]), keyPEM: s.Data[corev1.TLSPrivateKeyKey]}
}

// getSecret returns nil if there is none.
func (k *Keeper) getSecret(ctx context.Context, name string) (*corev1.Secret, error) {
	var s corev1.Secret
	err := k.Reader.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: name}, &s)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil //nolint:nilnil // absent is an answer here
	case err != nil:
		return nil, fmt.Errorf("get Secret %s: %w", name, err)
	}
	return &s, nil
}

// putSecret creates the Secret or, with the resource version that was read,
// updates it: of two leaders one wins and the other comes again.
func (k *Keeper) putSecret(ctx context.Context, stored *corev1.Secret, name string, p pair, caBundle []byte) error {
	data := map[string][]byte{corev1.TLSCertKey: p.certPEM, corev1.TLSPrivateKeyKey: p.keyPEM, caKey: caBundle}
	if stored == nil {
		err := k.Writer.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: name},
			Type:       corev1.SecretTypeTLS,
			Data:       data,
		})
		if err != nil {
			return fmt.Errorf("create Secret %s: %w", name, err)
		}
		return nil
	}
	stored.Data = data
	if err := k.Writer.Update(ctx, stored); err != nil {
		return fmt.Errorf("update Secret %s: %w", name, err)
	}
	return nil
}

// publish writes the CA where every client can read it.
func (k *Keeper) publish(ctx context.Context, ca []byte) error {
	want := map[string]string{caKey: string(ca)}
	var published corev1.ConfigMap
	err := k.Reader.Get(ctx, client.ObjectKey{Namespace: k.Namespace, Name: ConfigMapName}, &published)
	switch {
	case apierrors.IsNotFound(err):
		err = k.Writer.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: ConfigMapName}, Data: want})
	case err == nil && !maps.Equal(published.Data, want):
		published.Data = want
		err = k.Writer.Update(ctx, &published)
	}
	if err != nil {
		return fmt.Errorf("publish CA in ConfigMap %s: %w", ConfigMapName, err)
	}
	return nil
}

// registerCA tells kube-apiserver which CA to trust.
func (k *Keeper) registerCA(ctx context.Context, ca []byte) error {
	var service apiregistrationv1.APIService
	err := k.Reader.Get(ctx, client.ObjectKey{Name: APIServiceName}, &service)
	if apierrors.IsNotFound(err) {
		return errors.New("there is no APIService " + APIServiceName + "; install the chart with apiService.enabled=true")
	}
	if err != nil {
		return fmt.Errorf("get APIService %s: %w", APIServiceName, err)
	}
	if bytes.Equal(service.Spec.CABundle, ca) {
		return nil
	}
	service.Spec.CABundle = ca
	if err := k.Writer.Update(ctx, &service); err != nil {
		return fmt.Errorf("update APIService %s: %w", APIServiceName, err)
	}
	return nil
}
