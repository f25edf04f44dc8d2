package hostconf

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// builtins are the shell's own commands as far as they matter here. Those that do nothing are silent.
var builtins map[string]func(w *walk, n *syntax.CallExpr, args []word)

// prefix is a command that is put before another one.
type prefix struct {
	short   string   // options of one letter that have a value
	long    []string // long options that have a value in the next word
	skip    int      // words of its own before the command
	assigns bool     // NAME=value may stand before the command
	user    string   // the option that names a user; "1": its first word does
	lost    string   // what is lost with it; empty: nothing that etcdsup does not do
}

const inUnit = "; a drop-in of the unit can do it: systemctl edit etcdsup, "

var prefixes = map[string]prefix{
	"exec":        {short: "a"},
	"nohup":       {},
	"setsid":      {},
	"command":     {},
	"builtin":     {},
	"time":        {},
	"daemonize":   {short: "cpoeul"},
	"env":         {short: "uCS", assigns: true},
	"nice":        {short: "n", lost: "not taken over" + inUnit + "Nice="},
	"ionice":      {short: "cn", lost: "not taken over" + inUnit + "IOSchedulingClass="},
	"chrt":        {skip: 1, lost: "not taken over" + inUnit + "CPUSchedulingPolicy="},
	"taskset":     {skip: 1, lost: "not taken over" + inUnit + "CPUAffinity="},
	"numactl":     {short: "CNmip", long: []string{"cpunodebind", "membind", "interleave", "physcpubind"}, lost: "not taken over" + inUnit + "NUMAPolicy="},
	"stdbuf":      {short: "ioe"},
	"prlimit":     {lost: "not taken over" + inUnit + "LimitNOFILE="},
	"softlimit":   {short: "acdfmnoprstl", lost: "not taken over" + inUnit + "LimitNOFILE="},
	"chpst":       {short: "uUeCnlLmdopfcrtb", user: "u"},
	"timeout":     {short: "ks", skip: 1, lost: "etcdsup ends etcd when it is asked to, not after a time"},
	"sudo":        {short: "ugCDhpRTU", long: []string{"user", "group"}, assigns: true, user: "u"},
	"runuser":     {short: "ug", user: "u"},
	"setuidgid":   {skip: 1, user: "1"},
	"gosu":        {skip: 1, user: "1"},
	"su-exec":     {skip: 1, user: "1"},
	"multilog":    {},
	"unbuffer":    {},
	"catchsegv":   {},
	"cgexec":      {short: "g", lost: "etcd lives in a cgroup of its own below the service's" + inUnit + "Slice="},
	"systemd-cat": {short: "tp", lost: logWhy},
}

// unwrap takes a prefix off, with its options.
func (w *walk) unwrap(n *syntax.CallExpr, p prefix, args []word) {
	sub := w.apart()
	before := len(w.starts)
	rest, user := p.operands(args[1:])
	if user != "" {
		sub.user = user
	}
	for p.assigns && len(rest) > 0 {
		name, value, ok := strings.Cut(rest[0].text, "=")
		if !ok || !isName(name) {
			break
		}
		sub.set(name, value, true)
		sub.exports[name] = rest[0].Place
		rest = rest[1:]
	}
	if len(rest) == 0 {
		w.bare(n, args)
		return
	}
	sub.command(n, rest)
	if p.lost != "" && len(w.starts) > before {
		w.leave(n, strings.Join(shownWords(args[:len(args)-len(rest)]), " "), p.lost)
	}
}

// bare is a prefix without a command: exec > FILE sets where all output goes.
func (w *walk) bare(n *syntax.CallExpr, args []word) {
	if args[0].text == "exec" {
		for _, r := range w.redirs {
			w.leave(n, "exec "+printedRedirect(w, r), whyRedirect(r))
		}
	}
}

func shownWords(args []word) []string {
	all := make([]string, len(args))
	for i, a := range args {
		all[i] = a.shown()
	}
	return all
}

