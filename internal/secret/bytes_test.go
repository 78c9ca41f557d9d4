package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestBytesNeverPrintThemselves(t *testing.T) {
	const raw = "hunter2-hunter2"
	s := New([]byte(raw))
	holder := struct {
		Key Bytes
		Ptr *Bytes
	}{s, &s}

	outputs := map[string]string{"String": s.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%t", "%e", "%p", "%w", "%z"} {
		outputs["value "+verb] = fmt.Sprintf(verb, s)
		outputs["pointer "+verb] = fmt.Sprintf(verb, &s)
		outputs["slice "+verb] = fmt.Sprintf(verb, []Bytes{s})
		outputs["error "+verb] = fmt.Errorf("open "+verb, s).Error() //nolint:goerr113 // the verb is the subject of the test
	}
	outputs["struct"] = fmt.Sprintf("%+v", holder)
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	outputs["json"] = string(encoded)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("opened", "key", s, "holder", holder)
	slog.New(slog.NewTextHandler(&log, nil)).Info("opened", "key", s, "holder", holder)
	outputs["slog"] = log.String()

	for name, got := range outputs {
		for _, leak := range []string{raw, fmt.Sprintf("%x", raw), fmt.Sprintf("%X", raw), "104 117 110", "aHVudGVy"} {
			if strings.Contains(got, leak) {
				t.Errorf("%s prints the key: %s", name, got)
			}
		}
		// For these verbs fmt prints fields by itself, and there is none to print.
		bypassed := strings.HasSuffix(name, "%p") || strings.HasSuffix(name, "%w")
		if !bypassed && !strings.Contains(got, redacted) {
			t.Errorf("%s does not say %s: %s", name, redacted, got)
		}
	}
}

func TestBytesEqualAndClear(t *testing.T) {
	a, b := Random(32), Random(32)
	if a.Equal(b) || !a.Equal(a) || a.Equal(New(nil)) {
		t.Error("Equal compares wrongly")
	}
	if a.Len() != 32 {
		t.Errorf("Len() = %d, want 32", a.Len())
	}
	a.Clear()
	if !a.Equal(New(make([]byte, 32))) {
		t.Error("Clear left bytes behind")
	}
}

func TestZeroBytes(t *testing.T) {
	var zero Bytes
	if zero.Len() != 0 || zero.Unsafe() != nil || !zero.Equal(New(nil)) || zero.String() != redacted {
		t.Error("the zero value is not empty")
	}
	zero.Clear()
}
