package main

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func TestManagerText(t *testing.T) {
	for _, tt := range []struct {
		st   status.Status
		want string
	}{
		{status.Status{State: status.StateReady, Reason: "etcd serves", Process: &status.Process{PID: 7}}, "etcd is ready, PID 7"},
		{status.Status{State: status.StateWaiting, Reason: "waiting for quorum", Process: &status.Process{PID: 7}}, "etcd is waiting: waiting for quorum"},
		{status.Status{State: status.StateDown}, "etcd is down"},
		{status.Status{State: status.StateHeld, Reason: "the data is\x1b[2Jforeign", Next: "etcdsup inspect"}, `etcd is held: the data is?[2Jforeign; next: etcdsup inspect`},
		{
			status.Status{State: status.StateDown, Job: &status.Job{Mode: status.ModeJoin, Step: 2, Of: 9, Title: "set aside"}},
			"join, step 2 of 9: set aside; etcd is down",
		},
	} {
		if got := managerText(&tt.st); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestMoreTime(t *testing.T) {
	now := time.Now()
	starting := func(progress time.Duration) status.Status {
		return status.Status{State: status.StateStarting, Health: status.Health{Progress: now.Add(-progress)}}
	}
	stopping := func(left time.Duration) status.Status {
		return status.Status{State: status.StateStopping, Stop: &status.Stop{Deadline: now.Add(left)}}
	}
	for _, tt := range []struct {
		name  string
		st    status.Status
		ready bool          // it was told so
		since time.Duration // since more time was asked for last
		want  time.Duration
	}{
		{"a start that makes progress", starting(time.Second), false, time.Minute, extendBy},
		{"again, soon", starting(time.Second), false, time.Second, 0},
		{"a start that does nothing", starting(time.Minute), false, time.Minute, 0},
		{"a restart", starting(time.Second), true, time.Minute, 0},
		{"no quorum", status.Status{State: status.StateWaiting}, false, time.Minute, extendBy},
		{"held", status.Status{State: status.StateHeld}, false, time.Minute, 0},
		{"a stop", stopping(40 * time.Second), true, time.Minute, 40*time.Second + extendBy},
		{"a stop beyond its time", stopping(-time.Second), true, time.Minute, 0},
	} {
		m := &manager{log: zap.NewNop(), when: config.TellServing, ready: tt.ready, extended: now.Add(-tt.since)}
		if got := m.moreTime(&tt.st, now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
