package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/flow"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// refusal is why a join must not be; nil: it may.
func (w *world) refusal(l *status.Members, v *status.JoinVerdict, wish *status.JoinWish) error {
	cannot := func(remedy, format string, args ...any) error {
		return &flow.Trouble{Err: fmt.Errorf("cannot join cluster %s: "+format, append([]any{l.ClusterID}, args...)...), Remedy: remedy}
	}
	switch {
	case v.Refuse != "":
		return cannot(v.Remedy, "%s", v.Refuse)
	case v.Already != nil && !strings.EqualFold(v.Already.ID, wish.MemberID):
		return cannot("give this host a name and a peer URL of its own, in the configuration; if it is that member, name its directory in etcd.args.data-dir",
			"member %s %s is alive and has our name and our peer URL %s, but its data is not in %s", v.Already.Called(), v.Already.ID, strings.Join(v.Already.PeerURLs, ","), w.d().next().DataDir())
	case v.OursToStart(wish) && v.Leftover.Learner: // its join is completed
		return nil
	case v.OursToStart(wish) && isComing(w.d().loop.Status()):
		return cannot("see "+w.d().g.commandLine("status")+", and ask again once etcd is ready",
			"this host is its member %s, whose etcd was started, but the cluster has not heard of that yet", wish.MemberID)
	case v.OursToStart(wish):
		return cannot("start it: "+w.d().g.commandLine("start")+"; or give its data up with --replace", "the data here is of its member %s, which does not run", wish.MemberID)
	}
	return nil
}

// retype makes the commands of a verdict such as can be typed here: for this instance, and asking that cluster, which is
// not the one that its etcd is in.
func (w *world) retype(v *status.JoinVerdict, endpoints []string) {
	at := ""
	if len(endpoints) > 0 {
		at = " --endpoint " + endpoints[0]
	}
	var pairs []string
	for _, verb := range []string{"mode join", "member list", "member remove", "member update-url"} {
		pairs = append(pairs, "etcdsup "+verb, w.d().g.commandLine(verb)+at)
	}
	typed := strings.NewReplacer(pairs...)
	v.Remedy = typed.Replace(v.Remedy)
	for i := range v.Warnings {
		v.Warnings[i] = typed.Replace(v.Warnings[i])
	}
}

// others are the endpoints that do not lead to the etcd of this host, which is not the cluster that it is to join. Where
// there are no others, it is for the list to say that it is in.
func (w *world) others(ctx context.Context, endpoints []*url.URL) []*url.URL {
	c := w.d().next()
	own := ownAmong(ctx, endpoints, parseURLs(slices.Concat(c.ArgValues("advertise-client-urls"), c.ArgValues("listen-client-urls"))))
	others := slices.DeleteFunc(slices.Clone(endpoints), func(u *url.URL) bool { return slices.Contains(own, u) })
	if len(others) == 0 {
		return endpoints
	}
	return others
}

// oneCluster refuses endpoints of more than one cluster, as long as none was chosen: that which answers first would be.
func (w *world) oneCluster(ctx context.Context, endpoints []string) error {
	if w.clusterID != "" {
		return nil
	}
	c, err := w.clusterAt(ctx, endpoints)
	if err != nil {
		return err
	}
	found := c.Clusters(ctx)
	if len(found) > 1 {
		return &flow.Trouble{Err: fmt.Errorf("cannot join: the endpoints are of %d clusters: %s", len(found), clustersText(found)),
			Remedy: "name those of one cluster: --endpoint http://HOST:2379, or mend cluster.endpoints"}
	}
	return nil
}

func clustersText(found map[string][]string) string {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(found)) {
		parts = append(parts, id+" at "+strings.Join(found[id], ","))
	}
	return strings.Join(parts, ", and ")
}

// allEndpoints are those that were asked and the client URLs of all members that have one.
func (w *world) allEndpoints(asked []string, l *status.Members) []string {
	all := slices.Clone(asked)
	if len(all) == 0 {
		for _, u := range newAsker(w.d().next()).options.Endpoints {
			all = append(all, u.String())
		}
	}
	for i := range l.Members {
		for _, u := range l.Members[i].ClientURLs {
			if !slices.Contains(all, u) {
				all = append(all, u)
			}
		}
	}
	return all
}

// walBytes is what etcd takes for its WAL from the beginning: a segment, and the next one.
const walBytes = 2 * 64 << 20

// joinBytes is what a new member needs on its disk at least.
func joinBytes(l *status.Members) int64 {
	var db int64
	for i := range l.Members {
		db = max(db, l.Members[i].DBSize)
	}
	return db + walBytes
}

// maxDeaths is how often a learner may die before it is given up: one that was killed comes back, one that cannot live
// where it is does not.
const maxDeaths = 3

// deaths counts those of etcd from the first look on.
type deaths struct {
	looked bool
	last   time.Time
	n      int
}

// see tells whether there were too many.
func (d *deaths) see(st *status.Status) bool {
	at := deathTime(st)
	if d.looked && at.After(d.last) {
		d.n++
	}
	d.looked, d.last = true, at
	return d.n >= maxDeaths
}
