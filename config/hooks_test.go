package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestHooks(t *testing.T) {
	block := "hooks:\n  after_rebuild:\n    - [systemctl, restart, kube-apiserver]\n    - - /bin/sleep\n      - 5\n    - echo \"$ETCDSUP_REVISION_AFTER\" > /tmp/x\n    - |\n      set -e\n      true\n  timeout: 5s\n"
	want := []Command{
		{"systemctl", "restart", "kube-apiserver"}, {"/bin/sleep", "5"}, {Shell, "-c", `echo "$ETCDSUP_REVISION_AFTER" > /tmp/x`}, {Shell, "-c", "set -e\ntrue"},
	}
	c := mustLoad(t, asRoot(writeFile(t, block)))
	if !reflect.DeepEqual(c.Hooks.AfterRebuild, want) {
		t.Errorf("got %q", c.Hooks.AfterRebuild)
	}
	shown := find(keyAfterRebuild).get(c)
	for text, want := range map[string][]Command{
		shown:                 want, // what is shown can be set again
		"true; echo hi":       {{Shell, "-c", "true; echo hi"}},
		"[ -f /x ] && rm /x":  {{Shell, "-c", "[ -f /x ] && rm /x"}},
		`[["a", "b"], "c d"]`: {{"a", "b"}, {Shell, "-c", "c d"}},
	} {
		src := asRoot("")
		src.Overrides = []string{keyAfterRebuild + "=" + text}
		if c := mustLoad(t, src); !reflect.DeepEqual(c.Hooks.AfterRebuild, want) {
			t.Errorf("%s: got %q", text, c.Hooks.AfterRebuild)
		}
	}
	src := asRoot("")
	src.Env = append(src.Env, "ETCDSUP_HOOKS_AFTER_REBUILD=true", HookRevisionAfter+"=5") // as an etcdsup in a hook has it
	if c := mustLoad(t, src); len(c.Hooks.AfterRebuild) != 1 {
		t.Errorf("got %q", c.Hooks.AfterRebuild)
	}
}

// TestHookFaults: what is no command is found while the file is read, and what cannot be run by the check, each with its
// line and column.
func TestHookFaults(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"hooks:\n  after_rebuild: «5¦hooks.after_rebuild»\n",
		"hooks:\n  after_rebuild: [true x, \"«\"\"¦hooks.after_rebuild»]\n",
		"hooks:\n  after_rebuild:\n    - echo\n    - [«bin/x¦hooks.after_rebuild», a]\n",
		"hooks:\n  after_rebuild:\n    - [«no-such-program-here¦hooks.after_rebuild», a]\n    - [true]\n    - [«" + plain + "¦hooks.after_rebuild»]\n",
		"hooks:\n  after_rebuild:\n    - [true]\n    - «no-such-program-here a¦hooks.after_rebuild»\n    - «if true; then¦hooks.after_rebuild»\n",
		"hooks:\n  after_rebuild: «no-such-program-here¦hooks.after_rebuild»\n  timeout: «0¦hooks.timeout»\n",
		"hooks:\n  after_rebuild: [[true], 'cd / && true', 'X=1 true', '{ true; }', '[ -d / ]', '/bin/true a']\n",
	} {
		text = strings.ReplaceAll(text, "\"«\"\"", "«\"\"")
		text, want := marked(text)
		_, faults := Examine(t.Context(), here(t, text), builtin)
		var got []spot
		for _, p := range faults {
			got = append(got, spot{p.Line, p.Column, p.Width, p.Key})
			if p.Remedy == "" || !strings.HasPrefix(p.What, "cannot ") {
				t.Errorf("%+v", p)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot %v, want %v: %v", text, got, want, faults)
		}
	}
}

// TestHooksDoNotKeepEtcdDown: the check before a start leaves them out.
func TestHooksDoNotKeepEtcdDown(t *testing.T) {
	c := mustLoad(t, here(t, "hooks:\n  after_rebuild: [no-such-program-here]\n"))
	if faults := Check(t.Context(), c, builtin); len(faults) > 0 {
		t.Errorf("got %v", faults)
	}
	if faults := CheckHooks(t.Context(), c); len(faults) != 1 {
		t.Errorf("got %v", faults)
	}
}
