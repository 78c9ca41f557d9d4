package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
)

// post sends a request and decodes the answer into one of the API types. What is
// decoded must encode to what was sent: the answer is written by hand.
func post[T any](t testing.TB, r *rig, path, body string) *T {
	t.Helper()
	p := r.do(t, ask{path: path, body: body})
	if p.code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, p.code, p.body)
	}
	answer := new(T)
	decodeInto(t, p.body, answer)
	again, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(string(again), `"spec":{},`, "", 1)
	if got := strings.TrimSpace(string(p.body)); got != want {
		t.Errorf("answered %s\nthe API type encodes it as %s", got, want)
	}
	if p.header.Get("Content-Type") != "application/json" || p.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", p.header)
	}
	return answer
}

func TestEncryptDecrypt(t *testing.T) {
	r := newRig(t, setup{})
	for name, plaintext := range map[string][]byte{"some": []byte("hello"), "none": {}, "the most": bytes.Repeat([]byte{0xff}, 64<<10)} {
		t.Run(name, func(t *testing.T) {
			encrypted := post[cryptov1alpha1.EncryptRequest](t, r, "orders/encrypt", request("EncryptRequest", spec{"plaintext": plaintext, "encryptionContext": spec{"order": "17"}}))
			if s := encrypted.Status; s.KeyVersion != 2 || len(s.KeyID) != 36 || encrypted.Kind != "EncryptRequest" {
				t.Errorf("answered %+v", encrypted)
			}
			event := r.journal.last(t)
			if event.Outcome != audit.OutcomeSuccess || event.Decision != audit.Allow || event.KeyID != encrypted.Status.KeyID || event.EncryptionContext["order"] != "17" || event.Principal.GetName() != "alice" {
				t.Errorf("audited %+v", event)
			}
			decrypted := post[cryptov1alpha1.DecryptRequest](t, r, "orders/decrypt", request("DecryptRequest", spec{"ciphertext": encrypted.Status.Ciphertext, "encryptionContext": spec{"order": "17"}}))
			if s := decrypted.Status; !bytes.Equal(s.Plaintext, plaintext) || s.Plaintext == nil || s.KeyVersion != 2 || s.KeyID != encrypted.Status.KeyID {
				t.Errorf("answered %+v", decrypted)
			}
		})
	}
}

func TestGenerateDataKey(t *testing.T) {
	r := newRig(t, setup{})
	for name, test := range map[string]struct {
		spec spec
		want int // bytes of the plaintext; -1 is none
	}{
		"no word on the length":  {spec{}, 32},
		"AES_256":                {spec{"keySpec": "AES_256"}, 32},
		"AES_128":                {spec{"keySpec": "AES_128"}, 16},
		"Edge06: 1 byte":         {spec{"numberOfBytes": 1}, 1},
		"Edge06: 1024 bytes":     {spec{"numberOfBytes": 1024}, 1024},
		"without plaintext":      {spec{"keySpec": "AES_128", "withoutPlaintext": true}, -1},
		"a context, and nothing": {spec{"encryptionContext": nil}, 32},
	} {
		t.Run(name, func(t *testing.T) {
			s := post[cryptov1alpha1.DataKeyRequest](t, r, "orders/generatedatakey", request("DataKeyRequest", test.spec)).Status
			decrypted := post[cryptov1alpha1.DecryptRequest](t, r, "orders/decrypt", request("DecryptRequest", spec{"ciphertext": s.Ciphertext}))
			switch {
			case test.want < 0 && s.Plaintext != nil:
				t.Error("the plaintext is in the answer")
			case test.want >= 0 && (len(s.Plaintext) != test.want || !bytes.Equal(decrypted.Status.Plaintext, s.Plaintext)):
				t.Errorf("%d bytes, decrypted to %d", len(s.Plaintext), len(decrypted.Status.Plaintext))
			}
		})
	}
}

func TestReEncrypt(t *testing.T) {
	r := newRig(t, setup{})
	ciphertext := r.ciphertextOf(t, "orders", "hello")
	moved := post[cryptov1alpha1.ReEncryptRequest](t, r, "orders/reencrypt", request("ReEncryptRequest", spec{
		"ciphertext": ciphertext, "sourceEncryptionContext": spec{"order": "17"}, "destinationEncryptionContext": spec{"archive": "1"},
		"destinationKey": spec{"namespace": "shop", "name": "archive"}})).Status
	if moved.SourceKeyVersion != 2 || moved.KeyVersion != 1 || moved.KeyID == moved.SourceKeyID {
		t.Errorf("answered %+v", moved)
	}
	decrypted := post[cryptov1alpha1.DecryptRequest](t, r, "archive/decrypt", request("DecryptRequest", spec{"ciphertext": moved.Ciphertext, "encryptionContext": spec{"archive": "1"}}))
	if string(decrypted.Status.Plaintext) != "hello" {
		t.Errorf("decrypted to %q", decrypted.Status.Plaintext)
	}
	stayed := post[cryptov1alpha1.ReEncryptRequest](t, r, "orders/reencrypt", request("ReEncryptRequest", spec{"ciphertext": ciphertext, "sourceEncryptionContext": spec{"order": "17"}})).Status
	if stayed.KeyID != moved.SourceKeyID {
		t.Errorf("without a destination: %+v", stayed)
	}
}

