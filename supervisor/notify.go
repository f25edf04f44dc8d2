package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Notify is the private socket on which etcd says READY=1. It is never systemd's: what etcd says is for us.
type Notify struct {
	conn *net.UnixConn
}

// ListenNotify binds the socket at path. An etcd that was started by an earlier etcdsup knows the same path and
// reaches the new socket under it.
func ListenNotify(path string) (*Notify, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot replace notify socket %s: %w", path, err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on notify socket %s: %w", path, err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), passCredentials(conn)); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("cannot secure notify socket %s: %w", path, err)
	}
	return &Notify{conn: conn}, nil
}

// InheritNotify goes on with a descriptor of GiveAway, which stays the caller's: what etcd has said meanwhile waits in it.
func InheritNotify(fd int) (*Notify, error) {
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
	return &Notify{conn: conn}, nil
}

// GiveAway makes a descriptor of the socket for the next etcdsup.
func (n *Notify) GiveAway() (fd int, err error) {
	raw, err := n.conn.SyscallConn()
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
		size, oobSize, _, _, err := n.conn.ReadMsgUnix(buf, oob)
		if errors.Is(err, net.ErrClosed) {
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
func (n *Notify) Close() error { return n.conn.Close() }
