// Package keysource brings the EncryptionKeys of the cluster into a keyring: by a
// watch, and by a look-up of what the watch has not brought yet.
package keysource

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
)

// lookupTimeout bounds a live look-up, so that a request is answered within a
// second when kube-apiserver swallows packets.
const lookupTimeout = 900 * time.Millisecond

// Keys is where a Source puts records. A *keyring.Ring is one.
type Keys interface {
	Set(record keyring.Record)
	Remove(name keyring.Name)
}

// Source follows a watch. Make it with Follow.
type Source struct {
	registration toolscache.ResourceEventHandlerRegistration
}

// Follow feeds keys from the EncryptionKeys of informers, from when they run.
func Follow(ctx context.Context, informers cache.Informers, keys Keys) (*Source, error) {
	informer, err := informers.GetInformer(ctx, &keywrightv1alpha1.EncryptionKey{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watch EncryptionKeys: %w", err)
	}
	set := func(object any) {
		if key, ok := object.(*keywrightv1alpha1.EncryptionKey); ok {
			keys.Set(Record(key))
		}
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, object any) { set(object) },
		DeleteFunc: func(object any) {
			if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = tombstone.Obj
			}
			if key, ok := object.(*keywrightv1alpha1.EncryptionKey); ok {
				keys.Remove(keyring.Name{Namespace: key.Namespace, Name: key.Name})
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch EncryptionKeys: %w", err)
	}
	return &Source{registration: registration}, nil
}

// Synced reports whether every key that was there at the start has been brought.
func (s *Source) Synced() bool { return s.registration.HasSynced() }

// Strip leaves of an EncryptionKey what Record reads, for the memory's sake. It is
// a transform of the cache. Other objects are left alone.
func Strip(object any) (any, error) {
	key, ok := object.(*keywrightv1alpha1.EncryptionKey)
	if !ok {
		return object, nil
	}
	stripped := &keywrightv1alpha1.EncryptionKey{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       key.Namespace,
			Name:            key.Name,
			UID:             key.UID,
			ResourceVersion: key.ResourceVersion,
		},
		Spec:   keywrightv1alpha1.EncryptionKeySpec{Enabled: key.Spec.Enabled},
		Status: keywrightv1alpha1.EncryptionKeyStatus{KeyID: key.Status.KeyID, CurrentVersion: key.Status.CurrentVersion},
	}
	for _, name := range []string{keywrightv1alpha1.KeyIDAnnotation, keywrightv1alpha1.LatestVersionAnnotation} {
		if value, ok := key.Annotations[name]; ok {
			if stripped.Annotations == nil {
				stripped.Annotations = map[string]string{}
			}
			stripped.Annotations[name] = value
		}
	}
	return stripped, nil
}

// NewLookup returns a keyring.Lookup that reads through reader, which must not be
// cached.
func NewLookup(reader client.Reader) keyring.Lookup {
	return func(ctx context.Context, name keyring.Name) (keyring.Record, error) {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		var key keywrightv1alpha1.EncryptionKey
		err := reader.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: name.Name}, &key)
		switch {
		case apierrors.IsNotFound(err):
			return keyring.Record{}, fmt.Errorf("get EncryptionKey: %w", keyring.ErrKeyNotFound)
		case err != nil:
			return keyring.Record{}, fmt.Errorf("%w: get EncryptionKey: %w", keyring.ErrUnavailable, err)
		}
		return Record(&key), nil
	}
}

// Record returns what an EncryptionKey says. The annotations speak first, because
// they survive a backup without status; status stands in for those that are absent.
// What cannot be read makes a key that is still being created: the controller says
// what is wrong with it, and nobody encrypts with a guess.
func Record(key *keywrightv1alpha1.EncryptionKey) keyring.Record {
	record := keyring.Record{
		Name:    keyring.Name{Namespace: key.Namespace, Name: key.Name},
		UID:     string(key.UID),
		Enabled: key.IsEnabled(),
	}
	keyID, ok := key.Annotations[keywrightv1alpha1.KeyIDAnnotation]
	if !ok {
		keyID = key.Status.KeyID
	}
	id, err := keystore.ParseKeyID(keyID)
	if err != nil {
		return record
	}
	latest, ok := latestVersion(key, keyID)
	if !ok {
		return record
	}
	record.ID, record.Latest = id, latest
	return record
}

// latestVersion reads the latest version of the key keyID.
func latestVersion(key *keywrightv1alpha1.EncryptionKey, keyID string) (uint32, bool) {
	text, ok := key.Annotations[keywrightv1alpha1.LatestVersionAnnotation]
	if !ok {
		// A status that tells of another key tells nothing of this one.
		version := key.Status.CurrentVersion
		return uint32(max(0, version)), version > 0 && key.Status.KeyID == keyID
	}
	version, err := strconv.ParseUint(text, 10, 31)
	return uint32(version), err == nil && version > 0 && text == strconv.FormatUint(version, 10)
}
