package e2e_test

import (
	"fmt"

	. "github.com/onsi/gomega"

	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/rootkey"
	"github.com/keywright/keywright/test/rig"
)

// sealed returns what the material says of itself, by version.
func (s *story) sealed() map[keystore.VersionID]keystore.Metadata {
	s.t.Helper()
	ring, err := rootkey.Load(s.ctx, s.Admin, rig.Namespace)
	s.Expect(err).NotTo(HaveOccurred())
	secrets, err := s.Material(s.ctx)
	s.Expect(err).NotTo(HaveOccurred())
	out := map[keystore.VersionID]keystore.Metadata{}
	for i := range secrets {
		m, key, err := material.Open(ring, &secrets[i])
		s.Expect(err).NotTo(HaveOccurred())
		key.Clear()
		out[m.ID] = m
	}
	return out
}

// onePerRequest checks that no two versions of a key answer the same request.
func (s *story) onePerRequest() {
	s.t.Helper()
	seen := map[string]uint32{}
	for id, m := range s.sealed() {
		if m.RequestedAt.IsZero() {
			continue
		}
		request := fmt.Sprintf("%s at %s", id.Key, m.RequestedAt)
		s.Expect(seen).NotTo(HaveKey(request), "versions %d and %d answer one request", seen[request], id.Version)
		seen[request] = id.Version
	}
}
