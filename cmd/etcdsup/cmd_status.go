package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/spf13/cobra"
)

func newStatusCmd(g *globals) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how etcd is, and why",
		Long: `Show on one screen how etcd is, since when and why, and what to do next where there is something to do.

The exit code is 8 when etcd is not ready, so scripts need not read the text.
With --watch a terminal is redrawn on each change until Ctrl-C; a pipe gets a line per change, with -o json the whole
status as one line of JSON. A watch costs the daemon nothing between changes.`,
		Example: `  etcdsup status
  etcdsup status --watch
  etcdsup status -o json | jq -r .member.role
  etcdsup status > /dev/null && echo ready`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := g.target()
			if err != nil {
				return err
			}
			if watch {
				return t.watchStatus(cmd.Context())
			}
			return t.showStatus(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show each change")
	return cmd
}

func (t *target) showStatus(ctx context.Context) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	st, err := t.client.Status(ctx, true)
	if err != nil {
		return t.explain(err)
	}
	if t.g.json() {
		err = t.g.printJSON(st)
	} else {
		err = t.g.print(statusText(st, time.Now(), t.g.palette(t.g.out)))
	}
	if err != nil {
		return err
	}
	return notReady(st)
}

// notReady carries only the exit code: the status says the rest.
func notReady(st *status.Status) error {
	if st.Ready {
		return nil
	}
	return &failure{code: exitNotReady, err: fmt.Errorf("etcd is not ready: %s", stateText(st.State)), quiet: true}
}

// watchStatus ends without an error on Ctrl-C: that is how a watch is meant to end.
func (t *target) watchStatus(ctx context.Context) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	show := t.changeLine()
	switch {
	case t.g.json():
		show = t.g.printStatusJSON
	case isTerminal(t.g.out):
		return t.watchEnd(t.watchScreen(ctx))
	}
	return t.watchEnd(t.each(ctx, show))
}

func (t *target) watchEnd(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return t.explain(err)
}

// each calls show for every status until the watch ends, and says why it did.
func (t *target) each(ctx context.Context, show func(*status.Status) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := t.client.Watch(ctx)
	if err != nil {
		return err
	}
	for st := range stream.C {
		if err := show(st); err != nil {
			return err
		}
	}
	return stream.Err()
}

func (g *globals) printStatusJSON(st *status.Status) error { return g.printJSONLine(st) }

// changeLine prints what differs from the line before; log counters and the like are no news here.
func (t *target) changeLine() func(*status.Status) error {
	last := ""
	return func(st *status.Status) error {
		line := statusLine(st, time.Now())
		if line == last {
			return nil
		}
		last = line
		return t.g.print(line + "\n")
	}
}

// watchScreen redraws in place on each change, and each second for the ages, which only this process reckons with.
func (t *target) watchScreen(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := t.client.Watch(ctx)
	if err != nil {
		return err
	}
	if err := t.g.print("\x1b[2J"); err != nil {
		return err
	}
	// Asked once for the member's details of now; the status that follows from it comes over the stream too.
	if _, err := t.client.Status(ctx, true); err != nil {
		return err
	}
	return t.redraw(stream)
}

func (t *target) redraw(stream *control.Stream) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var last *status.Status
	for {
		select {
		case st, ok := <-stream.C:
			if !ok {
				return stream.Err()
			}
			last = st
		case <-second.C:
		}
		if last != nil {
			if err := t.draw(last); err != nil {
				return err
			}
		}
	}
}

// draw overwrites the screen line by line, which does not flicker, and clears what is left of the screen before.
func (t *target) draw(st *status.Status) error {
	lines := strings.Split(strings.TrimRight(statusText(st, time.Now(), t.g.palette(t.g.out)), "\n"), "\n")
	lines = lines[:min(len(lines), height(t.g.out)-1)]
	return t.g.print("\x1b[H" + strings.Join(lines, "\x1b[K\n") + "\x1b[K\n\x1b[J")
}
