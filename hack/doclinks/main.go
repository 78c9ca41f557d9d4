// Command doclinks fails on a relative link or image in a Markdown file of this
// repository that leads nowhere: a missing file, or an anchor that is no heading.
// Links to other hosts are not followed: a check that needs the network fails for
// reasons that are not ours.
//
//	go run ./hack/doclinks
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	files, err := markdownFiles(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "doclinks:", err)
		os.Exit(2)
	}
	findings, err := newChecker(".").check(files)
	if err != nil {
		fmt.Fprintln(os.Stderr, "doclinks:", err)
		os.Exit(2)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if len(findings) > 0 {
		os.Exit(1)
	}
}

// markdownFiles asks git, so that caches and build output stay out. A page that is
// not yet added counts, too: verify runs before the commit.
func markdownFiles(root string) ([]string, error) {
	cmd := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md") //nolint:gosec,noctx // constant arguments, ends by itself
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list Markdown files: %w", err)
	}
	var files []string
	for name := range bytes.SplitSeq(bytes.TrimRight(out, "\x00"), []byte{0}) {
		path := string(name)
		// A deleted file is listed until the deletion is committed; testdata is broken on purpose.
		if _, err := os.Stat(path); err != nil || strings.Contains(path, "testdata/") {
			continue
		}
		files = append(files, path)
	}
	return files, nil
}
