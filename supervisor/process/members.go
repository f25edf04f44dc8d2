package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Member is a living process of a cage.
type Member struct {
	ID      ID
	Command string // short name
	Why     string // what shows that it belongs here: "child", "cgroup", "token", "lock", "orphan", "parent", "session"
}

// Members gives every living process that came out of this instance's etcd, etcd included and ourselves not.
func (c *Cage) Members() ([]Member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, err := c.look()
	if err != nil {
		return nil, err
	}
	for _, s := range w.procs {
		if why := c.direct(w, s); why != "" {
			w.why[s.pid] = why
		}
	}
	c.shareLock(w)
	w.descend()
	var members []Member
	for _, s := range w.procs {
		if why := w.why[s.pid]; why != "" {
			id := ID{BootID: BootID(), PID: s.pid, StartTicks: s.start}
			members = append(members, Member{ID: id, Command: s.comm, Why: why})
		}
	}
	return members, nil
}

// walk is one look at all processes. A mark may be read off a successor of a PID, so whoever acts on the verdict
// has opened the process before the walk and finds it alive after it.
type walk struct {
	procs   []stat // those that can be members, ascending PIDs
	child   bool   // etcd is among them, dead or alive
	why     map[int]string
	inGroup map[int]bool
	self    int
	session int // ours
}

// look takes down every process that can be a member at all. Not among them are ourselves, those we descend from,
// what runs in our own session (etcd left it, and no process ever comes into a session from outside), kernel
// threads, the dead, and what is older than the first etcd.
func (c *Cage) look() (*walk, error) {
	w := &walk{why: map[int]string{}, inGroup: c.group.pids(), self: os.Getpid(), session: ownSession()}
	all, now := map[int]stat{}, nowTicks()
	var order []int
	for pid := range pids() {
		if s, err := readStat(pid); err == nil {
			all[pid] = s
			order = append(order, pid)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("cannot list processes: nothing to be read in /proc")
	}
	above := ancestors(all, w.self)
	if w.child = c.child.PID > 0 && c.child.holds(all[c.child.PID]); w.child {
		c.seen = now // it held its PID until then, zombie or not
	}
	for _, pid := range order {
		s := all[pid]
		if s.dead() || s.flags&kthread != 0 || above[pid] || s.session == w.session || s.start < c.since {
			continue
		}
		w.procs = append(w.procs, s)
	}
	return w, nil
}

// ancestors gives pid and everybody above it, up to init.
func ancestors(all map[int]stat, pid int) map[int]bool {
	above := map[int]bool{1: true}
	for !above[pid] && pid > 0 {
		above[pid] = true
		pid = all[pid].ppid
	}
	return above
}

// direct looks for a mark that the process carries itself.
func (c *Cage) direct(w *walk, s stat) string {
	switch {
	case w.child && s.pid == c.child.PID:
		return "child"
	case w.inGroup[s.pid]:
		return "cgroup"
	case s.session == c.child.PID && c.child.PID > 0 && s.start < c.seen:
		// Started while etcd held the number of its session. Once etcd is reaped, the number can become
		// another session's.
		return "session"
	case s.ppid == w.self && w.self != 1 && !family.known(s.pid):
		// As the init of a container everybody's orphans come to us.
		return "orphan"
	case hasEnv(s.pid, c.Env()) && !family.foreign(s.pid, c.child.PID):
		return "token"
	}
	return ""
}

// foreign reports whether the PID is a child that is waited for, other than etcd: a job of ours, not a leftover.
func (c *children) foreign(pid, etcd int) bool { return pid != etcd && c.known(pid) }

// shareLock finds the processes that hold the start lock together with us or with a member. A lock that others
// hold is theirs: another etcdsup may have come to the data directory after our etcd's death.
func (c *Cage) shareLock(w *walk) {
	if c.lock == (fileID{}) {
		return
	}
	shared := c.lock.lockFD(w.self) >= 0
	var carriers []int
	for _, s := range w.procs {
		if c.lock.lockFD(s.pid) < 0 || family.foreign(s.pid, c.child.PID) {
			continue
		}
		carriers = append(carriers, s.pid)
		shared = shared || w.why[s.pid] != ""
	}
	for _, pid := range carriers {
		if shared && w.why[pid] == "" {
			w.why[pid] = "lock"
		}
	}
}

// descend adds the children of members and the sessions that members lead, until nothing is added any more.
// A session whose leader is no member is left alone: somebody's login shell may have been given our token.
func (w *walk) descend() {
	for more := true; more; {
		more = false
		for _, s := range w.procs {
			switch {
			case w.why[s.pid] != "":
				continue
			case w.why[s.ppid] != "":
				w.why[s.pid] = "parent"
			case w.why[s.session] != "":
				w.why[s.pid] = "session"
			default:
				continue
			}
			more = true
		}
	}
}

// pids gives the processes in the cgroup and below it.
func (g *cgroup) pids() map[int]bool {
	in := map[int]bool{}
	if g != nil {
		readProcs(g.path, in)
	}
	return in
}

func readProcs(dir string, in map[int]bool) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for f := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil {
			in[pid] = true
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			readProcs(filepath.Join(dir, e.Name()), in)
		}
	}
}

// nowTicks is the time since boot in the unit of [ID.StartTicks].
func nowTicks() uint64 { return toTicks(BootTime()) }

func toTicks(d time.Duration) uint64 { return uint64(d / (time.Second / userHZ)) }
