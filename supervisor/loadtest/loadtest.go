// Package loadtest writes to an etcd as a client does that must not notice what a test does meanwhile. It is imported by
// tests only.
package loadtest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// patience is how long a put is tried. The machine may be busy.
const patience = 3 * time.Minute

// Load puts one key after the other without a pause. Its fields are valid once it is stopped.
type Load struct {
	Done, Failed int
	Again        int           // attempts that failed before one succeeded
	Gap          time.Duration // the longest time without a success
	First        error         // the first failure

	cancel context.CancelFunc
	ended  chan struct{}
	// The same as Done and Gap, for those who look on.
	puts, gapNow atomic.Int64
}

// Longest is the gap as it is while the load runs.
func (l *Load) Longest() time.Duration { return time.Duration(l.gapNow.Load()) }

// Count is how many puts have succeeded so far.
func (l *Load) Count() int64 { return l.puts.Load() }

// Start begins it. A put is tried until it succeeds, as by anybody who has to do with leaders that change; one that
// has not after three minutes has failed.
func Start(t testing.TB, c *clientv3.Client) *Load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &Load{cancel: cancel, ended: make(chan struct{})}
	go l.run(ctx, c) // ends with Stop, or with the test
	return l
}

func (l *Load) run(ctx context.Context, c *clientv3.Client) {
	defer close(l.ended)
	last := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		again, err := insist(ctx, c, fmt.Sprintf("load/%d", n%1000))
		l.Again += again
		if ctx.Err() != nil {
			break
		}
		now := time.Now()
		if err != nil {
			l.Failed++
			if l.First == nil {
				l.First = err
			}
			continue
		}
		l.Done, l.Gap, last = l.Done+1, max(l.Gap, now.Sub(last)), now
		l.puts.Store(int64(l.Done))
		l.gapNow.Store(int64(l.Gap))
	}
	l.Gap = max(l.Gap, time.Since(last))
}

func insist(ctx context.Context, c *clientv3.Client, key string) (again int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for value := time.Now().String(); ; {
		if _, err := c.Put(ctx, key, value); err == nil || ctx.Err() != nil {
			return again, err
		}
		again++
	}
}

// Stop ends it.
func (l *Load) Stop() {
	l.cancel()
	<-l.ended
}

func (l *Load) String() string {
	return fmt.Sprintf("%d puts, %d failed, %d attempts repeated, longest gap %v", l.Done, l.Failed, l.Again, l.Gap.Round(time.Millisecond))
}

// ExpectNoFailure wants puts, and each of them done in the end.
func (l *Load) ExpectNoFailure(t testing.TB) {
	t.Helper()
	if l.Failed > 0 || l.Done == 0 {
		t.Errorf("%v; the first failure: %v", l, l.First)
	}
}
