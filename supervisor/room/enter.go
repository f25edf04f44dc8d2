package room

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Name is the name, argv[0], under which this executable is the way into a room.
const Name = "etcdsup-room"

// order is what the child is told, as its arguments.
type order struct {
	report  int    // descriptor for the reason of a failure; closed by a success
	kind    Kind   //
	outside uint64 // network namespace of the one who ordered
	path    string // of the executable; empty: only see whether it would work
	argv    []string
}

func (o *order) args() []string {
	return append([]string{Name, strconv.Itoa(o.report), string(o.kind), strconv.FormatUint(o.outside, 10), o.path}, o.argv...)
}

func parseOrder(args []string) (*order, error) {
	if len(args) < 5 {
		return nil, fmt.Errorf("cannot enter a room: %s is for etcdsup's own use", Name)
	}
	o := &order{kind: Kind(args[2]), path: args[4], argv: args[5:]}
	var err, err2 error
	o.report, err = strconv.Atoi(args[1])
	o.outside, err2 = strconv.ParseUint(args[3], 10, 64)
	if err = errors.Join(err, err2, o.kind.known()); err != nil {
		return nil, fmt.Errorf("cannot enter a room: %w", err)
	}
	return o, nil
}

// Enter is main for the child that is born in the new namespace, called under [Name]: it makes the room fit to live in and
// becomes etcd. It does not return. What goes wrong is told to [Start].
func Enter(args []string) {
	runtime.LockOSThread() // capabilities and signal masks are a thread's
	o, err := parseOrder(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := o.carryOut(); err != nil {
		_, _ = os.NewFile(uintptr(o.report), "report").WriteString(encodeFailure(err))
		os.Exit(1)
	}
	os.Exit(0)
}

// carryOut returns on failure, or when there is nothing to become.
func (o *order) carryOut() error {
	// The report and whatever etcdsup may have been started with beyond it are closed by exec; what etcd inherits is
	// below.
	if err := unix.CloseRange(uint(o.report), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("cannot close what etcd must not have: %w", err)
	}
	if o.kind.Isolated() {
		if err := o.furnish(); err != nil {
			return fmt.Errorf("%w: %w", ErrNotIsolated, err)
		}
	}
	if o.path == "" {
		return nil
	}
	// The mask is inherited: etcdsup may have been started with SIGTERM blocked.
	var none unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil); err != nil {
		return fmt.Errorf("cannot unblock signals: %w", err)
	}
	return fmt.Errorf("cannot execute %s: %w", o.path, syscall.Exec(o.path, o.argv, os.Environ()))
}

// furnish makes sure that this is another network than that of who ordered it, and brings lo up in it. The capabilities
// that a user namespace has brought are given back: from exec on they are gone.
func (o *order) furnish() error {
	here, err := namespaceOf()
	if err != nil {
		return err
	}
	if here == o.outside {
		return errors.New("cannot go on: this is the network of the host")
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	if o.kind != KindUser {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot give capabilities back: %w", err)
	}
	return nil
}

// noRoot makes root a user without capabilities from the next exec on, for good: SECBIT_NOROOT and its lock.
const noRoot = 1<<0 | 1<<1

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot bring lo up: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo)
	}
	if err == nil {
		lo.SetUint16(lo.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	if err != nil {
		return fmt.Errorf("cannot bring lo up: %w", err)
	}
	return nil
}

// failure is an error on its way from the child to Start. The number stays beside the words, for errors.Is there.
type failure struct {
	Text  string        `json:"text"`
	Errno syscall.Errno `json:"errno,omitempty"`
	Room  bool          `json:"room,omitempty"` // it is the room that cannot be had
}

func encodeFailure(failed error) string {
	f := failure{Text: failed.Error(), Room: errors.Is(failed, ErrNotIsolated)}
	f.Text = strings.TrimPrefix(f.Text, ErrNotIsolated.Error()+": ")
	if errors.As(failed, &f.Errno) {
		f.Text = strings.TrimSuffix(f.Text, ": "+f.Errno.Error())
	}
	b, err := json.Marshal(f)
	if err != nil { // never for these fields
		return err.Error()
	}
	return string(b)
}

// decodeFailure is nil for a child that told of none.
func decodeFailure(told []byte) error {
	if len(told) == 0 {
		return nil
	}
	var f failure
	if err := json.Unmarshal(told, &f); err != nil {
		return fmt.Errorf("cannot read what the child says: %w", err)
	}
	err := errors.New(f.Text)
	if f.Errno != 0 {
		err = fmt.Errorf("%s: %w", f.Text, f.Errno)
	}
	if f.Room {
		err = fmt.Errorf("%w: %w", ErrNotIsolated, err)
	}
	return err
}
