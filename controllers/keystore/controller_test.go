package keystore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/controllers/encryptionkey"
	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/rootkey"
)

const systemNamespace = "keywright-system"

type rig struct {
	*WithT
	ctx      context.Context
	client   client.WithWatch
	recorder *events.FakeRecorder
	root     *rootkey.Source
	r        *Reconciler
}

func newRig(t *testing.T, objects ...client.Object) *rig {
	t.Helper()
	g := NewWithT(t)
	scheme := runtime.NewScheme()
	g.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	g.Expect(keywrightv1alpha1.AddToScheme(scheme)).To(Succeed())
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&keywrightv1alpha1.KeyStore{}).
		WithIndex(&keywrightv1alpha1.EncryptionKey{}, encryptionkey.KeyStoreField, encryptionkey.KeyStoreOf).Build()
	rig := &rig{WithT: g, ctx: t.Context(), client: c, recorder: events.NewFakeRecorder(100), root: &rootkey.Source{}}
	rig.use(c)
	return rig
}

func (r *rig) use(c client.Client) {
	r.r = &Reconciler{
		Client: c, Live: c, Root: r.root, Store: software.New(c, c, systemNamespace, r.root), Namespace: systemNamespace,
		Clock: testclock.NewFakePassiveClock(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)), Recorder: r.recorder,
	}
}

// reconcile reconciles the store named default until it exists and is told of.
func (r *rig) reconcile() *keywrightv1alpha1.KeyStore {
	for range 2 {
		_, err := r.r.Reconcile(r.ctx, ctrl.Request{NamespacedName: client.ObjectKey{Name: keywrightv1alpha1.DefaultKeyStoreName}})
		r.Expect(err).NotTo(HaveOccurred())
	}
	var store keywrightv1alpha1.KeyStore
	r.Expect(r.client.Get(r.ctx, client.ObjectKey{Name: keywrightv1alpha1.DefaultKeyStoreName}, &store)).To(Succeed())
	return &store
}

func condition(store *keywrightv1alpha1.KeyStore, conditionType string) string {
	c := meta.FindStatusCondition(store.Status.Conditions, conditionType)
	if c == nil {
		return "absent"
	}
	return string(c.Status) + "/" + c.Reason
}

func (r *rig) deleteSecret(name string) {
	r.Expect(r.client.Delete(r.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name}})).To(Succeed())
}

func material() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: systemNamespace, Name: "kw-any", Labels: map[string]string{keywrightv1alpha1.MaterialLabel: "true"},
	}}
}

func TestFirstStartMakesDefaultStoreAndRootKeyOnce(t *testing.T) {
	r := newRig(t,
		&keywrightv1alpha1.EncryptionKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"},
			Spec:       keywrightv1alpha1.EncryptionKeySpec{KeyStoreRef: keywrightv1alpha1.KeyStoreReference{Name: "default"}},
		})
	store := r.reconcile()
	r.Expect(condition(store, "Ready")).To(Equal("True/KeyStoreReady"))
	r.Expect(condition(store, "RootKeyAvailable")).To(Equal("True/RootKeyOpen"))
	r.Expect(condition(store, "RootKeyProtected")).To(Equal("False/SealedBySecret"))
	r.Expect(store.Status.RootKeyVersion).To(Equal(int32(1)))
	r.Expect(*store.Status.Keys).To(Equal(int32(1)))
	r.Expect(r.root.Ready()).To(Succeed())
	r.Expect(<-r.recorder.Events).To(ContainSubstring("RootKeyCreated"))

	again := r.reconcile()
	r.Expect(again.ResourceVersion).To(Equal(store.ResourceVersion), "a second reconcile writes nothing")
	r.Expect(r.recorder.Events).To(BeEmpty())
}

func TestLostRootKeyIsSaidAndNotReplaced(t *testing.T) {
	tests := map[string]struct {
		lose string
		want string
	}{
		"root Secret":   {rootkey.SecretName, "Secret keywright-system/keywright-root is missing"},
		"sealer Secret": {rootkey.SealerSecretName, "Secret keywright-system/keywright-root-sealer is missing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.reconcile()
			var lost corev1.Secret
			r.Expect(r.client.Get(r.ctx, client.ObjectKey{Namespace: systemNamespace, Name: tt.lose}, &lost)).To(Succeed())
			r.Expect(r.client.Create(r.ctx, material())).To(Succeed())
			r.deleteSecret(tt.lose)

			store := r.reconcile()
			r.Expect(condition(store, "Ready")).To(Equal("False/RootKeyUnavailable"))
			r.Expect(meta.FindStatusCondition(store.Status.Conditions, "Ready").Message).To(ContainSubstring(tt.want))
			r.Expect(r.root.Ready()).NotTo(Succeed(), "nothing new may be sealed under a root key that does not rest anywhere")
			r.Expect(apierrors.IsNotFound(r.client.Get(r.ctx, client.ObjectKeyFromObject(&lost), &corev1.Secret{}))).To(BeTrue())

			lost.ResourceVersion = ""
			r.Expect(r.client.Create(r.ctx, &lost)).To(Succeed())
			r.Expect(condition(r.reconcile(), "Ready")).To(Equal("True/KeyStoreReady"))
			var told []string
			for len(r.recorder.Events) > 0 {
				told = append(told, <-r.recorder.Events)
			}
			r.Expect(told).To(ContainElement(HavePrefix("Warning RootKeyUnavailable")))
			r.Expect(told).To(ContainElement(HavePrefix("Normal KeyStoreReady")))
		})
	}
}

func TestAPIServerThatDoesNotAnswerSaysNothingAboutTheRootKey(t *testing.T) {
	r := newRig(t)
	before := r.reconcile()
	broken := errors.New("connection refused")
	r.use(interceptor.NewClient(r.client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, ok := o.(*corev1.Secret); ok {
				return broken
			}
			return c.Get(ctx, key, o, options...)
		},
	}))
	_, err := r.r.Reconcile(r.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(before)})
	r.Expect(err).To(MatchError(broken))
	r.Expect(r.root.Ready()).To(Succeed())
	var after keywrightv1alpha1.KeyStore
	r.Expect(r.client.Get(r.ctx, client.ObjectKeyFromObject(before), &after)).To(Succeed())
	r.Expect(after.Status).To(Equal(before.Status))
}

func TestSetupRefusesMissingFields(t *testing.T) {
	err := (&Reconciler{}).SetupWithManager(nil)
	if err == nil || !strings.Contains(err.Error(), "every field is required") {
		t.Errorf("SetupWithManager() = %v", err)
	}
}
