package rig

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/rootkey"
	"github.com/keywright/keywright/internal/secret"
)

// Marker is in every plaintext that the rig makes, so that one search finds all.
const Marker = "plaintext-that-must-not-be-seen/7f3a9c51d0e24b68"

// memory is what must not be seen anywhere, by what it is.
type memory struct {
	mu     sync.Mutex
	things map[string]string // value to name
}

// Remember adds what CheckLeaks looks for. Values shorter than 12 bytes would be
// found by chance and are refused.
func (r *Rig) Remember(name string, value []byte) {
	if len(value) < 12 {
		panic("rig: " + name + " is too short to look for")
	}
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	if r.memory.things == nil {
		r.memory.things = map[string]string{}
	}
	r.memory.things[string(value)] = name
}

// Plaintext returns a plaintext with the marker in it.
func Plaintext(text string) []byte { return []byte(Marker + " " + text) }

// CheckLeaks collects metrics, events, descriptions and the resources, and looks
// through them, the logs and the audit lines for everything that was remembered,
// every token, the root key and all material, raw, in base64 and in hex. Servers
// and controllers that run are asked for their metrics; the API server must be up.
func (r *Rig) CheckLeaks(ctx context.Context) error {
	r.Remember("marker of plaintexts", []byte(Marker))
	if err := r.rememberKeys(ctx); err != nil {
		return err
	}
	if err := r.collect(ctx); err != nil {
		return err
	}
	r.memory.mu.Lock()
	index := newIndex(r.memory.things)
	r.memory.mu.Unlock()
	found := map[string]int{}
	err := filepath.WalkDir(filepath.Join(r.Dir, logsDir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, name := range index.search(content) {
			found[name+" in "+entry.Name()]++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what was collected: %w", err)
	}
	if len(found) > 0 {
		return errors.New("leaked: " + strings.Join(slices.Sorted(maps.Keys(found)), ", "))
	}
	return nil
}

// collect writes what can be asked for beside the logs.
func (r *Rig) collect(ctx context.Context) error {
	for name, args := range map[string][]string{
		"events.yaml":    {"get", "events", "-A", "-o", "yaml"},
		"resources.yaml": {"get", "encryptionkeys,keystores", "-A", "-o", "yaml"},
		"describe.txt":   {"describe", "encryptionkeys,keystores", "-A"},
		"table.txt":      {"get", "encryptionkeys,keystores", "-A", "-o", "wide"},
	} {
		out, err := r.Kubectl(ctx, args...)
		if err != nil {
			return fmt.Errorf("collect %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(r.Dir, logsDir, name), []byte(out), 0o600); err != nil {
			return fmt.Errorf("collect %s: %w", name, err)
		}
	}
	for _, p := range r.processes() {
		out, err := p.Scrape(ctx)
		if err != nil {
			continue // it was killed or never ready, and its log has been kept
		}
		if err := os.WriteFile(filepath.Join(r.Dir, logsDir, p.Name+".metrics"), []byte(out), 0o600); err != nil {
			return fmt.Errorf("collect metrics: %w", err)
		}
	}
	return nil
}

// rememberKeys opens the root key and all material.
func (r *Rig) rememberKeys(ctx context.Context) error {
	if err := r.rememberRoot(ctx); err != nil {
		return err
	}
	ring, err := rootkey.Load(ctx, r.Admin, Namespace)
	if err != nil {
		return fmt.Errorf("open root key: %w", err)
	}
	secrets, err := r.Material(ctx)
	if err != nil {
		return err
	}
	for i := range secrets {
		_, key, err := material.Open(ring, &secrets[i])
		if err != nil {
			continue // a test has broken it
		}
		r.Remember("material "+secrets[i].Name, bytes.Clone(key.Unsafe())) //nolint:forbidigo // it is looked for, not used
		key.Clear()
	}
	return nil
}

// rememberRoot unwraps the root key by hand, because package rootkey hands it to
// nobody.
func (r *Rig) rememberRoot(ctx context.Context) error {
	var root, sealer corev1.Secret
	if err := errors.Join(
		r.Admin.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: rootkey.SecretName}, &root),
		r.Admin.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: rootkey.SealerSecretName}, &sealer),
	); err != nil {
		return fmt.Errorf("read root key: %w", err)
	}
	r.Remember("root sealer", sealer.Data["key"])
	var document struct {
		Versions []struct {
			Version uint32 `json:"version"`
			Wraps   []struct {
				Sealer  string `json:"sealer"`
				Wrapped []byte `json:"wrapped"`
			} `json:"wraps"`
		} `json:"versions"`
	}
	if err := json.Unmarshal(root.Data["root"], &document); err != nil {
		return fmt.Errorf("read root key: %w", err)
	}
	block, err := aes.NewCipher(sealer.Data["key"])
	if err != nil {
		return fmt.Errorf("open root key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return fmt.Errorf("open root key: %w", err)
	}
	for _, version := range document.Versions {
		for _, wrap := range version.Wraps {
			aad := binary.BigEndian.AppendUint32([]byte("keywright/root/v1\x00"+wrap.Sealer+"\x00"), version.Version)
			key, err := aead.Open(nil, nil, wrap.Wrapped, aad)
			if err != nil {
				return fmt.Errorf("open root key version %d: %w", version.Version, err)
			}
			r.Remember("root key", key)
			secret.New(key).Clear()
		}
	}
	return nil
}

// prefix is how many bytes of a value are looked up first.
const prefix = 8

// index finds many values in one pass.
type index struct {
	byPrefix map[uint64][]pattern
	likely   [1 << 16]bool // by the first two bytes
}

type pattern struct{ value, name string }

func newIndex(things map[string]string) *index {
	out := &index{byPrefix: map[uint64][]pattern{}}
	for value, name := range things {
		for _, form := range forms(value) {
			key := binary.LittleEndian.Uint64([]byte(form[:prefix]))
			out.byPrefix[key] = append(out.byPrefix[key], pattern{value: form, name: name})
			out.likely[uint16(key)] = true // the first two bytes are meant
		}
	}
	return out
}

// forms returns how a value may show: raw, in hex, as Go prints bytes, and in
// base64 at each of the three alignments that a value inside a longer one can have.
func forms(value string) []string {
	hexed := hex.EncodeToString([]byte(value))
	decimal := strings.Trim(fmt.Sprint([]byte(value)), "[]")
	out := []string{value, hexed, strings.ToUpper(hexed), decimal, strings.ReplaceAll(decimal, " ", ",")}
	for shift := range 3 {
		padded := append(bytes.Repeat([]byte{0}, shift), value...)
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString(padded[:len(padded)/3*3])
			// The first characters hold bits of what comes before.
			out = append(out, text[[]int{0, 2, 3}[shift]:])
		}
	}
	return out
}

func (x *index) search(content []byte) []string {
	var names []string
	for i := 0; i+prefix <= len(content); i++ {
		if !x.likely[binary.LittleEndian.Uint16(content[i:])] {
			continue
		}
		for _, p := range x.byPrefix[binary.LittleEndian.Uint64(content[i:])] {
			if bytes.HasPrefix(content[i:], []byte(p.value)) {
				names = append(names, p.name)
			}
		}
	}
	return names
}
