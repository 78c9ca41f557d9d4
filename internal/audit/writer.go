package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// ErrOverflow is returned by Record when the event could not be taken.
var ErrOverflow = errors.New("audit log cannot take more")

// Overflow says what happens to an event that cannot be taken.
type Overflow string

const (
	// Block makes the operation wait, and fail when it takes too long.
	Block Overflow = "block"
	// Drop lets the operation go on without a line.
	Drop Overflow = "drop"
)

const (
	defaultQueueLength = 8192
	defaultPatience    = 2 * time.Second
	// batchBytes is when a batch is written although more lines wait. It is less
	// than the smallest file that rotation can be set to, so no line is ever torn.
	batchBytes = 128 << 10
	// retryInterval is how often a batch that cannot be written is tried again.
	retryInterval = time.Second
	// complaintInterval is how often that is logged.
	complaintInterval = time.Minute
	// maxPooledLine bounds the buffers that are kept for lines to come.
	maxPooledLine = 16 << 10
)

// Options of a Writer. The zero value of Queue and Patience is their default.
type Options struct {
	// Overflow is Block or Drop.
	Overflow Overflow
	// Queue is how many lines may wait. Default: 8192.
	Queue int
	// Patience is how long an operation waits with Block. Default: 2 seconds.
	Patience time.Duration
}

// Writer writes lines of JSON. It is a Sink.
type Writer struct {
	out     io.Writer
	options Options
	log     *slog.Logger
	clock   clock.WithTicker

	queue   chan *[]byte
	pool    sync.Pool
	closing chan struct{} // closed when no more events are taken
	done    chan struct{} // closed when all is written or given up
	abandon chan struct{} // closed when Close stops waiting
	close   sync.Once
	giveUp  sync.Once

	// mu is held for reading by calls of Record, so that the queue is closed after
	// them.
	mu      sync.RWMutex
	stopped bool

	complained time.Time // used by the goroutine that writes

	failing     atomic.Bool
	dropped     atomic.Uint64
	writeErrors atomic.Uint64
}

var _ Sink = (*Writer)(nil)

// NewWriter returns a Writer to out, which it calls from one goroutine, with whole
// lines. Close ends it.
func NewWriter(out io.Writer, options Options, log *slog.Logger, clock clock.WithTicker) *Writer {
	if options.Queue == 0 {
		options.Queue = defaultQueueLength
	}
	if options.Patience == 0 {
		options.Patience = defaultPatience
	}
	w := &Writer{
		out:     out,
		options: options,
		log:     log,
		clock:   clock,
		queue:   make(chan *[]byte, options.Queue),
		pool:    sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }},
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		abandon: make(chan struct{}),
	}
	go w.run()
	return w
}

// Record implements Sink.
func (w *Writer) Record(ctx context.Context, event *Event) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.stopped {
		return fmt.Errorf("%w: it is closed", ErrOverflow)
	}
	if w.options.Overflow == Block && w.failing.Load() {
		// Lines that wait would be lost if the process ended now. What is not audited
		// is not done.
		return fmt.Errorf("%w: it cannot be written", ErrOverflow)
	}
	line := w.pool.Get().(*[]byte)
	*line = appendEvent((*line)[:0], event)
	select {
	case w.queue <- line:
		return nil
	default:
	}
	if w.options.Overflow == Drop {
		w.recycle(line)
		w.dropped.Add(1)
		return nil
	}
	return w.wait(ctx, line)
}

func (w *Writer) wait(ctx context.Context, line *[]byte) error {
	patience := w.clock.NewTimer(w.options.Patience)
	defer patience.Stop()
	select {
	case w.queue <- line:
		return nil
	case <-w.closing:
		return fmt.Errorf("%w: it is closed", ErrOverflow)
	case <-patience.C():
		return fmt.Errorf("%w: %d lines wait to be written", ErrOverflow, len(w.queue))
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrOverflow, ctx.Err())
	}
}

// Close takes no more events, writes those that were taken, and returns when that
// is done or ctx is. It may be called more than once.
func (w *Writer) Close(ctx context.Context) error {
	w.close.Do(func() {
		close(w.closing) // lets go who waits inside Record
		w.mu.Lock()
		w.stopped = true
		close(w.queue)
		w.mu.Unlock()
	})
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
	}
	w.giveUp.Do(func() { close(w.abandon) })
	return fmt.Errorf("%d audit lines were not written in time: %w", len(w.queue), ctx.Err())
}

// Queued returns how many lines wait to be written.
func (w *Writer) Queued() int { return len(w.queue) }

// Dropped returns how many events were lost because of Drop.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// WriteErrors returns how many attempts to write have failed.
func (w *Writer) WriteErrors() uint64 { return w.writeErrors.Load() }

func (w *Writer) run() {
	defer close(w.done)
	batch := make([]byte, 0, batchBytes)
	for line := range w.queue {
		batch = w.take(batch[:0], line)
		for open := true; open && len(batch) < batchBytes; {
			select {
			case line, ok := <-w.queue:
				if open = ok; ok {
					batch = w.take(batch, line)
				}
			default:
				open = false
			}
		}
		if !w.write(batch) {
			return
		}
		if cap(batch) > 2*batchBytes {
			batch = make([]byte, 0, batchBytes)
		}
	}
}

func (w *Writer) take(batch []byte, line *[]byte) []byte {
	batch = append(batch, *line...)
	w.recycle(line)
	return batch
}

func (w *Writer) recycle(line *[]byte) {
	if cap(*line) <= maxPooledLine {
		w.pool.Put(line)
	}
}

// write writes a batch, again and again with Block. It reports whether to go on.
func (w *Writer) write(batch []byte) bool {
	for {
		n, err := w.out.Write(batch)
		if err == nil {
			if w.failing.Swap(false) {
				w.log.Info("Writing the audit log again")
			}
			return true
		}
		w.writeErrors.Add(1)
		if now := w.clock.Now(); w.complained.IsZero() || now.Sub(w.complained) >= complaintInterval {
			w.complained = now
			w.log.Error("Writing the audit log failed", "error", err, "overflow", w.options.Overflow)
		}
		if w.options.Overflow == Drop {
			w.dropped.Add(lines(batch))
			return true
		}
		w.failing.Store(true)
		batch = batch[max(0, min(n, len(batch))):]
		retry := w.clock.NewTimer(retryInterval)
		select {
		case <-retry.C():
		case <-w.abandon:
			retry.Stop()
			return false
		}
	}
}

func lines(batch []byte) (n uint64) {
	for _, c := range batch {
		if c == '\n' {
			n++
		}
	}
	return n
}
