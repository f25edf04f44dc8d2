package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cages runs a test with and without cgroup; the first only where this machine lets us make one.
func cages(t *testing.T, f func(t *testing.T, c *Cage)) {
	for name, spec := range map[string]CageSpec{"cgroup": {}, "bare": {NoCgroup: true}} {
		if name == "cgroup" && cgroupHome() == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			spec.Instance = "test " + t.Name()
			c, err := NewCage(spec)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Cgroup() != nil; got == spec.NoCgroup {
				t.Fatalf("cgroup: %v", got)
			}
			t.Cleanup(func() {
				c.Kill(t.Context())
				eventually(t, "the cgroup is gone", func() bool { // who has just died is in it for a moment
					c.Close()
					_, err := os.Stat(c.CgroupPath())
					return err != nil
				})
			})
			f(t, c)
		})
	}
}

// inCage starts a fake child as the loop starts etcd.
func inCage(t *testing.T, c *Cage, lock *os.File, name string, args ...string) *Proc {
	t.Helper()
	spec := Spec{Env: append(os.Environ(), c.Env()), Cgroup: c.Cgroup()}
	if lock != nil {
		spec.Inherit = []*os.File{lock}
		if err := c.UseLock(lock); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, spec, name, args...)
	if err := c.Attach(p); err != nil {
		t.Fatal(err)
	}
	if p.Contained() != (c.Cgroup() != nil) {
		t.Errorf("born in the cgroup: %v", p.Contained())
	}
	return p
}

