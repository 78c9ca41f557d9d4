package v1alpha1

// EncryptionKey's Ready condition and corresponding reasons.
const (
	// EncryptionKeyReadyCondition is True if the key is enabled, its current
	// version encrypts, every version that was ever stored decrypts, and its
	// rotation settings can be followed. It is computed from the other conditions;
	// when it is False it carries the reason of the first of them that is not True.
	EncryptionKeyReadyCondition = "Ready"
	// EncryptionKeyReadyReason surfaces when the key is ready.
	EncryptionKeyReadyReason = "KeyReady"
	// EncryptionKeyDisabledReason surfaces when spec.enabled is false.
	EncryptionKeyDisabledReason = "Disabled"
)

// EncryptionKey's MaterialAvailable condition and corresponding reasons.
const (
	// EncryptionKeyMaterialAvailableCondition is True if sealed material exists,
	// and opens, for every version from 1 to the latest that was ever stored.
	EncryptionKeyMaterialAvailableCondition = "MaterialAvailable"
	// EncryptionKeyMaterialAvailableReason surfaces when all of it is there.
	EncryptionKeyMaterialAvailableReason = "AllVersionsAvailable"
	// EncryptionKeyMaterialMissingReason surfaces when material that was promised
	// is not there. Nothing is made in its place: restore the material Secrets.
	EncryptionKeyMaterialMissingReason = "MaterialMissing"
	// EncryptionKeyVersionGapReason surfaces when the latest versions that were
	// promised are not there while earlier ones are, as after a restore of an
	// older backup. Nothing is made over them: restore the newer material Secrets.
	EncryptionKeyVersionGapReason = "VersionGap"
	// EncryptionKeyMaterialCorruptReason surfaces when a material Secret is there
	// and does not open: it was edited, swapped, or sealed under another root key.
	EncryptionKeyMaterialCorruptReason = "MaterialCorrupt"
	// EncryptionKeyInvalidKeyIDReason surfaces when the annotation
	// keywright.dev/key-id or keywright.dev/latest-version cannot be read.
	EncryptionKeyInvalidKeyIDReason = "InvalidKeyID"
	// EncryptionKeyMaterialNotCreatedReason surfaces while the first version is
	// not stored, because the key store cannot be used yet.
	EncryptionKeyMaterialNotCreatedReason = "NotCreated"
)

// EncryptionKey's KeyStoreAvailable condition and corresponding reasons.
const (
	// EncryptionKeyKeyStoreAvailableCondition is True if the key store that
	// spec.keyStoreRef names exists and can be used.
	EncryptionKeyKeyStoreAvailableCondition = "KeyStoreAvailable"
	// EncryptionKeyKeyStoreAvailableReason surfaces when the key store is usable.
	EncryptionKeyKeyStoreAvailableReason = "KeyStoreAvailable"
	// EncryptionKeyKeyStoreNotFoundReason surfaces when no KeyStore has the name.
	EncryptionKeyKeyStoreNotFoundReason = "KeyStoreNotFound"
	// EncryptionKeyRootKeyUnavailableReason surfaces when the root key of the
	// software key store cannot be opened.
	EncryptionKeyRootKeyUnavailableReason = "RootKeyUnavailable"
)

// EncryptionKey's RotationUpToDate condition and corresponding reasons.
const (
	// EncryptionKeyRotationUpToDateCondition is True if no rotation is overdue.
	EncryptionKeyRotationUpToDateCondition = "RotationUpToDate"
	// EncryptionKeyRotationScheduledReason surfaces when a next rotation is known.
	EncryptionKeyRotationScheduledReason = "RotationScheduled"
	// EncryptionKeyRotationNotConfiguredReason surfaces when the key does not
	// rotate by itself.
	EncryptionKeyRotationNotConfiguredReason = "RotationNotConfigured"
	// EncryptionKeyRotationSuspendedReason surfaces when spec.rotation.suspend
	// is true.
	EncryptionKeyRotationSuspendedReason = "RotationSuspended"
	// EncryptionKeyRotationPausedReason surfaces when the key is disabled: its
	// schedule is kept, and an overdue rotation happens when it is enabled again.
	EncryptionKeyRotationPausedReason = "RotationPaused"
	// EncryptionKeyInvalidScheduleReason surfaces when spec.rotation.schedule or
	// spec.rotation.timeZone cannot be parsed. Nothing else about the key changes.
	EncryptionKeyInvalidScheduleReason = "InvalidSchedule"
	// EncryptionKeyRotationBlockedReason surfaces when a rotation is due and
	// cannot be done, because material or the key store is not available.
	EncryptionKeyRotationBlockedReason = "RotationBlocked"
)

// Reasons of the events on an EncryptionKey. Failures use the reasons of the
// conditions that they change.
const (
	// KeyCreatedEventReason is the event when the first version is stored.
	KeyCreatedEventReason = "KeyCreated"
	// KeyRotatedEventReason is the event when a rotation is stored.
	KeyRotatedEventReason = "KeyRotated"
	// KeyRecoveredEventReason is the event when a resource that was deleted comes
	// back and finds its material.
	KeyRecoveredEventReason = "KeyRecovered"
	// KeyEnabledEventReason is the event when a disabled key is enabled.
	KeyEnabledEventReason = "KeyEnabled"
	// KeyDisabledEventReason is the event when an enabled key is disabled.
	KeyDisabledEventReason = "KeyDisabled"
)
