package httpapi_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
)

// ciphertextOf encrypts with a key.
func (r *rig) ciphertextOf(t testing.TB, key, plaintext string) []byte {
	t.Helper()
	p := r.do(t, ask{path: key + "/encrypt", body: request("EncryptRequest", spec{"plaintext": []byte(plaintext), "encryptionContext": spec{"order": "17"}})})
	var answer cryptov1alpha1.EncryptRequest
	decodeInto(t, p.body, &answer)
	if p.code != http.StatusOK || answer.Status == nil || len(answer.Status.Ciphertext) == 0 {
		t.Fatalf("encrypt: %d %s", p.code, p.body)
	}
	return answer.Status.Ciphertext
}

func TestErrors(t *testing.T) {
	r := newRig(t, setup{})
	ciphertext := r.ciphertextOf(t, "orders", "hello")
	contextOf := func(n int) spec { return spec{"plaintext": "", "encryptionContext": spec{"k": strings.Repeat("v", n)}} }
	encrypt := request("EncryptRequest", spec{"plaintext": []byte("hello")})
	many := func(n int) string {
		return `{"apiVersion":"crypto.keywright.dev/v1alpha1","kind":"EncryptRequest","spec":{"items":[` + strings.TrimSuffix(strings.Repeat("{},", n), ",") + `]}}`
	}
	in := func(rawSpec string) string {
		return `{"apiVersion":"crypto.keywright.dev/v1alpha1","kind":"EncryptRequest","spec":` + rawSpec + `}`
	}
	tests := map[string]struct {
		ask     ask
		code    int
		reason  metav1.StatusReason
		field   string
		message string // a part of it
		outcome string // of the audit line; empty if there is none
	}{
		"no token":                           {ask{as: "nobody", path: "orders/encrypt", body: encrypt}, 401, "Unauthorized", "", "Authorization: Bearer", audit.OutcomeUnauthorized},
		"a token that nobody can review":     {ask{as: "stranger-in-outage", path: "orders/encrypt", body: encrypt}, 503, "Unavailable", "", "who you are", audit.OutcomeUnavailable},
		"no permission":                      {ask{as: "mallory", path: "orders/encrypt", body: encrypt}, 403, "Forbidden", "", `user "mallory" cannot create resource "encryptionkeys/encrypt"`, audit.OutcomeForbidden},
		"a permission that nobody can check": {ask{as: "doubtful", path: "orders/encrypt", body: encrypt}, 503, "Unavailable", "", "permitted", audit.OutcomeUnavailable},
		"no such key":                        {ask{path: "nothing/encrypt", body: encrypt}, 404, "NotFound", "", `"nothing" not found`, audit.OutcomeNotFound},
		"a disabled key":                     {ask{path: "off/encrypt", body: encrypt}, 409, "Disabled", "", "spec.enabled: true", audit.OutcomeDisabled},
		"a key whose material is lost":       {ask{path: "lost/encrypt", body: encrypt}, 503, "Unavailable", "", "kubectl -n shop describe encryptionkey lost", audit.OutcomeUnavailable},
		"no such path":                       {ask{path: "/apis/crypto.keywright.dev/v1beta1"}, 404, "NotFound", "", "could not find", ""},
		"no such operation":                  {ask{path: "orders/sign", body: encrypt}, 404, "NotFound", "", "could not find", ""},
		"a name that no key has":             {ask{path: "Orders/encrypt", body: encrypt}, 404, "NotFound", "", "could not find", ""},
		"a name that climbs":                 {ask{path: "..%2forders/encrypt", body: encrypt}, 404, "NotFound", "", "could not find", ""},
		"another method":                     {ask{method: "GET", path: "orders/encrypt"}, 405, "MethodNotAllowed", "", "method", audit.OutcomeInvalidRequest},
		"another media type":                 {ask{path: "orders/encrypt", header: http.Header{"Content-Type": {"application/yaml"}}, body: encrypt}, 415, "UnsupportedMediaType", "", "application/json", audit.OutcomeInvalidRequest},
		"another charset":                    {ask{path: "orders/encrypt", header: http.Header{"Content-Type": {"application/json; charset=utf-16"}}, body: encrypt}, 415, "UnsupportedMediaType", "", "", audit.OutcomeInvalidRequest},
		"a compressed body":                  {ask{path: "orders/encrypt", header: http.Header{"Content-Encoding": {"gzip"}}, body: encrypt}, 415, "UnsupportedMediaType", "", "not compressed", audit.OutcomeInvalidRequest},
		"protobuf wanted":                    {ask{path: "orders/encrypt", header: http.Header{"Accept": {"application/vnd.kubernetes.protobuf"}}, body: encrypt}, 406, "NotAcceptable", "", "", audit.OutcomeInvalidRequest},

		"no body":                          {ask{path: "orders/encrypt"}, 400, "BadRequest", "", "not valid JSON", audit.OutcomeInvalidRequest},
		"not JSON":                         {ask{path: "orders/encrypt", body: "plaintext=hello"}, 400, "BadRequest", "", "not valid JSON, at byte 0", audit.OutcomeInvalidRequest},
		"not an object":                    {ask{path: "orders/encrypt", body: "[]"}, 400, "BadRequest", "", "want an object", audit.OutcomeInvalidRequest},
		"a body that ends early":           {ask{path: "orders/encrypt", body: encrypt[:len(encrypt)-1]}, 400, "BadRequest", "", "not valid JSON", audit.OutcomeInvalidRequest},
		"something after the request":      {ask{path: "orders/encrypt", body: encrypt + "{}"}, 400, "BadRequest", "", "not valid JSON", audit.OutcomeInvalidRequest},
		"text that is not UTF-8":           {ask{path: "orders/encrypt", body: in(`{"encryptionContext":{"a":"` + "\xff" + `"}}`)}, 400, "BadRequest", "spec.encryptionContext.a", "not valid JSON", audit.OutcomeInvalidRequest},
		"half a surrogate pair":            {ask{path: "orders/encrypt", body: in(`{"encryptionContext":{"a":"\ud800"}}`)}, 400, "BadRequest", "spec.encryptionContext.a", "not valid JSON", audit.OutcomeInvalidRequest},
		"no kind":                          {ask{path: "orders/encrypt", body: `{"spec":{}}`}, 400, "BadRequest", "apiVersion", "missing", audit.OutcomeInvalidRequest},
		"another kind":                     {ask{path: "orders/encrypt", body: request("DecryptRequest", spec{"ciphertext": ciphertext})}, 400, "BadRequest", "kind", `"DecryptRequest", want "EncryptRequest"`, audit.OutcomeInvalidRequest},
		"another version":                  {ask{path: "orders/encrypt", body: `{"apiVersion":"crypto.keywright.dev/v1","kind":"EncryptRequest"}`}, 400, "BadRequest", "apiVersion", `want "crypto.keywright.dev/v1alpha1"`, audit.OutcomeInvalidRequest},
		"an unknown field":                 {ask{path: "orders/encrypt", body: in(`{"plainText":""}`)}, 400, "BadRequest", "spec.plainText", "spelling", audit.OutcomeInvalidRequest},
		"a field given twice":              {ask{path: "orders/encrypt", body: in(`{"plaintext":"","plaintext":""}`)}, 400, "BadRequest", "spec.plaintext", "twice", audit.OutcomeInvalidRequest},
		"bad base64":                       {ask{path: "orders/encrypt", body: in(`{"plaintext":"a_b="}`)}, 400, "BadRequest", "spec.plaintext", "base64", audit.OutcomeInvalidRequest},
		"base64 with a line break":         {ask{path: "orders/encrypt", body: in(`{"plaintext":"aGVs\nbG8="}`)}, 400, "BadRequest", "spec.plaintext", "base64", audit.OutcomeInvalidRequest},
		"bad base64 in a batch":            {ask{path: "orders/encrypt", body: in(`{"items":[{},{"plaintext":"!"}]}`)}, 400, "BadRequest", "spec.items[1].plaintext", "base64", audit.OutcomeInvalidRequest},
		"a plaintext that is a number":     {ask{path: "orders/encrypt", body: in(`{"plaintext":7}`)}, 400, "BadRequest", "spec.plaintext", "base64", audit.OutcomeInvalidRequest},
		"items that are no list":           {ask{path: "orders/encrypt", body: in(`{"items":{}}`)}, 400, "BadRequest", "spec.items", "array of objects", audit.OutcomeInvalidRequest},
		"items of null":                    {ask{path: "orders/encrypt", body: in(`{"items":[null]}`)}, 400, "BadRequest", "spec.items", "array of objects", audit.OutcomeInvalidRequest},
		"no items":                         {ask{path: "orders/encrypt", body: in(`{"items":[]}`)}, 400, "BadRequest", "spec.items", "from 1 to 1000", audit.OutcomeInvalidRequest},
		"items and a single field":         {ask{path: "orders/encrypt", body: in(`{"items":[{}],"plaintext":""}`)}, 400, "BadRequest", "spec.items", "not both", audit.OutcomeInvalidRequest},
		"1001 items":                       {ask{path: "orders/encrypt", body: many(1001)}, 413, "TooLarge", "spec.items", "at most 1000", audit.OutcomeTooLarge},
		"a context given as a list":        {ask{path: "orders/encrypt", body: in(`{"encryptionContext":[]}`)}, 400, "BadRequest", "spec.encryptionContext", "object of strings", audit.OutcomeInvalidRequest},
		"a context of numbers":             {ask{path: "orders/encrypt", body: in(`{"encryptionContext":{"a":1}}`)}, 400, "BadRequest", "spec.encryptionContext", "object of strings", audit.OutcomeInvalidRequest},
		"a context of nulls":               {ask{path: "orders/encrypt", body: in(`{"encryptionContext":{"a":null}}`)}, 400, "BadRequest", "spec.encryptionContext", "object of strings", audit.OutcomeInvalidRequest},
		"a context past 8 KiB":             {ask{path: "orders/encrypt", body: request("EncryptRequest", contextOf(8184))}, 413, "TooLarge", "spec.encryptionContext", "8192 bytes", audit.OutcomeTooLarge},
		"keySpec and numberOfBytes":        {ask{path: "orders/generatedatakey", body: request("DataKeyRequest", spec{"keySpec": "AES_256", "numberOfBytes": 32})}, 400, "BadRequest", "spec.numberOfBytes", "not both", audit.OutcomeInvalidRequest},
		"an unknown keySpec":               {ask{path: "orders/generatedatakey", body: request("DataKeyRequest", spec{"keySpec": "AES_512"})}, 400, "BadRequest", "spec.keySpec", `"AES_512", want "AES_256" or "AES_128"`, audit.OutcomeInvalidRequest},
		"a key of no bytes":                {ask{path: "orders/generatedatakey", body: request("DataKeyRequest", spec{"numberOfBytes": 0})}, 400, "BadRequest", "spec.numberOfBytes", "from 1 to 1024", audit.OutcomeInvalidRequest},
		"a key of 1025 bytes":              {ask{path: "orders/generatedatakey", body: request("DataKeyRequest", spec{"numberOfBytes": 1025})}, 400, "BadRequest", "spec.numberOfBytes", "from 1 to 1024", audit.OutcomeInvalidRequest},
		"half a byte":                      {ask{path: "orders/generatedatakey", body: request("DataKeyRequest", spec{"numberOfBytes": 0.5})}, 400, "BadRequest", "spec.numberOfBytes", "whole number", audit.OutcomeInvalidRequest},
		"more bytes than a number holds":   {ask{path: "orders/generatedatakey", body: request("DataKeyRequest", spec{"numberOfBytes": 1 << 40})}, 400, "BadRequest", "spec.numberOfBytes", "whole number", audit.OutcomeInvalidRequest},
		"a destination without name":       {ask{path: "orders/reencrypt", body: request("ReEncryptRequest", spec{"ciphertext": ciphertext, "destinationKey": spec{}})}, 400, "BadRequest", "spec.destinationKey.name", "required", audit.OutcomeInvalidRequest},
		"a destination that is no name":    {ask{path: "orders/reencrypt", body: request("ReEncryptRequest", spec{"ciphertext": ciphertext, "destinationKey": spec{"name": "a/b"}})}, 400, "BadRequest", "spec.destinationKey.name", "not the name", audit.OutcomeInvalidRequest},
		"a destination without permission": {ask{path: "orders/reencrypt", body: request("ReEncryptRequest", spec{"ciphertext": ciphertext, "destinationKey": spec{"name": "forbidden"}})}, 403, "Forbidden", "", `"encryptionkeys/reencryptto"`, audit.OutcomeForbidden},

		"Edge06: a plaintext of 64 KiB and a byte":        {ask{path: "orders/encrypt", body: request("EncryptRequest", spec{"plaintext": make([]byte, 64<<10+1)})}, 413, "TooLarge", "spec.plaintext", "generate a data key", audit.OutcomeTooLarge},
		"Edge06: a ciphertext past all ciphertexts":       {ask{path: "orders/decrypt", body: request("DecryptRequest", spec{"ciphertext": make([]byte, 66<<10)})}, 413, "TooLarge", "spec.ciphertext", "at most", audit.OutcomeTooLarge},
		"Edge01: a context key given twice":               {ask{path: "orders/encrypt", body: in(`{"encryptionContext":{"a":"1","a":"1"}}`)}, 400, "BadRequest", "spec.encryptionContext.a", "twice", audit.OutcomeInvalidRequest},
		"Edge01: a context key given twice, once escaped": {ask{path: "orders/encrypt", body: in(`{"encryptionContext":{"a":"1","\u0061":"1"}}`)}, 400, "BadRequest", "spec.encryptionContext.a", "twice", audit.OutcomeInvalidRequest},
		"Edge04: another key's ciphertext":                {ask{path: "archive/decrypt", body: request("DecryptRequest", spec{"ciphertext": ciphertext})}, 400, "IncorrectKey", "spec.ciphertext", "not made by this key", audit.OutcomeIncorrectKey},
		"Edge04: another encryption context":              {ask{path: "orders/decrypt", body: request("DecryptRequest", spec{"ciphertext": ciphertext})}, 400, "InvalidCiphertext", "spec.ciphertext", "cannot be opened", audit.OutcomeInvalidCiphertext},
		"Edge04: no ciphertext":                           {ask{path: "orders/decrypt", body: request("DecryptRequest", spec{})}, 400, "InvalidCiphertext", "spec.ciphertext", "cannot be opened", audit.OutcomeInvalidCiphertext},
		"Edge04: permission before the wrong key":         {ask{as: "mallory", path: "archive/decrypt", body: request("DecryptRequest", spec{"ciphertext": ciphertext})}, 403, "Forbidden", "", "", audit.OutcomeForbidden},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before, begin := r.journal.len(), time.Now()
			p := r.do(t, test.ask)
			if took := time.Since(begin); took > time.Second {
				t.Errorf("took %v", took)
			}
			if p.code != test.code {
				t.Fatalf("code %d, want %d: %s", p.code, test.code, p.body)
			}
			s := p.status(t)
			if s.Reason != test.reason || !strings.Contains(s.Message, test.message) {
				t.Errorf("reason %q, message %q", s.Reason, s.Message)
			}
			field := ""
			if s.Details != nil && len(s.Details.Causes) == 1 {
				field = s.Details.Causes[0].Field
			}
			if field != test.field {
				t.Errorf("field %q, want %q", field, test.field)
			}
			if p.header.Get("Content-Type") != "application/json" || p.header.Get("Cache-Control") != "no-store" || p.header.Get("Audit-Id") == "" {
				t.Errorf("headers %v", p.header)
			}
			if retry := p.code == 503 || p.code == 429; (p.header.Get("Retry-After") != "") != retry || retry && s.Details.RetryAfterSeconds != 1 {
				t.Errorf("Retry-After %q of %s", p.header.Get("Retry-After"), p.body)
			}
			if challenge := p.header.Get("WWW-Authenticate"); (challenge != "") != (p.code == 401) {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
			if test.outcome == "" {
				if r.journal.len() != before {
					t.Errorf("audited %+v", r.journal.last(t))
				}
				return
			}
			event := r.journal.last(t)
			if r.journal.len() != before+1 || event.Outcome != test.outcome || event.RequestID != p.header.Get("Audit-Id") || event.Reason == "" || event.SourceAddress == "" || event.Namespace != "shop" {
				t.Errorf("%d events, the last is %+v", r.journal.len()-before, event)
			}
			if (event.Principal == nil) != (test.code == 401 || test.ask.as == "stranger-in-outage") {
				t.Errorf("principal %v", event.Principal)
			}
		})
	}
}

