package process

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// TokenEnv is the environment variable that marks every process of an instance.
const TokenEnv = "ETCDSUP_TOKEN"

func tokenEntry(token string) string { return TokenEnv + "=" + token }

// NewToken makes the random name of one cage. It is no secret: whoever can read a process's environment may
// signal that process anyway.
func NewToken() string { return strings.ToLower(rand.Text()) }

// CageSpec is what a cage is made of, and made of again by the next etcdsup.
type CageSpec struct {
	Instance string // name, for the cgroup
	Token    string // of [NewToken], from the record after a restart
	Cgroup   string // path from the record; empty: find out whether we may make one
	NoCgroup bool   // do without

	// Child is the etcd of the record, when it is dead: its leftovers are still found. Seen is the time since
	// boot at which it was last known to live. A living one is made known by Attach.
	Child ID
	Seen  time.Duration
}

// Cage knows every process that came out of one instance's etcd, and ends them. There is one in a program.
//
// What belongs to it is decided by where a process came from, never by how it looks: its place in our cgroup, the
// token it was started with, the start lock it inherited, its parents, its session. A process that gives up all
// of them gets away only if we were dead when its parent died.
type Cage struct {
	token string
	group *cgroup // nil: none

	mu    sync.Mutex
	child ID     // the etcd attached last; zero: none yet
	seen  uint64 // ticks since boot, at which the child still occupied its PID
	since uint64 // start of the first child: nothing older is a member
	lock  fileID // of the start lock; zero: none
}

// NewCage makes the cage, or makes it anew after a restart of etcdsup. It always gives one; the error says why it
// has no cgroup although it could have one, and is worth a line in the log only.
func NewCage(spec CageSpec) (*Cage, error) {
	c := &Cage{token: spec.Token}
	if c.token == "" {
		c.token = NewToken()
	}
	if spec.Child.BootID == BootID() {
		c.child, c.since, c.seen = spec.Child, spec.Child.StartTicks, toTicks(spec.Seen)
	}
	if spec.NoCgroup {
		return c, nil
	}
	group, err := chooseCgroup(spec.Cgroup, leafName(spec.Instance, c.token))
	c.group = group
	return c, err
}

// chooseCgroup opens the leaf: the recorded one, or else one in our home. It gives nil when we have no home.
func chooseCgroup(recorded, leaf string) (*cgroup, error) {
	if recorded != "" {
		// A path out of a damaged record must never make us kill another cgroup's processes.
		if filepath.Base(recorded) != leaf {
			return nil, fmt.Errorf("cannot use cgroup %s: it is not named %s", recorded, leaf)
		}
		group, err := openCgroup(recorded)
		if !errors.Is(err, fs.ErrNotExist) {
			return group, err
		}
		// Its parent is gone with the service that it was made under.
	}
	home := cgroupHome()
	if home == "" {
		return nil, nil
	}
	return openCgroup(filepath.Join(home, leaf))
}

// leafName holds a part of the token: two instances of one name, of two users, must not share a cgroup.
func leafName(instance, token string) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r <= ' ' || r == '\\' {
			return '_'
		}
		return r
	}, instance)
	return "etcd-" + name + "-" + token[:min(8, len(token))]
}

// Token is what the record has to keep for the next etcdsup.
func (c *Cage) Token() string { return c.token }

// Env is the entry for the environment of every child, NAME=value.
func (c *Cage) Env() string { return tokenEntry(c.token) }

// Cgroup is the directory to be born in, nil when there is no cgroup; for [Spec.Cgroup].
func (c *Cage) Cgroup() *os.File {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group == nil {
		return nil
	}
	return c.group.dir
}

// CgroupPath is what the record has to keep for the next etcdsup, "" without cgroup.
func (c *Cage) CgroupPath() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group == nil {
		return ""
	}
	return c.group.path
}

