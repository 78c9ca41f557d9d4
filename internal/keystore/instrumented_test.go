package keystore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"github.com/keywright/keywright/internal/keystore"
)

// failing is a Store whose operations return err.
type failing struct{ err error }

func (f failing) Create(context.Context, keystore.Metadata) (keystore.Metadata, error) {
	return keystore.Metadata{}, f.err
}
func (f failing) Open(context.Context, keystore.VersionID) (keystore.Key, error) { return nil, f.err }
func (f failing) Check(context.Context) error                                    { return f.err }

func TestInstrument(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("open: %w", err) }
	for want, err := range map[string]error{
		"success": nil, "not_found": wrapped(keystore.ErrNotFound), "corrupt": wrapped(keystore.ErrCorrupt),
		"unavailable": wrapped(keystore.ErrUnavailable), "not_supported": wrapped(keystore.ErrNotSupported), "error": errors.New("?"),
	} {
		var got []string
		store := keystore.Instrument(failing{err}, clock.RealClock{}, func(operation, outcome string, took time.Duration) {
			if took < 0 {
				t.Error("took less than nothing")
			}
			got = append(got, operation+" "+outcome)
		})
		_, createErr := store.Create(t.Context(), keystore.Metadata{})
		_, openErr := store.Open(t.Context(), keystore.VersionID{})
		for _, e := range []error{createErr, openErr, store.Check(t.Context())} {
			if !errors.Is(e, err) {
				t.Errorf("error %v became %v", err, e)
			}
		}
		if diff := cmp.Diff([]string{"create " + want, "open " + want, "check " + want}, got); diff != "" {
			t.Error(diff)
		}
	}
}
