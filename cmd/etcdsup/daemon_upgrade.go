package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/cmd/etcdsup/relay"
	"github.com/etcdsup/etcdsup/logsink"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// codeCannot is the API's code for a new executable that is not fit to take over.
const codeCannot = "cannot-take-over"

// formats are the forms of all that one etcdsup leaves to the next one, on disk, in memory and in a handover.
func formats() map[string]int {
	all := supervisor.Formats()
	all["journal"], all["ledger"], all["handover"] = journal.Format, logsink.LedgerVersion, relay.Version
	return all
}

// onlyOwn are the formats of which a reader takes no other version than its own.
var onlyOwn = []string{"handover", "ledger", "mark"}

// offer is what a new executable is asked with: whether it could take this over.
type offer struct {
	State   string         `json:"state"`    // folder
	DataDir string         `json:"data_dir"` //
	Formats map[string]int `json:"formats"`
}

// Upgrade asks a new executable whether it can take over, and if so begins to replace us by it. Everything that can be
// refused is refused before it returns.
func (d *daemon) Upgrade(ctx context.Context, o control.UpgradeOrder) (*status.Upgrade, error) {
	actor := control.ActorOf(ctx)
	u, err := d.beginUpgrade(ctx, o, actor)
	data := map[string]string{"binary": o.Binary, "error": errorText(err)}
	if u != nil {
		data["to"] = u.To
	}
	d.exec.record(actor, journal.KindCommand, "upgrade", data)
	return u, err
}

func (d *daemon) beginUpgrade(ctx context.Context, o control.UpgradeOrder, actor status.Actor) (*status.Upgrade, error) {
	if actor.UID != 0 && actor.UID != os.Geteuid() {
		return nil, &control.Error{Code: control.CodeDenied, Message: "only root and etcdsup's own user may replace it", Remedy: "run it as root"}
	}
	if !d.upgrading.CompareAndSwap(false, true) {
		return nil, &control.Error{Code: control.CodeRefused, Message: "an upgrade is under way", Remedy: "see it with " + d.g.commandLine("status")}
	}
	begun := false
	defer func() {
		if !begun {
			d.upgrading.Store(false)
		}
	}()
	exe, err := openNew(o.Binary)
	if err != nil {
		return nil, err
	}
	defer func() {
		if !begun {
			_ = exe.Close()
		}
	}()
	u, err := d.fitUpgrade(ctx, o, exe)
	if err != nil {
		return nil, err
	}
	begun = true
	answer := *u
	d.waits.Go(func() { d.replace(u, exe, o.Within) }) // ends with this process, or when it has failed
	return &answer, nil
}

// fitUpgrade looks whether anything stands against it.
func (d *daemon) fitUpgrade(ctx context.Context, o control.UpgradeOrder, exe *os.File) (*status.Upgrade, error) {
	if err := d.exec.guard(); err != nil {
		return nil, err
	}
	if err := d.movable(); err != nil {
		return nil, err
	}
	version, err := d.askNew(ctx, exe, o.Within)
	if err != nil {
		d.log.Warn("upgrade refused", zap.String("binary", o.Binary), zap.Error(err))
		return nil, err
	}
	return &status.Upgrade{
		ID: strings.ToLower(rand.Text()[:8]), From: thisVersion().Version, To: version, Binary: o.Binary, Began: time.Now(), Outcome: status.UpgradeRunning,
	}, nil
}

// movable is nil where nothing is half done that only this process knows of.
func (d *daemon) movable() error {
	st := d.loop.Status()
	if st.State == status.StateStopping {
		return unsettled("etcd is being stopped", d.g)
	}
	if trouble := d.sink.Stats().Trouble; trouble != "" {
		// A thread that hangs in a write holds the exec up, and nobody would read the pipe meanwhile.
		return &control.Error{Code: control.CodeRefused, Message: "cannot upgrade while etcd's log cannot be written: " + trouble, Remedy: "make room on the log disk, or mend it, and upgrade again"}
	}
	return nil
}

func unsettled(why string, g *globals) error {
	return &control.Error{Code: control.CodeRefused, Message: "cannot upgrade now: " + why, Remedy: "wait until it is done, see " + g.commandLine("status") + ", and upgrade again"}
}

// openNew opens the executable that is to take over. It is run by this very file from then on, whatever becomes of its
// name. A file that others may write is refused: they would be us.
func openNew(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, cannotUse(path, err.Error(), "name a file that etcdsup's own user can read and execute; /home, /root and /tmp are not seen by the service")
	}
	f := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	why := ""
	switch err := unix.Fstat(fd, &st); {
	case err != nil:
		why = err.Error()
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		why = "it is no file"
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		why = fmt.Sprintf("it belongs to uid %d, not to root or to etcdsup's own user", st.Uid)
	case st.Mode&0o022 != 0:
		why = "others may write it"
	}
	if why == "" {
		return f, nil
	}
	_ = f.Close()
	return nil, cannotUse(path, why, "have it owned by root and writable by nobody else: chown root, chmod 755")
}

