package e2e

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// takeovers are the times from a start of etcdsup to its first answer with the old etcd in it.
type takeovers []time.Duration

func (o takeovers) log(t *testing.T) {
	t.Helper()
	slices.Sort(o)
	t.Logf("%d times taken over: median %v, longest %v", len(o), o[len(o)/2].Round(time.Millisecond), o[len(o)-1].Round(time.Millisecond))
}

// killAgainAndAgain kills etcdsup at random moments and starts it anew, n times; the etcd must be the same one for ever.
func (in *instance) killAgainAndAgain(d *daemon, pid, n int) (*daemon, takeovers) {
	in.t.Helper()
	var took takeovers
	for range n {
		wait := time.Duration(rand.Int64N(int64(250 * time.Millisecond)))
		<-time.After(wait) // the random moment
		d.kill()
		in.expectOneEtcd(pid)
		d = in.run()
		in.awaitStatus("the etcd taken over", patience, func(st *status.Status) bool {
			return st.Process != nil && st.Process.PID == pid && st.Process.Adopted
		})
		took = append(took, time.Since(d.started))
	}
	in.expectOneEtcd(pid)
	return d, took
}

func TestKilledUnderPutLoad(t *testing.T) {
	in := newInstance(t)
	in.configureEtcd("")
	d := in.run()
	pid := in.awaitReady().Process.PID
	in.awaitRecorded(pid)
	puts := loadtest.Start(t, dial(t, in.client))
	d, took := in.killAgainAndAgain(d, pid, times(25, 300))
	in.awaitReady()
	puts.Stop()
	took.log(t)
	t.Log(puts)
	puts.ExpectNoFailure(t)
	in.leave(d)
	expectSoundHistory(t, in, pid)
}

// expectSoundHistory wants one start, one death, and nothing unreadable in between.
func expectSoundHistory(t *testing.T, in *instance, pid int) {
	t.Helper()
	starts := 0
	for _, e := range readHistory(t, in) {
		if e.PID != pid {
			t.Errorf("history knows another process: %+v", e)
		}
		if e.Kind == status.EventStart {
			starts++
		}
	}
	if starts != 1 {
		t.Errorf("history has %d starts, not 1", starts)
	}
}

// TestKilledUnderLogRate counts each line that a stand-in writes as fast as it can. max_wait is long, so that a busy
// machine's disk makes the writer wait, not the sink drop.
func TestKilledUnderLogRate(t *testing.T) {
	for _, c := range []struct{ name, pace, log string }{
		{"full", "0", "log: {max_size: 8MiB, keep_files: 0, keep_total: 0, buffer: 256MiB, max_wait: 1s, compress: false}\n"},
		{"compressed", "10000", "log: {max_size: 100KiB, keep_files: 0, keep_total: 0, buffer: 256MiB, max_wait: 1s, compress: true}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := newInstance(t)
			in.configureBinary(self, "{fake: lines, pace: "+c.pace+", data-dir: "+in.data+"}", c.log)
			d := in.run()
			pid := in.awaitReady().Process.PID
			d, took := in.killAgainAndAgain(d, pid, times(25, 300)/2)
			took.log(t)
			in.expectAllLines(d)
		})
	}
}

// expectAllLines ends the stand-in and wants each of its lines once.
func (in *instance) expectAllLines(d *daemon) {
	in.t.Helper()
	in.leave(d)
	in.expectLines()
}

// TestKilledWhileStarting kills etcdsup in its first milliseconds: at random, and as soon as it has a child, which no
// record can know yet. Whatever was started then must be found again, and nothing may be started beside it.
func TestKilledWhileStarting(t *testing.T) {
	t.Parallel()
	rounds := times(12, 300)
	found := 0
	for i := range rounds {
		in := newInstance(t)
		in.configureFake("idle", "")
		for range 1 + i%2 { // the second time there is a record already
			if in.killedAtStart(i%4 != 0) {
				found++
			}
		}
		in.end()
	}
	t.Logf("%d of the killed ones had started a child, which was found again", found)
	if found < rounds/3 {
		t.Errorf("only %d of %d kills came after the start of a child", found, rounds)
	}
}

// killedAtStart starts etcdsup, kills it early, and starts it again; it tells whether a child had been started.
func (in *instance) killedAtStart(atChild bool) bool {
	in.t.Helper()
	d := in.run()
	if atChild {
		in.awaitChild(d)
		spin(time.Duration(rand.Int64N(int64(3 * time.Millisecond))))
	} else {
		<-time.After(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
	}
	d.kill()
	var orphans []int
	if atChild { // a child that is forked will be an etcd soon
		await(in.t, "the child is an etcd", patience, func() bool { orphans = etcds(in.data); return len(orphans) > 0 })
	} else {
		orphans = etcds(in.data)
	}
	if len(orphans) > 1 {
		in.t.Fatalf("two etcds: %v", orphans)
	}
	d = in.run()
	st := in.awaitReady()
	in.expectOneEtcd(st.Process.PID)
	if len(orphans) == 1 && orphans[0] != st.Process.PID {
		in.t.Fatalf("etcd %d was not found again: %d was started", orphans[0], st.Process.PID)
	}
	in.leave(d)
	return len(orphans) == 1
}

// awaitChild looks as often as it can for a child that etcdsup has forked.
func (in *instance) awaitChild(d *daemon) {
	in.t.Helper()
	for deadline := time.Now().Add(patience); len(childrenOf(d.pid())) == 0; {
		if time.Now().After(deadline) || d.ended() {
			in.t.Fatal("etcdsup started no child")
		}
	}
}

// TestEndedWhileStarting: SIGTERM that comes as early as it can be meant for a supervisor stops etcd too.
func TestEndedWhileStarting(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "restart: {per_hour: 3600}\n")
	for range times(8, 200) {
		d := in.run()
		in.awaitChild(d)
		spin(time.Duration(rand.Int64N(int64(2 * time.Millisecond))))
		d.signal(syscall.SIGTERM)
		if code := d.wait(t); code != 0 {
			t.Fatalf("exit code %d, not 0", code)
		}
		in.expectNothingLeft()
	}
}

// TestOutputGone: nobody reads what etcdsup prints any more. It goes on.
func TestOutputGone(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := in.prepare()
	d.cmd.Stdout, d.cmd.Stderr = w, w
	d.start(t)
	pid := in.awaitReady().Process.PID
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	in.awaitStatus("the next etcd", patience, func(st *status.Status) bool { return st.Ready && st.Process.PID != pid })
	in.leave(d)
}

// spin waits more exactly than a timer does.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// TestEtcdKilled wants the next one at once: a start that had to wait would not come within the test's patience.
func TestEtcdKilled(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureEtcd("restart: {delay: 1h, max_delay: 1h}\n")
	d := in.run()
	old := in.awaitReady()
	c := dial(t, in.client)
	put(t, c, "a", "1")
	killed := time.Now()
	_ = syscall.Kill(old.Process.PID, syscall.SIGKILL)
	now := in.awaitStatus("a new etcd, ready", patience, func(st *status.Status) bool {
		return st.Ready && st.Process.PID != old.Process.PID
	})
	t.Logf("SIGKILL to new process %v, to ready %v", now.Process.Started.Sub(killed).Round(time.Microsecond), now.Since.Sub(killed).Round(time.Millisecond))
	if got := get(t, c, "a"); got != "1" {
		t.Errorf("got %q, not what was put", got)
	}
	x := now.LastExit
	if x == nil || x.Signal != "SIGKILL" || x.Asked || x.PID != old.Process.PID {
		t.Errorf("last exit: %+v", x)
	}
	in.leave(d)
}
