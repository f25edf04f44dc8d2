// Package porttest gives tests ports that nobody else gets: no other test, in this process or in another, and no
// connection. It is imported by tests only.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
)

// Ports below those that the kernel gives to connections, so that none of them takes one by chance.
const (
	lowest = 10000
	number = 20000
)

// Reserve is a port of the host, an IPv4 address of this machine, that nobody listens on. It stays the caller's until the
// test ends, also while nothing listens there: before a server is started, between two of its runs, and where nobody is
// to answer at all.
//
// What reserves it is a Unix socket without a file. Its name can be had once in a network namespace, as the port, and is
// free again when the process ends in whatever way.
func Reserve(t testing.TB, host string) int {
	t.Helper()
	for range 1000 {
		port := lowest + rand.IntN(number)
		claim, err := net.Listen("unix", claimOf(port))
		if err != nil {
			continue
		}
		if free(host, port) {
			t.Cleanup(func() { _ = claim.Close() })
			return port
		}
		_ = claim.Close()
	}
	t.Fatal("cannot find a free port")
	return 0
}

func claimOf(port int) string { return fmt.Sprintf("@etcdsup-test-port-%d", port) }

// Addr is Reserve as host:port.
func Addr(t testing.TB, host string) string {
	t.Helper()
	return fmt.Sprintf("%s:%d", host, Reserve(t, host))
}

// free binds the port and does not listen. A process that is being started meanwhile holds a copy of each socket of this
// one until its exec, also of one that is closed here: a copy that listened would keep the port from the server that is
// to have it, one that is only bound does not, SO_REUSEADDR being set on both.
func free(host string, port int) bool {
	ip := net.ParseIP(host).To4()
	if ip == nil {
		return false
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return false
	}
	return syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte(ip)}) == nil
}
