package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func shell(line string) *Command {
	return &Command{Path: "/bin/sh", Args: []string{"sh", "-c", line}, Env: []string{"PATH=" + os.Getenv("PATH"), "A=b"}, Dir: "/", Timeout: time.Minute, Grace: time.Minute, Keep: 10}
}

func TestCommand(t *testing.T) {
	r, err := shell(`echo $A; echo "twelve bytes" >&2; pwd; exit 3`).Run(t.Context())
	if err != nil || r.Exit.Code != 3 || r.TimedOut || r.Took <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if string(r.Stdout.Text) != "b\n/\n" || r.Stdout.Dropped != 0 || string(r.Stderr.Text) != "lve bytes\n" || r.Stderr.Dropped != 3 {
		t.Errorf("%+v %+v", r.Stdout, r.Stderr)
	}
	c := shell("")
	c.Path = "/nonexistent"
	if _, err := c.Run(t.Context()); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
}

// TestCommandLeavesNothing: what a command has put into the background ends with it, also when it took too long and when
// nobody wants it any more.
func TestCommandLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name, end string
		timeout   time.Duration
		cancel    bool
	}{
		{"ended", "exit 0", time.Minute, false},
		{"timed out", "sleep 300", 50 * time.Millisecond, false},
		{"ignores SIGTERM", "trap '' TERM; while :; do sleep 300; done", 50 * time.Millisecond, false},
		{"cancelled", "sleep 300", time.Minute, true},
	} {
		file := filepath.Join(t.TempDir(), "pid")
		c := shell(`(trap '' TERM; while :; do sleep 300; done) & echo $! > ` + file + "; " + tt.end)
		c.Timeout, c.Grace = tt.timeout, 50*time.Millisecond
		ctx, cancel := context.WithCancelCause(t.Context())
		if tt.cancel {
			go func() { // ends when the file is there
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for readPID(file) == 0 && t.Context().Err() == nil {
					<-tick.C
				}
				cancel(errors.New("not wanted"))
			}()
		}
		r, err := c.Run(ctx)
		if tt.cancel != (err != nil) || r.TimedOut != (tt.end != "exit 0") {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
		if pid := readPID(file); pid != 0 { // it may have been ended before it came to that
			eventually(t, "its end", func() bool { return !lives(pid) })
		}
		cancel(nil)
	}
}

func readPID(file string) int {
	b, _ := os.ReadFile(file)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// lives is false for a zombie too, whoever is to bury it.
func lives(pid int) bool {
	s, err := readStat(pid)
	return err == nil && s.state != 'Z'
}
