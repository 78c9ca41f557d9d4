package docs_test

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keywright/keywright/test/rig"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := rig.RemoveBinary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// TestOnRig runs what needs a running Keywright, on one rig. The order matters: the
// first page shows an installation without keys, and the last test takes it apart.
func TestOnRig(t *testing.T) {
	r := rig.StartT(t, rig.Options{})
	t.Run("commands", func(t *testing.T) { testCommands(t, r) })
	t.Run("samples", func(t *testing.T) { testSamples(t, r) })
	t.Run("restore", func(t *testing.T) { testRestore(t, r) })
}

const firstPage = "docs/getting-started.md"

// testCommands runs the commands of all pages and compares what they print with
// what the pages show.
func testCommands(t *testing.T, r *rig.Rig) {
	others := slices.DeleteFunc(pages(t), func(page string) bool { return page == firstPage })
	run := 0
	for _, page := range append([]string{firstPage}, others...) {
		commands := runBlocks(t, page)
		if len(commands) == 0 {
			continue
		}
		run++
		t.Run(page, func(t *testing.T) { runPage(t, r, page, commands) })
	}
	if run < 6 {
		t.Errorf("found commands on %d pages only", run)
	}
}

// command is a block to run and what it should print.
type command struct {
	block
	output *block
}

func runBlocks(t *testing.T, page string) []command {
	t.Helper()
	var commands []command
	for _, b := range blocks(t, page) {
		switch b.info {
		case "bash run":
			commands = append(commands, command{block: b})
		case "text output":
			if len(commands) == 0 || commands[len(commands)-1].output != nil {
				t.Fatalf("%s:%d: an output of nothing", page, b.line)
			}
			commands[len(commands)-1].output = &b
		}
	}
	return commands
}

// separator stands between the outputs of blocks.
const separator = "@@ keywright docs @@"

func runPage(t *testing.T, r *rig.Rig, page string, commands []command) {
	t.Helper()
	script := "exec 2>&1\n"
	for _, c := range commands {
		script += "echo '" + separator + "'\n" + c.text
	}
	printed, runErr := bash(t, r, t.TempDir(), script).Output()
	outputs := strings.Split(string(printed), separator+"\n")[1:]
	for i, output := range outputs {
		c := commands[i]
		if runErr != nil && i == len(outputs)-1 {
			t.Fatalf("%s:%d: %v:\n%s", page, c.line, runErr, output)
		}
		if c.output == nil {
			continue
		}
		if d := difference(output, c.output.text); d != "" {
			t.Errorf("%s:%d: another output than shown:\n%s\nall of it:\n%s", page, c.output.line, d, output)
		}
	}
	if runErr != nil {
		t.Fatal(runErr)
	}
}

// bash runs a script in dir as somebody who reads the pages would.
func bash(t *testing.T, r *rig.Rig, dir, script string) *exec.Cmd {
	t.Helper()
	endpoint, err := url.Parse(r.Servers[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	command.Dir = dir
	command.Env = append(os.Environ(),
		"KUBECONFIG="+r.Plane.Kubeconfig,
		"KEYWRIGHT_ADDRESS="+endpoint.Host,
		"PATH="+filepath.Clean(os.Getenv("KUBEBUILDER_ASSETS"))+":"+os.Getenv("PATH"))
	return command
}
