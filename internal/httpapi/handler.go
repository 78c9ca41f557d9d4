package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authn"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/kms"
)

// Authenticator says who sends a request. *authn.Authenticator is one.
type Authenticator interface {
	// Authenticate does not read the body. Errors: authn.ErrUnauthenticated,
	// authn.ErrUnavailable.
	Authenticate(r *http.Request) (authn.Identity, error)
}

// Options of a Handler.
type Options struct {
	Limits Limits
	// Ready is nil, or why no requests should be sent here.
	Ready func(context.Context) error
	// Serving is nil, or why this replica must not answer crypto requests. It is
	// asked by every one of them.
	Serving func() error
	// Registry takes the metrics.
	Registry prometheus.Registerer
	Log      *slog.Logger
}

// Handler is the crypto endpoint.
type Handler struct {
	service       *kms.Service
	authenticator Authenticator
	sink          audit.Sink
	options       Options
	clock         clock.PassiveClock

	limiter   *limiter
	metrics   *metrics
	health    http.Handler
	discovery map[string][]byte
	// complaints keeps a failure that all requests share from filling the log.
	complaints rate.Sometimes
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler. The sink is the one that service audits to.
func New(service *kms.Service, authenticator Authenticator, sink audit.Sink, options Options, clock clock.PassiveClock) *Handler {
	h := &Handler{
		service:       service,
		authenticator: authenticator,
		sink:          sink,
		options:       options,
		clock:         clock,
		limiter:       newLimiter(options.Limits, clock),
		health:        NewHealth(options.Ready),
		discovery:     discovery(),
		complaints:    rate.Sometimes{First: 1, Interval: time.Second},
	}
	h.metrics = newMetrics(options.Registry, func() float64 { return float64(h.limiter.inFlight.Load()) })
	return h
}

// Values of headers that are the same in every answer. They are shared: nobody may
// append to them.
var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
	noSniff  = []string{"nosniff"}
)

// exchange is one request and what is found out about it on the way.
type exchange struct {
	begin     time.Time
	identity  authn.Identity
	requestID string
	source    string
	// operation is nil if the path names none.
	operation *operation
	key       keyring.Name
	// audited says that package kms has been asked, which audits.
	audited bool
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/livez", "/readyz", "/healthz":
		h.health.ServeHTTP(w, r)
		return
	}
	x := &exchange{begin: h.clock.Now()}
	outcome, err := h.serve(w, r, x)
	if err != nil {
		if errors.Is(err, errInternal) {
			// It may have been on the way to its audit line or past it. One line too many
			// is better than none.
			x.audited = false
		}
		outcome = h.refuse(w, r, x, err)
	}
	if x.operation != nil {
		h.metrics.observe(x.operation.name, outcome, h.clock.Since(x.begin))
	}
}

// serve answers the request or returns an error and has written nothing.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, x *exchange) (outcome string, err error) {
	defer h.recover(&err)
	x.operation, x.key, _ = findOperation(r.URL.Path)
	x.identity, err = h.authenticator.Authenticate(r)
	x.requestID = requestID(r, x.identity.FrontProxy)
	x.source = sourceAddress(r, x.identity.FrontProxy)
	if err != nil {
		return "", err
	}
	if x.operation == nil {
		return "", h.serveDiscovery(w, r, x)
	}
	if err := checkRequest(r); err != nil {
		return "", err
	}
	if err := h.options.Serving(); err != nil {
		return "", &kms.Error{Kind: kms.ErrUnavailable, Cause: err,
			Message: "this replica has lost contact with kube-apiserver and cannot know which keys are still enabled; try again"}
	}
	admission, err := h.limiter.admit(x.identity.Principal.GetName())
	if err != nil {
		return "", err
	}
	defer admission.release()
	return h.serveOperation(w, r, x, &admission)
}

