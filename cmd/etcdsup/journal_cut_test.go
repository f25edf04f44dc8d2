package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// cutScene is a change of mode that is killed, and whose journal is cut.
type cutScene struct {
	name  string
	ask   status.ModeRequest
	world func() *fakeWorld
}

func cutScenes() []cutScene {
	host := func() *fakeWorld {
		return &fakeWorld{dirs: map[string]string{fakeDir: "old", "/from": "theirs"}, members: map[string]fakeMember{"a": {started: true, voter: true}}, up: true, mark: "old", after: func() {}}
	}
	bare := func() *fakeWorld { w := host(); delete(w.dirs, fakeDir); w.up, w.mark = false, ""; return w }
	force, join := status.ModeForceNewCluster, status.ModeJoin
	return []cutScene{
		{"force in place", status.ModeRequest{Mode: force}, host},
		{"force from a directory", status.ModeRequest{Mode: force, From: "/from"}, host},
		{"force where nothing was", status.ModeRequest{Mode: force, From: "/from"}, bare},
		{"new identity", status.ModeRequest{Mode: force, NewIdentity: true}, host},
		{"join", status.ModeRequest{Mode: join}, host},
		{"join where nothing was", status.ModeRequest{Mode: join}, bare},
	}
}

func (s cutScene) plan(ctx context.Context, w *fakeWorld) (*status.Plan, error) {
	if s.ask.Mode == status.ModeJoin {
		return flow.PlanJoin(ctx, w.site(), w, s.ask)
	}
	return flow.PlanForce(ctx, w.site(), w, s.ask)
}

// moment is what a kill leaves: the world, and the journal as it was synced.
type moment struct {
	world   *fakeWorld
	journal []byte
}

// moments are those before the first effect, after each, and at the end.
func (s cutScene) moments(t *testing.T, dir string) (all []moment, name string) {
	t.Helper()
	store := openStore(t, dir)
	defer store.Close()
	w := s.world()
	p, err := s.plan(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	j, err := store.Begin(*p)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, j.State().ID+".jsonl")
	keep := func() {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, moment{w.clone(), b})
	}
	w.after = keep
	keep()
	st := j.State()
	if e := flow.Run(t.Context(), w.site(), w, j, past(&st)); e.Outcome != status.OutcomeDone {
		t.Fatalf("%s: %+v", s.name, e)
	}
	keep()
	return all, filepath.Base(file)
}

func openStore(t *testing.T, dir string) *journal.Store {
	t.Helper()
	store, err := journal.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// inMemory is a folder for thousands of synced files: on a file system in memory, where there is one.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "eu")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestJournalCutAnywhere takes each moment at which a change of mode may be killed, and cuts its journal at each byte: of
// the line that was being written when the power failed, and, as only a disk that lies can, of all lines before it. Bytes
// within one line are one and the same cut to whoever goes on, which package journal shows for each of them.
func TestJournalCutAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := inMemory(t)
		n := 0
		for _, s := range cutScenes() {
			moments, name := s.moments(t, filepath.Join(dir, fmt.Sprint("scene", n)))
			for _, m := range moments {
				for _, at := range cuts(m.journal) {
					n++
					s.goOn(t, filepath.Join(dir, fmt.Sprint(n)), name, m, at)
				}
			}
		}
		t.Logf("%d cuts", n)
	})
}

// cuts are one at each line's end and one in each line; with ETCDSUP_LONG=1 also at its first and its last byte.
func cuts(data []byte) (all []int) {
	at := 0
	for line := range bytes.Lines(data) {
		all = append(all, at, at+len(line)/2)
		if os.Getenv("ETCDSUP_LONG") == "1" {
			all = append(all, at+1, at+len(line)-1)
		}
		at += len(line)
	}
	return append(all, at)
}

// goOn is the next etcdsup, with the world as it was and what is left of the journal.
func (s cutScene) goOn(t *testing.T, dir, name string, m moment, at int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), m.journal[:at], 0o600); err != nil {
		t.Fatal(err)
	}
	w := m.world.clone()
	w.after = func() {}
	what := fmt.Sprintf("%s, journal of %d lines cut to %d", s.name, bytes.Count(m.journal, []byte("\n")), bytes.Count(m.journal[:at], []byte("\n")))
	store := openStore(t, dir)
	defer func() { _ = store.Close(); _ = os.RemoveAll(dir) }()
	j := store.Current()
	if j == nil {
		s.askAgain(t, what, store, w)
		return
	}
	st := j.State()
	e := flow.Run(t.Context(), w.site(), w, j, past(&st))
	s.expect(t, what, w, e)
}

// askAgain is for a journal of which nothing is left: a person sees a host that is in no change of mode, and asks.
func (s cutScene) askAgain(t *testing.T, what string, store *journal.Store, w *fakeWorld) {
	t.Helper()
	w.forced = 0 // it is another request
	p, err := s.plan(t.Context(), w)
	switch {
	case err != nil:
		if flow.RemedyOf(err) == "" {
			t.Errorf("%s: %v, without a remedy", what, err)
		}
		return
	case p.Nothing != "":
		return
	}
	j, err := store.Begin(*p)
	if err != nil {
		return // it had ended
	}
	st := j.State()
	s.expect(t, what+", asked for again", w, flow.Run(t.Context(), w.site(), w, j, past(&st)))
}

func (s cutScene) expect(t *testing.T, what string, w *fakeWorld, e flow.Ending) {
	t.Helper()
	if e.Outcome != status.OutcomeDone && e.Outcome != status.OutcomeRolledBack {
		t.Errorf("%s: %s, %v; %v", what, e.Outcome, e.Err, w.dirs)
	}
	for path, was := range s.world().dirs {
		if !slices.ContainsFunc(slices.Collect(maps.Values(w.dirs)), func(now string) bool { return strings.HasSuffix(strings.TrimSuffix(now, ", rebuilt"), was) }) {
			t.Errorf("%s: what was in %s is gone: %v", what, path, w.dirs)
		}
	}
	if w.forced > 1 {
		t.Errorf("%s: --force-new-cluster was given %d times", what, w.forced)
	}
	s.expectPlace(t, what, w, e)
}

// expectPlace wants the host where it belongs: in the cluster with its data, or out of it with its old data.
func (s cutScene) expectPlace(t *testing.T, what string, w *fakeWorld, e flow.Ending) {
	t.Helper()
	ours := 0
	for id, m := range w.members {
		if m.ours {
			ours++
			if e.Outcome != status.OutcomeDone || !m.voter || w.dirs[fakeDir] != joinedAs+id {
				t.Errorf("%s: %s, member %s %+v, and here is %q", what, e.Outcome, id, m, w.dirs[fakeDir])
			}
		}
	}
	if done := s.ask.Mode == status.ModeJoin && e.Outcome == status.OutcomeDone; ours > 1 || done && ours != 1 || w.up != (w.dirs[fakeDir] != "") {
		t.Errorf("%s: %s, %d members of this host, up %v, %v", what, e.Outcome, ours, w.up, w.dirs)
	}
}
