package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// checker knows the pages that it has read, since many links share a target.
type checker struct {
	root  string
	pages map[string]*page
}

func newChecker(root string) *checker {
	return &checker{root: root, pages: map[string]*page{}}
}

// check returns one "file:line: what is wrong" for each bad link. Files are
// relative to the root.
func (c *checker) check(files []string) ([]string, error) {
	var findings []string
	for _, file := range files {
		p, err := c.page(file)
		if err != nil {
			return nil, err
		}
		for _, l := range p.links {
			if problem := c.problem(file, l.target); problem != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %s: %s", file, l.line, l.target, problem))
			}
		}
	}
	return findings, nil
}

// problem says what is wrong with a link in file, or nothing.
func (c *checker) problem(file, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "is not a URL"
	}
	if u.IsAbs() || u.Host != "" {
		return ""
	}
	path := file
	switch {
	case strings.HasPrefix(u.Path, "/"): // GitHub resolves it from the root of the repository
		path = filepath.Clean(strings.TrimPrefix(u.Path, "/"))
	case u.Path != "":
		path = filepath.Join(filepath.Dir(file), u.Path)
	}
	if path == ".." || strings.HasPrefix(path, "../") {
		return "leaves the repository"
	}
	info, err := os.Stat(filepath.Join(c.root, path))
	if err != nil {
		return "no such file"
	}
	// An anchor into something else than Markdown is a line number (#L10).
	if u.Fragment == "" || info.IsDir() || filepath.Ext(path) != ".md" {
		return ""
	}
	p, err := c.page(path)
	if err != nil {
		return err.Error()
	}
	if !p.anchors[u.Fragment] {
		return "no such heading in " + path
	}
	return ""
}

func (c *checker) page(file string) (*page, error) {
	if p, ok := c.pages[file]; ok {
		return p, nil
	}
	source, err := os.ReadFile(filepath.Join(c.root, file))
	if err != nil {
		return nil, fmt.Errorf("read page: %w", err)
	}
	p := parse(source)
	c.pages[file] = p
	return p, nil
}
