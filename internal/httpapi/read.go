package httpapi

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
)

// maxPooledBuffer bounds the buffers that are kept for requests to come.
const maxPooledBuffer = 256 << 10

// buffer holds a body or an answer.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 4<<10)} }}

// getBuffer returns an empty buffer with room for size bytes.
func getBuffer(size int) *buffer {
	b := buffers.Get().(*buffer)
	b.b = slices.Grow(b.b[:0], size)
	return b
}

// put clears the buffer, which may hold plaintext, and keeps it for the next one.
func (b *buffer) put() {
	clear(b.b)
	if cap(b.b) <= maxPooledBuffer {
		buffers.Put(b)
	}
}

// checkRequest looks at the request line and headers of an operation.
func checkRequest(r *http.Request) error {
	if r.Method != http.MethodPost {
		return errMethodNotAllowed
	}
	if r.ContentLength > cryptov1alpha1.MaxRequestBytes {
		return errBodyTooLarge
	}
	if !isJSON(r.Header) {
		return errUnsupportedMedia
	}
	if !acceptsJSON(r.Header["Accept"]) {
		return errNotAcceptable
	}
	return nil
}

var errBodyTooLarge = tooLarge("", fmt.Sprintf("the body has more than %d bytes; send several requests", cryptov1alpha1.MaxRequestBytes))

func isJSON(h http.Header) bool {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	switch contentType := h.Get("Content-Type"); contentType {
	case "", "application/json":
		return true
	default:
		media, parameters, err := mime.ParseMediaType(contentType)
		charset, ok := parameters["charset"]
		return err == nil && media == "application/json" && (!ok || strings.EqualFold(charset, "utf-8"))
	}
}

// acceptsJSON reports whether an Accept header (RFC 9110 section 12.5.1) allows
// JSON. Weights are not looked at: there is nothing to choose from.
func acceptsJSON(accept []string) bool {
	if len(accept) == 0 {
		return true
	}
	for _, line := range accept {
		for entry := range strings.SplitSeq(line, ",") {
			media, _, _ := strings.Cut(entry, ";")
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "", "*/*", "application/*", "application/json":
				return true
			}
		}
	}
	return false
}

// readRequest reads and decodes the body.
func readRequest(w http.ResponseWriter, r *http.Request, o *operation, admission *admission) (request, error) {
	if err := admission.reserve(r.ContentLength); err != nil {
		return nil, err
	}
	buffer := getBuffer(int(max(0, r.ContentLength)))
	defer buffer.put()
	if err := readBody(w, r, buffer); err != nil {
		return nil, err
	}
	return o.decode(buffer.b)
}

func readBody(w http.ResponseWriter, r *http.Request, buffer *buffer) error {
	body := r.Body
	if r.ContentLength < 0 {
		// A body of known length is cut off there by the server.
		body = http.MaxBytesReader(w, r.Body, cryptov1alpha1.MaxRequestBytes)
	}
	for {
		if len(buffer.b) == cap(buffer.b) {
			grow(buffer)
		}
		n, err := body.Read(buffer.b[len(buffer.b):cap(buffer.b)])
		buffer.b = buffer.b[:len(buffer.b)+n]
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		default:
			return bodyError(err)
		}
	}
}

func bodyError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errBodyTooLarge
	}
	// It came too slowly, or its end never came.
	return malformed("", "the body could not be read to its end in time")
}

// grow moves a body to a buffer of twice the size and clears the old one.
func grow(buffer *buffer) {
	old := buffer.b
	buffer.b = append(make([]byte, 0, max(4<<10, 2*cap(old))), old...)
	clear(old)
}

// requestID is the id that kube-apiserver gave the request, if it did, so that its
// audit log and ours can be joined; else a new one.
func requestID(r *http.Request, frontProxy bool) string {
	if frontProxy {
		if id, err := uuid.Parse(r.Header.Get("Audit-Id")); err == nil {
			return id.String()
		}
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never returns an error
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80 // version 4 of RFC 9562
	return string(appendUUID(make([]byte, 0, 36), id))
}

// sourceAddress is the peer of the connection; behind the front proxy it is the
// peer of kube-apiserver's.
func sourceAddress(r *http.Request, frontProxy bool) string {
	if frontProxy {
		forwarded := r.Header.Values("X-Forwarded-For")
		if len(forwarded) > 0 {
			hops := strings.Split(forwarded[len(forwarded)-1], ",")
			if last := strings.TrimSpace(hops[len(hops)-1]); net.ParseIP(last) != nil {
				return last
			}
		}
	}
	return r.RemoteAddr
}
