package envelope_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/envelope"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/rootkey"
	"github.com/keywright/keywright/internal/secret"
)

// -update makes the golden files that are missing. It never changes one: what a
// release has written must open in every later one.
var update = flag.Bool("update", false, "make the golden files in testdata that are missing")

const goldenFolder = "testdata/v1"

// golden is one file. The bytes are in hex, except Plaintext and Ciphertext, which
// are in base64, as on the wire.
type golden struct {
	Comment string `json:"comment"`
	// Expect is success or invalid.
	Expect     string            `json:"expect"`
	Key        string            `json:"key"`
	KeyID      string            `json:"keyID"`
	Version    uint32            `json:"version"`
	Context    map[string]string `json:"context"`
	Header     string            `json:"header"`
	AAD        string            `json:"aad"`
	Plaintext  []byte            `json:"plaintext"`
	Ciphertext []byte            `json:"ciphertext"`
}

func TestGoldenCiphertexts(t *testing.T) {
	if *update {
		makeGoldens(t)
	}
	files, err := filepath.Glob(goldenFolder + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if want := len(successes()) + len(invalids()); len(files) < want {
		t.Fatalf("%d golden files, want at least %d: none may ever be removed", len(files), want)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			g := readGolden(t, file)
			key := goldenKey(t, g)
			context := g.Context
			header, sealed, err := envelope.Parse(g.Ciphertext)
			var plaintext, aad []byte
			if err == nil {
				if aad, err = envelope.AppendAAD(nil, header, context); err != nil {
					t.Fatal(err)
				}
				plaintext, err = key.Open(t.Context(), nil, sealed, aad)
			}
			switch g.Expect {
			case "success":
				if err != nil || !bytes.Equal(plaintext, g.Plaintext) {
					t.Fatalf("it opens to %x, %v; want %x", plaintext, err, g.Plaintext)
				}
				if got := hex.EncodeToString(aad); got != g.AAD {
					t.Errorf("AAD = %s, want %s", got, g.AAD)
				}
				if got := hex.EncodeToString(header.Append(nil)); got != g.Header || got != hex.EncodeToString(g.Ciphertext[:envelope.HeaderSize]) {
					t.Errorf("header = %s, want %s", got, g.Header)
				}
				want := envelope.Header{Algorithm: key.Algorithm(), KeyID: uuid.MustParse(g.KeyID), Version: g.Version}
				if header != want {
					t.Errorf("header = %+v, want %+v", header, want)
				}
			case "invalid":
				if !errors.Is(err, envelope.ErrMalformed) && !errors.Is(err, keystore.ErrOpen) {
					t.Fatalf("it opens to %x, %v; want it to be invalid", plaintext, err)
				}
			default:
				t.Fatalf("expect: %q is unknown", g.Expect)
			}
		})
	}
}

func readGolden(t *testing.T, file string) golden {
	t.Helper()
	encoded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&g); err != nil {
		t.Fatal(err)
	}
	return g
}

// goldenKey puts the key of a golden file into a key store and opens it there, as
// a restored backup would.
func goldenKey(t *testing.T, g golden) keystore.Sealer {
	t.Helper()
	const namespace = "keywright-system"
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, keywrightv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	root, _, err := rootkey.Ensure(t.Context(), c, c, namespace, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(g.Key)
	if err != nil {
		t.Fatal(err)
	}
	id := keystore.VersionID{Key: uuid.MustParse(g.KeyID), Version: g.Version}
	sealed, err := material.Seal(root, namespace, keystore.Metadata{ID: id, KeySpec: keywrightv1alpha1.SymmetricDefaultKeySpec}, secret.New(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), sealed); err != nil {
		t.Fatal(err)
	}
	key, err := software.New(c, nil, namespace, root).Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return key.(keystore.Sealer)
}

const (
	goldenRawKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	goldenKeyID  = "6f1c2d3e-4a5b-4c6d-8e7f-90a1b2c3d4e5"
)

// successes are the inputs of the golden files that open.
func successes() map[string]golden {
	many := map[string]string{}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		many[string(c)] = strings.Repeat(string(c), 10)
	}
	return map[string]golden{
		"no-context":       {Comment: "no encryption context", Version: 1, Plaintext: []byte("keywright")},
		"context":          {Comment: "three pairs, sorted by the bytes of the key", Version: 1, Context: map[string]string{"tenant": "team-a", "Table": "orders", "column": ""}, Plaintext: []byte("keywright")},
		"unicode-nfc":      {Comment: "a composed é, which is not normalised", Version: 1, Context: map[string]string{"café": "é 日本 🔑"}, Plaintext: []byte("keywright")},
		"unicode-nfd":      {Comment: "a decomposed é, which is not normalised", Version: 1, Context: map[string]string{"cafe\u0301": "e\u0301"}, Plaintext: []byte("keywright")},
		"many-pairs":       {Comment: "26 pairs", Version: 1, Context: many, Plaintext: []byte("keywright")},
		"largest-context":  {Comment: "a context of exactly 8 KiB", Version: 1, Context: map[string]string{"k": strings.Repeat("v", envelope.MaxContextBytes-9)}, Plaintext: []byte("keywright")},
		"empty-plaintext":  {Comment: "nothing to encrypt", Version: 1, Context: map[string]string{"a": "b"}},
		"one-byte":         {Comment: "one byte", Version: 1, Plaintext: []byte{0}},
		"data-key":         {Comment: "32 bytes", Version: 2, Plaintext: bytes.Repeat([]byte{0xa5}, 32)},
		"large-plaintext":  {Comment: "4099 bytes, which is no multiple of a block", Version: 2, Plaintext: bytes.Repeat([]byte("k"), 4099)},
		"highest-version":  {Comment: "the highest version", Version: 1<<32 - 1, Plaintext: []byte("keywright")},
		"version-over-255": {Comment: "a version whose bytes have an order", Version: 0x01020304, Plaintext: []byte("keywright")},
	}
}

