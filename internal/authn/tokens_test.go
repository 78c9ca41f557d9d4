package authn

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
)

var start = time.Unix(1e9, 0)

// jwt makes a token that nobody has signed.
func jwt(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

// apiServer reviews tokens.
type apiServer struct {
	status authenticationv1.TokenReviewStatus
	err    error
	asked  []authenticationv1.TokenReviewSpec
}

func (s *apiServer) authenticator(t testing.TB, clock *clocktesting.FakePassiveClock) *Authenticator {
	t.Helper()
	client := fake.NewClientset()
	client.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		s.asked = append(s.asked, review.Spec)
		review.Status = s.status
		return true, review, s.err
	})
	a, err := New(client, Options{Audiences: []string{"keywright"}, CacheTTL: 10 * time.Second, OutageGrace: time.Minute}, clock)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func withHeader(values ...string) *http.Request {
	return &http.Request{Header: http.Header{"Authorization": values}}
}

func bearer(token string) *http.Request { return withHeader("Bearer " + token) }

func accepted(audiences ...string) authenticationv1.TokenReviewStatus {
	return authenticationv1.TokenReviewStatus{
		Authenticated: true, Audiences: audiences,
		User: authenticationv1.UserInfo{Username: "system:serviceaccount:shop:web", UID: "7",
			Extra: map[string]authenticationv1.ExtraValue{"authentication.kubernetes.io/pod-name": {"web-1"}}},
	}
}

func TestAuthenticateToken(t *testing.T) {
	tests := map[string]struct {
		token         string
		status        authenticationv1.TokenReviewStatus
		err           error
		want          error
		wantAudiences [][]string // of the reviews that were made
	}{
		"a token for our audience is reviewed for it": {
			token: jwt(`{"aud":["keywright"]}`), status: accepted("keywright"), wantAudiences: [][]string{{"keywright"}},
		},
		"an audience that is a plain string counts": {
			token: jwt(`{"aud":"keywright"}`), status: accepted("keywright"), wantAudiences: [][]string{{"keywright"}},
		},
		"a token for somebody else is reviewed for the API server": {
			token: jwt(`{"aud":["https://kubernetes.default.svc"]}`), status: accepted("https://kubernetes.default.svc"), wantAudiences: [][]string{nil},
		},
		"a token that is no JWT is reviewed for the API server": {
			token: "opaque", status: accepted(), wantAudiences: [][]string{nil},
		},
		"a review that names no audience is not good enough for ours": {
			token: jwt(`{"aud":"keywright"}`), status: accepted(), want: ErrUnauthenticated, wantAudiences: [][]string{{"keywright"}},
		},
		"a token that is denied": {
			token:  jwt(`{"aud":"keywright"}`),
			status: authenticationv1.TokenReviewStatus{Error: "service account shop/web has been deleted"},
			want:   ErrUnauthenticated, wantAudiences: [][]string{{"keywright"}},
		},
		"nobody is the anonymous user by token": {
			token:  "opaque",
			status: authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "system:anonymous"}},
			want:   ErrUnauthenticated, wantAudiences: [][]string{nil},
		},
		"a token that has expired is not reviewed": {
			token: jwt(`{"aud":"keywright","exp":1000000000}`), status: accepted("keywright"), want: ErrUnauthenticated,
		},
		"an expiry that is no time is left to the review": {
			token: jwt(`{"exp":1e300}`), status: accepted(), wantAudiences: [][]string{nil},
		},
		"an API server that is away": {
			token: "opaque", err: errors.New("connection refused"), want: ErrUnavailable, wantAudiences: [][]string{nil},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := &apiServer{status: test.status, err: test.err}
			a := server.authenticator(t, clocktesting.NewFakePassiveClock(start))
			identity, err := a.Authenticate(bearer(test.token))
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err == nil && identity.Principal.GetName() != "system:serviceaccount:shop:web" {
				t.Errorf("authenticated %q", identity.Principal.GetName())
			}
			var got [][]string
			for _, spec := range server.asked {
				got = append(got, spec.Audiences)
			}
			if diff := cmp.Diff(test.wantAudiences, got); diff != "" {
				t.Error(diff)
			}
			if err != nil && strings.Contains(err.Error(), test.token) {
				t.Error("the error shows the token")
			}
		})
	}
}

