// Package lab boots hosts for tests: each has a real systemd as PID 1, a disk, a network address and a clock since boot
// of its own, and none has a way to the machine's. They are made of namespaces, so a host is there in a second or two.
// It is imported by tests only, and needs root and Debian's apt; what is missing fails the test, with what to do.
//
// A package whose tests boot hosts has a TestMain that calls [Main]:
//
//	func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }
//
// One thing differs from a machine: what a unit with ProtectProc= or ProcSubset= sees as the boot's ID, in its own view of
// /proc, is the machine's and outlives a reboot; everybody else sees one that is the host's. Etcdsup on a command line
// there does not recognize an etcd that the service has started, where no etcdsup runs to be asked.
//
// Any number of packages may do so at once, in any number of processes: hosts of one process see each other and no others.
package lab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed lab.sh
var script []byte

// Patience bounds whatever is waited for that has no bound of its own. The machine may be busy.
const Patience = 3 * time.Minute

// session is what all hosts of this process share.
type session struct {
	dir      string // all that is written, but for the cache
	cache    string
	packages []string
	program  string    // the etcdsup that is tried
	keeper   *exec.Cmd // takes everything down when its standard input ends, however this process does
	end      io.Closer
}

var (
	begun   *session // what [Main] has made, nil where it was not called
	prepare sync.Once
	failure error // of the preparation
)

// Main runs the tests of a package and leaves nothing of their hosts. Debian packages beyond those of a small system can
// be asked for; each set of them is a base system of its own, which is kept in the user's cache folder.
func Main(m *testing.M, packages ...string) int {
	cache, err := os.UserCacheDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	begun = &session{cache: filepath.Join(cache, "etcdsup-test", "lab"), packages: packages}
	code := m.Run()
	if err := begun.close(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot take the lab down:", err)
		return 1
	}
	return code
}

// use is the session, prepared by the first test that asks: one that boots nothing shall not wait for it.
func use(t testing.TB) *session {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	if begun == nil {
		t.Fatal("TestMain of this package does not call lab.Main")
	}
	prepare.Do(func() { failure = begun.open() })
	if failure != nil {
		t.Fatalf("cannot boot hosts with systemd on this machine: %v", failure)
	}
	return begun
}

func (s *session) open() (err error) {
	if s.dir, err = os.MkdirTemp("", "eu-lab"); err != nil {
		return err
	}
	if err := os.WriteFile(s.script(), script, 0o600); err != nil {
		return err
	}
	if err := s.keep(); err != nil {
		return err
	}
	built := make(chan error, 1)
	go func() { built <- s.build() }() // ends with the build, which is waited for
	_, err = s.run("build")
	return errors.Join(err, <-built)
}

func (s *session) script() string { return filepath.Join(s.dir, "lab.sh") }

// keep starts the process that takes everything down at the end.
func (s *session) keep() error {
	s.keeper = s.command(context.Background(), "keep")
	s.keeper.Stdout, s.keeper.Stderr = nil, nil // go test waits for whoever has its own
	stdin, err := s.keeper.StdinPipe()
	if err != nil {
		return err
	}
	s.end = stdin
	return s.keeper.Start()
}

func (s *session) close() error {
	if s.keeper == nil || s.keeper.Process == nil {
		return nil
	}
	return errors.Join(s.end.Close(), s.keeper.Wait())
}

// build makes the one static executable that a package would bring.
func (s *session) build() error {
	busy, err := s.busy()
	if err != nil {
		return err
	}
	defer busy.Close()
	s.program = filepath.Join(s.dir, "etcdsup")
	cmd := exec.Command("go", "build", "-trimpath", "-o", s.program, "github.com/etcdsup/etcdsup/cmd/etcdsup")
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), "CGO_ENABLED=0"), []*os.File{busy}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build etcdsup: %w\n%s", err, out)
	}
	return nil
}

// busy is a lock that keeps the session's folder there: whoever is given it is waited for before all is taken down, also
// where this process is killed meanwhile.
func (s *session) busy() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "busy"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Program is the path, on this machine, of an etcdsup as packages bring it: static, and built once for the process.
func Program(t testing.TB) string {
	t.Helper()
	return use(t).program
}

func (s *session) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", append([]string{s.script()}, args...)...)
	cmd.Env = append(os.Environ(), "LAB_DIR="+s.dir, "LAB_CACHE="+s.cache, "LAB_PACKAGES="+strings.Join(s.packages, " "))
	cmd.WaitDelay = time.Second // what it has left in the background does not hold the test up
	return cmd
}

// run runs a command of the script that is to succeed, and gives what it printed.
func (s *session) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := s.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", args[0], err, out.String(), errOut.String())
	}
	return out.String(), nil
}
