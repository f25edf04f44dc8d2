package config

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Hooks are commands of the user's own that etcdsup runs.
type Hooks struct {
	AfterRebuild []Command     // in their order, once a cluster was rebuilt and proven
	Timeout      time.Duration // of each
}

// Command is the argv of a command. A line for the shell is Shell, "-c" and the line.
type Command []string

// Shell runs what the file gives as one text.
const Shell = "/bin/sh"

// ShellLine is the line, where the command is one for the shell.
func (c Command) ShellLine() (line string, ok bool) {
	if len(c) == 3 && c[0] == Shell && c[1] == "-c" {
		return c[2], true
	}
	return "", false
}

// The variables that tell a hook what has happened. They are no settings, though an etcdsup in the hook sees them.
const (
	HookDataDir         = "ETCDSUP_DATA_DIR"
	HookTransition      = "ETCDSUP_TRANSITION"
	HookEndpoints       = "ETCDSUP_CLIENT_URLS"
	HookMemberID        = "ETCDSUP_MEMBER_ID"
	HookClusterIDBefore = "ETCDSUP_CLUSTER_ID_BEFORE"
	HookClusterIDAfter  = "ETCDSUP_CLUSTER_ID_AFTER"
	HookRevisionBefore  = "ETCDSUP_REVISION_BEFORE"
	HookRevisionAfter   = "ETCDSUP_REVISION_AFTER"
)

// HookVariables are all of them.
var HookVariables = []string{
	HookDataDir, HookTransition, HookEndpoints, HookMemberID, HookClusterIDBefore, HookClusterIDAfter, HookRevisionBefore, HookRevisionAfter,
}

const keyAfterRebuild = "hooks.after_rebuild"

// commands are a list whose items are texts or lists of texts. As one text, outside of a file, it is that list in JSON,
// or else the one line for the shell that it is.
var commands = kind[[]Command]{
	name: "list of commands", form: "a list; each item is a list of a program and its arguments, or one text for " + Shell,
	takes: scalarString, parse: parseCommands, format: formatCommands,
}

func parseCommands(text string) ([]Command, error) {
	var all []Command
	for _, item := range commandItems(text) {
		c, err := parseCommand(item)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// commandItems are the commands of a value, each in JSON: a string or a list of them.
func commandItems(text string) []string {
	var list []json.RawMessage
	if json.Unmarshal([]byte(text), &list) != nil {
		return []string{jsonText(text)}
	}
	items := make([]string, len(list))
	for i, raw := range list {
		items[i] = string(raw)
	}
	return items
}

func jsonText[T string | []string](v T) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people read it
	if err := e.Encode(v); err != nil {
		return "" // never: of texts
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// written is a text of the setting as it was written.
func (s setting) written(text string) string {
	var line string
	if s.key.Name == keyAfterRebuild && json.Unmarshal([]byte(text), &line) == nil {
		return line
	}
	return text
}

func parseCommand(item string) (Command, error) {
	var line string
	if json.Unmarshal([]byte(item), &line) == nil {
		if strings.TrimSpace(line) == "" || strings.Contains(line, "\x00") {
			return nil, unfit{"it is no command", "write a command, or remove it"}
		}
		return Command{Shell, "-c", line}, nil
	}
	var argv []string
	if json.Unmarshal([]byte(item), &argv) != nil {
		return nil, errors.New("it is neither a text nor a list of texts")
	}
	switch {
	case len(argv) == 0 || argv[0] == "":
		return nil, unfit{"it names no program", "write the program first, then its arguments"}
	case strings.Contains(strings.Join(argv, ""), "\x00"):
		return nil, errors.New("it has a zero byte in it")
	case strings.Contains(argv[0], "/") && !filepath.IsAbs(argv[0]):
		return nil, unfit{"the path of the program is relative", "write an absolute path, or a name that is found by PATH"}
	}
	return argv, nil
}

// item is the command as parseCommand takes it.
func (c Command) item() string {
	if line, ok := c.ShellLine(); ok {
		return jsonText(line)
	}
	return jsonText([]string(c))
}

func formatCommands(all []Command) string {
	if len(all) == 0 {
		return ""
	}
	items := make([]string, len(all))
	for i, c := range all {
		items[i] = c.item()
	}
	return "[" + strings.Join(items, ",") + "]"
}

// CheckHooks finds commands that cannot be run here. It is apart from [Check]: a hook that is missing is no reason not to
// start etcd.
func CheckHooks(ctx context.Context, c *Config) Problems {
	k := &checker{cfg: c}
	for _, command := range c.Hooks.AfterRebuild {
		k.hook(ctx, command)
	}
	k.faults.sort()
	return k.faults
}

func (k *checker) hook(ctx context.Context, c Command) {
	what, why := c[0], notRunnable(c[0])
	if line, ok := c.ShellLine(); ok && why == "" {
		what, why = line, refusedByShell(ctx, line)
	}
	if why == "" {
		return
	}
	k.fault(c.item(), "cannot run the hook "+quoted("", what)+": "+why,
		"name a program that this user may execute, by its absolute path or by a name in PATH; a list is one program with its arguments, a text is a line for "+Shell,
		keyAfterRebuild)
}

// notRunnable says why a program cannot be executed; empty: it can.
func notRunnable(program string) string {
	_, err := exec.LookPath(program)
	if missing, ok := errors.AsType[*exec.Error](err); ok {
		err = missing.Err
	}
	if err != nil {
		return reason(err)
	}
	return ""
}

// plainWord is a first word of a line that is surely a command's name, and no assignment or syntax.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./+-]+$`)

// refusedByShell says why the shell would not run a line, as far as that can be told without running it: its syntax, and
// the command that it begins with.
func refusedByShell(ctx context.Context, line string) string {
	if output, status, err := Program(Shell, Shell)(ctx, "-n", "-c", line); err != nil || status != 0 {
		return saidBy(output, err)
	}
	first := strings.Fields(line)[0]
	if !plainWord.MatchString(first) || notRunnable(first) == "" {
		return ""
	}
	// What is built into the shell is no program.
	if _, status, err := Program(Shell, Shell)(ctx, "-c", `command -v -- "$1"`, Shell, first); err != nil || status != 0 {
		return first + " is not found, or not executable"
	}
	return ""
}

// saidBy is why a shell refused a line, in its own words.
func saidBy(output []byte, err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	if err != nil {
		line = err.Error()
	}
	return cmp.Or(printable(line), "the shell refuses it")
}
