package main

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

const (
	hookGrace  = 5 * time.Second // from SIGTERM to SIGKILL
	hookOutput = 4 << 10         // bytes that are kept of each stream
)

// hooksOf are the commands of the configuration as a plan has them.
func hooksOf(c *config.Config) []status.Hook {
	var all []status.Hook
	for _, argv := range c.Hooks.AfterRebuild {
		all = append(all, status.Hook{Argv: argv, Timeout: c.Hooks.Timeout})
	}
	return all
}

func hookFaults(ctx context.Context, c *config.Config) []string {
	var all []string
	for _, f := range config.CheckHooks(ctx, c) {
		all = append(all, f.Error())
	}
	return all
}

// Hook runs a command of the user's, and writes down what came of it.
func (w *world) Hook(ctx context.Context, h status.Hook, about flow.HookFacts) (status.HookRun, error) {
	w.Progress(status.CommandText(h.Argv))
	ran, err := runHook(ctx, h, hookEnv(w.d().next(), about, os.Environ()))
	if err != nil {
		return ran, err
	}
	level := zap.InfoLevel
	if ran.Failed() {
		level = zap.ErrorLevel
	}
	w.d().log.Log(level, "hook", zap.Strings("argv", h.Argv), zap.String("outcome", string(ran.Outcome)), zap.String("detail", ran.Detail),
		zap.Duration("took", ran.Took), zap.String("stderr", ran.Stderr))
	w.x.record(journal.Self(), journal.KindHook, "ran "+status.CommandText(h.Argv), map[string]string{
		"transition": about.Transition, "outcome": string(ran.Outcome), "detail": ran.Detail,
	})
	return ran, nil
}

func runHook(ctx context.Context, h status.Hook, env []string) (status.HookRun, error) {
	ran := status.HookRun{Argv: h.Argv, Outcome: status.HookFailed, Began: time.Now().UTC()}
	r, err := runCommand(ctx, h, env)
	switch {
	case ctx.Err() != nil:
		return ran, context.Cause(ctx)
	case err != nil:
		ran.Detail = err.Error() // it could not be started
	case r.TimedOut:
		ran.Outcome = status.HookTimedOut
	case r.Exit == process.Exit{}:
		ran.Outcome = status.HookDone
	}
	if err == nil {
		ran.Took, ran.Detail = r.Took, r.Exit.String()
	}
	ran.Stdout, ran.Stderr, ran.Dropped = validText(r.Stdout.Text), validText(r.Stderr.Text), r.Stdout.Dropped+r.Stderr.Dropped
	return ran, nil
}

func runCommand(ctx context.Context, h status.Hook, env []string) (process.Ran, error) {
	path, err := exec.LookPath(h.Argv[0])
	if err != nil {
		return process.Ran{}, err
	}
	c := process.Command{Path: path, Args: h.Argv, Env: env, Dir: "/", Timeout: h.Timeout, Grace: hookGrace, Keep: hookOutput}
	return c.Run(ctx)
}

// validText is what a program printed as text: a journal takes no other.
func validText(b []byte) string { return strings.ToValidUTF8(string(b), "\ufffd") }

// notForHooks are variables of ours that a hook must not have: systemd's socket is ours alone, and a process with the token
// is taken for one that came out of etcd.
var notForHooks = []string{"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC", process.TokenEnv}

// hookEnv is our own environment with what there is to tell. With it, an etcdsup in the hook is for the same instance.
func hookEnv(c *config.Config, about flow.HookFacts, ours []string) []string {
	set := map[string]string{}
	for _, kv := range ours {
		name, value, _ := strings.Cut(kv, "=")
		set[name] = value
	}
	for _, name := range notForHooks {
		delete(set, name)
	}
	maps.Copy(set, map[string]string{
		"ETCDSUP_INSTANCE": c.Instance, "ETCDSUP_DIR": c.Dir,
		config.HookDataDir: c.DataDir(), config.HookEndpoints: strings.Join(clientURLs(c), ","),
		config.HookTransition: about.Transition, config.HookMemberID: about.MemberID,
		config.HookClusterIDBefore: about.ClusterIDBefore, config.HookClusterIDAfter: about.ClusterIDAfter,
		config.HookRevisionBefore: about.RevisionBefore, config.HookRevisionAfter: about.RevisionAfter,
	})
	if c.File != "" {
		set["ETCDSUP_CONFIG"] = c.File
	}
	env := make([]string, 0, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		env = append(env, name+"="+set[name])
	}
	return env
}
