package chart_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"
)

// schema is the part of JSON Schema that the values use.
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Properties           map[string]*schema `json:"properties"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Definitions          map[string]*schema `json:"definitions"`
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(chart + "/values.schema.json")
	g.Expect(err).NotTo(HaveOccurred())
	out := &schema{}
	g.Expect(json.Unmarshal(text, out)).To(Succeed())
	return out
}

func (s *schema) resolve(root *schema) *schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
		return root.Definitions[name]
	}
	return s
}

// TestValuesAndSchemaAgree: every value is in the schema, and the schema knows none
// that values.yaml does not explain.
func TestValuesAndSchemaAgree(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile(chart + "/values.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	var values map[string]any
	g.Expect(yaml.UnmarshalStrict(text, &values)).To(Succeed())
	top := readSchema(t)

	var walk func(path string, value any, s *schema)
	walk = func(path string, value any, s *schema) {
		s = s.resolve(top)
		g.Expect(s).NotTo(BeNil(), "%s is not in values.schema.json", path)
		object, ok := value.(map[string]any)
		if !ok || s.Properties == nil {
			return // a leaf, or a map that goes to Kubernetes as it is
		}
		g.Expect(string(s.AdditionalProperties)).To(Equal("false"), "%s takes whatever is spelled wrong", path)
		for name, child := range object {
			walk(path+"."+name, child, s.Properties[name])
		}
		for name := range s.Properties {
			if path == "values" && name == "global" {
				continue // Helm's own
			}
			g.Expect(object).To(HaveKey(name), "%s.%s is in the schema and not in values.yaml", path, name)
		}
	}
	walk("values", values, top)
}

// TestEveryValueIsExplained: above each key of values.yaml is a comment, or it only
// groups keys that have one.
func TestEveryValueIsExplained(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile(chart + "/values.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	lines := strings.Split(string(text), "\n")
	leaf := regexp.MustCompile(`^ *[A-Za-z]+: *\S`)
	ours := true
	for i, line := range lines {
		// Examples below a leaf, such as resources, are not values of ours.
		switch {
		case strings.HasSuffix(line, "resources:"), strings.HasSuffix(line, "nodeSelector:"),
			strings.HasSuffix(line, "metricsFrom:"), strings.HasSuffix(line, "issuerRef:"):
			ours = false
			g.Expect(lines[i-1]).To(ContainSubstring("#"), "values.yaml:%d: %s", i+1, line)
		case strings.Contains(line, "#"), line == "":
			ours = true
		case ours && leaf.MatchString(line):
			g.Expect(lines[i-1]).To(MatchRegexp(`^ *#`), "values.yaml:%d has no comment: %s", i+1, line)
		}
	}
}
