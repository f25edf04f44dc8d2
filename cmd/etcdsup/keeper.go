package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/process"
)

// keeperKind is what starts etcd again on a host without etcdsup.
type keeperKind string

// The kinds.
const (
	keptByFIFO        keeperKind = "fifo"        // supervise, runsv, s6-supervise: each takes commands of one letter
	keptBySupervisord keeperKind = "supervisord" // by supervisorctl
	keptBySystemd     keeperKind = "systemd"     // a unit
	keptByScript      keeperKind = "script"      // a shell around it, which may loop
	keptByNobody      keeperKind = "nobody"      // nothing starts it again
)

// etcdKeeper is what would start etcd again, and how to get it to leave that. It is kept in the record of a take-over.
type etcdKeeper struct {
	Kind    keeperKind          `json:"kind"`
	Title   string              `json:"title"` // such as "supervise in /service/etcd"
	Process process.Description `json:"process"`
	Outputs [3]string           `json:"outputs"` // of the process: where it reads and writes
	Child   process.ID          `json:"child"`   // what it started: etcd, or the shell around it

	Control string `json:"control,omitempty"` // the FIFO
	Down    string `json:"down,omitempty"`    // file that keeps it from starting etcd after a reboot; empty: it knows none
	Under   string `json:"under,omitempty"`   // what starts the keeper itself again, such as svscan

	Enabled bool `json:"enabled,omitempty"` // the unit was started at boot

	Name string   `json:"name,omitempty"` // of the unit, or of supervisord's program
	Tool []string `json:"tool,omitempty"` // supervisorctl with its options

	Shells []process.ID `json:"shells,omitempty"` // around etcd, the outermost first
}

// keeperHost is what the recognition asks of the host.
type keeperHost struct {
	isFIFO   func(path string) bool
	glob     func(pattern string) []string
	property func(unit, name string) string                    // as systemctl show has it; empty: there is none
	linkTo   func(path string) string                          // what a symbolic link has in it; empty: it is none
	enabled  func(unit string) bool                            // whether it is started at boot
	inUnit   func(unit string, main int) []process.Description // all its processes

	descendants func(pid int) []int
}

// findKeeper recognises what keeps an etcd, from the processes that it descends from, itself being the first.
func findKeeper(line []process.Description, h keeperHost) (etcdKeeper, error) {
	if k, err := keptByUnit(line, h); err != nil {
		return etcdKeeper{}, err
	} else if k != nil {
		return *k, nil
	}
	var around []process.Description // shells and the like, the innermost first
	for i, d := range line[1:] {
		name := keeperName(d)
		parent := process.Description{}
		if i+2 < len(line) {
			parent = line[i+2]
		}
		switch {
		case d.ID.PID == 1 || slices.Contains(sessionEnds, name) || isInteractive(d, name):
			return keptByShells(line[0], around), nil
		case slices.Contains(fifoKeepers, name):
			return fifoKeeper(d, line[i], parent, name, h)
		case name == "supervisord":
			return supervisordKeeper(d, line[0])
		case slices.Contains(shellNames, name) || slices.Contains(carriers, name):
			around = append(around, d)
		default:
			return etcdKeeper{}, failf(exitFailure, "end it in its own way so that etcd runs on without it, or stop both and go the way of docs/take-over.md by hand",
				"cannot tell what process %d (%s) does when etcd ends: it is none that etcdsup knows", d.ID.PID, commandLine(d))
		}
	}
	return keptByShells(line[0], around), nil
}

var (
	fifoKeepers = []string{"supervise", "runsv", "s6-supervise"}
	shellNames  = []string{"sh", "bash", "dash", "ksh", "zsh", "ash", "busybox"}
	// carriers only wait for what they have started.
	carriers = []string{"sudo", "su", "runuser", "timeout", "script", "nohup", "setsid", "env", "tini", "dumb-init", "time", "unshare", "nsenter"}
	// sessionEnds start people's work, and etcd with it, but do not look after it.
	sessionEnds = []string{"systemd", "init", "sshd", "sshd-session", "login", "cron", "crond", "atd", "tmux", "tmux: server", "screen", "SCREEN", "containerd-shim", "conmon"}
)

