package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// twins are two hosts with a copy each of one directory. Where they know of each other, the configuration of each names
// both.
func twins(t *testing.T, know bool) (hosts [2]*instance, from [2]string, revision int64) {
	t.Helper()
	for i := range hosts {
		hosts[i] = newHost(t, fmt.Sprintf("h%d", i+1), fmt.Sprintf("127.0.0.%d", i+1))
	}
	old, revision := oldData(t, hosts[0].root, 300)
	for i, in := range hosts {
		from[i] = filepath.Join(in.root, "copy")
		copyAll(t, old, from[i])
		if know {
			in.configure(readAll(in.file) + fmt.Sprintf("    initial-cluster: \"h1=%s,h2=%s\"\n", hosts[0].peerURL(), hosts[1].peerURL()))
		}
	}
	return hosts, from, revision
}

// TestTwoForceOneAfterTheOther: the second finds the first one's cluster, and is told to join it.
func TestTwoForceOneAfterTheOther(t *testing.T) {
	t.Parallel()
	hosts, from, revision := twins(t, true)
	daemons := []*daemon{hosts[0].run(), hosts[1].run()}
	for _, in := range hosts {
		in.awaitReady()
	}
	hosts[0].expect(0, "mode", "force-new-cluster", "--from", from[0], "--yes")
	r := hosts[1].expect(1, "mode", "force-new-cluster", "--from", from[1], "--yes")
	slow := strings.Contains(r.err, "--fenced") // to answer: that it lives is not known then, nor that it does not
	if !strings.Contains(r.err, hosts[0].peerURL()) || !strings.Contains(r.err, "mode join") && !slow {
		t.Errorf("the second: %s", r.err)
	}
	hosts[1].expect(0, "mode", "join", "--endpoint", hosts[0].client, "--yes")
	expectJoined(t, dial(t, hosts[0].client), hosts[1], true)
	expectKeys(t, dial(t, hosts[1].client), 300, revision)
	endAll(t, daemons...)
}

// TestTwoForceAtOnce: whoever sees the other in time goes back, and else both are told; the one joins the other then.
func TestTwoForceAtOnce(t *testing.T) {
	t.Parallel()
	hosts, from, revision := twins(t, true)
	daemons := []*daemon{hosts[0].run(), hosts[1].run()}
	var waits []func() result
	for i, in := range hosts {
		in.awaitReady()
		waits = append(waits, in.begins("mode", "force-new-cluster", "--from", from[i], "--yes", "--detach"))
	}
	var done []int
	told := ""
	for i, waited := range waits {
		if r := waited(); r.code != 0 { // the other was so much earlier that there is no plan
			t.Logf("%d: %s", i, r.err)
			continue
		}
		last := hosts[i].awaitEnd(nil)
		if last.Outcome == status.OutcomeDone {
			done = append(done, i)
			told += strings.Join(last.Result, "\n")
			continue
		}
		expectRolledBack(t, last, hosts[1-i].peerURL())
	}
	if len(done) == 0 || len(done) == 2 && !strings.Contains(told, "another etcd of cluster") {
		t.Fatalf("done %v: %s", done, told)
	}
	winner, loser := hosts[done[0]], hosts[1-done[0]]
	loser.expect(0, "mode", "join", "--endpoint", winner.client, "--yes")
	expectJoined(t, dial(t, winner.client), loser, true)
	expectKeys(t, dial(t, loser.client), 300, revision)
	endAll(t, daemons...)
}

// TestTwoForceUnknown: two clusters of one data that know nothing of each other do each other no harm, and the one can
// join the other, by which it gives up what only it was told.
func TestTwoForceUnknown(t *testing.T) {
	t.Parallel()
	hosts, from, revision := twins(t, false)
	var daemons []*daemon
	for i, in := range hosts {
		daemons = append(daemons, in.run())
		in.awaitReady()
		in.expect(0, "mode", "force-new-cluster", "--from", from[i], "--yes")
		put(t, dial(t, in.client), "who", fmt.Sprint(i))
	}
	plan := hosts[1].expect(0, "mode", "join", "--endpoint", hosts[0].client, "--plan").out
	if !strings.Contains(plan, "copy") || !strings.Contains(plan, "set-aside") || strings.Contains(plan, "update-url") {
		t.Errorf("plan:\n%s", plan)
	}
	hosts[1].expect(0, "mode", "join", "--endpoint", hosts[0].client, "--yes")
	c := dial(t, hosts[1].client)
	expectJoined(t, c, hosts[1], true)
	expectJoined(t, c, hosts[0], true)
	expectKeys(t, c, 300, revision)
	if got := get(t, c, "who"); got != "0" {
		t.Errorf("of the cluster that was joined: %q", got)
	}
	endAll(t, daemons...)
}
