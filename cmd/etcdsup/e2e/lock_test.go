package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

const crowd = 20

// startTogether starts all of them as nearly at once as a machine can.
func startTogether(t *testing.T, all []*daemon) {
	t.Helper()
	for _, d := range all {
		d.start(t)
	}
}

// winner waits until all but one have ended, each with the code for a held lock and the holder's PID in what it says.
func winner(t *testing.T, all []*daemon) *daemon {
	t.Helper()
	await(t, "all runs but one have ended", patience, func() bool { return len(living(all)) <= 1 })
	won := living(all)
	if len(won) != 1 {
		t.Fatalf("%d runs live, not 1", len(won))
	}
	for _, d := range all {
		if d == won[0] {
			continue
		}
		if code := d.wait(t); code != 5 {
			t.Errorf("exit code %d, not 5: %s", code, d.stderr())
		}
		if !strings.Contains(d.stderr(), "held by process ") {
			t.Errorf("the holder is not named: %s", d.stderr())
		}
	}
	return won[0]
}

func living(all []*daemon) (some []*daemon) {
	for _, d := range all {
		if !d.ended() {
			some = append(some, d)
		}
	}
	return some
}

func TestManyRunsOneInstance(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "")
	pid := 0
	for round := range 2 { // in the second one the etcd of a killed etcdsup lives
		var all []*daemon
		for range crowd {
			all = append(all, in.prepare())
		}
		startTogether(t, all)
		d := winner(t, all)
		st := in.awaitReady()
		if round == 1 && st.Process.PID != pid {
			t.Errorf("etcd %d, not the old one %d", st.Process.PID, pid)
		}
		pid = st.Process.PID
		in.expectOneEtcd(pid)
		d.kill()
		in.expectOneEtcd(pid)
	}
	d := in.run()
	in.awaitReady()
	in.leave(d)
}

// TestManyRunsOneDataDirectory has a folder for each etcdsup, and one data directory for all.
func TestManyRunsOneDataDirectory(t *testing.T) {
	t.Parallel()
	home := newInstance(t)
	var all []*daemon
	var ins []*instance
	for i := range crowd {
		in := &instance{t: t, root: home.root, dir: filepath.Join(home.root, fmt.Sprint("d", i)), data: home.data}
		in.file = in.dir + ".yaml"
		in.configureFake("idle", "")
		ins, all = append(ins, in), append(all, in.prepare())
	}
	startTogether(t, all)
	d := winner(t, all)
	in := ins[indexOf(all, d)]
	st := in.awaitReady()
	in.expectOneEtcd(st.Process.PID)

	d.kill()
	other := ins[(indexOf(all, d)+1)%crowd]
	late := other.run() // nobody watches the etcd: it is in the way nevertheless
	if code := late.wait(t); code != 5 || !strings.Contains(late.stderr(), "held by process "+strconv.Itoa(st.Process.PID)) {
		t.Errorf("exit code %d, not 5 with the holder's PID %d: %s", code, st.Process.PID, late.stderr())
	}
	in.expectOneEtcd(st.Process.PID)
	d = in.run()
	in.awaitStatus("the etcd taken over", patience, func(now *status.Status) bool {
		return now.Process != nil && now.Process.PID == st.Process.PID
	})
	in.expect(0, "stop")
	if r := other.cli("run"); r.code != 5 { // stopped, and still somebody's
		t.Errorf("exit code %d, not 5: %s", r.code, r.err)
	}
	in.leave(d)
}

func indexOf(all []*daemon, d *daemon) int {
	for i := range all {
		if all[i] == d {
			return i
		}
	}
	return -1
}
