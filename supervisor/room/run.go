package room

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Run is one etcd in its room. Its methods may be called from several goroutines.
type Run struct {
	proc  *os.Process
	done  chan struct{}
	state *os.ProcessState // once done is closed
	err   error            // of waiting, which fails only if somebody else waited for our child
}

// startLimit is how long a child may take to become etcd. It is only as long as it is for machines under load.
const startLimit = 30 * time.Second

// Start starts etcd in a room of spec.Kind. It returns when etcd's executable has been loaded; an error means that no
// process is left behind, and wraps [ErrNotIsolated] when it was the kernel that refused the room.
//
// A Run outlives us if we are killed. The one who comes after us finds it by what it inherited, see [Spec.Inherit].
func Start(spec Spec) (*Run, error) {
	path, argv := spec.command()
	r, err := start(&spec, path, argv)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s in a room: %w", path, err)
	}
	return r, nil
}

func start(spec *Spec, path string, argv []string) (*Run, error) {
	if err := spec.Kind.known(); err != nil {
		return nil, err
	}
	outside, err := namespaceOf()
	if err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	o := &order{report: 3 + len(spec.Inherit), kind: spec.Kind, outside: outside, path: path, argv: argv}
	r, err := fork(spec, o, writer)
	_ = writer.Close()
	if err != nil {
		return nil, err
	}
	if err := verdict(reader); err != nil {
		_ = r.proc.Kill() // it has ended by itself, unless it told nothing in time
		<-r.done
		return nil, err
	}
	return r, nil
}

// fork makes the child, with the descriptors that the order speaks of.
func fork(spec *Spec, o *order, report *os.File) (*Run, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	out := spec.Output
	if out == nil {
		out = null
	}
	files := append([]*os.File{null, out, out}, spec.Inherit...)
	env := append([]string{}, spec.Env...) // nil would mean ours
	proc, err := os.StartProcess(selfExe, o.args(), &os.ProcAttr{
		Dir: spec.Dir, Env: env, Files: append(files, report), Sys: spec.Kind.attributes(),
	})
	if err != nil {
		return nil, refused(spec, err)
	}
	r := &Run{proc: proc, done: make(chan struct{})}
	go r.awaitExit() // ends with the process
	return r, nil
}

// refused tells the kernel's refusal of a room from the other reasons for which no process can be made.
func refused(spec *Spec, err error) error {
	var p *os.PathError
	if errors.As(err, &p) && p.Path == selfExe {
		err = p.Err // our own path says nothing
	}
	var errno syscall.Errno
	if !spec.Kind.Isolated() || !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case syscall.EACCES: // may be that of the working directory
		if spec.Dir != "" {
			return err
		}
	case syscall.EPERM, syscall.ENOSPC, syscall.EUSERS, syscall.EINVAL, syscall.ENOSYS:
	default:
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotIsolated, err)
}

// verdict waits until the child has become etcd, which closes the pipe, or has said why not.
func verdict(report *os.File) error {
	if err := report.SetReadDeadline(time.Now().Add(startLimit)); err != nil {
		return err
	}
	told, err := io.ReadAll(report)
	if err != nil {
		return fmt.Errorf("not within %v: %w", startLimit, err)
	}
	return decodeFailure(told)
}

func (r *Run) awaitExit() {
	r.state, r.err = r.proc.Wait()
	close(r.done)
}

// PID is the process ID of etcd, for people and for /proc.
func (r *Run) PID() int { return r.proc.Pid }

// Done is closed when etcd is dead and was waited for.
func (r *Run) Done() <-chan struct{} { return r.done }

// Wait blocks until etcd is dead. The error is nil for an end as etcd has it after SIGTERM, else an [ExitError].
func (r *Run) Wait() error {
	<-r.done
	if r.err != nil {
		return fmt.Errorf("cannot wait for process %d: %w", r.PID(), r.err)
	}
	if st, ok := r.state.Sys().(syscall.WaitStatus); r.state.Success() || ok && st.Signaled() && st.Signal() == syscall.SIGTERM {
		return nil // etcd sends the signal to itself once more when it has closed everything
	}
	return &ExitError{PID: r.PID(), State: r.state}
}

// Stop ends etcd: with SIGTERM, and with SIGKILL when ctx ends first. It returns when etcd is dead, with an error as of
// [Run.Wait]. An etcd that has ended already is no error of Stop's own. A process in uninterruptible sleep is waited for.
func (r *Run) Stop(ctx context.Context) error {
	_ = r.proc.Signal(syscall.SIGTERM) // fails only for one that is dead
	select {
	case <-r.done:
	case <-ctx.Done():
		_ = r.proc.Kill()
	}
	return r.Wait()
}

// ExitError says that an etcd did not end in order.
type ExitError struct {
	PID   int
	State *os.ProcessState
}

// Error tells the exit code or the signal.
func (e *ExitError) Error() string {
	return fmt.Sprintf("etcd (process %d) ended with %s", e.PID, e.State)
}
