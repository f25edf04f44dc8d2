package e2e

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/packaging/lab"
	"github.com/etcdsup/etcdsup/supervisor/loadtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// counter stands in for an etcd: it writes numbered lines, some thousands a second, and leaves their number at its end.
const counter = `#!/bin/sh
n=0
trap 'echo $n >/var/lib/etcdsup/lines/count; exit 0' TERM
while :; do
	echo "line $n is line $n"
	n=$((n + 1))
	[ $((n % 100)) != 0 ] || sleep .01
done
`

// pair are two instances of one host: an etcd that is written to, and a writer of lines that can be counted.
type pair struct {
	etcd, lines *service
	puts        *loadtest.Load
	pids        [2]int // of what each runs
}

// TestCrash ends etcdsup in every way that can be thought of while etcd works: it never notices, and no line is lost.
func TestCrash(t *testing.T) {
	t.Parallel()
	host := newService(t, lab.Boot(t))
	p := &pair{etcd: host.another("db", 2379), lines: host.another("lines", 0)}
	p.start(host)
	p.etcd.part(t, "SIGKILL", func(_ *testing.T, s *service) {
		for range times(3, 50) {
			p.crash(s, p.signal("KILL"))
		}
	})
	p.etcd.part(t, "SIGSEGV", func(_ *testing.T, s *service) { p.crash(s, p.signal("SEGV")) })
	p.etcd.part(t, "SIGQUIT", func(_ *testing.T, s *service) { p.crash(s, p.signal("QUIT")) })
	p.etcd.part(t, "watchdog", func(t *testing.T, s *service) {
		p.crash(s, p.signal("STOP"))
		if journal := s.Must("journalctl", "-u", s.unit, "-o", "cat"); !strings.Contains(journal, "Watchdog timeout") {
			t.Errorf("it was no watchdog that has ended it:\n%s", journal)
		}
	})
	p.etcd.part(t, "systemd anew", func(t *testing.T, s *service) {
		before := s.awaitReady().Supervisor
		s.systemctl("daemon-reexec")
		s.systemctl("daemon-reload")
		p.crash(s, p.signal("KILL")) // it knows of the service all the same
		if now := s.awaitReady().Supervisor; now.PID == before.PID {
			t.Errorf("etcdsup %d has outlived SIGKILL", now.PID)
		}
	})
	p.puts.Stop()
	t.Log(p.puts)
	if p.puts.ExpectNoFailure(t); p.puts.Again > 0 {
		t.Errorf("puts had to be repeated: %v", p.puts)
	}
	p.expectAllLines()
	p.etcd.part(t, "etcd killed", testEtcdKilled)
	p.etcd.systemctl("stop", p.etcd.unit)
	host.expectNothingLeft()
}

// start brings both up, with a watchdog that bites soon.
func (p *pair) start(host *service) {
	host.t.Helper()
	host.Write("/usr/local/bin/lines", counter, "755")
	host.Write("/etc/systemd/system/etcdsup@.service.d/test.conf", "[Service]\nWatchdogSec=3\n", "644")
	p.etcd.configure("")
	p.lines.write("etcd: {binary: /usr/local/bin/lines, verify: false}\nhealth: {ready: started, interval: 0}\n" +
		"log: {max_size: 1MiB, keep_files: 0, keep_total: 0, buffer: 64MiB, max_wait: 1s}\n")
	for i, s := range p.both() {
		p.pids[i] = s.install().Process.PID
	}
	p.puts = loadtest.Start(host.t, p.etcd.dial())
	p.etcd.await("puts", func() bool { return p.puts.Count() > 100 })
}

func (p *pair) both() []*service { return []*service{p.etcd, p.lines} }

// signal sends one to both etcdsups.
func (p *pair) signal(name string) func(s *service) {
	return func(s *service) {
		s.systemctl("kill", "--kill-whom=main", "--signal="+name, p.etcd.unit, p.lines.unit)
	}
}

// crash ends both etcdsups and wants the next ones to go on with what was running.
func (p *pair) crash(told *service, end func(*service)) {
	told.t.Helper()
	var before [2]int
	for i, s := range p.both() {
		before[i] = s.awaitReady().Supervisor.PID
	}
	began := time.Now()
	end(told)
	for i, s := range p.both() {
		s = s.in(told.t)
		st := s.awaitStatus("the next etcdsup", func(st *status.Status) bool { return st.Supervisor.PID != before[i] && st.Process != nil })
		told.t.Logf("%s: supervised again after %v", s.instance, time.Since(began).Round(time.Millisecond))
		if st.Process.PID != p.pids[i] || !st.Process.Adopted {
			told.t.Fatalf("%s: %+v was taken over, not process %d", s.instance, st.Process, p.pids[i])
		}
		s.awaitReady()
	}
	at := p.puts.Count()
	told.await("more puts", func() bool { return p.puts.Count() > at+100 })
}

// expectAllLines ends the writer and wants each of its lines once, in order.
func (p *pair) expectAllLines() {
	s := p.lines
	s.t.Helper()
	s.systemctl("stop", s.unit)
	wrote, err := strconv.Atoi(strings.TrimSpace(s.Read(s.dir() + "/count")))
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(s.cli(0, "logs", "-n", "all", "-o", "raw")) {
		if want := "line " + strconv.Itoa(n) + " is line " + strconv.Itoa(n) + "\n"; line != want {
			s.t.Fatalf("%q in the log, not %q", line, want)
		}
		n++
	}
	s.t.Logf("%d lines written, %d in the log", wrote, n)
	if n != wrote || n < 1000 {
		s.t.Errorf("%d lines written, %d in the log", wrote, n)
	}
}

// testEtcdKilled: the end of etcd is no end of the service, be it for want of memory.
func testEtcdKilled(t *testing.T, s *service) {
	before := s.awaitReady()
	restarts := s.property("NRestarts")
	s.Must("systemctl", "set-property", "--runtime", s.unit, "MemoryMax=80M")
	c := s.dial()
	value := strings.Repeat("x", 1<<20)
	s.await("an end for want of memory", func() bool {
		_, _ = c.Put(t.Context(), "big", value) // etcd keeps the last thousands of entries in memory
		st, err := s.control().Status(t.Context(), false)
		return err == nil && st.Process != nil && st.Process.PID != before.Process.PID
	})
	s.Must("systemctl", "set-property", "--runtime", s.unit, "MemoryMax=infinity")
	after := s.awaitReady()
	if after.Supervisor.PID != before.Supervisor.PID || s.property("NRestarts") != restarts || s.property("ActiveState") != "active" {
		t.Errorf("etcdsup %d became %d, unit %s", before.Supervisor.PID, after.Supervisor.PID, s.property("ActiveState"))
	}
	if after.LastExit == nil || after.LastExit.Signal != "SIGKILL" || after.LastExit.Asked {
		t.Errorf("last exit: %+v", after.LastExit)
	}
	if out := s.Sh("cat $(find /sys/fs/cgroup -path '*" + s.unit + "*' -name memory.oom_control -o -path '*" + s.unit + "*' -name memory.events)"); !slices.ContainsFunc(strings.Split(out, "\n"), func(l string) bool {
		return strings.HasPrefix(l, "oom_kill ") && l != "oom_kill 0"
	}) {
		t.Errorf("the kernel has killed nobody:\n%s", out)
	}
}
