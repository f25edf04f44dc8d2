package process

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
)

func TestDescribe(t *testing.T) {
	dir := t.TempDir()
	shell := exec.Command("/bin/sh", "-c", "cat; exit", "an argument")
	if os.Geteuid() == 0 { // only root may change groups
		shell.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{7, 4321}}}
	}
	shell.Dir, shell.Env = dir, []string{"A=1", "B="}
	in, err := shell.StdinPipe()
	if err == nil {
		umask := syscall.Umask(0o027)
		err = shell.Start()
		syscall.Umask(umask)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = shell.Wait()
	}()
	d, err := Describe(shell.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Command, []string{"/bin/sh", "-c", "cat; exit", "an argument"}) || !slices.Equal(d.Env, shell.Env) ||
		d.Dir != dir || d.Exe == "" || d.UID != os.Geteuid() || d.GID != os.Getegid() || d.PPID != os.Getpid() {
		t.Errorf("got %+v", d)
	}
	if d.Umask != 0o027 || os.Geteuid() == 0 && !slices.Equal(d.Groups, []int{7, 4321}) {
		t.Errorf("umask %o, groups %v", d.Umask, d.Groups)
	}
	line, err := Lineage(shell.Process.Pid)
	if err != nil || len(line) < 2 || line[1].ID.PID != os.Getpid() || line[len(line)-1].PPID != 0 {
		t.Errorf("it descends from %+v, %v", line, err)
	}
	if !slices.Contains(Descendants(os.Getpid()), shell.Process.Pid) {
		t.Error("it is no descendant of ours")
	}
}

func TestDescribeTheDead(t *testing.T) {
	c := exec.Command("/bin/true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Describe(c.Process.Pid); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
}
