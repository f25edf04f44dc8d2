package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"unsafe"

	"github.com/etcdsup/etcdsup/supervisor/status"
	"golang.org/x/sys/unix"
)

// Access says who may use the socket beside root.
type Access struct {
	UID   int    // the daemon's own user
	Group string // name or number of a group whose members may too; empty: none
}

// peer is who is at the other end of a connection, as the kernel noted it at connect(2).
type peer struct {
	uid    int
	pid    int
	groups []int // primary first
}

func (p peer) allowed(uid, gid int) bool {
	return p.uid == 0 || p.uid == uid || gid != noGroup && slices.Contains(p.groups, gid)
}

// ActorOf is who a Daemon method is called for, by its ctx: the process at the other end of the socket. With a ctx that
// has not come over the socket it is this process itself.
func ActorOf(ctx context.Context) status.Actor {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return status.Actor{Daemon: true, UID: os.Getuid(), PID: os.Getpid()}
	}
	a := status.Actor{UID: p.uid, PID: p.pid}
	if u, err := user.LookupId(strconv.Itoa(p.uid)); err == nil {
		a.User = u.Username
	}
	return a
}

func peerOf(conn net.Conn) (peer, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return peer{}, fmt.Errorf("cannot tell who connects over %T", conn)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var p peer
	err = control(raw, func(fd int) error {
		p, err = peerCredentials(fd)
		return err
	})
	return p, err
}

func peerCredentials(fd int) (peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, fmt.Errorf("cannot read peer credentials: %w", err)
	}
	more, err := peerGroups(fd)
	if err != nil {
		return peer{}, fmt.Errorf("cannot read peer groups: %w", err)
	}
	return peer{uid: int(cred.Uid), pid: int(cred.Pid), groups: append([]int{int(cred.Gid)}, more...)}, nil
}

// peerGroups reads SO_PEERGROUPS, an array of 32-bit group numbers; the kernel says how much room it needs.
func peerGroups(fd int) ([]int, error) {
	buf := make([]uint32, 32)
	for {
		size := uint32(4 * len(buf))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			groups := make([]int, size/4)
			for i := range groups {
				groups[i] = int(buf[i])
			}
			return groups, nil
		case unix.ERANGE:
			buf = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}
