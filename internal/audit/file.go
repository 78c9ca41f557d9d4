package audit

import (
	"context"
	"io"
	"os"

	"gopkg.in/natefinch/lumberjack.v2"
)

// FileOptions says when a file is rotated.
type FileOptions struct {
	// MaxSizeMB is how large a file gets, in megabytes.
	MaxSizeMB int
	// MaxBackups is how many full files are kept.
	MaxBackups int
}

// Open returns where lines go: standard output for "-", else a file that only we
// can read, which is rotated. A file is opened when the first line is written.
func Open(path string, options FileOptions) io.WriteCloser {
	if path == "-" {
		return standardOutput{}
	}
	return &lumberjack.Logger{
		Filename:   path,
		MaxSize:    options.MaxSizeMB,
		MaxBackups: options.MaxBackups,
	}
}

type standardOutput struct{}

func (standardOutput) Write(b []byte) (int, error) { return os.Stdout.Write(b) }
func (standardOutput) Close() error                { return nil }

// Discard is a Sink that keeps nothing. It is for benchmarks.
type Discard struct{}

// Record implements Sink.
func (Discard) Record(context.Context, *Event) error { return nil }
