package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/test/rig"
)

// refusalBound is how soon every replica refuses a key that was disabled. What is
// measured is logged.
const refusalBound = 3 * time.Second

// TestStory is the main job: apply a key, use it over HTTPS, rotate it, stop it,
// lose it and get it back.
func TestStory(t *testing.T) {
	s := start(t, rig.Options{Servers: 2, APIService: true})
	token := s.workload("checkout", "orders", "minutely")
	key := types.NamespacedName{Namespace: tenant, Name: "orders"}
	minutely := types.NamespacedName{Namespace: tenant, Name: "minutely"}
	var dataKey *cryptov1alpha1.DataKeyStatus
	var old []byte

	t.Run("a key is applied and becomes Ready", func(t *testing.T) {
		s := s.in(t)
		for name, rotation := range map[string]string{key.Name: "", minutely.Name: "\n  rotation: {schedule: '* * * * *'}"} {
			path := filepath.Join(t.TempDir(), "key.yaml")
			s.Expect(os.WriteFile(path, []byte("apiVersion: keywright.dev/v1alpha1\nkind: EncryptionKey\nmetadata: {name: "+name+", namespace: "+tenant+"}\n"+
				"spec:\n  type: CustomerManaged"+rotation+"\n"), 0o600)).To(Succeed())
			s.kubectl("apply", "-f", path)
			s.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "-n", tenant, "ek/"+name)
		}
		table := s.kubectl("get", "ek,ks", "-A")
		s.Expect(table).To(MatchRegexp(`NAMESPACE +NAME +TYPE +SPEC +STATE +VERSION +NEXT ROTATION +READY +AGE`))
		s.Expect(table).To(MatchRegexp(`shop +encryptionkey.keywright.dev/orders +CustomerManaged +SYMMETRIC_DEFAULT +Enabled +1 .*True`))
		s.Expect(table).To(MatchRegexp(`keystore.keywright.dev/default .*True`))
	})
	t.Run("a workload gets a data key, and encrypts", func(t *testing.T) {
		s := s.in(t)
		var err error
		dataKey, err = s.Client(0, token).DataKey(s.ctx, key, map[string]string{"order": "17"})
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(dataKey.Plaintext).To(HaveLen(32))
		s.Remember("data key", dataKey.Plaintext)
		old = s.encrypt(0, token, key, rig.Plaintext("before rotation"))
	})
	t.Run("it rotates on request, and the old ciphertext opens", func(t *testing.T) {
		s := s.in(t)
		s.requestRotation(key)
		s.await(key, rig.AtVersion(2))
		answer, err := s.Client(1, token).Encrypt(s.ctx, key, rig.Plaintext("after rotation"), nil)
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(answer.KeyVersion).To(BeEquivalentTo(2), "a Ready key is current at once on every server")
		for server := range s.Servers {
			s.opens(server, token, key, old, rig.Plaintext("before rotation"))
			opened, err := s.Client(server, token).Decrypt(s.ctx, key, dataKey.Ciphertext, map[string]string{"order": "17"})
			s.Expect(err).NotTo(HaveOccurred())
			s.Expect(opened.Plaintext).To(Equal(dataKey.Plaintext))
		}
	})
	t.Run("disabled, every server refuses", func(t *testing.T) {
		s := s.in(t)
		s.edit(key, `{"spec":{"enabled":false}}`)
		began := time.Now()
		for server := range s.Servers {
			s.Eventually(func() error {
				_, err := s.Client(server, token).Decrypt(s.ctx, key, old, nil)
				return err
			}).WithTimeout(refusalBound).WithPolling(time.Millisecond).Should(MatchError(apierrors.IsConflict, "is 409"), "server %d", server)
			t.Logf("server %d refused %s after the key was disabled", server, time.Since(began).Round(time.Millisecond))
		}
		s.await(key, func(k *ek) bool { return reason(k, "Ready") == "False/Disabled" })
		s.edit(key, `{"spec":{"enabled":true}}`)
		s.await(key, rig.Ready)
		for server := range s.Servers {
			s.Eventually(func() error {
				_, err := s.Client(server, token).Decrypt(s.ctx, key, old, nil)
				return err
			}).WithTimeout(refusalBound).Should(Succeed())
		}
	})
	t.Run("through kube-apiserver", func(t *testing.T) { aggregated(s.in(t), key) })
	t.Run("deleted and applied again, it has its material back", func(t *testing.T) {
		s := s.in(t)
		before := s.await(key, rig.Ready)
		s.kubectl("delete", "-n", tenant, "ek/orders", "--timeout=30s")
		s.Eventually(func() error {
			_, err := s.Client(0, token).Decrypt(s.ctx, key, old, nil)
			return err
		}).Should(MatchError(apierrors.IsNotFound, "is 404"))
		s.key(key.Name)
		after := s.await(key, rig.AtVersion(2))
		s.Expect(life(after)).To(Equal(life(before)))
		s.Expect(after.UID).NotTo(Equal(before.UID))
		for server := range s.Servers {
			s.opens(server, token, key, old, rig.Plaintext("before rotation"))
		}
	})
	t.Run("it rotates by its schedule", func(t *testing.T) {
		s := s.in(t)
		ciphertext := s.encrypt(0, token, minutely, rig.Plaintext("scheduled"))
		s.Eventually(func() int32 { return s.await(minutely, rig.Ready).Status.CurrentVersion }).
			WithTimeout(130 * time.Second).Should(BeNumerically(">", 1))
		status := s.await(minutely, rig.Ready).Status
		s.Expect(status.Versions[0].Origin).To(BeEquivalentTo("Rotation"))
		s.Expect(status.NextRotationTime.Time).To(BeTemporally(">", status.LastRotationTime.Time))
		s.opens(1, token, minutely, ciphertext, rig.Plaintext("scheduled"))
	})
}

