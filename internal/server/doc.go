// Package server runs the crypto endpoint: it puts the parts together, watches, and
// ends in order.
//
// # What a replica promises
//
// A replica serves while kube-apiserver is away, but not for ever: it cannot know
// what has been disabled or revoked meanwhile. These are the bounds, with the
// default settings in brackets.
//
//   - A key that is disabled, or a rotation, reaches every replica by the watch: in
//     milliseconds while kube-apiserver is there.
//   - A replica that has lost contact with kube-apiserver answers no crypto request
//     from OutageGrace [10m] after the last contact on. Contact is an answer to
//     GET /readyz, asked for every contactInterval. So a disable reaches every replica
//     within OutageGrace, whatever is broken.
//   - A permission that is taken away, or a token that is revoked, is refused after
//     AuthorizationCacheTTL or AuthenticationCacheTTL [10s]; while kube-apiserver does
//     not answer, after OutageGrace since it was last confirmed. For tokens, add the
//     ten seconds that kube-apiserver itself remembers them.
//   - A token is refused once it has expired by its own claim, always.
//   - Callers, permissions and keys that are not in memory get 503 while
//     kube-apiserver is away, within about a second.
//
// # Ending
//
// When ctx is done, /readyz fails first; ShutdownDelay later, when nobody sends
// requests here any more, the endpoint stops listening and finishes what is in
// flight; then the watches end, and the audit log is written to its end.
package server
