package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckNamesEveryBadLink(t *testing.T) {
	got, err := newChecker("testdata").check([]string{"docs/page.md", "README.md"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"docs/page.md:12: missing.md: no such file",
		"docs/page.md:13: missing.png: no such file",
		"docs/page.md:14: ../README.md#nowhere: no such heading in README.md",
		"docs/page.md:16: #twice-2: no such heading in docs/page.md",
		"docs/page.md:17: ../../main.go: leaves the repository",
		"docs/page.md:18: gone.md: no such file",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestSlugFollowsGitHub(t *testing.T) {
	tests := map[string]string{
		"Key states":               "key-states",
		"What's new in v1.2?":      "whats-new-in-v12",
		"`make run` and ONCE=1":    "make-run-and-once1",
		"A - B":                    "a---b",
		"snake_case stays":         "snake_case-stays",
		"Schlüssel":                "schlüssel",
		" spaces around ":          "spaces-around",
		"Encrypt / decrypt (fast)": "encrypt--decrypt-fast",
	}
	for heading, want := range tests {
		if got := slug(heading); got != want {
			t.Errorf("slug(%q) = %q, want %q", heading, got, want)
		}
	}
}
