package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// ErrNoSuccessor is returned by TransferLeadership when this member leads others of which none answers.
var ErrNoSuccessor = errors.New("no other voting member answers")

// TransferLeadership hands leadership to the most caught-up of the other voters that answer, when this member has it
// and there are any; to is the name of the new leader. Neither a follower nor a cluster of one has anything to hand
// over: that is no error. It takes no longer than ctx allows and can be left out without harm: etcd tries on SIGTERM by itself.
func (c *Client) TransferLeadership(ctx context.Context) (moved bool, to string, err error) {
	me, _, err := c.Status(ctx)
	if err != nil {
		return false, "", err
	}
	if me.Role != status.RoleLeader {
		return false, "", nil
	}
	err = c.at(ctx, c.o.urls(), func(cl *clientv3.Client) error {
		moved, to, err = c.handOver(ctx, cl, me)
		return err
	})
	if err != nil {
		return false, "", fmt.Errorf("cannot transfer leadership: %w", plain(ctx, err))
	}
	return moved, to, nil
}

func (c *Client) handOver(ctx context.Context, cl *clientv3.Client, me *status.Member) (bool, string, error) {
	list, err := cl.MemberList(ctx, clientv3.WithSerializable()) // versions before 3.6 read linearizably all the same
	if err != nil {
		return false, "", err
	}
	others := voters(list.Members, me.ID)
	if len(others) == 0 {
		return false, "", nil
	}
	best := c.successor(ctx, others)
	if best == nil {
		return false, "", ErrNoSuccessor
	}
	if _, err := cl.MoveLeader(ctx, best.ID); err != nil {
		return false, "", err
	}
	return true, best.Name, nil
}

// voters are the started voting members without me.
func voters(members []*etcdserverpb.Member, me string) []*etcdserverpb.Member {
	return slices.DeleteFunc(slices.Clone(members), func(m *etcdserverpb.Member) bool {
		return hex(m.ID) == me || m.IsLearner || len(m.ClientURLs) == 0
	})
}

// askTimeout is for the others to say how far they are; whoever takes longer is no good successor.
const askTimeout = time.Second

// candidate is how far a member is; nil for one that did not answer or has an alarm.
type candidate struct {
	member *etcdserverpb.Member
	index  uint64
}

// successor asks all at once and returns the most caught-up, nil when none answers.
func (c *Client) successor(ctx context.Context, others []*etcdserverpb.Member) *etcdserverpb.Member {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make(chan *candidate, len(others))
	for _, m := range others {
		go func() { answers <- c.candidate(ctx, m) }() // ends with ctx at the latest
	}
	var known []*candidate
	for range others {
		if a := <-answers; a != nil {
			known = append(known, a)
		}
	}
	if len(known) == 0 {
		return nil
	}
	return slices.MaxFunc(known, func(a, b *candidate) int { return cmp.Compare(a.index, b.index) }).member
}

func (c *Client) candidate(ctx context.Context, m *etcdserverpb.Member) *candidate {
	r, err := c.statusOf(ctx, m.ClientURLs)
	if err != nil || len(r.Errors) > 0 {
		return nil
	}
	return &candidate{m, r.RaftAppliedIndex}
}