// Attach tells the cage of an etcd that was just started or adopted. The error says that it could not be moved
// into the cgroup; it is a member nevertheless.
func (c *Cage) Attach(p *Proc) error {
	now := nowTicks()
	alive := p.Signal(0) == nil
	c.mu.Lock()
	c.child, c.seen = p.ID(), 0
	if alive {
		c.seen = now
	}
	if c.since == 0 || c.child.StartTicks < c.since {
		c.since = c.child.StartTicks
	}
	c.mu.Unlock()
	if c.group == nil || p.Contained() || !p.started {
		return nil // an adopted child is where its own etcdsup had put it
	}
	return c.group.add(p.PID())
}

// UseLock tells the cage which start lock etcd inherits. It counts as a mark only while we hold it ourselves or
// somebody who is known to be ours does: everybody else who carries the lock then got it from there.
func (c *Cage) UseLock(lock *os.File) error {
	file, err := fileOf(int(lock.Fd()))
	if err != nil {
		return fmt.Errorf("cannot use lock %s: %w", lock.Name(), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lock = file
	return nil
}

// Close lets go of the cage; its processes live on. The cgroup goes when nobody is in it.
func (c *Cage) Close() {
	if c.group != nil {
		_ = c.group.remove()
	}
}

// killPause is the time between two rounds of Kill.
const killPause = 2 * time.Millisecond

// Kill sends SIGKILL to every member, again and again until none is left or ctx ends; then it returns those that
// are left, with the context's cause. A process in uninterruptible sleep outlives SIGKILL for as long as its
// device takes.
func (c *Cage) Kill(ctx context.Context) (left []Member, err error) {
	pause := time.NewTicker(killPause)
	defer pause.Stop()
	defer Reap()
	targets, found := pidfds{}, sightings{}
	defer targets.close()
	for empty := 0; empty < 2; <-pause.C { // one walk can miss a process that is born behind it, not two
		if c.group != nil {
			c.group.killAll()
		}
		if left, err = c.Members(); err != nil {
			return nil, err
		}
		left = found.keep(left)
		targets.kill(left)
		targets.close()
		targets.open(left)
		if len(left) == 0 {
			empty++
			continue
		}
		empty = 0
		if ctx.Err() != nil {
			return left, fmt.Errorf("cannot end %d processes: %w", len(left), context.Cause(ctx))
		}
	}
	c.renewGroup()
	return nil, nil
}

// renewGroup makes the cgroup fit to be born in again. Where that fails the next etcd is held without one.
func (c *Cage) renewGroup() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group != nil {
		c.group, _ = c.group.renew()
	}
}

// sightings are all members that a Kill has found, by PID and start.
type sightings map[identity]Member

type identity struct {
	pid   int
	start uint64
}

// keep adds to the members of this moment those found before that live on: a process that is just dying has lost
// memory and files, and all marks with them, before it is dead.
func (f sightings) keep(now []Member) []Member {
	listed := map[identity]bool{}
	for _, m := range now {
		id := identity{m.ID.PID, m.ID.StartTicks}
		f[id], listed[id] = m, true
	}
	for id, m := range f {
		if s, err := readStat(id.pid); err != nil || s.start != id.start || s.dead() {
			delete(f, id)
		} else if !listed[id] {
			now = append(now, m)
		}
	}
	return now
}

// pidfds holds processes by their PIDs.
type pidfds map[int]int

// open takes hold of the processes that have the members' PIDs now. Nobody is signalled on that alone.
func (t pidfds) open(members []Member) {
	for _, m := range members {
		if fd, err := unix.PidfdOpen(m.ID.PID, 0); err == nil {
			t[m.ID.PID] = fd
		} // out of descriptors, or dead: the next round tells
	}
}

// kill signals those processes, opened before the walk, that the walk has found to be members. One that died
// during the walk, and whose PID a stranger had then, is not reached any more through its pidfd.
func (t pidfds) kill(members []Member) {
	for _, m := range members {
		if fd, ok := t[m.ID.PID]; ok {
			_ = sendSignal(fd, unix.SIGKILL)
		}
	}
}

func (t pidfds) close() {
	for pid, fd := range t {
		unix.Close(fd)
		delete(t, pid)
	}
}
