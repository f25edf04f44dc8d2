package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/place"
	"github.com/etcdsup/etcdsup/supervisor/rebuild"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// world is this host and its clusters, as a transition acts on them.
type world struct {
	x         *executor
	clusterID string // that a join is to; empty: not known yet
	deaths    deaths // of the learner
}

// next is the configuration of etcd's next start; d.cfg is that by which this daemon was started.
func (d *daemon) next() *config.Config { return d.machine.Next() }

// site is what the configuration says of the member that is to live here.
func (d *daemon) site() flow.Site {
	s := siteOf(d.next())
	s.Running, s.Command = d.loop.Status().Process != nil, d.g.self()
	return s
}

func siteOf(c *config.Config) flow.Site {
	return flow.Site{
		Name: c.Arg("name"), DataDir: c.DataDir(), WALDir: c.Arg("wal-dir"), Mounted: isMountPoint(c.DataDir()), Link: linkTarget(c.DataDir()),
		PeerURLs: c.ArgValues("initial-advertise-peer-urls"), ClientURLs: clientURLs(c), Configured: configuredPeers(c), Hooks: hooksOf(c),
	}
}

// isMountPoint tells whether a folder is on another file system than the one it lies in, or is bound there.
func isMountPoint(dir string) bool {
	mounts, _ := os.ReadFile("/proc/self/mounts") // unreadable: the rename itself will tell
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && unescapeMount.Replace(f[1]) == dir {
			return true
		}
	}
	return false
}

// unescapeMount takes back what the kernel does to the paths in a list of mounts.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// linkTarget is where a symbolic link leads in the end; empty: the path is none.
func linkTarget(path string) string {
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return ""
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "nowhere"
	}
	return target
}

func (w *world) d() *daemon { return w.x.d }

// Progress shows how far the step is that runs.
func (w *world) Progress(text string) { w.x.at(text) }

// ---- etcd's process ----

// Stop returns when nothing of etcd's is left; the goal is down, on disk too.
func (w *world) Stop(ctx context.Context) error {
	if err := w.d().loop.Stop(ctx); err != nil {
		return err
	}
	_, err := w.await(ctx, func(st *status.Status) bool { return st.State == status.StateDown })
	return err
}

// Start returns when etcd serves.
func (w *world) Start(ctx context.Context) error {
	return w.launch(ctx, "", func(st *status.Status) bool { return st.State == status.StateReady })
}

// Launch returns when etcd runs.
func (w *world) Launch(ctx context.Context, bootstrap string) error {
	return w.launch(ctx, bootstrap, func(st *status.Status) bool { return st.Process != nil })
}

// launch may be called while etcd is still being stopped: the loop then starts it when nothing of the old one is left.
func (w *world) launch(ctx context.Context, bootstrap string, there func(*status.Status) bool) error {
	w.d().machine.Join(bootstrap)
	deaths := deathTime(w.d().loop.Status())
	if err := w.d().loop.Start(ctx); err != nil {
		return err
	}
	st, err := w.await(ctx, func(st *status.Status) bool {
		if st.State == status.StateStopping && st.Goal == status.GoalUp {
			return false // who is seen is the one that goes
		}
		return there(st) || diedAfter(st, deaths) || st.State == status.StateHeld
	})
	if err != nil || there(st) {
		return err
	}
	return w.endedAtOnce(ctx, st)
}

// diedAfter tells that an etcd has died since, and is not just being replaced: a stop that was under way may end, but not
// begin, while a start is waited for.
func diedAfter(st *status.Status, deaths time.Time) bool {
	return deathTime(st).After(deaths) && (!st.LastExit.Asked || st.Goal == status.GoalDown)
}

// Restart returns when another etcd runs.
func (w *world) Restart(ctx context.Context) error {
	before := w.d().loop.Status()
	if err := w.d().loop.Restart(ctx); err != nil {
		return err
	}
	another := func(st *status.Status) bool { return st.Process != nil && !sameProcess(st.Process, before.Process) }
	st, err := w.await(ctx, func(st *status.Status) bool {
		return another(st) || st.State == status.StateHeld || st.State == status.StateBackoff || st.State == status.StateDown
	})
	if err != nil || another(st) {
		return err
	}
	return w.endedAtOnce(ctx, st)
}

func sameProcess(a, b *status.Process) bool {
	return b != nil && a.PID == b.PID && a.Started.Equal(b.Started)
}

func deathTime(st *status.Status) time.Time {
	if st.LastExit == nil {
		return time.Time{}
	}
	return st.LastExit.Ended
}

// wordsTime is how long the last words of an etcd are waited for, which are gathered after its end.
const wordsTime = 3 * time.Second

// endedAtOnce is the end of an etcd in its own words.
func (w *world) endedAtOnce(ctx context.Context, st *status.Status) error {
	said := st.Reason
	if x := w.withWords(ctx, st.LastExit); x != nil {
		said = cmp.Or(x.Said, x.Detail)
	}
	return fmt.Errorf("etcd did not stay up: %s", said)
}

// withWords is an end with what was said before it, as soon as that is known.
func (w *world) withWords(ctx context.Context, x *status.Exit) *status.Exit {
	if x == nil || x.LastLines != nil {
		return x
	}
	ctx, cancel := context.WithTimeout(ctx, wordsTime)
	defer cancel()
	later, err := w.await(ctx, func(now *status.Status) bool {
		return now.LastExit == nil || !now.LastExit.Ended.Equal(x.Ended) || now.LastExit.LastLines != nil
	})
	if err != nil || later.LastExit == nil || !later.LastExit.Ended.Equal(x.Ended) {
		return x // nothing was said, or the next one has ended meanwhile
	}
	return later.LastExit
}