func TestAuthenticateHeader(t *testing.T) {
	tests := map[string]struct {
		header []string
		want   error
	}{
		"bearer":                     {header: []string{"Bearer opaque"}},
		"the scheme has no case":     {header: []string{"bEARER  opaque "}},
		"none":                       {want: ErrUnauthenticated},
		"empty":                      {header: []string{""}, want: ErrUnauthenticated},
		"no token":                   {header: []string{"Bearer "}, want: ErrUnauthenticated},
		"another scheme":             {header: []string{"Basic b3BhcXVl"}, want: ErrUnauthenticated},
		"two headers":                {header: []string{"Bearer opaque", "Bearer opaque"}, want: ErrUnauthenticated},
		"two words":                  {header: []string{"Bearer opaque opaque"}, want: ErrUnauthenticated},
		"bytes that are not a token": {header: []string{"Bearer \xff\x01"}, want: ErrUnauthenticated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := &apiServer{status: accepted()}
			_, err := server.authenticator(t, clocktesting.NewFakePassiveClock(start)).Authenticate(withHeader(test.header...))
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err != nil && len(server.asked) != 0 {
				t.Error("asked the API server")
			}
		})
	}
}

func TestForgedFrontProxyHeadersAreNothing(t *testing.T) {
	r := &http.Request{Header: http.Header{"X-Remote-User": {"admin"}, "X-Remote-Group": {"system:masters"}}}
	if _, err := (&apiServer{}).authenticator(t, clocktesting.NewFakePassiveClock(start)).Authenticate(r); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("got %v", err)
	}
}

// TestEdge17_TokenThatExpiresWhileItIsRemembered and during an outage.
func TestEdge17_TokenThatExpiresWhileItIsRemembered(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(start)
	server := &apiServer{status: accepted("keywright")}
	a := server.authenticator(t, clock)
	short := bearer(jwt(fmt.Sprintf(`{"aud":"keywright","exp":%d}`, start.Unix()+5)))
	if _, err := a.Authenticate(short); err != nil {
		t.Fatal(err)
	}
	clock.SetTime(start.Add(5 * time.Second))
	if _, err := a.Authenticate(short); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("inside the TTL: %v", err)
	}

	longer := bearer(jwt(fmt.Sprintf(`{"aud":"keywright","exp":%d}`, start.Unix()+40)))
	if _, err := a.Authenticate(longer); err != nil {
		t.Fatal(err)
	}
	server.err = errors.New("connection refused")
	clock.SetTime(start.Add(39 * time.Second))
	if _, err := a.Authenticate(longer); err != nil {
		t.Errorf("inside the grace: %v", err)
	}
	clock.SetTime(start.Add(40 * time.Second))
	if _, err := a.Authenticate(longer); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("expired inside the grace: %v", err)
	}
}

func TestEdge23_KnownTokensOutliveAnOutageForTheGraceOnly(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(start)
	server := &apiServer{status: accepted("keywright")}
	a := server.authenticator(t, clock)
	known, unknown := bearer(jwt(`{"aud":"keywright"}`)), bearer(jwt(`{"aud":"keywright","jti":"2"}`))
	if _, err := a.Authenticate(known); err != nil {
		t.Fatal(err)
	}
	server.err = apierrors.NewServiceUnavailable("etcd is away")
	for _, step := range []struct {
		after time.Duration
		want  error
	}{{11 * time.Second, nil}, {59 * time.Second, nil}, {60 * time.Second, ErrUnavailable}} {
		clock.SetTime(start.Add(step.after))
		if _, err := a.Authenticate(known); !errors.Is(err, step.want) {
			t.Errorf("known token after %v: %v", step.after, err)
		}
		if _, err := a.Authenticate(unknown); !errors.Is(err, ErrUnavailable) {
			t.Errorf("unknown token after %v: %v", step.after, err)
		}
	}
	server.err = nil
	if _, err := a.Authenticate(unknown); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func TestReviewThatIsRefusedIsNoOutage(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(start)
	server := &apiServer{status: accepted()}
	a := server.authenticator(t, clock)
	if _, err := a.Authenticate(bearer("opaque")); err != nil {
		t.Fatal(err)
	}
	server.err = apierrors.NewBadRequest("what is this")
	clock.SetTime(start.Add(11 * time.Second))
	if _, err := a.Authenticate(bearer("opaque")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func FuzzUnverifiedClaims(f *testing.F) {
	f.Add(jwt(`{"aud":["a","b"],"exp":1.5e9}`))
	f.Add(jwt(`{"aud":7,"exp":"x"}`))
	f.Add("a.b.c")
	f.Fuzz(func(_ *testing.T, token string) { unverifiedClaims(token) })
}

func BenchmarkAuthenticateRememberedToken(b *testing.B) {
	server := &apiServer{status: accepted("keywright")}
	a := server.authenticator(b, clocktesting.NewFakePassiveClock(start))
	r := bearer(jwt(`{"aud":"keywright","pad":"` + strings.Repeat("x", 700) + `"}`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}

// TestStrictFIPS runs the tests of tokens in a process in strict FIPS mode, which
// is settled when a process starts.
func TestStrictFIPS(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self, "-test.run=^TestAuthenticateToken$", "-test.v")
	command.Env = append(os.Environ(), "GODEBUG=fips140=only")
	output, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "--- PASS: TestAuthenticateToken") {
		t.Fatalf("%v:\n%s", err, output)
	}
}
