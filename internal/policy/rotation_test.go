package policy

import (
	"testing"
	"time"
	_ "time/tzdata"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

const (
	rotation = keywrightv1alpha1.RotationVersionOrigin
	onDemand = keywrightv1alpha1.OnDemandRotationVersionOrigin

	scheduled     = keywrightv1alpha1.EncryptionKeyRotationScheduledReason
	notConfigured = keywrightv1alpha1.EncryptionKeyRotationNotConfiguredReason
	suspended     = keywrightv1alpha1.EncryptionKeyRotationSuspendedReason
	paused        = keywrightv1alpha1.EncryptionKeyRotationPausedReason
	invalid       = keywrightv1alpha1.EncryptionKeyInvalidScheduleReason
)

func at(value string) time.Time {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		panic(err)
	}
	return t
}

func yearly(mutate ...func(*keywrightv1alpha1.RotationSpec)) *keywrightv1alpha1.RotationSpec {
	spec := &keywrightv1alpha1.RotationSpec{Schedule: "0 3 1 1 *"}
	for _, m := range mutate {
		m(spec)
	}
	return spec
}

func request(value string) func(*keywrightv1alpha1.RotationSpec) {
	return func(s *keywrightv1alpha1.RotationSpec) { s.RequestedAt = new(metav1.NewTime(at(value))) }
}

