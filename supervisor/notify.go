package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
)

// Notify is the private socket on which etcd says READY=1. It is never systemd's: what etcd says is for us.
type Notify struct {
	path string

	mu     sync.Mutex
	conn   *net.UnixConn // replaced by Remake
	file   fs.FileInfo   // that leads to conn; nil: none was there
	closed bool
}

// ListenNotify binds the socket at path. An etcd that was started by an earlier etcdsup knows the same path and
// reaches the new socket under it.
func ListenNotify(path string) (*Notify, error) {
	n := &Notify{path: path}
	if err := n.open(); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Notify) open() error {
	if err := os.MkdirAll(filepath.Dir(n.path), config.DirMode); err != nil {
		return fmt.Errorf("cannot make the folder of the notify socket: %w", err)
	}
	if err := os.Remove(n.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot replace notify socket %s: %w", n.path, err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("cannot listen on notify socket %s: %w", n.path, err)
	}
	file, err := os.Lstat(n.path)
	if err := errors.Join(err, os.Chmod(n.path, 0o600), passCredentials(conn)); err != nil {
		_ = conn.Close()
		return fmt.Errorf("cannot secure notify socket %s: %w", n.path, err)
	}
	n.conn, n.file = conn, file
	return nil
}

// Remake listens anew where the file that leads to the socket is gone or is another one, and reports whether it did: an
// etcd whose READY nobody hears would be starting for ever. It costs one lstat(2) while nothing is wrong.
func (n *Notify) Remake() (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now, err := os.Lstat(n.path)
	if n.closed || err == nil && n.file != nil && os.SameFile(now, n.file) {
		return false, nil
	}
	old := n.conn
	if err := n.open(); err != nil {
		return false, err
	}
	_ = old.Close() // Read goes on with the new one
	return true, nil
}

func (n *Notify) current() *net.UnixConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conn
}

// InheritNotify goes on with a descriptor of GiveAway, which stays the caller's: what etcd has said meanwhile waits in it.
func InheritNotify(fd int, path string) (*Notify, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with the notify socket: %w", err)
	}
	f := os.NewFile(uintptr(own), "notify socket")
	defer f.Close()
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("cannot go on with the notify socket: %w", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("cannot go on with descriptor %d: it is no notify socket", fd)
	}
	file, _ := os.Lstat(path) // one that is gone is made anew when somebody looks
	return &Notify{path: path, conn: conn, file: file}, nil
}

// GiveAway makes a descriptor of the socket for the next etcdsup.
func (n *Notify) GiveAway() (fd int, err error) {
	raw, err := n.current().SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("cannot give the notify socket away: %w", err)
	}
	var dupErr error
	err = raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, dupErr)
}

// passCredentials makes the kernel add the sender's PID to each message: a READY counts only from etcd itself.
func passCredentials(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	return errors.Join(err, set)
}

// Read waits for messages and calls ready with the sender's PID for each READY=1. It ends when Close is called.
func (n *Notify) Read(ready func(pid int)) {
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		conn := n.current()
		size, oobSize, _, _, err := conn.ReadMsgUnix(buf, oob)
		if errors.Is(err, net.ErrClosed) && conn == n.current() {
			return
		}
		if err != nil {
			continue // a message that could not be taken; the next one may
		}
		if pid := sender(oob[:oobSize]); pid > 0 && saysReady(string(buf[:size])) {
			ready(pid)
		}
	}
}

func saysReady(message string) bool {
	for line := range strings.Lines(message) {
		if strings.TrimSpace(line) == "READY=1" {
			return true
		}
	}
	return false
}

func sender(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return int(cred.Pid)
		}
	}
	return 0
}

// Close ends Read.
func (n *Notify) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	return n.conn.Close()
}
