package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/journal"
	"github.com/etcdsup/etcdsup/supervisor/place"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/rebuild"
	"github.com/etcdsup/etcdsup/supervisor/room"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// What a transition asks of etcds, and has them do.

// peerFiles are the TLS files with which this member meets its peers.
func peerFiles(c *config.Config) cluster.TLSFiles {
	f := cluster.TLSFiles{
		CA: c.Arg("peer-trusted-ca-file"), Cert: c.Arg("peer-cert-file"), Key: c.Arg("peer-key-file"),
		Auto: c.Arg("peer-auto-tls") == "true" && c.Arg("peer-cert-file") == "",
	}
	if cert := c.Arg("peer-client-cert-file"); cert != "" { // one of its own for the way out
		f.Cert, f.Key = cert, c.Arg("peer-client-key-file")
	}
	return f
}

// Ask asks peer URLs whether a member of that cluster answers there.
func (w *world) Ask(ctx context.Context, urls []string, clusterID string) map[string]flow.Presence {
	found := map[string]flow.Presence{}
	answers := cluster.AskPeers(ctx, urls, peerFiles(w.d().next()))
	for i := range answers {
		found[answers[i].URL] = presence(&answers[i], clusterID)
	}
	return found
}

func presence(a *status.PeerAnswer, clusterID string) flow.Presence {
	switch a.Kind {
	case status.PeerNobody:
		return flow.PresenceNobody
	case status.PeerEtcd:
		if clusterID == "" || a.Of(clusterID) {
			return flow.PresenceAlive
		}
		return flow.PresenceOther
	case status.PeerStranger:
		return flow.PresenceOther
	}
	return flow.PresenceUnknown
}

// Isolates tells whether a forced run can be kept to itself.
func (w *world) Isolates() error {
	_, err := room.Check()
	return err
}

