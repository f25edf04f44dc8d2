package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// What an engine for containers gives to a program is made here of namespaces: it is PID 1, sees no other processes,
// cannot write to the cgroups, has no home, and where so wanted a user that no file knows.

// contain has the daemon started as PID 1 of a container, as this user.
func (d *daemon) contain(t *testing.T, uid int) {
	t.Helper()
	reachable(t, program)
	d.cmd.Args = append([]string{"etcd", "--fake=container", strconv.Itoa(uid), program}, d.cmd.Args[1:]...)
	d.cmd.Path = self
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Setsid: true}
	d.cmd.Env = slices.DeleteFunc(d.cmd.Env, func(kv string) bool { return strings.HasPrefix(kv, "HOME=") })
}

// reachable lets every user execute a file of the tests'.
func reachable(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(file), 0o711); err != nil {
		t.Fatal(err)
	}
}

// fakeContainer furnishes the new namespaces from within, and becomes the program.
func fakeContainer(args []string) int {
	uid, err := strconv.Atoi(args[1])
	if err == nil {
		err = errors.Join(
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("proc", "/proc", "proc", 0, ""),
			unix.MountSetattr(unix.AT_FDCWD, "/sys/fs/cgroup", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}),
			syscall.Setgroups(nil), syscall.Setgid(uid), syscall.Setuid(uid))
	}
	if err == nil {
		err = syscall.Exec(args[2], args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "cannot make a container:", err)
	return 1
}

// give makes all folders of the instance a user's.
func (in *instance) give(uid int) {
	in.t.Helper()
	if err := os.MkdirAll(in.data, 0o700); err != nil {
		in.t.Fatal(err)
	}
	err := filepath.WalkDir(in.root, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	})
	if err != nil {
		in.t.Fatal(err)
	}
}

// nobodyHere is a user that has no name.
const nobodyHere = 54321

// TestContainer has etcdsup as PID 1 on one folder in several containers, one after the other.
func TestContainer(t *testing.T) {
	needRoot(t)
	for _, uid := range []int{0, nobodyHere} {
		t.Run(fmt.Sprintf("user %d", uid), func(t *testing.T) {
			t.Parallel()
			in := newInstance(t)
			in.configureEtcd("")
			in.give(uid)
			member := in.inContainer(uid, func(d *daemon) {
				d.signal(syscall.SIGTERM)
				if code := d.wait(t); code != 0 {
					t.Errorf("exit code %d after SIGTERM, not 0", code)
				}
			})
			in.inContainer(uid, (*daemon).kill) // takes all of the container with it, etcd too
			if again := in.inContainer(uid, in.leave); again != member {
				t.Errorf("member %s, was %s", again, member)
			}
			if !strings.Contains(readAll(filepath.Join(in.dir, "state", "history.jsonl")), "no etcdsup was there to see it") {
				t.Error("the history does not know of the etcd that was killed with its container")
			}
		})
	}
}

// inContainer starts one, waits until etcd serves, and ends it; it returns the ID of the member.
func (in *instance) inContainer(uid int, end func(*daemon)) string {
	in.t.Helper()
	d := in.prepare()
	d.contain(in.t, uid)
	d.start(in.t)
	st := in.awaitStatus("a member that serves", patience, func(st *status.Status) bool { return st.Ready && st.Member != nil && st.Member.ID != "" })
	if st.Supervisor.PID != 1 || len(st.Notices) > 0 {
		in.t.Errorf("etcdsup is PID %d, notices %v", st.Supervisor.PID, st.Notices)
	}
	end(d)
	in.expectNothingLeft()
	return st.Member.ID
}

// TestContainerReaps has an etcd whose grandchild is orphaned and dies: to PID 1 alone can it go, and no zombie may stay.
func TestContainerReaps(t *testing.T) {
	needRoot(t)
	t.Parallel()
	in := newInstance(t)
	in.configureFake("breeder", "")
	d := in.prepare()
	d.contain(t, 0)
	d.start(t)
	in.awaitReady()
	await(t, "an orphan that has ended", patience, func() bool {
		_, err := os.Stat(orphanFile(in.data))
		return err == nil
	})
	await(t, "no child but etcd", patience, func() bool { return len(childrenOf(d.pid())) == 1 })
	if etcds := etcds(in.data); len(etcds) != 1 || childrenOf(d.pid())[0] != etcds[0] {
		t.Errorf("children %v, etcds %v", childrenOf(d.pid()), etcds)
	}
	in.leave(d)
}

// TestContainerUnset has nothing given at all: no home and no folder is a fault, and the code says so.
func TestContainerUnset(t *testing.T) {
	needRoot(t)
	in := newInstance(t)
	in.give(nobodyHere)
	d := in.prepare()
	d.cmd.Args = []string{program, "run"}
	d.contain(t, nobodyHere)
	d.start(t)
	if code := d.wait(t); code != 6 || !strings.Contains(d.stderr(), "ETCDSUP_DIR") {
		t.Errorf("exit code %d, not 6: %s", code, d.stderr())
	}
}
