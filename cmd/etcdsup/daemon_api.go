package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/logsink"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// What the control socket asks of the daemon, and how the parts of the configuration reach the loop.

// Status is the newest status, with the log's figures of this instant.
func (d *daemon) Status() *status.Status { return d.withLog(d.loop.Status()) }

func (d *daemon) withLog(st *status.Status) *status.Status {
	s := *st
	s.Log = output{d.sink}.Log()
	if s.Process != nil {
		p, u := *s.Process, d.machine.Cage.Usage()
		p.Memory, p.CPU = cmp.Or(u.Charged, u.RSS), u.CPU
		s.Process = &p
	}
	return &s
}

// Watch tells of each newer status.
func (d *daemon) Watch() (<-chan struct{}, func()) { return tellChanges(d.loop.Changed, d.loop.Done()) }

// tellChanges gives a word after each change until over or the returned function's call: who looks first when it has
// returned, and again after each word, has seen the last one. changed gives the channel that the next change closes.
func tellChanges(changed func() <-chan struct{}, over <-chan struct{}) (<-chan struct{}, func()) {
	news, done := make(chan struct{}, 1), make(chan struct{})
	next := changed() // in time: a change after the first look closes it, and so does one after a later look
	go func() {       // ends with the returned function, or with over
		for {
			select {
			case <-next:
				next = changed()
				select {
				case news <- struct{}{}:
				default:
				}
			case <-done:
				return
			case <-over:
				return
			}
		}
	}()
	return news, func() { close(done) }
}

// Refresh asks etcd afresh.
func (d *daemon) Refresh(ctx context.Context) (*status.Status, error) {
	st, err := d.loop.Refresh(ctx)
	if err != nil {
		return nil, err
	}
	return d.withLog(st), nil
}

// Start, Stop and Restart pass the wish on to the loop.
func (d *daemon) Start(ctx context.Context) error { return d.obey(ctx, "start", d.loop.Start) }

// Stop stops etcd; etcdsup goes on.
func (d *daemon) Stop(ctx context.Context) error { return d.obey(ctx, "stop", d.loop.Stop) }

// Restart stops etcd and starts it again, unless it is known that it would not be started.
func (d *daemon) Restart(ctx context.Context) error {
	return d.obey(ctx, "restart", func(ctx context.Context) error {
		if d.loop.Status().Process == nil {
			return d.loop.Restart(ctx)
		}
		if why, remedy := d.machine.Restartable(); why != "" {
			return &control.Error{Code: control.CodeRefused, Message: "cannot restart etcd, which goes on as it is: " + why, Remedy: remedy}
		}
		return d.loop.Restart(ctx)
	})
}

// obey carries a command out, unless a change of mode is under way, which nothing must cross. It is written down after
// that: a disk that hangs must not keep etcd from being stopped.
func (d *daemon) obey(ctx context.Context, command string, do func(context.Context) error) error {
	err := d.exec.guard()
	if err == nil {
		err = d.unkept(command, do(ctx))
	}
	d.exec.record(control.ActorOf(ctx), journal.KindCommand, command, map[string]string{"error": errorText(err)})
	return err
}

// unkept tells an order that is carried out, but could not be written down, from one that is not carried out.
func (d *daemon) unkept(command string, err error) error {
	_, refused := errors.AsType[*control.Error](err)
	if err == nil || refused || errors.Is(err, supervisor.ErrEnding) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &control.Error{Code: control.CodeUnkept, Message: fmt.Sprintf("the %s goes on, but could not be written down: %v", command, err),
		Remedy: fmt.Sprintf("see to the disk of %s: df -h %[1]s; an etcdsup that begins before that is mended does not know of the %s", d.cfg.StateDir(), command)}
}

// RotateLog begins a new log file.
func (d *daemon) RotateLog(ctx context.Context) error { return d.sink.Rotate(ctx) }

// tellMemberOrder writes down what was asked for, by whom, and what came of it.
func (d *daemon) tellMemberOrder(ctx context.Context, o status.MemberOrder, err error) {
	d.exec.record(control.ActorOf(ctx), journal.KindMembership, string(o.Op)+" member "+o.Member,
		map[string]string{"urls": strings.Join(o.URLs, ","), "error": errorText(err)})
	d.log.Info("member change", zap.String("op", string(o.Op)), zap.String("member", o.Member), zap.Strings("urls", o.URLs), zap.Error(err))
}

// History reads the newest events from disk.
func (d *daemon) History(_ context.Context, n int) ([]status.Event, error) {
	return supervisor.ReadHistory(supervisor.HistoryPath(d.cfg.StateDir()), n)
}

// output is the log sink in the loop's words.
type output struct{ *logsink.Sink }

func (o output) Log() status.Log {
	s := o.Stats()
	return status.Log{
		File: s.File, Size: s.Size, Archives: s.Archives, ArchiveBytes: s.ArchiveBytes, Written: s.Written,
		Buffered: s.Buffered, DroppedBytes: s.DroppedBytes, DroppedLines: s.DroppedLines, LastDropped: s.LastDrop,
		Rotations: uint64(s.Rotations), Trouble: s.Trouble, TroubleSince: s.TroubleSince,
	}
}

// settings are loopSettings with what only this run knows.
func (d *daemon) settings(c *config.Config) supervisor.Settings {
	s := loopSettings(c)
	s.Program, s.Binary = d.g.self(), d.installed
	s.Notices = d.exec.notices()
	return s
}

// loopSettings are the parts of the configuration that the loop goes by.
func loopSettings(c *config.Config) supervisor.Settings {
	return supervisor.Settings{
		Instance: c.Instance, Version: thisVersion().Version, PID: os.Getpid(), PeerURLs: peerURLs(c),
		Config: status.Config{File: c.File, Dir: c.Dir, DataDir: c.DataDir(), Client: clientURLs(c)},
		Delay:  c.Restart.Delay, MaxDelay: c.Restart.MaxDelay, ResetAfter: c.Restart.ResetAfter,
		Jitter: c.Restart.Jitter, PerHour: c.Restart.PerHour,
		Transfer: c.Stop.Transfer, Grace: c.Stop.Grace, Dump: c.Stop.Dump,
		ReadyAtOnce: c.Health.Ready == config.ReadyStarted, Interval: c.Health.Interval, Timeout: c.Health.Timeout, Hung: c.Health.Hung,
	}
}

// peerURLs are those that this member is to be listed with; of a stand-in, none.
func peerURLs(c *config.Config) []string {
	if !c.Etcd.Verify {
		return nil
	}
	return c.ArgValues("initial-advertise-peer-urls")
}

// clientURLs are those that clients are told to use.
func clientURLs(c *config.Config) []string {
	for _, name := range []string{"advertise-client-urls", "listen-client-urls"} {
		i := slices.IndexFunc(c.Etcd.Args, func(a config.Arg) bool { return a.Name == name })
		if i >= 0 {
			return strings.Split(c.Etcd.Args[i].Value(), ",")
		}
	}
	return nil
}

// builtinRunner runs this executable as etcd.
func builtinRunner() config.Runner { return config.Program("/proc/self/exe", "etcd") }
