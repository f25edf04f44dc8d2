package cluster

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// CatchUp is how far a learner is on the way to what the leader has.
type CatchUp struct {
	At time.Time
	// Answers says that the learner serves, which etcd does only when it has nearly all: while it receives a snapshot it
	// says nothing. Its three figures are 0 until then.
	Answers bool
	Applied uint64 // raft index of what the learner has in its database
	Index   uint64 // raft index of what it knows to be committed
	DB      int64  // bytes of its database

	LeaderIndex uint64
	LeaderDB    int64
	// Received is for the caller to fill in: the bytes that the learner's directory has so far, for as long as it is silent.
	Received int64
}

// Percent is the part that the learner has, 0 to 100. Before the learner answers it goes by the bytes and stays below 100.
func (p CatchUp) Percent() int {
	if p.Answers {
		return int(min(100, 100*float64(p.Applied)/float64(max(1, p.LeaderIndex))))
	}
	return int(min(99, 100*float64(p.Received)/float64(max(1, p.LeaderDB))))
}

// Speed is in bytes a second since an earlier look; 0: nothing came.
func (p CatchUp) Speed(earlier CatchUp) float64 {
	took := p.At.Sub(earlier.At).Seconds()
	if took <= 0 {
		return 0
	}
	return max(0, float64(max(p.DB, p.Received)-max(earlier.DB, earlier.Received))/took)
}

// Ready says that a promotion is worth a try: etcd wants nine tenths of the leader's log.
func (p CatchUp) Ready() bool { return p.Answers && p.Applied*10 >= p.LeaderIndex*9 }

// CatchUp compares a learner, by its own client URLs, with the leader, or the member that is asked where the leader's
// client URLs do not lead to it. That the learner does not answer is no error.
func (c *Client) CatchUp(ctx context.Context, learner []*url.URL) (CatchUp, error) {
	best, err := c.choose(ctx)
	if err != nil {
		return CatchUp{}, fmt.Errorf("cannot ask the cluster how far its leader is: %w", plain(ctx, err))
	}
	if leader := c.leaderAt(ctx, best); leader != nil {
		best = leader
	}
	p := CatchUp{LeaderIndex: best.answer.RaftIndex, LeaderDB: best.answer.DbSize, At: time.Now()}
	for _, u := range learner {
		quick, cancel := context.WithTimeout(ctx, askTimeout)
		r, err := c.statusOf(quick, []string{u.String()})
		cancel()
		if err == nil && r.Header.ClusterId == best.answer.Header.ClusterId {
			p.Answers, p.Applied, p.Index, p.DB = true, r.RaftAppliedIndex, r.RaftIndex, r.DbSize
			p.At = time.Now()
			break
		}
	}
	return p, nil
}
