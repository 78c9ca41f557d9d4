package rootkey

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/secret"
)

// installed returns a client with a root key and its two Secrets.
func installed(t *testing.T) (c client.WithWatch, root, sealer *corev1.Secret) {
	t.Helper()
	c = newClient(t)
	mustEnsure(t, c)
	root, sealer = &corev1.Secret{}, &corev1.Secret{}
	for name, s := range map[string]*corev1.Secret{SecretName: root, SealerSecretName: sealer} {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, s); err != nil {
			t.Fatal(err)
		}
	}
	return c, root, sealer
}

func TestBrokenRootKeyIsUnavailable(t *testing.T) {
	// wraps edits the wraps of the first version.
	wraps := func(edit func(*document)) func(root, sealer *corev1.Secret) {
		return func(root, _ *corev1.Secret) {
			var d document
			if err := json.Unmarshal(root.Data[rootDataKey], &d); err != nil {
				t.Fatal(err)
			}
			edit(&d)
			root.Data[rootDataKey], _ = json.Marshal(d)
		}
	}
	for name, edit := range map[string]func(root, sealer *corev1.Secret){
		"no document":                     func(root, _ *corev1.Secret) { delete(root.Data, rootDataKey) },
		"no data":                         func(root, _ *corev1.Secret) { root.Data = nil },
		"garbage":                         func(root, _ *corev1.Secret) { root.Data[rootDataKey] = []byte("garbage") },
		"a document cut short":            func(root, _ *corev1.Secret) { root.Data[rootDataKey] = root.Data[rootDataKey][:50] },
		"something after the document":    func(root, _ *corev1.Secret) { root.Data[rootDataKey] = append(root.Data[rootDataKey], "{}"...) },
		"an empty document":               func(root, _ *corev1.Secret) { root.Data[rootDataKey] = []byte("{}") },
		"format 2":                        wraps(func(d *document) { d.Format = 2 }),
		"no version":                      wraps(func(d *document) { d.Versions = nil }),
		"no wrap":                         wraps(func(d *document) { d.Versions[0].Wraps = nil }),
		"a wrap of another sealer":        wraps(func(d *document) { d.Versions[0].Wraps[0].Sealer = "hsm" }),
		"another version":                 wraps(func(d *document) { d.Versions[0].Version = 2 }),
		"version 0":                       wraps(func(d *document) { d.Versions[0].Version = 0 }),
		"an empty wrap":                   wraps(func(d *document) { d.Versions[0].Wraps[0].Wrapped = nil }),
		"a wrap cut short":                wraps(func(d *document) { d.Versions[0].Wraps[0].Wrapped = d.Versions[0].Wraps[0].Wrapped[:27] }),
		"a flipped bit":                   wraps(func(d *document) { d.Versions[0].Wraps[0].Wrapped[30] ^= 1 }),
		"no sealer key":                   func(_, sealer *corev1.Secret) { sealer.Data = nil },
		"a sealer key that is too short":  func(_, sealer *corev1.Secret) { sealer.Data[sealerDataKey] = make([]byte, 16) },
		"another sealer key":              func(_, sealer *corev1.Secret) { sealer.Data[sealerDataKey] = make([]byte, Size) },
		"a second version that is broken": wraps(func(d *document) { d.Versions = append(d.Versions, version{Version: 2}) }),
	} {
		t.Run(name, func(t *testing.T) {
			c, root, sealer := installed(t)
			original := bytes.Clone(sealer.Data[sealerDataKey])
			edit(root, sealer)
			for _, s := range []*corev1.Secret{root, sealer} {
				if err := c.Update(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			ring, created, err := ensure(t, c)
			if !errors.Is(err, ErrUnavailable) || ring != nil || created {
				t.Fatalf("Ensure = %v, %t, %v; want ErrUnavailable", ring, created, err)
			}
			for _, name := range []string{SecretName, SealerSecretName, namespace} {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("the error does not name %s: %v", name, err)
				}
			}
			requireNoLeak(t, err.Error(), original)
			requireNoLeak(t, err.Error(), root.Data[rootDataKey])
			var after corev1.Secret
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(root), &after); err != nil || !bytes.Equal(after.Data[rootDataKey], root.Data[rootDataKey]) {
				t.Errorf("Ensure touched the root key: %v", err)
			}
		})
	}
}

