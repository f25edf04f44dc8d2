// Package room runs an etcd that nobody else can reach and that can reach nobody: in a network namespace of its own,
// with sockets in the file system as the only way in. It is for the work on a member's data during which the old
// members must not hear of it: an etcd under --force-new-cluster has the cluster ID and the member ID of the old
// cluster, and every old member that it reaches, or that reaches it, is told that it was removed, and ends.
//
// The way into the namespace is this very executable under another name, see [Enter]: every program that imports this
// package for more than [Enter] has to call that first thing in main.
package room

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Kind is the means by which a run is kept apart.
type Kind string

// The kinds, the better one first.
const (
	KindNetwork Kind = "network-namespace" // needs root, or CAP_SYS_ADMIN
	KindUser    Kind = "user-namespace"    // a network namespace in a user namespace, for everybody else
	// KindOpen keeps nothing apart: etcd has the host's network. Nobody reaches it, since it listens on Unix sockets
	// only, but it reaches whom it likes. It is never chosen by Check.
	KindOpen Kind = "open"
)

// Isolated tells whether the network of the run is its own.
func (k Kind) Isolated() bool { return k == KindNetwork || k == KindUser }

// known refuses the zero value above all: a run without isolation has to be asked for by name.
func (k Kind) known() error {
	if k.Isolated() || k == KindOpen {
		return nil
	}
	return fmt.Errorf("%q is no way to isolate it", string(k))
}

// attributes are what the kernel is asked for when the child is made. The child stays in our session: whoever waits for
// all foreign sessions' children in this program leaves it to us. It has a process group of its own, so that a Ctrl-C
// meant for us does not end it half-way.
func (k Kind) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	switch k {
	case KindNetwork:
		a.Cloneflags = unix.CLONE_NEWNET
	case KindUser:
		uid, gid := os.Geteuid(), os.Getegid()
		a.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNET
		// Root in it has the rights over it, also after exec, and Enter gives them up. Any other user would have to be handed
		// one with capset(2), which the sandbox of a service forbids with all that is for root.
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	return a
}

// Spec is what a run is started with. Nothing is inherited that is not named here, except the signals that etcdsup
// itself was started with ignored.
type Spec struct {
	Kind   Kind     // from Check
	Binary string   // path of etcd; empty: the built-in one, which is this executable under the name etcd
	Args   []string // behind argv[0]
	Env    []string // NAME=value, the whole environment; the token of the instance belongs in it
	Dir    string   // working directory; empty: ours

	// Output becomes stdout and stderr; nil: /dev/null. The child shares the open file and with it O_NONBLOCK, which is
	// therefore switched off: give an Output of its own, not the end that is read from.
	Output *os.File
	// Inherit become descriptors 3, 4, …. The start lock belongs here: if we are killed, etcd lives on in its
	// namespace, and only by the lock, and by the token, is it found again.
	Inherit []*os.File
}

// command is the executable and its argv.
func (s *Spec) command() (path string, argv []string) {
	if s.Binary == "" {
		return selfExe, append([]string{"etcd"}, s.Args...)
	}
	return s.Binary, append([]string{s.Binary}, s.Args...)
}

const selfExe = "/proc/self/exe"

// namespaceOf is the identity of our network namespace. One that lives is never the same as another that lives.
func namespaceOf() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		return 0, fmt.Errorf("cannot tell the network namespace: %w", err)
	}
	return st.Ino, nil
}

// ErrNotIsolated is found in the errors that say that the kernel, or whoever configured it, does not allow a room.
var ErrNotIsolated = errors.New("no isolation is possible here")