// operands are the words after the options and after the prefix's own words.
func (p prefix) operands(args []word) (rest []word, user string) {
	for len(args) > 0 && len(args[0].text) > 1 && args[0].text[0] == '-' {
		option := args[0].text
		args = args[1:]
		if option == "--" {
			break
		}
		value, takes := p.value(option)
		if takes && value == "" && len(args) > 0 {
			value, args = args[0].text, args[1:]
		}
		if p.isUser(option) {
			user = value
		}
	}
	if p.user == "1" && len(args) > 0 {
		user = args[0].text
	}
	return args[min(p.skip, len(args)):], user
}

// value says whether an option has a value, and gives it where it stands in the same word.
func (p prefix) value(option string) (value string, takes bool) {
	if long, ok := strings.CutPrefix(option, "--"); ok {
		name, value, _ := strings.Cut(long, "=")
		return value, slices.Contains(p.long, name)
	}
	return option[2:], strings.ContainsRune(p.short, rune(option[1]))
}

func (p prefix) isUser(option string) bool {
	return p.user != "" && (strings.HasPrefix(option, "-"+p.user) || strings.HasPrefix(option, "--user"))
}

// launchers start what an option or a file says. They return whether that was understood.
var launchers map[string]func(w *walk, n *syntax.CallExpr, args []word) bool

func init() { // these refer to themselves by way of the walk
	builtins = map[string]func(*walk, *syntax.CallExpr, []word){
		"cd":     func(w *walk, _ *syntax.CallExpr, args []word) { w.changeFolder(args) },
		"pushd":  func(w *walk, _ *syntax.CallExpr, args []word) { w.changeFolder(args) },
		".":      (*walk).include,
		"source": (*walk).include,
		"ulimit": (*walk).limit,
		"umask":  func(w *walk, n *syntax.CallExpr, _ []word) { w.leave(n, printed(n), "the service has UMask=0077") },
		"unset": func(w *walk, _ *syntax.CallExpr, args []word) {
			for _, a := range args {
				delete(w.vars, a.text)
			}
		},
		"shift": func(w *walk, _ *syntax.CallExpr, _ []word) {
			if len(w.params) > 0 {
				w.params = w.params[1:]
			}
		},
	}
	for _, silent := range strings.Fields("echo printf true false : set shopt trap exit return sleep test [ wait popd read let alias date hash type which logger dirname basename ps grep pgrep pidof kill pkill killall awk sed cat hostname tty id whoami local break continue") {
		builtins[silent] = func(*walk, *syntax.CallExpr, []word) {}
	}
	launchers = map[string]func(*walk, *syntax.CallExpr, []word) bool{
		"sh": (*walk).shell, "bash": (*walk).shell, "dash": (*walk).shell, "ksh": (*walk).shell,
		"su": (*walk).su,
		"eval": func(w *walk, n *syntax.CallExpr, args []word) bool {
			return w.inline(n, strings.Join(texts(args), " "))
		},
		"supervise":         (*walk).supervise,
		"start-stop-daemon": (*walk).startStop,
	}
}

func (w *walk) changeFolder(args []word) {
	for len(args) > 0 && strings.HasPrefix(args[0].text, "-") && len(args[0].text) > 1 {
		args = args[1:]
	}
	switch {
	case len(args) == 0 || hasUnknown(args[0].text) || args[0].text == "-":
		w.dir = ""
	case filepath.IsAbs(args[0].text) || w.dir != "":
		w.dir = w.inFolder(args[0].text)
	}
	w.dirWhy = ""
}

func (w *walk) limit(n *syntax.CallExpr, args []word) {
	why := "not taken over" + inUnit + "such as LimitCORE="
	for i, a := range args {
		if strings.HasSuffix(a.text, "n") && strings.HasPrefix(a.text, "-") && i+1 < len(args) {
			why = "the service has LimitNOFILE=65536" + inUnit + "LimitNOFILE=" + args[i+1].shown()
			if args[i+1].text == "65536" || args[i+1].text == "65535" {
				why = "the service has LimitNOFILE=65536"
			}
		}
	}
	w.leave(n, printed(n), why)
}

