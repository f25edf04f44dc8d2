package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// newCanTakeOverCmd is what a running etcdsup asks the executable that is to replace it, as a child, before anything has
// changed.
func newCanTakeOverCmd(g *globals) *cobra.Command {
	var set *[]string
	cmd := &cobra.Command{
		Use:    "can-take-over OFFER",
		Hidden: true,
		Short:  "For etcdsup upgrade: say whether this executable could replace the running one",
		Long: `For etcdsup upgrade. The running etcdsup asks a new executable whether it could take over what OFFER names, a JSON object:
the folder of the state, the data directory, and the version of each format. It changes nothing.`,
		Example: `  etcdsup can-take-over '{"state": "/var/lib/etcdsup/default/state", "formats": {"record": 1}}'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			g.overrides = *set
			return g.canTakeOver(cmd.Context(), args[0])
		},
	}
	set = addSetFlag(cmd)
	return cmd
}

func (g *globals) canTakeOver(ctx context.Context, text string) error {
	var o offer
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("cannot understand what is offered: %w", err)
	}
	if faults := missing(o.Formats); len(faults) > 0 {
		return fmt.Errorf("cannot read the state: %s", strings.Join(faults, "; "))
	}
	cfg, faults := config.Examine(ctx, g.source(), builtinRunner())
	if len(faults) > 0 {
		return faults
	}
	if err := o.isOf(cfg); err != nil {
		return err
	}
	return g.printJSONLine(thisVersion())
}

// isOf says whether the offer is what this executable would go on with, by the configuration of now.
func (o *offer) isOf(cfg *config.Config) error {
	for _, place := range []struct{ what, theirs, ours string }{
		{"state", o.State, cfg.StateDir()}, {"data", o.DataDir, cfg.DataDir()},
	} {
		if place.theirs != place.ours {
			return fmt.Errorf("cannot take over: by the configuration the %s is in %s, and the running etcdsup has it in %s", place.what, place.ours, place.theirs)
		}
	}
	return supervisor.Readable(o.State)
}

// askTail is how much is kept of what a new executable says.
const askTail = 16 << 10

// askNew asks the new executable, as a child with our user, our environment and our limits, and returns its version.
func (d *daemon) askNew(ctx context.Context, exe *os.File, within time.Duration) (version string, err error) {
	text, err := json.Marshal(offer{State: d.cfg.StateDir(), DataDir: d.cfg.DataDir(), Formats: formats()})
	if err != nil {
		return "", fmt.Errorf("cannot ask %s: %w", exe.Name(), err)
	}
	ask := process.Command{
		// By our number: in the child another file has that descriptor.
		Path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), exe.Fd()), Args: append(d.sameFlags(), "can-take-over", string(text)),
		Env: forSuccessor(d.g.env), Timeout: within, Grace: time.Second, Keep: askTail,
	}
	for _, s := range d.g.overrides {
		ask.Args = append(ask.Args, "--set", s)
	}
	ran, err := ask.Run(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist): // of the interpreter, or the loader
		return "", cannotUse(exe.Name(), "it cannot be executed", "name an etcdsup for this machine")
	case err != nil:
		return "", cannotUse(exe.Name(), "it cannot be executed: "+rootCause(err), "name an etcdsup for this machine, executable by etcdsup's own user")
	case ran.TimedOut:
		return "", cannotUse(exe.Name(), fmt.Sprintf("it did not answer within %v whether it can take over", within), "try it by hand: "+exe.Name()+" version")
	case ran.Exit != process.Exit{}:
		return "", declined(exe.Name(), ran)
	}
	var v versions
	if err := json.Unmarshal(ran.Stdout.Text, &v); err != nil || v.Version == "" {
		return "", cannotUse(exe.Name(), "it is no etcdsup: it does not say its version", "name an etcdsup")
	}
	return v.Version, nil
}

// sameFlags is the command line by which another command means this instance.
func (d *daemon) sameFlags() []string {
	args := []string{"etcdsup", "-o", outputJSON}
	for _, f := range []struct{ flag, value string }{{"-c", d.g.configFile}, {"-i", d.g.instance}, {"--dir", d.g.dir}} {
		if f.value != "" {
			args = append(args, f.flag, f.value)
		}
	}
	return args
}

// declined is why a new executable cannot take over, in its own words where it has some.
func declined(path string, ran process.Ran) error {
	var said struct{ Error, Remedy string }
	lines := strings.Split(strings.TrimSpace(string(ran.Stderr.Text)), "\n")
	if json.Unmarshal([]byte(lines[len(lines)-1]), &said) == nil && said.Error != "" {
		return &control.Error{Code: codeCannot, Message: fmt.Sprintf("cannot upgrade to %s: it refuses: %s", path, said.Error), Remedy: said.Remedy}
	}
	why := "it ended with " + ran.Exit.String() + " when it was asked whether it can take over"
	if lines[0] != "" {
		why += ": " + printable(lines[0])
	}
	return cannotUse(path, why, "try it by hand: "+path+" version")
}

// rootCause is an error's innermost reason.
func rootCause(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}
