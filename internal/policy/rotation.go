// Package policy is decisions over time, as pure functions: the same input and
// the same time give the same answer, on every leader and after every restart.
package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

const day = 24 * time.Hour

// maxJitter bounds by how much automatic rotations are spread.
const maxJitter = time.Hour

// DefaultMinInterval is the shortest time between two automatic rotations where
// nothing else is configured. Every rotation leaves a version that is kept.
const DefaultMinInterval = time.Minute

// RotationInput is what the decision whether to rotate is made from. All of it
// is in the sealed material and the spec; none of it is status.
type RotationInput struct {
	// KeyID spreads the automatic rotations of different keys.
	KeyID [16]byte
	// Spec is the rotation part of the key's spec; may be nil.
	Spec *keywrightv1alpha1.RotationSpec
	// MinInterval is the shortest time between two automatic rotations; a schedule
	// that asks for more is invalid. Zero means DefaultMinInterval.
	MinInterval time.Duration
	// Enabled says whether the key is enabled.
	Enabled bool
	// CurrentSince is when the current version was made.
	CurrentSince time.Time
	// AutomaticSince is when the newest version was made that nobody asked for on
	// demand: the first one, or one that the schedule made. It anchors the
	// schedule, which on-demand rotation does not move.
	AutomaticSince time.Time
	// Fulfilled is the latest requestedAt that some version was made for.
	Fulfilled time.Time
}

// RotationDecision is what to do about rotation.
type RotationDecision struct {
	// Due says to make a new version now, and Origin why.
	Due    bool
	Origin keywrightv1alpha1.VersionOrigin
	// Next is when the next rotation is due; zero when none is to come. When Due is
	// set it is the time that has passed.
	Next time.Time
	// Reason is a reason of the RotationUpToDate condition, for a key that is not
	// due.
	Reason string
	// Message explains Reason.
	Message string
	// Invalid is set when the schedule cannot be followed. Nothing automatic is due
	// then.
	Invalid bool
}

// DecideRotation decides whether a key is to be rotated at the time now. A key
// that is overdue by many intervals is due once.
func DecideRotation(in RotationInput, now time.Time) RotationDecision {
	automatic, decision := automaticRotation(in)
	requested, pending := pendingRequest(in)
	if !in.Enabled {
		if in.Spec != nil && !decision.Invalid {
			decision.Reason = keywrightv1alpha1.EncryptionKeyRotationPausedReason
			decision.Message = "The key is disabled; an overdue rotation happens when it is enabled"
		}
		return decision
	}
	// When both are due, one rotation meets both, and counts as the scheduled one:
	// otherwise the schedule would still be overdue after it.
	switch {
	case !automatic.IsZero() && !now.Before(automatic):
		decision.Due, decision.Origin, decision.Next = true, keywrightv1alpha1.RotationVersionOrigin, automatic
	case pending && !now.Before(requested):
		decision.Due, decision.Origin, decision.Next = true, keywrightv1alpha1.OnDemandRotationVersionOrigin, requested
	case pending && (automatic.IsZero() || requested.Before(automatic)):
		decision.Next = requested
	default:
		decision.Next = automatic
	}
	if pending && !decision.Due && !decision.Invalid {
		decision.Reason = keywrightv1alpha1.EncryptionKeyRotationScheduledReason
		decision.Message = "A rotation is requested for " + requested.UTC().Format(time.RFC3339)
	}
	return decision
}

// pendingRequest returns the requestedAt that no version has fulfilled. Times in
// a resource have whole seconds, hence the truncation: a request in the second in
// which the current version was made is honoured, once.
func pendingRequest(in RotationInput) (time.Time, bool) {
	if in.Spec == nil || in.Spec.RequestedAt == nil {
		return time.Time{}, false
	}
	requested := in.Spec.RequestedAt.Time
	pending := requested.After(in.Fulfilled) && !requested.Before(in.CurrentSince.Truncate(time.Second))
	return requested, pending
}

// automaticRotation returns when the schedule asks for the next rotation; zero
// when it asks for none.
func automaticRotation(in RotationInput) (time.Time, RotationDecision) {
	spec := in.Spec
	if spec == nil || spec.Schedule == "" && spec.PeriodDays == 0 {
		return time.Time{}, RotationDecision{
			Reason:  keywrightv1alpha1.EncryptionKeyRotationNotConfiguredReason,
			Message: "The key does not rotate by itself; spec.rotation says when it should",
		}
	}
	due, err := nextAutomatic(in)
	if err != nil {
		return time.Time{}, RotationDecision{
			Invalid: true,
			Reason:  keywrightv1alpha1.EncryptionKeyInvalidScheduleReason,
			Message: err.Error(),
		}
	}
	if spec.Suspend != nil && *spec.Suspend {
		return time.Time{}, RotationDecision{
			Reason:  keywrightv1alpha1.EncryptionKeyRotationSuspendedReason,
			Message: "spec.rotation.suspend is true; an overdue rotation happens when it is lifted",
		}
	}
	return due, RotationDecision{
		Reason:  keywrightv1alpha1.EncryptionKeyRotationScheduledReason,
		Message: "The next rotation is due at " + due.UTC().Format(time.RFC3339),
	}
}

func nextAutomatic(in RotationInput) (time.Time, error) {
	spec, since, keyID := in.Spec, in.AutomaticSince, in.KeyID
	if spec.PeriodDays != 0 {
		period := time.Duration(spec.PeriodDays) * day
		return since.Add(period + jitter(keyID, period)), nil
	}
	location, err := loadLocation(spec.TimeZone)
	if err != nil {
		return time.Time{}, err
	}
	schedule, err := parseSchedule(spec.Schedule)
	if err != nil {
		return time.Time{}, err
	}
	first := schedule.Next(since.In(location))
	if first.IsZero() {
		return time.Time{}, fmt.Errorf("spec.rotation.schedule %q names no date that exists", spec.Schedule)
	}
	interval := maxJitter * 10
	if second := schedule.Next(first); !second.IsZero() {
		interval = second.Sub(first)
	}
	shortest := in.MinInterval
	if shortest == 0 {
		shortest = DefaultMinInterval
	}
	if interval < shortest {
		return time.Time{}, fmt.Errorf("spec.rotation.schedule %q rotates more often than every %v, the shortest interval that this installation allows", spec.Schedule, shortest)
	}
	return first.Add(jitter(keyID, interval)).UTC(), nil
}

func parseSchedule(expression string) (cron.Schedule, error) {
	// A time zone inside the expression would compete with timeZone.
	if strings.Contains(expression, "TZ") {
		return nil, errors.New("spec.rotation.schedule must not hold a time zone; set spec.rotation.timeZone")
	}
	schedule, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, fmt.Errorf("spec.rotation.schedule %q is not a cron expression: %w", expression, err)
	}
	return schedule, nil
}

func loadLocation(name string) (*time.Location, error) {
	// "Local" would mean something else on every node.
	if name == "Local" {
		return nil, errors.New(`spec.rotation.timeZone "Local" depends on the node; give an IANA name such as Europe/Oslo`)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("spec.rotation.timeZone %q is not an IANA time zone such as Europe/Oslo", name)
	}
	return location, nil
}

// jitter spreads rotations that fall due together over a tenth of their interval,
// an hour at most. It depends on the key alone, so a key is always due at the
// same moment, whoever asks. Key ids are random, so their bits serve as they are.
func jitter(keyID [16]byte, interval time.Duration) time.Duration {
	limit := min(interval/10, maxJitter)
	if limit <= 0 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(keyID[8:]) % uint64(limit)) //nolint:gosec // less than limit
}
