package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkStopLeader is the longest time without a successful write while the leader of three is stopped and started
// again: by etcdsup stop and start and, by turns, by SIGTERM to an etcd that nobody supervises. Eight writers ask the
// other two. Apart from that, it is how many of their writes a stop has cost: while etcd hands leadership over, it drops
// what another member passes on to it, and tells nobody.
func BenchmarkStopLeader(b *testing.B) {
	program := shipped(b)
	hand, ours := trioByHand(b, program), trioByEtcdsup(b, program)
	var x, y stops
	for b.Loop() {
		x.add(hand.stopLeader(b))
		y.add(ours.stopLeader(b))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(quantile(y.gaps, 0.5))/float64(quantile(x.gaps, 0.5)), "×hand-p50")
	for name, of := range map[string]stops{"-hand": x, "": y} {
		b.ReportMetric(quantile(of.gaps, 0.5).Seconds(), "s-gap-p50"+name)
		b.ReportMetric(quantile(of.gaps, 1).Seconds(), "s-gap-max"+name)
		b.ReportMetric(float64(of.lost)/float64(len(of.gaps)), "lost/stop"+name)
	}
}

// stops is what the stops of one cluster have done to its writers.
type stops struct {
	gaps []time.Duration
	lost int
}

func (s *stops) add(w *writing) { s.gaps, s.lost = append(s.gaps, w.gap), s.lost+w.lost }

// trio is a cluster of three, however it is run.
type trio struct {
	clients []string // URLs
	restart func(i int)
}

// stopLeader has the leader stopped and started amid writing.
func (c *trio) stopLeader(b *testing.B) *writing {
	leader := c.leader(b)
	return whileWriting(b, 8, func() { c.restart(leader) }, slices.Delete(slices.Clone(c.clients), leader, leader+1)...)
}

// leader waits until the three agree on one.
func (c *trio) leader(b *testing.B) int {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-poll.C {
		leader, id, agree := 0, uint64(0), true
		for i, url := range c.clients {
			me, leads := leaderBy(b, url)
			if id == 0 {
				id = leads
			}
			if agree = agree && id != 0 && leads == id; me == leads {
				leader = i
			}
		}
		if agree {
			return leader
		}
	}
	b.Fatal("no leader within a minute")
	return 0
}

// leaderBy is who the member at a URL is, and whom it follows; 0: it does not say.
func leaderBy(b *testing.B, url string) (me, leader uint64) {
	c := dialAt(b, url)
	defer c.Close()
	ctx, cancel := context.WithTimeout(b.Context(), time.Second)
	defer cancel()
	st, err := c.Status(ctx, url)
	if err != nil {
		return 0, 0
	}
	return st.Header.MemberId, st.Leader
}

func trioByHand(b *testing.B, program string) *trio {
	h := &hands{b: b, program: program, dir: b.TempDir()}
	c := &trio{}
	var all []*byHand
	var list []string
	for i := range 3 {
		e := h.host(fmt.Sprint("h", i+1), fmt.Sprint("127.0.0.", 21+i))
		all, list, c.clients = append(all, e), append(list, e.name+"="+e.peer), append(c.clients, e.client)
	}
	start := func(i int) {
		all[i].start("--initial-advertise-peer-urls="+all[i].peer, "--initial-cluster="+strings.Join(list, ","))
	}
	for i, e := range all {
		start(i)
		b.Cleanup(e.stop)
	}
	c.restart = func(i int) {
		all[i].stop()
		start(i)
		all[i].awaitHealthy()
	}
	return c
}

func trioByEtcdsup(b *testing.B, program string) *trio {
	c := &trio{}
	var peers, list []string
	for i := range 3 {
		addr := fmt.Sprint("127.0.0.", 24+i)
		c.clients, peers = append(c.clients, freeURLAt(b, addr)), append(peers, freeURLAt(b, addr))
		list = append(list, fmt.Sprintf("e%d=%s", i+1, peers[i]))
	}
	var all []*daemonRun
	for i := range 3 {
		all = append(all, newDaemonRun(b, program, fmt.Sprintf("etcd:\n  args:\n    name: e%d\n    listen-client-urls: %s\n    listen-peer-urls: %s\n    initial-cluster: %q\n",
			i+1, c.clients[i], peers[i], strings.Join(list, ","))))
	}
	c.restart = func(i int) {
		all[i].command("stop")
		all[i].command("start")
	}
	return c
}
