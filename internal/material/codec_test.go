package material

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/secret"
)

func seal(t *testing.T, root Root, m keystore.Metadata, key secret.Bytes) *corev1.Secret {
	t.Helper()
	s, err := Seal(root, namespace, m, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealAndOpen(t *testing.T) {
	root := newTestRoot(t, 1)
	m := metadata(1<<32 - 1)
	m.RequestedAt = m.CreatedAt.Add(-time.Nanosecond)
	m.CreatedAt = m.CreatedAt.In(time.FixedZone("", 3600))
	key := secret.Random(32)
	s := seal(t, root, m, key)

	got, opened, err := Open(root, s)
	if err != nil || !opened.Equal(key) {
		t.Fatalf("Open: %v", err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if s.Name != "kw-"+keyID.String()+"-v4294967295" || s.Namespace != namespace || s.Type != SecretType {
		t.Errorf("the Secret is %s/%s of type %s", s.Namespace, s.Name, s.Type)
	}
	if s.Immutable == nil || !*s.Immutable {
		t.Error("the Secret is not immutable")
	}
	wantLabels := map[string]string{
		"keywright.dev/material":   "true",
		"keywright.dev/key-id":     keyID.String(),
		"keywright.dev/version":    "4294967295",
		"keywright.dev/owner-hash": OwnerHash(m.Owner),
	}
	if diff := cmp.Diff(wantLabels, s.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	raw := key.Unsafe()
	if encoded := fmt.Appendf(nil, "%s %s", s.Data[headerKey], s.Data[sealedKey]); bytes.Contains(encoded, raw) {
		t.Error("the key is in the Secret as it is")
	}
}

// TestAADIsTheHeaderAsItIs opens the payload by hand.
func TestAADIsTheHeaderAsItIs(t *testing.T) {
	root := newTestRoot(t, 1)
	key := secret.Random(32)
	s := seal(t, root, metadata(1), key)
	aad := append([]byte("keywright/material/v1\x00"), s.Data["header"]...)
	opened, err := root.Open(1, s.Data["sealed"], aad)
	if err != nil || !opened.Equal(key) {
		t.Fatalf("the AAD is not the label and the header: %v", err)
	}
	want := `{"format":1,"rootVersion":1,"keyID":"` + keyID.String() + `","version":1,"keySpec":"SYMMETRIC_DEFAULT",` +
		`"origin":"Created","createdAt":"2026-07-01T12:30:00.123456789Z","namespace":"team-a","name":"orders"}`
	if got := string(s.Data["header"]); got != want {
		t.Errorf("header = %s, want %s", got, want)
	}
}

func TestWhatWasEditedIsCorrupt(t *testing.T) {
	root := newTestRoot(t, 1)
	base := func() *corev1.Secret { return seal(t, root, metadata(1), secret.Random(32)) }
	// header makes an edit of the header's fields, and of nothing else.
	header := func(field string, value any) func(*corev1.Secret) {
		return func(s *corev1.Secret) {
			var h map[string]any
			if err := json.Unmarshal(s.Data[headerKey], &h); err != nil {
				t.Fatal(err)
			}
			h[field] = value
			s.Data[headerKey], _ = json.Marshal(h)
		}
	}
	other := seal(t, root, metadata(2), secret.Random(32))
	for name, edit := range map[string]func(*corev1.Secret){
		"renamed to another version":   func(s *corev1.Secret) { s.Name = SecretName(metadata(2).ID) },
		"renamed to another key":       func(s *corev1.Secret) { s.Name = strings.Replace(s.Name, "6f1c", "7f1c", 1) },
		"renamed to upper case":        func(s *corev1.Secret) { s.Name = strings.ToUpper(s.Name) },
		"renumbered, with its name":    func(s *corev1.Secret) { header("version", 2)(s); s.Name = SecretName(metadata(2).ID) },
		"the version in the header":    header("version", 2),
		"the version 0, with its name": func(s *corev1.Secret) { header("version", 0)(s); s.Name = SecretName(metadata(0).ID) },
		"the key in the header":        header("keyID", uuid.New().String()),
		"the key, with the name": func(s *corev1.Secret) {
			id := keystore.VersionID{Key: uuid.New(), Version: 1}
			header("keyID", id.Key.String())(s)
			s.Name = SecretName(id)
		},
		"the key in another spelling":        header("keyID", strings.ToUpper(keyID.String())),
		"the key as the zero UUID":           header("keyID", uuid.Nil.String()),
		"the owner's namespace":              header("namespace", "team-b"),
		"the owner's name":                   header("name", "invoices"),
		"the owner, moved across the border": func(s *corev1.Secret) { header("namespace", "team-")(s); header("name", "aorders")(s) },
		"the time of creation":               header("createdAt", "2026-07-01T12:30:00.123456788Z"),
		"the time of the request":            header("requestedAt", "2026-07-01T12:30:00Z"),
		"the origin":                         header("origin", "Rotation"),
		"the key spec":                       header("keySpec", "RSA_2048"),
		"an unknown field":                   header("grants", "everybody"),
		"format 2":                           header("format", 2),
		"no format":                          header("format", nil),
		"a version over 32 bits":             header("version", 1<<32+1),
		"a negative version":                 header("version", -1),
		"white space after the header":       func(s *corev1.Secret) { s.Data[headerKey] = append(s.Data[headerKey], '\n') },
		"white space before the header":      func(s *corev1.Secret) { s.Data[headerKey] = append([]byte(" "), s.Data[headerKey]...) },
		"a second header after it":           func(s *corev1.Secret) { s.Data[headerKey] = append(s.Data[headerKey], s.Data[headerKey]...) },
		"garbage after the header":           func(s *corev1.Secret) { s.Data[headerKey] = append(s.Data[headerKey], '}') },
		"the fields in another order":        header("version", 1),
		"no header":                          func(s *corev1.Secret) { delete(s.Data, headerKey) },
		"an empty header":                    func(s *corev1.Secret) { s.Data[headerKey] = []byte("{}") },
		"a header of null":                   func(s *corev1.Secret) { s.Data[headerKey] = []byte("null") },
		"a header cut short":                 func(s *corev1.Secret) { s.Data[headerKey] = s.Data[headerKey][:20] },
		"no payload":                         func(s *corev1.Secret) { delete(s.Data, sealedKey) },
		"an empty payload":                   func(s *corev1.Secret) { s.Data[sealedKey] = []byte{} },
		"a payload cut short":                func(s *corev1.Secret) { s.Data[sealedKey] = s.Data[sealedKey][:27] },
		"the first bit of the payload":       func(s *corev1.Secret) { s.Data[sealedKey][0] ^= 0x80 },
		"the last bit of the payload":        func(s *corev1.Secret) { s.Data[sealedKey][len(s.Data[sealedKey])-1] ^= 1 },
		"the payload of another Secret":      func(s *corev1.Secret) { s.Data[sealedKey] = other.Data[sealedKey] },
		"no data at all":                     func(s *corev1.Secret) { s.Data = nil },
		"an ordinary Secret":                 func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"a Secret without a type":            func(s *corev1.Secret) { s.Type = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := base()
			edit(s)
			m, key, err := Open(root, s)
			if !errors.Is(err, keystore.ErrCorrupt) || errors.Is(err, ErrUnknownRootVersion) {
				t.Fatalf("the error is %v, want ErrCorrupt", err)
			}
			if !strings.Contains(err.Error(), "Secret "+s.Name) {
				t.Errorf("the error does not name the Secret: %v", err)
			}
			if m != (keystore.Metadata{}) || key.Len() != 0 {
				t.Errorf("Open returned %+v and %d bytes with its error", m, key.Len())
			}
		})
	}
	t.Run("two Secrets that change places", func(t *testing.T) {
		one, two := base(), seal(t, root, metadata(2), secret.Random(32))
		one.Data, two.Data = two.Data, one.Data
		for _, s := range []*corev1.Secret{one, two} {
			if _, _, err := Open(root, s); !errors.Is(err, keystore.ErrCorrupt) {
				t.Errorf("%s: %v, want ErrCorrupt", s.Name, err)
			}
		}
	})
	t.Run("every bit of header and payload", func(t *testing.T) {
		good := base()
		for _, field := range []string{headerKey, sealedKey} {
			for bit := range len(good.Data[field]) * 8 {
				s := good.DeepCopy()
				s.Data[field][bit/8] ^= 1 << (bit % 8)
				_, _, err := Open(root, s)
				if !errors.Is(err, keystore.ErrCorrupt) && !errors.Is(err, ErrUnknownRootVersion) {
					t.Fatalf("bit %d of %s: %v, want ErrCorrupt", bit, field, err)
				}
			}
		}
	})
}

// TestLabelsOnlyIndex edits everything that is not authenticated.
func TestLabelsOnlyIndex(t *testing.T) {
	root := newTestRoot(t, 1)
	key := secret.Random(32)
	s := seal(t, root, metadata(1), key)
	s.Labels = map[string]string{keywrightv1alpha1.VersionLabel: "7", keywrightv1alpha1.OwnerHashLabel: "forged"}
	s.Annotations = map[string]string{keywrightv1alpha1.OwnerAnnotation: "team-b/thief"}
	s.Immutable = nil
	s.Namespace = "restored-elsewhere"
	s.Data["note"] = []byte("from the backup")
	m, opened, err := Open(root, s)
	if err != nil || !opened.Equal(key) {
		t.Fatalf("Open: %v", err)
	}
	if diff := cmp.Diff(metadata(1), m); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestWhatCannotBeTriedIsNotCorrupt(t *testing.T) {
	s := seal(t, newTestRoot(t, 1), metadata(1), secret.Random(32))
	later := newTestRoot(t, 2)
	if _, _, err := Open(later, s); !errors.Is(err, ErrUnknownRootVersion) || errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("under an unknown root version: %v, want ErrUnknownRootVersion alone", err)
	}
	later.openErr = fmt.Errorf("not open yet: %w", keystore.ErrUnavailable)
	if _, _, err := Open(later, s); !errors.Is(err, keystore.ErrUnavailable) || errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("without a root key: %v, want ErrUnavailable alone", err)
	}
	// Another root key of the same version has been tried, and does not open it.
	imposter := newTestRoot(t, 2)
	imposter.versions[1] = imposter.versions[2]
	if _, _, err := Open(imposter, s); !errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("under another root key: %v, want ErrCorrupt", err)
	}
}

func TestOldRootVersionsOpen(t *testing.T) {
	first, second := newTestRoot(t, 1), newTestRoot(t, 2)
	s := seal(t, first, metadata(1), secret.Random(32))
	second.versions[1] = first.versions[1]
	if _, _, err := Open(second, s); err != nil {
		t.Errorf("after a rotation of the root key: %v", err)
	}
}

func TestSealRefusesWhatItCouldNotOpen(t *testing.T) {
	for name, id := range map[string]keystore.VersionID{
		"version 0":   {Key: keyID},
		"no key":      {Version: 1},
		"the zero id": {},
	} {
		m := metadata(1)
		m.ID = id
		if s, err := Seal(newTestRoot(t, 1), namespace, m, secret.Random(32)); err == nil || s != nil {
			t.Errorf("%s: Seal = %v, %v; want an error", name, s, err)
		}
	}
}

func TestSecretsAreSmall(t *testing.T) {
	m := metadata(1<<32 - 1)
	m.Owner = keystore.Owner{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("m", 253)}
	m.RequestedAt = m.CreatedAt
	m.Origin = keywrightv1alpha1.OnDemandRotationVersionOrigin
	encoded, err := json.Marshal(seal(t, newTestRoot(t, 255), m, secret.Random(32)))
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) >= 4<<10 {
		t.Errorf("a Secret with the longest names has %d bytes, want less than 4 KiB", len(encoded))
	}
}

func TestOwnerHash(t *testing.T) {
	// sha256sum of team-a/orders, the first 20 bytes. The label is looked for by it.
	if got := OwnerHash(keystore.Owner{Namespace: "team-a", Name: "orders"}); got != "75c1a60b898072af828207cff435c7e5b85aa45b" {
		t.Errorf("OwnerHash = %q", got)
	}
	if OwnerHash(keystore.Owner{Namespace: "a", Name: "b.c"}) == OwnerHash(keystore.Owner{Namespace: "a.b", Name: "c"}) {
		t.Error("two owners have one hash")
	}
}
