// Package grace remembers what kube-apiserver answered to questions that every
// request asks, about tokens and permissions.
//
// # Usage
//
// Answer returns the remembered answer to a question or asks. The answer is a
// value, or an error that wraps ErrDenied, or one that wraps ErrNoAnswer.
//
// # Implementation details
//
// An answer is fresh for a short time (TTL, DenialTTL): it is given again without
// asking. When it is not, the question is asked once however many requests wait
// for it. While kube-apiserver does not answer, a value is given for as long as
// Outage after kube-apiserver gave it; a question that has no such value is
// answered with ErrNoAnswer. A denial forgets the value.
//
// After a question got no answer, values inside their grace are given at once for
// a moment (probeInterval), and then one request of all asks again: while
// kube-apiserver swallows packets it costs one request in a second its timeout,
// and not all of them.
//
// # Trade-offs
//
// Somebody who loses a permission, or whose token is revoked, may use it until
// TTL is over, plus probeInterval if kube-apiserver failed in between, plus
// Outage if it stays away. That is the price of serving while it is away. The
// memory is bounded: with more callers than it holds, some are asked about again
// early, and not served during an outage.
package grace