// Rebuild runs etcd apart until the directory is that of a lone voter.
func (w *world) Rebuild(ctx context.Context, dir string, force, allowContact bool) (*flow.Proof, error) {
	kind, err := room.Check()
	if err != nil {
		if force && !allowContact {
			return nil, err
		}
		kind = room.KindOpen
	}
	d := w.d()
	lock, err := w.lockAlone(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	cfg := d.next()
	out, err := os.OpenFile(d.cfg.RunDir()+"/room.log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, config.FileMode)
	if err != nil {
		return nil, fmt.Errorf("cannot open the log of the run apart: %w", err)
	}
	defer out.Close()
	began := time.Now()
	res, err := room.Rebuild(ctx, room.RebuildSpec{
		Spec:   room.Spec{Kind: kind, Binary: cfg.Etcd.Binary, Args: roomArgs(cfg), Env: d.machine.RoomEnv(), Output: out, Inherit: []*os.File{lock}},
		RunDir: d.cfg.RunDir(), DataDir: dir, Name: cfg.Arg("name"), PeerURLs: d.site().PeerURLs, ClientURLs: clientURLs(cfg),
		Force: force, Dial: roomClient, SnapshotIndex: func() (uint64, error) { return snapshotIndex(dir) },
		Tell: func(doing string) { w.Progress(fmt.Sprintf("%s, %v", doing, time.Since(began).Round(time.Second))) },
	})
	if err != nil {
		return nil, err
	}
	return &flow.Proof{ClusterID: res.ClusterID, MemberID: res.MemberID, Revision: res.Revision, Keys: res.Keys, Members: res.Members}, nil
}

// lockAlone locks a directory for a run apart. One that an etcdsup was killed in lives on, where nobody can reach it: it is
// ended first.
func (w *world) lockAlone(dir string) (*os.File, error) {
	lock, err := process.LockDir(dir)
	if _, held := errors.AsType[*process.HeldError](err); !held {
		return lock, err
	}
	for _, a := range process.FindHolders(dir, w.d().token) {
		p, err := process.Adopt(a.ID)
		if err != nil {
			continue // it has ended meanwhile
		}
		w.d().log.Warn("run apart ended", zap.Int("pid", a.ID.PID), zap.String("command", a.Command))
		_ = p.Signal(unix.SIGKILL) // Wait tells
		p.Wait()
		p.Close()
	}
	return lockSoon(process.LockDir, dir)
}

// roomArgs are the flags of the configuration without which etcd would not take its data.
func roomArgs(c *config.Config) []string {
	var args []string
	for _, name := range []string{"quota-backend-bytes", "max-txn-ops", "max-request-bytes", "backend-bbolt-freelist-type", "experimental-initial-corrupt-check"} {
		if v := c.ArgValues(name); v != nil {
			args = append(args, "--"+name+"="+strings.Join(v, ","))
		}
	}
	return args
}

func roomClient(endpoint *url.URL, secure *tls.Config) (room.Etcd, error) {
	return cluster.NewForced(endpoint, secure)
}

func snapshotIndex(dir string) (uint64, error) {
	r, err := datadir.Look(dir, datadir.Options{})
	if err != nil || r.Raft == nil {
		return 0, err
	}
	return r.Raft.SnapshotIndex, nil
}

// Restore makes a directory with new IDs.
func (w *world) Restore(ctx context.Context, from, to string, bump int64) (*flow.Proof, error) {
	site := w.d().site()
	defer w.clearAway(to) // of one that was cut short now
	w.clearAway(to)       // of one that was before
	res, err := w.apart().Restore(ctx, from, to, rebuild.Options{
		Name: site.Name, PeerURLs: site.PeerURLs, Token: rand.Text(),
		Bump: uint64(bump), MarkCompacted: true, SkipHash: strings.HasSuffix(from, "/member/snap/db"),
	})
	if err != nil {
		return nil, err
	}
	return &flow.Proof{ClusterID: res.ClusterID, MemberID: res.MemberID, Revision: res.RevisionAfter}, nil
}

// clearAway removes what a restore to a path that was cut short has left: it is incomplete, and worth nothing.
func (w *world) clearAway(to string) {
	left, err := place.RemoveLeftovers(to)
	if err != nil || len(left) > 0 {
		w.d().log.Warn("unfinished restore removed", zap.Strings("removed", left), zap.Error(err))
	}
}

// own is a client of this host's etcd.
func (w *world) own(ctx context.Context) (*cluster.Client, error) {
	return newAsker(w.d().next()).client(ctx, w.d().machine.Running().Args)
}

// proofTime bounds how long the proof at the end is tried for: a leader may be elected meanwhile.
const proofTime = time.Minute

// Prove asks the etcd of this host.
func (w *world) Prove(ctx context.Context, revision int64) (*flow.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := w.proveOnce(ctx, revision)
		if err == nil {
			return p, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (w *world) proveOnce(ctx context.Context, revision int64) (*flow.Proof, error) {
	c, err := w.own(ctx)
	if err != nil {
		return nil, err
	}
	p, err := c.Proof(ctx)
	if err != nil {
		return nil, err
	}
	l, err := c.Members(ctx)
	if err != nil {
		return nil, err
	}
	proof := &flow.Proof{ClusterID: p.ClusterID, MemberID: p.MemberID, Revision: p.Revision, Keys: p.Keys, Members: l.Members}
	if revision > 0 && revision < p.Revision {
		if proof.Keys, err = c.KeysAt(ctx, revision); err != nil {
			return nil, err
		}
	}
	return proof, nil
}

// ---- the cluster that is to be joined ----

// clusterAt is a client of the endpoints, or of those of the configuration that are not this host's own. Once a plan has named the cluster, no other is
// asked: one that does not know a member would look as if that were removed.
func (w *world) clusterAt(ctx context.Context, endpoints []string) (*cluster.Client, error) {
	a := newAsker(w.d().next())
	switch {
	case len(endpoints) > 0:
		a.options.Endpoints = parseURLs(endpoints)
	case a.fixed:
		a.options.Endpoints = w.others(ctx, a.options.Endpoints)
	default:
		return nil, &flow.Trouble{Err: errors.New("cannot join: it is not known which cluster"),
			Remedy: "name a client URL of one of its members: --endpoint http://HOST:2379, or set cluster.endpoints"}
	}
	a.options.ClusterID = w.clusterID
	return cluster.NewClient(a.options)
}

// Members is the cluster's list.
func (w *world) Members(ctx context.Context, endpoints []string) (*status.Members, error) {
	c, err := w.clusterAt(ctx, endpoints)
	if err != nil {
		return nil, err
	}
	return c.Members(ctx)
}

// judgeTime bounds how long a cluster may take to say how it is.
const judgeTime = 10 * time.Second

// Judge says whether this host may join.
func (w *world) Judge(ctx context.Context, endpoints []string, replace bool) (*flow.Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, judgeTime)
	defer cancel()
	version, err := etcdVersion(ctx, w.d().next())
	if err != nil {
		return nil, err
	}
	if err := w.oneCluster(ctx, endpoints); err != nil {
		return nil, err
	}
	site := w.d().site()
	wish := status.JoinWish{Name: site.Name, PeerURLs: site.PeerURLs, Version: version, Replace: replace}
	wish.MaxLearners, _ = strconv.Atoi(w.d().next().Arg("max-learners")) // 0: etcd's default
	l, v, err := w.judgeStarted(ctx, endpoints, &wish)
	if err != nil {
		return nil, err
	}
	w.retype(v, w.allEndpoints(endpoints, l))
	out := &flow.Verdict{
		Members: l, Wait: v.Wait, Remedy: v.Remedy, Remove: v.Remove, Before: v.Before, After: v.After, Version: v.Version, Warnings: v.Warnings,
		Endpoints: w.allEndpoints(endpoints, l), Bytes: joinBytes(l),
	}
	switch {
	case v.Already != nil && v.Already.Learner:
		out.Learner = v.Already
		out.After.Voters++
	case v.OursToStart(&wish) && v.Leftover.Learner:
		out.Learner = v.Leftover
	default:
		out.Already, out.Down = v.Already, !site.Running
	}
	return out, w.refusal(l, v, &wish)
}

// judgeStarted waits a while for a voter of ours that was started a moment ago, until the cluster has heard of it.
func (w *world) judgeStarted(ctx context.Context, endpoints []string, wish *status.JoinWish) (*status.Members, *status.JoinVerdict, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := w.Members(ctx, endpoints)
		if err != nil {
			return nil, nil, err
		}
		wish.MemberID, wish.Alive = w.memberOf(l.ClusterID), w.alive(ctx, l)
		v := status.JudgeJoin(l, *wish)
		if st := w.d().loop.Status(); !v.OursToStart(wish) || v.Leftover.Learner || !isComing(st) {
			return l, &v, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return l, &v, nil
		}
	}
}

// isComing tells that etcd runs, or will without anybody's doing.
func isComing(st *status.Status) bool {
	return st.Goal == status.GoalUp && st.State != status.StateHeld
}

// memberOf is the member whose directory is here, if it is of that cluster.
func (w *world) memberOf(clusterID string) string {
	src, err := w.Look(w.d().next().DataDir())
	if err != nil || src.ClusterID != clusterID {
		return ""
	}
	return src.MemberID
}

// alive are the members that answer at a peer URL, beside this host's own.
func (w *world) alive(ctx context.Context, l *status.Members) []string {
	var urls []string
	of := map[string]string{}
	own := append(flagValues(w.d().machine.Running().Args, "--initial-advertise-peer-urls="), w.d().site().PeerURLs...)
	for _, m := range l.Members {
		for _, u := range m.PeerURLs {
			if !slices.Contains(own, u) {
				urls, of[u] = append(urls, u), m.ID
			}
		}
	}
	var alive []string
	for u, p := range w.Ask(ctx, urls, l.ClusterID) {
		if p == flow.PresenceAlive {
			alive = append(alive, of[u])
		}
	}
	return alive
}

// changeTime bounds a change of the member list: a cluster takes none for five seconds after the one before.
const changeTime = 30 * time.Second

// Add makes this host a learner.
func (w *world) Add(ctx context.Context, endpoints []string) (*flow.Joined, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	c, err := w.clusterAt(ctx, endpoints)
	if err != nil {
		return nil, err
	}
	site := w.d().site()
	a, err := c.AddLearner(ctx, site.Name, site.PeerURLs)
	if errors.Is(err, cluster.ErrTooManyLearners) {
		return nil, fmt.Errorf("%w: %w", flow.ErrTurn, err)
	}
	if err != nil {
		return nil, err
	}
	w.x.record(journal.Self(), journal.KindMembership, "added "+site.Name+" as a learner", map[string]string{"member": a.ID})
	return &flow.Joined{MemberID: a.ID, InitialCluster: a.InitialCluster}, nil
}

// Remove takes a member out of the list.
func (w *world) Remove(ctx context.Context, endpoints []string, id string) error {
	return w.change(ctx, endpoints, "removed", id, (*cluster.Client).Remove)
}

// Promote makes a learner a voter.
func (w *world) Promote(ctx context.Context, endpoints []string, id string) error {
	return w.change(ctx, endpoints, "promoted", id, (*cluster.Client).Promote)
}

func (w *world) change(ctx context.Context, endpoints []string, done, id string, do func(*cluster.Client, context.Context, *status.Peer) error) error {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	c, err := w.clusterAt(ctx, endpoints)
	if err != nil {
		return err
	}
	if err := do(c, ctx, &status.Peer{ID: id}); err != nil {
		return err
	}
	w.x.record(journal.Self(), journal.KindMembership, done+" member "+id, map[string]string{"member": id})
	return nil
}

// Catchup is how far this host's learner is.
func (w *world) Catchup(ctx context.Context, endpoints []string, id string) (flow.Catchup, error) {
	st := w.d().loop.Status()
	gone := w.deaths.see(st)
	c, err := w.clusterAt(ctx, endpoints)
	if err != nil {
		return flow.Catchup{}, err
	}
	var own []*url.URL
	if p := st.Process; p != nil && (st.Ready || time.Since(p.Started) > surelyServes) {
		own = parseURLs(clientURLs(w.d().next()))
	}
	p, err := c.CatchUp(ctx, own)
	trouble := errorText(err)
	switch {
	case ctx.Err() != nil:
		return flow.Catchup{}, ctx.Err()
	case st.State == status.StateHeld || st.Goal != status.GoalUp:
		return flow.Catchup{}, w.endedAtOnce(ctx, st)
	case trouble != "": // an etcd that ends may do so for want of the cluster
		return flow.Catchup{Trouble: trouble}, nil
	case gone:
		return flow.Catchup{}, w.endedAtOnce(ctx, st)
	case st.Process == nil:
		return flow.Catchup{Trouble: "etcd is being started: " + st.Reason}, nil
	case p.Answers:
		return flow.Catchup{Percent: p.Percent(), Bytes: p.DB, Ready: p.Ready()}, nil
	}
	snap := w.d().next().DataDir() + "/member/snap"
	p.Received = bytesIn(snap)
	introduced, _ := datadir.Introduced(snap+"/db", id) // amid the change of one database for another there is none to read
	return flow.Catchup{Percent: p.Percent(), Bytes: p.Received, Introduced: introduced, Age: time.Since(st.Process.Started)}, nil
}

// surelyServes is when a learner is asked although it has not said that it is ready: to ask one that does not answer
// takes a second, in which nothing else is seen.
const surelyServes = 10 * time.Second

// bytesIn is the size of all files in a folder: what a learner has received of a snapshot before it answers.
func bytesIn(dir string) (n int64) {
	entries, _ := os.ReadDir(dir) // not there yet: nothing
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}
