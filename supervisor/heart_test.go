package supervisor

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// beats counts what a heart does in virtual time, and the longest pause.
type beats struct {
	count   atomic.Int64
	last    atomic.Int64
	longest atomic.Int64
}

func (b *beats) beat() {
	now := time.Now().UnixNano()
	if last := b.last.Swap(now); last != 0 {
		b.longest.Store(max(b.longest.Load(), now-last))
	}
	b.count.Add(1)
}

func TestHeartBeatsWhileTheLoopTurns(t *testing.T) {
	for _, tt := range []struct {
		name     string
		interval time.Duration // of probes
		every    time.Duration
		least    int64 // beats in an hour
		most     int64
	}{
		{"probes keep the pace", 10 * time.Second, 10 * time.Second, 360, 380},
		{"probes are seldom", 5 * time.Minute, 10 * time.Second, 360, 380},
		{"probes are frequent", time.Second, 10 * time.Second, 360, 725},
		{"no probes", 0, 10 * time.Second, 360, 380},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, b := testSettings, &beats{}
			set.Interval = tt.interval
			play(t, set, Start{Heart: Heart{Beat: b.beat, Every: tt.every}}, func(s *stage) {
				if tt.interval > 0 { // else nothing confirms it
					s.ready()
				}
				pass(time.Hour)
				synctest.Wait()
				if n := b.count.Load(); n < tt.least || n > tt.most {
					t.Errorf("%d beats", n)
				}
				if longest := time.Duration(b.longest.Load()); longest > tt.every {
					t.Errorf("a pause of %v", longest)
				}
			})
		})
	}
}

// A loop that hangs must not look alive.
func TestHeartStopsWithTheLoop(t *testing.T) {
	b := &beats{}
	play(t, testSettings, Start{Heart: Heart{Beat: b.beat, Every: 10 * time.Second}}, func(s *stage) {
		s.ready()
		release := make(chan struct{})
		go s.loop.show(func() { <-release })
		synctest.Wait()
		before := b.count.Load()
		pass(time.Hour)
		if n := b.count.Load(); n != before {
			t.Errorf("%d beats of a loop that hangs", n-before)
		}
		close(release)
		pass(time.Minute)
		if n := b.count.Load(); n == before {
			t.Error("no beat after that")
		}
	})
}
