package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Of a member only its ID needs to be known for a change. Each change can be repeated: what was done already is no error.

// Remove takes a member out of the cluster. What it may do to the quorum is the caller's to judge, see
// status.Members.Removal. One that is gone already is no error: so the endpoints must be of the right cluster, for which
// there is Options.ClusterID.
func (c *Client) Remove(ctx context.Context, p *status.Peer) error {
	return c.reconfigure(ctx, "remove", p, func(ctx context.Context, cl *clientv3.Client, id uint64) error {
		_, err := cl.MemberRemove(ctx, id)
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			return nil
		}
		return err
	})
}

// Promote makes a learner a voter, as soon as it has caught up: until then it is tried again while ctx allows. A voter is
// left as it is.
func (c *Client) Promote(ctx context.Context, p *status.Peer) error {
	return c.reconfigure(ctx, "promote", p, func(ctx context.Context, cl *clientv3.Client, id uint64) error {
		_, err := cl.MemberPromote(ctx, id)
		if errors.Is(err, rpctypes.ErrMemberNotLearner) {
			return nil
		}
		return err
	})
}

// UpdatePeerURLs changes the URLs under which a member's peers reach it.
func (c *Client) UpdatePeerURLs(ctx context.Context, p *status.Peer, urls []string) error {
	return c.reconfigure(ctx, "update the peer URLs of", p, func(ctx context.Context, cl *clientv3.Client, id uint64) error {
		_, err := cl.MemberUpdate(ctx, id, urls)
		return err
	})
}

func (c *Client) reconfigure(ctx context.Context, what string, p *status.Peer, do func(context.Context, *clientv3.Client, uint64) error) error {
	id, err := strconv.ParseUint(p.ID, 16, 64)
	if err != nil {
		return fmt.Errorf("cannot %s member %q: its ID is not hexadecimal", what, p.ID)
	}
	return c.insist(ctx, what+" member "+p.Called(), func(ctx context.Context, cl *clientv3.Client) error { return do(ctx, cl, id) })
}

const (
	// changeEvery is the pause between two tries. A join spends most of its time in such waits.
	changeEvery = 100 * time.Millisecond
	// patience is how long refusals are waited out that go by themselves. etcd refuses changes until the member that is
	// asked has been connected to the others for five seconds, and a new leader takes some more.
	patience = 30 * time.Second
)

// insist tries a change until it is made, is refused for good, or patience or ctx ends. A learner that is not in sync is
// waited for as long as ctx allows. Each try may go to another member, and its outcome may have got lost: the change
// must be one that can be repeated.
func (c *Client) insist(ctx context.Context, what string, try func(context.Context, *clientv3.Client) error) error {
	pause := time.NewTicker(changeEvery)
	defer pause.Stop()
	began := time.Now()
	var last error // the newest refusal: what is cut short by ctx has nothing to say
	for first := true; ; first = false {
		err := c.attempt(ctx, try)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && last != nil:
			return fmt.Errorf("cannot %s: %w: %w", what, ctx.Err(), last)
		case errors.Is(err, rpctypes.ErrMemberLearnerNotReady):
			began = time.Now()
		case first && errors.Is(err, errNobody) || !passing(err):
			return fmt.Errorf("cannot %s: %w", what, plain(ctx, err))
		case time.Since(began) > patience:
			return fmt.Errorf("cannot %s: for %v now: %w", what, patience, err)
		}
		last = err
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot %s: %w: %w", what, ctx.Err(), last)
		}
	}
}

// errNoReply is of a try that may have been carried out.
var errNoReply = errors.New("no reply")

func (c *Client) attempt(ctx context.Context, try func(context.Context, *clientv3.Client) error) error {
	once, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	err := c.atLeader(once, func(cl *clientv3.Client) error { return try(once, cl) })
	if err != nil && once.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w in %v", errNoReply, attemptTime)
	}
	return err
}

// passing tells a refusal that goes by itself, or an outcome that is not known.
func passing(err error) bool {
	for _, e := range []error{
		errNoReply, errNoLeader, errNobody,
		rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotEnoughStarted, rpctypes.ErrMemberLearnerNotReady,
		rpctypes.ErrLeaderChanged, rpctypes.ErrNoLeader, rpctypes.ErrNotLeader, rpctypes.ErrStopped,
		rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrTimeoutWaitAppliedIndex,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return grpcstatus.Code(err) == codes.Unavailable
}
