package rig

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
)

// Client calls the endpoint of one server with one token. It is safe for
// concurrent use.
type Client struct {
	// HTTP trusts the CA of the endpoint.
	HTTP *http.Client
	// URL is of the server.
	URL string
	// Token is sent as a bearer token, if there is one.
	Token string
}

// Client returns a client of a server.
func (r *Rig) Client(server int, token string) *Client {
	return &Client{HTTP: r.HTTP(), URL: r.Servers[server].URL, Token: token}
}

// HTTP returns a new HTTP/1.1 client that trusts the endpoint's CA, with
// connections of its own.
func (r *Rig) HTTP() *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: r.pool, MinVersion: tls.VersionTLS13},
			MaxIdleConnsPerHost: 128,
			IdleConnTimeout:     time.Minute,
		},
	}
}

// OperationURL is where an operation on a key is posted.
func (c *Client) OperationURL(key types.NamespacedName, operation string) string {
	return c.URL + Path(key, operation)
}

// Path is the same without scheme and host, as kubectl create --raw wants it.
func Path(key types.NamespacedName, operation string) string {
	return fmt.Sprintf("/apis/%s/namespaces/%s/encryptionkeys/%s/%s", cryptov1alpha1.GroupVersion, key.Namespace, key.Name, operation)
}

// Post sends a body and returns status code and answer.
func (c *Client) Post(ctx context.Context, key types.NamespacedName, operation string, body []byte) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.OperationURL(key, operation), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close() // it is read to the end
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// Encrypt calls encrypt. An answer that is not a success is an
// *apierrors.StatusError.
func (c *Client) Encrypt(ctx context.Context, key types.NamespacedName, plaintext []byte, encryptionContext map[string]string) (*cryptov1alpha1.EncryptStatus, error) {
	request := cryptov1alpha1.EncryptRequest{TypeMeta: typeMeta(cryptov1alpha1.EncryptRequestKind)}
	request.Spec.Plaintext, request.Spec.EncryptionContext = plaintext, encryptionContext
	if err := c.do(ctx, key, "encrypt", &request); err != nil {
		return nil, err
	}
	return request.Status, nil
}

// Decrypt calls decrypt.
func (c *Client) Decrypt(ctx context.Context, key types.NamespacedName, ciphertext []byte, encryptionContext map[string]string) (*cryptov1alpha1.DecryptStatus, error) {
	request := cryptov1alpha1.DecryptRequest{TypeMeta: typeMeta(cryptov1alpha1.DecryptRequestKind)}
	request.Spec.Ciphertext, request.Spec.EncryptionContext = ciphertext, encryptionContext
	if err := c.do(ctx, key, "decrypt", &request); err != nil {
		return nil, err
	}
	return request.Status, nil
}

// DataKey calls generatedatakey for 32 bytes.
func (c *Client) DataKey(ctx context.Context, key types.NamespacedName, encryptionContext map[string]string) (*cryptov1alpha1.DataKeyStatus, error) {
	request := cryptov1alpha1.DataKeyRequest{TypeMeta: typeMeta(cryptov1alpha1.DataKeyRequestKind)}
	request.Spec.KeySpec, request.Spec.EncryptionContext = cryptov1alpha1.AES256DataKeySpec, encryptionContext
	if err := c.do(ctx, key, "generatedatakey", &request); err != nil {
		return nil, err
	}
	return request.Status, nil
}

func (c *Client) do(ctx context.Context, key types.NamespacedName, operation string, request any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode %s: %w", operation, err)
	}
	code, answer, err := c.Post(ctx, key, operation, body)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		var status metav1.Status
		if err := json.Unmarshal(answer, &status); err != nil || status.Kind != "Status" {
			return fmt.Errorf("%s answered %d with what is no Status: %.200q", operation, code, answer)
		}
		return &apierrors.StatusError{ErrStatus: status}
	}
	if err := json.Unmarshal(answer, request); err != nil {
		return fmt.Errorf("decode answer of %s: %w", operation, err)
	}
	return nil
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: cryptov1alpha1.GroupVersion.String(), Kind: kind}
}
