package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

const (
	// DataBootstrap is its initial-cluster: what its starts are to be made with, as long as it has no WAL.
	DataBootstrap = "bootstrap"
)

var joinSteps = []step{
	{Step: status.Step{Name: "check"}, do: checkJoin},
	{Step: status.Step{Name: "stop"}, do: unlessIn(stopEtcd), undo: startAgain},
	{Step: status.Step{Name: "set-aside"}, do: unlessIn(setAside), undo: putBack},
	{Step: status.Step{Name: "remove"}, do: unlessIn(removeDead)},
	{Step: status.Step{Name: "add"}, do: unlessIn(addLearner), undo: removeLearner},
	{Step: status.Step{Name: "start"}, do: startLearner, undo: stopLearner},
	{Step: status.Step{Name: "catch-up"}, do: catchUp},
	{Step: status.Step{Name: "promote"}, do: promote, undo: takeBackVote},
	{Step: status.Step{Name: "verify", Final: true}, do: verifyVoter},
}

// Names of facts that the steps of a join go by.
const (
	factEndpoints = "endpoints" // client URLs of the cluster, by comma
	factLearner   = "learner"   // ID of the learner that this host is already
)

// PlanJoin makes the plan of a join, or says why there must be none. Nothing is changed.
func PlanJoin(ctx context.Context, site Site, w World, ask status.ModeRequest) (*status.Plan, error) {
	v, err := w.Judge(ctx, ask.Endpoints, ask.Replace)
	if err := together(site.fit(), err); err != nil {
		return nil, err
	}
	p := &status.Plan{Request: ask, Warnings: v.Warnings}
	if v.Already != nil {
		p.Nothing = fmt.Sprintf("this host is member %s %s of cluster %s already", v.Already.Called(), v.Already.ID, v.Members.ClusterID)
		if v.Down {
			p.Nothing += ", but its etcd is down; start it: " + site.Command + " start"
		}
		return p, nil
	}
	p.Facts = joinFacts(site, v)
	if v.Learner != nil {
		p.Steps = joinPlanSteps(site, v, false)
		return p, nil
	}
	src, err := w.Look(site.DataDir)
	if err != nil {
		return nil, err
	}
	if err := w.Room(site.DataDir, v.Bytes); err != nil {
		return nil, troublef("make room there, or name another etcd.args.data-dir", "cannot join cluster %s: %w", v.Members.ClusterID, err)
	}
	p.Warnings = append(p.Warnings, joinWarnings(v, src)...)
	p.Steps = joinPlanSteps(site, v, !src.Empty)
	return p, nil
}

func joinFacts(site Site, v *Verdict) []status.Fact {
	facts := []status.Fact{
		{Name: "cluster", Value: v.Members.ClusterID}, {Name: "now", Value: v.Before.String()}, {Name: "then", Value: v.After.String()},
		etcdFact(site), {Name: factEndpoints, Value: strings.Join(v.Endpoints, ",")},
	}
	facts = append(facts, site.facts()...)
	if v.Remove != nil {
		facts = append(facts, status.Fact{Name: "remove", Value: v.Remove.ID})
	}
	if v.Learner != nil {
		facts = append(facts, status.Fact{Name: factLearner, Value: v.Learner.ID})
	}
	return facts
}

func joinWarnings(v *Verdict, src *Source) (warnings []string) {
	if v.Wait != "" {
		warnings = append(warnings, v.Wait+": this join waits for it, "+turnTime.String()+" at most")
	}
	listed := slices.ContainsFunc(v.Members.Members, func(m status.Peer) bool { return strings.EqualFold(m.ID, src.MemberID) })
	if !src.Empty && src.ClusterID == v.Members.ClusterID && !listed {
		warnings = append(warnings, "the directory here is of the same cluster: member "+src.MemberID+" is not in its list any more")
	}
	return warnings
}

