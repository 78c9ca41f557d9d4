package encryptionkey

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

type ek = keywrightv1alpha1.EncryptionKey

func withSchedule(schedule string) func(*ek) {
	return func(k *ek) { k.Spec.Rotation = &keywrightv1alpha1.RotationSpec{Schedule: schedule} }
}

func ready(key *ek) *metav1.Condition {
	return meta.FindStatusCondition(key.Status.Conditions, keywrightv1alpha1.EncryptionKeyReadyCondition)
}

func condition(key *ek, conditionType string) string {
	c := meta.FindStatusCondition(key.Status.Conditions, conditionType)
	if c == nil {
		return "absent"
	}
	return string(c.Status) + "/" + c.Reason
}

func TestNewKeyGetsOneVersionAndSaysSo(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders")))

	e.Expect(key.Status.KeyID).To(Equal(string(key.UID)))
	e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.EnabledKeyState))
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(1)))
	e.Expect(key.Status.ObservedGeneration).To(Equal(key.Generation))
	e.Expect(key.Status.Versions).To(HaveLen(1))
	e.Expect(key.Status.Versions[0].Origin).To(Equal(keywrightv1alpha1.CreatedVersionOrigin))
	e.Expect(key.Status.Versions[0].CreatedAt.Time.Equal(start)).To(BeTrue())
	e.Expect(key.Status.LastRotationTime).To(BeNil())
	e.Expect(key.Status.NextRotationTime).To(BeNil())
	e.Expect(condition(key, "Ready")).To(Equal("True/KeyReady"))
	e.Expect(condition(key, "MaterialAvailable")).To(Equal("True/AllVersionsAvailable"))
	e.Expect(condition(key, "KeyStoreAvailable")).To(Equal("True/KeyStoreAvailable"))
	e.Expect(condition(key, "RotationUpToDate")).To(Equal("True/RotationNotConfigured"))
	e.Expect(key.Annotations).To(HaveKeyWithValue(keywrightv1alpha1.KeyIDAnnotation, string(key.UID)))
	e.Expect(key.Annotations).To(HaveKeyWithValue(keywrightv1alpha1.LatestVersionAnnotation, "1"))
	e.Expect(e.told()).To(Equal([]string{"KeyCreated Stored version 1 of key " + string(key.UID)}))

	secrets := e.owned(key)
	e.Expect(secrets).To(HaveLen(1))
	e.Expect(*secrets[0].Immutable).To(BeTrue())

	again := e.reconcile(key)
	e.Expect(again.ResourceVersion).To(Equal(key.ResourceVersion), "a second reconcile writes nothing")
	e.Expect(e.told()).To(BeEmpty())
}

func TestScheduledRotationMakesOneVersion(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 3 1 1 *"))))
	e.Expect(condition(key, "RotationUpToDate")).To(Equal("True/RotationScheduled"))
	next := key.Status.NextRotationTime.Time
	e.Expect(next.UTC()).To(BeTemporally(">=", time.Date(2027, 1, 1, 3, 0, 0, 0, time.UTC)))
	e.Expect(next.UTC()).To(BeTemporally("<", time.Date(2027, 1, 1, 4, 0, 0, 0, time.UTC)))

	e.clock.SetTime(next.Add(-time.Second))
	e.Expect(e.reconcile(key).Status.CurrentVersion).To(Equal(int32(1)))

	e.clock.SetTime(next.Add(time.Second))
	for range 3 {
		key = e.reconcile(key)
	}
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(2)))
	e.Expect(key.Status.Versions[0].Origin).To(Equal(keywrightv1alpha1.RotationVersionOrigin))
	e.Expect(key.Status.LastRotationTime.Time.Equal(next.Add(time.Second))).To(BeTrue())
	e.Expect(key.Annotations).To(HaveKeyWithValue(keywrightv1alpha1.LatestVersionAnnotation, "2"))
	e.Expect(e.owned(key)).To(HaveLen(2))
	e.Expect(e.told()).To(ContainElement(HavePrefix("KeyRotated Stored version 2 as scheduled")))
}

