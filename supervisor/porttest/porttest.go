// Package porttest gives tests ports that nobody else gets: no other test, in this process or in another, and no
// connection. It is imported by tests only.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
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

func free(host string, port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
