package httpapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
)

func TestDiscovery(t *testing.T) {
	r := newRig(t, setup{})
	get := func(path string, v any) {
		t.Helper()
		p := r.do(t, ask{method: "GET", path: path})
		if p.code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, p.code, p.body)
		}
		decodeInto(t, p.body, v)
	}
	var groups metav1.APIGroupList
	var group metav1.APIGroup
	var resources metav1.APIResourceList
	get("/apis", &groups)
	get("/apis/crypto.keywright.dev", &group)
	get("/apis/crypto.keywright.dev/v1alpha1", &resources)
	if groups.Kind != "APIGroupList" || len(groups.Groups) != 1 || groups.Groups[0].Name != "crypto.keywright.dev" || group.Kind != "APIGroup" || group.PreferredVersion.Version != "v1alpha1" {
		t.Errorf("groups %+v, group %+v", groups, group)
	}
	want := []metav1.APIResource{
		{Name: "encryptionkeys/decrypt", Namespaced: true, Kind: "DecryptRequest", Verbs: metav1.Verbs{"create"}},
		{Name: "encryptionkeys/encrypt", Namespaced: true, Kind: "EncryptRequest", Verbs: metav1.Verbs{"create"}},
		{Name: "encryptionkeys/generatedatakey", Namespaced: true, Kind: "DataKeyRequest", Verbs: metav1.Verbs{"create"}},
		{Name: "encryptionkeys/reencrypt", Namespaced: true, Kind: "ReEncryptRequest", Verbs: metav1.Verbs{"create"}},
	}
	if diff := cmp.Diff(want, resources.APIResources); diff != "" || resources.GroupVersion != "crypto.keywright.dev/v1alpha1" || resources.Kind != "APIResourceList" {
		t.Errorf("%+v: %s", resources, diff)
	}
	for _, path := range []string{"/apis", "/apis/crypto.keywright.dev/v1alpha1", "/openapi/v2", "/"} {
		if p := r.do(t, ask{method: "GET", as: "nobody", path: path}); p.code != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, p.code)
		}
	}
	for _, path := range []string{"/api", "/openapi", "/version", "/metrics", "/debug/pprof/"} {
		if p := r.do(t, ask{method: "GET", path: path}); p.code != http.StatusNotFound {
			t.Errorf("%s: %d", path, p.code)
		}
	}
	if p := r.do(t, ask{method: "DELETE", path: "/apis"}); p.code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d", p.code)
	}
}

func TestHealth(t *testing.T) {
	r := newRig(t, setup{})
	check := func(path string, code int, body string) {
		t.Helper()
		if p := r.do(t, ask{method: "GET", as: "nobody", path: path}); p.code != code || string(p.body) != body {
			t.Errorf("%s: %d %q", path, p.code, p.body)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		check(path, 200, "ok")
	}
	r.ready = errTest
	check("/readyz", 503, "not ready")
	check("/livez", 200, "ok")
}

func TestReplicaWithoutContactServesNothing(t *testing.T) {
	r := newRig(t, setup{})
	r.serving = errTest
	p := r.do(t, ask{path: "orders/encrypt", body: request("EncryptRequest", spec{})})
	if p.code != 503 || !strings.Contains(p.status(t).Message, "lost contact") || strings.Contains(string(p.body), errTest.Error()) {
		t.Errorf("%d %s", p.code, p.body)
	}
	if event := r.journal.last(t); event.Outcome != audit.OutcomeUnavailable || event.Principal.GetName() != "alice" {
		t.Errorf("audited %+v", event)
	}
	if p := r.do(t, ask{method: "GET", path: "/apis"}); p.code != 200 {
		t.Errorf("discovery: %d", p.code)
	}
}

func TestOperationThatCannotBeAuditedFails(t *testing.T) {
	r := newRig(t, setup{})
	ciphertext := r.ciphertextOf(t, "orders", "hello")
	r.journal.err = errTest
	for path, body := range map[string]string{
		"orders/encrypt": request("EncryptRequest", spec{}), "orders/decrypt": request("DecryptRequest", spec{"ciphertext": ciphertext, "encryptionContext": spec{"order": "17"}}),
		"orders/generatedatakey": request("DataKeyRequest", spec{}),
	} {
		if p := r.do(t, ask{path: path, body: body}); p.code != 503 || p.status(t).Reason != "Unavailable" {
			t.Errorf("%s: %d %s", path, p.code, p.body)
		}
	}
	if p := r.do(t, ask{as: "mallory", path: "orders/encrypt", body: request("EncryptRequest", spec{})}); p.code != 403 {
		t.Errorf("a refusal: %d", p.code)
	}
	r.journal.err = nil
	if p := r.do(t, ask{path: "orders/encrypt", body: request("EncryptRequest", spec{})}); p.code != 200 {
		t.Errorf("afterwards: %d", p.code)
	}
}

func TestEdge27_PanicShowsNothing(t *testing.T) {
	r := newRig(t, setup{})
	p := r.do(t, ask{as: "panic", path: "orders/encrypt", body: request("EncryptRequest", spec{"plaintext": []byte("plaintext-in-a-panic")})})
	if p.code != 500 || p.status(t).Message != "internal error" {
		t.Errorf("%d %s", p.code, p.body)
	}
	if log := r.log.String(); !strings.Contains(log, "panicked") || strings.Contains(log, "secret-in-a-panic") || strings.Contains(log, "plaintext-in-a-panic") {
		t.Errorf("logged %s", log)
	}
	if event := r.journal.last(t); event.Outcome != audit.OutcomeError {
		t.Errorf("audited %+v", event)
	}
	if n := r.value(t, "keywright_requests_total", "encrypt", "error"); n != 1 {
		t.Errorf("counted %v", n)
	}
}

func TestRequestID(t *testing.T) {
	r := newRig(t, setup{})
	const given = "0b6f5a5e-6f0e-4b9e-8d9f-3a1c2b3d4e5f"
	for name, test := range map[string]struct {
		as, auditID string
		kept        bool
	}{
		"kube-apiserver's is kept":       {"front-proxy", given, true},
		"kube-apiserver's must be an id": {"front-proxy", "x\nforged", false},
		"a caller's is not":              {"alice", given, false},
		"nobody's is not":                {"nobody", given, false},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{"Audit-Id": {strings.ReplaceAll(test.auditID, "\n", "")}, "X-Forwarded-For": {"6.6.6.6, 10.1.2.3"}}
			p := r.do(t, ask{as: test.as, path: "orders/encrypt", header: header, body: request("EncryptRequest", spec{})})
			got := p.header.Get("Audit-Id")
			if id, err := uuid.Parse(got); err != nil || id.Version() != 4 || (got == given) != test.kept {
				t.Errorf("got %q", got)
			}
			event := r.journal.last(t)
			if event.RequestID != got {
				t.Errorf("audited %q", event.RequestID)
			}
			if (event.SourceAddress == "10.1.2.3") != (test.as == "front-proxy") {
				t.Errorf("source address %q", event.SourceAddress)
			}
		})
	}
}

