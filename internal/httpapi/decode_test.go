package httpapi

import (
	stdjson "encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
)

// FuzzDecodeRequest proves that decoding does not panic, and that what is accepted
// means the same to a reader that knows nothing of our rules: decoded, encoded by
// encoding/json and decoded again it is the same request.
func FuzzDecodeRequest(f *testing.F) {
	head := `{"apiVersion":"crypto.keywright.dev/v1alpha1","kind":"`
	for _, seed := range []string{
		head + `EncryptRequest","spec":{"plaintext":"aGVsbG8=","encryptionContext":{"a":"b","ü":"\u00fc"}}}`,
		head + `EncryptRequest","spec":{"items":[{"plaintext":""},{}]}}`,
		head + `DecryptRequest","spec":{"ciphertext":"AQEBAQ==","encryptionContext":null}}`,
		head + `DataKeyRequest","spec":{"keySpec":"AES_128","withoutPlaintext":true}}`,
		head + `DataKeyRequest","spec":{"items":[{"numberOfBytes":17}]},"status":{"keyVersion":1}}`,
		head + `ReEncryptRequest","spec":{"ciphertext":"AQ==","destinationKey":{"name":"x"},"sourceEncryptionContext":{"":""}}}`,
		head + `EncryptRequest","spec":{"encryptionContext":{"a":"1","a":"2"}}}`,
		head + `EncryptRequest","spec":{"plaintext":"AR=="}}`,
		`{}`, `null`, `[`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fuzzDecode[cryptov1alpha1.EncryptRequest](t, body, cryptov1alpha1.EncryptRequestKind, func(r *cryptov1alpha1.EncryptRequest) *metav1.TypeMeta { return &r.TypeMeta })
		fuzzDecode[cryptov1alpha1.DecryptRequest](t, body, cryptov1alpha1.DecryptRequestKind, func(r *cryptov1alpha1.DecryptRequest) *metav1.TypeMeta { return &r.TypeMeta })
		fuzzDecode[cryptov1alpha1.DataKeyRequest](t, body, cryptov1alpha1.DataKeyRequestKind, func(r *cryptov1alpha1.DataKeyRequest) *metav1.TypeMeta { return &r.TypeMeta })
		fuzzDecode[cryptov1alpha1.ReEncryptRequest](t, body, cryptov1alpha1.ReEncryptRequestKind, func(r *cryptov1alpha1.ReEncryptRequest) *metav1.TypeMeta { return &r.TypeMeta })
		for _, o := range operations {
			decoded, err := o.decode(body)
			if (decoded == nil) == (err == nil) {
				t.Fatalf("%s: request %v and error %v", o.name, decoded, err)
			}
			if err != nil {
				status(err, "")
			}
		}
	})
}

func fuzzDecode[T any](t *testing.T, body []byte, kind string, meta func(*T) *metav1.TypeMeta) {
	t.Helper()
	var first, second, lenient T
	if err := decode(body, &first, meta(&first), kind); err != nil {
		return
	}
	encoded, err := stdjson.Marshal(&first)
	if err != nil {
		t.Fatalf("encode what was decoded: %v", err)
	}
	if err := decode(encoded, &second, meta(&second), kind); err != nil {
		t.Fatalf("decode %s again: %v", encoded, err)
	}
	if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
	if err := stdjson.Unmarshal(body, &lenient); err != nil {
		t.Fatalf("encoding/json refuses what we accept: %v", err)
	}
	if diff := cmp.Diff(first, lenient, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("encoding/json reads %s", diff)
	}
}

func TestDecodeErrorRepeatsNoValue(t *testing.T) {
	const value = "VALUE-THAT-MAY-BE-SECRET"
	head := `{"apiVersion":"crypto.keywright.dev/v1alpha1","kind":"EncryptRequest","spec":`
	for _, spec := range []string{
		`{"plaintext":"` + value + `!"}`, `{"plaintext":{"a":"` + value + `"}}`, `"` + value + `"`, `{"items":"` + value + `"}`,
		`{"plaintext":` + value + `}`, `{"encryptionContext":"` + value + `"}`,
	} {
		_, err := decodeEncrypt([]byte(head + spec + "}"))
		if err == nil || strings.Contains(err.Error(), value) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestTranslationsAreWhole(t *testing.T) {
	for _, tr := range translations {
		if tr.kind == nil || tr.code < 400 || tr.reason == "" || tr.message == "" || !reflect.DeepEqual(translate(tr.kind), &tr) {
			t.Errorf("%+v", tr)
		}
		known := false
		for _, o := range outcomes {
			known = known || o == tr.outcome
		}
		if !known {
			t.Errorf("no metric for the outcome %q", tr.outcome)
		}
	}
}