// keeperName is what the process runs: the script's name where an interpreter runs one that is known. sshd and others write
// what they do in the place of their command line, so that the kernel's name for them counts.
func keeperName(d process.Description) string {
	if len(d.Command) == 0 || slices.Contains(sessionEnds, d.Name) {
		return d.Name
	}
	name := strings.TrimSuffix(filepath.Base(strings.TrimPrefix(d.Command[0], "-")), ":")
	if len(d.Command) > 1 && strings.HasPrefix(name, "python") {
		return filepath.Base(d.Command[1])
	}
	return name
}

// isInteractive tells a person's shell from one that runs a script.
func isInteractive(d process.Description, name string) bool {
	if !slices.Contains(shellNames, name) {
		return false
	}
	return strings.HasPrefix(d.Command[0], "-") || !slices.ContainsFunc(d.Command[1:], func(a string) bool {
		return !strings.HasPrefix(a, "-") || strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.HasSuffix(a, "c")
	})
}

func fifoKeeper(d, child, parent process.Description, name string, h keeperHost) (etcdKeeper, error) {
	k := etcdKeeper{Kind: keptByFIFO, Process: d, Child: child.ID}
	if slices.Contains(scanners, keeperName(parent)) {
		k.Under = keeperName(parent)
	}
	if folder, ok := statusFolder(d); ok { // Baidu's
		for _, fifo := range append([]string{folder + "/svcontrol"}, h.glob(folder+"/*/svcontrol")...) {
			if h.isFIFO(fifo) {
				k.Control, k.Title = fifo, "supervise with its state in "+filepath.Dir(fifo)
				return k, nil
			}
		}
	}
	folders := []string{d.Dir}
	for _, a := range d.Command[1:] {
		folders = append(folders, inDir(d.Dir, a))
	}
	for _, folder := range folders { // daemontools' and its likes go into the folder themselves
		if fifo := folder + "/supervise/control"; h.isFIFO(fifo) {
			k.Control, k.Down, k.Title = fifo, folder+"/down", name+" in "+folder
			return k, nil
		}
	}
	return etcdKeeper{}, failf(exitFailure, "end it in its own way so that etcd runs on without it",
		"cannot tell process %d (%s) to leave etcd alone: the FIFO for its commands is not found", d.ID.PID, commandLine(d))
}

func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// statusFolder is what -p or -u names on the command line of Baidu's supervise.
func statusFolder(d process.Description) (string, bool) {
	for i, a := range d.Command {
		for _, option := range []string{"-p", "-u"} {
			switch value, joined := strings.CutPrefix(a, option); {
			case joined && value != "":
				return inDir(d.Dir, value), true
			case joined && i+1 < len(d.Command):
				return inDir(d.Dir, d.Command[i+1]), true
			}
		}
	}
	return "", false
}

func supervisordKeeper(d, etcd process.Description) (etcdKeeper, error) {
	program, group := envOf(etcd, "SUPERVISOR_PROCESS_NAME"), envOf(etcd, "SUPERVISOR_GROUP_NAME")
	if program == "" {
		return etcdKeeper{}, failf(exitFailure, "stop it with supervisorctl, and go the way of docs/take-over.md by hand",
			"cannot tell which program of supervisord (process %d) etcd is: its environment does not say", d.ID.PID)
	}
	if group != "" {
		program = group + ":" + program
	}
	k := etcdKeeper{Kind: keptBySupervisord, Title: "the program " + program + " of supervisord", Process: d, Child: etcd.ID, Name: program, Tool: []string{"supervisorctl"}}
	for i, a := range d.Command[:len(d.Command)-1] {
		if a == "-c" || a == "--configuration" {
			k.Tool = append(k.Tool, "-c", inDir(d.Dir, d.Command[i+1]))
		}
	}
	return k, nil
}

func envOf(d process.Description, name string) string {
	for _, e := range slices.Backward(d.Env) {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

func keptByShells(etcd process.Description, around []process.Description) etcdKeeper {
	if len(around) == 0 {
		return etcdKeeper{Kind: keptByNobody, Title: "nothing", Process: etcd, Child: etcd.ID}
	}
	outer := around[len(around)-1]
	k := etcdKeeper{Kind: keptByScript, Title: fmt.Sprintf("the script of process %d: %s", outer.ID.PID, commandLine(outer)), Process: outer, Child: etcd.ID}
	for _, d := range slices.Backward(around) {
		k.Shells = append(k.Shells, d.ID)
	}
	return k
}
