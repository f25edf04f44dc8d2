package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/process"
)

// thisKeeperHost asks the host that this is.
func thisKeeperHost(ctx context.Context) keeperHost {
	return keeperHost{
		isFIFO: func(path string) bool {
			info, err := os.Stat(path)
			return err == nil && info.Mode().Type() == os.ModeNamedPipe
		},
		glob: glob,
		property: func(unit, name string) string {
			value, _ := tool(ctx, "systemctl", "show", "--value", "-p", name, unit) // without systemd there is no unit
			return value
		},
		linkTo: func(path string) string {
			target, _ := os.Readlink(path) // it is none
			return target
		},
		enabled: func(unit string) bool {
			said, err := tool(ctx, "systemctl", "is-enabled", unit) // of an init script it says more
			return err == nil && strings.HasSuffix(said, "enabled") // and not "static"
		},
		inUnit:      processesIn,
		descendants: process.Descendants,
	}
}

// tool runs a tool of the host to its end, and gives what it printed. Its own time-outs are shorter than ours.
func tool(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTime+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("cannot run %s: %w: %s", strings.Join(cmd.Args, " "), err, printable(text))
	}
	return text, nil
}

// outputsOf are the files that a process has as its input and outputs, as far as they can be opened again.
func outputsOf(pid int) (files [3]string) {
	for i := range files {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, i))
		info, statErr := os.Stat(target)
		if err == nil && statErr == nil && filepath.IsAbs(target) && (info.Mode().IsRegular() || target == os.DevNull) {
			files[i] = target
		}
	}
	return files
}

// release makes the keeper leave etcd alone for good: when it returns, nothing starts etcd again. Etcd itself may be
// asked to end on the way, and may live on.
func (k *etcdKeeper) release(ctx context.Context) error {
	switch k.Kind {
	case keptByFIFO:
		return k.releaseFIFO(ctx)
	case keptBySupervisord:
		_, err := tool(ctx, k.Tool[0], append(slices.Clone(k.Tool[1:]), "stop", k.Name)...)
		return err
	case keptBySystemd:
		return k.releaseUnit(ctx)
	case keptByScript:
		return k.endShells(ctx)
	}
	return nil
}

// childTime is how long a keeper may take to end what it has started: an etcd with all its clients, at most.
const childTime = 2 * time.Minute

// releaseFIFO has it want etcd down. That it does is seen by the end of its child, which gets SIGTERM from it: a shell
// without exec leaves etcd behind then, as nobody's child.
func (k *etcdKeeper) releaseFIFO(ctx context.Context) error {
	if k.Down != "" {
		f, err := os.OpenFile(k.Down, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("cannot keep %s down after a reboot: %w", k.Title, err)
		}
		if err := errors.Join(f.Close(), syncDir(filepath.Dir(k.Down))); err != nil {
			return err
		}
	}
	if err := k.say("d"); err != nil {
		return err
	}
	return awaitEnd(ctx, k.Child, childTime)
}

// say writes commands to the keeper. One that is gone has nobody at the other end.
func (k *etcdKeeper) say(commands string) error {
	f, err := os.OpenFile(k.Control, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("cannot tell %s what to do: %w", k.Title, err)
	}
	_, err = f.WriteString(commands)
	return errors.Join(err, f.Close())
}

// sparesUs refuses to end a script that this command runs in: it would end with it, in the middle.
func (k *etcdKeeper) sparesUs(pid int) error {
	if k.Kind != keptByScript {
		return nil
	}
	ours, err := process.Lineage(pid)
	if err != nil {
		return err
	}
	for _, shell := range k.Shells {
		if slices.ContainsFunc(ours, func(d process.Description) bool { return d.ID == shell }) {
			return failf(exitFailure, "run it from another session", "cannot end the script of process %d: this command runs in it", shell.PID)
		}
	}
	return nil
}

