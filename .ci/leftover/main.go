// Command leftover runs a command and fails when that leaves a process behind. Orphans below it become its own children,
// whatever session, group or environment they gave themselves, so none is missed and nobody else's is taken for one.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ending is how long a process may take for its end after the command's: some are just on their way.
const ending = time.Minute

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "leftover:", err)
		os.Exit(1)
	}
	left := waitForOrphans()
	for _, pid := range left {
		fmt.Printf("left behind: process %d: %s\n", pid, commandOf(pid))
		_ = unix.Kill(pid, unix.SIGKILL) // ours, and unreaped, so the PID is its own
	}
	if len(left) > 0 && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// endWithUs ends everything below us, again and again, once we are told to end.
func endWithUs() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM, unix.SIGINT)
	<-told
	for {
		for _, pid := range descendants(os.Getpid()) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// run gives the command's exit code, as a shell does.
func run(args []string) (int, error) {
	if len(args) == 0 {
		return 0, errors.New("usage: leftover COMMAND [ARGUMENT]...")
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("cannot become the parent of orphans: %w", err)
	}
	path, err := lookPath(args[0])
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(path, args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 0, err
	}
	go endWithUs()
	for { // all children are ours to reap, also those that are not p
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("cannot wait: %w", err)
		case pid == p.Pid && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		case pid == p.Pid:
			return ws.ExitStatus(), nil
		}
	}
}

func lookPath(name string) (string, error) {
	for _, dir := range strings.Split(os.Getenv("PATH"), ":") {
		path := dir + "/" + name
		if unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("cannot find %s", name)
}

// waitForOrphans reaps until none is left or the time is over, and gives those that live on.
func waitForOrphans() []int {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(ending); time.Now().Before(deadline); <-tick.C {
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid == 0 {
				break
			}
		}
		if len(descendants(os.Getpid())) == 0 {
			return nil
		}
	}
	return descendants(os.Getpid())
}

// descendants are the living processes below pid.
func descendants(pid int) []int {
	var all []int
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

func commandOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\x00", " "))
}
