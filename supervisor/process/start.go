package process

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spec is everything that a process is started with. Nothing is inherited that is not named here, except the
// signals that etcdsup itself was started with ignored.
type Spec struct {
	Path string   // of the executable
	Args []string // argv, argv[0] included
	Env  []string // NAME=value, the whole environment
	Dir  string   // working directory; empty: ours

	// Output becomes stdout and stderr. The child shares the open file and with it O_NONBLOCK, which is therefore
	// switched off: give an Output of its own, not the end that we read from.
	Output  *os.File
	Errors  *os.File   // becomes stderr instead; nil: Output does
	Inherit []*os.File // become descriptors 3, 4, …

	Cgroup      *os.File // directory of the cgroup to be born in; nil: ours
	OOMScoreAdj *int     // nil: inherited
}

// Start starts a process in a session of its own, with /dev/null as stdin and no signal blocked. It returns when
// the executable has been loaded; an error means that no process is left behind. A cgroup that cannot be used
// does not prevent the start, see [Proc.Contained].
//
// The way from the call to the child's first instruction is the time that etcd is away after a crash: nothing is
// read or written on it that can wait until after.
func Start(spec Spec) (*Proc, error) {
	null, err := devNull()
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", spec.Path, err)
	}
	p := &Proc{fd: -1, child: true, started: true}
	pid, err := family.fork(p, func() (int, error) { return fork(spec, null, p) })
	runtime.KeepAlive(spec)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", spec.Path, err)
	}
	if spec.OOMScoreAdj != nil {
		setOOMScoreAdj(pid, *spec.OOMScoreAdj)
	}
	return p, nil
}

// devNull is the stdin of every child, opened once. Before the first child, whatever etcdsup itself was started
// with is closed to all children: a pipe that the caller left open would otherwise stay open for etcd's life.
var devNull = sync.OnceValues(func() (*os.File, error) {
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // Linux 5.11
	return os.Open(os.DevNull)
})

// fork starts the process and fills in p. Nobody can reap the child before it returns.
func fork(spec Spec, null *os.File, p *Proc) (int, error) {
	attr := &syscall.ProcAttr{Dir: spec.Dir, Env: spec.Env, Files: files(spec, null)}
	attr.Sys = &syscall.SysProcAttr{Setsid: true, PidFD: &p.fd}
	if spec.Cgroup != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(spec.Cgroup.Fd())
	}
	pid, err := forkUnmasked(spec, attr)
	if err != nil && spec.Cgroup != nil {
		// The cgroup may be gone, or full, or the call forbidden by a seccomp filter; the error cannot be told
		// from one of the executable's. Containment without a cgroup is better than no etcd.
		attr.Sys.UseCgroupFD = false
		pid, err = forkUnmasked(spec, attr)
	} else {
		p.contained = spec.Cgroup != nil
	}
	if err != nil {
		return 0, err
	}
	return pid, p.hold(pid)
}

// files is the child's descriptor table.
func files(spec Spec, null *os.File) []uintptr {
	out := null.Fd()
	if spec.Output != nil {
		out = spec.Output.Fd()
	}
	errs := out
	if spec.Errors != nil {
		errs = spec.Errors.Fd()
	}
	fds := append(make([]uintptr, 0, 3+len(spec.Inherit)), null.Fd(), out, errs)
	for _, f := range spec.Inherit {
		fds = append(fds, f.Fd())
	}
	return fds
}

// forkUnmasked starts the child from a thread that has no signal blocked: the mask is inherited across fork and
// exec, and etcdsup may itself have been started with SIGTERM blocked.
func forkUnmasked(spec Spec, attr *syscall.ProcAttr) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none, old unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, &old); err != nil {
		return 0, err
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }() // fails only for a bad how or address
	return syscall.ForkExec(spec.Path, spec.Args, attr)
}

// hold reads the identity of our new child and makes sure that we have its pidfd. The child cannot have been
// reaped yet, so its PID is its own.
func (p *Proc) hold(pid int) error {
	var err error
	if p.fd < 0 {
		p.fd, err = unix.PidfdOpen(pid, 0)
	}
	if err == nil {
		p.id, _, err = readID(pid, p.fd)
	}
	if err != nil { // a kernel without pidfds, /proc not mounted: we could not keep our promises about it
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = reap(unix.P_PID, pid)
		p.Close()
		return err
	}
	return nil
}

// setOOMScoreAdj never prevents a start: lowering the value needs a privilege that we may not have, and the child
// runs already.
func setOOMScoreAdj(pid, adj int) {
	_ = os.WriteFile(procPath(pid, "oom_score_adj"), []byte(strconv.Itoa(adj)), 0)
}