// endShells ends them from the outermost, so that none sees etcd's end and starts it again.
func (k *etcdKeeper) endShells(ctx context.Context) error {
	for _, id := range k.Shells {
		if err := endProcess(ctx, id, 3*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// endProcess sends SIGTERM, after grace SIGKILL, and waits. One that is gone is no error.
func endProcess(ctx context.Context, id process.ID, grace time.Duration) error {
	p, err := process.Adopt(id)
	if errors.Is(err, process.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Signal(unix.SIGTERM); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	if awaitEnd(ctx, id, grace) == nil {
		return nil
	}
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
		return err
	}
	return awaitEnd(ctx, id, childTime)
}

// awaitEnd waits until the process is dead.
func awaitEnd(ctx context.Context, id process.ID, limit time.Duration) error {
	p, err := process.Adopt(id)
	if errors.Is(err, process.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { // it ends with the process
		defer p.Close()
		defer close(ended)
		p.Wait()
	}()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-ended:
		return nil
	case <-timeout.C:
		return fmt.Errorf("process %d did not end within %s", id.PID, humanDuration(limit))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resume has the keeper start etcd again as it did before.
func (k *etcdKeeper) resume(ctx context.Context) error {
	switch k.Kind {
	case keptByFIFO:
		return k.resumeFIFO()
	case keptBySupervisord:
		_, err := tool(ctx, k.Tool[0], append(slices.Clone(k.Tool[1:]), "start", k.Name)...)
		return err
	case keptBySystemd:
		return k.resumeUnit(ctx)
	}
	return k.spawn()
}

// spawns: it is started again by us, and has no way of its own.
func (k *etcdKeeper) spawns() bool { return k.Kind == keptByScript || k.Kind == keptByNobody }

func (k *etcdKeeper) resumeFIFO() error {
	if k.Down != "" {
		if err := os.Remove(k.Down); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot have %s start etcd: %w", k.Title, err)
		}
	}
	if err := k.say("u"); err == nil {
		return nil
	}
	return k.spawn() // it has ended since
}

// spawn starts the process again as it was started: its command line, environment, working directory, user, groups, umask and files.
func (k *etcdKeeper) spawn() error {
	d := k.Process
	cmd := exec.Command(d.Command[0], d.Command[1:]...)
	if !strings.Contains(d.Command[0], "/") && d.Exe != "" {
		cmd.Path, cmd.Err = d.Exe, nil
	}
	cmd.Dir, cmd.Env = d.Dir, d.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 && d.UID >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(d.UID), Gid: uint32(d.GID)}
		for _, g := range d.Groups {
			cmd.SysProcAttr.Credential.Groups = append(cmd.SysProcAttr.Credential.Groups, uint32(g))
		}
	}
	files, done := k.reopen()
	defer done()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	if d.Umask >= 0 {
		defer syscall.Umask(syscall.Umask(d.Umask)) // it is inherited, and there is no other way to give it on
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s again: %w", k.Title, err)
	}
	return cmd.Process.Release()
}

// reopen opens the files that the process had. In the place of a pipe or terminal, which is gone, there is nothing.
func (k *etcdKeeper) reopen() (files [3]*os.File, done func()) {
	for i, name := range k.Outputs {
		flag := os.O_WRONLY | os.O_APPEND
		if i == 0 {
			flag = os.O_RDONLY
		}
		f, err := os.OpenFile(name, flag, 0)
		if err != nil {
			f, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		}
		if err == nil {
			files[i] = f
		}
	}
	return files, func() {
		for _, f := range files {
			_ = f.Close() // nothing was written to it here
		}
	}
}

// dismiss ends the keeper once nobody needs it any more, and says what is left to do by hand.
func (k *etcdKeeper) dismiss(ctx context.Context) (left string) {
	switch {
	case k.Kind == keptByFIFO && !alive(k.Process.ID):
	case k.Kind == keptByFIFO && k.Under != "":
		return fmt.Sprintf("%s runs on without etcd: take its folder away from %s; the file %s keeps it from starting etcd", k.Title, k.Under, k.Down)
	case k.Kind == keptByFIFO:
		if err := k.say("x"); err != nil {
			return err.Error()
		}
		if err := awaitEnd(ctx, k.Process.ID, 10*time.Second); err != nil {
			return fmt.Sprintf("%s runs on without etcd, and may be ended: %v", k.Title, err)
		}
	case k.Kind == keptBySupervisord:
		return k.Title + " is stopped: take it out of supervisord's configuration, or it comes back with a reboot"
	}
	return ""
}