// invalids are the golden files that do not open: edits of a good one.
func invalids() map[string]func(*golden) {
	last := func(g *golden) *byte { return &g.Ciphertext[len(g.Ciphertext)-1] }
	return map[string]func(*golden){
		"invalid-format":          func(g *golden) { g.Comment, g.Ciphertext[0] = "format 2", 2 },
		"invalid-algorithm":       func(g *golden) { g.Comment, g.Ciphertext[1] = "algorithm 2", 2 },
		"invalid-key-id":          func(g *golden) { g.Comment = "a bit of the key id"; g.Ciphertext[17] ^= 1 },
		"invalid-version":         func(g *golden) { g.Comment = "a bit of the version"; g.Ciphertext[21] ^= 2 },
		"invalid-version-zero":    func(g *golden) { g.Comment, g.Ciphertext[21] = "version 0", 0 },
		"invalid-nonce-first":     func(g *golden) { g.Comment = "a bit of the first half of the nonce"; g.Ciphertext[22] ^= 1 },
		"invalid-nonce-second":    func(g *golden) { g.Comment = "a bit of the second half of the nonce"; g.Ciphertext[45] ^= 1 },
		"invalid-body":            func(g *golden) { g.Comment = "a bit of the encrypted plaintext"; g.Ciphertext[46] ^= 0x80 },
		"invalid-tag":             func(g *golden) { g.Comment = "the last bit of the tag"; *last(g) ^= 1 },
		"invalid-truncated":       func(g *golden) { g.Comment = "a byte is missing"; g.Ciphertext = g.Ciphertext[:len(g.Ciphertext)-1] },
		"invalid-header-only":     func(g *golden) { g.Comment = "only the header"; g.Ciphertext = g.Ciphertext[:envelope.HeaderSize] },
		"invalid-longer":          func(g *golden) { g.Comment = "a byte more"; g.Ciphertext = append(g.Ciphertext, 0) },
		"invalid-context-value":   func(g *golden) { g.Comment = "another value"; g.Context["tenant"] = "team-b" },
		"invalid-context-case":    func(g *golden) { g.Comment = "another case"; g.Context["tenant"] = "Team-a" },
		"invalid-context-missing": func(g *golden) { g.Comment = "no context"; g.Context = nil },
		"invalid-context-more":    func(g *golden) { g.Comment = "a pair more"; g.Context[""] = "" },
		"invalid-context-border": func(g *golden) {
			g.Comment = "a letter moves from a key to its value"
			delete(g.Context, "tenant")
			g.Context["tenan"] = "tteam-a"
		},
		"invalid-key": func(g *golden) { g.Comment, g.Key = "another key under the same id", strings.Repeat("00", 32) },
	}
}

func makeGoldens(t *testing.T) {
	if err := os.MkdirAll(goldenFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, g := range successes() {
		g.Expect, g.Key, g.KeyID = "success", goldenRawKey, goldenKeyID
		key := goldenKey(t, g)
		header := envelope.Header{Algorithm: key.Algorithm(), KeyID: uuid.MustParse(g.KeyID), Version: g.Version}
		aad, err := envelope.AppendAAD(nil, header, g.Context)
		if err != nil {
			t.Fatal(err)
		}
		g.Header, g.AAD = hex.EncodeToString(header.Append(nil)), hex.EncodeToString(aad)
		if g.Ciphertext, err = key.Seal(t.Context(), header.Append(nil), g.Plaintext, aad); err != nil {
			t.Fatal(err)
		}
		writeGolden(t, name, g)
	}
	for name, edit := range invalids() {
		g := readGolden(t, filepath.Join(goldenFolder, "context.json"))
		g.Expect, g.Header, g.AAD = "invalid", "", ""
		edit(&g)
		writeGolden(t, name, g)
	}
}

func writeGolden(t *testing.T, name string, g golden) {
	t.Helper()
	encoded, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(goldenFolder, name+".json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(append(encoded, '\n')); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
