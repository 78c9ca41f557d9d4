package material

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/secret"
)

func newInventory(t *testing.T, root Root, secrets ...*corev1.Secret) Inventory {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	for _, s := range secrets {
		builder = builder.WithObjects(s)
	}
	return Inventory{Reader: builder.Build(), Namespace: namespace, Root: root}
}

// version returns the sealed Secret of a version after an edit of its metadata.
func version(t *testing.T, root Root, number uint32, edit func(*keystore.Metadata)) *corev1.Secret {
	t.Helper()
	m := metadata(number)
	if edit != nil {
		edit(&m)
	}
	return seal(t, root, m, secret.Random(32))
}

func versions(found []Found) []uint32 {
	list := []uint32{}
	for _, f := range found {
		list = append(list, f.ID.Version)
	}
	return list
}

func TestInventoryOfKey(t *testing.T) {
	root := newTestRoot(t, 1)
	corrupt := version(t, root, 3, nil)
	corrupt.Data[sealedKey][0] ^= 1
	unknownRoot := version(t, newTestRoot(t, 2), 4, nil)
	elsewhere := version(t, root, 5, nil)
	elsewhere.Namespace = "team-a"
	unlabelled := version(t, root, 6, nil)
	delete(unlabelled.Labels, keywrightv1alpha1.MaterialLabel)
	otherKey := version(t, root, 7, func(m *keystore.Metadata) { m.ID.Key = uuid.New() })

	found, err := newInventory(t, root,
		version(t, root, 10, nil), version(t, root, 2, nil), version(t, root, 1, nil),
		corrupt, unknownRoot, elsewhere, unlabelled, otherKey).OfKey(t.Context(), keyID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint32{1, 2, 3, 4, 10}, versions(found)); diff != "" {
		t.Fatalf("versions (-want +got):\n%s", diff)
	}
	for i, want := range []error{nil, nil, keystore.ErrCorrupt, ErrUnknownRootVersion, nil} {
		f := found[i]
		if !errors.Is(f.Err, want) {
			t.Errorf("version %d: %v, want %v", f.ID.Version, f.Err, want)
		}
		if (f.Err == nil) != (f.Metadata == metadata(f.ID.Version)) {
			t.Errorf("version %d: metadata %+v with error %v", f.ID.Version, f.Metadata, f.Err)
		}
	}
}

// TestForgedKeyLabel has material whose label claims another key: what is sealed
// wins.
func TestForgedKeyLabel(t *testing.T) {
	root := newTestRoot(t, 1)
	other := uuid.New()
	forged := version(t, root, 1, func(m *keystore.Metadata) { m.ID.Key = other })
	forged.Labels[keywrightv1alpha1.KeyIDLabel] = keyID.String()
	found, err := newInventory(t, root, forged, version(t, root, 2, nil)).OfKey(t.Context(), keyID)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.ID != f.Metadata.ID {
			t.Errorf("%+v says another id than what is sealed", f)
		}
		if f.ID.Key != keyID {
			t.Errorf("OfKey found version %d of key %s, which is another key", f.ID.Version, f.ID.Key)
		}
	}
	if diff := cmp.Diff([]uint32{2}, versions(found)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func TestInventoryOfOwner(t *testing.T) {
	root := newTestRoot(t, 1)
	owner := metadata(1).Owner
	forged := version(t, root, 1, func(m *keystore.Metadata) {
		m.ID.Key = uuid.New()
		m.Owner.Namespace = "team-b"
	})
	forged.Labels[keywrightv1alpha1.OwnerHashLabel] = OwnerHash(owner)
	corrupt := version(t, root, 3, nil)
	corrupt.Data[sealedKey][0] ^= 1

	found, err := newInventory(t, root, version(t, root, 2, nil), version(t, root, 1, nil), forged, corrupt).OfOwner(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint32{1, 2, 3}, versions(found)); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	for _, f := range found {
		if isCorrupt := errors.Is(f.Err, keystore.ErrCorrupt); isCorrupt != (f.ID.Version == 3) {
			t.Errorf("version %d: %v", f.ID.Version, f.Err)
		}
		if f.Err == nil && f.Metadata.Owner != owner || f.ID.Key != keyID {
			t.Errorf("found %+v, which is another owner's", f)
		}
	}
	none, err := newInventory(t, root).OfOwner(t.Context(), owner)
	if err != nil || len(none) != 0 {
		t.Errorf("of an empty namespace: %v, %v", none, err)
	}
}

// TestOwnerIsNeverNobodyInDoubt is why a key is not made a second time while the
// first cannot be read.
func TestOwnerIsNeverNobodyInDoubt(t *testing.T) {
	root := newTestRoot(t, 1)
	s := version(t, root, 1, nil)
	for name, row := range map[string]struct {
		root *testRoot
		want error
	}{
		"the root key is not open":     {&testRoot{openErr: keystore.ErrUnavailable}, keystore.ErrUnavailable},
		"the root version is unknown":  {newTestRoot(t, 2), ErrUnknownRootVersion},
		"the root answers with errors": {&testRoot{openErr: context.DeadlineExceeded}, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := newInventory(t, row.root, s.DeepCopy()).OfOwner(t.Context(), metadata(1).Owner)
			if !errors.Is(err, row.want) || found != nil {
				t.Errorf("OfOwner = %v, %v; want %v", found, err, row.want)
			}
		})
	}
}

func TestInventoryPassesErrorsOn(t *testing.T) {
	boom := errors.New("boom")
	c := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return boom },
	})
	i := Inventory{Reader: c, Namespace: namespace, Root: newTestRoot(t, 1)}
	if _, err := i.OfKey(t.Context(), keyID); !errors.Is(err, boom) {
		t.Errorf("OfKey = %v", err)
	}
	if _, err := i.OfOwner(t.Context(), metadata(1).Owner); !errors.Is(err, boom) {
		t.Errorf("OfOwner = %v", err)
	}
}
