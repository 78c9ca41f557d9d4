package httpapi_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/httpapi"
)

// value returns the value of a metric with the label values.
func (r *rig) value(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if hasLabels(m, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no metric %s %v", name, labels)
	return 0
}

func hasLabels(m *dto.Metric, values []string) bool {
	if len(m.GetLabel()) != len(values) {
		return false
	}
	for i, label := range m.GetLabel() {
		if label.GetValue() != values[i] {
			return false
		}
	}
	return true
}

// dial opens a connection and writes the beginning of a request.
func (r *rig) dial(t testing.TB, beginning string) *tls.Conn {
	t.Helper()
	config := r.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, beginning); err != nil {
		t.Fatal(err)
	}
	return conn.(*tls.Conn)
}

// head is the beginning of a request with a body of a length.
func head(as string, length int) string {
	return fmt.Sprintf("POST %sorders/encrypt HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token-of-%s\r\nContent-Length: %d\r\n\r\n", prefix, as, length)
}

func TestSlowRequests(t *testing.T) {
	r := newRig(t, setup{server: func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout = 100*time.Millisecond, 200*time.Millisecond
	}})
	t.Run("slow headers are cut off", func(t *testing.T) {
		conn, begin := r.dial(t, "POST "+prefix+"orders/encrypt HTTP/1.1\r\nHost: lo"), time.Now()
		if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("after %v", took)
		}
	})
	t.Run("a slow body is refused", func(t *testing.T) {
		conn, begin := r.dial(t, head("alice", 1000)+"{"), time.Now()
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if took := time.Since(begin); response.StatusCode != 400 || took > time.Second {
			t.Errorf("%d after %v", response.StatusCode, took)
		}
		if event := r.journal.last(t); event.Outcome != audit.OutcomeInvalidRequest {
			t.Errorf("audited %+v", event)
		}
	})
	t.Run("nothing is in flight afterwards", func(t *testing.T) {
		if n := r.value(t, "keywright_in_flight_requests"); n != 0 {
			t.Errorf("%v in flight", n)
		}
	})
}

// zeros is a body without memory.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestLargeBodiesTakeNoMemory(t *testing.T) {
	r := newRig(t, setup{})
	post := func(length int64) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+prefix+"orders/encrypt", io.LimitReader(zeros{}, 10<<20))
		if err != nil {
			t.Fatal(err)
		}
		request.ContentLength = length
		request.Header.Set("Authorization", "Bearer token-of-alice")
		response, err := r.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		return response.StatusCode
	}
	post(10 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const requests = 60
	for i := range requests {
		length := int64(10 << 20)
		if i%2 == 1 {
			length = -1 // not said before
		}
		if got := post(length); got != http.StatusRequestEntityTooLarge {
			t.Fatalf("request %d: %d", i, got)
		}
	}
	runtime.ReadMemStats(&after)
	// What is read of a body of unknown length is at most 1 MiB, and its buffer grows
	// by doubling; the rest is the client's.
	if grown := after.TotalAlloc - before.TotalAlloc; grown > requests*3<<20 {
		t.Errorf("%d MiB allocated", grown>>20)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func TestInFlightLimits(t *testing.T) {
	limits := generous
	limits.InFlight, limits.InFlightPerPrincipal = 3, 2
	r := newRig(t, setup{limits: limits})
	g := NewWithT(t)
	inFlight := func() float64 { return r.value(t, "keywright_in_flight_requests") }
	body := request("EncryptRequest", spec{})

	alice := []*tls.Conn{r.dial(t, head("alice", 1000)), r.dial(t, head("alice", 1000))}
	g.Eventually(inFlight).Should(Equal(2.0))
	p := r.do(t, ask{path: "orders/encrypt", body: body})
	if p.code != 429 || p.header.Get("Retry-After") != "1" || !strings.Contains(p.status(t).Message, "one principal") {
		t.Errorf("%d %s", p.code, p.body)
	}
	if event := r.journal.last(t); event.Outcome != audit.OutcomeThrottled || event.Principal.GetName() != "alice" {
		t.Errorf("audited %+v", event)
	}
	if p := r.do(t, ask{as: "bob", path: "orders/encrypt", body: body}); p.code != 200 {
		t.Errorf("another principal: %d", p.code)
	}
	r.dial(t, head("bob", 1000))
	g.Eventually(inFlight).Should(Equal(3.0))
	if p := r.do(t, ask{as: "carol", path: "orders/encrypt", body: body}); p.code != 429 || !strings.Contains(p.status(t).Message, "this replica") {
		t.Errorf("past the limit of all: %d %s", p.code, p.body)
	}
	for _, conn := range alice {
		_ = conn.Close()
	}
	g.Eventually(inFlight).Should(Equal(1.0))
	if p := r.do(t, ask{path: "orders/encrypt", body: body}); p.code != 200 {
		t.Errorf("afterwards: %d", p.code)
	}
}

func TestBodyLimitsLeaveRoomForOthers(t *testing.T) {
	r := newRig(t, setup{})
	g := NewWithT(t)
	for range 16 {
		r.dial(t, head("alice", 1<<20)+"{")
	}
	g.Eventually(func() float64 { return r.value(t, "keywright_in_flight_requests") }).Should(Equal(16.0))
	large := request("EncryptRequest", spec{"plaintext": make([]byte, 1<<10)})
	g.Eventually(func() int { return r.do(t, ask{path: "orders/encrypt", body: large}).code }).Should(Equal(429))
	if p := r.do(t, ask{as: "bob", path: "orders/encrypt", body: large}); p.code != 200 {
		t.Errorf("another principal: %d %s", p.code, p.body)
	}
}

func TestRateLimit(t *testing.T) {
	limits := httpapi.Limits{InFlight: 10, InFlightPerPrincipal: 10, RatePerPrincipal: 1e-6, BurstPerPrincipal: 2}
	r := newRig(t, setup{limits: limits})
	body := request("EncryptRequest", spec{})
	for i, want := range []int{200, 200, 429, 429} {
		if p := r.do(t, ask{path: "orders/encrypt", body: body}); p.code != want {
			t.Errorf("request %d: %d", i, p.code)
		}
	}
	if p := r.do(t, ask{as: "bob", path: "orders/encrypt", body: body}); p.code != 200 {
		t.Errorf("another principal: %d", p.code)
	}
	if n := r.value(t, "keywright_requests_total", "encrypt", "throttled"); n != 2 {
		t.Errorf("counted %v", n)
	}
}
