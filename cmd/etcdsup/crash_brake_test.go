package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/process"
)

func TestCrashPauses(t *testing.T) {
	c, now := crashes{}, time.Hour
	for _, want := range []int64{0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		c = c.another("boot", now, false)
		if got := c.pause().Milliseconds(); got != want {
			t.Errorf("after %d: %d ms, want %d", c.InRow, got, want)
		}
		now += c.pause() + time.Second
	}
	if c = c.another("boot", now, true); c.pause() > 0 {
		t.Errorf("after one that has supervised: %v", c.pause())
	}
	if p := (crashes{Boot: "boot", InRow: 1 << 40}).pause(); p != longestPause {
		t.Errorf("after very many: %v", p)
	}
}

func TestCrashesAreForgotten(t *testing.T) {
	c := crashes{Boot: "boot", At: time.Hour, InRow: 9, Failed: 9}
	for name, tt := range map[string]struct {
		boot string
		now  time.Duration
		want int
	}{
		"soon":             {"boot", time.Hour + time.Minute, 10},
		"after the pause":  {"boot", time.Hour + c.pause() + time.Minute, 10},
		"late":             {"boot", time.Hour + c.pause() + time.Minute + 1, 1},
		"another boot":     {"other", time.Hour + time.Second, 1},
		"from before that": {"boot", time.Minute, 1},
	} {
		if got := c.another(tt.boot, tt.now, false).Failed; got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestCountCrash(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want := range 4 {
		c, err := countCrash(folder)
		if err != nil || c.InRow != want+1 || c.Failed != want+1 || c.Boot != process.BootID() {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	write(supervisedName, "")
	for _, want := range []int{0, 1} {
		if c, err := countCrash(folder); err != nil || c.InRow != 5+want || c.Failed != want {
			t.Errorf("after one that has supervised: %+v, %v", c, err)
		}
	}
	write(crashesName, "{garbage")
	if c, err := countCrash(folder); err != nil || c.InRow != 1 {
		t.Errorf("after garbage: %+v, %v", c, err)
	}
	if c, err := countCrash(filepath.Join(folder, "none")); err == nil || c.pause() != longestPause {
		t.Errorf("not kept: %+v, %v", c, err)
	}
}

// TestBrake waits only under a service manager that starts again, and only when crashes come one after the other.
func TestBrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		g := &globals{streams: streams{out: &out, err: &out}}
		began := time.Now()
		if err := g.brake(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("without a folder: %v after %v", err, time.Since(began))
		}
		g.env = []string{"STATE_DIRECTORY=" + t.TempDir()}
		for range freeFailures + 2 {
			if err := g.brake(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 3*crashPause {
			t.Errorf("took %v: %s", took, &out)
		}
		if !strings.Contains(out.String(), "5 times in a row") {
			t.Errorf("said %q", &out)
		}
	})
}