func TestBatch(t *testing.T) {
	r := newRig(t, setup{})
	ciphertext := r.ciphertextOf(t, "orders", "hello")
	good := spec{"ciphertext": ciphertext, "encryptionContext": spec{"order": "17"}}
	foreign := spec{"ciphertext": r.ciphertextOf(t, "archive", "hello")}
	before := r.journal.len()
	answer := post[cryptov1alpha1.DecryptRequest](t, r, "orders/decrypt", request("DecryptRequest", items(good, spec{"ciphertext": ciphertext}, foreign, good)))
	got := answer.Status.Items
	if len(got) != 4 || string(got[0].Plaintext) != "hello" || string(got[3].Plaintext) != "hello" {
		t.Fatalf("answered %+v", answer.Status)
	}
	want := []*cryptov1alpha1.ItemError{
		{Code: 400, Reason: "InvalidCiphertext", Message: "the ciphertext cannot be opened with this key and encryption context"},
		{Code: 400, Reason: "IncorrectKey", Message: "the ciphertext was not made by this key; name the key that encrypted it"},
	}
	if diff := cmp.Diff(want, []*cryptov1alpha1.ItemError{got[1].Error, got[2].Error}); diff != "" {
		t.Error(diff)
	}
	event := r.journal.last(t)
	if r.journal.len() != before+1 || event.Items != 4 || event.Failed != 2 || event.Outcome != audit.OutcomePartial {
		t.Errorf("audited %+v", event)
	}
	large := post[cryptov1alpha1.EncryptRequest](t, r, "orders/encrypt", request("EncryptRequest", items(
		spec{"plaintext": make([]byte, 64<<10+1)}, spec{}))).Status.Items
	if large[0].Error == nil || large[0].Error.Code != 413 || large[0].Error.Reason != "TooLarge" || large[1].Error != nil {
		t.Errorf("answered %+v", large)
	}
	one := post[cryptov1alpha1.EncryptRequest](t, r, "orders/encrypt", request("EncryptRequest", items(spec{}))).Status
	if len(one.Items) != 1 || one.Ciphertext != nil {
		t.Errorf("a batch of one answered %+v", one)
	}
}

func TestBatchOfAThousand(t *testing.T) {
	r := newRig(t, setup{})
	list := make([]spec, cryptov1alpha1.MaxItems)
	for i := range list {
		list[i] = spec{"encryptionContext": spec{"n": fmt.Sprint(i)}, "numberOfBytes": 300}
	}
	got := post[cryptov1alpha1.DataKeyRequest](t, r, "orders/generatedatakey", request("DataKeyRequest", items(list...))).Status.Items
	seen := map[string]bool{}
	for i, item := range got {
		seen[string(item.Plaintext)] = true
		decrypted := spec{"ciphertext": item.Ciphertext, "encryptionContext": list[i]["encryptionContext"]}
		if i%100 == 0 {
			s := post[cryptov1alpha1.DecryptRequest](t, r, "orders/decrypt", request("DecryptRequest", decrypted)).Status
			if !bytes.Equal(s.Plaintext, item.Plaintext) {
				t.Errorf("item %d is not in its place", i)
			}
		}
	}
	if len(got) != len(list) || len(seen) != len(list) {
		t.Errorf("%d answers, %d different", len(got), len(seen))
	}
}

func TestBothProtocols(t *testing.T) {
	r := newRig(t, setup{})
	body := request("EncryptRequest", spec{})
	if p := r.do(t, ask{path: "orders/encrypt", body: body}); p.proto != "HTTP/2.0" || p.code != 200 {
		t.Errorf("%s %d", p.proto, p.code)
	}
	transport := r.client.Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2, transport.TLSClientConfig.NextProtos = false, []string{"http/1.1"}
	r.client = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	if p := r.do(t, ask{path: "orders/encrypt", body: body}); p.proto != "HTTP/1.1" || p.code != 200 {
		t.Errorf("%s %d", p.proto, p.code)
	}
	// A body whose length is not said before.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+prefix+"orders/encrypt", struct{ *strings.Reader }{strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer token-of-alice")
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("chunked: %d", response.StatusCode)
	}
}

func TestAcceptedHeaders(t *testing.T) {
	r := newRig(t, setup{})
	for name, header := range map[string]http.Header{
		"no content type":     {"Content-Type": nil},
		"charset":             {"Content-Type": {"application/json; charset=UTF-8"}},
		"identity":            {"Content-Encoding": {"identity"}},
		"accept of kubectl":   {"Accept": {"application/json, */*"}},
		"accept of client-go": {"Accept": {"application/vnd.kubernetes.protobuf,application/json;q=0.9"}},
		"accept of Java":      {"Accept": {"text/html, image/gif, *; q=.2, */*; q=.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			if p := r.do(t, ask{path: "orders/encrypt", header: header, body: request("EncryptRequest", spec{})}); p.code != 200 {
				t.Errorf("%d %s", p.code, p.body)
			}
		})
	}
}

// TestEveryFieldOfTheAPIIsKnown fails when the API types get a field that this
// package does not know.
func TestEveryFieldOfTheAPIIsKnown(t *testing.T) {
	for _, test := range []struct {
		v    any
		want int
	}{
		{cryptov1alpha1.EncryptItem{}, 2}, {cryptov1alpha1.DecryptItem{}, 2}, {cryptov1alpha1.DataKeyItem{}, 4}, {cryptov1alpha1.ReEncryptItem{}, 3},
		{cryptov1alpha1.EncryptSpec{}, 2}, {cryptov1alpha1.DecryptSpec{}, 2}, {cryptov1alpha1.DataKeyRequestSpec{}, 2}, {cryptov1alpha1.ReEncryptSpec{}, 3},
		{cryptov1alpha1.EncryptResult{}, 4}, {cryptov1alpha1.DecryptResult{}, 4}, {cryptov1alpha1.DataKeyResult{}, 5}, {cryptov1alpha1.ReEncryptResult{}, 6},
	} {
		if got := reflect.TypeOf(test.v).NumField(); got != test.want {
			t.Errorf("%T has %d fields; decode or encode the new one, then count it here", test.v, got)
		}
	}
}
