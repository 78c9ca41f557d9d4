package encryptionkey

import (
	"context"
	"fmt"
	"strconv"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/material"
)

// identity is which key a resource is, and what is promised of its material.
type identity struct {
	id keystore.KeyID
	// promised is the newest version that must exist; zero for a key that never
	// had any.
	promised uint32
	// recovered is set when the material was found by the owner that is sealed in
	// it, for a resource that was deleted and came back.
	recovered bool
	// invalid says why the annotations cannot be read.
	invalid string
}

// identify finds out which key the resource is. In this order: the id that the
// resource claims; material under its own UID, from a reconcile that was
// interrupted; material whose sealed owner is this namespace and name, from a
// resource that was deleted; else it is a new key, whose id is its UID.
func (r *Reconciler) identify(ctx context.Context, s *scope) (bool, error) {
	s.identity = claimed(s.key)
	if s.identity.invalid != "" {
		return false, nil
	}
	if s.identity.id != (keystore.KeyID{}) {
		return true, nil
	}
	own, err := keystore.ParseKeyID(string(s.key.UID))
	if err != nil {
		return false, fmt.Errorf("UID %q of the resource: %w", s.key.UID, err)
	}
	for _, inventory := range []material.Inventory{r.cached(), r.live()} {
		found, err := inventory.OfOwner(ctx, s.owner())
		if err != nil {
			return false, err
		}
		if id, ok := choose(own, found); ok {
			s.identity = identity{id: id, promised: 1, recovered: id != own}
			return true, nil
		}
	}
	// Status is the weakest of all claims, but it is one: a key that has had an id
	// must not silently get other material.
	if id, err := keystore.ParseKeyID(s.key.Status.KeyID); err == nil && id != own {
		s.identity = identity{id: id, promised: uint32(max(s.key.Status.CurrentVersion, 1))}
		return true, nil
	}
	s.identity = identity{id: own}
	return true, nil
}

// choose picks the key among the material of an owner: the one made for this very
// resource, else the one that was used last. Material that does not open counts
// last of all, but it counts: fresh material in its place would hide the loss.
func choose(own keystore.KeyID, found []material.Found) (keystore.KeyID, bool) {
	var newest material.Found
	for _, f := range found {
		if f.ID.Key == own {
			return own, true
		}
		if newest.ID.Version == 0 || f.Metadata.CreatedAt.After(newest.Metadata.CreatedAt) {
			newest = f
		}
	}
	return newest.ID.Key, newest.ID.Version != 0
}

// claimed reads the annotations. The zero identity means that there is no claim.
func claimed(key *keywrightv1alpha1.EncryptionKey) identity {
	value, ok := key.Annotations[keywrightv1alpha1.KeyIDAnnotation]
	if !ok {
		return identity{}
	}
	id, err := keystore.ParseKeyID(value)
	if err != nil {
		return identity{invalid: fmt.Sprintf("annotation %s is %v; remove the annotation, or restore it from a backup",
			keywrightv1alpha1.KeyIDAnnotation, err)}
	}
	latest, ok := key.Annotations[keywrightv1alpha1.LatestVersionAnnotation]
	if !ok {
		// An id is written only after a version was stored.
		return identity{id: id, promised: 1}
	}
	promised, err := strconv.ParseUint(latest, 10, 31)
	if err != nil || promised == 0 {
		return identity{invalid: fmt.Sprintf("annotation %s is not a version number; remove the annotation, or restore it from a backup",
			keywrightv1alpha1.LatestVersionAnnotation)}
	}
	return identity{id: id, promised: uint32(promised)}
}

func (r *Reconciler) cached() material.Inventory {
	return material.Inventory{Reader: r.Client, Namespace: r.Namespace, Root: r.Root, Indexed: r.Indexed}
}

func (r *Reconciler) live() material.Inventory {
	return material.Inventory{Reader: r.Live, Namespace: r.Namespace, Root: r.Root}
}