func (h *Handler) serveOperation(w http.ResponseWriter, r *http.Request, x *exchange, admission *admission) (string, error) {
	request, err := readRequest(w, r, x.operation, admission)
	if err != nil {
		return "", err
	}
	defer request.wipe()
	x.audited = true
	caller := kms.Caller{Principal: x.identity.Principal, SourceAddress: x.source, RequestID: x.requestID}
	results, err := request.do(r.Context(), h.service, caller, x.key)
	if err != nil {
		return "", err
	}
	defer wipe(results)
	if !request.batch() && results[0].Err != nil {
		return "", inField(results[0].Err)
	}
	buffer := getBuffer(answerSize(results))
	defer buffer.put()
	buffer.b = appendAnswer(buffer.b, x.operation.kind, results, request.batch())
	answer(w, x, http.StatusOK, buffer.b)
	return outcomeOf(results), nil
}

// outcomeOf is the outcome class of an answer with results, as package kms audits
// it.
func outcomeOf(results []kms.Result) string {
	if len(results) == 1 {
		return kms.Outcome(results[0].Err)
	}
	for i := range results {
		if results[i].Err != nil {
			return audit.OutcomePartial
		}
	}
	return audit.OutcomeSuccess
}

func wipe(results []kms.Result) {
	for i := range results {
		clear(results[i].Plaintext)
	}
}

func (h *Handler) serveDiscovery(w http.ResponseWriter, r *http.Request, x *exchange) error {
	body, ok := h.discovery[r.URL.Path]
	switch {
	case !ok:
		return errNoSuchPath
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return errMethodNotAllowed
	}
	answer(w, x, http.StatusOK, body)
	return nil
}

// refuse answers with an error, audits it if nobody has, and returns its outcome
// class.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, x *exchange, err error) string {
	t := translate(err)
	if t.code >= http.StatusInternalServerError {
		h.complain(r.Context(), x, err)
	}
	if x.operation != nil && !x.audited {
		h.auditRefusal(r.Context(), x, t)
	}
	t.errorHeaders(w.Header())
	answer(w, x, t.code, document(status(err, x.key.Name)))
	return t.outcome
}

func (h *Handler) auditRefusal(ctx context.Context, x *exchange, t *translation) {
	event := &audit.Event{
		Time:          x.begin,
		RequestID:     x.requestID,
		Operation:     x.operation.name,
		Decision:      audit.Deny,
		Reason:        t.kind.Error(),
		Outcome:       t.outcome,
		Principal:     principalOf(x),
		SourceAddress: x.source,
		Namespace:     x.key.Namespace,
		Name:          x.key.Name,
		Latency:       h.clock.Since(x.begin),
	}
	if err := h.sink.Record(ctx, event); err != nil {
		// The request is refused already; there is nothing else to take back.
		h.complain(ctx, x, err)
	}
}

// principalOf is nil, and not a nil pointer that looks like somebody, if there is
// none.
func principalOf(x *exchange) user.Info {
	if x.identity.Principal == nil {
		return nil
	}
	return x.identity.Principal
}

// complain logs the cause of a failure that is ours.
func (h *Handler) complain(ctx context.Context, x *exchange, err error) {
	h.complaints.Do(func() {
		var e *kms.Error
		if errors.As(err, &e) && e.Cause != nil {
			err = e.Cause
		}
		h.options.Log.WarnContext(ctx, "Answering a request failed", "requestID", x.requestID, "error", err)
	})
}

// recover turns a panic into an internal error. What is logged is where it was, not
// what with: the value may hold anything.
func (h *Handler) recover(err *error) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the value itself is the convention
		panic(v)
	}
	what := fmt.Sprintf("%T", v)
	if re, ok := v.(runtime.Error); ok {
		what = re.Error()
	}
	h.options.Log.Error("Handling a request panicked", "panic", what, "stack", string(debug.Stack()))
	*err = errInternal
}

// answer writes the whole answer.
func answer(w http.ResponseWriter, x *exchange, code int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	h["Audit-Id"] = []string{x.requestID}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(code)
	_, _ = w.Write(body) // who does not wait for the answer does not want it
}