// aggregated uses the endpoint as any Kubernetes client can with an APIService.
func aggregated(s *story, key types.NamespacedName) {
	s.Eventually(func() string {
		return s.kubectl("get", "apiservice", "v1alpha1.crypto.keywright.dev", "-o", "yaml")
	}).Should(MatchRegexp(`status: "True"\s+type: Available`))
	s.Expect(s.kubectl("get", "--raw", "/apis/crypto.keywright.dev/v1alpha1")).To(ContainSubstring("encryptionkeys/encrypt"))
	s.Eventually(func() (string, error) { return s.Kubectl(s.ctx, "api-versions") }).Should(ContainSubstring("crypto.keywright.dev/v1alpha1"))

	file := filepath.Join(s.t.TempDir(), "req.json")
	post := func(operation string, request any, args ...string) (string, error) {
		body, err := json.Marshal(request)
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(os.WriteFile(file, body, 0o600)).To(Succeed())
		return s.Kubectl(s.ctx, append([]string{"create", "--raw", rig.Path(key, operation), "-f", file}, args...)...)
	}
	var encrypted cryptov1alpha1.EncryptRequest
	encrypted.APIVersion, encrypted.Kind = cryptov1alpha1.GroupVersion.String(), cryptov1alpha1.EncryptRequestKind
	encrypted.Spec.Plaintext = rig.Plaintext("by kubectl")
	out, err := post("encrypt", encrypted)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(json.Unmarshal([]byte(out), &encrypted)).To(Succeed())

	var decrypted cryptov1alpha1.DecryptRequest
	decrypted.APIVersion, decrypted.Kind = cryptov1alpha1.GroupVersion.String(), cryptov1alpha1.DecryptRequestKind
	decrypted.Spec.Ciphertext = encrypted.Status.Ciphertext
	out, err = post("decrypt", decrypted)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(json.Unmarshal([]byte(out), &decrypted)).To(Succeed())
	s.Expect(string(decrypted.Status.Plaintext) == string(rig.Plaintext("by kubectl"))).To(BeTrue())

	_, err = post("decrypt", decrypted, "--as=mallory", "--as-group=system:authenticated")
	s.Expect(err).To(MatchError(ContainSubstring("Forbidden")))

	// Headers that only the front proxy may send are nothing from anybody else.
	request, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.Servers[0].URL+rig.Path(key, "decrypt"), http.NoBody)
	s.Expect(err).NotTo(HaveOccurred())
	request.Header.Set("X-Remote-User", "admin")
	request.Header.Set("X-Remote-Group", "system:masters")
	response, err := s.HTTP().Do(request)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(response.Body.Close()).To(Succeed())
	s.Expect(response.StatusCode).To(Equal(http.StatusUnauthorized))

	s.kubectl("create", "namespace", "short-lived")
	s.kubectl("delete", "namespace", "short-lived", "--timeout=30s")
}
