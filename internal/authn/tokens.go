package authn

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/utils/clock"

	"github.com/keywright/keywright/internal/grace"
	"github.com/keywright/keywright/internal/principal"
)

const (
	// reviewTimeout bounds a review, so that a request is answered within a second
	// when kube-apiserver swallows packets.
	reviewTimeout = 900 * time.Millisecond
	// maxTokens bounds the tokens that are remembered; one takes about a kilobyte.
	maxTokens = 32 << 10
	// maxStrangers bounds the reviews of tokens that are not remembered.
	maxStrangers = 64
)

// errBusy says that too many unknown tokens wait for a review.
var errBusy = errors.New("too many tokens to review")

// tokens authenticates bearer tokens.
type tokens struct {
	reviews   authenticationclient.TokenReviewInterface
	audiences []string
	clock     clock.PassiveClock
	memory    *grace.Memory[*verified]
	digests   sync.Pool // of *digester
	strangers chan struct{}
}

// verified is a token that kube-apiserver has accepted.
type verified struct {
	principal *principal.Principal
	// expires is the token's own claim; zero if it makes none.
	expires time.Time
}

func newTokens(reviews authenticationclient.TokenReviewInterface, options Options, clock clock.PassiveClock) *tokens {
	key := make([]byte, sha256.Size)
	// crypto/rand.Read never returns an error.
	_, _ = rand.Read(key)
	return &tokens{
		reviews:   reviews,
		audiences: options.Audiences,
		clock:     clock,
		memory: grace.New[*verified](grace.Options{
			TTL:       options.CacheTTL,
			DenialTTL: options.CacheTTL,
			Outage:    options.OutageGrace,
			Size:      maxTokens,
			Observe:   options.Observe,
		}, clock),
		digests:   sync.Pool{New: func() any { return &digester{mac: hmac.New(sha256.New, key)} }},
		strangers: make(chan struct{}, maxStrangers),
	}
}

func (t *tokens) authenticate(ctx context.Context, token string) (*principal.Principal, error) {
	key := t.digest(token)
	v, ok := t.memory.Fresh(key)
	if !ok {
		var err error
		if v, err = t.slow(ctx, key, token); err != nil {
			return nil, err
		}
	}
	if v.expired(t.clock.Now()) {
		t.memory.Forget(key)
		return nil, fmt.Errorf("%w: the token has expired", ErrUnauthenticated)
	}
	return v.principal, nil
}

func (t *tokens) slow(ctx context.Context, key grace.Key, token string) (*verified, error) {
	c := unverifiedClaims(token)
	if c.expired(t.clock.Now()) {
		t.memory.Forget(key)
		return nil, fmt.Errorf("%w: the token has expired", ErrUnauthenticated)
	}
	v, err := t.memory.Answer(ctx, key, func(ctx context.Context, known bool) (*verified, error) {
		return t.review(ctx, token, c, known)
	})
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, grace.ErrDenied):
		return nil, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

// review asks kube-apiserver about a token.
func (t *tokens) review(ctx context.Context, token string, c claims, known bool) (*verified, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	if !known {
		select {
		case t.strangers <- struct{}{}:
			defer func() { <-t.strangers }()
		case <-ctx.Done():
			return nil, errBusy
		}
	}
	// Without audiences the API server asks for its own.
	var audiences []string
	if slices.ContainsFunc(t.audiences, func(a string) bool { return slices.Contains(c.audiences, a) }) {
		audiences = t.audiences
	}
	review, err := t.reviews.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("review token: %w", reviewError(err))
	}
	status := review.Status
	if !status.Authenticated || status.User.Username == "" || status.User.Username == user.Anonymous {
		return nil, fmt.Errorf("%w: the token is not valid", grace.ErrDenied)
	}
	// A reviewer that knows nothing of audiences answers without any: then nobody has
	// said that the token is meant for us.
	if len(audiences) > 0 && !slices.ContainsFunc(status.Audiences, func(a string) bool { return slices.Contains(audiences, a) }) {
		return nil, fmt.Errorf("%w: the token is for another audience", grace.ErrDenied)
	}
	extra := make(map[string][]string, len(status.User.Extra))
	for k, v := range status.User.Extra {
		extra[k] = v
	}
	return &verified{
		principal: principal.New(&user.DefaultInfo{
			Name: status.User.Username, UID: status.User.UID, Groups: status.User.Groups, Extra: extra,
		}),
		expires: c.expires,
	}, nil
}

// reviewError tells kube-apiserver being away or unable from its refusing this one
// review, in which the caller may have had a hand.
func reviewError(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		switch code := status.Status().Code; {
		case code >= http.StatusInternalServerError,
			code == http.StatusTooManyRequests,
			code == http.StatusUnauthorized, // our own credentials, not the token's
			code == http.StatusForbidden:
		default:
			return err
		}
	}
	return fmt.Errorf("%w: %w", grace.ErrNoAnswer, err)
}

func (v *verified) expired(now time.Time) bool { return !v.expires.IsZero() && !now.Before(v.expires) }

// digester computes keys of the memory.
type digester struct {
	mac    hash.Hash
	buffer []byte
	key    grace.Key
}

func (t *tokens) digest(token string) grace.Key {
	d := t.digests.Get().(*digester)
	d.mac.Reset()
	d.buffer = append(d.buffer[:0], token...)
	_, _ = d.mac.Write(d.buffer) // a hash.Hash never returns an error
	clear(d.buffer)
	d.mac.Sum(d.key[:0])
	key := d.key
	t.digests.Put(d)
	return key
}

// claims are what a token says of itself.
type claims struct {
	audiences []string
	expires   time.Time
}

func (c claims) expired(now time.Time) bool { return !c.expires.IsZero() && !now.Before(c.expires) }

// unverifiedClaims reads a JWT without verifying it. Of anything else it returns
// no claims.
func unverifiedClaims(token string) claims {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims{}
	}
	var body struct {
		Audience json.RawMessage `json:"aud"`
		Expires  *float64        `json:"exp"`
	}
	if err := json.Unmarshal(payload, &body); err != nil {
		return claims{}
	}
	var c claims
	var one string
	if json.Unmarshal(body.Audience, &one) == nil {
		c.audiences = []string{one}
	} else if json.Unmarshal(body.Audience, &c.audiences) != nil {
		c.audiences = nil
	}
	// Seconds that time.Time cannot hold are further away than anything.
	if body.Expires != nil && math.Abs(*body.Expires) < 1<<40 {
		c.expires = time.Unix(int64(*body.Expires), 0)
	}
	return c
}
