package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// The unit has systemd start the next etcdsup at once: its own waits are rounded up by a quarter of a second in which
// nobody supervises. What keeps an etcdsup that cannot run from being started without end is here, in what systemd runs
// between two of them.
const (
	freeCrashes   = 3                      // so many in a row are followed by a start at once
	crashPause    = 100 * time.Millisecond // before the next one, and twice as long with each further
	longestPause  = 10 * time.Second
	crashesForget = time.Minute // that long after one a crash counts as the first
)

// crashes are the ends of etcdsup that nobody asked for, one shortly after the other.
type crashes struct {
	Boot  string        `json:"boot"`
	At    time.Duration `json:"at_ns"` // the last one, by the boot clock
	InRow int           `json:"in_row"`
}

// another counts one more.
func (c crashes) another(boot string, now time.Duration) crashes {
	if c.Boot != boot || now < c.At || now-c.At > crashesForget+c.pause() {
		c.InRow = 0
	}
	return crashes{Boot: boot, At: now, InRow: c.InRow + 1}
}

// pause is how long the next start is to wait.
func (c crashes) pause() time.Duration {
	pause := time.Duration(0)
	for range c.InRow - freeCrashes {
		if pause = max(crashPause, 2*pause); pause >= longestPause {
			return longestPause
		}
	}
	return pause
}

// brake counts a crash in the folder that systemd made for the service, and waits for as long as it is due. Without that
// folder nobody starts us again at once.
func (g *globals) brake(ctx context.Context) error {
	folder := g.getenv("STATE_DIRECTORY")
	if folder == "" {
		return nil
	}
	c, err := countCrash(filepath.Join(folder, "crashes.json"))
	if pause := c.pause(); pause > 0 {
		err = errors.Join(err, g.print(fmt.Sprintf("etcdsup has ended by itself %d times in a row: the next start waits %s\n", c.InRow, humanDuration(pause))))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return err
}

// countCrash adds one to those in the file. Where that cannot be kept, the longest pause is due: nothing would end a loop.
func countCrash(path string) (crashes, error) {
	var before crashes
	b, err := os.ReadFile(path)
	if err == nil {
		_ = json.Unmarshal(b, &before) // what is no count is none
	} else if !errors.Is(err, fs.ErrNotExist) {
		return unknownCrashes(), fmt.Errorf("cannot count the ends of etcdsup: %w", err)
	}
	c := before.another(process.BootID(), process.BootTime())
	if b, err = json.Marshal(c); err == nil {
		err = os.WriteFile(path, b, config.FileMode)
	}
	if err != nil {
		return unknownCrashes(), fmt.Errorf("cannot count the ends of etcdsup: %w", err)
	}
	return c, nil
}

func unknownCrashes() crashes { return crashes{InRow: freeCrashes + 8} }
