package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authn"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/httpapi"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
	"github.com/keywright/keywright/internal/kms"
	"github.com/keywright/keywright/internal/principal"
)

// alice is made once, as authn does with a token that it remembers.
var alice = principal.New(&user.DefaultInfo{Name: "alice"})

// names authenticates everybody whose token is a name.
type names struct{}

func (names) Authenticate(r *http.Request) (authn.Identity, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer token-of-")
	switch {
	case !ok:
		return authn.Identity{}, authn.ErrUnauthenticated
	case name == "stranger-in-outage":
		return authn.Identity{}, authn.ErrUnavailable
	case name == "panic":
		panic("secret-in-a-panic")
	}
	if name == "alice" {
		return authn.Identity{Principal: alice}, nil
	}
	return authn.Identity{
		Principal:  principal.New(&user.DefaultInfo{Name: name}),
		FrontProxy: name == "front-proxy",
	}, nil
}

// policy allows everything to everybody but a few.
type policy struct{}

func (policy) Authorize(_ context.Context, who user.Info, p authz.Permission) error {
	switch {
	case who.GetName() == "mallory", p.Name == "forbidden":
		return authz.ErrDenied
	case who.GetName() == "doubtful":
		return authz.ErrUnavailable
	}
	return nil
}

// journal keeps events and can be made to take no more.
type journal struct {
	mu     sync.Mutex
	events []audit.Event
	err    error
}

func (j *journal) Record(_ context.Context, e *audit.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	j.events = append(j.events, *e)
	return nil
}

func (j *journal) last(t *testing.T) audit.Event {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.events) == 0 {
		t.Fatal("nothing was audited")
	}
	return j.events[len(j.events)-1]
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.events)
}

// rig is the endpoint with everything behind it, on a real TLS listener.
type rig struct {
	handler  *httpapi.Handler
	url      string
	client   *http.Client
	journal  *journal
	registry *prometheus.Registry
	log      *bytes.Buffer
	ring     *keyring.Ring
	serving  error
	ready    error
}

var generous = httpapi.Limits{InFlight: 100, InFlightPerPrincipal: 100, RatePerPrincipal: 1e6, BurstPerPrincipal: 1e6}

type setup struct {
	limits httpapi.Limits
	sink   audit.Sink
	store  keystore.Store
	server func(*http.Server)
}

func newRig(t testing.TB, s setup) *rig {
	t.Helper()
	if s.limits == (httpapi.Limits{}) {
		s.limits = generous
	}
	r := &rig{journal: &journal{}, registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	if s.sink == nil {
		s.sink = r.journal
	}
	store := s.store
	if store == nil {
		store = keystoretest.NewFake()
	}
	r.ring = keyring.New(store, func(context.Context, keyring.Name) (keyring.Record, error) {
		return keyring.Record{}, keyring.ErrKeyNotFound
	}, clock.RealClock{})
	for _, key := range []struct {
		name     string
		versions uint32
		disabled bool
		lost     bool
	}{{"orders", 2, false, false}, {"archive", 1, false, false}, {"off", 1, true, false}, {"lost", 1, false, true}, {"forbidden", 1, false, false}} {
		record := keyring.Record{
			Name: keyring.Name{Namespace: "shop", Name: key.name}, UID: "7",
			ID: uuid.New(), Latest: key.versions, Enabled: !key.disabled,
		}
		for version := uint32(1); version <= key.versions && !key.lost; version++ {
			_, err := store.Create(t.Context(), keystore.Metadata{
				ID:        keystore.VersionID{Key: record.ID, Version: version},
				Owner:     keystore.Owner{Namespace: "shop", Name: key.name},
				KeySpec:   keywrightv1alpha1.SymmetricDefaultKeySpec,
				Origin:    keywrightv1alpha1.CreatedVersionOrigin,
				CreatedAt: time.Unix(1e9, 0),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		r.ring.Set(record)
	}
	r.handler = httpapi.New(kms.New(r.ring, policy{}, s.sink, clock.RealClock{}), names{}, s.sink, httpapi.Options{
		Limits:   s.limits,
		Ready:    func(context.Context) error { return r.ready },
		Serving:  func() error { return r.serving },
		Registry: r.registry,
		Log:      slog.New(slog.NewTextHandler(r.log, nil)),
	}, clock.RealClock{})
	server := httptest.NewUnstartedServer(r.handler)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	if s.server != nil {
		s.server(server.Config)
	}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	r.url, r.client = server.URL, server.Client()
	return r
}

const prefix = "/apis/crypto.keywright.dev/v1alpha1/namespaces/shop/encryptionkeys/"

// ask is a request that differs from a usual one in what is set.
type ask struct {
	method string
	path   string // after prefix if it does not begin with a slash
	as     string // who; "nobody" sends no token
	header http.Header
	body   string
}

// reply is an answer.
type reply struct {
	code   int
	header http.Header
	body   []byte
	proto  string
}

func (r *rig) do(t testing.TB, a ask) reply {
	t.Helper()
	path := a.path
	if !strings.HasPrefix(path, "/") {
		path = prefix + path
	}
	method := a.method
	if method == "" {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	maps.Copy(request.Header, a.header)
	switch a.as {
	case "":
		request.Header.Set("Authorization", "Bearer token-of-alice")
	case "nobody":
	default:
		request.Header.Set("Authorization", "Bearer token-of-"+a.as)
	}
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{code: response.StatusCode, header: response.Header, body: body, proto: response.Proto}
}

func (p reply) status(t testing.TB) metav1.Status {
	t.Helper()
	var s metav1.Status
	decodeInto(t, p.body, &s)
	if s.Kind != "Status" || s.APIVersion != "v1" || s.Status != metav1.StatusFailure || int(s.Code) != p.code {
		t.Errorf("not a Status of code %d: %s", p.code, p.body)
	}
	return s
}

func decodeInto(t testing.TB, body []byte, v any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
}

// request makes the JSON of a request of a kind.
func request(kind string, spec any) string {
	b, err := json.Marshal(map[string]any{"apiVersion": "crypto.keywright.dev/v1alpha1", "kind": kind, "spec": spec})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// spec is the spec of a request.
type spec = map[string]any

// items is the spec of a batch.
func items(list ...spec) spec { return spec{"items": list} }

var errTest = errors.New("a failure that a test has made")
