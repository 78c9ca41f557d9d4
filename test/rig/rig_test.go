package rig

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := RemoveBinary(); err != nil {
		code = 1
	}
	os.Exit(code)
}

func TestIndexFindsEveryForm(t *testing.T) {
	value := "0123456789abcdef\x00\xff0123456789"
	x := newIndex(map[string]string{value: "it"})
	for name, text := range map[string]string{
		"raw":                  "a" + value + "b",
		"hex":                  "key=" + hex.EncodeToString([]byte(value)),
		"base64":               `"` + base64.StdEncoding.EncodeToString([]byte(value)) + `"`,
		"base64 inside, by 1":  base64.StdEncoding.EncodeToString([]byte("x" + value)),
		"base64 inside, by 2":  base64.StdEncoding.EncodeToString([]byte("xy" + value + "z")),
		"base64 for URLs":      base64.URLEncoding.EncodeToString([]byte("xyz" + value)),
		"as Go prints a slice": "[48 49 50 51 52 53 54 55 56 57 97 98 99 100 101 102 0 255 48 49 50 51 52 53 54 55 56 57]",
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(x.search([]byte(text))).To(ContainElement("it"))
		})
	}
	NewWithT(t).Expect(x.search([]byte("0123456789 and nothing else"))).To(BeEmpty())
}

func TestRig(t *testing.T) {
	r := StartT(t, Options{Servers: 2, APIService: true})
	g := NewWithT(t)
	ctx := t.Context()

	token, err := r.Workload(ctx, "shop", "checkout", "orders")
	g.Expect(err).NotTo(HaveOccurred())
	key, err := r.Key(ctx, "shop", "orders")
	g.Expect(err).NotTo(HaveOccurred())
	encrypted, err := r.Client(0, token).Encrypt(ctx, key, Plaintext("1"), nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(r.Servers[1].Restart(ctx)).To(Succeed())
	decrypted, err := r.Client(1, token).Decrypt(ctx, key, encrypted.Ciphertext, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(decrypted.Plaintext).To(Equal(Plaintext("1")))

	g.Expect(r.CheckLeaks(ctx)).To(Succeed())
	planted := filepath.Join(r.Dir, logsDir, "planted.log")
	g.Expect(os.WriteFile(planted, []byte("Authorization: Bearer "+token), 0o600)).To(Succeed())
	g.Expect(r.CheckLeaks(ctx)).To(MatchError("leaked: token of shop/checkout in planted.log"))
	g.Expect(os.Remove(planted)).To(Succeed())
}
