package supervisor

import (
	"testing"
	"time"
)

// Both kinds must behave alike: the loop is tested with the one and shipped with the other.
func alarms(t *testing.T) map[string]Alarm {
	quiet, err := NewQuietAlarm()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Alarm{"quiet": quiet, "timer": NewAlarm()}
}

func TestAlarmGoesOffOncePerSet(t *testing.T) {
	for name, a := range alarms(t) {
		t.Run(name, func(t *testing.T) {
			defer a.Close()
			for _, d := range []time.Duration{0, 3 * time.Millisecond} {
				began := time.Now()
				a.Set(d)
				if !a.Wait() || time.Since(began) < d {
					t.Errorf("went off after %v, not %v", time.Since(began), d)
				}
			}
			expectSilence(t, a, func() {})
		})
	}
}

func TestAlarmStops(t *testing.T) {
	for name, a := range alarms(t) {
		t.Run(name, func(t *testing.T) {
			a.Set(20 * time.Millisecond)
			expectSilence(t, a, a.Stop)
		})
	}
}

func TestAlarmCloseEndsWait(t *testing.T) {
	for name, a := range alarms(t) {
		t.Run(name, func(t *testing.T) {
			a.Set(time.Hour)
			ended := make(chan bool)
			go func() { ended <- a.Wait() }()
			a.Close()
			a.Close()
			if <-ended {
				t.Error("went off")
			}
			a.Set(0)
			if a.Wait() {
				t.Error("went off after it was closed")
			}
		})
	}
}

// expectSilence fails when the alarm goes off after do was called, and closes it.
func expectSilence(t *testing.T, a Alarm, do func()) {
	t.Helper()
	ended := make(chan bool)
	do()
	go func() { ended <- a.Wait() }()
	select {
	case off := <-ended:
		t.Errorf("Wait returned %v", off)
	case <-time.After(60 * time.Millisecond):
		a.Close()
		<-ended
	}
}
