package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

type (
	ek       = keywrightv1alpha1.EncryptionKey
	rotation = keywrightv1alpha1.RotationSpec
)

func validKey(name string) *ek {
	return &ek{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       keywrightv1alpha1.EncryptionKeySpec{Type: keywrightv1alpha1.CustomerManagedKeyType},
	}
}

func rotating(r rotation) func(*ek) { return func(k *ek) { k.Spec.Rotation = &r } }

// check compares an error with the messages that it must hold; none means that
// there must be no error.
func check(t *testing.T, err error, want ...string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if err == nil {
		t.Errorf("accepted, want refused with %q", want)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("refused with %q, want %q in it", err, w)
		}
	}
}

func TestEncryptionKeyCreateRules(t *testing.T) {
	now := metav1.NewTime(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC))
	tests := map[string]struct {
		mutate func(*ek)
		want   []string
	}{
		"the plainest key":             {mutate: func(*ek) {}},
		"schedule with time zone":      {mutate: rotating(rotation{Schedule: "0 3 1 1 *", TimeZone: "Europe/Oslo"})},
		"shortest period":              {mutate: rotating(rotation{PeriodDays: 90})},
		"longest period":               {mutate: rotating(rotation{PeriodDays: 2560})},
		"request alone":                {mutate: rotating(rotation{RequestedAt: &now})},
		"longest description":          {mutate: func(k *ek) { k.Spec.Description = strings.Repeat("x", 8192) }},
		"schedule that is not cron":    {mutate: rotating(rotation{Schedule: "a condition says so later"})},
		"no type":                      {mutate: func(k *ek) { k.Spec.Type = "" }, want: []string{"spec: Required value"}},
		"a type of a later release":    {mutate: func(k *ek) { k.Spec.Type = "HSM" }, want: []string{"spec.type", "CustomerManaged"}},
		"unknown key spec":             {mutate: func(k *ek) { k.Spec.KeySpec = "ROT13" }, want: []string{"spec.keySpec", "SYMMETRIC_DEFAULT"}},
		"unknown usage":                {mutate: func(k *ek) { k.Spec.KeyUsage = "SignVerify" }, want: []string{"spec.keyUsage", "EncryptDecrypt"}},
		"unknown origin":               {mutate: func(k *ek) { k.Spec.Origin = "External" }, want: []string{"spec.origin", "Generated"}},
		"store name that is no name":   {mutate: func(k *ek) { k.Spec.KeyStoreRef.Name = "../secrets" }, want: []string{"spec.keyStoreRef.name"}},
		"schedule and period":          {mutate: rotating(rotation{Schedule: "0 3 1 1 *", PeriodDays: 90}), want: []string{"set schedule or periodDays, not both"}},
		"rotation that says nothing":   {mutate: rotating(rotation{Suspend: new(true)}), want: []string{"set schedule or periodDays for automatic rotation"}},
		"time zone without a schedule": {mutate: rotating(rotation{PeriodDays: 90, TimeZone: "UTC"}), want: []string{"timeZone goes with schedule"}},
		"time zone inside schedule":    {mutate: rotating(rotation{Schedule: "CRON_TZ=UTC 0 3 1 1 *"}), want: []string{"give the time zone in timeZone"}},
		"period too short":             {mutate: rotating(rotation{PeriodDays: 89}), want: []string{"spec.rotation.periodDays", "90"}},
		"period too long":              {mutate: rotating(rotation{PeriodDays: 2561}), want: []string{"spec.rotation.periodDays", "2560"}},
		"description too long":         {mutate: func(k *ek) { k.Spec.Description = strings.Repeat("x", 8193) }, want: []string{"spec.description"}},
		"schedule too long":            {mutate: rotating(rotation{Schedule: strings.Repeat("*", 101)}), want: []string{"spec.rotation.schedule"}},
	}
	n := 0
	for name, tt := range tests {
		n++
		t.Run(name, func(t *testing.T) {
			key := validKey(fmt.Sprintf("create-%d", n))
			tt.mutate(key)
			check(t, c.Create(t.Context(), key), tt.want...)
		})
	}
}

