package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// island is a network namespace with loopback alone, on which hosts have addresses that can be taken away: then nobody
// reaches them, and they reach nobody.
type island struct{ *network }

func newIsland(t *testing.T) island {
	t.Helper()
	needRoot(t)
	n := island{&network{t: t, ns: newNamespace(t)}}
	n.flags("lo", true)
	return n
}

// flags brings an interface up or down; down, one with a colon in its name is gone.
func (n island) flags(name string, up bool) {
	n.t.Helper()
	n.ioctl(name, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
		if up {
			r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		}
		return nil
	})
}

func (n island) ioctl(name string, request uint, fill func(*unix.Ifreq) error) {
	n.t.Helper()
	check(n.t, n.within(func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := fill(r); err != nil {
			return err
		}
		return unix.IoctlIfreq(s, request, r)
	}))
}

// plug gives host i its address, 10.77.0.i; unplug takes it away.
func (n island) plug(i int) {
	n.t.Helper()
	set := func(a [4]byte) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { return r.SetInet4Addr(a[:]) }
	}
	n.ioctl(fmt.Sprint("lo:", i), unix.SIOCSIFADDR, set([4]byte{10, 77, 0, byte(i)}))
	n.ioctl(fmt.Sprint("lo:", i), unix.SIOCSIFNETMASK, set([4]byte{255, 255, 255, 255}))
}

func (n island) unplug(i int) {
	n.t.Helper()
	n.flags(fmt.Sprint("lo:", i), false)
}

// host is an instance on host i, which listens at its ports whether the address is there or not.
func (n island) host(i int) *instance {
	n.t.Helper()
	in := newInstance(n.t)
	client, peer := 1000*i+379, 1000*i+380
	in.client = fmt.Sprintf("http://10.77.0.%d:%d", i, client)
	in.configure(fmt.Sprintf("etcd:\n  args:\n    name: h%d\n    listen-client-urls: http://0.0.0.0:%d\n    advertise-client-urls: %s\n    listen-peer-urls: http://0.0.0.0:%d\n    initial-advertise-peer-urls: http://10.77.0.%d:%d\n    initial-cluster: h%d=http://10.77.0.%d:%d\nhealth: {interval: 500ms}\n",
		i, client, in.client, peer, i, peer, i, i, peer))
	n.plug(i)
	return in
}

// run starts etcdsup of an instance in the namespace.
func (n island) run(in *instance) *daemon {
	n.t.Helper()
	d := in.prepare()
	check(n.t, n.within(d.launch))
	return d
}

// cutJoin is a join of host 2 to host 1 that was cut off before the learner was started, and is known to wait.
func cutJoin(t *testing.T) (n island, c, b *instance, daemons []*daemon) {
	t.Helper()
	n = newIsland(t)
	c, b = n.host(1), n.host(2)
	shut, open := b.gate()
	daemons = []*daemon{n.run(c), n.run(b)}
	c.awaitReady()
	b.awaitReady()
	shut()
	waited := b.begins("mode", "join", "--endpoint", c.client, "--yes", "--detach")
	b.awaitStep(nil, "add", "done")
	n.unplug(1)
	n.unplug(2)
	open()
	waited()
	b.awaitProgress("catch-up", "waits")
	c.awaitStatus("quorum, without the learner", patience, func(st *status.Status) bool { return st.Ready && st.Health.Quorum })
	return n, c, b, daemons
}

// awaitProgress waits until a step that runs tells of something.
func (in *instance) awaitProgress(step, text string) {
	in.t.Helper()
	var last *status.Modes
	await(in.t, step+": "+text, patience, func() bool {
		m, err := in.control().Modes(in.t.Context())
		if err != nil {
			return false
		}
		if last = m; m.Now == nil {
			in.t.Fatalf("it has ended: %+v", m.Last)
		}
		return m.Now.Steps[m.Now.Step].Name == step && strings.Contains(m.Now.Progress, text)
	})
	in.t.Logf("%s: %s", step, last.Now.Progress)
}

// awaitMembers waits until an instance's own etcd tells so of its cluster: whoever is slow to answer is not healthy.
func (in *instance) awaitMembers(count string) (list string) {
	in.t.Helper()
	await(in.t, count, patience, func() bool {
		list = in.cli("member", "list").out
		return strings.Contains(list, count)
	})
	return list
}

// TestCutDuringJoin: the join waits for the network, and ends when that is back.
func TestCutDuringJoin(t *testing.T) {
	t.Parallel()
	n, c, b, daemons := cutJoin(t)
	n.plug(1)
	n.plug(2)
	if last := b.awaitEnd(nil); last.Outcome != status.OutcomeDone {
		t.Errorf("%s: %s; next: %s", last.Outcome, last.Error, last.Remedy)
	}
	c.awaitMembers("2 of 2 voters healthy")
	endAll(t, daemons...)
}

// TestCutAndCancelled: the way back waits for the cluster too, which takes the learner out of its list in the end.
func TestCutAndCancelled(t *testing.T) {
	t.Parallel()
	n, c, b, daemons := cutJoin(t)
	b.expect(0, "mode", "normal", "--detach")
	b.awaitProgress("add", "tries again")
	n.plug(1)
	n.plug(2)
	last := b.awaitEnd(nil)
	if last.Outcome != status.OutcomeRolledBack || strings.Contains(strings.Join(last.Result, "\n"), "still in the list") {
		t.Errorf("%s: %s, %q", last.Outcome, last.Error, last.Result)
	}
	if list := c.awaitMembers("1 of 1 voters healthy"); strings.Contains(list, "10.77.0.2") {
		t.Errorf("members:\n%s", list)
	}
	b.awaitReady() // with its own data
	if _, err := os.Stat(b.data); err != nil {
		t.Error(err)
	}
	for _, d := range daemons {
		d.signal(syscall.SIGINT)
		d.wait(t)
	}
}
