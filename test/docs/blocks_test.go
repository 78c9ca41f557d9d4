package docs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"
)

// root is the directory of the repository.
const root = "../.."

// block is a fenced block of a page.
type block struct {
	// info is what follows the fence: "bash run".
	info string
	text string
	// line is that of its first line.
	line int
}

// blocks returns the fenced blocks of a page, in order.
func blocks(t *testing.T, page string) []block {
	t.Helper()
	source := []byte(read(t, page))
	var found []block
	document := goldmark.New().Parser().Parse(text.NewReader(source))
	err := ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		fenced, ok := n.(*ast.FencedCodeBlock)
		if !entering || !ok || fenced.Info == nil || fenced.Lines().Len() == 0 {
			return ast.WalkContinue, nil
		}
		start := fenced.Lines().At(0).Start
		found = append(found, block{
			info: string(fenced.Info.Value(source)),
			text: string(fenced.Lines().Value(source)),
			line: 1 + bytes.Count(source[:start], []byte("\n")),
		})
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// pages returns the pages of the documentation, relative to the root.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".md" {
			relative, err := filepath.Rel(root, path)
			found = append(found, relative)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// volatile is what differs from run to run.
var volatile = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`(^|\s)(\d+[smhd])+($|\s)`), " AGE "},
	{regexp.MustCompile(`\s+`), " "},
}

// loosen returns the lines of an output without what differs from run to run.
func loosen(output string) []string {
	var lines []string
	for line := range strings.Lines(output) {
		for _, v := range volatile {
			line = v.pattern.ReplaceAllString(line, v.name)
		}
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// difference says where got is not what the page shows, or nothing.
func difference(got, want string) string {
	gotLines, wantLines := loosen(got), loosen(want)
	for i, line := range wantLines {
		if i >= len(gotLines) {
			return "there is no line " + line
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`)
		if !regexp.MustCompile("^" + pattern + "$").MatchString(gotLines[i]) {
			return "want " + line + "\ngot  " + gotLines[i]
		}
	}
	if len(gotLines) > len(wantLines) {
		return "the page does not show " + gotLines[len(wantLines)]
	}
	return ""
}

func TestDifference(t *testing.T) {
	for name, test := range map[string]struct {
		got, want string
		same      bool
	}{
		"spaces, ages, times and ids are not compared": {
			"key   12s  6f0c9dab-f13d-4e56-9a3f-0c8b7a1d2e43 2027-01-01T02:17:43Z\n",
			"key 1m5s 11111111-f13d-4e56-9a3f-0c8b7a1d2e43   2026-01-01T02:17:43Z\n", true},
		"three dots are anything":  {"Error: it (went) wrong\n", "Error: ... wrong\n", true},
		"another word is another":  {"a b\n", "a c\n", false},
		"a line too many":          {"a\nb\n", "a\n", false},
		"a line too few":           {"a\n", "a\nb\n", false},
		"numbers are compared":     {"version 2\n", "version 1\n", false},
		"a pattern means itself":   {"axb\n", "a.b\n", false},
		"empty lines do not count": {"a\n\nb\n", "a\nb", true},
	} {
		t.Run(name, func(t *testing.T) {
			if d := difference(test.got, test.want); (d == "") != test.same {
				t.Errorf("difference: %q", d)
			}
		})
	}
}
