package install

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
)

// listeners are the flags of etcd that name addresses to listen on.
var listeners = []string{"listen-client-urls", "listen-client-http-urls", "listen-peer-urls", "listen-metrics-urls"}

// checkPorts finds addresses that the service could not listen on.
func (p *planner) checkPorts() {
	if p.Plan.Config == nil || !p.Plan.Config.Etcd.Verify {
		return
	}
	say := p.warn
	if p.Service.Start {
		say = p.fault
	}
	var free []listener
	for _, l := range listenersOf(p.Plan.Config) {
		remedy, why := p.portMisfit(l.addr)
		if why == "" {
			free = append(free, l)
			continue
		}
		say(remedy, "cannot listen on %s, which %s names: %s", l.addr, l.flag, why)
	}
	p.checkNeighbours(free)
}

// listener is an address on which etcd is to listen, and the flag that names it.
type listener struct {
	addr netip.AddrPort
	flag string
}

func listenersOf(c *config.Config) []listener {
	var all []listener
	for _, flag := range listeners {
		for _, one := range c.ArgValues(flag) {
			addr, ok := listenAddress(one)
			// Of one address for two flags etcd makes one listener.
			if ok && !slices.ContainsFunc(all, func(l listener) bool { return l.addr == addr }) {
				all = append(all, listener{addr, flag})
			}
		}
	}
	return all
}

// checkNeighbours finds other instances that have the same addresses. As long as they are down nobody holds those; at the
// next boot one of the two would not start.
func (p *planner) checkNeighbours(own []listener) {
	for _, instance := range p.manager.instances() {
		if instance == p.Instance {
			continue
		}
		file := Service{Instance: instance}.ConfigFile()
		c, _ := config.Read(config.Source{File: file, Instance: instance, Env: Environment()}) // its faults are not ours to tell
		if l, ok := overlap(own, listenersOf(c)); ok {
			p.warn("name other ports in one of the two", "the instance %s is to listen on %s too, which %s names in %s", instance, l.addr, l.flag, file)
		}
	}
}

// overlap is the first of theirs that cannot be had beside ours.
func overlap(ours, theirs []listener) (listener, bool) {
	for _, l := range theirs {
		for _, o := range ours {
			if l.addr.Port() == o.addr.Port() && (l.addr.Addr() == o.addr.Addr() || l.addr.Addr().IsUnspecified() || o.addr.Addr().IsUnspecified()) {
				return l, true
			}
		}
	}
	return listener{}, false
}

// listenAddress is where a URL has etcd listen; false for a socket of the file system, and for a name that etcd itself
// would not take.
func listenAddress(text string) (netip.AddrPort, bool) {
	u, err := url.Parse(text)
	if err != nil || !strings.HasPrefix(u.Scheme, "http") {
		return netip.AddrPort{}, false
	}
	addr, err := net.ResolveTCPAddr("tcp", u.Host)
	if err != nil {
		return netip.AddrPort{}, false
	}
	ap := addr.AddrPort()
	if addr.IP == nil {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), ap.Port()), true
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), true
}

// portMisfit is why the service could not listen there; empty: it could.
func (p *planner) portMisfit(addr netip.AddrPort) (remedy, why string) {
	if first := firstFreePort(); int(addr.Port()) < first {
		return fmt.Sprintf("name a port from %d on", first), "the service has no right to ports below " + strconv.Itoa(first)
	}
	err := tryPort(addr)
	switch {
	case err == nil:
		return "", ""
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "name an address that this host has: ip address", "this host has no such address"
	case !errors.Is(err, unix.EADDRINUSE):
		return "mend that, or name another port", err.Error()
	}
	holders := portHolders(addr.Port())
	if len(holders) == 0 {
		return "see ss -ltnp; stop it, or name another port in the configuration", "a process that cannot be seen from here has that port"
	}
	strangers := slices.DeleteFunc(slices.Clone(holders), p.yields)
	if len(strangers) == 0 {
		return "", ""
	}
	pid := strangers[0]
	return fmt.Sprintf("stop process %d, or name another port in the configuration", pid),
		fmt.Sprintf("process %d has that port (%s)", pid, commandLine(pid))
}

// yields tells whether a process will be gone, or is the service's own.
func (p *planner) yields(pid int) bool {
	return p.Owns(pid) || p.Own != nil && p.Own(p.Plan.Config) == pid || p.Yields != nil && p.Yields(pid)
}

// firstFreePort is the first one that needs no right of its own.
func firstFreePort() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return 1024
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 1024
	}
	return n
}

// tryPort takes the address as etcd would, but for the listening: nobody can connect to us.
func tryPort(addr netip.AddrPort) error {
	family := unix.AF_INET6
	var where unix.Sockaddr = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	if addr.Addr().Is4() {
		family, where = unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, where)
}

// portHolders are the processes that listen on the port, on whatever address.
func portHolders(port uint16) []int {
	var inodes []string
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(name)
		if err == nil {
			inodes = append(inodes, listening(string(text), port)...)
		}
	}
	return socketHolders(inodes)
}

// listening are the inodes of the sockets that listen on the port, from the kernel's table: a line is
// "0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 24680 …".
func listening(table string, port uint16) []string {
	const stateListen = "0A"
	var inodes []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != stateListen {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && n == uint64(port) {
			inodes = append(inodes, f[9])
		}
	}
	return inodes
}

// socketHolders are the processes that have one of the sockets open.
func socketHolders(inodes []string) []int {
	if len(inodes) == 0 {
		return nil
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is a good one
	var pids []int
	for _, link := range links {
		target, err := os.Readlink(link)
		inode, isSocket := strings.CutPrefix(strings.TrimSuffix(target, "]"), "socket:[")
		if err != nil || !isSocket || !slices.Contains(inodes, inode) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// commandLine is a process's, as far as it tells which one that is: etcd's fills many lines.
func commandLine(pid int) string {
	const enough = 80
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "gone meanwhile"
	}
	line := strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
	if len(line) > enough {
		line = strings.ToValidUTF8(line[:enough], "") + "…"
	}
	return line
}
