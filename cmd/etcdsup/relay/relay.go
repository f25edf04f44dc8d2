// Package relay goes on with etcd's output in a process whose executable has just been replaced.
//
// It does so while the program initialises, not in main: of the fifteen milliseconds that the new executable takes to get
// there, most go into what is linked in with the built-in etcd, and nobody reads the pipe meanwhile. It knows no more than
// the log, so that the linker puts it before all that. What goes wrong here is told by who takes the handover, as is
// everything that concerns more than the log.
package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/logsink"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// Env names the descriptor of what one etcdsup hands over to the next one in the same process: JSON, from its beginning.
const Env = "ETCDSUP_HANDOVER"

// Version is the form of a handover. One that has another is refused when the new executable is asked.
const Version = 1

// The descriptors that the log is read by, in Log.FDs.
const (
	Output = "output" // etcd's output
	Ledger = "ledger"
)

// Log is the part of a handover by which etcd's output is read on.
type Log struct {
	Version int             `json:"version"`
	PID     int             `json:"pid"`
	At      time.Duration   `json:"at_ns"` // boot clock, when it was given away
	Sink    logsink.Options `json:"sink"`  // of the etcdsup before us: our own are read later
	FDs     map[string]int  `json:"fds"`   // of all that is handed over, by name
}

// Reading is the sink that runs since before main.
type Reading struct {
	Pipe *logsink.Pipe
	Sink *logsink.Sink // nil: Err says why not
	Gap  time.Duration // in which nobody read
	Err  error
}

// Signals are what a daemon obeys.
var Signals = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGHUP}

// Caught has those that came since the start of an executable to which something was handed over; nil: nothing was. By
// default each of them would end the process, and etcd would be left to nobody.
var Caught = catch()

func catch() chan os.Signal {
	if os.Getenv(Env) == "" {
		return nil
	}
	c := make(chan os.Signal, 2*len(Signals))
	signal.Notify(c, Signals...)
	return c
}

// Begun is what this process began with. It is nil where nothing was handed over that could be read.
var Begun = begin()

func begin() *Reading {
	var l Log
	if err := Read(&l); err != nil || l.Check() != nil {
		return nil // who takes the rest says so
	}
	r := new(Reading)
	r.Err = r.read(l)
	return r
}

func (r *Reading) read(l Log) error {
	fifo, err := l.File(Output)
	if err != nil {
		return err
	}
	ledger, err := l.File(Ledger)
	if err != nil {
		return errors.Join(err, fifo.Close())
	}
	if r.Pipe, err = logsink.KeepPipe(fifo, ledger); err != nil {
		return err
	}
	if r.Sink, err = logsink.Start(r.Pipe, l.Sink); err != nil {
		return err
	}
	r.Gap = process.BootTime() - l.At
	return nil
}

// ErrNothing says that no etcdsup was before us in this process.
var ErrNothing = errors.New("nothing was handed over")

// Read decodes what was handed over into v.
func Read(v any) error {
	text := os.Getenv(Env)
	if text == "" {
		return ErrNothing
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return fmt.Errorf("%s is %q, no descriptor", Env, text)
	}
	if err := process.Inherited([]int{fd}); err != nil {
		return err
	}
	size, err := unix.Seek(fd, 0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("cannot examine descriptor %d: %w", fd, err)
	}
	body := make([]byte, size)
	n, err := unix.Pread(fd, body, 0)
	if err != nil {
		return fmt.Errorf("cannot read descriptor %d: %w", fd, err)
	}
	return json.Unmarshal(body[:n], v)
}

// Check tells whether the handover is one that this process can use.
func (l *Log) Check() error {
	switch {
	case l.Version != Version:
		return fmt.Errorf("its version is %d, and this etcdsup reads %d", l.Version, Version)
	case l.PID != os.Getpid():
		return errors.New("it is meant for another process")
	}
	return nil
}

// Dup is a copy of a descriptor that was handed over. The one that was stays until it is sure that nobody comes back.
func (l *Log) Dup(name string) (int, error) {
	fd, ok := l.FDs[name]
	if !ok {
		return -1, fmt.Errorf("no %s was handed over", name)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot use the %s that was handed over: %w", name, err)
	}
	return own, nil
}

// File is such a copy as a file.
func (l *Log) File(name string) (*os.File, error) {
	fd, err := l.Dup(name)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