func TestEdge16_SixtyDaysDownRotatesOnceOnStart(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	e.clock.Step(60 * 24 * time.Hour)
	for range 5 {
		key = e.reconcile(key)
	}
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(2)))
	e.Expect(key.Status.NextRotationTime.Time).To(BeTemporally(">", e.clock.Now()))
}

func TestRequestedRotationHappensOnceAndDoesNotMoveTheSchedule(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", func(k *ek) {
		k.Spec.Rotation = &keywrightv1alpha1.RotationSpec{PeriodDays: 90}
	})))
	next := key.Status.NextRotationTime.DeepCopy()

	e.clock.Step(24 * time.Hour)
	e.edit(key, func(k *ek) { k.Spec.Rotation.RequestedAt = new(metav1.NewTime(e.clock.Now())) })
	for range 3 {
		key = e.reconcile(key)
	}
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(2)))
	e.Expect(key.Status.Versions[0].Origin).To(Equal(keywrightv1alpha1.OnDemandRotationVersionOrigin))
	e.Expect(key.Status.NextRotationTime.Equal(next)).To(BeTrue())
}

func TestRequestOnAnOverdueKeyRotatesOnce(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	e.clock.Step(48 * time.Hour)
	e.edit(key, func(k *ek) { k.Spec.Rotation.RequestedAt = new(metav1.NewTime(e.clock.Now())) })
	for range 3 {
		key = e.reconcile(key)
	}
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(2)))
}

func TestEdge09_DisableKeepsMaterialAndScheduleAndEnableCatchesUpOnce(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	e.edit(key, func(k *ek) { k.Spec.Enabled = new(false) })
	e.clock.Step(48 * time.Hour)
	key = e.reconcile(key)
	e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.DisabledKeyState))
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(1)))
	e.Expect(condition(key, "Ready")).To(Equal("False/Disabled"))
	e.Expect(condition(key, "RotationUpToDate")).To(Equal("True/RotationPaused"))
	e.Expect(key.Status.NextRotationTime).To(BeNil())

	e.edit(key, func(k *ek) { k.Spec.Enabled = new(true) })
	for range 3 {
		key = e.reconcile(key)
	}
	e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.EnabledKeyState))
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(2)))
	told := strings.Join(e.told(), "\n")
	e.Expect(told).To(ContainSubstring("KeyDisabled"))
	e.Expect(told).To(ContainSubstring("KeyEnabled"))
}

func TestInvalidScheduleChangesNothingElse(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("not cron at all"))))
	e.Expect(condition(key, "Ready")).To(Equal("False/InvalidSchedule"))
	e.Expect(ready(key).Message).To(ContainSubstring("not cron at all"))
	e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.EnabledKeyState))
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(1)))
	e.Expect(e.told()).To(ContainElement(HavePrefix("InvalidSchedule")))
}

func TestEdge18_WipedStatusIsRebuiltFromMaterial(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	for range 3 {
		e.clock.Step(2 * time.Hour)
		key = e.reconcile(key)
	}
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(4)))
	before := key.Status.DeepCopy()

	key.Status = keywrightv1alpha1.EncryptionKeyStatus{}
	e.Expect(e.client.Status().Update(e.ctx, key)).To(Succeed())
	after := e.reconcile(key).Status
	e.Expect(after.KeyID).To(Equal(before.KeyID))
	e.Expect(after.Versions).To(Equal(before.Versions))
	e.Expect(after.CurrentVersion).To(Equal(before.CurrentVersion))
	e.Expect(after.LastRotationTime).To(Equal(before.LastRotationTime))
	e.Expect(after.NextRotationTime).To(Equal(before.NextRotationTime))
	e.Expect(after.State).To(Equal(before.State))
}

