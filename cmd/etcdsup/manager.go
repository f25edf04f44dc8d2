package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/logsink"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/status"
	"github.com/etcdsup/etcdsup/supervisor/systemd"
)

// The names under which the service manager keeps the pipe of etcd's output for the next etcdsup: its last lines are
// not lost where etcd has died with us.
const (
	keptOutput = "etcd-output"
	keptLedger = "etcd-ledger"
)

const (
	extendEvery = 5 * time.Second  // so often more time is asked for
	extendBy    = 30 * time.Second // and so much
	moving      = 20 * time.Second // an etcd that has done nothing for so long makes no progress
)

// manager is the service manager that started us, as far as the loop has to do with it. All of it but tell belongs to
// the loop's goroutine.
type manager struct {
	*systemd.Manager
	log      *zap.Logger
	when     config.TellReady
	ready    bool      // it was told so
	said     string    // the sentence of its status
	extended time.Time // when more time was asked for
	failed   bool      // the last message was lost
}

// connectManager finds the service manager and takes over what it kept.
func (d *daemon) connectManager() {
	d.kept = systemd.Stored()
	d.onClose(func() {
		for _, f := range d.kept {
			_ = f.Close()
		}
	})
	m, err := systemd.Connect()
	if err != nil {
		d.log.Warn("service manager not reached", zap.Error(err))
	}
	d.manager = &manager{Manager: m, log: d.log, when: d.cfg.Service.Ready}
}

// heart serves the manager's watchdog, where it has one for us. A third of its time leaves room for a loaded host.
func (m *manager) heart() supervisor.Heart {
	every := m.Watchdog() / 3
	if every == 0 {
		return supervisor.Heart{}
	}
	h := supervisor.Heart{Beat: func() { m.tell(systemd.Alive) }, Every: every}
	if alarm, err := supervisor.NewQuietAlarm(); err == nil {
		h.Alarm = alarm
	}
	return h
}

// tell is for what may get lost: it will be said again, or was not important.
func (m *manager) tell(messages ...systemd.Message) {
	err := m.Tell(messages...)
	if failed := err != nil; failed != m.failed {
		m.failed = failed
		if failed {
			m.log.Warn("service manager not told", zap.Error(err))
		}
	}
}

// shown passes on what is news to the manager in a status.
func (m *manager) shown(st *status.Status) {
	if m.Manager == nil {
		return
	}
	var news []systemd.Message
	if !m.ready && (m.when == config.TellSupervising || st.Ready || st.Goal == status.GoalDown) {
		m.ready = true
		news = append(news, systemd.Ready)
	}
	if text := managerText(st); text != m.said {
		m.said = text
		news = append(news, systemd.Text(text))
	}
	if by := m.moreTime(st, time.Now()); by > 0 {
		news = append(news, systemd.Extend(by))
	}
	if len(news) > 0 {
		m.tell(news...)
	}
}

// moreTime is what a start or a stop under way is to be given from now on; 0: nothing.
func (m *manager) moreTime(st *status.Status, now time.Time) time.Duration {
	if now.Sub(m.extended) < extendEvery {
		return 0
	}
	by := time.Duration(0)
	switch {
	case st.State == status.StateStopping && st.Stop != nil && st.Stop.Deadline.After(now):
		by = st.Stop.Deadline.Sub(now) + extendBy
	case m.ready:
	case st.State == status.StateWaiting, st.State == status.StateStarting && now.Sub(st.Health.Progress) < moving:
		by = extendBy
	}
	if by > 0 {
		m.extended = now
	}
	return by
}

// managerText is the status in a sentence that changes only when something has happened.
func managerText(st *status.Status) string {
	text := "etcd is " + string(st.State)
	if st.State == status.StateReady && st.Process != nil {
		text += fmt.Sprintf(", PID %d", st.Process.PID)
	} else if st.Reason != "" {
		text += ": " + printable(st.Reason)
	}
	if st.Job != nil {
		text = jobText(st.Job) + "; " + text
	}
	if st.State == status.StateHeld && st.Next != "" {
		text += "; next: " + printable(st.Next)
	}
	return text
}

// keptOrNewPipe is for an etcd that is still to be started, or that is just ending.
func (d *daemon) keptOrNewPipe() (*logsink.Pipe, error) {
	if pipe := d.keptPipe(); pipe != nil {
		return pipe, nil
	}
	return logsink.NewPipe(int64(d.cfg.Log.Buffer))
}

// keptPipe is the pipe that the service manager kept of an etcd that lives no more; nil: none.
func (d *daemon) keptPipe() *logsink.Pipe {
	fifo, ledger := d.kept[keptOutput], d.kept[keptLedger]
	if fifo == nil || ledger == nil {
		return nil
	}
	delete(d.kept, keptOutput)
	delete(d.kept, keptLedger)
	pipe, err := logsink.KeepPipe(fifo, ledger)
	if err != nil {
		d.log.Warn("last output of etcd not recovered", zap.Error(err))
		return nil
	}
	return pipe
}

// keepPipe has the manager keep the pipe, in place of the one before.
func (d *daemon) keepPipe(p *logsink.Pipe) {
	for name, f := range map[string]*os.File{keptOutput: p.FIFO, keptLedger: p.Ledger} {
		if err := d.manager.Forget(name); err != nil {
			d.log.Warn("service manager not told", zap.Error(err))
		}
		if err := d.manager.Store(name, f); err != nil {
			d.log.Warn("pipe not kept by the service manager", zap.Error(err))
		}
	}
}

// leavingFile is there from the moment that we were told to end until the next start: what a service manager does after
// our end depends on it.
func leavingFile(c *config.Config) string { return filepath.Join(c.RunDir(), "leaving") }

// leave begins the orderly end.
func (d *daemon) leave() {
	if err := d.manager.Tell(systemd.Stopping); err != nil {
		d.log.Warn("service manager not told", zap.Error(err))
	}
	if err := os.WriteFile(leavingFile(d.cfg), nil, config.FileMode); err != nil {
		d.log.Warn("end not announced", zap.Error(err))
	}
}
