package e2e

import (
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestEditedConfigurationIsRolledBack: the power fails amid a join, and before it is back, somebody has given the host
// another name, peer URL and data directory. Nothing goes forward, all that has to be put back is told, and mode normal
// puts back what there was without that.
func TestEditedConfigurationIsRolledBack(t *testing.T) {
	t.Parallel()
	c, dc, client := alone(t, "c")
	b := newHost(t, "b", "127.0.0.1")
	shut, open := b.gate()
	d := b.run()
	b.awaitReady()
	put(t, dial(t, b.client), "mine", "kept")
	before, peer := readAll(b.file), b.peerURL()
	shut()
	waited := b.begins("mode", "join", "--endpoint", c.client, "--yes", "--detach")
	b.awaitStep(nil, "start", "done")
	b.powerCut(d)
	waited()
	open()
	old := &instance{t: t, file: b.file + ".old"}
	old.configure(before)
	b.configure(strings.NewReplacer("name: b\n", "name: another\n    data-dir: "+b.root+"/other\n", peer, "http://"+porttest.Addr(t, "127.0.0.1")).Replace(before))
	d = b.run()
	b.awaitStatus("held", patience, func(st *status.Status) bool {
		return st.Job != nil && st.Job.Error != "" && st.State == status.StateHeld
	})
	told := b.expect(0, "mode").out
	for _, want := range []string{"etcd.args.name back to b,", "etcd.args.initial-advertise-peer-urls back to " + peer, "etcd.args.data-dir back to " + b.data + ",", "mode normal, which rolls it back"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not told: %s", want, told)
		}
	}
	if found := membersAt(t, client, old); len(found) != 1 || !found[0].IsLearner {
		t.Errorf("before it is rolled back: %v", found)
	}
	back := b.expect(0, "mode", "normal")
	if !strings.Contains(back.out, b.root+"/other") || !strings.Contains(back.out, "left down") {
		t.Errorf("rolled back: %s%s", back.out, back.err)
	}
	if m, err := b.control().Modes(t.Context()); err != nil || m.Now != nil || m.Last == nil || m.Last.Outcome != status.OutcomeRolledBack {
		t.Errorf("%+v, %v", m, err)
	}
	endAll(t, d)
	b.configure(before)
	expectJoined(t, client, b, false)
	put(t, client, "goes", "on")
	d = b.run()
	b.awaitStatus("down, as it was left", patience, func(st *status.Status) bool { return st.State == status.StateDown })
	b.expect(0, "start")
	b.awaitReady()
	if got := get(t, dial(t, b.client), "mine"); got != "kept" {
		t.Errorf("its own data: %q", got)
	}
	endAll(t, dc, d)
}