func TestEdge18_ResourceWithoutItsMaterialGetsNoOther(t *testing.T) {
	e := newEnv(t)
	tests := map[string]map[string]string{
		"id and version":                {keywrightv1alpha1.KeyIDAnnotation: "0f0e0d0c-0b0a-4908-8706-050403020100", keywrightv1alpha1.LatestVersionAnnotation: "3"},
		"a version nobody can count to": {keywrightv1alpha1.KeyIDAnnotation: "0f0e0d0c-0b0a-4908-8706-050403020100", keywrightv1alpha1.LatestVersionAnnotation: "2147483647"},
		"id alone":                      {keywrightv1alpha1.KeyIDAnnotation: "0f0e0d0c-0b0a-4908-8706-050403020100"},
	}
	n := 0
	for name, annotations := range tests {
		n++
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			key := e.apply(e.key(fmt.Sprintf("restored-%d", n), func(k *ek) { k.Annotations = annotations }))
			for range 2 {
				key = e.reconcile(key)
			}
			g.Expect(condition(key, "MaterialAvailable")).To(Equal("False/MaterialMissing"))
			g.Expect(condition(key, "Ready")).To(Equal("False/MaterialMissing"))
			g.Expect(key.Status.State).To(Equal(keywrightv1alpha1.UnavailableKeyState))
			g.Expect(key.Status.CurrentVersion).To(BeZero())
			g.Expect(e.owned(key)).To(BeEmpty())
		})
	}
}

func TestEdge18_StatusAloneIsAClaimToo(t *testing.T) {
	e := newEnv(t)
	key := e.apply(e.key("orders"))
	key.Status.KeyID = "0f0e0d0c-0b0a-4908-8706-050403020100"
	e.Expect(e.client.Status().Update(e.ctx, key)).To(Succeed())
	key = e.reconcile(key)
	e.Expect(condition(key, "MaterialAvailable")).To(Equal("False/MaterialMissing"))
	e.Expect(e.owned(key)).To(BeEmpty())
}

func TestEdge18_OlderSnapshotIsAVersionGap(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	for range 3 {
		e.clock.Step(2 * time.Hour)
		key = e.reconcile(key)
	}
	v4 := e.removeMaterial(key.Status.KeyID, 4)
	v3 := e.removeMaterial(key.Status.KeyID, 3)

	e.clock.Step(24 * time.Hour)
	for range 2 {
		key = e.reconcile(key)
	}
	e.Expect(condition(key, "MaterialAvailable")).To(Equal("False/VersionGap"))
	e.Expect(ready(key).Message).To(ContainSubstring("version 3-4"))
	e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.UnavailableKeyState))
	e.Expect(e.owned(key)).To(HaveLen(2), "nothing is minted over the gap")

	e.Expect(e.client.Create(e.ctx, v3)).To(Succeed())
	e.Expect(e.client.Create(e.ctx, v4)).To(Succeed())
	key = e.reconcile(key)
	e.Expect(condition(key, "MaterialAvailable")).To(Equal("True/AllVersionsAvailable"))
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(5)), "the overdue rotation follows the last version")
}

func TestEdge26_EditedMaterialIsCorruptAndOthersServe(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	e.clock.Step(2 * time.Hour)
	key = e.reconcile(key)
	v1 := e.removeMaterial(key.Status.KeyID, 1)
	forged := v1.DeepCopy()
	forged.Data["sealed"][20] ^= 1
	e.Expect(e.client.Create(e.ctx, forged)).To(Succeed())

	e.clock.Step(24 * time.Hour)
	key = e.reconcile(key)
	e.Expect(condition(key, "MaterialAvailable")).To(Equal("False/MaterialCorrupt"))
	e.Expect(ready(key).Message).To(ContainSubstring("version 1"))
	e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.EnabledKeyState), "version 2 still encrypts")
	e.Expect(condition(key, "RotationUpToDate")).To(Equal("False/RotationBlocked"))
	e.Expect(e.owned(key)).To(HaveLen(2))
}

func TestEdge26_RemovedLabelsDoNotHideMaterial(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders")))
	s := e.secrets(key.Status.KeyID)[0]
	s.Labels = nil
	e.Expect(e.client.Update(e.ctx, &s)).To(Succeed())
	key = e.reconcile(key)
	e.Expect(condition(key, "MaterialAvailable")).To(Equal("True/AllVersionsAvailable"))
	e.Expect(e.owned(key)).To(HaveLen(1))
}

