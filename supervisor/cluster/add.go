package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Added is a new member, before its first start.
type Added struct {
	ID string // hexadecimal
	// Members is the list as the add returned it, with the new member and without anybody's health.
	Members *status.Members
	// InitialCluster is for the first start: all members, those that were never started too.
	InitialCluster string
	Learner        bool // false: somebody has added it as a voter before, and there is nothing to promote
	Already        bool // it was there before, and nothing was added
}

// What an add can be refused for, beside the general.
var (
	ErrTooManyLearners = errors.New("the cluster takes no further learner before the others are promoted")
	ErrPeerURLTaken    = errors.New("a peer URL is another member's")
)

// AddLearner adds a learner with these peer URLs; name is what it will be called, for InitialCluster only. One that is
// there with exactly these URLs and was never started is found again, so an add whose outcome got lost can be repeated.
// One that was started is ErrPeerURLTaken: a second start of it, without its data, would harm the cluster.
func (c *Client) AddLearner(ctx context.Context, name string, peerURLs []string) (*Added, error) {
	if a := c.addedVoter(ctx, name, peerURLs); a != nil {
		return a, nil
	}
	var a *Added
	err := c.insist(ctx, "add a member at "+strings.Join(peerURLs, ", "), func(ctx context.Context, cl *clientv3.Client) (err error) {
		a, err = addOnce(ctx, cl, name, peerURLs)
		return err
	})
	return a, err
}

// addOnce looks first: an earlier try may have come through. One that comes through only after the look does no harm,
// since etcd has no two members with one peer URL.
func addOnce(ctx context.Context, cl *clientv3.Client, name string, peerURLs []string) (*Added, error) {
	list, err := cl.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	l := asListed(list.Header, list.Members)
	if m := l.At(peerURLs); m != nil {
		return found(l, m, name)
	}
	resp, err := cl.MemberAddAsLearner(ctx, peerURLs)
	switch {
	case errors.Is(err, rpctypes.ErrPeerURLExist):
		return foundLate(ctx, cl, name, peerURLs)
	case errors.Is(err, rpctypes.ErrTooManyLearners):
		return nil, fmt.Errorf("%w (%w)", ErrTooManyLearners, err)
	case err != nil:
		return nil, err
	}
	return added(asListed(resp.Header, resp.Members), hex(resp.Member.ID), name), nil
}

// foundLate looks once more: either an earlier try has come through in between, or only some of the URLs are taken.
func foundLate(ctx context.Context, cl *clientv3.Client, name string, peerURLs []string) (*Added, error) {
	list, err := cl.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	l := asListed(list.Header, list.Members)
	if m := l.At(peerURLs); m != nil {
		return found(l, m, name)
	}
	return nil, ErrPeerURLTaken
}

func found(l *status.Members, m *status.Peer, name string) (*Added, error) {
	if m.Started {
		return nil, fmt.Errorf("%w: of %s %s, which was started", ErrPeerURLTaken, m.Called(), m.ID)
	}
	a := added(l, m.ID, name)
	a.Already, a.Learner = true, m.Learner
	return a, nil
}

func added(l *status.Members, id, name string) *Added {
	return &Added{ID: id, Members: l, InitialCluster: l.InitialCluster(id, name), Learner: true}
}

// addedVoter finds a voter that was added at these URLs and never started, where there is no quorum: it may be what the
// cluster lacks. The list is one member's own then, which not every version gives (3.5 does not); nil: nothing of the kind.
func (c *Client) addedVoter(ctx context.Context, name string, peerURLs []string) *Added {
	ctx, cancel := context.WithTimeout(ctx, 2*chooseTime)
	defer cancel()
	best, err := c.choose(ctx)
	if err != nil || best.rank() == bestRank {
		return nil
	}
	var l *status.Members
	err = c.at(ctx, []string{best.url}, func(cl *clientv3.Client) error {
		list, err := cl.MemberList(ctx, clientv3.WithSerializable())
		if err == nil {
			l = asListed(list.Header, list.Members)
		}
		return err
	})
	if err != nil {
		return nil
	}
	m := l.At(peerURLs)
	if m == nil || m.Learner || m.Started {
		return nil
	}
	a, _ := found(l, m, name) // which fails for started ones only
	return a
}

func asListed(header *etcdserverpb.ResponseHeader, members []*etcdserverpb.Member) *status.Members {
	l := &status.Members{ClusterID: hex(header.ClusterId)}
	for _, m := range members {
		l.Members = append(l.Members, listed(m, header.MemberId))
	}
	sortPeers(l.Members)
	return l
}
