package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/cmd/etcdsup/relay"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// The descriptors that are handed over, by name; those of the log are in package relay.
const (
	fdInstanceLock = "instance-lock"
	fdControl      = "control"
	fdNotify       = "notify"
	fdOld          = "old"   // the executable that is replaced
	fdGuard        = "guard" // the way to the guard
)

// handover is what one etcdsup leaves to the one that takes its place in the same process. What is not in it is on disk,
// as after any other end of an etcdsup.
type handover struct {
	relay.Log

	Path    string          `json:"path"` // of the installed executable
	Upgrade *status.Upgrade `json:"upgrade"`
	Back    bool            `json:"back,omitempty"` // the old one gets it back
	State   string          `json:"state"`          // folder that it belongs to
	Socket  string          `json:"socket"`
	Notify  string          `json:"notify"` // path of the socket

	// What the process was started with. The one that comes back gets just that.
	Args []string `json:"args"`
	Env  []string `json:"env"`

	calledOff func() bool // we are told to end in the last moment; may be nil

	healthy bool           // it was said that we supervise: nobody comes back any more
	reading *relay.Reading // etcd's output, since before main
}

// receiveHandover takes what an etcdsup before us in this process has left. It is nil where there was none.
func receiveHandover() *handover {
	h := new(handover)
	err := relay.Read(h)
	_ = os.Unsetenv(relay.Env) // fails for a name without sense only
	switch {
	case errors.Is(err, relay.ErrNothing):
		return nil
	case err == nil:
		err = h.accept()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcdsup: cannot read what was handed over:", err)
		return nil
	}
	return h
}

func (h *handover) accept() error {
	if err := h.Check(); err != nil {
		return err
	}
	if h.Upgrade == nil || relay.Begun == nil {
		return errors.New("it says nothing of an upgrade")
	}
	h.reading = relay.Begun
	h.Upgrade.Gap = h.reading.Gap
	return process.Inherited(h.numbers())
}

func (h *handover) numbers() (fds []int) {
	for _, fd := range h.FDs {
		fds = append(fds, fd)
	}
	return fds
}

// give hands over to the executable: it returns only when that fails, and then all is as before.
func (h *handover) give(exe *os.File) error {
	fd, err := unix.MemfdCreate("etcdsup-handover", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot hand over: %w", err)
	}
	f := os.NewFile(uintptr(fd), "handover")
	defer f.Close()
	return process.Replace(process.Replacement{
		Exe: exe, Args: h.Args, Env: append(slices.Clone(h.Env), fmt.Sprintf("%s=%d", relay.Env, fd)), Keep: append(h.numbers(), fd),
		Last: func() error {
			if h.calledOff != nil && h.calledOff() {
				return errEnding
			}
			h.At = process.BootTime()
			return json.NewEncoder(f).Encode(h)
		},
	})
}

// descriptor is one that was handed over, as long as there is a way back.
func (h *handover) descriptor(name string) (fd int, ok bool) {
	if !h.open() {
		return -1, false
	}
	fd, ok = h.FDs[name]
	return fd, ok
}

// open says that nobody knows yet whether we can supervise, so that there is a way back.
func (h *handover) open() bool { return h != nil && !h.healthy }

// comeBack gives the process back to the executable that was replaced, because of what went wrong here. It returns only
// if that fails too, or where this is the one that came back.
func (h *handover) comeBack(why error) error {
	if h.Back {
		return why
	}
	old, err := h.File(fdOld)
	if err != nil {
		return errors.Join(why, err)
	}
	defer old.Close()
	h.Back, h.Upgrade.Outcome, h.Upgrade.Why = true, status.UpgradeCameBack, failedBy(h.Upgrade, "failed: "+oneLine(why.Error()))
	h.tellGuard(guardBack)
	return errors.Join(why, h.give(old))
}

// failedBy is the sentence for what went wrong with an upgrade.
func failedBy(u *status.Upgrade, what string) string {
	return fmt.Sprintf("the new etcdsup (%s, %s) %s", u.To, u.Binary, what)
}

// settle says that we supervise: nobody has to come back any more.
func (h *handover) settle() {
	h.healthy = true
	if h.Upgrade.Outcome == status.UpgradeRunning {
		h.Upgrade.Outcome = status.UpgradeDone
	}
	h.tellGuard(guardHealthy)
	for _, fd := range h.FDs {
		_ = unix.Close(fd)
	}
	h.FDs = nil
}

// tellGuard sends a word to the guard. One that is gone needs none.
func (h *handover) tellGuard(word byte) {
	if fd, ok := h.FDs[fdGuard]; ok {
		_ = unix.Send(fd, []byte{word}, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	}
}