func TestMissingSealerIsUnavailable(t *testing.T) {
	c, _, sealer := installed(t)
	if err := c.Delete(t.Context(), sealer); err != nil {
		t.Fatal(err)
	}
	ring, created, err := ensure(t, c)
	if !errors.Is(err, ErrUnavailable) || ring != nil || created || !strings.Contains(err.Error(), SealerSecretName) {
		t.Fatalf("Ensure = %v, %t, %v; want ErrUnavailable that names the sealer", ring, created, err)
	}
	if got := names(t, c); len(got) != 1 {
		t.Errorf("Ensure made another sealer: %v", got)
	}
}

func TestBrokenSealerBeforeTheFirstRootKey(t *testing.T) {
	c := newClient(t)
	if err := create(t.Context(), c, namespace, SealerSecretName, SealerSecretType, sealerDataKey, []byte("too-short-by-half")); err != nil {
		t.Fatal(err)
	}
	_, _, err := ensure(t, c)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("Ensure = %v, want ErrUnavailable that says what to do", err)
	}
	requireNoLeak(t, err.Error(), []byte("too-short-by-half"))
	if got := names(t, c); len(got) != 1 {
		t.Errorf("Secrets are %v", got)
	}
}

// TestWrapsCannotBeSwapped has two versions under one sealer.
func TestWrapsCannotBeSwapped(t *testing.T) {
	sealerKey := secret.Random(Size)
	aead, err := newAEAD(sealerKey)
	if err != nil {
		t.Fatal(err)
	}
	newVersion := func(v uint32, sealer string) version {
		return version{Version: v, CreatedAt: time.Unix(1e9, 0), Wraps: []wrap{{
			Sealer: sealer, Wrapped: aead.Seal(nil, nil, secret.Random(Size).Unsafe(), wrapAAD(sealer, v)),
		}}}
	}
	load := func(versions ...version) (*Ring, error) {
		encoded, err := json.Marshal(document{Format: documentFormat, Versions: versions})
		if err != nil {
			t.Fatal(err)
		}
		return open(encoded, "secret", sealerKey)
	}
	one, two := newVersion(1, "secret"), newVersion(2, "secret")
	ring, err := load(one, two)
	if err != nil || ring.Current() != 2 {
		t.Fatalf("the good document: %v", err)
	}
	sealedUnderOne, err := load(one)
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := sealedUnderOne.Seal(secret.Random(32), nil)
	if _, err := ring.Open(1, sealed, nil); err != nil {
		t.Errorf("version 1 does not open any more: %v", err)
	}
	if _, err := ring.Open(2, sealed, nil); !errors.Is(err, keystore.ErrOpen) {
		t.Errorf("version 2 opens what version 1 has sealed: %v", err)
	}

	swappedOne, swappedTwo := one, two
	swappedOne.Wraps, swappedTwo.Wraps = two.Wraps, one.Wraps
	if _, err := load(swappedOne, swappedTwo); err == nil {
		t.Error("swapped wraps open")
	}
	foreign := newVersion(1, "hsm")
	foreign.Wraps[0].Sealer = "secret"
	if _, err := load(foreign); err == nil {
		t.Error("the wrap of another sealer opens under a new name")
	}
}

