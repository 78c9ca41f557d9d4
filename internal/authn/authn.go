package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/keywright/keywright/internal/grace"
	"github.com/keywright/keywright/internal/principal"
)

// Errors of an Authenticator. They are wrapped; compare with errors.Is.
var (
	// ErrUnauthenticated is returned when the request shows no credentials, or none
	// that are valid.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrUnavailable is returned when nobody can say whether the credentials are
	// valid. The answer to doubt is no.
	ErrUnavailable = errors.New("authentication unavailable")
)

// Identity is who sends a request.
type Identity struct {
	Principal *principal.Principal
	// FrontProxy says that kube-apiserver passed the request on, so that its other
	// headers are kube-apiserver's word, too.
	FrontProxy bool
}

// Options of an Authenticator.
type Options struct {
	// Audiences are those that a token may have been issued for, besides the API
	// server's own.
	Audiences []string
	// CacheTTL is how long the review of a token is remembered.
	CacheTTL time.Duration
	// OutageGrace is how long after its last review a token is accepted while
	// kube-apiserver does not answer.
	OutageGrace time.Duration
	// Observe is told where the word on a token came from. May be nil.
	Observe func(grace.Source)
}

// Authenticator authenticates requests. It is safe for concurrent use.
type Authenticator struct {
	tokens       *tokens
	certificates *certificates
}

// New returns an Authenticator that asks kube-apiserver through client, which must
// not limit its rate.
func New(client kubernetes.Interface, options Options, clock clock.PassiveClock) (*Authenticator, error) {
	certificates, err := newCertificates(client)
	if err != nil {
		return nil, fmt.Errorf("follow the CAs of clients: %w", err)
	}
	return &Authenticator{
		tokens:       newTokens(client.AuthenticationV1().TokenReviews(), options, clock),
		certificates: certificates,
	}, nil
}

// Run follows the configuration of kube-apiserver until ctx is done.
func (a *Authenticator) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, run := range a.certificates.controllers {
		group.Go(func() { run(ctx, 1) })
	}
	group.Wait()
}

// Authenticate says who sends the request. It does not read the body. Errors:
// ErrUnauthenticated, ErrUnavailable.
func (a *Authenticator) Authenticate(r *http.Request) (Identity, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		// A certificate that nobody here believes in is no reason to refuse a token
		// that comes along.
		if p, ok := byCertificate(a.certificates.frontProxy, r); ok {
			return Identity{Principal: p, FrontProxy: true}, nil
		}
		if p, ok := byCertificate(a.certificates.client, r); ok {
			return Identity{Principal: p}, nil
		}
	}
	token, ok := bearerToken(r.Header)
	if !ok {
		return Identity{}, ErrUnauthenticated
	}
	p, err := a.tokens.authenticate(r.Context(), token)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Principal: p}, nil
}

func byCertificate(a authenticator.Request, r *http.Request) (*principal.Principal, bool) {
	response, ok, err := a.AuthenticateRequest(r)
	if err != nil || !ok {
		return nil, false
	}
	return principal.New(response.User), true
}

// bearerToken returns the token of the Authorization header (RFC 6750 section 2.1).
func bearerToken(h http.Header) (string, bool) {
	values := h["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	for i := range len(token) {
		// What no token consists of is not carried to kube-apiserver, which might
		// refuse the whole review for it and look broken.
		if token[i] <= ' ' || token[i] > '~' {
			return "", false
		}
	}
	return token, true
}