func joinPlanSteps(site Site, v *Verdict, data bool) []status.Step {
	fresh := v.Learner == nil
	return choose(joinSteps, func(name string) (does, undo string, yes bool) {
		switch name {
		case "check":
			return "asks cluster " + v.Members.ClusterID + " once more whether it is healthy and can take a member", "", true
		case "stop":
			undo := "nothing: etcd is down now"
			if site.Running {
				undo = "starts etcd again"
			}
			return "stops the etcd of this instance and keeps it down", undo, fresh
		case "set-aside":
			return "renames " + site.DataDir + " to " + site.DataDir + ".aside-…", "renames it back", fresh && data
		case "remove":
			if v.Remove == nil {
				return "", "", false
			}
			return fmt.Sprintf("removes the dead member %s %s, which has this host's place", v.Remove.Called(), v.Remove.ID), "", fresh
		case "add":
			return fmt.Sprintf("adds %s at %s to the cluster as a learner, which has no vote", site.Name, strings.Join(site.PeerURLs, ",")), "removes it", fresh
		case "start":
			return startText(site, v)
		case "catch-up":
			return "waits until it has what the leader has, and starts etcd again, once, if it then serves nobody", "", true
		case "promote":
			return promoteText(v)
		}
		return "verifies it: a started voter of cluster " + v.Members.ClusterID + " that reads and writes", "", true
	})
}

func startText(site Site, v *Verdict) (does, undo string, yes bool) {
	switch {
	case v.Learner == nil:
		return "starts etcd with the member list that the cluster gave", "stops it and renames its directory away", true
	case site.Running:
		return "sees to it that etcd runs, as learner " + v.Learner.ID + ", whose join has not come to its end", "", true
	}
	return "starts etcd with the data that it has, as learner " + v.Learner.ID + ", whose join has not come to its end", "", true
}

func promoteText(v *Verdict) (does, undo string, yes bool) {
	if v.Learner != nil {
		return "makes it a voter", "", true
	}
	return "makes it a voter", "removes it from the cluster if it is a voter, before its etcd is stopped", true
}

// endpoints are where the cluster is asked, by whichever of its members still answers.
func (r *run) endpoints() []string {
	if all := r.fact(factEndpoints); all != "" {
		return strings.Split(all, ",")
	}
	return r.ask.Endpoints
}

// member is the ID of this host's new member; empty: none was added yet.
func (r *run) member() string { return cmp.Or(r.fact(factLearner), r.data[dataMember]) }

// continues tells that the learner was there before.
func (r *run) continues() bool { return r.fact(factLearner) != "" }

// dataIn says that the host was found to be in the cluster already although the journal had not come so far.
const dataIn = "in"

// unlessIn is a step that there is no need for, and that would do harm, where this host is a member by its data.
func unlessIn(do func(context.Context, *run) error) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		if r.data[dataIn] != "" {
			return nil
		}
		return do(ctx, r)
	}
}

// Bounds of the waits for others.
const (
	// turnTime is how long a join waits for that of another host, which may have much data to fetch.
	turnTime = 10 * time.Minute
	// settleTime is for a cluster that was found fit a moment ago and is not now: a leader is being elected, or a new
	// voter has just come.
	settleTime = 15 * time.Second
	turnEvery  = 500 * time.Millisecond
)

func checkJoin(ctx context.Context, r *run) error {
	v, err := r.myTurn(ctx)
	if err != nil {
		return err
	}
	if want := r.fact("cluster"); v.Members.ClusterID != want {
		return troublef("check the endpoints", "the cluster there is %s now, and was %s in the plan", v.Members.ClusterID, want)
	}
	if in := cmp.Or(v.Already, v.Learner); in != nil && !r.continues() {
		r.keep(dataIn, "yes")
		r.keep(dataMember, in.ID)
	}
	return nil
}

