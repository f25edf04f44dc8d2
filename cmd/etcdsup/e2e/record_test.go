package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecordGarbage puts all kinds of damage in the record's place while the etcd of a killed etcdsup lives. Each
// time that etcd must be found again, and the damaged record kept and told of.
func TestRecordGarbage(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "")
	d := in.run()
	pid := in.awaitReady().Process.PID
	in.awaitRecorded(pid)
	d.kill()
	path := in.dir + "/state/record.json"
	whole := []byte(readAll(path))
	step := max(1, len(whole)/times(12, 200))
	var damages [][]byte
	for n := 0; n < len(whole)-1; n += step { // less than its line end, it is whole
		damages = append(damages, whole[:n])
	}
	damages = append(damages, bytes.Replace(whole, []byte(`"version": 1`), []byte(`"version": 99`), 1), []byte("null"), []byte("[]"),
		make([]byte, 4096), []byte("\xff\xfe"), bytes.Replace(whole, []byte(`"pid": `), []byte(`"pid": -`), 1))
	for i, damage := range damages {
		if err := os.WriteFile(path, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		d = in.run()
		if now := in.awaitReady().Process.PID; now != pid {
			t.Fatalf("damage %d, %q: etcd %d, not the old one %d", i, damage, now, pid)
		}
		in.expectOneEtcd(pid)
		in.expectSetAside(d, damage, i+1)
		d.kill()
	}
	d = in.run()
	in.awaitReady()
	in.leave(d)
}

// TestAnEtcdOffTheRecordIsWhatItWas: what is taken over without a record runs the binary that it was started with, and
// nothing waits for its restart.
func TestAnEtcdOffTheRecordIsWhatItWas(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	d := in.run()
	before := in.awaitReady()
	in.awaitRecorded(before.Process.PID)
	d.kill()
	if err := os.WriteFile(in.dir+"/state/record.json", []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = in.run()
	now := in.awaitReady()
	if now.Process.PID != before.Process.PID || now.Process.Binary != before.Process.Binary || len(now.Config.Pending) > 0 {
		t.Errorf("before: %+v\nnow: %+v, pending %q", before.Process, now.Process, now.Config.Pending)
	}
	in.leave(d)
}

// expectSetAside wants the damaged record under another name, and told of.
func (in *instance) expectSetAside(d *daemon, damage []byte, n int) {
	in.t.Helper()
	kept, err := filepath.Glob(in.dir + "/state/record.json.unreadable-*")
	if err != nil || len(kept) != n {
		in.t.Fatalf("%d records set aside, not %d (%v); damage %q", len(kept), n, err, damage)
	}
	await(in.t, "it is said", patience, func() bool { return strings.Contains(d.stderr(), `"record unreadable","set-aside":"`) })
	for _, k := range kept {
		if readAll(k) == string(damage) {
			return
		}
	}
	in.t.Errorf("no file holds the damaged record %q", damage)
}

// TestHistoryGarbage: a history that cannot be read is told of and gone on with.
func TestHistoryGarbage(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureFake("idle", "")
	if err := os.MkdirAll(in.dir+"/state", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in.dir+"/state/history.jsonl", []byte("{\"seq\":7,\"kind\":\"start\",\"pid\":1}\n\x00\x00garbage\n{\"seq\""), 0o600); err != nil {
		t.Fatal(err)
	}
	d := in.run()
	st := in.awaitReady()
	await(t, "it is said", patience, func() bool { return strings.Contains(d.stderr(), `"history lines unreadable","lines":2`) })
	await(t, "history goes on", patience, func() bool {
		r := in.cli("history", "-o", "json")
		return r.code == 0 && strings.Contains(r.out, `"seq":8`) || strings.Contains(r.out, `"seq": 8`)
	})
	in.expectOneEtcd(st.Process.PID)
	in.leave(d)
}

// TestRecordLost takes the record away from under a real etcd: what is needed to watch it stands nowhere else but in
// its own command line.
func TestRecordLost(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	in.configureEtcd("")
	d := in.run()
	pid := in.awaitReady().Process.PID
	d.kill()
	if err := os.Remove(in.dir + "/state/record.json"); err != nil {
		t.Fatal(err)
	}
	d = in.run()
	if st := in.awaitReady(); st.Process.PID != pid || !st.Process.Adopted {
		t.Errorf("etcd %d, not the old one %d", st.Process.PID, pid)
	}
	in.expectOneEtcd(pid)
	in.expect(0, "restart")
	in.leave(d)
}
