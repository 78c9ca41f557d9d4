package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	"github.com/keywright/keywright/internal/audit"
)

// output is where lines go; it can be made to fail or to hang.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	err    error
	hang   chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	if o.hang != nil {
		<-o.hang
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	return o.buffer.Write(b)
}

func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *output) lines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range bytes.SplitAfter(o.buffer.Bytes(), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("not a line of JSON: %q: %v", line, err)
		}
		lines = append(lines, v)
	}
	return lines
}

func event(id string) *audit.Event {
	return &audit.Event{Time: time.Unix(1e9, 123456789), RequestID: id, Operation: "encrypt", Decision: audit.Allow, Outcome: audit.OutcomeSuccess}
}

func newWriter(out *output, options audit.Options, log *bytes.Buffer) *audit.Writer {
	return audit.NewWriter(out, options, slog.New(slog.NewTextHandler(log, nil)), clock.RealClock{})
}

func TestLine(t *testing.T) {
	out := &output{}
	w := newWriter(out, audit.Options{Overflow: audit.Block}, &bytes.Buffer{})
	err := w.Record(t.Context(), &audit.Event{
		Time: time.Unix(1e9, 123456789), RequestID: "r", Operation: "reencrypt", Decision: audit.Allow, Reason: "permitted by RBAC",
		Outcome: audit.OutcomePartial,
		Principal: &user.DefaultInfo{Name: "system:serviceaccount:shop:web", UID: "7", Groups: []string{"a", "b"}, Extra: map[string][]string{
			"authentication.kubernetes.io/pod-name": {"web-1"}, "authentication.kubernetes.io/pod-uid": {"8"},
			"authentication.kubernetes.io/node-name": {"n1"}, "authentication.kubernetes.io/credential-id": {"JTI=9"},
		}},
		SourceAddress: "10.0.0.1:4711", Namespace: "shop", Name: "orders", KeyID: "k", KeyVersion: 3,
		DestinationNamespace: "shop", DestinationName: "archive", DestinationKeyID: "l", DestinationKeyVersion: 4,
		EncryptionContext: map[string]string{"b": "2", "a": "1"}, DestinationEncryptionContext: map[string]string{"c": "3"},
		Items: 5, Failed: 2, Latency: 1234567 * time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	const want = `{"time":"2001-09-09T01:46:40.123456Z","requestID":"r","operation":"reencrypt","decision":"allow","reason":"permitted by RBAC",` +
		`"outcome":"partial","principal":{"user":"system:serviceaccount:shop:web","uid":"7","groups":["a","b"],"pod":"web-1","podUID":"8","node":"n1"},` +
		`"sourceAddress":"10.0.0.1:4711","namespace":"shop","name":"orders","keyID":"k","keyVersion":3,"destinationNamespace":"shop",` +
		`"destinationName":"archive","destinationKeyID":"l","destinationKeyVersion":4,"encryptionContext":{"a":"1","b":"2"},` +
		`"destinationEncryptionContext":{"c":"3"},"items":5,"failed":2,"latencySeconds":0.001235}` + "\n"
	if diff := cmp.Diff(want, out.buffer.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyCanForgeALine(t *testing.T) {
	hostile := "a\n{\"outcome\":\"success\"}\r\x00\x1b[2J\x7f\u0085\u2028\u202e\U000e0001\"\\\xff日本"
	out := &output{}
	w := newWriter(out, audit.Options{Overflow: audit.Block}, &bytes.Buffer{})
	e := event(hostile)
	e.Name, e.SourceAddress = hostile, hostile
	e.Principal = &user.DefaultInfo{Name: hostile, Groups: []string{hostile}}
	e.EncryptionContext = map[string]string{hostile: hostile}
	if err := w.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.buffer.String(), "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
	for _, r := range out.buffer.String() {
		if r != '\n' && r != '日' && r != '本' && r != '\ufffd' && (r < ' ' || r > '~') {
			t.Errorf("raw %U in the line", r)
		}
	}
	want := strings.ToValidUTF8(hostile, "\ufffd")
	if got := out.lines(t)[0]["requestID"]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// hanging returns a writer whose output hangs and whose queue is full.
func hanging(t *testing.T, overflow audit.Overflow) (*output, *audit.Writer) {
	t.Helper()
	out := &output{hang: make(chan struct{})}
	w := newWriter(out, audit.Options{Overflow: overflow, Queue: 2}, &bytes.Buffer{})
	if err := w.Record(t.Context(), event("0")); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // the first line is being written
	for _, id := range []string{"1", "2"} {
		if err := w.Record(t.Context(), event(id)); err != nil {
			t.Fatal(err)
		}
	}
	return out, w
}

func TestBlockWaitsForRoomAndNotForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, w := hanging(t, audit.Block)
		begin := time.Now()
		if err := w.Record(t.Context(), event("3")); !errors.Is(err, audit.ErrOverflow) {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(begin); waited != 2*time.Second {
			t.Errorf("waited %v", waited)
		}
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Record(gone, event("4")); !errors.Is(err, audit.ErrOverflow) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		recorded := make(chan error)
		go func() { recorded <- w.Record(t.Context(), event("5")) }()
		synctest.Wait()
		close(out.hang)
		if err := <-recorded; err != nil {
			t.Errorf("room came in time: %v", err)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if lines := out.lines(t); len(lines) != 4 || w.Dropped() != 0 {
			t.Errorf("%d lines, %d dropped", len(lines), w.Dropped())
		}
	})
}

func TestDropCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, w := hanging(t, audit.Drop)
		for range 3 {
			if err := w.Record(t.Context(), event("3")); err != nil {
				t.Error(err)
			}
		}
		if w.Dropped() != 3 || w.Queued() != 2 {
			t.Errorf("%d dropped, %d queued", w.Dropped(), w.Queued())
		}
		close(out.hang)
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if lines := out.lines(t); len(lines) != 3 {
			t.Errorf("%d lines", len(lines))
		}
	})
}

func TestBlockRefusesWhileTheLogCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, log := &output{err: errors.New("no space left on device")}, &bytes.Buffer{}
		w := newWriter(out, audit.Options{Overflow: audit.Block}, log)
		if err := w.Record(t.Context(), event("first")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := w.Record(t.Context(), event("refused")); !errors.Is(err, audit.ErrOverflow) {
			t.Errorf("got %v", err)
		}
		<-time.After(90 * time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "no space left"); n != 2 {
			t.Errorf("logged %d times in 90 seconds", n)
		}
		if n := w.WriteErrors(); n < 80 {
			t.Errorf("counted %d errors", n)
		}
		out.fail(nil)
		<-time.After(time.Second)
		synctest.Wait()
		if err := w.Record(t.Context(), event("last")); err != nil {
			t.Errorf("after recovery: %v", err)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
		lines := out.lines(t)
		if len(lines) != 2 || lines[0]["requestID"] != "first" || lines[1]["requestID"] != "last" {
			t.Errorf("got %v", lines)
		}
	})
}

func TestDropGoesOnWhileTheLogCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &output{err: errors.New("no space left on device")}
		w := newWriter(out, audit.Options{Overflow: audit.Drop}, &bytes.Buffer{})
		for range 3 {
			if err := w.Record(t.Context(), event("lost")); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		if w.Dropped() != 3 || w.WriteErrors() != 3 {
			t.Errorf("%d dropped, %d errors", w.Dropped(), w.WriteErrors())
		}
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseDrainsWithinItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, w := hanging(t, audit.Block)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		waiting := make(chan error)
		go func() { waiting <- w.Record(t.Context(), event("3")) }()
		synctest.Wait()
		if err := w.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 audit lines") {
			t.Errorf("got %v", err)
		}
		if err := <-waiting; !errors.Is(err, audit.ErrOverflow) {
			t.Errorf("who waited got %v", err)
		}
		if err := w.Record(t.Context(), event("4")); !errors.Is(err, audit.ErrOverflow) {
			t.Errorf("after Close: %v", err)
		}
		close(out.hang)
		if err := w.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFileIsRotatedBetweenLines(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	file := audit.Open(path, audit.FileOptions{MaxSizeMB: 1, MaxBackups: 100})
	w := audit.NewWriter(file, audit.Options{Overflow: audit.Block}, slog.New(slog.DiscardHandler), clock.RealClock{})
	const events = 20000 // of about 150 bytes
	for range events {
		if err := w.Record(t.Context(), event("0b6f5a5e-6f0e-4b9e-8d9f-3a1c2b3d4e5f")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(t.Context()), file.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	lines := 0
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || info.Size() > 1<<20 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for scanner := bufio.NewScanner(f); scanner.Scan(); lines++ {
			if !json.Valid(scanner.Bytes()) {
				t.Fatalf("torn line %q", scanner.Text())
			}
		}
	}
	if lines != events {
		t.Errorf("%d lines, want %d", lines, events)
	}
}

func TestRecordConcurrently(t *testing.T) {
	out := &output{}
	w := newWriter(out, audit.Options{Overflow: audit.Block, Queue: 16}, &bytes.Buffer{})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				if err := w.Record(t.Context(), event("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(out.lines(t)); n != 4000 {
		t.Errorf("%d lines", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	w := audit.NewWriter(discard{}, audit.Options{Overflow: audit.Block}, slog.New(slog.DiscardHandler), clock.RealClock{})
	e := event("0b6f5a5e-6f0e-4b9e-8d9f-3a1c2b3d4e5f")
	e.Principal = &user.DefaultInfo{Name: "system:serviceaccount:shop:web", Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	e.EncryptionContext = map[string]string{"order": "17"}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Record(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
