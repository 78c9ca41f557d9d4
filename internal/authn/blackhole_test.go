package authn

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestEdge23_SilentAPIServer is an API server that takes requests and never
// answers, as behind a firewall that swallows packets.
func TestEdge23_SilentAPIServer(t *testing.T) {
	var silent atomic.Bool
	over := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() {
			<-over
			return
		}
		var review authenticationv1.TokenReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		review.Status = accepted("keywright")
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(review); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	defer close(over)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"}, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakePassiveClock(start)
	a, err := New(client, Options{Audiences: []string{"keywright"}, CacheTTL: 10 * time.Second, OutageGrace: time.Minute}, clock)
	if err != nil {
		t.Fatal(err)
	}
	known, unknown := bearer(jwt(`{"aud":"keywright"}`)), bearer(jwt(`{"aud":"keywright","jti":"2"}`))
	timed := func(r *http.Request) (time.Duration, error) {
		begin := time.Now()
		_, err := a.Authenticate(r)
		return time.Since(begin), err
	}
	if _, err := timed(known); err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	clock.SetTime(start.Add(11 * time.Second))
	if took, err := timed(known); err != nil || took > 1500*time.Millisecond {
		t.Errorf("the first to notice: %v after %v", err, took)
	}
	if took, err := timed(known); err != nil || took > 100*time.Millisecond {
		t.Errorf("those after it: %v after %v", err, took)
	}
	if took, err := timed(unknown); !errors.Is(err, ErrUnavailable) || took > 1500*time.Millisecond {
		t.Errorf("a stranger: %v after %v", err, took)
	}
}
