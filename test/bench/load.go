package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// target is an HTTPS server under load.
type target struct {
	name    string
	address string // host:port on loopback
	roots   *x509.CertPool
	token   string
	pid     int
}

func (t *target) tlsConfig(protocol string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: t.roots, ServerName: "localhost", NextProtos: []string{protocol}}
}

// exchanger sends a request and returns the body of a successful answer, which is
// valid until the next call.
type exchanger interface {
	exchange(path string, body []byte) ([]byte, error)
	close()
}

// Protocols, as flags and tables have them.
const (
	http1 = "http1"
	http2 = "http2"
)

// dial returns n exchangers. With HTTP/1.1 each is a connection, as it is for n
// clients; with HTTP/2 they are streams of one.
func dial(ctx context.Context, t *target, protocol string, n int) ([]exchanger, error) {
	out := make([]exchanger, 0, n)
	if protocol == http2 {
		protocols := &http.Protocols{}
		protocols.SetHTTP2(true)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: t.tlsConfig("h2"), Protocols: protocols}}
		for range n {
			out = append(out, &stream{target: t, ctx: ctx, client: client})
		}
		return out, nil
	}
	for range n {
		raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.address)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", t.name, err)
		}
		c := tls.Client(raw, t.tlsConfig("http/1.1"))
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("handshake with %s: %w", t.name, err)
		}
		out = append(out, &connection{target: t, tls: c, reader: bufio.NewReaderSize(c, 16<<10)})
	}
	return out, nil
}

// connection is HTTP/1.1 with keep-alive. It is not net/http, which would take
// more processor time than the servers that it shares the machine with.
type connection struct {
	target *target
	tls    *tls.Conn
	reader *bufio.Reader
	out    bytes.Buffer
	in     []byte
}

func (c *connection) close() { _ = c.tls.Close() }

func (c *connection) exchange(path string, body []byte) ([]byte, error) {
	c.out.Reset()
	fmt.Fprintf(&c.out, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, c.target.token, len(body))
	c.out.Write(body)
	if _, err := c.tls.Write(c.out.Bytes()); err != nil {
		return nil, err
	}
	status, length, err := c.head()
	if err != nil {
		return nil, err
	}
	if cap(c.in) < length {
		c.in = make([]byte, length)
	}
	c.in = c.in[:length]
	if _, err := io.ReadFull(c.reader, c.in); err != nil {
		return nil, err
	}
	if status != "200" {
		return nil, fmt.Errorf("%s answered %s: %s", c.target.name, status, c.in)
	}
	return c.in, nil
}

// head reads the status line and the headers. The servers here tell the length.
func (c *connection) head() (status string, length int, err error) {
	length = -1
	for first := true; ; first = false {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			fields := bytes.SplitN(line, []byte(" "), 3)
			if len(fields) < 2 {
				return "", 0, fmt.Errorf("status line %q", line)
			}
			status = string(fields[1])
		case len(line) == 0:
			if length < 0 {
				return "", 0, fmt.Errorf("%s did not tell the length of its answer", c.target.name)
			}
			return status, length, nil
		case len(line) > 15 && strings.EqualFold(string(line[:15]), "Content-Length:"):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:]))); err != nil {
				return "", 0, err
			}
		}
	}
}

// stream is one of the streams of an HTTP/2 connection.
type stream struct {
	target *target
	ctx    context.Context
	client *http.Client
	in     bytes.Buffer
}

func (s *stream) close() { s.client.CloseIdleConnections() }

func (s *stream) exchange(path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(s.ctx, http.MethodPost, "https://"+s.target.address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.target.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	s.in.Reset()
	if _, err := s.in.ReadFrom(response.Body); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		return nil, fmt.Errorf("%s answered %d over %s: %s", s.target.name, response.StatusCode, response.Proto, s.in.Bytes())
	}
	return s.in.Bytes(), nil
}

// measurement is what a target did under load, over one slice or several.
type measurement struct {
	latency  histogram
	requests uint64
	elapsed  time.Duration
	cpu      time.Duration // of the server
	peak     uint64        // RSS of the server, in bytes
}

func (m *measurement) rate() float64 { return float64(m.requests) / max(m.elapsed.Seconds(), 1e-9) }

// cpuPerRequest is zero when nothing was measured.
func (m *measurement) cpuPerRequest() time.Duration { return m.cpu / time.Duration(max(m.requests, 1)) }

// warmUp is how many requests each worker sends before a slice counts: caches of
// tokens and permissions fill, connections and pools are there.
const warmUp = 20

// slice puts a target under load for a time and adds what it saw to m. It returns
// when every worker has had its last answer.
func (m *measurement) slice(ctx context.Context, t *target, protocol string, workers int, duration time.Duration, path string, body []byte) error {
	exchangers, err := dial(ctx, t, protocol, workers)
	if err != nil {
		return err
	}
	defer func() {
		for _, e := range exchangers {
			e.close()
		}
	}()
	run := func(work func(e exchanger, h *histogram) error) (*histogram, error) {
		histograms, errs := make([]histogram, workers), make([]error, workers)
		var group sync.WaitGroup
		for i, e := range exchangers {
			group.Go(func() { errs[i] = work(e, &histograms[i]) })
		}
		group.Wait()
		merged := &histogram{}
		for i := range histograms {
			if errs[i] != nil {
				return nil, fmt.Errorf("load on %s%s: %w", t.name, path, errs[i])
			}
			merged.merge(&histograms[i])
		}
		return merged, ctx.Err()
	}
	if _, err := run(func(e exchanger, _ *histogram) error {
		for range warmUp {
			if _, err := e.exchange(path, body); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := resetPeak(t.pid); err != nil {
		return err
	}
	before, err := cpuTime(t.pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	latency, err := run(func(e exchanger, h *histogram) error {
		for sent := begin; sent.Sub(begin) < duration && ctx.Err() == nil; {
			if _, err := e.exchange(path, body); err != nil {
				return err
			}
			now := time.Now()
			h.record(now.Sub(sent))
			sent = now
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.elapsed += time.Since(begin)
	after, err := cpuTime(t.pid)
	if err != nil {
		return err
	}
	used, err := memoryOf(t.pid)
	if err != nil {
		return err
	}
	m.latency.merge(latency)
	m.requests += latency.total
	m.cpu += after - before
	m.peak = max(m.peak, used.peak)
	return nil
}
