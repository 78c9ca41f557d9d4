package e2e_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/rootkey"
	"github.com/keywright/keywright/test/rig"
)

// TestEdge25_ThousandVersions: a key that has rotated for years still works.
func TestEdge25_ThousandVersions(t *testing.T) {
	const versions = 1000
	s := start(t, rig.Options{})
	token, key := s.workload("checkout"), s.key("old")
	oldest := s.encrypt(0, token, key, rig.Plaintext("version 1"))
	id, err := keystore.ParseKeyID(s.await(key, rig.Ready).Status.KeyID)
	s.Expect(err).NotTo(HaveOccurred())

	// Years of rotations, made as the controller makes them, while it is away.
	s.Controllers[0].Kill()
	ring, err := rootkey.Load(s.ctx, s.Admin, rig.Namespace)
	s.Expect(err).NotTo(HaveOccurred())
	root := &rootkey.Source{}
	root.Set(ring)
	store := software.New(s.Admin, s.Admin, rig.Namespace, root)
	now := time.Now()
	s.forEach(versions-1, func(ctx context.Context, i int) error {
		_, err := store.Create(ctx, keystore.Metadata{
			ID:        keystore.VersionID{Key: id, Version: uint32(i + 2)}, // small
			Owner:     keystore.Owner{Namespace: key.Namespace, Name: key.Name},
			KeySpec:   keywrightv1alpha1.SymmetricDefaultKeySpec,
			Origin:    keywrightv1alpha1.RotationVersionOrigin,
			CreatedAt: now.Add(time.Duration(i-versions) * time.Millisecond),
		})
		return err
	})
	began := time.Now()
	s.Expect(s.Controllers[0].Restart(s.ctx)).To(Succeed())
	got := s.await(key, rig.AtVersion(versions))
	t.Logf("status told of %d versions %s after the controller started", versions, time.Since(began).Round(time.Millisecond))
	s.Expect(got.Status.Versions).To(HaveLen(keywrightv1alpha1.MaxStatusVersions))
	s.Expect(got.Status.Versions[0].Version).To(BeEquivalentTo(versions))

	s.requestRotation(key)
	s.await(key, rig.AtVersion(versions+1))
	s.Expect(s.versions()).To(HaveKeyWithValue(id.String(), versions+1))
	s.Expect(s.Servers[0].Restart(s.ctx)).To(Succeed())
	answer, err := s.Client(0, token).Encrypt(s.ctx, key, rig.Plaintext("newest"), nil)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(answer.KeyVersion).To(BeEquivalentTo(versions + 1))
	s.opens(0, token, key, oldest, rig.Plaintext("version 1"))
}
