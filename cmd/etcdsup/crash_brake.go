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

	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/process"
)

// The unit has systemd start the next etcdsup at once: its own waits are rounded up by a quarter of a second in which
// nobody supervises. What keeps an etcdsup that cannot run from being started without end is here, in what systemd runs
// between two of them.
const (
	freeFailures  = 3                      // starts in a row that came to nothing, each followed by the next one at once
	freeCrashes   = 100                    // the same for those that supervised before they ended
	crashPause    = 100 * time.Millisecond // before the next one, and twice as long with each further
	longestPause  = 10 * time.Second
	crashesForget = time.Minute // that long after one a crash counts as the first
)

// crashes are the ends of etcdsup that nobody asked for, one shortly after the other.
type crashes struct {
	Boot   string        `json:"boot"`
	At     time.Duration `json:"at_ns"` // the last one, by the boot clock
	InRow  int           `json:"in_row"`
	Failed int           `json:"failed"` // the last ones of them, which ended before they supervised
}

// another counts one more.
func (c crashes) another(boot string, now time.Duration, supervised bool) crashes {
	if c.Boot != boot || now < c.At || now-c.At > crashesForget+c.pause() {
		c = crashes{}
	}
	c = crashes{Boot: boot, At: now, InRow: c.InRow + 1, Failed: c.Failed + 1}
	if supervised {
		c.Failed = 0
	}
	return c
}

// pause is how long the next start is to wait.
func (c crashes) pause() time.Duration {
	pause := time.Duration(0)
	for range max(c.Failed-freeFailures, c.InRow-freeCrashes) {
		if pause = max(crashPause, 2*pause); pause >= longestPause {
			return longestPause
		}
	}
	return pause
}

// The folder that systemd made for the service, by the variable that names it, and what is in it.
const (
	stateFolderEnv = "STATE_DIRECTORY"

	crashesName    = "crashes.json"
	supervisedName = "supervised" // there from the moment that etcdsup supervises until its end was counted
)

// tellSupervised notes for the time after our end, however it comes, that this etcdsup has supervised.
func (d *daemon) tellSupervised() {
	folder := d.g.getenv(stateFolderEnv)
	if folder == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(folder, supervisedName), nil, config.FileMode); err != nil {
		d.log.Warn("start not noted", zap.Error(err))
	}
}

// brake counts a crash in the folder that systemd made for the service, and waits for as long as it is due. Without that
// folder nobody starts us again at once.
func (g *globals) brake(ctx context.Context) error {
	folder := g.getenv(stateFolderEnv)
	if folder == "" {
		return nil
	}
	c, err := countCrash(folder)
	if pause := c.pause(); pause > 0 {
		err = errors.Join(err, g.print(fmt.Sprintf("etcdsup has ended by itself %d times in a row: the next start waits %s\n", c.InRow, humanDuration(pause))))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return err
}

// countCrash adds one to those of the folder. Where that cannot be kept, the longest pause is due: nothing would end a loop.
func countCrash(folder string) (crashes, error) {
	supervised := os.Remove(filepath.Join(folder, supervisedName)) == nil
	path := filepath.Join(folder, crashesName)
	var before crashes
	b, err := os.ReadFile(path)
	if err == nil {
		_ = json.Unmarshal(b, &before) // what is no count is none
	} else if !errors.Is(err, fs.ErrNotExist) {
		return unknownCrashes(), fmt.Errorf("cannot count the ends of etcdsup: %w", err)
	}
	c := before.another(process.BootID(), process.BootTime(), supervised)
	if b, err = json.Marshal(c); err == nil {
		err = os.WriteFile(path, b, config.FileMode)
	}
	if err != nil {
		return unknownCrashes(), fmt.Errorf("cannot count the ends of etcdsup: %w", err)
	}
	return c, nil
}

func unknownCrashes() crashes { return crashes{InRow: freeCrashes + 8} }
