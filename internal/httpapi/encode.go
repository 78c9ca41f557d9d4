package httpapi

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/kms"
)

// appendAnswer writes the answer to a request of the kind.
func appendAnswer(b []byte, kind string, results []kms.Result, batch bool) []byte {
	b = append(b, `{"kind":"`...)
	b = append(b, kind...)
	b = append(b, `","apiVersion":"`...)
	b = append(b, apiVersion...)
	b = append(b, `","status":`...)
	if !batch {
		b = appendResult(b, &results[0])
		return append(b, '}', '\n')
	}
	b = append(b, `{"items":`...)
	separator := byte('[')
	for i := range results {
		b = append(b, separator)
		b = appendResult(b, &results[i])
		separator = ','
	}
	return append(b, ']', '}', '}', '\n')
}

// appendResult writes what one item got. The fields have the order of the API
// types; every operation sets some of them.
func appendResult(b []byte, r *kms.Result) []byte {
	b = append(b, '{')
	if r.Err != nil {
		b = appendItemError(b, itemError(r.Err))
		return append(b, '}')
	}
	if r.Plaintext != nil {
		b = append(b, `"plaintext":`...)
		b = appendBase64(b, r.Plaintext)
		b = append(b, ',')
	}
	if r.Ciphertext != nil {
		b = append(b, `"ciphertext":`...)
		b = appendBase64(b, r.Ciphertext)
		b = append(b, ',')
	}
	if r.Source.Version != 0 {
		b = append(b, `"sourceKeyID":`...)
		b = appendKeyID(b, r.Source.Key)
		b = append(b, `,"sourceKeyVersion":`...)
		b = strconv.AppendUint(b, uint64(r.Source.Version), 10)
		b = append(b, ',')
	}
	b = append(b, `"keyID":`...)
	b = appendKeyID(b, r.Key.Key)
	b = append(b, `,"keyVersion":`...)
	b = strconv.AppendUint(b, uint64(r.Key.Version), 10)
	return append(b, '}')
}

func appendItemError(b []byte, e *cryptov1alpha1.ItemError) []byte {
	b = append(b, `"error":{"code":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	b = append(b, `,"reason":"`...)
	b = append(b, e.Reason...)
	b = append(b, `","message":`...)
	// Messages are made of names that decode has checked to be UTF-8.
	b, _ = jsontext.AppendQuote(b, e.Message)
	return append(b, '}')
}

func appendBase64(b, value []byte) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, value)
	return append(b, '"')
}

// appendKeyID writes the canonical form of a UUID.
func appendKeyID(b []byte, id keystore.KeyID) []byte {
	b = append(b, '"')
	b = appendUUID(b, id)
	return append(b, '"')
}

func appendUUID(b []byte, id [16]byte) []byte {
	start := 0
	for _, end := range [...]int{4, 6, 8, 10, 16} {
		if start > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, id[start:end])
		start = end
	}
	return b
}

// answerSize is at least how long the answer will be, so that it never moves to a
// larger buffer and leaves plaintext behind in one that nobody clears.
func answerSize(results []kms.Result) int {
	size := 256
	for i := range results {
		size += 256 + base64.StdEncoding.EncodedLen(len(results[i].Plaintext)) + base64.StdEncoding.EncodedLen(len(results[i].Ciphertext))
		if err := results[i].Err; err != nil {
			size += 2 * len(err.Error())
		}
	}
	return size
}