func TestEncryptionKeyStoredDefaults(t *testing.T) {
	key := validKey("defaults")
	check(t, c.Create(t.Context(), key))
	got, err := json.Marshal(key.Spec)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"CustomerManaged","keySpec":"SYMMETRIC_DEFAULT","keyUsage":"EncryptDecrypt","origin":"Generated","keyStoreRef":{"name":"default"}}`
	if string(got) != want {
		t.Errorf("spec is %s, want %s", got, want)
	}
}

func TestEncryptionKeyUpdateRules(t *testing.T) {
	tests := map[string]struct {
		patch string
		want  []string
	}{
		"disable":             {patch: `{"spec":{"enabled":false}}`},
		"describe":            {patch: `{"spec":{"description":"Order payloads"}}`},
		"add rotation":        {patch: `{"spec":{"rotation":{"periodDays":365}}}`},
		"change type":         {patch: `{"spec":{"type":"HSM"}}`, want: []string{"spec.type", "supported values"}},
		"change key store":    {patch: `{"spec":{"keyStoreRef":{"name":"other"}}}`, want: []string{"keyStoreRef is immutable", "re-encrypt"}},
		"unknown field":       {patch: `{"spec":{"enabld":false}}`, want: []string{"field not declared in schema"}},
		"state as spec":       {patch: `{"spec":{"state":"Enabled"}}`, want: []string{"field not declared in schema"}},
		"enabled as a string": {patch: `{"spec":{"enabled":"no"}}`, want: []string{"spec.enabled"}},
	}
	key := validKey("update")
	check(t, c.Create(t.Context(), key))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := plane.Kubectl(t.Context(), "patch", "encryptionkey", key.Name, "--namespace=default", "--type=merge", "--patch="+tt.patch, "--dry-run=server")
			if err == nil && len(tt.want) > 0 && tt.want[0] == "field not declared in schema" {
				// kubectl patch drops unknown fields with a warning; apply refuses them.
				manifest := strings.Replace(tt.patch, `{"spec":{`, `{"apiVersion":"keywright.dev/v1alpha1","kind":"EncryptionKey","metadata":{"name":"update","namespace":"default"},"spec":{"type":"CustomerManaged",`, 1)
				err = applyStrictly(t, manifest)
			}
			check(t, err, tt.want...)
		})
	}
}

func TestKeyStoreRules(t *testing.T) {
	tests := map[string]struct {
		manifest string
		want     []string
	}{
		"default":            {manifest: `{"metadata":{"name":"default"},"spec":{"software":{}}}`},
		"sealed by a Secret": {manifest: `{"metadata":{"name":"default"},"spec":{"software":{"rootKey":{"sealers":[{"name":"secret","secret":{}}]}}}}`},
		"another name":       {manifest: `{"metadata":{"name":"other"},"spec":{"software":{}}}`, want: []string{"the software key store is the KeyStore named default"}},
		"no provider":        {manifest: `{"metadata":{"name":"default"},"spec":{}}`, want: []string{"set software: {}"}},
		"no sealer":          {manifest: `{"metadata":{"name":"default"},"spec":{"software":{"rootKey":{"sealers":[]}}}}`, want: []string{"sealers"}},
		"unknown sealer":     {manifest: `{"metadata":{"name":"default"},"spec":{"software":{"rootKey":{"sealers":[{"name":"x"}]}}}}`, want: []string{"set secret: {}"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			check(t, applyStrictly(t, strings.Replace(tt.manifest, `{`, `{"apiVersion":"keywright.dev/v1alpha1","kind":"KeyStore",`, 1)), tt.want...)
		})
	}
}

func TestColumnsAndShortNames(t *testing.T) {
	check(t, c.Create(t.Context(), validKey("columns")))
	for _, tt := range []struct{ args, want string }{
		{"get ek columns -n default", "NAME TYPE SPEC STATE VERSION NEXT ROTATION READY AGE"},
		{"get ek columns -n default -o wide", "NAME TYPE SPEC STATE VERSION NEXT ROTATION READY AGE KEY ID STORE ORIGIN REASON"},
		{"get keywright -n default", "NAME TYPE SPEC STATE VERSION NEXT ROTATION READY AGE"},
		{"explain encryptionkey.spec.rotation.requestedAt", "GROUP: keywright.dev"},
	} {
		out, err := plane.Kubectl(t.Context(), strings.Fields(tt.args)...)
		if err != nil {
			t.Errorf("kubectl %s: %v", tt.args, err)
			continue
		}
		first, _, _ := strings.Cut(out, "\n")
		if got := strings.Join(strings.Fields(first), " "); got != tt.want {
			t.Errorf("kubectl %s starts with %q, want %q", tt.args, got, tt.want)
		}
	}
}
