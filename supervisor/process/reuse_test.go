package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// In a PID namespace of its own, etcd's PID is given to a stranger after etcd's death, session and all. No signal
// of ours may reach him.
func TestReusedPIDIsNotSignalled(t *testing.T) {
	needRoot(t)
	cmd := exec.Command(self(), fake+"reuse")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "untouched" {
		t.Errorf("%v\n%s", err, out)
	}
}

// reusePIDs is that namespace's init.
func reusePIDs([]string) {
	err := errors.Join(
		unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""))
	if err == nil {
		err = reuse()
	}
	if err != nil {
		fmt.Println(err)
		unix.Exit(1)
	}
	fmt.Println("untouched")
}

func reuse() error {
	cage, err := NewCage(CageSpec{NoCgroup: true})
	if err != nil {
		return err
	}
	etcd, err := Start(Spec{Path: "/bin/sleep", Args: []string{"etcd", "1000"}, Env: []string{cage.Env()}})
	if err != nil {
		return err
	}
	if err := cage.Attach(etcd); err != nil {
		return err
	}
	members, err := cage.Members()
	if err != nil || len(members) != 1 {
		return fmt.Errorf("members %+v, %w", members, err)
	}
	unwaited, err := Adopt(etcd.ID())
	if err != nil {
		return err
	}
	etcd.Signal(unix.SIGKILL)
	etcd.Wait()
	for tick := time.NewTicker(time.Millisecond); !etcd.ID().hasIno() && nowTicks() <= etcd.ID().StartTicks+1; {
		<-tick.C // a kernel on which only the start time tells
	}
	stranger, end, err := strangerAt(etcd.PID())
	if err != nil {
		return err
	}
	defer end()
	return strangersLot(cage, etcd, unwaited, members[0], stranger)
}

// strangersLot tries all that signals.
func strangersLot(cage *Cage, etcd, unwaited *Proc, member Member, stranger stat) error {
	var faults []error
	expect := func(what string, err error) {
		if !errors.Is(err, ErrGone) {
			faults = append(faults, fmt.Errorf("%s: %w, want ErrGone", what, err))
		}
	}
	_, err := Adopt(etcd.ID())
	expect("adopt", err)
	expect("signal", etcd.Signal(unix.SIGKILL))
	expect("signal through a Proc that has not waited", unwaited.Signal(unix.SIGKILL))
	held := pidfds{}
	held.open([]Member{member})
	defer held.close() // of the stranger: opened by the old verdict, and spared by the new one
	_, err = unwaited.Progress()
	expect("progress", err)
	left, err := cage.Members()
	held.kill(left)
	if _, err := cage.Kill(context.Background()); err != nil {
		faults = append(faults, err)
	}
	if err != nil || len(left) > 0 {
		faults = append(faults, fmt.Errorf("members %+v, %w", left, err))
	}
	if s, err := readStat(stranger.pid); err != nil || s.dead() || s.start != stranger.start {
		faults = append(faults, fmt.Errorf("the stranger is dead: %+v, %w", s, err))
	}
	return errors.Join(faults...)
}

// strangerAt has a process started under the PID, leading a session of that number. Other threads take PIDs at
// the same time, so it may need several attempts.
func strangerAt(pid int) (stat, func(), error) {
	script := fmt.Sprintf("echo %d >/proc/sys/kernel/ns_last_pid; setsid sleep 1000 & echo $!; wait", pid-1)
	for range 200 {
		cmd := exec.Command("/bin/sh", "-c", script)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return stat{}, nil, err
		}
		if err := cmd.Start(); err != nil {
			return stat{}, nil, err
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		got := number(strings.TrimSpace(line))
		end := func() { unix.Kill(got, unix.SIGKILL); cmd.Wait() }
		if got == 0 {
			cmd.Process.Kill()
			cmd.Wait()
			return stat{}, nil, fmt.Errorf("no process: %q", line)
		}
		for got == pid {
			if s, err := readStat(pid); err != nil || s.session == pid {
				return s, end, err
			}
		}
		end()
	}
	return stat{}, nil, errors.New("cannot get the PID again")
}
