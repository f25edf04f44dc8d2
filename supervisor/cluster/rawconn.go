package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawConn is a stream socket that goes around Go's scheduler and poller. It exists for one reason: a probe every ten
// seconds must not wake the process up dozens of times. An ordinary read that has to wait wakes the runtime's monitor
// thread, which then polls at 20 µs until all is idle again, and a Go timer for the deadline does the same a second
// time: some 7 voluntary context switches a probe beside those of its clock, against 1 in this way (see
// BenchmarkProbeWakeups).
//
// So every call is a RawSyscall, and waiting begins with up to holdFor in a raw ppoll. While that lasts, this
// goroutine holds its P, as a computation of that length would: nothing that is done here may take longer. A
// stop-the-world is not held up even that long, because its signal interrupts ppoll. An answer that takes longer is
// waited for in an ordinary system call, at the ordinary cost.
type rawConn struct {
	fd       int
	ctx      context.Context
	deadline time.Time
}

const (
	holdFor   = 3 * time.Millisecond
	waitSlice = 100 * time.Millisecond // how late the end of ctx may be noticed
)

// dialRaw connects to the first address that accepts.
func dialRaw(ctx context.Context, deadline time.Time, addrs []netip.AddrPort) (*rawConn, error) {
	var last error
	for _, addr := range addrs {
		c, err := connectRaw(ctx, deadline, addr)
		if err == nil {
			return c, nil
		}
		last = fmt.Errorf("cannot connect to %s: %w", addr, err)
	}
	return nil, last
}

func connectRaw(ctx context.Context, deadline time.Time, addr netip.AddrPort) (*rawConn, error) {
	family := unix.AF_INET6
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("socket", errno)
	}
	c := &rawConn{fd: int(fd), ctx: ctx, deadline: deadline}
	if err := c.connect(addr); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connect calls connect(2) again for its outcome when it could not be had at once: getsockopt would be an ordinary
// system call.
func (c *rawConn) connect(addr netip.AddrPort) error {
	for {
		switch errno := connectOnce(c.fd, addr); errno {
		case 0, unix.EISCONN:
			return nil
		case unix.EINTR:
		case unix.EINPROGRESS, unix.EALREADY:
			if err := c.wait(unix.POLLOUT); err != nil {
				return err
			}
		default:
			return errno
		}
	}
}

func connectOnce(fd int, addr netip.AddrPort) (errno unix.Errno) {
	if addr.Addr().Is4() {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(addr.Port()), Addr: addr.Addr().As4()}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unix.SizeofSockaddrInet4)
		return errno
	}
	sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: networkOrder(addr.Port()), Addr: addr.Addr().As16()}
	_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unix.SizeofSockaddrInet6)
	return errno
}

func networkOrder(port uint16) uint16 {
	b := [2]byte{byte(port >> 8), byte(port)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// Read implements io.Reader.
func (c *rawConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.transfer(unix.SYS_RECVFROM, unix.POLLIN, b)
	if err == nil && n == 0 {
		return 0, io.EOF
	}
	return n, err
}

// Write implements io.Writer.
func (c *rawConn) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := c.transfer(unix.SYS_SENDTO, unix.POLLOUT, b[done:])
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// transfer is recv(2) or send(2), without SIGPIPE for a peer that is gone.
func (c *rawConn) transfer(call uintptr, events int16, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			if err := c.wait(events); err != nil {
				return 0, err
			}
		default:
			return 0, errno
		}
	}
}

// wait returns when the socket is ready, or with os.ErrDeadlineExceeded or ctx's error.
func (c *rawConn) wait(events int16) error {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: events}}
	hold := unix.Timespec{Nsec: int64(holdFor)}
	n, _, _ := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), 1, uintptr(unsafe.Pointer(&hold)), 0, 0, 0)
	for int(n) != 1 {
		left := time.Until(c.deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		ready, err := unix.Poll(fds, int(min(left, waitSlice).Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		n = uintptr(max(0, ready))
	}
	return nil
}

// Close implements net.Conn. It must be called once only.
func (c *rawConn) Close() error {
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(c.fd), 0, 0)
	return nil
}

// LocalAddr implements net.Conn; nobody asks.
func (c *rawConn) LocalAddr() net.Addr { return (*net.TCPAddr)(nil) }

// RemoteAddr implements net.Conn; nobody asks.
func (c *rawConn) RemoteAddr() net.Addr { return (*net.TCPAddr)(nil) }

// SetDeadline implements net.Conn.
func (c *rawConn) SetDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

// SetReadDeadline implements net.Conn. There is one deadline for both directions.
func (c *rawConn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline implements net.Conn. There is one deadline for both directions.
func (c *rawConn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }
