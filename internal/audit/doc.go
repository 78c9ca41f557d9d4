// Package audit writes one line for every crypto operation, whatever became of
// it.
//
// # Implementation details
//
// Record encodes the event in the goroutine of its request and hands the line over
// to one that writes. That one takes whatever is waiting, up to a size, and writes
// it at once, so that a line waits for others only while the disk is busy.
//
// When the lines come faster than they can be written, or they cannot be written
// at all, Options.Overflow decides: Block makes operations wait, and fail when it
// takes too long; Drop goes on without the line and counts it.
//
// While lines cannot be written, those that were taken are kept and tried again;
// with Block no further operation succeeds until it works.
//
// # Trade-offs
//
// An operation is answered when its line is in the queue, not when it is on the
// disk: a process that is killed loses the lines of its last moments. Waiting for
// the disk would make every operation as slow as that.
package audit
