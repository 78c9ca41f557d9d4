package audit

import (
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apiserver/pkg/authentication/user"
)

// What kube-apiserver says of the pod that a service account token is bound to, in
// the extra of a user.
const (
	podNameExtra  = "authentication.kubernetes.io/pod-name"
	podUIDExtra   = "authentication.kubernetes.io/pod-uid"
	nodeNameExtra = "authentication.kubernetes.io/node-name"
)

// appendEvent appends the line of an event. It is written by hand because it is on
// the path of every request, and so that nothing gets into a line that is not
// listed here.
func appendEvent(b []byte, e *Event) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, '"')
	b = appendField(b, "requestID", e.RequestID)
	b = appendField(b, "operation", e.Operation)
	b = appendField(b, "decision", string(e.Decision))
	b = appendField(b, "reason", e.Reason)
	b = appendField(b, "outcome", e.Outcome)
	b = appendPrincipal(b, e.Principal)
	b = appendField(b, "sourceAddress", e.SourceAddress)
	b = appendField(b, "namespace", e.Namespace)
	b = appendField(b, "name", e.Name)
	b = appendField(b, "keyID", e.KeyID)
	b = appendNumber(b, "keyVersion", int64(e.KeyVersion))
	b = appendField(b, "destinationNamespace", e.DestinationNamespace)
	b = appendField(b, "destinationName", e.DestinationName)
	b = appendField(b, "destinationKeyID", e.DestinationKeyID)
	b = appendNumber(b, "destinationKeyVersion", int64(e.DestinationKeyVersion))
	b = appendContext(b, "encryptionContext", e.EncryptionContext)
	b = appendContext(b, "destinationEncryptionContext", e.DestinationEncryptionContext)
	b = appendNumber(b, "items", int64(e.Items))
	b = appendNumber(b, "failed", int64(e.Failed))
	b = append(b, `,"latencySeconds":`...)
	b = strconv.AppendFloat(b, e.Latency.Round(time.Microsecond).Seconds(), 'f', -1, 64)
	return append(b, '}', '\n')
}

func appendPrincipal(b []byte, u user.Info) []byte {
	if u == nil {
		return b
	}
	b = append(b, `,"principal":{"user":`...)
	b = appendString(b, u.GetName())
	b = appendField(b, "uid", u.GetUID())
	if groups := u.GetGroups(); len(groups) > 0 {
		b = append(b, `,"groups":[`...)
		for i, g := range groups {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, g)
		}
		b = append(b, ']')
	}
	b = appendField(b, "pod", extra(u, podNameExtra))
	b = appendField(b, "podUID", extra(u, podUIDExtra))
	b = appendField(b, "node", extra(u, nodeNameExtra))
	return append(b, '}')
}

func extra(u user.Info, key string) string {
	if values := u.GetExtra()[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// appendContext writes the pairs in order of the keys, as they are authenticated.
func appendContext(b []byte, name string, context map[string]string) []byte {
	if len(context) == 0 {
		return b
	}
	// Contexts have a handful of pairs; the array keeps their keys off the heap.
	var few [8]string
	keys := few[:0]
	for k := range context {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	separator := byte('{')
	for _, k := range keys {
		b = append(b, separator)
		b = appendString(b, k)
		b = append(b, ':')
		b = appendString(b, context[k])
		separator = ','
	}
	return append(b, '}')
}

// appendField leaves out what is empty. Names need no escaping.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

func appendNumber(b []byte, name string, value int64) []byte {
	if value == 0 {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, value, 10)
}

// appendString writes a JSON string (RFC 8259 section 7) that is one line on every
// terminal: whatever controls a terminal, ends a line or turns the direction of text
// is escaped, too. Bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	plain := 0 // start of what needs no escaping
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		invalid := r == utf8.RuneError && size == 1
		if !invalid && c >= utf8.RuneSelf && unicode.IsPrint(r) {
			i += size
			continue
		}
		b = append(b, s[plain:i]...)
		switch {
		case invalid:
			b = append(b, "\ufffd"...)
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		default:
			b = appendEscaped(b, r)
		}
		i += size
		plain = i
	}
	b = append(b, s[plain:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, r rune) []byte {
	if r > 0xffff {
		// A UTF-16 surrogate pair.
		r -= 0x10000
		b = appendEscaped(b, 0xd800+r>>10)
		return appendEscaped(b, 0xdc00+r&0x3ff)
	}
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&0xf], hex[r>>8&0xf], hex[r>>4&0xf], hex[r&0xf])
}
