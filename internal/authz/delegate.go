package authz

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/utils/clock"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/grace"
	"github.com/keywright/keywright/internal/principal"
)

const (
	// reviewTimeout bounds a review, so that a request is answered within a second
	// when kube-apiserver swallows packets.
	reviewTimeout = 900 * time.Millisecond
	// denialTTL is shorter than any sensible CacheTTL: people who have just been
	// given a permission try again.
	denialTTL = 2 * time.Second
	// maxDecisions bounds the decisions that are remembered.
	maxDecisions = 64 << 10
)

// Options of a Delegate.
type Options struct {
	// CacheTTL is how long a permission is remembered.
	CacheTTL time.Duration
	// OutageGrace is how long after it was last confirmed a permission stands while
	// kube-apiserver does not answer.
	OutageGrace time.Duration
	// Observe is told where a decision came from. May be nil.
	Observe func(grace.Source)
}

// Delegate is the Authorizer that asks kube-apiserver by SubjectAccessReview and
// remembers the decision as package grace describes.
//
// It does not stand on the delegating authorizer of k8s.io/apiserver: the cache of
// that one is keyed by the JSON of the whole review, which would cost more than the
// encryption does, and forgets when kube-apiserver is away.
type Delegate struct {
	reviews authorizationclient.SubjectAccessReviewInterface
	memory  *grace.Memory[struct{}]
}

var _ Authorizer = (*Delegate)(nil)

// NewDelegate returns a Delegate. The client must not limit its rate.
func NewDelegate(reviews authorizationclient.SubjectAccessReviewInterface, options Options, clock clock.PassiveClock) *Delegate {
	return &Delegate{
		reviews: reviews,
		memory: grace.New[struct{}](grace.Options{
			TTL:       options.CacheTTL,
			DenialTTL: min(options.CacheTTL, denialTTL),
			Outage:    options.OutageGrace,
			Size:      maxDecisions,
			Observe:   options.Observe,
		}, clock),
	}
}

// Authorize implements Authorizer.
func (d *Delegate) Authorize(ctx context.Context, who user.Info, permission Permission) error {
	key := decisionKey(who, permission)
	if _, ok := d.memory.Fresh(key); ok {
		return nil
	}
	return d.slow(ctx, key, who, permission)
}

func (d *Delegate) slow(ctx context.Context, key grace.Key, who user.Info, permission Permission) error {
	_, err := d.memory.Answer(ctx, key, func(ctx context.Context, _ bool) (struct{}, error) {
		return struct{}{}, d.review(ctx, who, permission)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, grace.ErrDenied):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

func (d *Delegate) review(ctx context.Context, who user.Info, permission Permission) error {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	extra := make(map[string]authorizationv1.ExtraValue, len(who.GetExtra()))
	for k, v := range who.GetExtra() {
		extra[k] = v
	}
	review, err := d.reviews.Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   who.GetName(),
			UID:    who.GetUID(),
			Groups: who.GetGroups(),
			Extra:  extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb:        "create",
				Group:       cryptov1alpha1.GroupVersion.Group,
				Version:     cryptov1alpha1.GroupVersion.Version,
				Resource:    "encryptionkeys",
				Subresource: permission.Subresource,
				Namespace:   permission.Namespace,
				Name:        permission.Name,
			},
		},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("review access: %w: %w", grace.ErrNoAnswer, err)
	case review.Status.Denied || !review.Status.Allowed:
		return grace.ErrDenied
	}
	return nil
}

// decisionKey digests all that the decision depends on.
func decisionKey(who user.Info, p Permission) grace.Key {
	digest := principal.DigestOf(who)
	// Names of Kubernetes fit; longer ones move to the heap.
	b := make([]byte, 0, 512)
	b = append(b, digest[:]...)
	for _, s := range [...]string{p.Subresource, p.Namespace, p.Name} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}
