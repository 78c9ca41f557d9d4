package keysource_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keysource"
	"github.com/keywright/keywright/internal/keystore"
)

const (
	idA = "0b6f5a5e-6f0e-4b9e-8d9f-3a1c2b3d4e5f"
	idB = "1b6f5a5e-6f0e-4b9e-8d9f-3a1c2b3d4e5f"
)

func annotations(keyID, latest string) map[string]string {
	return map[string]string{
		keywrightv1alpha1.KeyIDAnnotation: keyID, keywrightv1alpha1.LatestVersionAnnotation: latest,
		"kubectl.kubernetes.io/last-applied-configuration": "{}",
	}
}

func TestRecord(t *testing.T) {
	id := func(s string) keystore.KeyID {
		id, err := keystore.ParseKeyID(s)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	off := false
	tests := map[string]struct {
		annotations map[string]string
		status      keywrightv1alpha1.EncryptionKeyStatus
		enabled     *bool
		want        keyring.Record
	}{
		"annotations":                     {annotations: annotations(idA, "3"), want: keyring.Record{ID: id(idA), Latest: 3, Enabled: true}},
		"annotations win over status":     {annotations: annotations(idA, "3"), status: status(idB, 4), want: keyring.Record{ID: id(idA), Latest: 3, Enabled: true}},
		"status alone":                    {status: status(idB, 4), want: keyring.Record{ID: id(idB), Latest: 4, Enabled: true}},
		"the id from the annotation only": {annotations: map[string]string{keywrightv1alpha1.KeyIDAnnotation: idA}, status: status(idA, 4), want: keyring.Record{ID: id(idA), Latest: 4, Enabled: true}},
		"a status of another key":         {annotations: map[string]string{keywrightv1alpha1.KeyIDAnnotation: idA}, status: status(idB, 4), want: keyring.Record{Enabled: true}},
		"nothing yet":                     {want: keyring.Record{Enabled: true}},
		"disabled":                        {annotations: annotations(idA, "3"), enabled: &off, want: keyring.Record{ID: id(idA), Latest: 3}},
		"an id that is none":              {annotations: annotations("../x", "3"), status: status(idB, 4), want: keyring.Record{Enabled: true}},
		"an id in capitals":               {annotations: annotations("0B6F5A5E-6F0E-4B9E-8D9F-3A1C2B3D4E5F", "3"), want: keyring.Record{Enabled: true}},
		"a version that is none":          {annotations: annotations(idA, "three"), status: status(idA, 4), want: keyring.Record{Enabled: true}},
		"version zero":                    {annotations: annotations(idA, "0"), want: keyring.Record{Enabled: true}},
		"a version with a sign":           {annotations: annotations(idA, "+3"), want: keyring.Record{Enabled: true}},
		"a version with zeros before it":  {annotations: annotations(idA, "03"), want: keyring.Record{Enabled: true}},
		"a version past all versions":     {annotations: annotations(idA, "4294967296"), want: keyring.Record{Enabled: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			key := &keywrightv1alpha1.EncryptionKey{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", UID: "7", Annotations: test.annotations},
				Spec:       keywrightv1alpha1.EncryptionKeySpec{Enabled: test.enabled, Description: "long"},
				Status:     test.status,
			}
			test.want.Name, test.want.UID = keyring.Name{Namespace: "shop", Name: "orders"}, "7"
			if diff := cmp.Diff(test.want, keysource.Record(key)); diff != "" {
				t.Error(diff)
			}
			stripped, err := keysource.Strip(key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, keysource.Record(stripped.(*keywrightv1alpha1.EncryptionKey))); diff != "" {
				t.Errorf("stripped: %s", diff)
			}
		})
	}
}

func status(keyID string, version int32) keywrightv1alpha1.EncryptionKeyStatus {
	return keywrightv1alpha1.EncryptionKeyStatus{KeyID: keyID, CurrentVersion: version}
}

func TestLookup(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := keywrightv1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var failure error
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(&keywrightv1alpha1.EncryptionKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", Annotations: annotations(idA, "3")},
	}).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if failure != nil {
				return failure
			}
			return c.Get(ctx, key, obj, opts...)
		},
	}).Build()
	lookup := keysource.NewLookup(reader)

	record, err := lookup(t.Context(), keyring.Name{Namespace: "shop", Name: "orders"})
	if err != nil || record.Latest != 3 {
		t.Errorf("got %+v, %v", record, err)
	}
	if _, err := lookup(t.Context(), keyring.Name{Namespace: "shop", Name: "nothing"}); !errors.Is(err, keyring.ErrKeyNotFound) {
		t.Errorf("got %v", err)
	}
	failure = errors.New("connection refused")
	if _, err := lookup(t.Context(), keyring.Name{Namespace: "shop", Name: "orders"}); !errors.Is(err, keyring.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
