package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/test/rig"
)

// namespaceBound is how long a namespace with keys may take to go.
const namespaceBound = 30 * time.Second

// TestRestore wipes status and brings manifests back whose material is gone.
func TestRestore(t *testing.T) {
	s := start(t, rig.Options{Servers: -1})
	s.Expect(s.Namespace(s.ctx, tenant)).To(Succeed())
	for i := range 10 {
		key := rig.NewKey(tenant, keyName(i))
		switch i % 3 {
		case 1:
			key.Spec.Rotation = &keywrightv1alpha1.RotationSpec{Schedule: "0 3 * * 6", TimeZone: "Europe/Oslo"}
		case 2:
			key.Spec.Enabled = new(false)
		}
		s.Expect(s.Admin.Create(s.ctx, key)).To(Succeed())
		if i%3 < 2 {
			s.await(nameOf(key), rig.Ready)
			s.requestRotation(nameOf(key))
			s.await(nameOf(key), rig.AtVersion(2))
		}
	}
	s.await(nameOf(rig.NewKey(tenant, keyName(8))), func(k *ek) bool { return reason(k, "Ready") == "False/Disabled" && k.Status.CurrentVersion == 1 })

	t.Run("status comes back as it was", func(t *testing.T) {
		s := s.in(t)
		before := map[string]map[string]any{}
		for _, key := range s.keys() {
			before[key.Name] = life(&key)
		}
		material := s.versions()
		s.Controllers[0].Kill()
		for _, key := range s.keys() {
			key.Status = keywrightv1alpha1.EncryptionKeyStatus{}
			s.Expect(s.Admin.Status().Update(s.ctx, &key)).To(Succeed())
			s.Expect(s.await(nameOf(&key), func(k *ek) bool { return k.Status.KeyID == "" }).Status.Conditions).To(BeEmpty())
		}
		s.Expect(s.Controllers[0].Restart(s.ctx)).To(Succeed())
		for name, want := range before {
			key := s.await(nameOf(rig.NewKey(tenant, name)), func(k *ek) bool { return len(k.Status.Conditions) > 0 })
			s.Expect(life(key)).To(Equal(want), name)
		}
		s.Expect(s.versions()).To(Equal(material))
		t.Log("\n" + s.kubectl("get", "ek,ks", "-A"))
	})
	t.Run("status wiped while the controller runs comes back, too", func(t *testing.T) {
		s := s.in(t)
		name := nameOf(rig.NewKey(tenant, keyName(1)))
		before := life(s.await(name, rig.Ready))
		s.kubectl("patch", "ek", name.Name, "-n", name.Namespace, "--subresource=status", "--type=merge", "-p", `{"status":null}`)
		s.Expect(life(s.await(name, rig.Ready))).To(Equal(before))
	})
	t.Run("a manifest without its material says so, and nothing is minted", func(t *testing.T) {
		s := s.in(t)
		material := s.versions()
		key := rig.NewKey(tenant, "restored")
		key.Annotations = map[string]string{keywrightv1alpha1.KeyIDAnnotation: uuid.NewString(), keywrightv1alpha1.LatestVersionAnnotation: "3"}
		s.Expect(s.Admin.Create(s.ctx, key)).To(Succeed())
		s.await(nameOf(key), func(k *ek) bool { return reason(k, "MaterialAvailable") == "False/MaterialMissing" })
		s.requestRotation(nameOf(key)) // no way around
		got := s.await(nameOf(key), func(k *ek) bool { return k.Status.ObservedGeneration == k.Generation })
		s.Expect(reason(got, "Ready")).To(Equal("False/MaterialMissing"))
		s.Expect(s.Controllers[0].Restart(s.ctx)).To(Succeed())
		s.Consistently(s.versions).WithTimeout(3 * time.Second).WithPolling(250 * time.Millisecond).Should(Equal(material))
		s.Expect(got.Annotations).To(Equal(key.Annotations))
	})
}

// TestEdge20_MaterialOutlivesNamespaceAndDefinition deletes what holds keys, with
// the controller up and down, and brings it back.
func TestEdge20_MaterialOutlivesNamespaceAndDefinition(t *testing.T) {
	s := start(t, rig.Options{APIService: true})
	for name, down := range map[string]bool{"controller up": false, "controller down": true} {
		t.Run("namespace, "+name, func(t *testing.T) {
			s := s.in(t)
			token := s.workload("checkout")
			before := map[string]map[string]any{}
			ciphertexts := map[string][]byte{}
			for i := range 5 {
				key := s.key(fmt.Sprintf("down-%t-%d", down, i))
				before[key.Name] = life(s.await(key, rig.Ready))
				ciphertexts[key.Name] = s.encrypt(0, token, key, rig.Plaintext(key.Name))
			}
			material := s.versions()
			if down {
				s.Controllers[0].Kill()
			}
			began := time.Now()
			s.Expect(s.Admin.Delete(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}})).To(Succeed())
			s.Eventually(func() error {
				_, err := s.Kubectl(s.ctx, "get", "namespace", tenant)
				return err
			}).WithTimeout(namespaceBound).Should(MatchError(ContainSubstring("NotFound")))
			t.Logf("the namespace was gone after %s", time.Since(began).Round(time.Millisecond))
			if down {
				s.Expect(s.Controllers[0].Restart(s.ctx)).To(Succeed())
			}
			token = s.workload("checkout")
			for key, want := range before {
				name := s.key(key)
				s.Expect(life(s.await(name, rig.Ready))).To(Equal(want))
				s.opens(0, token, name, ciphertexts[key], rig.Plaintext(key))
			}
			s.Expect(s.versions()).To(Equal(material))
		})
	}
	t.Run("definition", func(t *testing.T) {
		s := s.in(t)
		token := s.workload("checkout")
		before := map[string]map[string]any{}
		for _, key := range s.keys() {
			before[key.Name] = life(&key)
		}
		name := nameOf(&s.keys()[0])
		ciphertext := s.encrypt(0, token, name, rig.Plaintext("x"))
		material := s.versions()
		s.kubectl("delete", "crd", "encryptionkeys.keywright.dev", "--timeout=30s")
		chart, err := os.ReadFile(filepath.Join(s.Dir, "chart.yaml"))
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(strings.Count(string(chart), "kind: CustomResourceDefinition\n")).To(Equal(2))
		s.kubectl("apply", "--server-side", "-f", filepath.Join(s.Dir, "chart.yaml"), "--force-conflicts")
		s.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/encryptionkeys.keywright.dev")
		for key, want := range before {
			s.Eventually(func() error { return s.Admin.Create(s.ctx, rig.NewKey(tenant, key)) }).Should(Succeed())
			s.Expect(life(s.await(nameOf(rig.NewKey(tenant, key)), rig.Ready))).To(Equal(want))
		}
		s.Expect(s.versions()).To(Equal(material))
		s.Eventually(func() error {
			_, err := s.Client(0, token).Decrypt(s.ctx, name, ciphertext, nil)
			return err
		}).Should(Succeed())
	})
}
