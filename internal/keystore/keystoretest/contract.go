package keystoretest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
)

// NewStore returns an empty store. What it needs it cleans up with t.
type NewStore func(t *testing.T) keystore.Store

// Run runs the contract of keystore.Store and keystore.Sealer against a store.
func Run(t *testing.T, newStore func(t *testing.T) keystore.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, NewStore){
		"a created version is read back as it was asked for":  testCreate,
		"creating again adopts what is there":                 testCreateIsIdempotent,
		"a hundred racing creators make one version":          testCreateRace,
		"a version of another owner is not adopted":           testCreateOtherOwner,
		"an unknown key spec is not supported":                testCreateUnknownSpec,
		"a version that was never created is not found":       testOpenNotFound,
		"a healthy store passes its check":                    testCheck,
		"what is sealed opens":                                testRoundTrip,
		"a seal adds exactly the overhead":                    testOverhead,
		"seal and open append to dst and leave it as it was":  testAppend,
		"seal and open leave their inputs as they were":       testInputs,
		"the same plaintext never seals to the same bytes":    testFresh,
		"another aad does not open":                           testWrongAAD,
		"a flipped bit does not open":                         testFlippedBits,
		"a ciphertext that is cut or longer does not open":    testTruncated,
		"two opens of one version are interchangeable":        testOpensAreInterchangeable,
		"different versions and keys are not interchangeable": testVersionsDiffer,
		"one key may be used by many at once":                 testConcurrentUse,
	} {
		t.Run(name, func(t *testing.T) { test(t, newStore) })
	}
}

// NewMetadata returns the metadata of version 1 of a new key that belongs to
// team-a/orders.
func NewMetadata() keystore.Metadata {
	return keystore.Metadata{
		ID:        keystore.VersionID{Key: uuid.New(), Version: 1},
		Owner:     keystore.Owner{Namespace: "team-a", Name: "orders"},
		KeySpec:   keywrightv1alpha1.SymmetricDefaultKeySpec,
		Origin:    keywrightv1alpha1.CreatedVersionOrigin,
		CreatedAt: time.Date(2026, time.February, 28, 23, 59, 59, 123456789, time.UTC),
	}
}

func testCreate(t *testing.T, newStore NewStore) {
	for name, edit := range map[string]func(*keystore.Metadata){
		"the first version": func(*keystore.Metadata) {},
		"the highest version there can be": func(m *keystore.Metadata) {
			m.ID.Version = 1<<32 - 1
		},
		"a rotation on demand": func(m *keystore.Metadata) {
			m.ID.Version = 2
			m.Origin = keywrightv1alpha1.OnDemandRotationVersionOrigin
			m.RequestedAt = time.Date(2026, time.March, 1, 0, 0, 0, 1, time.UTC)
		},
		"a time with a zone": func(m *keystore.Metadata) {
			m.CreatedAt = m.CreatedAt.In(time.FixedZone("", 2*60*60+1800))
		},
		"the longest names": func(m *keystore.Metadata) {
			m.Owner = keystore.Owner{Namespace: longName[:63], Name: longName}
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t)
			m := NewMetadata()
			edit(&m)
			created, err := store.Create(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			requireMetadata(t, "Create", created, m)
			requireMetadata(t, "Metadata of the opened key", open(t, store, m.ID).Metadata(), m)
		})
	}
}

func testCreateIsIdempotent(t *testing.T, newStore NewStore) {
	store := newStore(t)
	first := NewMetadata()
	create(t, store, first)
	sealed := seal(t, open(t, store, first.ID), []byte("before"), nil)

	// Whoever comes second may have another clock and another reason.
	second := first
	second.CreatedAt = first.CreatedAt.Add(time.Hour)
	second.Origin = keywrightv1alpha1.RotationVersionOrigin
	second.RequestedAt = first.CreatedAt
	adopted, err := store.Create(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	requireMetadata(t, "the second Create", adopted, first)
	requireOpens(t, open(t, store, first.ID), sealed, nil, []byte("before"))
}

func testCreateRace(t *testing.T, newStore NewStore) {
	const creators = 100
	store := newStore(t)
	m := NewMetadata()
	created := make([]keystore.Metadata, creators)
	keys := make([]keystore.Key, creators)
	errs := make([]error, creators)
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range creators {
		group.Go(func() {
			<-start
			mine := m
			mine.CreatedAt = m.CreatedAt.Add(time.Duration(i) * time.Second)
			var err error
			created[i], err = store.Create(t.Context(), mine)
			if err == nil {
				keys[i], err = store.Open(t.Context(), m.ID)
			}
			errs[i] = err
		})
	}
	close(start)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, sealer(t, keys[0]), []byte("one"), nil)
	for i := range creators {
		if diff := cmp.Diff(created[0], created[i]); diff != "" {
			t.Fatalf("creators 0 and %d were told different things (-0 +%d):\n%s", i, i, diff)
		}
		requireOpens(t, sealer(t, keys[i]), sealed, nil, []byte("one"))
	}
}

func testCreateOtherOwner(t *testing.T, newStore NewStore) {
	store := newStore(t)
	m := NewMetadata()
	create(t, store, m)
	thief := m
	thief.Owner.Namespace = "team-b"
	got, err := store.Create(t.Context(), thief)
	requireError(t, err, keystore.ErrCorrupt)
	if got != (keystore.Metadata{}) {
		t.Errorf("Create returned %+v with its error", got)
	}
	requireMetadata(t, "the owner's key", open(t, store, m.ID).Metadata(), m)
}

func testCreateUnknownSpec(t *testing.T, newStore NewStore) {
	store := newStore(t)
	for _, spec := range []keywrightv1alpha1.KeySpec{"", "symmetric_default", "RSA_2048"} {
		m := NewMetadata()
		m.KeySpec = spec
		_, err := store.Create(t.Context(), m)
		requireError(t, err, keystore.ErrNotSupported)
		_, err = store.Open(t.Context(), m.ID)
		requireError(t, err, keystore.ErrNotFound)
	}
}

func testOpenNotFound(t *testing.T, newStore NewStore) {
	store := newStore(t)
	m := NewMetadata()
	create(t, store, m)
	for name, id := range map[string]keystore.VersionID{
		"another key":      {Key: uuid.New(), Version: 1},
		"a later version":  {Key: m.ID.Key, Version: 2},
		"version 0":        {Key: m.ID.Key},
		"the zero id":      {},
		"a longer version": {Key: m.ID.Key, Version: 11},
	} {
		key, err := store.Open(t.Context(), id)
		if !errors.Is(err, keystore.ErrNotFound) || key != nil {
			t.Errorf("Open of %s = %v, %v; want no key and ErrNotFound", name, key, err)
		}
	}
}

func testCheck(t *testing.T, newStore NewStore) {
	store := newStore(t)
	if err := store.Check(t.Context()); err != nil {
		t.Errorf("the check of an empty store fails: %v", err)
	}
	create(t, store, NewMetadata())
	if err := store.Check(t.Context()); err != nil {
		t.Errorf("the check of a used store fails: %v", err)
	}
}
