package rig

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
)

// Audience is what tokens for the endpoint are issued for.
const Audience = "keywright"

// tlsSecret is where the controller keeps the certificate of the endpoint.
const tlsSecret = "keywright-server-tls" // a name

// Token returns a token of a service account, as kubectl create token does. An
// empty audience is the API server's own.
func (r *Rig) Token(ctx context.Context, namespace, account, audience string) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](24 * 3600)}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	owner := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	if err := r.Admin.SubResource("token").Create(ctx, owner, request); err != nil {
		return "", fmt.Errorf("create token of %s/%s: %w", namespace, account, err)
	}
	r.Remember("token of "+namespace+"/"+account, []byte(request.Status.Token))
	return request.Status.Token, nil
}

// Namespace makes a namespace if there is none, and waits for its default service
// account.
func (r *Rig) Namespace(ctx context.Context, name string) error {
	if err := r.ensure(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return err
	}
	return poll(ctx, func(ctx context.Context) (bool, error) {
		return r.Admin.Get(ctx, client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{}) == nil, nil
	})
}

// Workload makes a service account with a plain Role that allows every operation
// on the named keys of its namespace (on all, if none is named), and returns its
// token.
func (r *Rig) Workload(ctx context.Context, namespace, account string, keys ...string) (string, error) {
	if err := r.Namespace(ctx, namespace); err != nil {
		return "", err
	}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: account}
	var resources []string
	for _, operation := range []string{"encrypt", "decrypt", "generatedatakey", "reencrypt", "reencryptto"} {
		resources = append(resources, "encryptionkeys/"+operation)
	}
	err := r.ensure(ctx,
		&corev1.ServiceAccount{ObjectMeta: meta},
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{cryptov1alpha1.GroupVersion.Group}, Resources: resources, ResourceNames: keys, Verbs: []string{"create"},
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
		})
	if err != nil {
		return "", err
	}
	return r.Token(ctx, namespace, account, Audience)
}

func (r *Rig) ensure(ctx context.Context, objects ...client.Object) error {
	for _, object := range objects {
		if err := r.Admin.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %T %s: %w", object, object.GetName(), err)
		}
	}
	return nil
}

// writeKubeconfig writes one for a service account of Keywright.
func (r *Rig) writeKubeconfig(ctx context.Context, name, account, api string, ca []byte) (string, error) {
	token, err := r.Token(ctx, Namespace, account, "")
	if err != nil {
		return "", err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["rig"] = &clientcmdapi.Cluster{Server: api, CertificateAuthorityData: ca}
	config.AuthInfos["rig"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["rig"] = &clientcmdapi.Context{Cluster: "rig", AuthInfo: "rig"}
	config.CurrentContext = "rig"
	path := filepath.Join(r.Dir, name+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("write kubeconfig of %s: %w", name, err)
	}
	return path, nil
}

// FetchTLS waits for the certificate of the endpoint and writes it to TLSDir.
func (r *Rig) FetchTLS(ctx context.Context) error {
	var stored corev1.Secret
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		for _, p := range r.Controllers {
			if _, exited := p.running(); exited != nil {
				select {
				case <-exited:
					return false, errors.New(p.Name + " has ended")
				default:
				}
			}
		}
		return r.Admin.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: tlsSecret}, &stored) == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the controller to make Secret %s: %w; logs end with\n%s", tlsSecret, err, r.Tails())
	}
	r.pool.AppendCertsFromPEM(stored.Data["ca.crt"])
	return r.WriteTLS(stored.Data)
}

// WriteTLS replaces the files in TLSDir: tls.key, tls.crt, ca.crt.
func (r *Rig) WriteTLS(files map[string][]byte) error {
	for _, name := range []string{"tls.key", "tls.crt", "ca.crt"} {
		path := filepath.Join(r.TLSDir, name)
		if err := os.WriteFile(path+".new", files[name], 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			return fmt.Errorf("replace %s: %w", name, err)
		}
	}
	return nil
}

// CA is what clients of the endpoint trust.
func (r *Rig) CA() *x509.CertPool { return r.pool }
