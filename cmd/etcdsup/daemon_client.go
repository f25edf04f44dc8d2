package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/control"
)

// target is the daemon that a command is for: what the configuration says of it, and the way to reach it.
type target struct {
	g      *globals
	cfg    *config.Config
	client *control.Client
}

func (g *globals) target() (*target, error) {
	c, err := g.config()
	if err != nil {
		if c = g.runningDespite(err); c == nil {
			return nil, err
		}
	}
	return &target{g: g, cfg: c, client: control.NewClient(c.Control.Socket)}, nil
}

// runningDespite lets a faulty file not stand between an operator and the daemon that still runs by the file's
// version of before: when somebody answers where the socket is by default, that is taken. It returns nil when not. Where
// a file was named, and no folder, it must be the one that the daemon runs by: a slip of the pen is not to stop another.
func (g *globals) runningDespite(fault error) *config.Config {
	problems, ok := errors.AsType[config.Problems](fault)
	if !ok {
		return nil
	}
	src := g.source()
	src.File, src.FileRequired = os.DevNull, true
	c, err := config.Load(src)
	if err != nil {
		return nil
	}
	runsBy, ok := configOf(c.Control.Socket)
	if !ok || g.namesFile() && !samePath(g.or(g.configFile, "ETCDSUP_CONFIG"), runsBy) {
		return nil
	}
	fmt.Fprintf(g.err, "etcdsup: the configuration has %s, see etcdsup config check; asking the daemon at %s\n",
		count(len(problems), "fault"), c.Control.Socket)
	return c
}

// explain gives an error of the client its exit code and its remedy.
func (t *target) explain(err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, control.ErrNoDaemon):
		return t.noDaemon(err)
	case errors.Is(err, control.ErrSilent):
		return failf(exitFailure, "see its own log; if it is stopped, kill -CONT it", "instance %q: %w", t.cfg.Instance, err)
	}
	e, ok := errors.AsType[*control.Error](err)
	switch {
	case ok && e.Code == control.CodeDenied:
		return failf(exitDenied, e.Remedy, "cannot use %s: %w", t.client.Socket(), err)
	case errors.Is(err, control.ErrDenied):
		return failf(exitDenied, "run it as root or as the user that etcdsup runs as, or have control.group set", "cannot use instance %q: %w", t.cfg.Instance, err)
	case ok && e.Code == codeConfig:
		return faultyConfig(e)
	case ok:
		return &failure{code: exitFailure, err: err, remedy: e.Remedy, faults: e.Faults}
	}
	return err
}

// commandLine is how the user would type the verb for the same instance.
func (g *globals) commandLine(verb string) string { return g.self() + " " + verb }

// self is how the user would type this program for the same instance, up to the verb.
func (g *globals) self() string {
	words := []string{cmp.Or(g.program, "etcdsup")}
	for _, f := range []struct{ flag, value string }{{"-c", g.configFile}, {"-i", g.instance}, {"--dir", g.dir}} {
		if f.value != "" {
			words = append(words, f.flag, f.value)
		}
	}
	return strings.Join(words, " ")
}

func answers(socket string) bool {
	_, ok := configOf(socket)
	return ok
}

// namesFile: the file alone says which daemon is meant.
func (g *globals) namesFile() bool {
	return g.or(g.configFile, "ETCDSUP_CONFIG") != "" && g.or(g.dir, "ETCDSUP_DIR") == ""
}

// configOf asks the daemon of a socket for the file that it runs by; empty: it has none. ok: somebody answers.
func configOf(socket string) (file string, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	st, err := control.NewClient(socket).Status(ctx, false)
	if err != nil {
		return "", false
	}
	return st.Config.File, true
}

// samePath tells whether two paths lead to one file, or would if it were there.
func samePath(a, b string) bool {
	at, err := filepath.Abs(a)
	return err == nil && b != "" && at == filepath.Clean(b) || sameFile(a, b)
}

// instances are the names to complete --instance with.
func (g *globals) instances() []string {
	c, err := g.config()
	if err != nil {
		return nil
	}
	var names []string
	for name := range sockets(c) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// interruptible ends with the caller's context, with Ctrl-C and with SIGTERM, all as context.Canceled.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}