// myTurn judges until no other host's join is in the way.
func (r *run) myTurn(ctx context.Context) (*Verdict, error) {
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	began := time.Now()
	waited := began // until when there was something to wait for
	for {
		v, err := r.Judge(ctx, r.endpoints(), r.ask.Replace)
		now := time.Now()
		switch {
		case err == nil && v.Wait == "":
			return v, nil
		case err == nil && now.Sub(began) > turnTime:
			return nil, troublef(v.Remedy, "the join of another host did not come to its end within %v: %s", turnTime, v.Wait)
		case err == nil:
			waited = now
			r.Progress(waitText(v.Wait, now.Sub(began)))
		case now.Sub(waited) > settleTime || ctx.Err() != nil:
			return nil, err
		default:
			r.Progress("asks again: " + err.Error())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func waitText(why string, since time.Duration) string {
	return fmt.Sprintf("waits, %v of %v at most: %s", since.Round(time.Second), turnTime, why)
}

func removeDead(ctx context.Context, r *run) error {
	return r.Remove(ctx, r.endpoints(), r.fact("remove"))
}

// addLearner takes the learner that this host is by its data for the one that was added: its start has come before
// what the journal tells.
func addLearner(ctx context.Context, r *run) error {
	if id := r.listedHere(ctx); id != "" {
		r.keep(dataMember, id)
		return nil
	}
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	for began := time.Now(); ; {
		j, err := r.Add(ctx, r.endpoints())
		if err == nil {
			r.keep(dataMember, j.MemberID)
			r.keep(DataBootstrap, j.InitialCluster)
			return nil
		}
		if !errors.Is(err, ErrTurn) || time.Since(began) > turnTime {
			return err
		}
		r.Progress(waitText(err.Error(), time.Since(began)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listedHere is the member of the cluster whose data is in the data directory; empty: none.
func (r *run) listedHere(ctx context.Context) string {
	src, err := r.Look(r.DataDir)
	if err != nil || src.Empty || src.MemberID == "" || !strings.EqualFold(src.ClusterID, r.fact("cluster")) {
		return ""
	}
	l, err := r.Members(ctx, r.endpoints())
	if err != nil || !slices.ContainsFunc(l.Members, func(m status.Peer) bool { return strings.EqualFold(m.ID, src.MemberID) }) {
		return ""
	}
	return src.MemberID
}

// startLearner starts in an empty directory, or goes on with the learner's own.
func startLearner(ctx context.Context, r *run) error {
	if !r.Holds(r.DataDir) {
		if r.continues() {
			return troublef("put it back; if it is lost: "+r.Command+" mode join --replace", "the data of learner %s is not in %s any more", r.member(), r.DataDir)
		}
		if err := r.Expect(r.fact("cluster"), ""); err != nil {
			return err
		}
		return r.Launch(ctx, r.data[DataBootstrap])
	}
	if !r.isLearners() {
		return fmt.Errorf("cannot start a learner in %s: there is the data of another member", r.DataDir)
	}
	return r.Launch(ctx, r.data[DataBootstrap])
}

// isLearners tells whether what is in the data directory is the new member's, as far as it says whose it is.
func (r *run) isLearners() bool {
	src, err := r.Look(r.DataDir)
	return err != nil || src.Empty || src.MemberID == "" || strings.EqualFold(src.MemberID, r.member())
}

func verifyVoter(ctx context.Context, r *run) error {
	p, err := r.Prove(ctx, 0)
	if err != nil {
		return err
	}
	if want := r.fact("cluster"); p.ClusterID != want || p.MemberID != r.member() {
		return fmt.Errorf("etcd here is member %s of cluster %s, not %s of %s", p.MemberID, p.ClusterID, r.member(), want)
	}
	i := slices.IndexFunc(p.Members, func(m status.Peer) bool { return m.ID == p.MemberID })
	if i < 0 || p.Members[i].Learner || !slices.Equal(p.Members[i].PeerURLs, r.PeerURLs) {
		return fmt.Errorf("the cluster does not list this host as a voter at %s: %s", strings.Join(r.PeerURLs, ","), membersText(p.Members))
	}
	l := status.Members{Members: p.Members}
	r.say("this host is voter %s %s of cluster %s: %s", r.Name, p.MemberID, p.ClusterID, l.Count())
	r.say("revision %d, %d keys", p.Revision, p.Keys)
	return nil
}
