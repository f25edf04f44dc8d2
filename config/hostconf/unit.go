package hostconf

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// unitReader gathers what a unit and its drop-ins say about one service.
type unitReader struct {
	host  Host
	start *start
	exec  []word // of ExecStart, its one command line; others are refused
	unit  string
	used  map[string]bool // variables that the command line names
}

// UnitFolders are where systemd looks for units, the weakest first.
var UnitFolders = []string{"/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system"}

// readUnit reads a service with its drop-ins and the files with variables that they name.
func readUnit(path, text string, h Host) (*start, error) {
	u := &unitReader{host: h, unit: filepath.Base(path), used: map[string]bool{}, start: &start{dir: "/", dirWhy: ", where systemd starts it"}}
	u.read(path, text)
	for _, drop := range u.dropIns(path) {
		if text, err := h.ReadFile(drop); err == nil {
			u.read(drop, string(text))
		}
	}
	switch len(u.exec) {
	case 0:
		return nil, faultf("name the unit that starts etcd, or read the running process with --from-pid", "cannot find where %s starts etcd: it has no ExecStart", path)
	case 1:
		return u.start, u.run(u.exec[0])
	}
	return nil, faultf("read the running process with --from-pid", "cannot tell which command of %s is etcd: it has several ExecStart", path)
}

func (u *unitReader) dropIns(path string) []string {
	byName := map[string]string{}
	for _, folder := range append(slices.Clone(UnitFolders), filepath.Dir(path)) {
		for _, drop := range u.host.Glob(filepath.Join(folder, u.unit+".d", "*.conf")) {
			byName[filepath.Base(drop)] = drop
		}
	}
	var all []string
	for _, drop := range byName {
		all = append(all, drop)
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return all
}

func (u *unitReader) read(path, text string) {
	section := ""
	lines := strings.Split(withoutMarks(text), "\n")
	for i := 0; i < len(lines); i++ {
		at := Place{path, i + 1}
		line := strings.TrimSpace(lines[i])
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") || line == "" {
			continue
		}
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + " " + strings.TrimSpace(lines[i])
		}
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok && section == "[Service]" {
			u.setting(at, strings.TrimSpace(name), u.specified(strings.TrimSpace(value)))
		}
	}
}

// ours are settings that the service of etcdsup has in its own way, and that are not worth a word.
var ours = []string{
	"Type", "Restart", "RestartSec", "NotifyAccess", "TimeoutStartSec", "TimeoutStopSec", "TimeoutSec", "KillMode", "StartLimitInterval",
	"StartLimitBurst", "StandardOutput", "StandardError", "SyslogIdentifier", "PIDFile", "ExecStop", "ExecReload", "SuccessExitStatus",
	"StateDirectory", "ConfigurationDirectory", "RuntimeDirectory", "LogsDirectory", "OOMScoreAdjust", "RemainAfterExit", "KillSignal", "SendSIGKILL",
}

func (u *unitReader) setting(at Place, name, value string) {
	says := name + "=" + value
	switch name {
	case "ExecStart":
		if value == "" {
			u.exec = nil
			return
		}
		u.exec = append(u.exec, word{Place: at, text: value})
	case "Environment":
		u.environment(at, value)
	case "EnvironmentFile":
		u.environmentFile(at, value)
	case "User":
		u.start.user = value
		u.start.leave(at, says, "`etcdsup install --user "+value+"` runs the service so; without it, as the owner of the data")
	case "Group":
		u.start.leave(at, says, "the service runs with its user's own group")
	case "WorkingDirectory":
		u.start.dir, u.start.dirWhy = filepath.Clean(strings.TrimPrefix(value, "-")), ", its WorkingDirectory"
	case "LimitNOFILE":
		u.start.leave(at, says, "the service has LimitNOFILE=65536; a drop-in of the unit can say otherwise: systemctl edit etcdsup")
	default:
		if !slices.Contains(ours, name) {
			u.start.leave(at, clipped(says), "a setting of the unit: where it is still wanted, a drop-in can have it: systemctl edit etcdsup")
		}
	}
}

var specifier = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`%[A-Za-z%]`) })

// specified replaces the specifiers of systemd that the host can tell; the others leave a mark.
func (u *unitReader) specified(value string) string {
	return specifier().ReplaceAllStringFunc(value, func(found string) string {
		host, known := u.host.Hostname("")
		short, _, _ := strings.Cut(host, ".")
		switch {
		case found == "%%":
			return "%"
		case found == "%H" && known:
			return host
		case found == "%l" && known:
			return short
		}
		return unknownValue(found, "only systemd tells what "+found+" stands for")
	})
}