// TestEdge27_NothingSecretIsWritten greps the audit log, the log and the metrics
// of all operations, done well and badly.
func TestEdge27_NothingSecretIsWritten(t *testing.T) {
	var lines bytes.Buffer
	writer := audit.NewWriter(&lines, audit.Options{Overflow: audit.Block}, slog.New(slog.DiscardHandler), clock.RealClock{})
	r := newRig(t, setup{sink: writer})
	plaintext := []byte("plaintext-that-nobody-may-see")
	var dataKey cryptov1alpha1.DataKeyRequest
	decodeInto(t, r.do(t, ask{path: "orders/generatedatakey", body: request("DataKeyRequest", spec{})}).body, &dataKey)
	ciphertext := r.ciphertextOf(t, "orders", string(plaintext))
	var outputs bytes.Buffer
	for _, body := range []string{
		request("EncryptRequest", spec{"plaintext": plaintext}),
		request("EncryptRequest", spec{"plaintext": append(make([]byte, 64<<10), plaintext...)}),
		request("EncryptRequest", spec{"plaintext": string(plaintext)}), // bad base64
		request("EncryptRequest", items(spec{"plaintext": plaintext}, spec{"plaintext": string(plaintext)})),
		request("EncryptRequest", spec{"plaintext": spec{string(plaintext): 1}}),
	} {
		for _, as := range []string{"alice", "mallory", "doubtful", "nobody"} {
			for _, key := range []string{"orders", "off", "lost", "nothing"} {
				p := r.do(t, ask{as: as, path: key + "/encrypt", body: body})
				if p.code != 200 {
					outputs.Write(p.body)
				}
			}
		}
	}
	for _, key := range []string{"orders", "archive"} {
		outputs.Write(r.do(t, ask{path: key + "/decrypt", body: request("DecryptRequest", spec{"ciphertext": ciphertext})}).body)
	}
	if err := writer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var metrics strings.Builder
	if err := json.NewEncoder(&metrics).Encode(families); err != nil {
		t.Fatal(err)
	}
	outputs.WriteString(metrics.String())
	outputs.Write(lines.Bytes())
	outputs.Write(r.log.Bytes())
	if !strings.Contains(lines.String(), `"user":"alice"`) {
		t.Fatal("the audit log is not what this test thinks")
	}
	for what, secret := range map[string][]byte{"plaintext": plaintext, "data key": dataKey.Status.Plaintext, "ciphertext": ciphertext[30:], "token": []byte("token-of-")} {
		for _, form := range []string{string(secret), base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret), hex.EncodeToString(secret)} {
			if strings.Contains(outputs.String(), form) {
				t.Errorf("the %s is in the outputs", what)
			}
		}
	}
	if strings.Contains(metrics.String(), "orders") {
		t.Error("a metric names a key")
	}
}

func TestMetrics(t *testing.T) {
	r := newRig(t, setup{})
	r.ciphertextOf(t, "orders", "hello")
	r.do(t, ask{path: "off/encrypt", body: request("EncryptRequest", spec{})})
	for outcome, want := range map[string]float64{"success": 1, "disabled": 1, "forbidden": 0} {
		if got := r.value(t, "keywright_requests_total", "encrypt", outcome); got != want {
			t.Errorf("%s: %v", outcome, got)
		}
	}
	if got := r.value(t, "keywright_request_duration_seconds", "encrypt"); got != 2 {
		t.Errorf("duration of %v requests", got)
	}
}
