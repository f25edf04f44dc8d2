package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Dial connects to an address of the hosts' network, such as 10.77.0.1:2379, from this process, which stays where it is.
// It fits net/http's DialContext. The test needs a host that it has booted.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	pid, err := begun.run("netpid")
	if err != nil {
		return nil, err
	}
	type made struct {
		conn net.Conn
		err  error
	}
	done := make(chan made, 1)
	go func() { // ends with the dial, and its thread with it: nobody else is to get one that is in another network
		runtime.LockOSThread()
		conn, err := dialWithin(ctx, strings.TrimSpace(pid), network, address)
		done <- made{conn, err}
	}()
	m := <-done
	return m.conn, m.err
}

// DialAddr is [Dial] over TCP, as gRPC wants it.
func DialAddr(ctx context.Context, address string) (net.Conn, error) {
	return Dial(ctx, "tcp", address)
}

// dialWithin makes the socket in the network of a process; there it stays.
func dialWithin(ctx context.Context, pid, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err != nil || net.ParseIP(host) == nil {
		return nil, fmt.Errorf("cannot dial %s: an IP address and a port are needed", address) // a name would be asked for by another thread
	}
	ns, err := os.Open("/proc/" + pid + "/ns/net")
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("cannot enter the network of process %s: %w", pid, err)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
