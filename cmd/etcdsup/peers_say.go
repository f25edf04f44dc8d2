package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// peersWait is how long a start waits for what the peers say. It is not made at a restart after a crash, and a peer that
// is down says so at once.
const peersWait = time.Second

// peersSay asks the other members what the cluster is, before etcd is started on data that was just looked at: those
// that the data knows, or in an empty directory those that the configuration names. The list is nil where there are none,
// or none answers, or they do not agree. The twin is the member of the data itself, if it is alive elsewhere.
func (d *daemon) peersSay(r *datadir.Report) (*status.Members, *supervisor.Twin) {
	c := d.next()
	others, own := otherPeers(c, r), status.Peer{PeerURLs: c.ArgValues("initial-advertise-peer-urls")}
	ctx, cancel := context.WithTimeout(context.Background(), peersWait)
	defer cancel()
	ask := func(urls []string) []status.PeerAnswer { return cluster.AskPeers(ctx, urls, peerFiles(c)) }
	answers := ask(slices.Concat(others, elsewhere(r, nil, &own)))
	list := agreed(answers[:len(others)])
	return list, twin(r, elsewhere(r, list, &own), answers, ask)
}

// elsewhere are the peer URLs at which the member of the data is to be found by what the peers say, or else by what the
// data itself does: none, if this host is at one of them, as every member is that was not moved.
func elsewhere(r *datadir.Report, list *status.Members, own *status.Peer) (urls []string) {
	for _, m := range r.Members {
		if r.MemberID != "" && strings.EqualFold(m.ID, r.MemberID) {
			urls = m.PeerURLs
		}
	}
	if list != nil {
		if m, _ := list.Find(r.MemberID); m != nil {
			urls = m.PeerURLs
		}
	}
	if len(own.PeerURLs) == 0 || own.HasAny(urls) {
		return nil
	}
	return urls
}

// twin looks for an etcd of the data's cluster at the peer URLs of its member. Those that were not asked yet are asked.
func twin(r *datadir.Report, urls []string, answers []status.PeerAnswer, ask func([]string) []status.PeerAnswer) *supervisor.Twin {
	unasked := slices.DeleteFunc(slices.Clone(urls), func(u string) bool {
		return slices.ContainsFunc(answers, func(a status.PeerAnswer) bool { return a.URL == u })
	})
	answers = slices.Concat(answers, ask(unasked))
	for i := range answers {
		if a := &answers[i]; slices.Contains(urls, a.URL) && a.Of(r.ClusterID) {
			return &supervisor.Twin{URL: a.URL, Of: a.List()}
		}
	}
	return nil
}

// otherPeers are the peer URLs of all but this member.
func otherPeers(c *config.Config, r *datadir.Report) []string {
	var urls []string
	for _, m := range r.Members {
		if m.ID != r.MemberID {
			urls = append(urls, m.PeerURLs...)
		}
	}
	if len(r.Members) > 0 {
		return urls
	}
	return configuredPeers(c)
}

// configuredPeers are the peer URLs of the others that the configuration names.
func configuredPeers(c *config.Config) (urls []string) {
	for _, a := range c.Etcd.Args {
		if a.Name != "initial-cluster" {
			continue
		}
		for _, entry := range strings.Split(a.Value(), ",") {
			if name, u, ok := strings.Cut(entry, "="); ok && name != c.Arg("name") {
				urls = append(urls, u)
			}
		}
	}
	return urls
}

// agreed is the list that all have who answer. Each has only its own view, and one that lags behind knows less: where
// they differ, none is believed.
func agreed(answers []status.PeerAnswer) *status.Members {
	var list *status.Members
	for i := range answers {
		l := answers[i].List()
		switch {
		case l == nil:
		case list == nil:
			list = l
		case !strings.EqualFold(l.ClusterID, list.ClusterID) || !maps.Equal(started(l), started(list)):
			return nil
		}
	}
	return list
}

// started are the IDs of a list's members, and which of them have run.
func started(l *status.Members) map[string]bool {
	all := map[string]bool{}
	for _, m := range l.Members {
		all[m.ID] = m.Started
	}
	return all
}
