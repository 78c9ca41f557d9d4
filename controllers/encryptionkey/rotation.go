package encryptionkey

import (
	"context"
	"time"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/policy"
)

// rotate stores a new version if one is due. One reconcile makes one version at
// most, however much is overdue.
func (r *Reconciler) rotate(ctx context.Context, s *scope) (bool, error) {
	if _, ok := s.material.current(); !ok {
		return true, nil
	}
	s.rotation = policy.DecideRotation(r.rotationInput(s), s.now)
	if !s.rotation.Due || !s.material.complete() {
		return true, nil
	}
	next := keystore.Metadata{
		ID:        keystore.VersionID{Key: s.identity.id, Version: s.material.promised + 1},
		Owner:     s.owner(),
		KeySpec:   s.key.Spec.KeySpec,
		Origin:    s.rotation.Origin,
		CreatedAt: s.now,
	}
	if requested := s.key.Spec.Rotation.RequestedAt; requested != nil && !requested.After(s.now) {
		next.RequestedAt = requested.Time
	}
	// What comes back may be a version that another leader made a moment ago, or
	// that a reconcile made before it was interrupted.
	stored, err := r.Store.Create(ctx, next)
	if err != nil {
		return false, err
	}
	s.material.versions[stored.ID.Version] = stored
	s.material.promised = stored.ID.Version
	s.notices = append(s.notices, keyRotated(stored))
	s.rotation = policy.DecideRotation(r.rotationInput(s), s.now)
	return true, nil
}

func (r *Reconciler) rotationInput(s *scope) policy.RotationInput {
	in := policy.RotationInput{
		KeyID:   s.identity.id,
		Spec:    s.key.Spec.Rotation,
		Enabled: s.key.IsEnabled(),

		MinInterval: r.MinRotationInterval,
	}
	for _, m := range s.material.versions {
		if m.ID.Version == s.material.promised {
			in.CurrentSince = m.CreatedAt
		}
		if m.Origin != keywrightv1alpha1.OnDemandRotationVersionOrigin {
			in.AutomaticSince = latest(in.AutomaticSince, m.CreatedAt)
		}
		in.Fulfilled = latest(in.Fulfilled, m.RequestedAt)
	}
	return in
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
