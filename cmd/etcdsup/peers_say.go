package main

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/cluster"
	"github.com/etcdsup/etcdsup/supervisor/datadir"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// peersWait is how long a start waits for what the peers say. It is not made at a restart after a crash, and a peer that
// is down says so at once.
const peersWait = time.Second

// peersSay asks the other members what the cluster is, before etcd is started on data that was just looked at: those
// that the data knows, or in an empty directory those that the configuration names. Nil: there are none, or none answers,
// or they do not agree.
func (d *daemon) peersSay(r *datadir.Report) *status.Members {
	urls := otherPeers(d.next(), r)
	if len(urls) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), peersWait)
	defer cancel()
	return agreed(cluster.AskPeers(ctx, urls, peerFiles(d.next())))
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
