package principal_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/keywright/keywright/internal/principal"
)

func TestDigestTellsPrincipalsApart(t *testing.T) {
	users := map[string]*user.DefaultInfo{
		"a name":                  {Name: "ab"},
		"another name":            {Name: "a"},
		"a name and a uid":        {Name: "a", UID: "b"},
		"one group":               {Name: "a", Groups: []string{"bc"}},
		"two groups":              {Name: "a", Groups: []string{"b", "c"}},
		"groups in other order":   {Name: "a", Groups: []string{"c", "b"}},
		"extra":                   {Name: "a", Extra: map[string][]string{"b": {"c"}}},
		"extra with two values":   {Name: "a", Extra: map[string][]string{"b": {"c", "d"}}},
		"two extras":              {Name: "a", Extra: map[string][]string{"b": {"c"}, "d": {}}},
		"extra, border elsewhere": {Name: "a", Extra: map[string][]string{"bc": {""}}},
	}
	seen := map[principal.Digest]string{}
	for name, info := range users {
		d := principal.DigestOf(info)
		if other, ok := seen[d]; ok {
			t.Errorf("%q and %q have the same digest", name, other)
		}
		seen[d] = name
	}
}

func TestNewAddsAuthenticatedOnce(t *testing.T) {
	p := principal.New(&user.DefaultInfo{Name: "a", Groups: []string{"g"}})
	if diff := cmp.Diff([]string{"g", "system:authenticated"}, p.GetGroups()); diff != "" {
		t.Error(diff)
	}
	again := principal.New(p.Info)
	if diff := cmp.Diff(p.GetGroups(), again.GetGroups()); diff != "" {
		t.Error(diff)
	}
	if principal.DigestOf(p) != principal.DigestOf(p.Info) || principal.DigestOf(p) != principal.DigestOf(again) {
		t.Error("the digest of a Principal is not the digest of its user")
	}
}
