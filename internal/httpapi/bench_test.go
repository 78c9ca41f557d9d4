package httpapi_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"k8s.io/utils/clock"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
)

// sink is a response that is thrown away.
type sink struct {
	header http.Header
	code   int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(code int)        { s.code = code }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// repeated is one request, made again and again.
type repeated struct {
	request *http.Request
	body    []byte
	reader  bytes.Reader
	sink    sink
}

func newRepeated(path, body string) *repeated {
	r := httptest.NewRequest(http.MethodPost, prefix+path, nil)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer token-of-alice")
	p := &repeated{request: r, body: []byte(body), sink: sink{header: http.Header{}}}
	p.request.ContentLength = int64(len(body))
	p.request.Body = io.NopCloser(&p.reader)
	return p
}

func (p *repeated) serve(b *testing.B, handler http.Handler) {
	p.reader.Reset(p.body)
	clear(p.sink.header)
	handler.ServeHTTP(&p.sink, p.request)
	if p.sink.code != http.StatusOK {
		b.Fatalf("code %d", p.sink.code)
	}
}

// BenchmarkHandler is everything but the network: authentication by a fake that
// allocates a principal, authorization by a fake, the fake key store, and a real
// audit writer to nowhere.
func BenchmarkHandler(b *testing.B) {
	writer := audit.NewWriter(io.Discard, audit.Options{Overflow: audit.Block}, slog.New(slog.DiscardHandler), clock.RealClock{})
	b.Cleanup(func() { _ = writer.Close(b.Context()) })
	r := newRig(b, setup{sink: writer})
	for _, size := range []int{32, 4096} {
		plaintext := make([]byte, size)
		context := spec{"order": "17"}
		encrypt := request("EncryptRequest", spec{"plaintext": plaintext, "encryptionContext": context})
		ciphertext := r.ciphertextOf(b, "orders", string(plaintext))
		for _, test := range []struct{ name, path, body string }{
			{"encrypt", "orders/encrypt", encrypt},
			{"decrypt", "orders/decrypt", request("DecryptRequest", spec{"ciphertext": ciphertext, "encryptionContext": context})},
			{"generatedatakey", "orders/generatedatakey", request("DataKeyRequest", spec{"encryptionContext": context})},
		} {
			if test.name == "generatedatakey" && size != 32 {
				continue
			}
			b.Run(test.name+"/"+strconv.Itoa(size), func(b *testing.B) {
				p := newRepeated(test.path, test.body)
				b.ReportAllocs()
				for b.Loop() {
					p.serve(b, r.handler)
				}
			})
		}
		b.Run("echo/"+strconv.Itoa(size), func(b *testing.B) {
			p := newRepeated("orders/encrypt", encrypt)
			b.ReportAllocs()
			for b.Loop() {
				p.serve(b, http.HandlerFunc(echo))
			}
		})
	}
	batch := make([]spec, cryptov1alpha1.MaxItems)
	for i := range batch {
		batch[i] = spec{"plaintext": make([]byte, 32)}
	}
	b.Run("encrypt/batch1000x32", func(b *testing.B) {
		p := newRepeated("orders/encrypt", request("EncryptRequest", items(batch...)))
		b.ReportAllocs()
		for b.Loop() {
			p.serve(b, r.handler)
		}
	})
}

// echo is the bare handler to compare with.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}
