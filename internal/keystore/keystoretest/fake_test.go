package keystoretest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
)

func TestFakeKeepsTheContract(t *testing.T) {
	keystoretest.Run(t, func(*testing.T) keystore.Store { return keystoretest.NewFake() })
}

func TestFakeFailsAsItIsTold(t *testing.T) {
	fake, m := keystoretest.NewFake(), keystoretest.NewMetadata()
	boom := errors.New("boom")
	fake.FailNext(boom)
	if _, err := fake.Create(t.Context(), m); !errors.Is(err, boom) {
		t.Fatalf("Create = %v, want boom", err)
	}
	if _, err := fake.Open(t.Context(), m.ID); !errors.Is(err, keystore.ErrNotFound) {
		t.Fatalf("a Create that failed made something: %v", err)
	}
	if _, err := fake.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	key, err := fake.Open(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	fake.FailNext(nil)
	fake.FailNext(keystore.ErrUnavailable)
	sealed, err := key.(keystore.Sealer).Seal(t.Context(), nil, []byte("p"), nil)
	if err != nil {
		t.Fatalf("the call that nil lets through: %v", err)
	}
	if _, err := key.(keystore.Sealer).Open(t.Context(), nil, sealed, nil); !errors.Is(err, keystore.ErrUnavailable) {
		t.Fatalf("Open of the key = %v, want ErrUnavailable", err)
	}
	if _, err := key.(keystore.Sealer).Open(t.Context(), nil, sealed, nil); err != nil {
		t.Fatal(err)
	}

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fake.Check(cancelled); !errors.Is(err, keystore.ErrUnavailable) {
		t.Fatalf("Check with a cancelled context = %v", err)
	}
	fake.Corrupt(m.ID)
	if _, err := fake.Open(t.Context(), m.ID); !errors.Is(err, keystore.ErrCorrupt) {
		t.Fatalf("Open of what is corrupt = %v", err)
	}
	fake.Lose(m.ID)
	if _, err := fake.Open(t.Context(), m.ID); !errors.Is(err, keystore.ErrNotFound) {
		t.Fatalf("Open of what is lost = %v", err)
	}
	want := []keystoretest.Call{
		{Method: keystoretest.MethodCreate, ID: m.ID},
		{Method: keystoretest.MethodOpen, ID: m.ID},
		{Method: keystoretest.MethodCreate, ID: m.ID},
		{Method: keystoretest.MethodOpen, ID: m.ID},
		{Method: keystoretest.MethodCheck},
		{Method: keystoretest.MethodOpen, ID: m.ID},
		{Method: keystoretest.MethodOpen, ID: m.ID},
	}
	if diff := cmp.Diff(want, fake.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if fake.Reset(); len(fake.Calls()) != 0 {
		t.Error("Reset left calls behind")
	}
}
