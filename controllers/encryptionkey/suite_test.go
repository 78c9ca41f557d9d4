package encryptionkey

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/rootkey"
	"github.com/keywright/keywright/test/controlplane"
)

const systemNamespace = "keywright-system"

var (
	config *rest.Config
	scheme = runtime.NewScheme()
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		ctx := context.Background()
		for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, keywrightv1alpha1.AddToScheme} {
			if err := add(scheme); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		plane, err := controlplane.Start(ctx, controlplane.Options{WithoutControllerManager: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = plane.Stop() }()
		config = plane.Config
		config.QPS = -1
		if _, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{Paths: []string{"../../config/crd/bases"}, ErrorIfPathMissing: true}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := newClient().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := newClient().Create(ctx, &keywrightv1alpha1.KeyStore{
			ObjectMeta: metav1.ObjectMeta{Name: keywrightv1alpha1.DefaultKeyStoreName},
			Spec:       keywrightv1alpha1.KeyStoreSpec{Software: &keywrightv1alpha1.SoftwareKeyStore{}},
		}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func newClient() client.Client {
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		panic(err)
	}
	return c
}

var namespaces atomic.Int32

// env is a namespace of its own with a reconciler that is called by hand, at the
// time that the test sets.
type env struct {
	*WithT
	t         *testing.T
	ctx       context.Context
	client    client.Client
	namespace string
	clock     *testclock.FakeClock
	recorder  *events.FakeRecorder
	root      *rootkey.Source
	r         *Reconciler
}

// start is a whole second, as the times in resources are.
var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{
		WithT: NewWithT(t), t: t, ctx: t.Context(), client: newClient(),
		namespace: fmt.Sprintf("tenant-%d", namespaces.Add(1)),
		clock:     testclock.NewFakeClock(start),
		recorder:  events.NewFakeRecorder(1000),
		root:      &rootkey.Source{},
	}
	e.Expect(e.client.Create(e.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}})).To(Succeed())
	ring, _, err := rootkey.Ensure(e.ctx, e.client, e.client, systemNamespace, e.clock)
	e.Expect(err).NotTo(HaveOccurred())
	e.root.Set(ring)
	e.r = e.reconciler(e.client)
	return e
}

// reconciler returns a reconciler with a client of its own, as a second leader
// has.
func (e *env) reconciler(c client.Client) *Reconciler {
	return &Reconciler{
		Client: c, Live: e.client, Store: software.New(e.client, c, systemNamespace, e.root), Root: e.root,
		Namespace: systemNamespace, Clock: e.clock, Recorder: e.recorder,
	}
}

// key returns a key that differs from the plainest one by mutate.
func (e *env) key(name string, mutate ...func(*keywrightv1alpha1.EncryptionKey)) *keywrightv1alpha1.EncryptionKey {
	key := &keywrightv1alpha1.EncryptionKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name},
		Spec:       keywrightv1alpha1.EncryptionKeySpec{Type: keywrightv1alpha1.CustomerManagedKeyType},
	}
	for _, m := range mutate {
		m(key)
	}
	return key
}

func (e *env) apply(key *keywrightv1alpha1.EncryptionKey) *keywrightv1alpha1.EncryptionKey {
	e.t.Helper()
	e.Expect(e.client.Create(e.ctx, key)).To(Succeed())
	return key
}

func (e *env) edit(key *keywrightv1alpha1.EncryptionKey, mutate func(*keywrightv1alpha1.EncryptionKey)) {
	e.t.Helper()
	fresh := e.get(key)
	mutate(fresh)
	e.Expect(e.client.Update(e.ctx, fresh)).To(Succeed())
}

func (e *env) get(key *keywrightv1alpha1.EncryptionKey) *keywrightv1alpha1.EncryptionKey {
	e.t.Helper()
	var fresh keywrightv1alpha1.EncryptionKey
	e.Expect(e.client.Get(e.ctx, client.ObjectKeyFromObject(key), &fresh)).To(Succeed())
	return &fresh
}

// reconcile reconciles the key and returns what became of it.
func (e *env) reconcile(key *keywrightv1alpha1.EncryptionKey) *keywrightv1alpha1.EncryptionKey {
	e.t.Helper()
	_, err := e.r.Reconcile(e.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(key)})
	e.Expect(err).NotTo(HaveOccurred())
	return e.get(key)
}

// secrets returns the material Secrets of a key id.
func (e *env) secrets(keyID string) []corev1.Secret {
	e.t.Helper()
	var list corev1.SecretList
	e.Expect(e.client.List(e.ctx, &list, client.InNamespace(systemNamespace), client.MatchingLabels{keywrightv1alpha1.KeyIDLabel: keyID})).To(Succeed())
	return list.Items
}

// owned returns the material Secrets that were made for a key by this name.
func (e *env) owned(key *keywrightv1alpha1.EncryptionKey) []corev1.Secret {
	e.t.Helper()
	var list corev1.SecretList
	e.Expect(e.client.List(e.ctx, &list, client.InNamespace(systemNamespace))).To(Succeed())
	var owned []corev1.Secret
	for _, s := range list.Items {
		if s.Type == material.SecretType && s.Annotations[keywrightv1alpha1.OwnerAnnotation] == key.Namespace+"/"+key.Name {
			owned = append(owned, s)
		}
	}
	return owned
}

// removeMaterial deletes one version by hand.
func (e *env) removeMaterial(keyID string, version int) *corev1.Secret {
	e.t.Helper()
	var s corev1.Secret
	name := client.ObjectKey{Namespace: systemNamespace, Name: fmt.Sprintf("kw-%s-v%d", keyID, version)}
	e.Expect(e.client.Get(e.ctx, name, &s)).To(Succeed())
	e.Expect(e.client.Delete(e.ctx, &s)).To(Succeed())
	s.ResourceVersion, s.UID = "", ""
	return &s
}

// told returns the events so far, without their type.
func (e *env) told() []string {
	var told []string
	for {
		select {
		case line := <-e.recorder.Events:
			_, rest, _ := strings.Cut(line, " ")
			told = append(told, rest)
		default:
			return told
		}
	}
}
