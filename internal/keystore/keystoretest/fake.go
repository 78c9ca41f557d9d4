package keystoretest

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/envelope"
	"github.com/keywright/keywright/internal/keystore"
)

// Method is a method of keystore.Store in the call log of a Fake.
type Method string

// The methods.
const (
	MethodCreate Method = "Create"
	MethodOpen   Method = "Open"
	MethodCheck  Method = "Check"
)

// Call is one call of a Fake.
type Call struct {
	Method Method
	// ID is the zero value for Check.
	ID keystore.VersionID
}

// Fake is a keystore.Store in memory. Its cryptography is real: it is
// XAES-256-GCM, written down a second time, so that the ciphertexts of a Fake have
// the format of the software key store. It passes Run and is safe for concurrent
// use.
//
// A test scripts nothing: it makes versions with Create and uses them. What goes
// wrong in the world is FailNext, Lose and Corrupt; who called what is Calls.
type Fake struct {
	// failing is the number of errors in next, so that keys need no lock while
	// there is none.
	failing atomic.Int32

	mu       sync.Mutex
	next     []error
	calls    []Call
	versions map[keystore.VersionID]*fakeVersion
}

type fakeVersion struct {
	metadata keystore.Metadata
	material []byte
	corrupt  bool
}

var _ keystore.Store = (*Fake)(nil)

// NewFake returns a Fake that holds nothing.
func NewFake() *Fake {
	return &Fake{versions: map[keystore.VersionID]*fakeVersion{}}
}

// FailNext makes the next call of the store, or of Seal or Open of any of its
// keys, return err and do nothing else. Further calls of FailNext queue up, one
// for each call; nil lets that call through.
func (f *Fake) FailNext(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, err)
	f.failing.Add(1)
}

// Lose removes a version, as if its Secret had been deleted. Keys that are open
// stay open.
func (f *Fake) Lose(id keystore.VersionID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.versions, id)
}

// Corrupt makes a version open with keystore.ErrCorrupt from now on. Keys that
// are open stay open.
func (f *Fake) Corrupt(id keystore.VersionID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v, ok := f.versions[id]; ok {
		v.corrupt = true
	}
}

// Calls returns the calls of the store so far, those that failed included. Seal
// and Open of keys are not among them.
func (f *Fake) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Count returns how many calls of a method Calls would return.
func (f *Fake) Count(method Method) int {
	n := 0
	for _, c := range f.Calls() {
		if c.Method == method {
			n++
		}
	}
	return n
}

// Reset forgets the calls and the errors to come, and keeps the versions.
func (f *Fake) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.next = nil, nil
	f.failing.Store(0)
}

// begin logs a call and returns the error that it has to fail with. f.mu is held.
func (f *Fake) begin(ctx context.Context, call Call) error {
	f.calls = append(f.calls, call)
	if err := f.pop(); err != nil {
		return err
	}
	return done(ctx)
}

// pop takes the next error. f.mu is held.
func (f *Fake) pop() error {
	if len(f.next) == 0 {
		return nil
	}
	err := f.next[0]
	f.next = f.next[1:]
	f.failing.Add(-1)
	return err
}

// use is begin for the methods of keys, which are not logged.
func (f *Fake) use(ctx context.Context) error {
	if f.failing.Load() != 0 {
		f.mu.Lock()
		err := f.pop()
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return done(ctx)
}

func done(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", keystore.ErrUnavailable, err)
	}
	return nil
}

// Create implements keystore.Store.
func (f *Fake) Create(ctx context.Context, m keystore.Metadata) (keystore.Metadata, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx, Call{MethodCreate, m.ID}); err != nil {
		return keystore.Metadata{}, err
	}
	if m.KeySpec != keywrightv1alpha1.SymmetricDefaultKeySpec {
		return keystore.Metadata{}, fmt.Errorf("key spec %q: %w", m.KeySpec, keystore.ErrNotSupported)
	}
	v, ok := f.versions[m.ID]
	if !ok {
		// As a store that writes them down: in UTC, without the monotonic clock.
		m.CreatedAt, m.RequestedAt = m.CreatedAt.UTC().Round(0), m.RequestedAt.UTC().Round(0)
		v = &fakeVersion{metadata: m, material: make([]byte, keySize)}
		// crypto/rand.Read never returns an error.
		_, _ = rand.Read(v.material)
		f.versions[m.ID] = v
	}
	if v.corrupt || v.metadata.Owner != m.Owner {
		return keystore.Metadata{}, fmt.Errorf("version %d of key %s: %w", m.ID.Version, m.ID.Key, keystore.ErrCorrupt)
	}
	return v.metadata, nil
}

// Open implements keystore.Store.
func (f *Fake) Open(ctx context.Context, id keystore.VersionID) (keystore.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx, Call{MethodOpen, id}); err != nil {
		return nil, err
	}
	v, ok := f.versions[id]
	switch {
	case !ok:
		return nil, fmt.Errorf("version %d of key %s: %w", id.Version, id.Key, keystore.ErrNotFound)
	case v.corrupt:
		return nil, fmt.Errorf("version %d of key %s: %w", id.Version, id.Key, keystore.ErrCorrupt)
	}
	return &fakeKey{fake: f, metadata: v.metadata, xaes: newXAES(v.material)}, nil
}

// Check implements keystore.Store.
func (f *Fake) Check(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.begin(ctx, Call{Method: MethodCheck})
}

// fakeKey is an open version of a Fake.
type fakeKey struct {
	fake     *Fake
	metadata keystore.Metadata
	xaes     *xaes
}

var _ keystore.Sealer = (*fakeKey)(nil)

func (k *fakeKey) Metadata() keystore.Metadata { return k.metadata }

func (k *fakeKey) Algorithm() envelope.Algorithm { return envelope.AlgorithmXAES256GCM }

func (k *fakeKey) Overhead() int { return overhead }

func (k *fakeKey) Seal(ctx context.Context, dst, plaintext, aad []byte) ([]byte, error) {
	if err := k.fake.use(ctx); err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce)
	return k.xaes.seal(dst, nonce, plaintext, aad), nil
}

func (k *fakeKey) Open(ctx context.Context, dst, sealed, aad []byte) ([]byte, error) {
	if err := k.fake.use(ctx); err != nil {
		return nil, err
	}
	plaintext, ok := k.xaes.open(dst, sealed, aad)
	if !ok {
		return nil, keystore.ErrOpen
	}
	return plaintext, nil
}