// TestEdge04_UnknownKeyWithoutPermission also says that nothing in the answer but
// the name tells an existing key from one that is not there.
func TestEdge04_UnknownKeyWithoutPermission(t *testing.T) {
	r := newRig(t, setup{})
	ciphertext := r.ciphertextOf(t, "orders", "hello")
	for operation, body := range map[string]string{
		"encrypt":         request("EncryptRequest", spec{}),
		"decrypt":         request("DecryptRequest", spec{"ciphertext": ciphertext}),
		"generatedatakey": request("DataKeyRequest", spec{}),
		"reencrypt":       request("ReEncryptRequest", spec{"ciphertext": ciphertext}),
	} {
		ghost := r.do(t, ask{as: "mallory", path: "ghosts/" + operation, body: body})
		for _, existing := range []string{"orders", "off", "lost", "archive"} {
			p := r.do(t, ask{as: "mallory", path: existing + "/" + operation, body: body})
			want := strings.ReplaceAll(string(ghost.body), "ghosts", existing)
			if p.code != 403 || ghost.code != 403 || string(p.body) != want {
				t.Errorf("%s with %s:\n%d %s\nwant\n%d %s", operation, existing, p.code, p.body, ghost.code, want)
			}
		}
	}
}

// TestEdge02_EveryFlippedBit flips every bit of a short ciphertext, and
// TestEdge04_Truncated cuts it everywhere: one answer for all.
func TestEdge02_EveryFlippedBit(t *testing.T) {
	r := newRig(t, setup{})
	ciphertext := r.ciphertextOf(t, "orders", "hello")
	bodies := map[string]bool{}
	for i := range len(ciphertext) * 8 {
		flipped := append([]byte(nil), ciphertext...)
		flipped[i/8] ^= 1 << (i % 8)
		p := r.decrypt(t, "orders", flipped)
		// The key id in the header is the one thing that may be told apart.
		if reason := p.status(t).Reason; i/8 >= 2 && i/8 < 18 {
			if p.code != 400 || reason != "IncorrectKey" {
				t.Errorf("bit %d: %d %s", i, p.code, p.body)
			}
		} else {
			bodies[string(p.body)] = true
			if p.code != 400 || reason != "InvalidCiphertext" {
				t.Errorf("bit %d: %d %s", i, p.code, p.body)
			}
		}
	}
	if len(bodies) != 1 {
		t.Errorf("%d different answers", len(bodies))
	}
}

func TestEdge04_Truncated(t *testing.T) {
	r := newRig(t, setup{})
	ciphertext := r.ciphertextOf(t, "orders", "hello")
	bodies := map[string]bool{}
	for n := range ciphertext {
		p := r.decrypt(t, "orders", ciphertext[:n])
		bodies[string(p.body)] = true
		if reason := p.status(t).Reason; p.code != 400 || reason != "InvalidCiphertext" {
			t.Errorf("%d bytes: %d %s", n, p.code, p.body)
		}
	}
	if len(bodies) != 1 {
		t.Errorf("%d different answers", len(bodies))
	}
}

func (r *rig) decrypt(t testing.TB, key string, ciphertext []byte) reply {
	t.Helper()
	return r.do(t, ask{path: key + "/decrypt", body: request("DecryptRequest", spec{
		"ciphertext": base64.StdEncoding.EncodeToString(ciphertext), "encryptionContext": spec{"order": "17"}})})
}
