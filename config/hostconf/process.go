package hostconf

import (
	"fmt"
	"slices"
	"strings"
)

// Running is what /proc tells of a running etcd.
type Running struct {
	PID     int
	Command []string // its arguments, the first being its name
	Env     []string // NAME=value
	Dir     string   // working directory
	Exe     string   // path of the executable; empty: it was deleted
	User    string
}

// FromProcess reads a running etcd: what its script came to.
func FromProcess(r Running, h Host) (*Found, error) {
	at := Place{File: fmt.Sprintf("process %d", r.PID)}
	if len(r.Command) == 0 {
		return nil, faultf("name an etcd", "cannot read process %d: it has no command line", r.PID)
	}
	s := &start{dir: r.Dir, dirWhy: ", its working directory", user: r.User}
	s.binary = word{Place: at, text: r.Exe, says: withoutMarks(r.Command[0])}
	if r.Exe == "" {
		s.leave(at, s.binary.says, "the executable that it runs is deleted: set etcd.binary yourself")
	}
	var args []word
	for _, a := range r.Command[1:] {
		args = append(args, word{Place: at, text: withoutMarks(a)})
	}
	s.takeArgs(args)
	for _, v := range r.Env {
		name, value, _ := strings.Cut(withoutMarks(v), "=")
		if _, isFlag := flagOf(name); isFlag || slices.Contains(passed, name) && name != "TZ" {
			s.env = append(s.env, variable{at, name, value})
		}
	}
	return s.settle(Process, at.File, h)
}

// IsEtcd says whether a command line is that of an etcd.
func IsEtcd(command []string) bool {
	var args []word
	for _, c := range command {
		args = append(args, word{text: withoutMarks(c)})
	}
	return len(args) > 0 && startsEtcd(args)
}
