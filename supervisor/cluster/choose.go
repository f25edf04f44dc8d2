package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// chosen is one endpoint's answer to the question who it is.
type chosen struct {
	url    string
	answer *clientv3.StatusResponse
	err    error
}

// rank is how good a choice it is: a voter that knows a leader can be asked for anything.
func (a chosen) rank() int {
	switch {
	case a.err != nil:
		return 0
	case a.answer.Leader == 0:
		return 1
	case a.answer.IsLearner:
		return 2
	}
	return 3
}

const bestRank = 3

// errNobody says that no endpoint answers, or none of the cluster that is meant.
var errNobody = errors.New("no endpoint can be used")

// choose asks all endpoints at once who they are, and takes the first that is good, or else the best that answers
// within chooseTime. Each is asked over a connection of its own: a client with several endpoints would send each request
// to another member, also to one that hangs or is of another cluster.
func (c *Client) choose(ctx context.Context) (*chosen, error) {
	ctx, cancel := context.WithTimeout(ctx, chooseTime)
	defer cancel()
	urls := c.o.urls()
	answers := make(chan chosen, len(urls))
	for _, u := range urls {
		go func() { answers <- c.introduce(ctx, u) }() // ends with ctx, which ends with this function
	}
	var all []chosen
	for range urls {
		a := <-answers
		if a.rank() == bestRank {
			return &a, nil
		}
		all = append(all, a)
	}
	best := slices.MaxFunc(all, func(a, b chosen) int { return a.rank() - b.rank() })
	if best.err == nil {
		return &best, nil
	}
	return nil, nobody(all)
}

// Clusters are the clusters whose members answer at the endpoints, with those endpoints in their order. Of one endpoint
// there is nothing to tell apart, and nobody is asked. It takes two seconds at most.
func (c *Client) Clusters(ctx context.Context) map[string][]string {
	ctx, cancel := context.WithTimeout(ctx, chooseTime)
	defer cancel()
	urls := c.o.urls()
	if len(urls) < 2 {
		return nil
	}
	all := make([]chosen, len(urls))
	var asked sync.WaitGroup
	for i, u := range urls {
		asked.Go(func() { all[i] = c.introduce(ctx, u) }) // ends with ctx at the latest
	}
	asked.Wait()
	found := map[string][]string{}
	for _, a := range all {
		if a.err == nil {
			id := hex(a.answer.Header.ClusterId)
			found[id] = append(found[id], a.url)
		}
	}
	return found
}

// chooseTime is for all endpoints together to answer.
const chooseTime = 2 * askTimeout

func (c *Client) introduce(ctx context.Context, u string) chosen {
	r, err := c.statusOf(ctx, []string{u})
	if err != nil {
		return chosen{url: u, err: plain(ctx, err)}
	}
	if want := c.o.ClusterID; want != "" && !strings.EqualFold(want, hex(r.Header.ClusterId)) {
		return chosen{url: u, err: fmt.Errorf("a member of cluster %s answers, not of %s", hex(r.Header.ClusterId), want)}
	}
	return chosen{url: u, answer: r}
}

func nobody(all []chosen) error {
	reasons := make([]string, len(all))
	for i, a := range all {
		reasons[i] = fmt.Sprintf("%s: %v", a.url, a.err)
	}
	slices.Sort(reasons)
	return fmt.Errorf("%w: %s", errNobody, strings.Join(reasons, "; "))
}

// with runs ask against the endpoint, or the best of them where there are several.
func (c *Client) with(ctx context.Context, ask func(*clientv3.Client) error) error {
	urls := c.o.urls()
	if len(urls) == 1 && c.o.ClusterID == "" {
		return c.at(ctx, urls, ask)
	}
	best, err := c.choose(ctx)
	if err != nil {
		return err
	}
	return c.at(ctx, []string{best.url}, ask)
}

// atLeader runs ask against the leader, which alone knows at first hand what a change of the members needs. A follower
// is asked where the leader's client URLs do not lead to it; it passes on what it can.
func (c *Client) atLeader(ctx context.Context, ask func(*clientv3.Client) error) error {
	best, err := c.choose(ctx)
	if err != nil {
		return err
	}
	if best.rank() != bestRank {
		return fmt.Errorf("%w: %s", errNoLeader, best.url)
	}
	if leader := c.leaderAt(ctx, best); leader != nil {
		best = leader
	}
	return c.at(ctx, []string{best.url}, ask)
}

// errNoLeader says that who answers knows no leader, or is a learner.
var errNoLeader = errors.New("no voter that knows a leader answers")

// leaderAt is the client URL at which the leader answers, and its answer; nil: none, or not quickly. A member behind a
// Unix socket is apart from the others on purpose: they are not looked for.
func (c *Client) leaderAt(ctx context.Context, best *chosen) *chosen {
	if best.answer.Leader == best.answer.Header.MemberId || strings.HasPrefix(best.url, "unix") {
		return best
	}
	ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	for _, u := range c.clientURLs(ctx, best, best.answer.Leader) {
		quick, cancel := context.WithTimeout(ctx, askTimeout/2)
		a := c.introduce(quick, u)
		cancel()
		if a.rank() == bestRank && a.answer.Header.MemberId == best.answer.Leader && a.answer.Header.ClusterId == best.answer.Header.ClusterId {
			return &a
		}
	}
	return nil
}

// clientURLs are those of a member, by the list of another; none when it cannot be had.
func (c *Client) clientURLs(ctx context.Context, of *chosen, id uint64) (urls []string) {
	_ = c.at(ctx, []string{of.url}, func(cl *clientv3.Client) error {
		list, err := cl.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			if m.ID == id {
				urls = m.ClientURLs
			}
		}
		return nil
	})
	return urls
}

// where is how messages name the endpoints.
func (c *Client) where() string {
	urls := c.o.urls()
	return strings.Join(urls, ", ")
}

// attemptTime is for one try of a change. etcd itself gives up after seven seconds by default.
const attemptTime = 8 * time.Second
