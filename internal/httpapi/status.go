package httpapi

import (
	"errors"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authn"
	"github.com/keywright/keywright/internal/kms"
)

// Kinds of errors that this package adds to those of kms and authn.
var (
	errNoSuchPath       = errors.New("no such path")
	errMethodNotAllowed = errors.New("method not allowed")
	errNotAcceptable    = errors.New("not acceptable")
	errUnsupportedMedia = errors.New("unsupported media type")
	errThrottled        = errors.New("too many requests")
	errInternal         = errors.New("internal error")
)

// Reasons that Kubernetes has no word for.
const (
	reasonDisabled          metav1.StatusReason = "Disabled"
	reasonInvalidCiphertext metav1.StatusReason = "InvalidCiphertext"
	reasonIncorrectKey      metav1.StatusReason = "IncorrectKey"
	reasonTooLarge          metav1.StatusReason = "TooLarge"
	reasonUnavailable       metav1.StatusReason = "Unavailable"
)

// translation is what an error is over HTTP.
type translation struct {
	kind       error
	code       int
	reason     metav1.StatusReason
	outcome    string
	retryAfter int32 // seconds; 0 says nothing
	// message is used when the error has none for callers.
	message string
}

// translations is the only place that knows which error has which code.
var translations = [...]translation{
	{kms.ErrForbidden, http.StatusForbidden, metav1.StatusReasonForbidden, audit.OutcomeForbidden, 0, "forbidden"},
	{kms.ErrNotFound, http.StatusNotFound, metav1.StatusReasonNotFound, audit.OutcomeNotFound, 0, "not found"},
	{kms.ErrDisabled, http.StatusConflict, reasonDisabled, audit.OutcomeDisabled, 0, "the key is disabled"},
	{kms.ErrInvalidCiphertext, http.StatusBadRequest, reasonInvalidCiphertext, audit.OutcomeInvalidCiphertext, 0, "invalid ciphertext"},
	{kms.ErrIncorrectKey, http.StatusBadRequest, reasonIncorrectKey, audit.OutcomeIncorrectKey, 0, "incorrect key"},
	{kms.ErrInvalidRequest, http.StatusBadRequest, metav1.StatusReasonBadRequest, audit.OutcomeInvalidRequest, 0, "invalid request"},
	{kms.ErrTooLarge, http.StatusRequestEntityTooLarge, reasonTooLarge, audit.OutcomeTooLarge, 0, "too large"},
	{kms.ErrUnavailable, http.StatusServiceUnavailable, reasonUnavailable, audit.OutcomeUnavailable, 1, "unavailable; try again"},
	{authn.ErrUnauthenticated, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, audit.OutcomeUnauthorized, 0,
		"Unauthorized: send a valid token for the audience keywright in the header Authorization: Bearer"},
	{authn.ErrUnavailable, http.StatusServiceUnavailable, reasonUnavailable, audit.OutcomeUnavailable, 1,
		"it cannot be checked at the moment who you are; try again"},
	{errThrottled, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, audit.OutcomeThrottled, 1, "too many requests; try again"},
	{errNoSuchPath, http.StatusNotFound, metav1.StatusReasonNotFound, audit.OutcomeInvalidRequest, 0,
		"the server could not find the requested resource"},
	{errMethodNotAllowed, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, audit.OutcomeInvalidRequest, 0,
		"the server does not allow this method on the requested resource"},
	{errNotAcceptable, http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, audit.OutcomeInvalidRequest, 0,
		"only application/json can be answered"},
	{errUnsupportedMedia, http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, audit.OutcomeInvalidRequest, 0,
		"send the request as application/json, not compressed"},
	{errInternal, http.StatusInternalServerError, metav1.StatusReasonInternalError, audit.OutcomeError, 0, "internal error"},
}

// translate finds what an error is; what nobody has listed is an internal error.
func translate(err error) *translation {
	for i := range translations {
		if errors.Is(err, translations[i].kind) {
			return &translations[i]
		}
	}
	return &translations[len(translations)-1]
}

// explain returns the message and field that callers may see.
func (t *translation) explain(err error) (message, field string) {
	var e *kms.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message, e.Field
	}
	return t.message, ""
}

// itemError is an error of one item of a batch.
func itemError(err error) *cryptov1alpha1.ItemError {
	t := translate(err)
	message, _ := t.explain(err)
	return &cryptov1alpha1.ItemError{Code: int32(t.code), Reason: t.reason, Message: message} //nolint:gosec // an HTTP code
}

// status is an error of a whole request about the key name, which may be empty.
func status(err error, name string) *metav1.Status {
	t := translate(err)
	message, field := t.explain(err)
	s := &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure,
		Message:  message,
		Reason:   t.reason,
		Code:     int32(t.code), //nolint:gosec // an HTTP code
	}
	if name != "" || field != "" || t.retryAfter != 0 {
		s.Details = &metav1.StatusDetails{Name: name, RetryAfterSeconds: t.retryAfter}
		if name != "" {
			s.Details.Group, s.Details.Kind = cryptov1alpha1.GroupVersion.Group, "encryptionkeys"
		}
		if field != "" {
			s.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Message: message, Field: field}}
		}
	}
	return s
}

// errorHeaders sets the headers that go with an error.
func (t *translation) errorHeaders(h http.Header) {
	if t.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(t.retryAfter)))
	}
	switch t.code {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	}
}

// inField says where in the request an error of a kms item is.
func inField(err error) error {
	var e *kms.Error
	if errors.As(err, &e) && e.Field != "" {
		placed := *e
		placed.Field = "spec." + e.Field
		return &placed
	}
	return err
}

func malformed(field, message string) error {
	return &kms.Error{Kind: kms.ErrInvalidRequest, Field: field, Message: message}
}

func tooLarge(field, message string) error {
	return &kms.Error{Kind: kms.ErrTooLarge, Field: field, Message: message}
}
