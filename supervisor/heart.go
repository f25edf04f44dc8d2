package supervisor

import "time"

// Heart shows somebody outside that the loop still turns. A heart without Beat is none.
type Heart struct {
	Beat  func()        // called in the loop's goroutine; it must not block
	Every time.Duration // at least so often
	Alarm Alarm         // wakes the loop for it when nothing else does; nil: a Go timer
}

// startHeart begins the beating and returns what ends it.
func (l *Loop) startHeart() (stop func()) {
	if l.begin.Heart.Beat == nil {
		return func() {}
	}
	if l.begin.Heart.Alarm == nil {
		l.begin.Heart.Alarm = NewAlarm()
	}
	go l.paceHeart() // ends with the alarm
	return l.begin.Heart.Alarm.Close
}

// paceHeart waits for the alarm, which is set anew at each beat.
func (l *Loop) paceHeart() {
	for l.begin.Heart.Alarm.Wait() {
		select {
		case l.pulse <- struct{}{}:
		case <-l.done:
			return
		}
	}
}

// beat is called at each turn of the loop. Half the time is enough for a beat: so the turns that health probes cause
// serve for it, and the alarm seldom costs a wake-up of its own.
func (l *Loop) beat() {
	h := l.begin.Heart
	if now := time.Now(); h.Beat != nil && now.Sub(l.beaten) >= h.Every/2 {
		l.beaten = now
		h.Beat()
		h.Alarm.Set(h.Every)
	}
}
