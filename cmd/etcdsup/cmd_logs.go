package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/etcdsup/etcdsup/logsink/logread"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// etcdLogFile lies in the log folder, etcdsup's own (selfLogName) beside it.
const etcdLogFile = "etcd.log"

// logFormats are the values of -o. Text is pretty for a person at a terminal and raw for a pipe or a file.
var logFormats = []string{outputText, "raw", "json", "pretty"}

// What is shown where nobody says how many lines.
const (
	linesNow       = 100
	linesFollowing = 10
)

// logsSubcommands are the commands under logs.
var logsSubcommands = []func(*globals) *cobra.Command{newLogsRotateCmd}

func newLogsCmd(g *globals) *cobra.Command {
	var flags logsFlags
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Show and follow what etcd logged, across all its log files",
		Long: `Show what etcd logged, oldest line first, as if the current file, the rotated and the compressed ones were one. It works
while etcdsup is down too.

Without -n the last 100 lines are shown, with -f the last 10; with --since or --until all of that time, and with --level
or --grep but without -f all that pass.

A line that is no entry of its own, such as one of a stack trace, has the level and the time of the entry before it.
--grep looks at single lines as etcd wrote them (RE2 syntax; (?i) in front ignores case). Where output of etcd had to be
dropped, etcdsup left a mark in the log; --level never hides it.

-f goes on across rotations and restarts of etcd and of etcdsup. Ctrl-C ends it, with exit code 0.

The formats: pretty is for people and shows times in this host's zone; raw is byte for byte what etcd wrote; json is an
object a line with the keys time, level, kind, logger, caller, msg and fields, whatever format etcd wrote, or raw in place
of msg and fields for what is no entry of its own. text is pretty on a terminal and raw elsewhere.`,
		Example: `  etcdsup logs                              the last 100 lines
  etcdsup logs -f                           the last 10, and what comes
  etcdsup logs --since 10m --level warn     warnings and worse of the last ten minutes
  etcdsup logs --since "2026-11-22 10:11" --until "2026-11-22 10:30" --grep 'leader|election'
  etcdsup logs -n all -o json | jq 'select(.fields.error)'
  etcdsup logs --self -f                    etcdsup's own log: its decisions and their reasons`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.config()
			if err != nil {
				return err
			}
			opts, err := flags.options(time.Now())
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			opts.color = g.palette(g.out).on
			opts.Notice = func(text string) { fmt.Fprintln(g.err, "etcdsup:", text) }
			return runLogs(ctx, c.Log.Dir, opts, g.out)
		},
	}
	flags.register(cmd)
	for _, sub := range logsSubcommands {
		cmd.AddCommand(sub(g))
	}
	return cmd
}

// logsFlags are the flags as they were given.
type logsFlags struct {
	follow, self        bool
	lines, since, until string
	level, grep, format string
}

