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
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse is returned by Listen when another process answers on the socket.
var ErrInUse = errors.New("another process listens on it")

// Listener is the listening socket with the file that leads to it. It removes that file when it is closed, unless
// another one is there by then, or the socket was given away.
type Listener struct {
	socket string
	gid    int

	mu     sync.Mutex
	ln     *net.UnixListener // replaced by Remake
	file   fs.FileInfo       // that leads to ln; nil: none was there
	given  bool              // to another process, which goes on with ln
	closed bool
}

// Listen makes the socket and whatever folder it needs. Without a group the folder is made 0700 and the socket 0600;
// with one 0750 and 0660, both of that group (a name or a number). A socket that nobody answers on is a leftover and
// is replaced; one that is answered on is left alone, with ErrInUse.
//
// Two daemons that find the same leftover at the same instant could remove each other's new socket. The start lock of
// the instance, held before Listen is called, is what rules that out.
func Listen(socket, group string) (*Listener, error) {
	gid, err := LookupGroup(group)
	if err != nil {
		return nil, err
	}
	l := &Listener{socket: socket, gid: gid}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// open makes what is listened on, and the way to it.
func (l *Listener) open() error {
	if err := makeFolder(filepath.Dir(l.socket), l.gid); err != nil {
		return fmt.Errorf("cannot make the folder of the control socket: %w", err)
	}
	if err := removeLeftover(l.socket); err != nil {
		return fmt.Errorf("cannot listen on %s: %w", l.socket, err)
	}
	ln, file, err := bind(l.socket, l.gid)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", l.socket, err)
	}
	l.ln, l.file = ln, file
	return nil
}

// Remake listens anew where the file that leads to the socket is gone or is another one, and reports whether it did.
// Connections that were accepted before go on. With an error all is as before, and it may be called again. It costs one
// lstat(2) while nothing is wrong.
func (l *Listener) Remake() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.given || l.isThere() {
		return false, nil
	}
	old := l.ln
	if err := l.open(); err != nil {
		return false, err
	}
	_ = old.Close() // Accept goes on with the new one
	return true, nil
}

// isThere tells whether the file still leads to us. Its inode is ours for as long as we listen: no other file has the
// same number meanwhile.
func (l *Listener) isThere() bool {
	now, err := os.Lstat(l.socket)
	return err == nil && l.file != nil && os.SameFile(now, l.file)
}

// Accept waits for the next connection, also across Remake.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		ln := l.current()
		conn, err := ln.Accept()
		if err == nil || ln == l.current() {
			return conn, err
		}
	}
}

func (l *Listener) current() *net.UnixListener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ln
}

// Addr is the address of the socket.
func (l *Listener) Addr() net.Addr { return l.current().Addr() }

// Close ends Accept. It may be called more than once.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && !l.given && l.isThere() {
		_ = os.Remove(l.socket) // before the close, so that a successor's socket is never the one removed
	}
	l.closed = true
	return l.ln.Close()
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

// GiveAway makes a descriptor of what is listened on. From then on the end of the listener leaves the socket to it: who connects waits until somebody accepts there.
func (l *Listener) GiveAway() (fd int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	raw, err := l.ln.SyscallConn()
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
	l.given = true
	return fd, nil
}

// Inherit goes on with a descriptor of GiveAway, which stays the caller's, on the same socket. group is as in Listen.
func Inherit(fd int, socket, group string) (*Listener, error) {
	gid, err := LookupGroup(group)
	if err != nil {
		return nil, err
	}
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
	ul.SetUnlinkOnClose(false)
	file, _ := os.Lstat(socket) // one that is gone is made anew when somebody looks
	return &Listener{socket: socket, gid: gid, ln: ul, file: file}, nil
}

// bind makes the socket, and tells which file leads to it.
func bind(socket string, gid int) (*net.UnixListener, fs.FileInfo, error) {
	name, release, err := shortName(socket)
	if err != nil {
		return nil, nil, err
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
		return nil, nil, err
	}
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		_ = ln.Close()
		return nil, nil, fmt.Errorf("a listener is a %T", ln)
	}
	ul.SetUnlinkOnClose(false)
	file, err := os.Lstat(socket)
	if err == nil && gid != noGroup {
		err = share(socket, gid, fs.FileMode(mode))
	}
	if err != nil {
		return nil, nil, errors.Join(err, os.Remove(socket), ln.Close())
	}
	return ul, file, nil
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
