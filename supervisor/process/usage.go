package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what the etcd that was attached last uses now, and of CPU time all that its cgroup has held. It is zero where
// none lives. Threads and Files are not looked at.
func (c *Cage) Usage() Usage {
	c.mu.Lock()
	pid, group := c.child.PID, c.group
	c.mu.Unlock()
	s, err := readStat(pid)
	if err != nil || s.dead() {
		return Usage{}
	}
	u := Usage{RSS: s.rss * int64(os.Getpagesize()), CPU: time.Duration(s.utime+s.stime) * (time.Second / userHZ)}
	if group == nil {
		return u
	}
	u.Charged = group.number("memory.current", "") // there only where the controller is on
	if usec := group.number("cpu.stat", "usage_usec "); usec > 0 {
		u.CPU = time.Duration(usec) * time.Microsecond
	}
	return u
}

// number reads a figure of the cgroup, the one of the line that begins with key; 0: there is none.
func (g *cgroup) number(file, key string) int64 {
	b, err := os.ReadFile(filepath.Join(g.path, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if text, found := strings.CutPrefix(line, key); found {
			n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
