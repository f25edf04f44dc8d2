package e2e

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestLostMajority: the power of three hosts fails while they are written to, and two have lost their disks. The survivor
// becomes a cluster with all that it has confirmed, and they join it anew.
func TestLostMajority(t *testing.T) { eachEtcd(t, false, lostMajority) }

func lostMajority(t *testing.T, binary string) {
	ins := newClusterOf(t, binary)
	var daemons []*daemon
	for _, in := range ins {
		daemons = append(daemons, in.run())
	}
	for _, in := range ins {
		in.awaitReady()
	}
	revision := fillKeys(t, dial(t, ins[0].client), 1000)
	ins[0].awaitRefusal(" answers at ", "mode", "force-new-cluster", "--yes")
	refuseElsewhere(t, binary, ins[0].data)
	put(t, dial(t, ins[1].client, ins[2].client), "unharmed", "yes")
	put(t, dial(t, ins[0].client), "last", "confirmed")
	put(t, dial(t, ins[0].client), "after", "") // a follower confirms what others have on disk; by now it has the last one itself
	for i, in := range ins {
		in.powerCut(daemons[i])
	}
	for _, in := range ins[1:] {
		await(t, "its end", patience, func() bool { return len(processesOf(in.root)) == 0 })
		move(t, in.dir, in.dir+".lost")
	}
	daemons[0] = ins[0].run()
	ins[0].awaitStatus("waiting for quorum", patience, func(st *status.Status) bool { return st.State == status.StateWaiting })
	t.Log(ins[0].expect(0, "mode", "force-new-cluster", "--yes").out)
	client := dial(t, ins[0].client)
	expectKeys(t, client, 1000, revision)
	if got := get(t, client, "last"); got != "confirmed" {
		t.Errorf("the last write that was confirmed to be here is %q", got)
	}
	for i, in := range ins[1:] {
		// Their configuration names the cluster that was; without the others its first start waits, and the join ends that.
		daemons[i+1] = in.run()
		in.awaitStatus("etcd running", patience, func(st *status.Status) bool { return st.Process != nil || st.State == status.StateHeld })
		t.Log(in.expect(0, "mode", "join", "--endpoint", ins[0].client, "--yes").out)
	}
	l, err := client.MemberList(t.Context())
	if err != nil || len(l.Members) != 3 {
		t.Errorf("%v, %v", l, err)
	}
	for i, in := range ins {
		expectKeys(t, dial(t, in.client), 1000, revision)
		daemons[i].signal(syscall.SIGINT)
	}
	for _, d := range daemons {
		d.wait(t)
	}
}

// refuseElsewhere wants a copy of a living cluster's data refused on a host whose configuration knows none of its members.
func refuseElsewhere(t *testing.T, binary, data string) {
	t.Helper()
	in := newHostOf(t, binary, "d", porttest.Addr(t, "127.0.0.4"), porttest.Addr(t, "127.0.0.4"))
	copied := filepath.Join(in.root, "copy")
	copyAll(t, data, copied)
	d := in.run()
	in.awaitReady()
	in.awaitRefusal(" answers at ", "mode", "force-new-cluster", "--from", copied, "--yes")
	in.leave(d)
}
