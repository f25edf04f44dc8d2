package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Members asks one member for the cluster's list and each member for how it is. Without a quorum the list is that
// member's own, marked stale.
func (c *Client) Members(ctx context.Context) (*status.Members, error) {
	var l *status.Members
	err := c.with(ctx, func(cl *clientv3.Client) error {
		resp, stale, err := memberList(ctx, cl)
		if err != nil {
			return err
		}
		l = c.describe(ctx, resp, stale, cl.Endpoints())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the members at %s: %w", c.where(), plain(ctx, err))
	}
	return l, nil
}

// memberList reads the list through the quorum, or else, once that takes too long, from the member alone.
// Versions before 3.6 know only the one way.
func memberList(ctx context.Context, cl *clientv3.Client) (*clientv3.MemberListResponse, bool, error) {
	quick, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	resp, err := cl.MemberList(quick)
	if err == nil || wantsLogin(err) {
		return resp, false, err
	}
	resp, err = cl.MemberList(ctx, clientv3.WithSerializable())
	return resp, true, err
}

// describe asks all members at once how they are. asked is how the one was reached that gave the list.
func (c *Client) describe(ctx context.Context, resp *clientv3.MemberListResponse, stale bool, asked []string) *status.Members {
	l := &status.Members{ClusterID: hex(resp.Header.ClusterId), Stale: stale, Members: make([]status.Peer, len(resp.Members))}
	var answers sync.WaitGroup
	for i, m := range resp.Members {
		p := &l.Members[i]
		*p = listed(m, resp.Header.MemberId)
		urls := m.ClientURLs
		if p.Self {
			urls = asked // the way that is known to work
		}
		answers.Go(func() { c.visit(ctx, p, urls) }) // ends with askTimeout at the latest
	}
	answers.Wait()
	sortPeers(l.Members)
	return l
}

func sortPeers(peers []status.Peer) {
	slices.SortFunc(peers, func(a, b status.Peer) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
}

// listed is what the list alone says of a member.
func listed(m *etcdserverpb.Member, self uint64) status.Peer {
	return status.Peer{
		ID: hex(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs,
		Learner: m.IsLearner, Started: len(m.ClientURLs) > 0, Self: m.ID == self,
	}
}

// visit asks a member how it is.
func (c *Client) visit(ctx context.Context, p *status.Peer, urls []string) {
	if !p.Started {
		p.Trouble = "never started"
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := c.statusOf(ctx, urls)
	if err != nil {
		p.Trouble = plain(ctx, err).Error()
		return
	}
	describeSelf(p, r)
}

// describeSelf adds a member's answer about itself.
func describeSelf(p *status.Peer, r *clientv3.StatusResponse) {
	p.Version, p.Applied, p.Revision, p.DBSize = r.Version, r.RaftAppliedIndex, r.Header.Revision, r.DbSize
	p.Leader = hex(r.Leader) == p.ID
	switch {
	case hex(r.Header.MemberId) != p.ID:
		p.Trouble = "another member answers at its client URL: " + hex(r.Header.MemberId)
	case r.Leader == 0:
		p.Trouble = status.TroubleNoLeader
	default:
		p.Healthy = true
		p.Trouble = strings.Join(r.Errors, "; ") // alarms: it votes all the same
	}
}

// statusOf asks the member behind the URLs, at the first of them.
func (c *Client) statusOf(ctx context.Context, urls []string) (r *clientv3.StatusResponse, err error) {
	err = c.at(ctx, urls, func(cl *clientv3.Client) (err error) {
		r, err = cl.Status(ctx, urls[0])
		return err
	})
	return r, err
}