func TestEdge26_AnotherKeysIDInTheAnnotationGivesNothingAway(t *testing.T) {
	e := newEnv(t)
	victim := e.reconcile(e.apply(e.key("victim")))
	claim := func(name, id string) *ek {
		return e.reconcile(e.apply(e.key(name, func(k *ek) {
			k.Annotations = map[string]string{keywrightv1alpha1.KeyIDAnnotation: id, keywrightv1alpha1.LatestVersionAnnotation: "1"}
		})))
	}
	thief := claim("thief", victim.Status.KeyID)
	nobody := claim("nobody", "0f0e0d0c-0b0a-4908-8706-050403020100")
	e.Expect(condition(thief, "MaterialAvailable")).To(Equal("False/MaterialMissing"))
	e.Expect(thief.Status.Versions).To(BeEmpty())
	anonymous := func(key *ek) string {
		return strings.NewReplacer(key.Status.KeyID, "ID", key.Name, "NAME").Replace(ready(key).Message)
	}
	e.Expect(anonymous(thief)).To(Equal(anonymous(nobody)))
}

func TestUnreadableAnnotationsAreSaidAndNothingIsMade(t *testing.T) {
	e := newEnv(t)
	for name, annotations := range map[string]map[string]string{
		"not-a-uuid":    {keywrightv1alpha1.KeyIDAnnotation: "yes please"},
		"upper-case":    {keywrightv1alpha1.KeyIDAnnotation: "0F0E0D0C-0B0A-4908-8706-050403020100"},
		"not-a-version": {keywrightv1alpha1.KeyIDAnnotation: "0f0e0d0c-0b0a-4908-8706-050403020100", keywrightv1alpha1.LatestVersionAnnotation: "-1"},
	} {
		key := e.reconcile(e.apply(e.key(name, func(k *ek) { k.Annotations = annotations })))
		e.Expect(condition(key, "Ready")).To(Equal("False/InvalidKeyID"), name)
		e.Expect(e.owned(key)).To(BeEmpty(), name)
	}
}

func TestDeletedKeyComesBackWithItsIDAndVersions(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	e.clock.Step(2 * time.Hour)
	key = e.reconcile(key)
	before := key.DeepCopy()
	e.Expect(e.client.Delete(e.ctx, key)).To(Succeed())
	e.told()

	back := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	e.Expect(back.UID).NotTo(Equal(before.UID))
	e.Expect(back.Status.KeyID).To(Equal(before.Status.KeyID))
	e.Expect(back.Status.Versions).To(Equal(before.Status.Versions))
	e.Expect(e.owned(key)).To(HaveLen(2))
	e.Expect(e.told()).To(ContainElement(HavePrefix("KeyRecovered Found the material of key " + before.Status.KeyID + ", versions 1 to 2")))
}

func TestAnnotationsThatAreTakenAwayComeBack(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders")))
	e.edit(key, func(k *ek) { k.Annotations = nil })
	key = e.reconcile(key)
	e.Expect(key.Annotations).To(HaveKeyWithValue(keywrightv1alpha1.KeyIDAnnotation, string(key.UID)))
	e.Expect(e.owned(key)).To(HaveLen(1))
}

func TestEdge19_HundredReconcilesAtOnceMakeOneVersion(t *testing.T) {
	e := newEnv(t)
	key := e.apply(e.key("orders", withSchedule("0 * * * *")))
	race := func() {
		var wg sync.WaitGroup
		for range 100 {
			r := e.reconciler(e.client)
			wg.Go(func() {
				_, err := r.Reconcile(e.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(key)})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		key = e.reconcile(key)
	}
	race()
	e.Expect(e.owned(key)).To(HaveLen(1))
	e.clock.Step(2 * time.Hour)
	race()
	e.Expect(e.owned(key)).To(HaveLen(2))
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(2)))
}

