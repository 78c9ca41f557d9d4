package material

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
)

// Found is one key version that an Inventory has seen.
type Found struct {
	// ID is what the name and labels say; Metadata.ID, if it opened, says the same.
	ID keystore.VersionID
	// Metadata is from the sealed payload; the zero value when Err is set.
	Metadata keystore.Metadata
	// Err says why the payload does not open. It wraps keystore.ErrCorrupt,
	// ErrUnknownRootVersion or keystore.ErrUnavailable.
	Err error
}

// Inventory reads which key versions exist. It is as fresh as its Reader.
type Inventory struct {
	Reader    client.Reader
	Namespace string
	Root      Root
	// Indexed says that Reader is a cache that has the indexes of AddIndexes. Without
	// them every list looks at all material there is.
	Indexed bool
}

// AddIndexes adds to a cache what an Inventory with Indexed needs.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, label := range []string{keywrightv1alpha1.KeyIDLabel, keywrightv1alpha1.OwnerHashLabel} {
		err := indexer.IndexField(ctx, &corev1.Secret{}, indexOf(label), func(o client.Object) []string {
			if value, ok := o.GetLabels()[label]; ok {
				return []string{value}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("index Secrets by %s: %w", label, err)
		}
	}
	return nil
}

// indexOf is the name of the index by a label.
func indexOf(label string) string { return "label:" + label }

// OfKey returns the versions of a key, by ascending version. What opens and is
// another key's, whatever its label says, is left out.
func (i Inventory) OfKey(ctx context.Context, id keystore.KeyID) ([]Found, error) {
	all, err := i.list(ctx, keywrightv1alpha1.KeyIDLabel, id.String())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(f Found) bool { return f.Err == nil && f.Metadata.ID.Key != id }), nil
}

// OfOwner returns the versions whose sealed owner is this one, by key and
// ascending version, and those that are labelled with it and are corrupt. What
// cannot be opened at the moment is an error, because "none" would let a new key
// be made in place of one that is there.
func (i Inventory) OfOwner(ctx context.Context, owner keystore.Owner) ([]Found, error) {
	all, err := i.list(ctx, keywrightv1alpha1.OwnerHashLabel, OwnerHash(owner))
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if f.Err != nil && !errors.Is(f.Err, keystore.ErrCorrupt) {
			return nil, fmt.Errorf("find material of %s/%s: %w", owner.Namespace, owner.Name, f.Err)
		}
	}
	return slices.DeleteFunc(all, func(f Found) bool {
		if f.Err != nil {
			return f.ID.Version == 0
		}
		return f.Metadata.Owner != owner
	}), nil
}

// list returns the material with a label.
func (i Inventory) list(ctx context.Context, label, value string) ([]Found, error) {
	var selector client.ListOption = client.MatchingLabels{keywrightv1alpha1.MaterialLabel: "true", label: value}
	if i.Indexed {
		selector = client.MatchingFields{indexOf(label): value}
	}
	var secrets corev1.SecretList
	if err := i.Reader.List(ctx, &secrets, client.InNamespace(i.Namespace), selector, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list material Secrets: %w", err)
	}
	found := make([]Found, 0, len(secrets.Items))
	for n := range secrets.Items {
		found = append(found, i.read(&secrets.Items[n]))
	}
	slices.SortFunc(found, func(a, b Found) int {
		if c := slices.Compare(a.ID.Key[:], b.ID.Key[:]); c != 0 {
			return c
		}
		return cmp.Compare(a.ID.Version, b.ID.Version)
	})
	return found, nil
}

func (i Inventory) read(s *corev1.Secret) Found {
	m, key, err := Open(i.Root, s)
	key.Clear()
	f := Found{ID: m.ID, Metadata: m, Err: err}
	if err != nil {
		f.ID = idFromLabels(s)
	}
	return f
}

// idFromLabels is the best there is to say about a Secret that does not open.
func idFromLabels(s *corev1.Secret) keystore.VersionID {
	id, err := keystore.ParseKeyID(s.Labels[keywrightv1alpha1.KeyIDLabel])
	version, versionErr := strconv.ParseUint(s.Labels[keywrightv1alpha1.VersionLabel], 10, 32)
	if errors.Join(err, versionErr) != nil {
		return keystore.VersionID{}
	}
	return keystore.VersionID{Key: id, Version: uint32(version)}
}
