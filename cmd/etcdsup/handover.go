package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/logsink"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// handoverEnv names the descriptor of what one etcdsup hands over to the next one in the same process.
const handoverEnv = "ETCDSUP_HANDOVER"

// handoverVersion is the form of a handover. One that has another is refused when the new executable is asked.
const handoverVersion = 1

// The descriptors that are handed over, by name.
const (
	fdInstanceLock = "instance-lock"
	fdControl      = "control"
	fdNotify       = "notify"
	fdOutput       = "output"
	fdLedger       = "ledger"
	fdOld          = "old"   // the executable that is replaced
	fdGuard        = "guard" // the way to the guard
)

// handover is what one etcdsup leaves to the one that takes its place in the same process. What is not in it is on disk,
// as after any other end of an etcdsup.
type handover struct {
	Version int             `json:"version"`
	PID     int             `json:"pid"`
	At      time.Duration   `json:"at_ns"` // boot clock, when it was given away
	Path    string          `json:"path"`  // of the installed executable
	Upgrade *status.Upgrade `json:"upgrade"`
	Back    bool            `json:"back,omitempty"` // the old one gets it back
	State   string          `json:"state"`          // folder that it belongs to
	Socket  string          `json:"socket"`
	Notify  string          `json:"notify"` // path of the socket
	Sink    logsink.Options `json:"sink"`
	FDs     map[string]int  `json:"fds"`

	// What the process was started with. The one that comes back gets just that.
	Args []string `json:"args"`
	Env  []string `json:"env"`

	calledOff func() bool // we are told to end in the last moment; may be nil

	healthy bool // it was said that we supervise: nobody comes back any more
	// The sink, which runs before anything else does; nil: err says why not.
	pipe *logsink.Pipe
	sink *logsink.Sink
	err  error
}

// receiveHandover takes what an etcdsup before us in this process has left, and reads etcd's output from then on. It is
// called first of all: nobody else does. It is nil where there was none.
func receiveHandover() *handover {
	text := os.Getenv(handoverEnv)
	if text == "" {
		return nil
	}
	_ = os.Unsetenv(handoverEnv) // fails for a name without sense only
	h, err := readHandover(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcdsup: cannot read what was handed over:", err)
		return nil
	}
	h.startSink()
	return h
}

func readHandover(text string) (*handover, error) {
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q, no descriptor", handoverEnv, text)
	}
	if err := process.Inherited([]int{fd}); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "handover")
	defer f.Close()
	h := new(handover)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(f).Decode(h); err != nil {
		return nil, err
	}
	switch {
	case h.Version != handoverVersion:
		return nil, fmt.Errorf("its version is %d, and this etcdsup reads %d", h.Version, handoverVersion)
	case h.PID != os.Getpid() || h.Upgrade == nil:
		return nil, errors.New("it is meant for another process")
	}
	return h, process.Inherited(h.numbers())
}

func (h *handover) numbers() (fds []int) {
	for _, fd := range h.FDs {
		fds = append(fds, fd)
	}
	return fds
}

// startSink goes on with etcd's output by the settings of the etcdsup before us: our own are read later.
func (h *handover) startSink() {
	fifo, err := h.file(fdOutput)
	if err != nil {
		h.err = err
		return
	}
	ledger, err := h.file(fdLedger)
	if err != nil {
		h.err = errors.Join(err, fifo.Close())
		return
	}
	if h.pipe, h.err = logsink.KeepPipe(fifo, ledger); h.err != nil {
		return
	}
	if h.sink, h.err = logsink.Start(h.pipe, h.Sink); h.err == nil {
		h.Upgrade.Gap = process.BootTime() - h.At
	}
}

// dup is a copy of a descriptor that was handed over. The one that was stays until it is sure that nobody comes back.
func (h *handover) dup(name string) (int, error) {
	fd, ok := h.FDs[name]
	if !ok {
		return -1, fmt.Errorf("no %s was handed over", name)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot use the %s that was handed over: %w", name, err)
	}
	return own, nil
}

func (h *handover) file(name string) (*os.File, error) {
	fd, err := h.dup(name)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
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
		Exe: exe, Args: h.Args, Env: append(slices.Clone(h.Env), fmt.Sprintf("%s=%d", handoverEnv, fd)), Keep: append(h.numbers(), fd),
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
	old, err := h.file(fdOld)
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