func (l *logsFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "go on with what is logged from now on")
	f.StringVarP(&l.lines, "lines", "n", "", "how many `lines` from the end: a number, or all; 0 with -f: only new ones")
	f.StringVar(&l.since, "since", "", "from this `time` on: 10m, 2h, 3d ago, 10:11, 2026-11-22 10:11, RFC 3339")
	f.StringVar(&l.until, "until", "", "up to this `time`")
	f.StringVar(&l.level, "level", "", "this `level` and worse: "+strings.Join(logread.Levels(), ", "))
	f.StringVar(&l.grep, "grep", "", "only lines that this regular `expression` matches")
	f.BoolVar(&l.self, "self", false, "etcdsup's own log instead of etcd's")
	f.StringVarP(&l.format, "output", "o", outputText, strings.Join(logFormats, ", "))
	mustRegister(cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(logread.Levels(), cobra.ShellCompDirectiveNoFileComp)))
	mustRegister(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(logFormats, cobra.ShellCompDirectiveNoFileComp)))
	mustRegister(cmd.RegisterFlagCompletionFunc("lines", cobra.FixedCompletions([]string{"all", "0", "100", "1000"}, cobra.ShellCompDirectiveNoFileComp)))
	for _, name := range []string{"since", "until", "grep"} {
		mustRegister(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
}

// logsOptions are what the flags come to.
type logsOptions struct {
	logread.Options
	file   string // in the log folder
	format string // one of logFormats
	color  bool
}

// options reads the flags. What can't be read is a fault of usage.
func (l *logsFlags) options(now time.Time) (o logsOptions, err error) {
	o = logsOptions{file: etcdLogFile, format: l.format}
	o.Follow = l.follow
	if l.self {
		o.file = selfLogName
	}
	if !slices.Contains(logFormats, l.format) {
		return o, failf(exitUsage, "", "cannot print as %q: -o takes %s", l.format, strings.Join(logFormats, ", "))
	}
	if o.Last, err = l.last(); err != nil {
		return o, err
	}
	if l.level != "" {
		if o.Level, err = logread.ParseLevel(l.level); err != nil {
			return o, failf(exitUsage, "", "%w", err)
		}
	}
	if l.grep != "" {
		if o.Grep, err = regexp.Compile(l.grep); err != nil {
			return o, failf(exitUsage, "", "cannot read --grep: %w", err)
		}
	}
	err = l.span(&o, now)
	return o, err
}

// last is how many lines are wanted, as logread counts them.
func (l *logsFlags) last() (int, error) {
	switch filtered := l.level != "" || l.grep != ""; {
	case l.lines == "all":
		return 0, nil
	case l.lines != "":
		n, err := strconv.Atoi(l.lines)
		if err != nil || n < 0 {
			return 0, failf(exitUsage, "", "cannot show %q lines: -n takes a number or all", l.lines)
		}
		if n == 0 {
			return logread.None, nil
		}
		return n, nil
	case l.since != "" || l.until != "" || filtered && !l.follow:
		return 0, nil
	case l.follow:
		return linesFollowing, nil
	}
	return linesNow, nil
}

func (l *logsFlags) span(o *logsOptions, now time.Time) (err error) {
	if l.since != "" {
		if o.Since, err = logread.ParseWhen(l.since, now); err != nil {
			return failf(exitUsage, "", "%w", err)
		}
	}
	if l.follow && l.until != "" {
		return failf(exitUsage, "", "cannot follow the log up to a time: -f and --until exclude each other")
	}
	if l.until != "" {
		if o.Until, err = logread.ParseWhen(l.until, now); err != nil {
			return failf(exitUsage, "", "%w", err)
		}
		if o.Until.Before(o.Since) {
			return failf(exitUsage, "", "cannot show a time that ends before it begins: --until %s is before --since %s", l.until, l.since)
		}
	}
	return nil
}

// runLogs shows the log until its end, or until ctx ends or nobody reads what is written, which is as good.
func runLogs(ctx context.Context, dir string, o logsOptions, out io.Writer) error {
	defer outliveClosedPipe()()
	format := logFormat(o.format, out)
	show := logread.NewRenderer(out, format, logread.Style{Color: o.color})
	o.Plain = format == logread.Raw
	o.Idle = func() error { return errors.Join(show.Flush(), readerLeft(out)) }
	r, err := logread.Open(dir, o.file, o.Options)
	if err != nil {
		return explainLogs(err)
	}
	defer r.Close()
	if r.Empty() && !o.Follow && o.Notice != nil {
		o.Notice("there is no log yet in " + dir)
	}
	return explainLogs(copyLines(ctx, r, show))
}

func copyLines(ctx context.Context, r *logread.Reader, show *logread.Renderer) error {
	for line, err := range r.Lines(ctx) {
		if err == nil {
			err = show.Render(line)
		}
		if err != nil {
			if lost := show.Flush(); !errors.Is(err, lost) { // a writer that has failed once says so again
				err = errors.Join(err, lost)
			}
			return err
		}
	}
	return show.Flush()
}

func logFormat(name string, out io.Writer) logread.Format {
	switch {
	case name == "json":
		return logread.JSON
	case name == "pretty", name == outputText && isTerminal(out):
		return logread.Pretty
	}
	return logread.Raw
}

// outliveClosedPipe makes a write to a standard output that nobody reads an error like any other. Otherwise Go
// ends the process by SIGPIPE, which is no clean exit. The function returned puts things back.
func outliveClosedPipe() func() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGPIPE)
	return func() { signal.Stop(c) }
}

// readerLeft is EPIPE when nobody reads out any more: following a quiet log, no write would tell.
func readerLeft(out io.Writer) error {
	f, ok := out.(*os.File)
	if !ok {
		return nil
	}
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	if n, err := unix.Poll(fds, 0); err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
		return syscall.EPIPE
	}
	return nil
}

func explainLogs(err error) error {
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE):
		return nil
	case errors.Is(err, fs.ErrPermission):
		return failf(exitDenied, "run it as root or as the user that etcdsup runs as", "%w", err)
	case errors.Is(err, fs.ErrNotExist):
		return failf(exitFailure, "nothing ran here yet; etcdsup run starts it. Another instance is named by -i, another configuration by -c", "%w", err)
	}
	return err
}
