// Package authn says who sends a request, in the ways of an extension API server:
// by the headers of kube-apiserver's front proxy, by a client certificate, or by a
// bearer token that kube-apiserver reviews.
//
// # Usage
//
// Run follows the ConfigMap extension-apiserver-authentication, which says whom to
// believe as front proxy and which CA signs client certificates. Authenticate needs
// nothing but the request's headers and connection.
//
// # Implementation details
//
// Certificates and headers are the affair of k8s.io/apiserver. Tokens are not,
// although it has an authenticator and a cache for them: it returns a denial and a
// failed call as errors of the same kind, so that nobody behind it can tell a
// token that was revoked from an API server that is away; and it does not cache
// denials that come with a message, which are nearly all. Here a review is one call
// with three outcomes, and package grace keeps them.
//
// A token is remembered as its HMAC-SHA256 under a key of this process.
//
// The claims aud and exp are read before anybody has verified the token. aud picks
// the review to ask for (one of our audiences, or the API server's own); exp refuses
// a token that has expired by its own word although it is remembered. Neither is
// trusted: a lie gets a review that denies, or an earlier end.
//
// # Trade-offs
//
// A token that is revoked before it expires works until the next review, as package
// grace describes. The review itself may be ten seconds old: kube-apiserver has a
// cache of its own.
//
// Reviews of tokens that are not remembered share a bound, so that a flood of
// invented tokens is refused here and not carried on to kube-apiserver. Tokens that
// are remembered do not wait for it.
package authn
