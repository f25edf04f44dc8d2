package supervisor

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

const (
	missesForSilence = 3                      // probes in a row without answer, before anybody is told
	eagerProbe       = 100 * time.Millisecond // while it starts
	calmProbe        = time.Second            // once starting takes long, and while it waits for quorum
	eagerFor         = 10 * time.Second
	worriedProbe     = 5 * time.Second // while probes go unanswered
	electionTime     = 3 * time.Second // a new process knows no leader for so long in the best of health
)

// prober is the loop's memory of health: when the next probe is due and what the last ones said.
type prober struct {
	alarm    Alarm
	target   atomic.Pointer[Child] // whom watchHealth asks; nil: nobody
	busy     atomic.Bool           // it is asking
	every    time.Duration         // 0: no probes in this state
	again    bool                  // ask once more as soon as it ends
	told     bool                  // it has said READY, or had when it was taken over: an answer is due
	since    time.Time             // of the process
	last     status.Health
	work     uint64 // of the last Progress
	judgedAt time.Time
}

// reset begins anew with a new process.
func (p *prober) reset(c Child, now time.Time) {
	p.target.Store(&c)
	p.again, p.told = false, false
	p.since, p.last, p.work, p.judgedAt = now, status.Health{Progress: now}, 0, now
}

// pace sets how often a state wants to be asked.
func (p *prober) pace(s state, interval time.Duration) {
	switch s {
	case starting:
		p.every = eagerProbe
	case waiting:
		p.every = calmProbe
	case ready:
		p.every = interval
	case silent:
		p.every = min(interval, worriedProbe)
	default:
		p.every = 0
	}
	if interval == 0 {
		p.every = 0
	}
	p.schedule()
}

func (p *prober) schedule() {
	if p.every == 0 {
		p.alarm.Stop()
		return
	}
	d := p.every
	if d == eagerProbe && (!p.told || time.Since(p.since) > eagerFor) {
		d = calmProbe // each probe of an etcd that is not ready is a line in its log
	}
	if p.last.Misses > 0 {
		d = min(d, worriedProbe)
	}
	p.alarm.Set(d)
}

// now asks for a probe at once.
func (p *prober) now() {
	p.told = true
	if p.busy.Load() {
		p.again = true
		return
	}
	p.alarm.Set(0)
}

// watchHealth waits for the alarm, and then itself for etcd's answer: one goroutine for both, because each one more
// that is woken can cost the wake-up of one more thread. It ends when the alarm is closed.
func (l *Loop) watchHealth() {
	for l.probe.alarm.Wait() {
		c := l.probe.target.Load()
		if c == nil {
			continue
		}
		l.probe.busy.Store(true)
		l.askHealth(*c)
		l.probe.busy.Store(false)
	}
}

// askHealth waits for one answer of etcd's health endpoint.
func (l *Loop) askHealth(c Child) {
	h, probing := l.host.Probe(l.life, c)
	var p Progress
	var err error
	if !h.Answered {
		p, err = c.Progress()
	}
	l.show(func() {
		if !probing || c != l.child || l.probe.every == 0 {
			return
		}
		l.weigh(h, p, err)
		if l.probe.again {
			l.probe.again = false
			l.probe.alarm.Set(0)
			return
		}
		l.probe.schedule()
	})
	if h.Answered && h.Quorum {
		l.remember(c)
	}
}

// weigh turns an answer, or its absence, into an event.
func (l *Loop) weigh(h Health, p Progress, progressErr error) {
	now, last := time.Now(), &l.probe.last
	last.Asked, last.Serving, last.Quorum, last.Detail = now, h.Serving, h.Quorum, h.Detail
	if h.Answered {
		last.Answered, last.Progress, last.Misses = now, now, 0
		switch {
		case h.Quorum:
			l.handle(event{in: serving})
		case now.Sub(l.probe.since) >= electionTime:
			l.handle(event{in: noQuorum})
		}
		return
	}
	last.Misses++
	if p.Work != l.probe.work || p.Traced || p.Blocked || progressErr != nil {
		l.probe.work, last.Progress = p.Work, now
	}
	if last.Misses >= missesForSilence {
		l.handle(event{in: unanswered})
	}
	if still := now.Sub(last.Progress); l.set.Hung > 0 && last.Misses >= missesForSilence && still >= l.set.Hung {
		l.log.Warn("etcd hung", zap.Duration("without-progress", still), zap.Int("misses", last.Misses), zap.String("detail", h.Detail))
		l.handle(event{in: hung, why: "no answer and no progress for " + still.Round(time.Second).String() + ": SIGQUIT for its stack dump, then it is killed"})
	}
}
