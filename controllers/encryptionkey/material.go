package encryptionkey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
)

// maxProbes bounds how many versions that the cache does not show are asked for
// one by one. Behind a bounded cache they are a few, in a broken restore they may
// be thousands.
const maxProbes = 16

// materialFacts is which versions of the key there are.
type materialFacts struct {
	// taken says that the inventory is complete.
	taken bool
	// versions are the good ones, by version.
	versions map[uint32]keystore.Metadata
	// bad says of versions that exist why they do not open.
	bad map[uint32]error
	// promised is the newest version that must exist.
	promised uint32
	// created is set when this reconcile stored the first version.
	created bool
}

// span is a run of versions.
type span struct {
	first, last uint32
}

// missing returns the versions that must exist and do not. It takes no more time
// and memory than there are versions: the promise is an annotation, in which
// anybody may write any number.
func (f *materialFacts) missing() []span {
	there := slices.Sorted(maps.Keys(f.versions))
	for v := range f.bad {
		there = append(there, v)
	}
	slices.Sort(there)
	var missing []span
	next := uint32(1)
	for _, v := range there {
		if v > next {
			missing = append(missing, span{next, v - 1})
		}
		next = v + 1
	}
	if next <= f.promised {
		missing = append(missing, span{next, f.promised})
	}
	return missing
}

// complete says that every version that must exist does, and opens.
func (f *materialFacts) complete() bool {
	return f.taken && f.promised > 0 && len(f.bad) == 0 && len(f.missing()) == 0
}

// current returns the version that encrypts.
func (f *materialFacts) current() (keystore.Metadata, bool) {
	m, ok := f.versions[f.promised]
	return m, ok
}

// takeInventory finds out which versions of the key exist. The cache says what
// there is; what it does not show is asked for live before it counts as missing.
func (r *Reconciler) takeInventory(ctx context.Context, s *scope) (bool, error) {
	facts := materialFacts{
		versions: map[uint32]keystore.Metadata{},
		bad:      map[uint32]error{},
		promised: s.identity.promised,
	}
	found, err := r.cached().OfKey(ctx, s.identity.id)
	if err != nil {
		return false, err
	}
	for _, f := range found {
		switch {
		case f.Err != nil:
			if f.ID.Key == s.identity.id && f.ID.Version > 0 {
				facts.bad[f.ID.Version] = f.Err
			}
		case f.Metadata.Owner != s.owner():
			// Another key's material is to this key as if it were not there, so that
			// nobody learns of it by writing its id into an annotation.
			continue
		default:
			facts.versions[f.ID.Version] = f.Metadata
			facts.promised = max(facts.promised, f.ID.Version)
		}
	}
	for _, version := range firstOf(facts.missing(), maxProbes) {
		m, err := r.probe(ctx, s, version)
		switch {
		case errors.Is(err, keystore.ErrNotFound):
		case errors.Is(err, keystore.ErrCorrupt):
			facts.bad[version] = err
		case err != nil:
			return false, err
		default:
			facts.versions[version] = m
		}
	}
	facts.taken = true
	s.material = facts
	return true, nil
}

// probe asks for one version live. Errors: keystore.ErrNotFound also when it
// belongs to another key.
func (r *Reconciler) probe(ctx context.Context, s *scope, version uint32) (keystore.Metadata, error) {
	key, err := r.Store.Open(ctx, keystore.VersionID{Key: s.identity.id, Version: version})
	if err != nil {
		return keystore.Metadata{}, err
	}
	if key.Metadata().Owner != s.owner() {
		return keystore.Metadata{}, keystore.ErrNotFound
	}
	return key.Metadata(), nil
}

// createFirst stores version 1 of a key that never had any.
func (r *Reconciler) createFirst(ctx context.Context, s *scope) (bool, error) {
	if s.material.promised > 0 {
		if s.identity.recovered && s.material.complete() {
			s.notices = append(s.notices, keyRecovered(s.identity.id, s.material.promised))
		}
		return true, nil
	}
	if len(s.material.bad) > 0 {
		return true, nil
	}
	m, err := r.Store.Create(ctx, keystore.Metadata{
		ID:        keystore.VersionID{Key: s.identity.id, Version: 1},
		Owner:     s.owner(),
		KeySpec:   s.key.Spec.KeySpec,
		Origin:    keywrightv1alpha1.CreatedVersionOrigin,
		CreatedAt: s.now,
	})
	if errors.Is(err, keystore.ErrCorrupt) {
		// Something is there under the name, and it is not ours to replace.
		s.material.promised = 1
		s.material.bad[1] = err
		return true, nil
	}
	if err != nil {
		return false, err
	}
	s.material.versions[1] = m
	s.material.promised = 1
	s.material.created = true
	s.notices = append(s.notices, keyCreated(s.identity.id))
	return true, nil
}

// annotate records the id and the latest version in the resource, where a backup
// that drops status keeps them. It comes after the version is stored: who sees
// the annotation can count on the material.
func (r *Reconciler) annotate(ctx context.Context, s *scope) (bool, error) {
	if _, ok := s.material.current(); !ok {
		return true, nil
	}
	want := map[string]string{
		keywrightv1alpha1.KeyIDAnnotation:         s.identity.id.String(),
		keywrightv1alpha1.LatestVersionAnnotation: strconv.FormatUint(uint64(s.material.promised), 10),
	}
	base := s.key.DeepCopy()
	annotations := maps.Clone(base.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, want)
	if maps.Equal(annotations, base.Annotations) {
		return true, nil
	}
	// The optimistic lock keeps a stale reader from taking a version back.
	patched := base.DeepCopy()
	patched.Annotations = annotations
	if err := r.Client.Patch(ctx, patched, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return false, fmt.Errorf("patch annotations: %w", err)
	}
	s.key.ObjectMeta = patched.ObjectMeta
	s.before.ObjectMeta = patched.ObjectMeta
	return true, nil
}

// firstOf returns at most n versions of the spans.
func firstOf(spans []span, n int) []uint32 {
	var versions []uint32
	for _, s := range spans {
		for v := s.first; v <= s.last && len(versions) < n; v++ {
			versions = append(versions, v)
		}
	}
	return versions
}

// list writes spans as 1, 4-9, 12, and stops after a few.
func list(spans []span) string {
	const few = 10
	var parts []string
	for i, s := range spans {
		if i == few {
			parts = append(parts, "and more")
			break
		}
		part := strconv.FormatUint(uint64(s.first), 10)
		if s.last > s.first {
			part += "-" + strconv.FormatUint(uint64(s.last), 10)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// newest returns the good versions, the newest first.
func (f *materialFacts) newest() []keystore.Metadata {
	return slices.SortedFunc(maps.Values(f.versions), func(a, b keystore.Metadata) int {
		return int(b.ID.Version) - int(a.ID.Version)
	})
}
