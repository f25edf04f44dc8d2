// Package systemd speaks with the service manager that started etcdsup: sd_notify(3), sd_watchdog_enabled(3) and
// sd_listen_fds(3). Any manager that speaks these will do. Without one, a [Manager] is nil, and each of its methods may
// be called all the same.
package systemd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The variables by which a manager makes itself known. They are meant for one process, and are never passed on.
const (
	envNotify      = "NOTIFY_SOCKET"
	envWatchdog    = "WATCHDOG_USEC" // microseconds
	envWatchdogPID = "WATCHDOG_PID"
	envListenPID   = "LISTEN_PID"
	envListenFDs   = "LISTEN_FDS"
	envListenNames = "LISTEN_FDNAMES"
)

// firstStored is the number of the first descriptor that a manager hands over.
const firstStored = 3

// Manager is the way to the service manager. Its methods may be called by several goroutines at once.
type Manager struct {
	fd       int
	path     string
	watchdog time.Duration
}

// Connect opens the way to the manager that the environment names, and takes its variables out of the environment. It
// gives nil where there is none.
func Connect() (*Manager, error) {
	path, watchdog := os.Getenv(envNotify), watchdogOf(os.Getenv, os.Getpid())
	for _, name := range []string{envNotify, envWatchdog, envWatchdogPID} {
		_ = os.Unsetenv(name) // fails for a name without sense only
	}
	if path == "" {
		return nil, nil
	}
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@") {
		return nil, fmt.Errorf("cannot tell the service manager anything: %s=%s is no path", envNotify, path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket for the service manager: %w", err)
	}
	return &Manager{fd: fd, path: path, watchdog: watchdog}, nil
}

// watchdogOf is the time within which the manager wants to hear of us; 0: it does not wait.
func watchdogOf(getenv func(string) string, pid int) time.Duration {
	usec, err := strconv.ParseInt(getenv(envWatchdog), 10, 64)
	if err != nil || usec <= 0 || usec > int64(365*24*time.Hour/time.Microsecond) {
		return 0
	}
	if whose := getenv(envWatchdogPID); whose != "" && whose != strconv.Itoa(pid) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

// Watchdog is the time within which the manager wants to hear [Alive]; 0: it does not wait for it.
func (m *Manager) Watchdog() time.Duration {
	if m == nil {
		return 0
	}
	return m.watchdog
}

// Message is one line for the manager.
type Message string

// What can be said. See sd_notify(3).
const (
	Ready    Message = "READY=1"
	Stopping Message = "STOPPING=1"
	Alive    Message = "WATCHDOG=1"
)

// Text is the sentence that systemctl status shows.
func Text(sentence string) Message {
	return Message("STATUS=" + strings.ReplaceAll(sentence, "\n", " "))
}

// Extend asks for so much time from now on, for the start or the stop that is under way.
func Extend(by time.Duration) Message {
	return Message("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(by.Microseconds(), 10))
}

// Tell sends the messages, in their order and as one. A manager that does not read in time loses them: waiting for it
// would make a stuck manager stop us as well.
func (m *Manager) Tell(messages ...Message) error {
	if m == nil {
		return nil
	}
	return m.send(join(messages), nil)
}

func join(messages []Message) string {
	lines := make([]string, len(messages))
	for i, one := range messages {
		lines[i] = string(one)
	}
	return strings.Join(lines, "\n")
}

func (m *Manager) send(text string, rights []byte) error {
	to := &unix.SockaddrUnix{Name: m.path} // its own each time: it is written to when it is used
	for {
		err := unix.Sendmsg(m.fd, []byte(text), rights, to, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			line, _, _ := strings.Cut(text, "\n")
			return fmt.Errorf("cannot tell the service manager %s: %w", line, err)
		}
	}
}

// Store has the manager keep a copy of the file for the next etcdsup, under that name. It keeps it until the service is
// stopped in order, or until Forget. A pipe whose other end is closed is kept too.
func (m *Manager) Store(name string, f *os.File) error {
	if m == nil {
		return nil
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot have the service manager keep %s: %w", name, err)
	}
	var sent error
	err = conn.Control(func(fd uintptr) {
		sent = m.send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, unix.UnixRights(int(fd)))
	})
	return errors.Join(err, sent)
}

// Forget lets go of what is stored under that name.
func (m *Manager) Forget(name string) error {
	if m == nil {
		return nil
	}
	return m.send("FDSTOREREMOVE=1\nFDNAME="+name, nil)
}

// Stored takes the files that the manager kept for this process, by name, and takes the variables out of the
// environment. Of several under one name the last one counts, and the others are closed. Call it once, before any file
// is opened that a wrong number could mean.
func Stored() map[string]*os.File {
	count, names := handedOver(os.Getenv, os.Getpid())
	for _, name := range []string{envListenPID, envListenFDs, envListenNames} {
		_ = os.Unsetenv(name)
	}
	files := map[string]*os.File{}
	for i := range count {
		fd := firstStored + i
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			continue // the environment lied
		}
		name := "unknown"
		if i < len(names) {
			name = names[i]
		}
		if before := files[name]; before != nil {
			_ = before.Close()
		}
		files[name] = os.NewFile(uintptr(fd), name)
	}
	return files
}

// maxStored is more than any manager would hand to us.
const maxStored = 64

func handedOver(getenv func(string) string, pid int) (count int, names []string) {
	if getenv(envListenPID) != strconv.Itoa(pid) {
		return 0, nil
	}
	count, err := strconv.Atoi(getenv(envListenFDs))
	if err != nil || count < 0 || count > maxStored {
		return 0, nil
	}
	return count, strings.Split(getenv(envListenNames), ":")
}