// shell is sh -c LINE or sh FILE.
func (w *walk) shell(n *syntax.CallExpr, args []word) bool {
	for i, a := range args {
		switch {
		case strings.HasPrefix(a.text, "-") && strings.HasSuffix(a.text, "c") && i+1 < len(args):
			return w.inline(n, args[i+1].text)
		case !strings.HasPrefix(a.text, "-"):
			file := args[i:]
			if !strings.Contains(a.text, "/") {
				file = slices.Clone(file)
				file[0].text = "./" + a.text
			}
			return w.script(file)
		}
	}
	return false
}

// su is su [-] USER -c LINE, the options in any order.
func (w *walk) su(n *syntax.CallExpr, args []word) bool {
	sub := w.apart()
	line := ""
	for i := 0; i < len(args); i++ {
		switch a := args[i].text; {
		case (a == "-c" || a == "--command") && i+1 < len(args):
			i++
			line = args[i].text
		case (a == "-s" || a == "-g") && i+1 < len(args):
			i++
		case !strings.HasPrefix(a, "-") && sub.user == w.user:
			sub.user = a
		}
	}
	return line != "" && sub.inline(n, line)
}

// supervise is that of daemontools, with a folder, or Baidu's, with -f COMMAND.
func (w *walk) supervise(n *syntax.CallExpr, args []word) bool {
	for i, a := range args {
		if line, joined := strings.CutPrefix(a.text, "-f"); joined && line != "" {
			return w.inline(n, line)
		}
		if a.text == "-f" && i+1 < len(args) {
			return w.inline(n, args[i+1].text)
		}
	}
	if len(args) == 1 && w.dir != "" || len(args) == 1 && filepath.IsAbs(args[0].text) {
		sub := w.apart()
		sub.dir, sub.dirWhy = w.inFolder(args[0].text), ", where supervise starts it"
		run := args[0]
		run.text = "./run"
		return sub.script([]word{run})
	}
	return false
}

func (w *walk) startStop(n *syntax.CallExpr, args []word) bool {
	sub := w.apart()
	program := word{}
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i].text, "=")
		next := func() string {
			if !joined && i+1 < len(args) {
				i++
				return args[i].text
			}
			return value
		}
		switch name {
		case "--exec", "-x", "--startas", "-a":
			program = args[i]
			program.text = next()
		case "--chuid", "-c":
			sub.user = next()
		case "--chdir", "-d":
			sub.changeFolder([]word{{text: next()}})
		case "--pidfile", "-p", "--name", "-n", "--user", "-u", "--signal", "-s", "--retry", "-R", "--nicelevel", "-N", "--umask", "-k":
			next()
		case "--stop", "-K", "--status", "-T":
			return true
		case "--":
			sub.command(n, append([]word{program}, args[i+1:]...))
			return program.text != ""
		}
	}
	if program.text == "" {
		return false
	}
	sub.command(n, []word{program})
	return true
}

// whyNot says of a command why it is not taken over.
func whyNot(name string) string {
	switch name {
	case "mkdir", "touch", "chmod", "chown", "chgrp", "install":
		return "etcdsup makes its folders itself, and never changes the owner of data"
	case "rm", "mv", "cp", "rsync", "find":
		return "nothing of this is done before a start any longer: etcdsup leaves the data as it is"
	case "etcdctl", "etcdutl":
		return "etcdsup runs no commands before a start; `etcdsup mode` and `etcdsup member` do what changes members"
	case "logrotate", "cronolog", "rotatelogs", "tee", "multilog", "svlogd":
		return logWhy
	}
	return "etcdsup runs etcd, and nothing beside it"
}
