package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/spf13/cobra"
)

func newHistoryCmd(g *globals) *cobra.Command {
	var opts historyOptions
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show etcd's starts and deaths, or with --audit what was asked for and done",
		Long: `Show the newest starts and deaths of etcd with their causes, oldest first. The last 1,000 are kept on disk
and are shown without the daemon too.

With --audit show the audit log instead: every command, decision, membership change and outcome, and who asked for it.
Its entries are chained by their hashes, and the whole chain is checked: the exit code is 9 when an entry was changed,
moved or taken out. What was cut off at the end is seen only by a head that was noted elsewhere.`,
		Example: `  etcdsup history
  etcdsup history -n 100
  etcdsup history --lines          with etcd's last lines before each death
  etcdsup history --audit
  etcdsup history --audit -o json | jq -r .head      to be noted elsewhere
  etcdsup history -o json | jq '.[] | select(.kind == "exit") | .exit.cause'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.n < 1 || opts.n > control.MaxHistory {
				return failf(exitUsage, "", "cannot show %d events: -n takes 1 to %d", opts.n, control.MaxHistory)
			}
			if opts.audit && opts.lines {
				return failf(exitUsage, "", "cannot show etcd's lines with --audit: they are in etcdsup history --lines")
			}
			if opts.audit {
				return g.showAudit(cmd.Context(), opts.n)
			}
			return g.showHistory(cmd.Context(), opts)
		},
	}
	cmd.Flags().IntVarP(&opts.n, "number", "n", 20, "how many events or entries")
	cmd.Flags().BoolVar(&opts.lines, "lines", false, "show etcd's last lines before each death")
	cmd.Flags().BoolVar(&opts.audit, "audit", false, "show the audit log, and check its chain")
	return cmd
}

type historyOptions struct {
	n     int
	lines bool
	audit bool
}

func (g *globals) showHistory(ctx context.Context, opts historyOptions) error {
	t, err := g.target()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	events, err := t.history(ctx, opts.n)
	if err != nil {
		return err
	}
	if g.json() {
		return g.printJSON(events)
	}
	return g.print(historyText(events, time.Now(), opts.lines))
}

// history asks the daemon, or reads its file when it is not running.
func (t *target) history(ctx context.Context, n int) ([]status.Event, error) {
	events, err := t.client.History(ctx, n)
	if !errors.Is(err, control.ErrNoDaemon) {
		return events, t.explain(err)
	}
	events, fileErr := supervisor.ReadHistory(supervisor.HistoryPath(t.cfg.StateDir()), n)
	switch {
	case errors.Is(fileErr, fs.ErrPermission):
		return nil, failf(exitDenied, "run it as root or as the user that etcdsup runs as", "%w", fileErr)
	case fileErr != nil:
		return nil, fileErr
	case len(events) == 0:
		return nil, t.explain(err) // never ran here
	}
	fmt.Fprintln(t.g.err, "etcdsup is not running; this is what it wrote down")
	return events, nil
}

func historyText(events []status.Event, now time.Time, lines bool) string {
	if len(events) == 0 {
		return "nothing has happened yet\n"
	}
	rows := [][]string{{"WHEN", "EVENT", "PID", "RAN", "ENDED BY", "CAUSE", "NOTE"}}
	for _, e := range events {
		rows = append(rows, historyRow(e, now))
	}
	text := table(rows)
	if !lines {
		return text
	}
	return withLines(text, events)
}

func historyRow(e status.Event, now time.Time) []string {
	row := []string{humanTime(e.At, now), string(e.Kind), "-", "-", "-", "-", oneLine(noteOf(&e))}
	pid := e.PID
	if x := e.Exit; x != nil {
		pid = max(pid, x.PID)
		row[3], row[4], row[5] = humanDuration(x.Ran), exitText(x), dash(string(x.Cause))
		if row[6] == "" {
			row[6] = oneLine(x.Detail)
		}
	}
	if pid > 0 {
		row[2] = fmt.Sprint(pid)
	}
	return row
}

// oneLine keeps a cell in its row.
func oneLine(text string) string { return printable(strings.Join(strings.Fields(text), " ")) }

// withLines puts each death's last lines under its row.
func withLines(text string, events []status.Event) string {
	rows := strings.SplitAfter(text, "\n")
	var b strings.Builder
	b.WriteString(rows[0])
	for i, e := range events {
		b.WriteString(rows[i+1])
		if e.Exit == nil {
			continue
		}
		for _, line := range e.Exit.LastLines {
			b.WriteString("    | " + printable(line) + "\n")
		}
	}
	return b.String()
}

// noteOf is what etcd itself said of its end, and what was decided then.
func noteOf(e *status.Event) string {
	if e.Exit == nil || e.Exit.Said == "" {
		return e.Note
	}
	return "it said: " + e.Exit.Said + "; " + e.Note
}
