package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func everyCommand(t *testing.T, visit func(*cobra.Command)) {
	t.Helper()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		visit(c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&globals{streams: streams{out: io.Discard, err: io.Discard}}))
}

func TestEveryCommandHasHelpAndAnExample(t *testing.T) {
	everyCommand(t, func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short text %q", c.CommandPath(), c.Short)
		}
		if c.Runnable() && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: no example", c.CommandPath())
		}
	})
}

func TestUsageFaultsAreExitCode2(t *testing.T) {
	for _, args := range [][]string{
		{"bogus"}, {"status", "--bogus"}, {"status", "extra"}, {"status", "-o", "xml"}, {"start", "--timeout", "soon"},
		{"completion"}, {"completion", "tcsh"}, {"history", "-n", "0"},
	} {
		if r := in(t, t.TempDir(), args...); r.code != exitUsage || r.out != "" || !strings.HasPrefix(r.err, "etcdsup: ") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// TestAFullStandardOutputIsAFault of every command, also of those that print nothing but help, and is told once.
func TestAFullStandardOutputIsAFault(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log", etcdLogFile), []byte(strings.Repeat("a line\n", 20000)), 0o600); err != nil {
		t.Fatal(err)
	}
	pages := filepath.Join(dir, "man")
	for _, line := range []string{"--help", "--version", "help member", "member", "version", "logs", "logs -n all", "completion bash", "man " + pages, "config example"} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		var errs buffer
		code := execute(t.Context(), append([]string{"--dir", dir}, strings.Fields(line)...), streams{in: strings.NewReader(""), out: full, err: &errs, env: testEnv(t)})
		_ = full.Close()
		if said := errs.String(); code != exitFailure || strings.Count(said, "no space left on device") != 1 || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q", line, code, said)
		}
	}
}

// TestFaultsAreJSONWhereThatIsAskedFor, also where the command line is refused before its flags are read.
func TestFaultsAreJSONWhereThatIsAskedFor(t *testing.T) {
	for line, code := range map[string]int{
		"-o json bogus": exitUsage, "bogus --output=json": exitUsage, "logs --bogus -ojson": exitUsage, "status extra -o json": exitUsage,
		"logs -o json": exitFailure, "status -o=json": exitNoDaemon,
	} {
		r := in(t, t.TempDir(), strings.Fields(line)...)
		var said struct {
			Error string
			Exit  int
		}
		if err := json.Unmarshal([]byte(r.err), &said); err != nil || said.Error == "" || said.Exit != code || r.code != code {
			t.Errorf("%s: %v, %+v", line, err, r)
		}
	}
	in(t, t.TempDir(), "bogus", "--", "-o", "json").want(t, exitUsage, "", "etcdsup: unknown command")
}

// TestWrongArgumentsNameTheCommandsOwnForm, and not the program's help.
func TestWrongArgumentsNameTheCommandsOwnForm(t *testing.T) {
	for line, want := range map[string]string{
		"status extra":    "it is typed as etcdsup status [flags]\n  → see etcdsup status --help\n",
		"completion":      "it is typed as etcdsup completion bash|zsh|fish\n  → see etcdsup completion --help\n",
		"completion tcsh": "it is typed as etcdsup completion bash|zsh|fish\n",
		"member remove":   "it is typed as etcdsup member remove MEMBER [flags]\n",
		"help bogus":      "unknown command \"bogus\"",
		"help member add": "cannot help with \"member add\"",
		"config chek":     "did you mean \"check\"\n  → see etcdsup config --help\n",
	} {
		in(t, t.TempDir(), strings.Fields(line)...).want(t, exitUsage, "", want)
	}
}

func TestHelpOfExitCodesHasThemAll(t *testing.T) {
	r := in(t, t.TempDir(), "help", "exit-codes")
	r.want(t, exitOK, "130  interrupted", "")
	golden(t, "exit_codes.txt", r.out)
}

func TestCompletionScripts(t *testing.T) {
	for _, s := range shells {
		r := in(t, t.TempDir(), "completion", s.name)
		r.want(t, exitOK, "etcdsup", "")
		if path, err := exec.LookPath(s.name); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(r.out)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s does not take its script: %v\n%s", s.name, err, out)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	in(t, t.TempDir(), "version").want(t, exitOK, "built-in etcd  3.", "")
	var v versions
	r := in(t, t.TempDir(), "version", "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v.Etcd == "" || v.Go == "" || v.Version == "" {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestEnvironmentNamesTheInstance(t *testing.T) {
	dir := t.TempDir()
	newFakeDaemon(t, dir, readyStatus())
	var out, errs buffer
	env := append(testEnv(t), "ETCDSUP_DIR="+dir, "ETCDSUP_INSTANCE=default")
	if code := execute(t.Context(), []string{"status"}, streams{out: &out, err: &errs, env: env}); code != exitOK {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestWriteFailureIsAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	var errs buffer
	if code := execute(t.Context(), []string{"version"}, streams{out: full, err: &errs, env: testEnv(t)}); code != exitFailure {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

// TestErrorsSteerNoTerminal: an error may hold the name of a file, or the words of an etcd, that somebody else has chosen.
func TestErrorsSteerNoTerminal(t *testing.T) {
	var errs bytes.Buffer
	g := &globals{streams: streams{err: &errs}}
	code := exitCode(g, failf(exitUsage, "remove /a\x1b[2Jb", "cannot read /a\x1b[2Jb:\n  line\tthe second\r"))
	const want = "etcdsup: cannot read /a?[2Jb:\n  line\tthe second?\n  → remove /a?[2Jb\n"
	if code != exitUsage || errs.String() != want {
		t.Errorf("exit code %d and %q, want %d and %q", code, errs.String(), exitUsage, want)
	}
}