func TestDecideRotation(t *testing.T) {
	created := at("2026-03-01T10:00:00Z")
	tests := map[string]struct {
		spec       *keywrightv1alpha1.RotationSpec
		current    time.Time // default: created
		automatic  time.Time // default: created
		fulfilled  time.Time
		disabled   bool
		now        string
		wantDue    bool
		wantOrigin keywrightv1alpha1.VersionOrigin
		wantNext   string
		wantReason string
	}{
		"no rotation is never due": {
			now: "2036-01-01T00:00:00Z", wantReason: notConfigured,
		},
		"a second before the schedule is not due": {
			spec: yearly(), now: "2027-01-01T02:59:59Z",
			wantNext: "2027-01-01T03:00:00Z", wantReason: scheduled,
		},
		"on the schedule is due": {
			spec: yearly(), now: "2027-01-01T03:00:00Z",
			wantDue: true, wantOrigin: rotation, wantNext: "2027-01-01T03:00:00Z", wantReason: scheduled,
		},
		"ten years overdue is due once, for the first time that passed": {
			spec: yearly(), now: "2037-06-01T00:00:00Z",
			wantDue: true, wantOrigin: rotation, wantNext: "2027-01-01T03:00:00Z", wantReason: scheduled,
		},
		"after the catch-up the next one is in the future": {
			spec: yearly(), current: at("2037-06-01T00:00:00Z"), automatic: at("2037-06-01T00:00:00Z"), now: "2037-06-01T00:00:01Z",
			wantNext: "2038-01-01T03:00:00Z", wantReason: scheduled,
		},
		"period counts from the newest automatic version": {
			spec: &keywrightv1alpha1.RotationSpec{PeriodDays: 90}, now: "2026-05-30T09:59:59Z",
			wantNext: "2026-05-30T10:00:00Z", wantReason: scheduled,
		},
		"period over is due": {
			spec: &keywrightv1alpha1.RotationSpec{PeriodDays: 90}, now: "2026-05-30T10:00:00Z",
			wantDue: true, wantOrigin: rotation, wantNext: "2026-05-30T10:00:00Z", wantReason: scheduled,
		},
		"rotation on demand does not move the period": {
			spec:    &keywrightv1alpha1.RotationSpec{PeriodDays: 90},
			current: at("2026-05-29T10:00:00Z"), now: "2026-05-29T11:00:00Z",
			wantNext: "2026-05-30T10:00:00Z", wantReason: scheduled,
		},
		"a request is due at once": {
			spec: yearly(request("2026-04-01T00:00:00Z")), now: "2026-04-01T00:00:00Z",
			wantDue: true, wantOrigin: onDemand, wantNext: "2026-04-01T00:00:00Z", wantReason: scheduled,
		},
		"a request on an overdue schedule is the scheduled rotation": {
			spec: yearly(request("2027-06-01T00:00:00Z")), now: "2027-06-01T00:00:00Z",
			wantDue: true, wantOrigin: rotation, wantNext: "2027-01-01T03:00:00Z", wantReason: scheduled,
		},
		"a request from before the current version is old": {
			spec: yearly(request("2026-02-01T00:00:00Z")), now: "2026-04-01T00:00:00Z",
			wantNext: "2027-01-01T03:00:00Z", wantReason: scheduled,
		},
		"a fulfilled request is not due again": {
			spec:    yearly(request("2026-04-01T00:00:00Z")),
			current: at("2026-04-01T00:00:00Z"), fulfilled: at("2026-04-01T00:00:00Z"), now: "2026-04-01T00:00:00Z",
			wantNext: "2027-01-01T03:00:00Z", wantReason: scheduled,
		},
		"a request in the second of the current version is honoured": {
			spec: yearly(request("2026-03-01T10:00:00Z")), current: at("2026-03-01T10:00:00Z").Add(700 * time.Millisecond), now: "2026-03-01T10:00:01Z",
			wantDue: true, wantOrigin: onDemand, wantNext: "2026-03-01T10:00:00Z", wantReason: scheduled,
		},
		"a request in the future waits": {
			spec: yearly(request("2026-05-01T00:00:00Z")), now: "2026-04-01T00:00:00Z",
			wantNext: "2026-05-01T00:00:00Z", wantReason: scheduled,
		},
		"a request without a schedule is honoured": {
			spec: &keywrightv1alpha1.RotationSpec{RequestedAt: new(metav1.NewTime(at("2026-04-01T00:00:00Z")))}, now: "2026-04-01T00:00:00Z",
			wantDue: true, wantOrigin: onDemand, wantNext: "2026-04-01T00:00:00Z", wantReason: notConfigured,
		},
		"suspend stops the schedule": {
			spec: yearly(func(s *keywrightv1alpha1.RotationSpec) { s.Suspend = new(true) }), now: "2037-06-01T00:00:00Z",
			wantReason: suspended,
		},
		"suspend does not stop a request": {
			spec: yearly(request("2026-04-01T00:00:00Z"), func(s *keywrightv1alpha1.RotationSpec) { s.Suspend = new(true) }), now: "2026-04-01T00:00:00Z",
			wantDue: true, wantOrigin: onDemand, wantNext: "2026-04-01T00:00:00Z", wantReason: suspended,
		},
		"a disabled key is never due": {
			spec: yearly(request("2026-04-01T00:00:00Z")), disabled: true, now: "2037-06-01T00:00:00Z",
			wantReason: paused,
		},
		"rubbish is invalid": {
			spec: &keywrightv1alpha1.RotationSpec{Schedule: "every now and then"}, now: "2037-06-01T00:00:00Z",
			wantReason: invalid,
		},
		"a date that does not exist is invalid": {
			spec: &keywrightv1alpha1.RotationSpec{Schedule: "0 0 30 2 *"}, now: "2037-06-01T00:00:00Z",
			wantReason: invalid,
		},
		"every second is invalid": {
			spec: &keywrightv1alpha1.RotationSpec{Schedule: "@every 1s"}, now: "2037-06-01T00:00:00Z",
			wantReason: invalid,
		},
		"a time zone inside the schedule is invalid": {
			spec: &keywrightv1alpha1.RotationSpec{Schedule: "TZ=UTC"}, now: "2037-06-01T00:00:00Z",
			wantReason: invalid,
		},
		"an unknown time zone is invalid": {
			spec: yearly(func(s *keywrightv1alpha1.RotationSpec) { s.TimeZone = "Europe/Nowhere" }), now: "2037-06-01T00:00:00Z",
			wantReason: invalid,
		},
		"the time zone of the node is invalid": {
			spec: yearly(func(s *keywrightv1alpha1.RotationSpec) { s.TimeZone = "Local" }), now: "2037-06-01T00:00:00Z",
			wantReason: invalid,
		},
		"a request is honoured although the schedule is invalid": {
			spec: &keywrightv1alpha1.RotationSpec{Schedule: "rubbish", RequestedAt: new(metav1.NewTime(at("2026-04-01T00:00:00Z")))}, now: "2026-04-01T00:00:00Z",
			wantDue: true, wantOrigin: onDemand, wantNext: "2026-04-01T00:00:00Z", wantReason: invalid,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := RotationInput{
				Spec: tt.spec, Enabled: !tt.disabled,
				CurrentSince: tt.current, AutomaticSince: tt.automatic, Fulfilled: tt.fulfilled,
			}
			if in.CurrentSince.IsZero() {
				in.CurrentSince = created
			}
			if in.AutomaticSince.IsZero() {
				in.AutomaticSince = created
			}
			got := DecideRotation(in, at(tt.now))
			gotNext := ""
			if !got.Next.IsZero() {
				gotNext = got.Next.UTC().Format(time.RFC3339)
			}
			if got.Due != tt.wantDue || got.Origin != tt.wantOrigin || gotNext != tt.wantNext || got.Reason != tt.wantReason || got.Message == "" {
				t.Errorf("DecideRotation() = due %v (%q), next %q, %q: %q\nwant due %v (%q), next %q, %q",
					got.Due, got.Origin, gotNext, got.Reason, got.Message, tt.wantDue, tt.wantOrigin, tt.wantNext, tt.wantReason)
			}
		})
	}
}

