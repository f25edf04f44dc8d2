package e2e

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/exetest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// chosen are some of all: few by default, moderately many with ETCDSUP_LONG=ci, all with ETCDSUP_LONG=1.
func chosen[T any](t *testing.T, all []T, few, moderate int) []T {
	t.Helper()
	n := few
	switch os.Getenv("ETCDSUP_LONG") {
	case "1":
		return all
	case "ci":
		n = moderate
	}
	all = slices.Clone(all)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// journals are the files of the transitions, the oldest first.
func (in *instance) journals() []string {
	files, _ := filepath.Glob(filepath.Join(in.dir, "state", "transitions", "*.jsonl"))
	return files
}

// newJournal is the journal that is not among the old ones; empty: none.
func (in *instance) newJournal(old []string) string {
	for _, file := range in.journals() {
		if !slices.Contains(old, file) {
			return file
		}
	}
	return ""
}

// begins has a change of mode begun in the background, whatever becomes of the command: the function waits for its end.
func (in *instance) begins(args ...string) (waited func() result) {
	in.t.Helper()
	done := make(chan result, 1)
	cmd := in.command(args...)
	go func() { done <- finish(in.t, cmd) }() // ends with the command, which has a limit
	return func() result { return <-done }
}

// awaitLines waits until a new journal has so many lines, or its end.
func (in *instance) awaitLines(old []string, n int) {
	in.t.Helper()
	await(in.t, "lines of the journal", 2*patience, func() bool {
		text := readAll(in.newJournal(old))
		return strings.Count(text, "\n") >= n || strings.Contains(text, `"outcome":`)
	})
}

// awaitStep waits until a step of a new transition has come to a phase, or the transition to its end.
func (in *instance) awaitStep(old []string, step, phase string) {
	in.t.Helper()
	await(in.t, step+" "+phase, 2*patience, func() bool {
		text := readAll(in.newJournal(old))
		return strings.Contains(text, `"step":"`+step+`","phase":"`+phase+`"`) || strings.Contains(text, `"outcome":`)
	})
}

// awaitEnd waits until the newest transition has ended, and gives it. It must not stand still.
func (in *instance) awaitEnd(old []string) *status.Transition {
	in.t.Helper()
	var last *status.Transition
	await(in.t, "the end of the transition", 4*patience, func() bool {
		m, err := in.control().Modes(in.t.Context())
		if err != nil {
			return false
		}
		if m.Now != nil && m.Now.Outcome == status.OutcomeStuck {
			in.t.Fatalf("stuck: %s; next: %s", m.Now.Error, m.Now.Remedy)
		}
		last = m.Last
		return m.Now == nil && last != nil && !slices.Contains(old, filepath.Join(in.dir, "state", "transitions", last.ID+".jsonl"))
	})
	return last
}

// gate puts a door before the starts of an instance's etcd, which is open at first: shut, a start waits for it, and what a
// test wants to happen before cannot come too late.
func (in *instance) gate() (shut, open func()) {
	in.t.Helper()
	etcd, script, door := filepath.Join(in.root, "etcd"), filepath.Join(in.root, "gate"), filepath.Join(in.root, "shut")
	if err := os.Symlink(program, etcd); err != nil {
		in.t.Fatal(err)
	}
	text := "#!/bin/sh\ncase \"$*\" in *--data-dir*) while [ -e " + door + " ]; do sleep 0.02; done;; esac\nexec " + etcd + " \"$@\"\n"
	exetest.Write(in.t, script, []byte(text))
	in.configure(strings.Replace(readAll(in.file), "etcd:\n", "etcd:\n  binary: "+script+"\n", 1))
	return func() { create(in.t, door).Close() }, func() { _ = os.Remove(door) }
}

// powerCut kills all that runs on an instance's folder, etcdsup first.
func (in *instance) powerCut(d *daemon) {
	d.kill()
	for _, p := range processesOf(in.root) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// killPoint is where a transition is killed: after so many lines of its journal.
type killPoint struct {
	line int
	etcd bool // too
}

// killPoints are those between any two lines of a journal with so many.
func killPoints(lines int) (all []killPoint) {
	for n := range lines {
		all = append(all, killPoint{n + 1, false}, killPoint{n + 1, true})
	}
	return all
}

func (p killPoint) kill(in *instance, d *daemon) {
	if p.etcd {
		in.powerCut(d)
		return
	}
	d.kill()
}

// forceLines and joinLines are how many lines the journals of the two have when nothing fails: the plan, two for each
// step, and the end.
const forceLines, joinLines = 2 + 2*8, 2 + 2*8

// TestForceKilledBetweenSteps kills etcdsup between any two steps of a force-new-cluster.
func TestForceKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	in := newHost(t, "c", "127.0.0.1")
	from, revision := oldData(t, in.root, 300)
	d := in.run()
	in.awaitReady()
	outcomes := map[status.Outcome]int{}
	for _, p := range chosen(t, killPoints(forceLines), 2, 6) {
		old := in.journals()
		waited := in.begins("mode", "force-new-cluster", "--from", from, "--yes", "--detach")
		in.awaitLines(old, p.line)
		p.kill(in, d)
		waited()
		d = in.run()
		last := in.awaitEnd(old)
		outcomes[last.Outcome]++
		in.awaitReady()
		if last.Outcome == status.OutcomeDone {
			expectKeys(t, dial(t, in.client), 300, revision)
		}
		t.Logf("killed at %+v: %s %s", p, last.Outcome, last.Error)
	}
	t.Log(outcomes)
	in.leave(d)
}

// TestJoinKilledBetweenSteps kills etcdsup between any two steps of a join, each time on another host.
func TestJoinKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	c := newHost(t, "c", "127.0.0.1")
	dc := c.run()
	c.awaitReady()
	client := dial(t, c.client)
	revision := fillKeys(t, client, 300)
	outcomes := map[status.Outcome]int{}
	for _, p := range chosen(t, killPoints(joinLines), 2, 6) {
		b := newHost(t, "b", "127.0.0.1")
		d := b.run()
		b.awaitReady()
		put(t, dial(t, b.client), "mine", "kept")
		waited := b.begins("mode", "join", "--endpoint", c.client, "--yes", "--detach")
		b.awaitLines(nil, p.line)
		p.kill(b, d)
		waited()
		d = b.run()
		last := b.awaitEnd(nil)
		outcomes[last.Outcome]++
		t.Logf("killed at %+v: %s %s", p, last.Outcome, last.Error)
		b.awaitReady()
		expectJoined(t, client, b, last.Outcome == status.OutcomeDone)
		if last.Outcome == status.OutcomeDone {
			expectKeys(t, dial(t, b.client), 300, revision)
			removeMember(t, client, b)
		} else if got := get(t, dial(t, b.client), "mine"); got != "kept" {
			t.Errorf("rolled back: %q", got)
		}
		awaitPut(t, client, "goes", "on")
		d.signal(syscall.SIGINT)
		d.wait(t)
	}
	t.Log(outcomes)
	c.leave(dc)
}

