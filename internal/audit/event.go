package audit

import (
	"context"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Decision says whether the operation was allowed.
type Decision string

// The decisions.
const (
	// Allow is an operation that the principal may do.
	Allow Decision = "allow"
	// Deny is an operation that the principal may not do, or about which nobody
	// could say.
	Deny Decision = "deny"
)

// Outcome classes of an operation. They are the label of the request metrics, too.
const (
	OutcomeSuccess           = "success"
	OutcomePartial           = "partial" // a batch in which some items failed
	OutcomeUnauthorized      = "unauthorized"
	OutcomeForbidden         = "forbidden"
	OutcomeNotFound          = "not_found"
	OutcomeDisabled          = "disabled"
	OutcomeInvalidCiphertext = "invalid_ciphertext"
	OutcomeIncorrectKey      = "incorrect_key"
	OutcomeInvalidRequest    = "invalid_request"
	OutcomeTooLarge          = "too_large"
	OutcomeThrottled         = "throttled"
	OutcomeUnavailable       = "unavailable"
	OutcomeError             = "error"
)

// Event is one operation. It has no field for plaintext, ciphertext or tokens.
type Event struct {
	Time      time.Time
	RequestID string
	Operation string
	Decision  Decision
	// Reason says why the decision is what it is, in a few words.
	Reason  string
	Outcome string

	// Principal is who asked; nil if nobody could be authenticated.
	Principal user.Info
	// SourceAddress is the peer of the connection, host and port.
	SourceAddress string

	Namespace  string
	Name       string
	KeyID      string
	KeyVersion uint32
	// DestinationNamespace and the rest are set for reencrypt.
	DestinationNamespace  string
	DestinationName       string
	DestinationKeyID      string
	DestinationKeyVersion uint32

	// EncryptionContext of a single operation; for reencrypt the source's.
	EncryptionContext            map[string]string
	DestinationEncryptionContext map[string]string

	// Items and Failed count a batch; zero for a single operation.
	Items  int
	Failed int

	Latency time.Duration
}

// Sink takes events. It is safe for concurrent use.
type Sink interface {
	// Record hands an event over. It may wait while the sink is behind, at most
	// until ctx is done; an error means that the event is lost, and the operation
	// must not be answered with success.
	Record(ctx context.Context, event *Event) error
}
