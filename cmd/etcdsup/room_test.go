package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/process"
	"github.com/etcdsup/etcdsup/supervisor/room"
)

// The test binary is etcdsup as far as the names of its children go, and one more besides.
func init() {
	switch {
	case actsAsChild(os.Args):
		os.Exit(0)
	case os.Args[0] == keeper:
		playKeeper()
		os.Exit(0)
	}
}

// keeper is the name under which this test binary has an etcd in a room.
const keeper = "keeper"

// playKeeper is an etcdsup that has an etcd in a room: "keeper DIR TOKEN". It prints that etcd's PID.
func playKeeper() {
	lock, err := process.LockDir(os.Args[1])
	var kind room.Kind
	if err == nil {
		kind, err = room.Check()
	}
	var run *room.Run
	if err == nil {
		run, err = room.Start(room.Spec{
			Kind: kind, Env: []string{process.TokenEnv + "=" + os.Args[2]}, Dir: os.Args[1], Inherit: []*os.File{lock},
			Args: []string{"--data-dir=" + os.Args[1], "--listen-client-urls=unix://c", "--advertise-client-urls=unix://c", "--listen-peer-urls=unix://p"},
		})
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(run.PID())
	_ = run.Wait()
}

// An etcd in a room outlives its etcdsup that is killed. The next one finds it, cannot start another beside it, and
// can end it.
func TestAnOrphanInARoomIsFound(t *testing.T) {
	dir, token := t.TempDir(), process.NewToken()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args = []string{keeper, dir, token}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	var pid int
	if err == nil {
		_, err = fmt.Fscan(out, &pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	defer unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	var held *process.HeldError
	if _, err := process.LockDir(dir); !errors.As(err, &held) || len(held.Holders) != 1 || held.Holders[0].PID != pid {
		t.Fatalf("the lock of an orphan, process %d: %v", pid, err)
	}
	found := process.FindHolders(dir, token)
	if len(found) != 1 || found[0].ID.PID != pid {
		t.Fatalf("found %+v, want process %d", found, pid)
	}
	p, err := process.Adopt(found[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	lock, err := process.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}
