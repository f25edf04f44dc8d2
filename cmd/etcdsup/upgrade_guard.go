package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor"
	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// The guard is a child of an etcdsup that lets another executable take its place, and runs the old one. It watches the
// process until the new one supervises. One that does not is ended, and the old one comes back: by the service manager
// where there is one, and else by the guard, which becomes it.

// guardName is the name, argv[0], under which this executable is a guard.
const guardName = "etcdsup-guard"

// guardFD is where a guard has its end of the way to who it watches.
const guardFD = 3

// The words on that way.
const (
	guardWatches = 'w' // from the guard: whatever happens from now on is seen
	guardGo      = 'g' // the exec is next: the time runs
	guardBack    = 'b' // the new one gives up and executes the old one: the time runs anew
	guardHealthy = 'h' // somebody supervises
	guardCancel  = 'c' // nothing came of it: the old one goes on
)

// guardOrder is what a guard is told, as its one argument.
type guardOrder struct {
	Watch   process.ID      `json:"watch"`
	Within  time.Duration   `json:"within_ns"`
	State   string          `json:"state"`   // folder
	Lock    string          `json:"lock"`    // of the instance
	Leaving string          `json:"leaving"` // there when etcdsup was told to end
	Managed bool            `json:"managed"` // somebody else starts the old one again
	Args    []string        `json:"args"`    // of etcdsup
	Upgrade *status.Upgrade `json:"upgrade"`
}

// startGuard starts a guard that watches this process, and returns our end of the way to it when it does.
func startGuard(o guardOrder, env []string) (fd int, err error) {
	if o.Watch, err = process.Self(); err != nil {
		return -1, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return -1, fmt.Errorf("cannot tell the guard what to do: %w", err)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot make a way to the guard: %w", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "guard")
	defer theirs.Close()
	p, err := process.Start(process.Spec{
		Path: "/proc/self/exe", Args: []string{guardName, string(text)}, Env: env,
		Output: os.Stdout, Errors: os.Stderr, Inherit: []*os.File{theirs},
	})
	if err != nil {
		_ = unix.Close(ends[0])
		return -1, err
	}
	_ = theirs.Close() // so that its end is seen as one
	defer p.Close()    // who reaps orphans reaps it too
	if word, err := readWord(ends[0], guardStart); word != guardWatches {
		_ = p.Signal(unix.SIGKILL)
		_ = unix.Close(ends[0])
		return -1, fmt.Errorf("cannot start the guard that brings this etcdsup back: %w", err)
	}
	return ends[0], nil
}

// guardStart is how long a guard may take to start.
const guardStart = time.Minute

var errNoWord = errors.New("it says nothing")

// readWord waits for the next word; 0 where none comes.
func readWord(fd int, limit time.Duration) (byte, error) {
	for end := time.Now().Add(limit); ; {
		left := time.Until(end)
		if left <= 0 {
			return 0, errNoWord
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if n == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		word := make([]byte, 1)
		n, err = unix.Read(fd, word)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 {
			return 0, errors.Join(errors.New("it has ended"), err)
		}
		return word[0], nil
	}
}

// runGuard is main for a guard. It returns the exit code.
func runGuard(args []string) int {
	var o guardOrder
	if len(args) != 2 || json.Unmarshal([]byte(args[1]), &o) != nil || o.Upgrade == nil {
		fmt.Fprintf(os.Stderr, "etcdsup: %s is for etcdsup's own use\n", guardName)
		return exitUsage
	}
	unix.CloseOnExec(guardFD)
	watched, err := process.Adopt(o.Watch)
	if err != nil {
		return exitFailure // and nothing begins: nobody hears that we watch
	}
	defer watched.Close()
	if _, err := unix.Write(guardFD, []byte{guardWatches}); err != nil {
		return exitFailure
	}
	what := o.watch()
	if what == "" {
		return exitOK
	}
	o.tell(what)
	_ = watched.Signal(unix.SIGKILL) // it hangs, or is dead already
	watched.Wait()
	if o.isWanted() {
		err := syscall.Exec("/proc/self/exe", o.Args, os.Environ())
		fmt.Fprintln(os.Stderr, "etcdsup: cannot bring the old etcdsup back:", err)
		return exitFailure
	}
	return exitOK
}

// watch waits until it is clear what has come of the upgrade, and says what went wrong; empty: nothing that concerns us.
func (o *guardOrder) watch() string {
	limit, begun := guardStart, false
	for {
		word, err := readWord(guardFD, limit)
		switch {
		case word == guardHealthy, word == guardCancel, word == 0 && !begun:
			return "" // an etcdsup that is killed before it has begun is one that is killed
		case word == guardGo:
			limit, begun = o.Within, true
		case word == guardBack:
			limit = max(o.Within, guardStart)
		case errors.Is(err, errNoWord):
			return fmt.Sprintf("did not supervise within %v", o.Within)
		case word == 0:
			return "ended before it supervised"
		}
	}
}

// tell writes down why the old one comes back, unless that was done by who gave up.
func (o *guardOrder) tell(what string) {
	if u := supervisor.PeekUpgrade(o.State); u != nil && u.ID == o.Upgrade.ID && u.Outcome != status.UpgradeRunning {
		return
	}
	o.Upgrade.Outcome, o.Upgrade.Why = status.UpgradeCameBack, failedBy(o.Upgrade, what)
	if err := supervisor.SaveUpgrade(o.State, o.Upgrade); err != nil {
		fmt.Fprintln(os.Stderr, "etcdsup:", err)
	}
}

// othersFirst is how long a manager that we do not know of has time to start etcdsup again.
const othersFirst = time.Second

// isWanted tells whether the guard is to be the etcdsup that comes back.
func (o *guardOrder) isWanted() bool {
	if _, err := os.Stat(o.Leaving); o.Managed || err == nil {
		return false
	}
	<-time.After(othersFirst)
	lock, err := process.LockFile(o.Lock)
	if err != nil {
		return false // somebody runs
	}
	_ = lock.Close() // it is taken anew by what we become
	return true
}
