// Package httpapi is the crypto endpoint: requests in the shape of Kubernetes over
// HTTPS, translated into the operations of package kms and back.
//
// # Usage
//
// New returns an http.Handler. It asks an Authenticator who is there, and everything
// else of a *kms.Service.
//
// # Implementation details
//
// A request goes through the same stations whatever it asks for, and each may end
// it with an error: authenticate (from headers; no byte of the body is read before),
// find the operation by method and path, admit (how many at once, how many in a
// second), read the body, decode, do, encode. Handlers return errors; one table in
// status.go turns them into a metav1.Status.
//
// What ends before package kms is asked is audited here; everything else there.
//
// Buffers that bodies and answers are built in are used again, and cleared before,
// because they hold plaintext.
//
// # Trade-offs
//
// Answers are encoded by hand: the shapes are few, and bytes that are secret go from
// where the cryptography put them into the one buffer that is sent, with no copy in
// between that nobody clears. A test holds the encoding to the API types.
//
// Requests are decoded into the API types by reflection; what they decode to is
// cleared after use, as far as it is bytes.
package httpapi
