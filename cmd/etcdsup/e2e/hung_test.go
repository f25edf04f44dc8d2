package e2e

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestStoppedEtcd stops etcd's process. It is found, its stacks reach the log, and the next one is started.
func TestStoppedEtcd(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureEtcd("health: {interval: 500ms, timeout: 400ms, hung: 2s}\n")
	d := in.run()
	pid := in.awaitReady().Process.PID
	stopped := time.Now()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	// The state lasts for a moment only: whoever polls for it may miss it.
	await(t, "silent", patience, func() bool { return strings.Contains(d.stderr(), `"msg":"state","from":"ready","to":"silent"`) })
	st := in.awaitStatus("the next etcd", patience, func(st *status.Status) bool { return st.Ready && st.Process.PID != pid })
	t.Logf("SIGSTOP to death %v, to ready again %v", st.LastExit.Ended.Sub(stopped).Round(time.Millisecond), st.Since.Sub(stopped).Round(time.Millisecond))
	if st.LastExit.Cause != status.CauseHung || st.LastExit.PID != pid {
		t.Errorf("last exit: %+v", st.LastExit)
	}
	await(t, "the stacks in the log", patience, func() bool {
		log := string(in.allLog())
		return strings.Contains(log, "SIGQUIT: quit") && strings.Contains(log, "\ngoroutine 1 ")
	})
	in.leave(d)
}

// mute accepts connections and answers none of them, as an etcd that hangs does.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String()
}

// TestSlowIsNotHung: no answer for long, but work is done.
func TestSlowIsNotHung(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode string
		hung bool
	}{{"slow", false}, {"idle", true}} {
		t.Run(c.mode, func(t *testing.T) {
			in := newInstance(t)
			in.configureFake(c.mode, "health: {ready: started, interval: 200ms, timeout: 100ms, hung: 2s, metrics: \""+mute(t)+"\"}\nstop: {grace: 500ms, dump: 500ms}\n")
			d := in.run()
			pid := in.awaitReady().Process.PID
			st := in.awaitStatus("a verdict", patience, func(st *status.Status) bool {
				killed := st.Process != nil && st.Process.PID != pid
				return killed || !c.hung && st.Health.Misses >= 15
			})
			if killed := st.Process.PID != pid; killed != c.hung {
				t.Errorf("killed: %v; %s", killed, describe(st))
			}
			in.leave(d)
		})
	}
}
