package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A host of a test can be a network namespace. All of them hang on a bridge, in a namespace where the test itself runs: in
// a second process, for which apart starts it. Nothing of the machine's own network is seen or changed, and nothing
// is to be removed: namespaces and links end with the processes in them.

// insideNetworks is set for that second process.
const insideNetworks = "E2E_INSIDE_NETWORKS"

// apart runs this test once more, in a network namespace of its own, and says true there.
func apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideNetworks) != "" {
		return true
	}
	var path []string
	for name := range strings.SplitSeq(t.Name(), "/") {
		path = append(path, "^"+name+"$")
	}
	cmd := exec.Command(self, "-test.v", "-test.timeout=10m", "-test.run="+strings.Join(path, "/"))
	cmd.Env = append(os.Environ(), insideNetworks+"=1", "E2E_PROGRAM="+program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in a network namespace of its own: %v", err)
	}
	return false
}

// network is a host's, on the bridge of all. nil is the one that the test itself is in.
type network struct {
	t    *testing.T
	ns   *os.File
	port netlink.Link // the bridge's end of its cable
}

// newNetworks lays hosts 1 to n of 10.0.0.0/24; the test itself is 10.0.0.254 there.
func newNetworks(t *testing.T, n int) []*network {
	t.Helper()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}}
	check(t, netlink.LinkAdd(bridge))
	check(t, setUp("lo", ""))
	check(t, setUp("bridge", "10.0.0.254/24"))
	var all []*network
	for i := range n {
		all = append(all, newNetwork(t, bridge, i+1))
	}
	return all
}

func newNetwork(t *testing.T, bridge netlink.Link, n int) *network {
	t.Helper()
	w := &network{t: t, ns: newNamespace(t)}
	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("port%d", n), MasterIndex: bridge.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(w.ns.Fd())}
	check(t, netlink.LinkAdd(cable))
	w.port = cable
	w.plug(true)
	check(t, w.within(func() error {
		return errors.Join(setUp("lo", ""), setUp("eth0", fmt.Sprintf("10.0.0.%d/24", n)))
	}))
	return w
}

// newNamespace is held by its descriptor, and by those who are in it.
func newNamespace(t *testing.T) *os.File {
	t.Helper()
	var ns *os.File
	check(t, onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	}))
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// onOwnThread runs f on a thread that ends with it: nobody else is to get one that is in another network.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever
		done <- f()
	}()
	return <-done
}

// within runs f in that network: what it starts is born there.
func (w *network) within(f func() error) error {
	if w == nil {
		return f()
	}
	return onOwnThread(func() error {
		if err := unix.Setns(int(w.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// plug puts the cable in, or pulls it.
func (w *network) plug(in bool) {
	w.t.Helper()
	if in {
		check(w.t, netlink.LinkSetUp(w.port))
	} else {
		check(w.t, netlink.LinkSetDown(w.port))
	}
}

// setUp brings a link up in the network that the thread is in, with an address or without.
func setUp(name, cidr string) error {
	l, err := netlink.LinkByName(name)
	if err == nil && cidr != "" {
		var addr *netlink.Addr
		if addr, err = netlink.ParseAddr(cidr); err == nil {
			err = netlink.AddrAdd(l, addr)
		}
	}
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("cannot set %s up: %w", name, err)
	}
	return nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
