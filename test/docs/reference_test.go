package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// reasons returns the values of the reason constants of the API.
func reasons(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "api/v1alpha1/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasSuffix(spec.Names[0].Name, "Reason") || len(spec.Values) != 1 {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, value)
			}
			return true
		})
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEveryReasonIsExplained(t *testing.T) {
	all := reasons(t)
	if len(all) < 20 {
		t.Fatalf("found %d reasons only: %v", len(all), all)
	}
	kinds := read(t, "docs/kinds/encryptionkey.md") + read(t, "docs/kinds/keystore.md")
	troubleshooting := read(t, "docs/troubleshooting.md")
	for _, reason := range all {
		if !strings.Contains(kinds, "`"+reason+"`") {
			t.Errorf("reason %s is on no page of docs/kinds", reason)
		}
		if !strings.Contains(troubleshooting, "`"+reason+"`") && !strings.Contains(troubleshooting, "### "+reason+"\n") {
			t.Errorf("reason %s is not in docs/troubleshooting.md", reason)
		}
	}
}

// TestEveryErrorIsExplained reads what the endpoint answers from the one table that
// knows.
func TestEveryErrorIsExplained(t *testing.T) {
	table := read(t, "internal/httpapi/status.go")
	endpoint, troubleshooting := read(t, "docs/endpoint.md"), read(t, "docs/troubleshooting.md")
	found := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?:metav1\.StatusReason|reason)([A-Z]\w+),`).FindAllStringSubmatch(table, -1) {
		found[match[1]] = true
	}
	if len(found) < 12 {
		t.Fatalf("found %d reasons only: %v", len(found), found)
	}
	for reason := range found {
		if !strings.Contains(endpoint, "| `"+reason+"` |") {
			t.Errorf("reason %s is not in the table of docs/endpoint.md", reason)
		}
		if !regexp.MustCompile(`(?m)^### .*\d{3} ` + reason).MatchString(troubleshooting) {
			t.Errorf("reason %s has no heading in docs/troubleshooting.md", reason)
		}
	}
}

func TestEveryFlagIsExplained(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "keywright")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/keywright")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	operations := read(t, "docs/operations.md")
	pattern := regexp.MustCompile(`--[a-z][a-z-]*`)
	known := map[string]bool{}
	for _, command := range []string{"controller", "server"} {
		help, err := exec.CommandContext(t.Context(), binary, command, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(help)) {
			flag := pattern.FindString(line)
			if flag == "" || flag == "--help" || !strings.HasPrefix(strings.TrimSpace(line), flag) {
				continue
			}
			known[flag] = true
			if !strings.Contains(operations, "`"+flag+"`") {
				t.Errorf("flag %s of keywright %s is not in docs/operations.md", flag, command)
			}
		}
	}
	if len(known) < 20 {
		t.Fatalf("found %d flags only: %v", len(known), known)
	}
	_, section, _ := strings.Cut(operations, "### Flags")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, match := range regexp.MustCompile("`(--[a-z][a-z-]*)`").FindAllStringSubmatch(section, -1) {
		if !known[match[1]] {
			t.Errorf("docs/operations.md explains the flag %s, which does not exist", match[1])
		}
	}
}

func TestEveryMetricIsExplained(t *testing.T) {
	operations := read(t, "docs/operations.md")
	literal := regexp.MustCompile(`"(keywright_[a-z_]+)"`)
	found := map[string]bool{}
	for _, folder := range []string{"internal", "controllers", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, match := range literal.FindAllSubmatch(source, -1) {
				found[string(match[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) < 10 {
		t.Fatalf("found %d metrics only: %v", len(found), found)
	}
	for metric := range found {
		if !strings.Contains(operations, "| `"+metric+"` |") {
			t.Errorf("metric %s has no row in docs/operations.md", metric)
		}
	}
	for _, metric := range regexp.MustCompile(`keywright_[a-z_]+`).FindAllString(operations, -1) {
		if !found[metric] {
			t.Errorf("docs/operations.md names the metric %s, which does not exist", metric)
		}
	}
}

// TestEveryChartValueExists looks up what looks like a value of the chart.
func TestEveryChartValueExists(t *testing.T) {
	var values map[string]any
	if err := yaml.Unmarshal([]byte(read(t, "charts/keywright/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	var sections []string
	for name := range values {
		sections = append(sections, regexp.QuoteMeta(name))
	}
	slices.Sort(sections)
	pattern := regexp.MustCompile("(?:^|[`\\s(])((?:" + strings.Join(sections, "|") + `)(?:\.[A-Za-z]+)+)(?:[=:\x60\s,)]|$)`)
	checked := 0
	for _, page := range pages(t) {
		for n, line := range strings.Split(read(t, page), "\n") {
			for _, match := range pattern.FindAllStringSubmatch(line, -1) {
				if checked++; !has(values, strings.Split(match[1], ".")) {
					t.Errorf("%s:%d: the chart has no value %s", page, n+1, match[1])
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("found %d values only", checked)
	}
}

func has(values map[string]any, path []string) bool {
	value, ok := values[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	below, ok := value.(map[string]any)
	return ok && has(below, path[1:])
}