func TestMoreVersionsThanStatusShows(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	for range 39 {
		e.clock.Step(2 * time.Hour)
		key = e.reconcile(key)
	}
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(40)))
	e.Expect(key.Status.Versions).To(HaveLen(keywrightv1alpha1.MaxStatusVersions))
	e.Expect(key.Status.Versions[0].Version).To(Equal(int32(40)))
	e.Expect(e.owned(key)).To(HaveLen(40))
}

func TestUnknownKeyStoreIsSaid(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", func(k *ek) { k.Spec.KeyStoreRef.Name = "elsewhere" })))
	e.Expect(condition(key, "Ready")).To(Equal("False/KeyStoreNotFound"))
	e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.CreatingKeyState))
}

func TestClosedRootKeyChangesNoState(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders")))
	e.root.Set(nil)
	unchanged := e.reconcile(key)
	e.Expect(unchanged.ResourceVersion).To(Equal(key.ResourceVersion), "this process not having it open says nothing")

	var store keywrightv1alpha1.KeyStore
	e.Expect(e.client.Get(e.ctx, client.ObjectKey{Name: "default"}, &store)).To(Succeed())
	meta.SetStatusCondition(&store.Status.Conditions, metav1.Condition{
		Type: keywrightv1alpha1.KeyStoreRootKeyAvailableCondition, Status: metav1.ConditionFalse,
		Reason: keywrightv1alpha1.KeyStoreRootKeyUnavailableReason, Message: "gone",
	})
	e.Expect(e.client.Status().Update(e.ctx, &store)).To(Succeed())
	key = e.reconcile(key)
	e.Expect(condition(key, "Ready")).To(Equal("False/RootKeyUnavailable"))
	e.Expect(condition(key, "MaterialAvailable")).To(Equal("Unknown/RootKeyUnavailable"))
	e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.EnabledKeyState))
	e.Expect(key.Status.Versions).To(HaveLen(1))
	store.Status.Conditions = nil
	e.Expect(e.client.Status().Update(e.ctx, &store)).To(Succeed())
}

func TestMaterialRestsInTheSystemNamespaceOnly(t *testing.T) {
	e := newEnv(t)
	e.reconcile(e.apply(e.key("orders")))
	var list corev1.SecretList
	e.Expect(e.client.List(e.ctx, &list, client.InNamespace(e.namespace))).To(Succeed())
	e.Expect(list.Items).To(BeEmpty())
}

func TestDeletedKeyWithCorruptMaterialGetsNoFreshOne(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders")))
	e.Expect(e.client.Delete(e.ctx, key)).To(Succeed())
	forged := e.removeMaterial(key.Status.KeyID, 1)
	forged.Data["sealed"][20] ^= 1
	e.Expect(e.client.Create(e.ctx, forged)).To(Succeed())

	back := e.reconcile(e.apply(e.key("orders")))
	e.Expect(condition(back, "Ready")).To(Equal("False/MaterialCorrupt"))
	e.Expect(e.owned(back)).To(HaveLen(1))
}

func TestEdge21_NothingWaitsForAFinalizer(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders")))
	e.Expect(key.Finalizers).To(BeEmpty())
	for _, s := range e.owned(key) {
		e.Expect(s.Finalizers).To(BeEmpty())
		e.Expect(s.OwnerReferences).To(BeEmpty(), "an owner would take the material along")
	}

	// Somebody else's finalizer holds the resource: it is left alone, status
	// included, so that foreground deletion is not kept busy.
	e.edit(key, func(k *ek) { k.Finalizers = []string{"example.com/hold"} })
	e.Expect(e.client.Delete(e.ctx, key)).To(Succeed())
	held := e.get(key)
	e.clock.Step(24 * time.Hour)
	e.Expect(e.reconcile(key).ResourceVersion).To(Equal(held.ResourceVersion))
	e.edit(held, func(k *ek) { k.Finalizers = nil })
	e.Expect(client.IgnoreNotFound(e.client.Get(e.ctx, client.ObjectKeyFromObject(key), &ek{}))).To(Succeed())
	e.Expect(e.owned(key)).To(HaveLen(1))
}
