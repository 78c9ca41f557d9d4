// Package envelope is the ciphertext format and the canonical form of what is
// authenticated with it. It is pure: no keys, no I/O, no clock.
//
// # Format, version 1
//
//	0      1        2                18        22
//	+------+--------+----------------+---------+-------------------------------+
//	| 0x01 | alg    | key id (16)    | version | sealed: what the algorithm    |
//	|      |        |                | (BE)    | wrote, nonce and tag included |
//	+------+--------+----------------+---------+-------------------------------+
//
// The additional authenticated data of the seal is
//
//	"keywright/v1" ‖ bytes 0..21 ‖ canonical encryption context
//
// so a ciphertext cannot be moved to another key, version, algorithm or context.
//
// # Compatibility
//
// Every ciphertext in testdata must open in every later release, byte for byte
// as it is there. A new format gets a new first byte.
//
// # Trade-offs
//
// The header is in clear: whoever holds a ciphertext learns the id of its key and
// the version. That is what lets decryption pick the version without trying, and
// what lets an owner see which ciphertexts are old.
package envelope