func cannotUse(path, why, remedy string) error {
	return &control.Error{Code: codeCannot, Message: fmt.Sprintf("cannot upgrade to %s: %s", path, why), Remedy: remedy}
}

// replace puts the new executable in our place. It returns only when that has failed, and we go on.
func (d *daemon) replace(u *status.Upgrade, exe *os.File, within time.Duration) {
	defer d.upgrading.Store(false)
	defer exe.Close()
	err := d.exec.between(func() error { return d.give(u, exe, within) })
	u.Outcome, u.Why = status.UpgradeCameBack, "nothing was replaced: "+errorText(err)
	d.tellUpgrade(u)
}

// quietFor is how long a loop that is busy is waited for.
const quietFor = 10 * time.Second

// give makes ready, in the order in which it is undone, and executes the new one.
func (d *daemon) give(u *status.Upgrade, exe *os.File, within time.Duration) error {
	h := &handover{
		Log:  relay.Log{Version: relay.Version, PID: os.Getpid(), Sink: d.sink.Options(), FDs: map[string]int{}},
		Path: d.installed, Upgrade: u, State: d.cfg.StateDir(), Socket: d.cfg.Control.Socket, Notify: d.machine.Notify,
		Args: os.Args, Env: forSuccessor(d.g.env),
		calledOff: func() bool { return len(d.signals) > 0 || d.obeying.Load() },
	}
	defer func() { // all that is still here is not needed
		for _, fd := range h.FDs {
			_ = unix.Close(fd)
		}
	}()
	if err := d.gather(h); err != nil {
		return err
	}
	state := d.cfg.StateDir()
	if err := errors.Join(supervisor.KeepState(state), supervisor.SaveUpgrade(state, u)); err != nil {
		return err
	}
	guard, err := startGuard(d.guardOrder(u, within), h.Env)
	if err != nil {
		return err
	}
	h.FDs[fdGuard] = guard
	defer h.tellGuard(guardCancel)
	d.log.Info("etcdsup is being replaced", zap.String("id", u.ID), zap.String("from", u.From), zap.String("to", u.To), zap.String("binary", u.Binary))
	defer d.stopServing(h.FDs[fdControl])()
	return d.whenQuiet(func() error {
		d.flushLog()
		h.tellGuard(guardGo)
		return h.give(exe)
	})
}

// whenQuiet hands over as soon as nothing is half done.
func (d *daemon) whenQuiet(exec func() error) error {
	ctx, cancel := context.WithTimeout(d.life, quietFor)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := d.loop.HandOver(ctx, exec)
		if !errors.Is(err, supervisor.ErrUnsettled) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func (d *daemon) guardOrder(u *status.Upgrade, within time.Duration) guardOrder {
	return guardOrder{
		Within: cmp.Or(within, control.UpgradeWithin), State: d.cfg.StateDir(), Lock: d.lockPath(), Leaving: leavingFile(d.cfg),
		Managed: d.manager.Manager != nil, Args: os.Args, Upgrade: u,
	}
}

// gather makes a descriptor of everything that is to survive.
func (d *daemon) gather(h *handover) (err error) {
	for name, f := range map[string]*os.File{fdInstanceLock: d.lock, relay.Output: d.machine.Pipe[0], relay.Ledger: d.machine.Pipe[1]} {
		if h.FDs[name], err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return fmt.Errorf("cannot hand over the %s: %w", name, err)
		}
	}
	if h.FDs[fdNotify], err = d.notify.GiveAway(); err != nil {
		return err
	}
	if h.FDs[fdControl], err = d.listener.GiveAway(); err != nil {
		return err
	}
	h.FDs[fdOld], err = unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return err
}

// forSuccessor is our own environment as it was, without what is meant for one start only.
func forSuccessor(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return strings.HasPrefix(kv, "LISTEN_PID=") || strings.HasPrefix(kv, "LISTEN_FDS=") || strings.HasPrefix(kv, "LISTEN_FDNAMES=")
	})
}

// stopServing ends the answers on the socket, and returns what takes them up again. Who connects meanwhile waits.
func (d *daemon) stopServing(fd int) (resume func()) {
	d.endServing()
	return func() {
		ln, err := control.Inherit(fd, d.cfg.Control.Socket, d.cfg.Control.Group)
		if err != nil {
			d.log.Error("control socket lost", zap.Error(err))
			return
		}
		d.beginServing(ln)
	}
}

// missing names the formats of an offer that this etcdsup cannot read.
func missing(offered map[string]int) (faults []string) {
	ours := formats()
	for _, name := range slices.Sorted(maps.Keys(offered)) {
		switch known, ok := ours[name]; {
		case !ok:
			faults = append(faults, fmt.Sprintf("it does not know what a %s is, version %d", name, offered[name]))
		case offered[name] > known, offered[name] != known && slices.Contains(onlyOwn, name):
			faults = append(faults, fmt.Sprintf("the %s is of version %d, and it reads version %d", name, offered[name], known))
		}
	}
	return faults
}
