package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// dialog runs a command on a terminal and types the answer once the question is there. ^C stands for an interrupt.
func dialog(t *testing.T, f *fakeDaemon, question, answer string, args ...string) (code int, shown *buffer) {
	t.Helper()
	guard := make(chan os.Signal, 1) // a signal that comes too late must not end the test binary
	signal.Notify(guard, syscall.SIGINT)
	defer signal.Stop(guard)
	tty, keys, shown := keyboard(t)
	ended := make(chan int)
	go func() { // ends with the answer
		ended <- execute(context.Background(), append([]string{"--dir", f.dir}, args...), streams{in: tty, out: tty, err: tty, env: testEnv(t)})
	}()
	eventually(t, question, func() bool { return strings.Contains(shown.String(), question) })
	if answer == "^C" {
		syscall.Kill(os.Getpid(), syscall.SIGINT)
	} else if _, err := keys.WriteString(answer); err != nil {
		t.Fatal(err)
	}
	return <-ended, shown
}

func TestPlansAreConfirmedOnATerminal(t *testing.T) {
	for _, c := range []struct {
		mode, question, answer string
		code                   int
	}{
		{"join", "Go on? Type yes: ", "yes\n", exitOK},
		{"join", "Go on? Type yes: ", "y\n", exitInterrupted},
		{"join", "Go on? Type yes: ", "\x04", exitInterrupted}, // end of input
		{"join", "Go on? Type yes: ", "^C", exitInterrupted},
		{"force-new-cluster", "Go on? Type the ID of the cluster, 1c45a069f3a1d796: ", "1c45a069f3a1d796\n", exitOK},
		{"force-new-cluster", "Go on? Type the ID of the cluster, 1c45a069f3a1d796: ", "yes\n", exitInterrupted},
		{"force-new-cluster", "Go on? Type the ID of the cluster, 1c45a069f3a1d796: ", "\n", exitInterrupted},
	} {
		f := newFakeDaemon(t, t.TempDir(), readyStatus())
		f.plan = map[string]status.Plan{"join": joinPlan(), "force-new-cluster": forcePlan()}[c.mode]
		changed := false
		f.script = func(command string) error {
			if strings.HasPrefix(command, "change ") {
				changed = true
				f.setModes(func(m *status.Modes) { m.Now = finished("t1", status.Mode(c.mode), f.plan) })
			}
			return nil
		}
		code, shown := dialog(t, f, c.question, c.answer, "mode", c.mode)
		if code != c.code || changed != (c.code == exitOK) {
			t.Errorf("%s, %q: exit code %d, changed %v", c.mode, c.answer, code, changed)
		}
		want := "not done: nothing was changed"
		if changed {
			want = c.mode + " is done"
		}
		eventually(t, want, func() bool { return strings.Contains(shown.String(), want) })
		if !strings.Contains(shown.String(), "from here on there is no way back") {
			t.Errorf("no plan is shown: %s", shown.String())
		}
	}
}

func TestLongPlansAreToldOf(t *testing.T) {
	t.Parallel()
	tty, shown := terminal(t)
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	told := make(chan struct{})
	f.script = func(string) error {
		<-told
		return nil
	}
	ended := make(chan int)
	go func() { // ends when the plan is there
		ended <- execute(t.Context(), []string{"--dir", f.dir, "mode", "join", "--plan"}, streams{out: tty, err: tty, env: testEnv(t)})
	}()
	eventually(t, "it says what it waits for", func() bool { return strings.Contains(shown.String(), "making the plan, 2s so far") })
	close(told)
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestMemberQuestionCanBeInterrupted(t *testing.T) {
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	if code, _ := dialog(t, f, "Go on? Type yes: ", "^C", "member", "remove", "n3"); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

func TestModeStepsOnATerminal(t *testing.T) {
	tty, shown := terminal(t)
	f := newFakeDaemon(t, t.TempDir(), readyStatus())
	f.plan = joinPlan()
	running := transition("t1", status.ModeJoin, f.plan, 4)
	running.Progress = "42 %, 120 MB/s"
	f.setModes(func(m *status.Modes) { m.Now = running })
	ended := make(chan int)
	go func() { // ends with the transition
		ended <- execute(t.Context(), []string{"--dir", f.dir, "mode", "--watch"}, streams{out: tty, err: tty, env: testEnv(t)})
	}()
	eventually(t, "the present step, and its line anew", func() bool {
		return strings.Count(shown.String(), "▸ step 5 of 6, catch-up: 42 %, 120 MB/s, for ") >= 2
	})
	f.end(finished("t1", status.ModeJoin, f.plan))
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	eventually(t, "the line is gone before the step is told", func() bool {
		return strings.Contains(shown.String(), "\r\x1b[K\x1b[32m✓\x1b[0m 5/6  catch-up   1s")
	})
}
