package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// dial is an etcd client that ends with the test.
func dial(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Put(ctx, key, value); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *clientv3.Client, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := c.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) != 1 {
		return ""
	}
	return string(r.Kvs[0].Value)
}

// load puts one key after the other without a pause.
type load struct {
	done, failed int
	again        int           // attempts that failed before one succeeded
	gap          time.Duration // the longest time without a success
	first        error
	cancel       context.CancelFunc
	ended        chan struct{}
	// The same as done and gap, for those who look on.
	puts, gapNow atomic.Int64
}

// longest is the gap as it is while the load runs.
func (l *load) longest() time.Duration { return time.Duration(l.gapNow.Load()) }

func (l *load) count() int64 { return l.puts.Load() }

// startLoad begins it. A put is tried until it succeeds, as by anybody who has to do with leaders that change; one that
// has not after patience has failed.
func startLoad(t *testing.T, c *clientv3.Client) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, ended: make(chan struct{})}
	go l.run(ctx, c) // ends with stop, or with the test
	return l
}

func (l *load) run(ctx context.Context, c *clientv3.Client) {
	defer close(l.ended)
	last := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		again, err := insist(ctx, c, fmt.Sprintf("load/%d", n%1000))
		l.again += again
		if ctx.Err() != nil {
			break
		}
		now := time.Now()
		if err != nil {
			l.failed++
			if l.first == nil {
				l.first = err
			}
			continue
		}
		l.done, l.gap, last = l.done+1, max(l.gap, now.Sub(last)), now
		l.puts.Store(int64(l.done))
		l.gapNow.Store(int64(l.gap))
	}
	l.gap = max(l.gap, time.Since(last))
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

// stop ends it; the figures are valid from then on.
func (l *load) stop() {
	l.cancel()
	<-l.ended
}

func (l *load) String() string {
	return fmt.Sprintf("%d puts, %d failed, %d attempts repeated, longest gap %v", l.done, l.failed, l.again, l.gap.Round(time.Millisecond))
}

func (l *load) expectNoFailure(t *testing.T) {
	t.Helper()
	if l.failed > 0 || l.done == 0 {
		t.Errorf("%v; the first failure: %v", l, l.first)
	}
}