// await waits for a status.
func (w *world) await(ctx context.Context, ok func(*status.Status) bool) (*status.Status, error) {
	for {
		changed := w.d().loop.Changed()
		if st := w.d().loop.Status(); ok(st) {
			return st, nil
		}
		select {
		case <-changed:
		case <-w.d().loop.Done():
			return nil, errEnding
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ---- data ----

// Look reads a directory or a snapshot.
func (w *world) Look(path string) (*flow.Source, error) {
	o := datadir.Options{Holders: lockHolders}
	if path == w.d().next().DataDir() {
		o.WALDir = w.d().next().Arg("wal-dir")
	}
	r, err := datadir.Look(path, o)
	if errors.Is(err, fs.ErrNotExist) {
		return &flow.Source{Path: path, Empty: true, Missing: true}, nil
	}
	if err != nil {
		return nil, err
	}
	s := sourceOf(r)
	p := w.d().loop.Status().Process
	s.Own = s.Hot && p != nil && slices.ContainsFunc(r.Holders, func(h datadir.Holder) bool { return h.PID == p.PID })
	return s, nil
}

func sourceOf(r *datadir.Report) *flow.Source {
	s := &flow.Source{
		Path: r.Path, Snapshot: r.Kind == datadir.KindSnapshot || r.Kind == datadir.KindDatabase, Empty: r.Kind == datadir.KindEmpty,
		Versions: r.Versions.Data(), Hot: r.Hot, ClusterID: r.ClusterID, MemberID: r.MemberID, Role: string(r.Role), Clean: r.LastStop == datadir.StopClean,
	}
	for _, h := range r.Holders {
		s.Holder = strings.TrimSpace(fmt.Sprintf("PID %d %s", h.PID, h.Command))
	}
	if r.DB != nil {
		s.Revision, s.Size, s.Auth, s.Kubernetes = r.DB.Revision, r.DB.FileSize, r.DB.AuthEnabled, r.DB.Kubernetes
	}
	if r.WAL != nil {
		s.Size += r.WAL.Size
	}
	for _, m := range r.Members {
		if !m.Learner {
			s.Voters++
		}
		if m.Self {
			s.PeerURLs = m.PeerURLs
			continue
		}
		s.Peers = append(s.Peers, flow.SourcePeer{Name: m.Name, URLs: m.PeerURLs})
	}
	s.Held, s.Notes = findingsOf(r)
	if r.Kind == datadir.KindDatabase {
		s.Notes = append(s.Notes, "this is a db alone, without a hash: writes that were only in the WAL beside it are not in it; where there is the data directory, name that")
	}
	return s
}

// findingsOf are the findings in a sentence each. What a role means for a plan is the plan's own judgement.
func findingsOf(r *datadir.Report) (held, notes []string) {
	for _, f := range r.Findings {
		switch {
		case f.Code == datadir.CodeRemoved || f.Code == datadir.CodeLearner || f.Code == datadir.CodeEmpty:
		case f.Severity == datadir.SeverityHeld:
			held = append(held, f.Title)
		case f.Severity == datadir.SeverityWarning:
			notes = append(notes, f.Title)
		}
	}
	return held, notes
}

// Copy makes a copy that appears whole or not at all.
func (w *world) Copy(ctx context.Context, from, to string, progress func(string)) error {
	began := time.Now()
	_, err := place.Copy(ctx, from, to, func(done, total int64) { progress(copyProgress(done, total, time.Since(began))) })
	return err
}

func copyProgress(done, total int64, took time.Duration) string {
	percent := int64(100)
	if total > 0 {
		percent = 100 * done / total
	}
	return fmt.Sprintf("%d %%, %.0f MB/s", percent, float64(done)/1e6/max(took.Seconds(), 0.001))
}

// Room wants that many bytes free beside path, where we may write.
func (w *world) Room(path string, bytes int64) error {
	dir := filepath.Dir(path)
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("cannot write in %s: %w", dir, err)
	}
	return place.EnoughSpace(dir, bytes)
}

// Move renames a directory within its folder.
func (w *world) Move(from, to string) error { return place.PutBack(from, to) }

// Holds tells whether something is there; an empty directory is nothing.
func (w *world) Holds(path string) bool { return holds(path) }

func holds(path string) bool {
	entries, err := os.ReadDir(path)
	if err != nil {
		_, err = os.Lstat(path)
		return err == nil
	}
	return len(entries) > 0
}

// Expect forgets the member that was here, and has another one expected.
func (w *world) Expect(clusterID, memberID string) error {
	return w.d().machine.SetMark(supervisor.Mark{ClusterID: clusterID, MemberID: memberID})
}

// Mark is what is known of the member that is here.
func (w *world) Mark() string {
	b, err := json.Marshal(w.d().machine.Mark())
	if err != nil {
		return "{}" // which it never is: its fields are plain
	}
	return string(b)
}

// RestoreMark has it known again.
func (w *world) RestoreMark(text string) error {
	var m supervisor.Mark
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return fmt.Errorf("cannot read what was known of the member: %w", err)
	}
	return w.d().machine.SetMark(m)
}

// HighWater is the newest revision on record.
func (w *world) HighWater() int64 { return w.d().machine.Mark().Revision }

// apart works on data in a process of its own: damaged data can be the end of that, and not of the daemon.
func (w *world) apart() *rebuild.Apart {
	began := time.Now()
	return &rebuild.Apart{Tell: func(doing string) { w.Progress(fmt.Sprintf("%s, %v", doing, time.Since(began).Round(time.Second))) }}
}

// KeepEntries makes all entries of a stopped directory committed.
func (w *world) KeepEntries(ctx context.Context, dir string) (uint64, error) {
	k, err := w.apart().KeepEntries(ctx, dir, "")
	if err != nil {
		return 0, err
	}
	return k.To - k.From, nil
}
