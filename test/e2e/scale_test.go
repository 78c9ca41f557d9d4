package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keywright/keywright/test/rig"
)

const scalePatience = 3 * time.Minute

// TestThousandKeysAtOnce: each has one version, and after a rotation of all of
// them one more.
func TestThousandKeysAtOnce(t *testing.T) {
	manyKeys(t, rig.Options{Servers: -1}, 1000)
}

// TestTwoControllersAtOnce: without leader election both of them do everything,
// and it comes to the same.
func TestTwoControllersAtOnce(t *testing.T) {
	manyKeys(t, rig.Options{Servers: -1, Controllers: 2}, 300)
}

func manyKeys(t *testing.T, options rig.Options, n int) {
	s := startAlone(t, options)
	s.Expect(s.Namespace(s.ctx, tenant)).To(Succeed())
	began := time.Now()
	s.forEach(n, func(ctx context.Context, i int) error {
		return s.Admin.Create(ctx, rig.NewKey(tenant, keyName(i)))
	})
	applied := time.Since(began)
	s.awaitVersions(n, 1)
	t.Logf("%d keys: applied in %s, all Ready with one version after %s", n, applied.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	began = time.Now()
	patch := client.RawPatch(types.MergePatchType, []byte(rotationPatch(time.Now())))
	s.forEach(n, func(ctx context.Context, i int) error {
		return s.Admin.Patch(ctx, rig.NewKey(tenant, keyName(i)), patch)
	})
	s.awaitVersions(n, 2)
	t.Logf("%d keys: all rotated after %s", n, time.Since(began).Round(time.Millisecond))
}

func keyName(i int) string { return fmt.Sprintf("key-%04d", i) }

func (s *story) forEach(n int, do func(ctx context.Context, i int) error) {
	s.t.Helper()
	group, ctx := errgroup.WithContext(s.ctx)
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	s.Expect(group.Wait()).To(Succeed())
}

// awaitVersions waits until all keys are Ready at a version, and then counts
// material: exactly so many Secrets for each key, and none for anybody else.
func (s *story) awaitVersions(n int, version int32) {
	s.t.Helper()
	s.Eventually(func() int {
		ready := 0
		for _, key := range s.keys() {
			if rig.AtVersion(version)(&key) {
				ready++
			}
		}
		return ready
	}).WithTimeout(scalePatience).WithPolling(250 * time.Millisecond).Should(Equal(n))
	counts := s.versions()
	s.Expect(counts).To(HaveLen(n))
	for _, key := range s.keys() {
		s.Expect(counts[key.Status.KeyID]).To(Equal(int(version)), key.Name)
		s.Expect(key.Status.KeyID).To(Equal(string(key.UID)))
	}
}

// ciphertexts are all that were ever returned.
type ciphertexts struct {
	mu   sync.Mutex
	kept []kept
}

type kept struct {
	key        types.NamespacedName
	ciphertext []byte
	plaintext  []byte
}

func (c *ciphertexts) add(k kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, k)
}

func (c *ciphertexts) all() []kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clip(c.kept)
}
