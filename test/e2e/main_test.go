// Package e2e tells user stories to the real binaries on a real control plane.
package e2e_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/test/rig"
)

const (
	// patience bounds what must happen soon, on a loaded machine.
	patience = 60 * time.Second
	poll     = 50 * time.Millisecond

	tenant = "shop"
)

func TestMain(m *testing.M) {
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(poll)
	code := m.Run()
	if err := rig.RemoveBinary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

type ek = keywrightv1alpha1.EncryptionKey

// story is a rig with what every test wants from it.
type story struct {
	*rig.Rig
	*WithT
	t   *testing.T
	ctx context.Context
}

// start starts a rig for a test, beside those of others: most of a story is waiting.
func start(t *testing.T, options rig.Options) *story {
	t.Helper()
	t.Parallel()
	return startAlone(t, options)
}

// startAlone is for tests that load the machine.
func startAlone(t *testing.T, options rig.Options) *story {
	t.Helper()
	r := rig.StartT(t, options)
	return &story{Rig: r, WithT: NewWithT(t), t: t, ctx: t.Context()}
}

// in returns the story for a subtest.
func (s *story) in(t *testing.T) *story {
	return &story{Rig: s.Rig, WithT: NewWithT(t), t: t, ctx: t.Context()}
}

func (s *story) workload(account string, keys ...string) string {
	s.t.Helper()
	token, err := s.Workload(s.ctx, tenant, account, keys...)
	s.Expect(err).NotTo(HaveOccurred())
	return token
}

func (s *story) key(name string) types.NamespacedName {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	key, err := s.Key(ctx, tenant, name)
	s.Expect(err).NotTo(HaveOccurred())
	return key
}

func (s *story) await(name types.NamespacedName, wanted func(*ek) bool) *ek {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	key, err := s.AwaitKey(ctx, name, wanted)
	s.Expect(err).NotTo(HaveOccurred())
	return key
}

// edit merges a JSON patch into a key.
func (s *story) edit(name types.NamespacedName, patch string) {
	s.t.Helper()
	key := rig.NewKey(name.Namespace, name.Name)
	s.Expect(s.Admin.Patch(s.ctx, key, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

func (s *story) requestRotation(name types.NamespacedName) {
	s.t.Helper()
	s.edit(name, rotationPatch(time.Now()))
}

func rotationPatch(at time.Time) string {
	return fmt.Sprintf(`{"spec":{"rotation":{"requestedAt":%q}}}`, at.UTC().Format(time.RFC3339))
}

func (s *story) kubectl(args ...string) string {
	s.t.Helper()
	out, err := s.Kubectl(s.ctx, args...)
	s.Expect(err).NotTo(HaveOccurred())
	return out
}

func (s *story) encrypt(server int, token string, key types.NamespacedName, plaintext []byte) []byte {
	s.t.Helper()
	answer, err := s.Client(server, token).Encrypt(s.ctx, key, plaintext, nil)
	s.Expect(err).NotTo(HaveOccurred())
	return answer.Ciphertext
}

func (s *story) opens(server int, token string, key types.NamespacedName, ciphertext, plaintext []byte) {
	s.t.Helper()
	answer, err := s.Client(server, token).Decrypt(s.ctx, key, ciphertext, nil)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(string(answer.Plaintext) == string(plaintext)).To(BeTrue(), "the plaintext is another one")
}

// versions counts material Secrets by key id.
func (s *story) versions() map[string]int {
	s.t.Helper()
	secrets, err := s.Material(s.ctx)
	s.Expect(err).NotTo(HaveOccurred())
	out := map[string]int{}
	for i := range secrets {
		out[secrets[i].Labels[keywrightv1alpha1.KeyIDLabel]]++
	}
	return out
}

func (s *story) keys() []ek {
	s.t.Helper()
	var list keywrightv1alpha1.EncryptionKeyList
	s.Expect(s.Admin.List(s.ctx, &list)).To(Succeed())
	return list.Items
}

func nameOf(key *ek) types.NamespacedName { return client.ObjectKeyFromObject(key) }

func reason(key *ek, conditionType string) string {
	for _, c := range key.Status.Conditions {
		if c.Type == conditionType {
			return string(c.Status) + "/" + c.Reason
		}
	}
	return "absent"
}

// life is what status says of a key's life.
func life(key *ek) map[string]any {
	when := func(t *metav1.Time) string {
		if t == nil {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	versions := map[int32]string{}
	for _, v := range key.Status.Versions {
		versions[v.Version] = string(v.Origin) + " " + when(&v.CreatedAt)
	}
	return map[string]any{
		"id": key.Status.KeyID, "state": key.Status.State, "current": key.Status.CurrentVersion, "versions": versions,
		"last": when(key.Status.LastRotationTime), "next": when(key.Status.NextRotationTime),
	}
}
