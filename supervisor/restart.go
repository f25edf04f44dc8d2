package supervisor

import (
	"fmt"
	"math"
	"slices"
	"time"
)

const hour = time.Hour

// restartPolicy is how fast deaths are followed by starts.
type restartPolicy struct {
	delay      time.Duration // of the second start in a row; the first is at once
	maxDelay   time.Duration
	jitter     float64 // 0.2: ±20 %
	resetAfter time.Duration
	perHour    int
}

// budget is what the restart policy remembers. It is a value and is kept on disk, so that neither a new etcdsup
// nor a reboot forgets a storm. All times are boot-clock durations: wall-clock jumps change nothing.
type budget struct {
	starts    []time.Duration // of the last hour, oldest first
	streak    int             // deaths in a row without sustained readiness
	lastDelay time.Duration
}

// started counts a start.
func (b budget) started(now time.Duration) budget {
	b.starts = slices.Concat(b.lastHour(now), []time.Duration{now})
	return b
}

// uncounted takes the newest start back.
func (b budget) uncounted() budget {
	b.starts = b.starts[:max(0, len(b.starts)-1)]
	return b
}

func (b budget) lastHour(now time.Duration) []time.Duration {
	for i, s := range b.starts {
		if now-s < hour {
			return b.starts[i:]
		}
	}
	return nil
}

// readyFor credits a stretch of readiness: long enough, and the deaths before it are forgiven.
func (b budget) readyFor(p restartPolicy, d time.Duration) budget {
	if d >= max(p.resetAfter, 4*b.lastDelay) {
		b.streak, b.lastDelay = 0, 0
	}
	return b
}

// died counts a death and chooses the wait before the next start, with the reason in a sentence.
// random is uniform in [-1, 1).
func (b budget) died(p restartPolicy, now time.Duration, random float64) (budget, time.Duration, string) {
	b.streak++
	b.lastDelay = p.backoff(b.streak, random)
	if wait := b.wait(p, now); wait > b.lastDelay {
		return b, wait, budgetReason(p)
	}
	if b.lastDelay == 0 {
		return b, 0, "first death in a row: started again at once"
	}
	return b, b.lastDelay, fmt.Sprintf("death %d in a row: the next start waits %v", b.streak, b.lastDelay.Round(time.Millisecond))
}

// wait is how long the budget of starts an hour still forbids one; 0: not at all.
func (b budget) wait(p restartPolicy, now time.Duration) time.Duration {
	starts := b.lastHour(now)
	if p.perHour <= 0 || len(starts) < p.perHour {
		return 0
	}
	return starts[len(starts)-p.perHour] + hour - now
}

func budgetReason(p restartPolicy) string {
	return fmt.Sprintf("%d starts within the last hour, and no more are made by itself", p.perHour)
}

// backoff is the wait before the start that follows the streak-th death in a row: none for the first,
// then doubling up to the ceiling, jitter last so that hosts do not move in step.
func (p restartPolicy) backoff(streak int, random float64) time.Duration {
	if streak <= 1 {
		return 0
	}
	d := min(float64(p.delay)*math.Pow(2, float64(streak-2)), float64(p.maxDelay))
	return time.Duration(d * (1 + p.jitter*random))
}

// rebased carries the budget over a reboot: the time in which nothing ran counts as none, since no clock
// that a jump could not change has measured it.
func (b budget) rebased(savedAt, now time.Duration) budget {
	moved := make([]time.Duration, len(b.starts))
	for i, s := range b.starts {
		moved[i] = s - savedAt + now
	}
	b.starts = moved
	return b
}