// rotations plays a schedule over a span of time in steps, as a controller that
// looks at every step would, and returns when it rotated.
func rotations(spec *keywrightv1alpha1.RotationSpec, from, to time.Time, step time.Duration) []time.Time {
	in := RotationInput{Spec: spec, Enabled: true, CurrentSince: from, AutomaticSince: from}
	var rotated []time.Time
	for now := from; now.Before(to); now = now.Add(step) {
		if DecideRotation(in, now).Due {
			in.CurrentSince, in.AutomaticSince = now, now
			rotated = append(rotated, now)
		}
	}
	return rotated
}

func TestEdge15_ScheduleCrossesDaylightSavingAndLeapDay(t *testing.T) {
	tests := map[string]struct {
		spec     keywrightv1alpha1.RotationSpec
		from, to string
		want     int
	}{
		"an hour that is skipped in spring rotates on every other day": {
			spec: keywrightv1alpha1.RotationSpec{Schedule: "30 2 * * *", TimeZone: "Europe/Oslo"},
			from: "2026-03-27T12:00:00Z", to: "2026-03-31T12:00:00Z", want: 3,
		},
		"an hour that comes twice in autumn rotates twice, as a CronJob runs twice": {
			spec: keywrightv1alpha1.RotationSpec{Schedule: "30 2 25 10 *", TimeZone: "Europe/Oslo"},
			from: "2026-10-24T12:00:00Z", to: "2026-10-26T12:00:00Z", want: 2,
		},
		"29 February rotates in leap years": {
			spec: keywrightv1alpha1.RotationSpec{Schedule: "0 0 29 2 *"},
			from: "2027-01-01T00:00:00Z", to: "2033-01-01T00:00:00Z", want: 2,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := rotations(&tt.spec, at(tt.from), at(tt.to), 30*time.Minute)
			if len(got) != tt.want {
				t.Errorf("rotated %d times, want %d: %v", len(got), tt.want, got)
			}
		})
	}
}

func TestEdge15_ClockThatJumpsRotatesAtMostOnce(t *testing.T) {
	created := at("2026-03-01T10:00:00Z")
	for _, jump := range []time.Duration{-400 * day, -time.Hour, time.Hour, 400 * day} {
		in := RotationInput{Spec: yearly(), Enabled: true, CurrentSince: created, AutomaticSince: created}
		now := created.Add(time.Minute)
		count := 0
		for range 5 {
			now = now.Add(jump)
			if DecideRotation(in, now).Due {
				in.CurrentSince, in.AutomaticSince = now, now
				count++
			}
			// And back: the clock is set right again.
			now = now.Add(-jump)
			if DecideRotation(in, now).Due {
				t.Errorf("jump %v: due after the clock was set right", jump)
			}
		}
		if want := map[bool]int{true: 1, false: 0}[jump > 300*day]; count != want {
			t.Errorf("jump %v: rotated %d times, want %d", jump, count, want)
		}
	}
}

func TestEdge16_RotationsThatFallDueTogetherAreSpread(t *testing.T) {
	created := at("2026-03-01T10:00:00Z")
	due := map[time.Time]int{}
	for i := range 1000 {
		var id [16]byte
		for b := range id {
			id[b] = byte(i*7 + b*13 + i>>3)
		}
		in := RotationInput{KeyID: id, Spec: yearly(), Enabled: true, CurrentSince: created, AutomaticSince: created}
		next := DecideRotation(in, created).Next
		if next.Before(at("2027-01-01T03:00:00Z")) || !next.Before(at("2027-01-01T04:00:00Z")) {
			t.Fatalf("due at %v, outside the hour after the schedule", next)
		}
		if again := DecideRotation(in, created.Add(time.Hour)).Next; !again.Equal(next) {
			t.Fatalf("due at %v, then at %v", next, again)
		}
		due[next.Truncate(time.Minute)]++
	}
	if len(due) < 30 {
		t.Errorf("1000 keys fall due in %d different minutes", len(due))
	}
	for minute, n := range due {
		if n > 200 {
			t.Errorf("%d of 1000 keys fall due at %v", n, minute)
		}
	}
}
