package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestALogThatGetsOnIsWaitedFor(t *testing.T) {
	const never = time.Hour
	for name, c := range map[string]struct {
		each, all time.Duration // between two writes, and until nothing is left
		want      error
		took      time.Duration
	}{
		"at once":       {time.Second, 0, nil, 0},
		"slow":          {10 * time.Second, 42 * time.Second, nil, 42 * time.Second},
		"stuck":         {never, never, context.DeadlineExceeded, drainStall},
		"much too slow": {10 * time.Second, never, context.DeadlineExceeded, drainLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := drainAll(func(ctx context.Context) error {
					select {
					case <-time.After(c.all - time.Since(began)):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}, func() uint64 { return uint64(time.Since(began) / c.each) })
				if took := time.Since(began); !errors.Is(err, c.want) || took != c.took {
					t.Errorf("%v after %v, want %v after %v", err, took, c.want, c.took)
				}
			})
		})
	}
}
