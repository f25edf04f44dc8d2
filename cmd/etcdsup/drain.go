package main

import (
	"context"
	"errors"
	"time"
)

const (
	// drainStall is how long the log may stand still at the end. A rename on a busy disk has taken eight seconds.
	drainStall = 15 * time.Second
	// drainLimit is how long the end waits for a log that goes on slowly: init systems kill after 90 seconds.
	drainLimit = time.Minute
)

// drainAll has the sink write what it still holds, as long as it gets on with that. written is the number of bytes that it
// has written so far; drain returns when nothing is left. What is left when it gives up is lost: nobody will read it.
func drainAll(drain func(context.Context) error, written func() uint64) error {
	for began := time.Now(); ; {
		before := written()
		ctx, cancel := context.WithTimeout(context.Background(), drainStall)
		err := drain(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || written() == before || time.Since(began) >= drainLimit {
			return err
		}
	}
}
