// Package principal is who sends a request, after authentication.
package principal

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Digest stands for everything that an authorizer may look at in a principal:
// two principals have the same digest only if they are equal.
type Digest [sha256.Size]byte

// Principal is an authenticated user. It is immutable and made once for many
// requests, which spares every one of them the digest.
type Principal struct {
	user.Info
	digest Digest
}

// New returns the Principal of a user, who becomes a member of
// system:authenticated, as everywhere in Kubernetes. info must not change later.
func New(info user.Info) *Principal {
	if !slices.Contains(info.GetGroups(), user.AllAuthenticated) {
		info = &user.DefaultInfo{
			Name:   info.GetName(),
			UID:    info.GetUID(),
			Groups: append(slices.Clone(info.GetGroups()), user.AllAuthenticated),
			Extra:  info.GetExtra(),
		}
	}
	return &Principal{Info: info, digest: digest(info)}
}

// DigestOf returns the digest of a user, without computing it if info is a
// Principal.
func DigestOf(info user.Info) Digest {
	if p, ok := info.(*Principal); ok {
		return p.digest
	}
	return digest(info)
}

// digest hashes every string with its length before it, and every list with its
// length, so that nothing can be moved across a border.
func digest(info user.Info) Digest {
	b := make([]byte, 0, 1024)
	b = appendString(b, info.GetName())
	b = appendString(b, info.GetUID())
	b = appendStrings(b, info.GetGroups())
	extra := info.GetExtra()
	keys := make([]string, 0, len(extra))
	for k := range extra {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = binary.BigEndian.AppendUint64(b, uint64(len(keys)))
	for _, k := range keys {
		b = appendString(b, k)
		b = appendStrings(b, extra[k])
	}
	return sha256.Sum256(b)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
