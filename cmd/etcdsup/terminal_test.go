package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// terminal is a pseudo terminal: what is written to tty appears in shown.
func terminal(t *testing.T) (tty *os.File, shown *buffer) {
	t.Helper()
	tty, _, shown = keyboard(t)
	return tty, shown
}

// keyboard is a terminal, and the end of it where a person types.
func keyboard(t *testing.T) (tty, keys *os.File, shown *buffer) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	shown = &buffer{}
	ended := make(chan struct{})
	go func() { // ends when the last descriptor of the other end is closed
		defer close(ended)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			shown.Write(b[:n])
		}
	}()
	t.Cleanup(func() {
		tty.Close()
		<-ended
		master.Close()
	})
	return tty, master, shown
}

func TestWatchRedrawsATerminal(t *testing.T) {
	tty, shown := terminal(t)
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() { // ends with ctx
		ended <- execute(ctx, []string{"--dir", f.dir, "status", "-w"}, streams{out: tty, err: tty, env: testEnv(t)})
	}()
	eventually(t, "the screen is cleared and drawn in colour", func() bool {
		return strings.Contains(shown.String(), "\x1b[2J\x1b[Hdefault  \x1b[32mready\x1b[0m for ")
	})
	f.Publish(func(st *status.Status) { *st = troubledStatus() })
	eventually(t, "it is drawn over", func() bool { return strings.Contains(shown.String(), "\x1b[Hdefault  \x1b[33mstopping\x1b[0m for ") })
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestProgressIsOneLineOnATerminal(t *testing.T) {
	t.Parallel()
	tty, shown := terminal(t)
	f := newFakeDaemon(t, t.TempDir(), downStatus())
	f.script = func(string) error {
		f.Publish(func(st *status.Status) { st.Goal, st.State, st.Since = status.GoalUp, status.StateStarting, time.Now() })
		return nil
	}
	ended := make(chan int)
	go func() { // ends when etcd comes up
		ended <- execute(t.Context(), []string{"--dir", f.dir, "start"}, streams{out: tty, err: tty, env: testEnv(t)})
	}()
	eventually(t, "the line, and the line anew over it", func() bool {
		return strings.Count(shown.String(), "so far: starting") >= 2 && strings.Contains(shown.String(), "\x1b[K\rstarting, ")
	})
	comesUp(f, 13)
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	eventually(t, "the line is gone before the result", func() bool { return strings.Contains(shown.String(), "\r\x1b[Ketcd is ready, PID 13") })
}

func TestColourIsForTerminalsThatWantIt(t *testing.T) {
	tty, _ := terminal(t)
	for _, tc := range []struct {
		env  string
		want bool
	}{{"TERM=xterm", true}, {"TERM=dumb", false}, {"NO_COLOR=1", false}} {
		g := &globals{streams: streams{env: []string{tc.env}}}
		if got := g.palette(tty).on; got != tc.want {
			t.Errorf("%s: %v", tc.env, got)
		}
		if g.palette(&buffer{}).on {
			t.Error("colour without a terminal")
		}
	}
}
