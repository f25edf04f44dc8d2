package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func TestHookOutcomes(t *testing.T) {
	for _, tt := range []struct {
		argv    []string
		timeout time.Duration
		want    status.HookOutcome
		detail  string
	}{
		{[]string{"true"}, time.Minute, status.HookDone, "exit code 0"},
		{[]string{config.Shell, "-c", "exit 3"}, time.Minute, status.HookFailed, "exit code 3"},
		{[]string{config.Shell, "-c", "kill -9 $$"}, time.Minute, status.HookFailed, "SIGKILL"},
		{[]string{"sleep", "300"}, time.Millisecond, status.HookTimedOut, "SIGTERM"},
		{[]string{"no-such-program-here"}, time.Minute, status.HookFailed, "no-such-program-here"},
		{[]string{"/etc/passwd"}, time.Minute, status.HookFailed, "permission denied"},
	} {
		ran, err := runHook(t.Context(), status.Hook{Argv: tt.argv, Timeout: tt.timeout}, os.Environ())
		if err != nil || ran.Outcome != tt.want || !strings.Contains(ran.Detail, tt.detail) {
			t.Errorf("%v: %+v, %v", tt.argv, ran, err)
		}
	}
}

func TestHookOutputIsText(t *testing.T) {
	line := "printf 'a\\377b'; head -c 10000 /dev/zero | tr '\\0' x >&2"
	ran, err := runHook(t.Context(), status.Hook{Argv: []string{config.Shell, "-c", line}, Timeout: time.Minute}, os.Environ())
	if err != nil || ran.Stdout != "a\ufffdb" || len(ran.Stderr) != hookOutput || ran.Dropped != 10000-hookOutput {
		t.Errorf("%q, %d bytes, %d dropped, %v", ran.Stdout, len(ran.Stderr), ran.Dropped, err)
	}
}

// TestHookEndsWithEtcdsup: the step is left for the next one, which says so.
func TestHookEndsWithEtcdsup(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnding)
	if _, err := runHook(ctx, status.Hook{Argv: []string{"sleep", "300"}, Timeout: time.Minute}, os.Environ()); !errors.Is(err, errEnding) {
		t.Errorf("%v", err)
	}
}

func TestHookEnvironment(t *testing.T) {
	c := &config.Config{Instance: "events", Dir: "/d", File: "/c.yaml"}
	env := hookEnv(c, flow.HookFacts{RevisionBefore: "1", RevisionAfter: "2"}, []string{"PATH=/bin", "NOTIFY_SOCKET=/x", "ETCDSUP_TOKEN=t", "ETCDSUP_REVISION_AFTER=9", "ETCDSUP_DIR=/other"})
	for _, want := range []string{"PATH=/bin", "ETCDSUP_INSTANCE=events", "ETCDSUP_DIR=/d", "ETCDSUP_CONFIG=/c.yaml", "ETCDSUP_DATA_DIR=/d/data", "ETCDSUP_REVISION_BEFORE=1", "ETCDSUP_REVISION_AFTER=2"} {
		if !slices.Contains(env, want) {
			t.Errorf("without %s: %q", want, env)
		}
	}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains(notForHooks, name) {
			t.Errorf("with %s", kv)
		}
	}
	for _, name := range config.HookVariables {
		if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }) {
			t.Errorf("without %s", name)
		}
	}
}

func TestHooksAreShown(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = forcePlan()
	done := finished("t1", status.ModeForceNewCluster, f.plan)
	done.Hooks = []status.HookRun{
		{Argv: []string{"systemctl", "restart", "kube-apiserver"}, Outcome: status.HookDone, Detail: "exit code 0", Took: 1200 * time.Millisecond, Stdout: "well\n"},
		{Argv: []string{config.Shell, "-c", "a | b"}, Outcome: status.HookTimedOut, Detail: "SIGTERM", Took: time.Minute, Stderr: "1\n2\n3\n4\n5\nthe \x1b[31mlast\n"},
		{Argv: []string{"c"}, Outcome: status.HookInterrupted, Detail: "etcdsup ended while it ran"},
	}
	golden(t, "mode_hooks.txt", modeText("default", &status.Modes{Mode: status.ModeNormal, Last: done}, modeView{now: at(3), self: "etcdsup"}))
	f.script = func(command string) error {
		if strings.HasPrefix(command, "change ") {
			f.setModes(func(m *status.Modes) { m.Now = done })
		}
		return nil
	}
	in(t, f.dir, "mode", "force-new-cluster", "--yes").want(t, exitHook, "force-new-cluster is done", "force-new-cluster is done and nothing of it was undone, but not all that follows it: hook 2 (a | b) timed-out; hook 3 (c) interrupted\n  → ")
	done.Hooks = done.Hooks[:1]
	in(t, f.dir, "mode", "force-new-cluster", "--yes").want(t, exitOK, "hook 1, systemctl restart kube-apiserver: done after 1.2s", "")
}
