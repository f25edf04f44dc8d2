package main

import (
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// entry is a socket that is made anew where somebody has removed its file. Nobody wakes up for that alone: those look who
// are awake in any case.
type entry struct {
	what   string
	log    *zap.Logger
	remake func() (bool, error)

	mu      sync.Mutex
	trouble string // as told last
}

// look sees to it that the socket can be reached. What stands against that is told once.
func (e *entry) look() {
	e.mu.Lock()
	defer e.mu.Unlock()
	anew, err := e.remake()
	if anew {
		e.log.Warn("socket made anew, its file had been removed", zap.String("socket", e.what))
	}
	if err != nil && err.Error() != e.trouble {
		e.log.Error("socket cannot be reached", zap.String("socket", e.what), zap.Error(err))
	}
	e.trouble = errorText(err)
}

// door is the control socket, which is opened later than those begin who look after it.
type door struct{ entry atomic.Pointer[entry] }

func (d *door) open(e *entry) { d.entry.Store(e) }

func (d *door) look() {
	if e := d.entry.Load(); e != nil {
		e.look()
	}
}