func (u *unitReader) environment(at Place, value string) {
	if value == "" {
		u.start.env = nil
		return
	}
	for _, one := range splitQuoted(value) {
		if name, text, ok := strings.Cut(one, "="); ok && isName(name) {
			u.start.env = append(u.start.env, variable{at, name, text})
		}
	}
}

func (u *unitReader) environmentFile(at Place, value string) {
	path := strings.TrimPrefix(value, "-")
	text, err := u.host.ReadFile(path)
	if err != nil {
		if path == value {
			u.start.leave(at, "EnvironmentFile="+value, "it cannot be read: "+reason(err))
		}
		return
	}
	file := readEnvFile(path, string(text))
	u.start.env = append(u.start.env, file.env...)
	u.start.left = append(u.start.left, file.left...)
}

// splitQuoted takes a line of a unit apart at blanks outside of quotes.
func splitQuoted(line string) []string {
	var all []string
	var b strings.Builder
	quote, begun, escaped := rune(0), false, false
	for _, r := range line {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, begun = true, true
		case quote == 0 && (r == '"' || r == '\''):
			quote, begun = r, true
		case r == quote:
			quote = 0
		case quote == 0 && (r == ' ' || r == '\t'):
			if begun {
				all = append(all, b.String())
			}
			b.Reset()
			begun = false
		default:
			b.WriteRune(r)
			begun = true
		}
	}
	if begun {
		all = append(all, b.String())
	}
	return all
}

// run reads the command line. One that is for a shell is read as a shell reads it.
func (u *unitReader) run(line word) error {
	text := strings.TrimLeft(line.text, "-@:+!|")
	words := splitQuoted(text)
	if len(words) == 0 {
		return faultf("", "cannot find where %s starts etcd: its ExecStart is empty", line.Place)
	}
	if name := filepath.Base(words[0]); name == "sh" || name == "bash" || strings.HasSuffix(words[0], ".sh") {
		return u.shell(line, words)
	}
	var args []word
	for _, one := range words {
		for _, field := range u.replace(one) {
			args = append(args, word{Place: line.Place, text: field})
		}
	}
	u.start.env = slices.DeleteFunc(u.start.env, func(v variable) bool { return u.used[v.name] }) // they are in the command line
	u.start.binary = args[0]
	u.start.takeArgs(args[1:])
	return nil
}

// replace puts variables in as systemd does: $NAME as a word of its own is taken apart at blanks, ${NAME} never.
func (u *unitReader) replace(text string) []string {
	if name, ok := strings.CutPrefix(text, "$"); ok && isName(name) {
		value, set := u.value(name)
		if !set {
			return nil
		}
		return splitQuoted(value)
	}
	for name := range u.named(text) {
		value, _ := u.value(name)
		text = strings.ReplaceAll(text, "${"+name+"}", value)
	}
	return []string{text}
}

func (u *unitReader) named(text string) map[string]bool {
	all := map[string]bool{}
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "${")
		name, next, closed := strings.Cut(after, "}")
		if !found || !closed {
			return all
		}
		if isName(name) {
			all[name] = true
		}
		rest = next
	}
}

func (u *unitReader) value(name string) (string, bool) {
	u.used[name] = true
	for _, v := range slices.Backward(u.start.env) {
		if v.name == name {
			return v.value, true
		}
	}
	return "", false
}

// shell reads sh -c LINE, or the script that the command is, with the variables of the unit.
func (u *unitReader) shell(line word, words []string) error {
	w := newWalk(line.File, u.host, nil)
	w.dir, w.dirWhy, w.line = u.start.dir, u.start.dirWhy, line.Line-1
	for _, v := range u.start.env {
		w.set(v.name, v.value, true)
		w.exports[v.name] = v.Place
	}
	var quoted []string
	for _, one := range words {
		quoted = append(quoted, shellQuote(one))
	}
	if !w.inline(nil, strings.Join(quoted, " ")) {
		return faultf("read the running process with --from-pid", "cannot read the command line in %s as a shell's", line.Place)
	}
	found, err := w.only(line.File)
	if err != nil {
		return err
	}
	found.left = append(found.left, u.start.left...)
	if found.user == "" {
		found.user = u.start.user
	}
	u.start = found
	return nil
}

func shellQuote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
