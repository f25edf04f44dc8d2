package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/logsink"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// What a daemon takes from the one before it in the same process, in place of what it would open anew.

// inheritLock goes on with the lock of the instance, which was never let go.
func (d *daemon) inheritLock() error {
	lock, err := d.g.handed.File(fdInstanceLock)
	if err != nil {
		return err
	}
	d.onClose(func() { _ = lock.Close() })
	if !process.StillLocks(lock, d.lockPath()) {
		return fmt.Errorf("cannot take over instance %q: what was handed over is the lock of %s", d.cfg.Instance, d.g.handed.State)
	}
	d.lock = lock
	return nil
}

// inheritSink goes on with the sink that runs since the first instant; nil without an error: there is none.
func (d *daemon) inheritSink() (*logsink.Pipe, error) {
	h := d.g.handed
	if !h.open() {
		return nil, nil
	}
	if h.reading.Sink == nil {
		d.log.Error("log not taken over", zap.Error(h.reading.Err))
		return nil, nil
	}
	d.sink = h.reading.Sink
	return h.reading.Pipe, d.sink.Reconfigure(logOptions(d.cfg))
}

func (d *daemon) openNotify() (*supervisor.Notify, error) {
	h := d.g.handed
	if fd, ok := h.descriptor(fdNotify); ok && h.Notify == d.machine.Notify {
		return supervisor.InheritNotify(fd, h.Notify)
	}
	return supervisor.ListenNotify(d.machine.Notify)
}

func (d *daemon) listen() (*control.Listener, error) {
	h := d.g.handed
	fd, ok := h.descriptor(fdControl)
	if ok && h.Socket == d.cfg.Control.Socket {
		return control.Inherit(fd, h.Socket, d.cfg.Control.Group)
	}
	return control.Listen(d.cfg.Control.Socket, d.cfg.Control.Group)
}

// installedPath is where our executable is installed. Within an upgrade it may still have another name.
func (g *globals) installedPath() string {
	if g.handed != nil {
		return g.handed.Path
	}
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(exe, " (deleted)")
}

// lastUpgrade is what the status tells of upgrades: the one that we came by, or the one before. One that was under way
// when its process ended has failed, whoever could not say so.
func (d *daemon) lastUpgrade() *status.Upgrade {
	if h := d.g.handed; h.open() {
		shown := *h.Upgrade
		return &shown
	}
	u := supervisor.PeekUpgrade(d.cfg.StateDir())
	if u == nil || u.Outcome != status.UpgradeRunning {
		return u
	}
	u.Outcome, u.Why = status.UpgradeCameBack, failedBy(u, "ended before it supervised")
	return u
}

// settle says that this etcdsup supervises, once it does.
func (d *daemon) settle(ctx context.Context) {
	select {
	case <-d.loop.Begun():
	case <-ctx.Done():
		return
	}
	u := d.loop.Status().Upgrade
	if h := d.g.handed; h.open() {
		h.settle()
		u = h.Upgrade
	}
	supervisor.DropState(d.cfg.StateDir()) // also those of an upgrade that was killed before it was written down
	if u != nil && !u.Told {
		d.tellUpgrade(u)
	}
}

// tellUpgrade writes what the last upgrade came to into our own log, the history and the state folder, and shows it.
func (d *daemon) tellUpgrade(u *status.Upgrade) {
	fields := []zap.Field{zap.String("id", u.ID), zap.String("from", u.From), zap.String("to", u.To), zap.String("binary", u.Binary)}
	if u.Outcome == status.UpgradeDone {
		d.log.Info("etcdsup was replaced", append(fields, zap.Duration("gap", u.Gap))...)
	} else {
		d.log.Error("upgrade failed: the old etcdsup goes on", append(fields, zap.String("why", u.Why))...)
	}
	shown := *u
	d.loop.ShowUpgrade(&shown)
	kept := *u
	kept.Told = true
	if err := supervisor.SaveUpgrade(d.cfg.StateDir(), &kept); err != nil {
		d.log.Warn("upgrade not written down", zap.Error(err))
	}
}