// cutJournal takes bytes from the end of the newest journal, down to any byte behind its first line, which is written
// before anything else is done.
func (in *instance) cutJournal() {
	in.t.Helper()
	files := in.journals()
	file := files[len(files)-1]
	text := readAll(file)
	least := strings.Index(text, "\n") + 1
	at := least + rand.IntN(len(text)-least+1)
	in.t.Logf("%d of %d bytes of the journal are left, %d of %d lines", at, len(text), strings.Count(text[:at], "\n"), strings.Count(text, "\n"))
	if err := os.Truncate(file, int64(at)); err != nil {
		in.t.Fatal(err)
	}
}

// TestForceJournalCut: a power cut, after which the journal ends at any byte.
func TestForceJournalCut(t *testing.T) {
	t.Parallel()
	in := newHost(t, "c", "127.0.0.1")
	from, revision := oldData(t, in.root, 300)
	d := in.run()
	in.awaitReady()
	for range chosen(t, make([]int, 12), 1, 2) {
		old := in.journals()
		waited := in.begins("mode", "force-new-cluster", "--from", from, "--yes", "--detach")
		in.awaitLines(old, 2+rand.IntN(forceLines-2))
		in.powerCut(d)
		waited()
		in.cutJournal()
		d = in.run()
		last := in.awaitEnd(old)
		t.Logf("%s %s", last.Outcome, last.Error)
		in.awaitReady()
		if last.Outcome == status.OutcomeDone {
			expectKeys(t, dial(t, in.client), 300, revision)
		}
	}
	in.leave(d)
}

// TestJoinJournalCut is the same of a join.
func TestJoinJournalCut(t *testing.T) {
	t.Parallel()
	c := newHost(t, "c", "127.0.0.1")
	dc := c.run()
	c.awaitReady()
	client := dial(t, c.client)
	revision := fillKeys(t, client, 300)
	for range chosen(t, make([]int, 12), 1, 2) {
		b := newHost(t, "b", "127.0.0.1")
		d := b.run()
		b.awaitReady()
		waited := b.begins("mode", "join", "--endpoint", c.client, "--yes", "--detach")
		b.awaitLines(nil, 2+rand.IntN(joinLines-2))
		b.powerCut(d)
		waited()
		b.cutJournal()
		d = b.run()
		last := b.awaitEnd(nil)
		t.Logf("%s %s", last.Outcome, last.Error)
		b.awaitReady()
		expectJoined(t, client, b, last.Outcome == status.OutcomeDone)
		if last.Outcome == status.OutcomeDone {
			expectKeys(t, dial(t, b.client), 300, revision)
			removeMember(t, client, b)
		}
		endAll(t, d)
	}
	c.leave(dc)
}

// peerURL is the one in an instance's configuration.
func (in *instance) peerURL() string {
	_, rest, _ := strings.Cut(readAll(in.file), "listen-peer-urls: ")
	u, _, _ := strings.Cut(rest, "\n")
	return u
}

// listed is a member in the cluster's list.
type listed struct {
	ID        uint64
	Name      string
	IsLearner bool
}

// membersAt are the members of the cluster that have the instance's peer URL.
func membersAt(t *testing.T, c *clientv3.Client, in *instance) (found []listed) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := c.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range l.Members {
		if slices.Contains(m.PeerURLs, in.peerURL()) {
			found = append(found, listed{m.ID, m.Name, m.IsLearner})
		}
	}
	return found
}

// expectJoined wants one voter for the host, or nobody.
func expectJoined(t *testing.T, c *clientv3.Client, in *instance, joined bool) {
	t.Helper()
	found := membersAt(t, c, in)
	if joined && (len(found) != 1 || found[0].IsLearner) || !joined && len(found) > 0 {
		t.Errorf("joined is %v, but the cluster has %v at %s", joined, found, in.peerURL())
	}
}

// awaitPut puts as soon as the cluster lets it: the member that was killed or removed just now may have led.
func awaitPut(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	await(t, "a put", patience, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.Put(ctx, key, value)
		return err == nil
	})
}

// removeMember takes a host's member out again, as soon as the cluster allows.
func removeMember(t *testing.T, c *clientv3.Client, in *instance) {
	t.Helper()
	for _, m := range membersAt(t, c, in) {
		await(t, "its removal", patience, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := c.MemberRemove(ctx, m.ID)
			return err == nil || len(membersAt(t, c, in)) == 0
		})
	}
}