func subreaper(t *testing.T) {
	t.Helper()
	if err := BecomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

func kill(t *testing.T, c *Cage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if left, err := c.Kill(ctx); err != nil || len(left) > 0 {
		t.Fatalf("left: %+v, %v", left, err)
	}
	if m, err := c.Members(); err != nil || len(m) > 0 {
		t.Fatalf("members after the end: %+v, %v", m, err)
	}
}

// awaitMembers is for the moment in which those who are to die on the way still live.
func awaitMembers(t *testing.T, c *Cage, n int) (members []Member) {
	t.Helper()
	eventually(t, "the number of members is right", func() bool {
		var err error
		members, err = c.Members()
		return err == nil && len(members) == n
	})
	return members
}

func expectDead(t *testing.T, ids ...ID) {
	t.Helper()
	for _, id := range ids {
		if s, err := readStat(id.PID); err == nil && s.start == id.StartTicks && !s.dead() {
			t.Errorf("process %v lives on", id)
		}
	}
}

func idsOf(members []Member) (ids []ID) {
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestCageEndsDoubleForker(t *testing.T) {
	cages(t, func(t *testing.T, c *Cage) {
		bystander, _ := command(t, "no-term")
		other := launch(t, Spec{}, "no-term") // a job of ours in a session of its own
		etcd := inCage(t, c, nil, "escape", "keep", "2")
		if e := waitFor(t, etcd); e != (Exit{}) {
			t.Fatalf("parent ended by %v", e)
		}
		members := awaitMembers(t, c, 1)
		kill(t, c)
		expectDead(t, idsOf(members)...)
		for _, pid := range []int{bystander.Process.Pid, other.PID()} {
			if s, err := readStat(pid); err != nil || s.dead() {
				t.Errorf("process %d had nothing to do with it and is dead", pid)
			}
		}
	})
}

// Without environment, lock, session and parent only the cgroup or our being the subreaper is left.
func TestCageEndsTotalEscape(t *testing.T) {
	cages(t, func(t *testing.T, c *Cage) {
		subreaper(t)
		waitFor(t, inCage(t, c, nil, "escape", "clear", "3"))
		members := awaitMembers(t, c, 1)
		want := "orphan"
		if c.Cgroup() != nil {
			want = "cgroup"
		}
		if members[0].Why != want {
			t.Errorf("members %+v, want one by %s", members, want)
		}
		kill(t, c)
		expectDead(t, idsOf(members)...)
	})
}

func TestCageEndsStorm(t *testing.T) {
	cages(t, func(t *testing.T, c *Cage) {
		subreaper(t)
		name := "storm-" + NewToken() // others may run this test too
		p := inCage(t, c, nil, "storm", name)
		kill(t, c)
		if e := waitFor(t, p); e.Signal != unix.SIGKILL {
			t.Errorf("ended by %v", e)
		}
		for pid := range pids() {
			if b, _ := readProc(pid, "cmdline"); strings.HasPrefix(string(b), name+"\x00") {
				t.Errorf("process %d of the storm lives on", pid)
			}
		}
	})
}

// The next etcdsup knows the cage by its record, whether or not etcd still lives.
func TestCageMadeAnew(t *testing.T) {
	for _, alive := range []bool{true, false} {
		cages(t, func(t *testing.T, c *Cage) {
			lock, err := LockDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			t.Setenv("STAY_AT", "2")
			etcd := inCage(t, c, lock, "escape", "keep", "2")
			awaitMembers(t, c, 2) // etcd and its escaped descendant
			seen := BootTime()
			next := CageSpec{Instance: "test " + t.Name(), Token: c.Token(), Cgroup: c.CgroupPath(), NoCgroup: c.Cgroup() == nil}
			if !alive {
				etcd.Signal(unix.SIGKILL)
				waitFor(t, etcd)
				next.Child, next.Seen = etcd.ID(), seen
			}
			again, err := NewCage(next)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			want := 1
			if alive {
				want = 2
				p, err := Adopt(etcd.ID())
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				if err := again.Attach(p); err != nil {
					t.Fatal(err)
				}
			}
			if again.CgroupPath() != c.CgroupPath() {
				t.Errorf("cgroup %q, was %q", again.CgroupPath(), c.CgroupPath())
			}
			members, err := again.Members()
			if err != nil || len(members) != want {
				t.Errorf("members %+v, %v; want %d", members, err, want)
			}
			kill(t, again)
			expectDead(t, append(idsOf(members), etcd.ID())...)
		})
	}
}

// What stays in etcd's session without environment is found by the number of the session, as long as that number
// can only be etcd's.
func TestSessionCountsWhileItsNumberIsTaken(t *testing.T) {
	c, err := NewCage(CageSpec{NoCgroup: true})
	if err != nil {
		t.Fatal(err)
	}
	script := "env -i sh -c 'sleep 1000 & sleep 1000 & wait' & wait"
	p, err := Start(Spec{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=" + os.Getenv("PATH"), c.Env()}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := c.Attach(p); err != nil {
		t.Fatal(err)
	}
	var before []Member
	eventually(t, "four processes, older than now", func() bool {
		before, err = c.Members()
		young := slices.ContainsFunc(before, func(m Member) bool { return m.ID.StartTicks >= nowTicks() })
		return err == nil && len(before) == 4 && !young
	})
	seen := BootTime()
	p.Signal(unix.SIGKILL)
	waitFor(t, p)
	again, err := NewCage(CageSpec{Token: NewToken(), NoCgroup: true, Child: p.ID(), Seen: seen})
	if err != nil {
		t.Fatal(err)
	}
	members, err := again.Members()
	if err != nil || len(members) != 3 || members[0].Why != "session" {
		t.Errorf("members %+v, %v; want the three that are left, by their session", members, err)
	}
	// Had the session's number been free since long before they started, they would be somebody else's.
	stranger, err := NewCage(CageSpec{Token: NewToken(), NoCgroup: true, Child: p.ID(), Seen: 0})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stranger.Members(); err != nil || len(m) != 0 {
		t.Errorf("claimed as members: %+v, %v", m, err)
	}
	kill(t, again)
	expectDead(t, idsOf(before)...)
}

// A lock held by somebody else, after our etcd, is no sign that he is ours.
func TestForeignLockIsNoMark(t *testing.T) {
	dir := t.TempDir()
	c, err := NewCage(CageSpec{NoCgroup: true})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := inCage(t, c, lock, "sleep")
	p.Signal(unix.SIGKILL)
	waitFor(t, p)
	lock.Close()
	other := supervised(t, dir, NewToken(), "no-term")
	if m, err := c.Members(); err != nil || len(m) != 0 {
		t.Fatalf("members %+v, %v", m, err)
	}
	kill(t, c)
	if s, err := readStat(other.PID); err != nil || s.dead() {
		t.Error("another supervisor's etcd was killed")
	}
}

func TestLockIsAMark(t *testing.T) {
	dir := t.TempDir()
	c, err := NewCage(CageSpec{NoCgroup: true})
	if err != nil {
		t.Fatal(err)
	}
	id := supervised(t, dir, "another token", "no-term")
	p, err := Adopt(id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	lock, err := p.Dup(3)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := c.UseLock(lock); err != nil {
		t.Fatal(err)
	}
	m, err := c.Members()
	if err != nil || len(m) != 1 || m[0].Why != "lock" || m[0].ID.PID != id.PID {
		t.Fatalf("members %+v, %v; want process %d by its lock", m, err, id.PID)
	}
	kill(t, c)
	waitFor(t, p)
}

// What was a member stays one until it is dead, also when nothing of it tells any more where it came from.
func TestKillKeepsWhatItHasFound(t *testing.T) {
	p := launch(t, Spec{}, "sleep")
	id := p.ID()
	found := sightings{}
	if left := found.keep([]Member{{ID: id}}); len(left) != 1 {
		t.Fatalf("members: %+v", left)
	}
	if left := found.keep(nil); len(left) != 1 || left[0].ID != id {
		t.Errorf("forgotten while it lives: %+v", left)
	}
	before := sightings{{id.PID, id.StartTicks - 1}: {}}
	if left := before.keep(nil); len(left) != 0 {
		t.Errorf("a stranger who has the PID now: %+v", left)
	}
	p.Signal(unix.SIGKILL)
	waitFor(t, p)
	if left := found.keep(nil); len(left) != 0 {
		t.Errorf("dead, and still a member: %+v", left)
	}
}

func TestKillGivesUpWithContext(t *testing.T) {
	c, err := NewCage(CageSpec{NoCgroup: true})
	if err != nil {
		t.Fatal(err)
	}
	p := inCage(t, c, nil, "sleep")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	left, err := c.Kill(ctx)
	if !errors.Is(err, context.Canceled) || len(left) != 1 || left[0].ID.PID != p.PID() {
		t.Errorf("left %+v, %v", left, err)
	}
}

func TestCageRefusesForeignCgroup(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"/sys/fs/cgroup", "/", filepath.Join(dir, "system.slice")} {
		if c, err := NewCage(CageSpec{Instance: "x", Cgroup: path}); err == nil || c == nil || c.Cgroup() != nil {
			t.Errorf("%s: %v, %v; want a cage without cgroup and the reason", path, c, err)
		}
	}
	token := NewToken()
	plain := filepath.Join(dir, leafName("x", token))
	if c, err := NewCage(CageSpec{Instance: "x", Token: token, Cgroup: plain}); err == nil || c.Cgroup() != nil {
		t.Errorf("a plain folder is taken for a cgroup: %v", err)
	}
}

// As systemd does it with Delegate=yes, with and without DelegateSubgroup=.
func TestCgroupHomeIsDelegated(t *testing.T) {
	needRoot(t)
	top := cgroupHome()
	if top == "" {
		return // no version-2 hierarchy to write to, then there is nothing to choose either
	}
	service := filepath.Join(top, "test-"+NewToken()[:8]+".service")
	subgroup := filepath.Join(service, "supervisor")
	for _, dir := range []string{service, subgroup} {
		g, err := openCgroup(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := g.remove(); err != nil {
				t.Error(err)
			}
		})
	}
	for _, c := range []struct{ in, want, mark string }{
		{service, "", ""}, {subgroup, "", ""},
		{service, service, "1"}, {subgroup, service, "1"},
		{service, "", "0"},
	} {
		if c.mark != "" {
			if err := unix.Setxattr(service, "trusted.delegate", []byte(c.mark), 0); err != nil {
				t.Fatal(err)
			}
		}
		if got := homeIn(t, c.in); got != c.want {
			t.Errorf("home in %s, delegation %q: %q, want %q", c.in, c.mark, got, c.want)
		}
	}
}

// homeIn asks a child in that cgroup.
func homeIn(t *testing.T, cgroup string) string {
	t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r, w := pipe(t)
	p, err := Start(Spec{Path: self(), Args: []string{"home", fake + "home"}, Output: w, Cgroup: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	waitFor(t, p)
	return readLine(t, r)
}

func TestCageMovesWithItsHome(t *testing.T) {
	token := NewToken()
	gone := filepath.Join("/sys/fs/cgroup/no-such.service", leafName("x", token))
	c, err := NewCage(CageSpec{Instance: "x", Token: token, Cgroup: gone})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if home := cgroupHome(); home != "" && c.CgroupPath() != filepath.Join(home, leafName("x", token)) {
		t.Errorf("cgroup %q", c.CgroupPath())
	}
}

func TestStartOutsideBrokenCgroup(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if p := launch(t, Spec{Cgroup: dir}, "sleep"); p.Contained() {
		t.Error("born in a folder")
	}
}

func TestCgroupFiles(t *testing.T) {
	if got := cgroupLine("8:pids:/x\n0::/system.slice/etcdsup.service\n"); got != "/system.slice/etcdsup.service" {
		t.Errorf("own cgroup %q", got)
	}
	if got := cgroupLine("8:pids:/x\n"); got != "" {
		t.Errorf("own cgroup %q on a version-1 machine", got)
	}
	info := "30 22 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n40 30 0:37 /pod\\0401 /sys/fs/cgroup/uni\\040fied rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
	if mount, root := mountLine(info); mount != "/sys/fs/cgroup/uni fied" || root != "/pod 1" {
		t.Errorf("mount %q, root %q", mount, root)
	}
	for _, c := range []struct {
		path, root string
		want       bool
	}{{"/a/b", "/", true}, {"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/", "/", true}, {"/", "/a", false}} {
		if got := within(c.path, c.root); got != c.want {
			t.Errorf("within(%q, %q) = %v", c.path, c.root, got)
		}
	}
}

func TestReapLeavesOthersAlone(t *testing.T) {
	subreaper(t)
	known := launch(t, Spec{}, "exit", "3") // nobody waits for it yet
	outside, _ := command(t, "exit", "4")   // os/exec will
	orphaned := launch(t, Spec{}, "escape", "keep", "1")
	waitFor(t, orphaned)
	var orphan int
	eventually(t, "the orphan is ours, the others are zombies", func() bool {
		orphan = 0
		zombies := 0
		for pid := range pids() {
			s, err := readStat(pid)
			if err != nil || s.ppid != os.Getpid() {
				continue
			}
			if s.dead() {
				zombies++
			} else {
				orphan = pid
			}
		}
		return orphan != 0 && zombies == 2
	})
	if o := Reap(); len(o) != 0 {
		t.Fatalf("reaped %+v", o)
	}
	got := make(chan Orphan, 10)
	tick, end, ended := time.NewTicker(time.Millisecond), make(chan struct{}), make(chan struct{})
	defer tick.Stop()
	go func() {
		defer close(ended)
		ReapWhenever(func() bool {
			select {
			case <-tick.C:
				return true
			case <-end:
				return false
			}
		}, func(o Orphan) { got <- o })
	}()
	defer func() { close(end); <-ended }()
	unix.Kill(orphan, unix.SIGKILL)
	select {
	case o := <-got:
		if o.PID != orphan || o.Exit.Signal != unix.SIGKILL || o.Command == "" {
			t.Errorf("reaped %+v, want %d", o, orphan)
		}
	case <-time.After(patience):
		t.Fatal("the orphan is not reaped")
	}
	if e := waitFor(t, known); e.Code != 3 {
		t.Errorf("the child that we know ended by %v", e)
	}
	outside.Wait()
	if code := outside.ProcessState.ExitCode(); code != 4 {
		t.Errorf("the child of os/exec ended by %v", outside.ProcessState)
	}
}

// TestBornAfterKill holds that a cage can be used again after it was emptied: a cgroup on which cgroup.kill was
// used once kills all that is born into it.
func TestBornAfterKill(t *testing.T) {
	cages(t, func(t *testing.T, c *Cage) {
		for range 3 {
			p := inCage(t, c, nil, "sleep")
			kill(t, c)
			if x := waitFor(t, p); x.Signal != unix.SIGKILL {
				t.Fatalf("ended by %v", x)
			}
		}
		if x := waitFor(t, inCage(t, c, nil, "exit", "7")); x.Code != 7 {
			t.Errorf("born after a kill, it ended by %v instead of exit code 7", x)
		}
	})
}