func TestRing(t *testing.T) {
	ring := mustEnsure(t, newClient(t))
	key, aad := secret.Random(32), []byte("aad")
	sealed, err := ring.Seal(key, aad)
	if err != nil || len(sealed) != 12+32+16 {
		t.Fatalf("Seal gives %d bytes, %v", len(sealed), err)
	}
	if _, err := ring.Open(2, sealed, aad); !errors.Is(err, material.ErrUnknownRootVersion) {
		t.Errorf("Open under version 2 = %v", err)
	}
	for name, open := range map[string]func() (secret.Bytes, error){
		"another aad":       func() (secret.Bytes, error) { return ring.Open(1, sealed, nil) },
		"a flipped bit":     func() (secret.Bytes, error) { return ring.Open(1, append([]byte{sealed[0] ^ 1}, sealed[1:]...), aad) },
		"a byte less":       func() (secret.Bytes, error) { return ring.Open(1, sealed[:len(sealed)-1], aad) },
		"nothing":           func() (secret.Bytes, error) { return ring.Open(1, nil, aad) },
		"less than a nonce": func() (secret.Bytes, error) { return ring.Open(1, sealed[:11], aad) },
	} {
		if opened, err := open(); !errors.Is(err, keystore.ErrOpen) || opened.Len() != 0 {
			t.Errorf("%s: %d bytes, %v; want ErrOpen", name, opened.Len(), err)
		}
	}
}

func TestSource(t *testing.T) {
	var source Source
	if err := source.Ready(); !errors.Is(err, keystore.ErrUnavailable) || source.Current() != 0 {
		t.Errorf("Ready = %v", err)
	}
	if _, err := source.Seal(secret.Random(32), nil); !errors.Is(err, keystore.ErrUnavailable) {
		t.Errorf("Seal = %v", err)
	}
	if _, err := source.Open(1, nil, nil); !errors.Is(err, keystore.ErrUnavailable) {
		t.Errorf("Open = %v", err)
	}
	ring := mustEnsure(t, newClient(t))
	source.Set(ring)
	if err := source.Ready(); err != nil || source.Current() != 1 {
		t.Errorf("Ready = %v", err)
	}
	sealed, err := source.Seal(secret.Random(32), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Open(1, sealed, nil); err != nil {
		t.Error(err)
	}
	if source.Set(nil); source.Ready() == nil {
		t.Error("Set(nil) leaves the root key")
	}
}

// TestNothingPrintsTheKeys prints what a careless log line would.
func TestNothingPrintsTheKeys(t *testing.T) {
	c, root, sealer := installed(t)
	sealerKey := bytes.Clone(sealer.Data[sealerDataKey])
	var d document
	if err := json.Unmarshal(root.Data[rootDataKey], &d); err != nil {
		t.Fatal(err)
	}
	aead, _ := newAEAD(secret.New(bytes.Clone(sealerKey)))
	rootKey, err := unwrap(aead, d.Versions[0], defaultSealerName)
	if err != nil {
		t.Fatal(err)
	}
	ring := mustEnsure(t, c)
	var source Source
	source.Set(ring)
	for _, key := range [][]byte{sealerKey, rootKey.Unsafe()} {
		requireNoLeak(t, string(root.Data[rootDataKey]), key)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			requireNoLeak(t, fmt.Sprintf(verb+" "+verb, ring, &source), key)
		}
	}
}

// requireNoLeak looks for eight bytes of key in the forms in which text shows
// them.
func requireNoLeak(t *testing.T, text string, key []byte) {
	t.Helper()
	for len(key) >= 8 {
		decimal := strings.Trim(fmt.Sprint(key[:8]), "[]")
		for _, form := range []string{
			string(key[:8]), hex.EncodeToString(key[:8]), fmt.Sprintf("%X", key[:8]), decimal,
			base64.StdEncoding.EncodeToString(key[:6]), strings.Trim(fmt.Sprintf("%#v", key[:8]), "[]byte{}"),
		} {
			if strings.Contains(text, form) {
				t.Fatalf("key bytes are printed: %s", text)
			}
		}
		key = key[min(len(key), 6):]
	}
}
