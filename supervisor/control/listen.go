package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse is returned by Listen when another process answers on the socket.
var ErrInUse = errors.New("another process listens on it")

// Listen makes the socket and whatever folder it needs. Without a group the folder is made 0700 and the socket 0600;
// with one 0750 and 0660, both of that group (a name or a number). A socket that nobody answers on is a leftover and
// is replaced; one that is answered on is left alone, with ErrInUse.
//
// Two daemons that find the same leftover at the same instant could remove each other's new socket. The start lock of
// the instance, held before Listen is called, is what rules that out.
func Listen(socket, group string) (net.Listener, error) {
	gid, err := LookupGroup(group)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(filepath.Dir(socket), gid); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the control socket: %w", err)
	}
	if err := removeLeftover(socket); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", socket, err)
	}
	ln, err := bind(socket, gid)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", socket, err)
	}
	return ln, nil
}

const noGroup = -1

// LookupGroup is the ID of a group given by name or number; an empty one is no group.
func LookupGroup(group string) (int, error) {
	if group == "" {
		return noGroup, nil
	}
	if gid, err := strconv.Atoi(group); err == nil && gid >= 0 {
		return gid, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return noGroup, fmt.Errorf("cannot look up the control group: %w", err)
	}
	return strconv.Atoi(g.Gid)
}

// makeFolder leaves a folder that exists as it is, except that the group is let in where we own it.
func makeFolder(dir string, gid int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if gid == noGroup {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(st.Gid) == gid && info.Mode().Perm()&0o010 != 0 || info.Mode().Perm()&0o001 != 0 {
		return nil
	}
	if err := os.Chown(dir, -1, gid); err != nil {
		return err
	}
	return os.Chmod(dir, info.Mode().Perm()|0o050)
}

func removeLeftover(socket string) error {
	info, err := os.Lstat(socket)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is no socket is in the way")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := dial(ctx, socket)
	if err == nil {
		conn.Close()
		return ErrInUse
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err // a full backlog, no permission: somebody may well be there
	}
	return os.Remove(socket)
}

// listener removes its socket when it is closed, by the name it was asked for, unless it was given away.
type listener struct {
	*net.UnixListener
	socket string
	given  atomic.Bool
	once   sync.Once
}

func (l *listener) Close() error {
	if !l.given.Load() {
		l.once.Do(func() { _ = os.Remove(l.socket) }) // before the close, so that a successor's socket is never the one removed
	}
	return l.UnixListener.Close()
}

// GiveAway makes a descriptor of a listener that Listen or Inherit has made. From then on the end of the listener leaves
// the socket to it: who connects waits until somebody accepts there.
func GiveAway(ln net.Listener) (fd int, err error) {
	l, ok := ln.(*listener)
	if !ok {
		return -1, fmt.Errorf("cannot give a %T away", ln)
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("cannot give the control socket away: %w", err)
	}
	err = control(raw, func(own int) (err error) {
		fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("cannot give the control socket away: %w", err)
	}
	l.given.Store(true)
	return fd, nil
}

// Inherit goes on with a descriptor of GiveAway, which stays the caller's, on the same socket.
func Inherit(fd int, socket string) (net.Listener, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with the control socket: %w", err)
	}
	f := os.NewFile(uintptr(own), socket)
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with the control socket: %w", err)
	}
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		_ = ln.Close()
		return nil, fmt.Errorf("cannot go on with descriptor %d: it is no control socket", fd)
	}
	return &listener{UnixListener: ul, socket: socket}, nil
}

func bind(socket string, gid int) (net.Listener, error) {
	name, release, err := shortName(socket)
	if err != nil {
		return nil, err
	}
	defer release()
	mode := uint32(0o600)
	if gid != noGroup {
		mode = 0o660
	}
	// The mode of the unbound socket is what bind(2) gives to the file: there is no instant at which others may connect.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error { return unix.Fchmod(fd, mode) })
	}}
	ln, err := lc.Listen(context.Background(), "unix", name)
	if err != nil {
		return nil, err
	}
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		_ = ln.Close()
		return nil, fmt.Errorf("a listener is a %T", ln)
	}
	ul.SetUnlinkOnClose(false)
	l := &listener{UnixListener: ul, socket: socket}
	if gid != noGroup {
		if err := share(socket, gid, fs.FileMode(mode)); err != nil {
			_ = l.Close()
			return nil, err
		}
	}
	return l, nil
}

func share(socket string, gid int, mode fs.FileMode) error {
	if err := os.Chown(socket, -1, gid); err != nil {
		return err
	}
	return os.Chmod(socket, mode) // the umask may have taken the group's bits away
}

// control runs f on the file descriptor.
func control(c syscall.RawConn, f func(fd int) error) error {
	var ferr error
	if err := c.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// maxSocketName is what fits into sockaddr_un with its closing zero.
const maxSocketName = 107

// shortName gives a name for the socket that fits into sockaddr_un: a path that is too long is reached through its
// folder's file descriptor, which must stay open until bind or connect is done.
func shortName(socket string) (name string, release func(), err error) {
	if len(socket) <= maxSocketName {
		return socket, func() {}, nil
	}
	dir, err := unix.Open(filepath.Dir(socket), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &fs.PathError{Op: "open", Path: filepath.Dir(socket), Err: err}
	}
	release = func() { unix.Close(dir) }
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(socket)), release, nil
}

func dial(ctx context.Context, socket string) (net.Conn, error) {
	name, release, err := shortName(socket)
	if err != nil {
		return nil, err
	}
	defer release()
	return new(net.Dialer).DialContext(ctx, "unix", name)
}
