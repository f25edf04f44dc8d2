package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestEndpointsOfTheWholeCluster: cluster.endpoints may name others, and this host's own etcd besides. The one that is to
// be joined is theirs, the member that is shown and proven is this host's, and two clusters are not mistaken for one.
func TestEndpointsOfTheWholeCluster(t *testing.T) {
	t.Parallel()
	c, dc, client := alone(t, "c")
	x, dx, _ := alone(t, "x")
	b := newHost(t, "b", "127.0.0.1")
	b.configure(readAll(b.file) + "cluster:\n  endpoints: [" + c.client + ", " + b.client + "]\n")
	d := b.run()
	st := b.awaitStatus("its own member", patience, func(st *status.Status) bool { return st.Ready && st.Member != nil })
	if l := b.expect(0, "member", "list"); st.Member.ClusterID == c.awaitReady().Member.ClusterID || !strings.Contains(l.out, b.peer) {
		t.Errorf("before it joins it is member %+v, of\n%s", st.Member, l.out)
	}
	if r := b.expect(1, "mode", "join", "--endpoint", c.client, "--endpoint", x.client, "--yes"); !strings.Contains(r.err, "2 clusters") || !strings.Contains(r.err, x.client) {
		t.Errorf("two clusters: %s", r.err)
	}
	b.expect(0, "mode", "join", "--yes")
	expectJoined(t, client, b, true)
	st = b.awaitStatus("its new member", patience, func(st *status.Status) bool { return st.Ready && st.Member != nil })
	if want := membersAt(t, client, b); len(want) != 1 || st.Member.ID != fmt.Sprintf("%x", want[0].ID) {
		t.Errorf("it is shown as member %s, and is %v", st.Member.ID, want)
	}
	if r := b.expect(0, "mode", "join", "--yes"); !strings.Contains(r.out, "nothing to do") {
		t.Errorf("once more: %s", r.out)
	}
	endAll(t, d, dc, dx)
}
