package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// newCluster are three instances, one on each of three addresses of loopback, none of them started. Each would take a
// silent etcd for hung after two seconds: waiting for quorum must not count as silence.
func newCluster(t *testing.T) (ins []*instance) {
	t.Helper()
	return newClusterOf(t, "")
}

// newClusterOf is newCluster with another etcd than the one that is built in.
func newClusterOf(t *testing.T, binary string) (ins []*instance) {
	t.Helper()
	var peers, all []string
	for i := range 3 {
		peers = append(peers, "http://"+porttest.Addr(t, fmt.Sprintf("127.0.0.%d", i+1)))
		all = append(all, fmt.Sprintf("n%d=%s", i+1, peers[i]))
	}
	for i := range 3 {
		in := newInstance(t)
		in.client = "http://" + porttest.Addr(t, fmt.Sprintf("127.0.0.%d", i+1))
		in.configure(fmt.Sprintf(`etcd:
%s  args:
    name: n%d
    heartbeat-interval: 300
    election-timeout: 3000
    listen-client-urls: %s
    listen-peer-urls: %s
    initial-cluster: "%s"
    initial-cluster-token: %s
health: {interval: 500ms, timeout: 400ms, hung: 2s}
`, binaryLine(binary), i+1, in.client, peers[i], strings.Join(all, ","), ins0(in, ins).root[5:]))
		ins = append(ins, in)
	}
	return ins
}

func ins0(in *instance, ins []*instance) *instance {
	if len(ins) > 0 {
		return ins[0]
	}
	return in
}

func TestCluster(t *testing.T) {
	t.Parallel()
	ins := newCluster(t)
	var daemons []*daemon
	daemons = append(daemons, ins[0].run())
	alone := ins[0].awaitStatus("waiting for quorum", patience, func(st *status.Status) bool { return st.State == status.StateWaiting })
	ins[0].expectWaiting(alone.Process.PID, 5*time.Second)
	ins[0].expect(8, "status")

	daemons = append(daemons, ins[1].run())
	for _, in := range ins[:2] {
		in.awaitReady()
	}
	if st := ins[0].awaitReady(); st.Process.PID != alone.Process.PID {
		t.Errorf("etcd %d became %d while it waited for quorum", alone.Process.PID, st.Process.PID)
	}
	daemons = append(daemons, ins[2].run())
	ins[2].awaitReady()
	transferLeadership(t, ins)
	for i, in := range ins { // the last one alone has no quorum when it is stopped
		daemons[i].signal(syscall.SIGINT)
		if code := daemons[i].wait(t); code != 0 {
			t.Errorf("exit code %d of %s", code, in.dir)
		}
		in.expectNothingLeft()
	}
}

// expectWaiting watches for that long that nothing is done to it, and wants it to wait still. On a busy machine it may be
// found silent in between.
func (in *instance) expectWaiting(pid int, watch time.Duration) {
	in.t.Helper()
	end := time.Now().Add(watch)
	in.awaitStatus("waiting at the end of the watch", patience, func(st *status.Status) bool {
		if st.Process == nil || st.Process.PID != pid || st.Restart.Count > 0 {
			in.t.Fatalf("%s; not waiting with PID %d", describe(st), pid)
		}
		return st.State == status.StateWaiting && time.Now().After(end)
	})
}

// transferLeadership stops the leader while the others are written to.
func transferLeadership(t *testing.T, ins []*instance) {
	t.Helper()
	for range 5 { // an election of their own may come in between
		leader, others := leaderOf(t, ins)
		puts := loadtest.Start(t, dial(t, others...))
		await(t, "50 puts", patience, func() bool { return puts.Count() > 50 })
		before, told := puts.Longest(), len(leader.outcomes())
		began := time.Now()
		leader.expect(0, "stop")
		took := time.Since(began)
		leader.expect(0, "start")
		puts.Stop()
		t.Logf("longest gap %v before the leader's stop; stopped in %v: %v", before.Round(time.Millisecond), took.Round(time.Millisecond), puts)
		puts.ExpectNoFailure(t)
		await(t, "what came of it in the log", patience, func() bool { return len(leader.outcomes()) > told })
		if strings.Contains(leader.outcomes()[told], `"outcome":"handed over to `) {
			return
		}
	}
	t.Error("leadership was not handed over")
}

// outcomes are what etcdsup has written down of leadership and stops. It writes in the background.
func (in *instance) outcomes() []string {
	return slices.DeleteFunc(slices.Collect(strings.Lines(readAll(in.dir+"/log/etcdsup.log"))), func(line string) bool {
		return !strings.Contains(line, `"msg":"leadership"`) || !strings.HasSuffix(line, "\n")
	})
}

// leaderOf gives the leader and the client URLs of the others.
func leaderOf(t *testing.T, ins []*instance) (leader *instance, others []string) {
	t.Helper()
	await(t, "one leader", patience, func() bool {
		leader, others = nil, nil
		for _, in := range ins {
			st, err := in.control().Status(t.Context(), true)
			if err == nil && st.Member != nil && st.Member.Role == status.RoleLeader {
				leader = in
			} else {
				others = append(others, in.client)
			}
		}
		return leader != nil && len(others) == 2
	})
	return leader, others
}
