package main

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// BenchmarkStory is what migration.md tells: the data of one etcd, here 10,000 keys, becomes a cluster of three. It is
// done with etcdsup's three commands and, by turns, by hand: with etcd's flags and etcdctl, by somebody who knows every
// step and never pauses. Measured are the whole, and the longest time that a writer waits for a success during both joins.
func BenchmarkStory(b *testing.B) {
	program, etcdctl := shipped(b), buildEtcdctl(b)
	from := storyData(b, program)
	var hand, ours tellings
	for b.Loop() {
		hand.add(tellByHand(b, program, etcdctl, from))
		ours.add(tellByEtcdsup(b, program, from))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(hand.ratios(&ours)), "×hand-paired")
	b.ReportMetric(quantile(hand.whole, 0.5).Seconds(), "s-hand")
	b.ReportMetric(quantile(ours.whole, 0.5).Seconds(), "s")
	b.ReportMetric(quantile(hand.first, 0.5).Seconds(), "s-first-hand")
	b.ReportMetric(quantile(ours.first, 0.5).Seconds(), "s-first")
	b.ReportMetric(quantile(hand.gap, 0.5).Seconds(), "s-gap-hand")
	b.ReportMetric(quantile(ours.gap, 0.5).Seconds(), "s-gap")
	b.ReportMetric(quantile(ours.gap, 1).Seconds(), "s-gap-max")
}

// told is what one round took: all of it, the part up to the cluster of one, and the writer's longest wait after that.
type told struct{ whole, first, gap time.Duration }

// tellings are what all rounds of one way took.
type tellings struct{ whole, first, gap []time.Duration }

func (y *tellings) add(t told) {
	y.whole, y.first, y.gap = append(y.whole, t.whole), append(y.first, t.first), append(y.gap, t.gap)
}

func (y *tellings) ratios(other *tellings) (r []float64) {
	for i := range y.whole {
		r = append(r, float64(other.whole[i])/float64(y.whole[i]))
	}
	return r
}

// storyData is the directory of an etcd that was stopped in order.
func storyData(b *testing.B, program string) string {
	h := &hands{b: b, program: program, dir: b.TempDir()}
	e := h.host("old", "127.0.0.11")
	e.start("--initial-advertise-peer-urls="+e.peer, "--initial-cluster=old="+e.peer)
	defer e.stop()
	e.awaitHealthy()
	c := dialAt(b, e.client)
	defer c.Close()
	for i := range 10_000 / 100 {
		var ops []clientv3.Op
		for j := range 100 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("key/%05d", i*100+j), fmt.Sprintf("value %d", j)))
		}
		if _, err := c.Txn(b.Context()).Then(ops...).Commit(); err != nil {
			b.Fatal(err)
		}
	}
	return e.data()
}

func dialAt(b *testing.B, urls ...string) *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{Endpoints: urls, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// storyHost is an etcdsup with the etcd of its first start.
func storyHost(b *testing.B, program, name, addr string) (d *daemonRun, client string) {
	client = freeURLAt(b, addr)
	return startDaemonRun(b, program, fmt.Sprintf("etcd:\n  args:\n    name: %s\n    listen-client-urls: %s\n    listen-peer-urls: %s\n", name, client, freeURLAt(b, addr))), client
}

// tellByEtcdsup runs the three commands.
func tellByEtcdsup(b *testing.B, program, from string) (t told) {
	main, client := storyHost(b, program, "c", "127.0.0.13")
	defer main.end()
	second, _ := storyHost(b, program, "b", "127.0.0.12")
	defer second.end()
	third, _ := storyHost(b, program, "a", "127.0.0.11")
	defer third.end()
	for _, d := range []*daemonRun{main, second, third} {
		d.ready()
	}
	began := time.Now()
	main.command("mode", "force-new-cluster", "--from", from, "--yes")
	t.first = time.Since(began)
	t.gap = whileWriting(b, 1, func() {
		second.command("mode", "join", "--endpoint", client, "--yes")
		third.command("mode", "join", "--endpoint", client, "--yes")
		t.whole = time.Since(began)
	}, client).gap
	return t
}

// command runs one of etcdsup's commands to its end, which must be good.
func (d *daemonRun) command(args ...string) {
	d.b.Helper()
	out, err := exec.Command(d.program, append([]string{"-c", d.conf}, args...)...).CombinedOutput()
	if err != nil {
		d.b.Fatalf("etcdsup %s: %v\n%s", args, err, out)
	}
	d.b.Logf("%s", out)
}

// writing is what writers came to.
type writing struct {
	mu   sync.Mutex
	last time.Time     // of the successes
	gap  time.Duration // the longest time without one
	lost int           // writes that failed, or took longer than lostAfter
}

// lostAfter is longer than a write waits for a disk or a processor, unless the machine is overloaded.
const lostAfter = 800 * time.Millisecond

// whileWriting has writers put while f runs, each one key after the other.
func whileWriting(b *testing.B, writers int, f func(), urls ...string) *writing {
	c := dialAt(b, urls...)
	defer c.Close()
	ctx, cancel := context.WithCancel(b.Context())
	w := &writing{last: time.Now()}
	var all sync.WaitGroup
	for range writers {
		all.Go(func() { // ends with ctx
			for ctx.Err() == nil {
				w.put(ctx, c)
			}
		})
	}
	defer func() { // also when f fails
		cancel()
		all.Wait()
	}()
	f()
	return w
}

// put writes once. One that the end cuts short counts as far as it got.
func (w *writing) put(ctx context.Context, c *clientv3.Client) {
	began := time.Now()
	_, err := c.Put(ctx, "load", "value")
	now, over := time.Now(), ctx.Err() != nil
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(began) > lostAfter || err != nil && !over {
		w.lost++
	}
	if err == nil || over {
		w.gap, w.last = max(w.gap, now.Sub(w.last)), now
	}
}
