package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// page is what other pages and the checker want to know of a Markdown file.
type page struct {
	links   []link
	anchors map[string]bool
}

type link struct {
	target string
	line   int
}

// htmlAnchor finds <a name="x"> and any id="x" in raw HTML.
var htmlAnchor = regexp.MustCompile(`\b(?:id|name)="([^"]+)"`)

func parse(source []byte) *page {
	p := &page{anchors: map[string]bool{}}
	seen := map[string]int{}
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the callback never fails
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			p.anchors[uniqueSlug(seen, plainText(n, source))] = true
		case *ast.Link:
			p.links = append(p.links, link{string(n.Destination), line(n, source)})
		case *ast.Image:
			p.links = append(p.links, link{string(n.Destination), line(n, source)})
		case *ast.RawHTML:
			p.addHTMLAnchors(n.Segments.Value(source))
		case *ast.HTMLBlock:
			p.addHTMLAnchors(n.Lines().Value(source))
		}
		return ast.WalkContinue, nil
	})
	return p
}

func (p *page) addHTMLAnchors(html []byte) {
	for _, match := range htmlAnchor.FindAllSubmatch(html, -1) {
		p.anchors[string(match[1])] = true
	}
}

// uniqueSlug follows GitHub: the second heading of the same text gets -1, and so on.
func uniqueSlug(seen map[string]int, heading string) string {
	slug := slug(heading)
	n := seen[slug]
	seen[slug]++
	if n == 0 {
		return slug
	}
	return fmt.Sprintf("%s-%d", slug, n)
}

// slug follows GitHub: lower case, spaces to hyphens, everything else that is not
// a letter, a digit, a hyphen or an underscore goes.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

// plainText is the heading as a reader sees it, without emphasis and backquotes.
func plainText(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the callback never fails
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			b.Write(n.Value(source))
		case *ast.String:
			b.Write(n.Value)
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// line finds the line of an inline node. goldmark keeps positions only for text
// and for blocks, so a link without text is placed at the start of its block.
func line(n ast.Node, source []byte) int {
	offset := -1
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the callback never fails
		if t, ok := n.(*ast.Text); ok && entering {
			offset = t.Segment.Start
			return ast.WalkStop, nil
		}
		return ast.WalkContinue, nil
	})
	for n = n.Parent(); offset < 0 && n != nil; n = n.Parent() {
		if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
			offset = n.Lines().At(0).Start
		}
	}
	return 1 + bytes.Count(source[:max(offset, 0)], []byte("\n"))
}
