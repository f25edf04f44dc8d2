// Package hostconf reads how a host starts etcd without etcdsup: from a start script, a file with ETCD_* variables, a
// systemd unit, an etcd.conf.yml, or a running process. It says of each thing that it met where that stands, which key
// of etcdsup's configuration it went to, or why it was left out. Nothing is run, and nothing is written.
package hostconf

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is a form in which a host can say how etcd is started.
type Kind string

// The forms.
const (
	Script  Kind = "script"      // for a shell; also one that starts supervise with such a script
	EnvFile Kind = "environment" // NAME=value lines, as in /etc/default/etcd
	Unit    Kind = "unit"        // of systemd
	YAML    Kind = "yaml"        // etcd's own configuration file
	Process Kind = "process"     // a running etcd
)

// Kinds are the forms that a file can have.
var Kinds = []Kind{Script, EnvFile, Unit, YAML}

// Host is what of the host the reading needs to know.
type Host struct {
	ReadFile func(path string) ([]byte, error)
	Glob     func(pattern string) []string          // sorted; for the drop-ins of a unit
	Hostname func(option string) (string, bool)     // what the command hostname prints; option is "", -f, -s, -i or -I
	LookPath func(name, path string) (string, bool) // name in the folders of path; an empty one is the usual
}

// Place is where something stands.
type Place struct {
	File string `json:"file,omitempty"` // or what it is, such as "process 4711"
	Line int    `json:"line,omitempty"` // from 1; 0: no line
}

// String is the place as compilers write it.
func (p Place) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return p.File
}

// Taken is a setting that came from the host.
type Taken struct {
	Place
	Says   string   `json:"says"`           // what stands there, such as --data-dir ./data
	Key    string   `json:"key"`            // such as etcd.args.data-dir
	Values []string `json:"values"`         // a list has several
	Note   string   `json:"note,omitempty"` // what was changed on the way, and why
}

// Left is something that was not taken.
type Left struct {
	Place
	Says string `json:"says"`
	Why  string `json:"why"`
}

// Found is all that was read.
type Found struct {
	Kind  Kind    `json:"kind"`
	Path  string  `json:"path"`
	Dir   string  `json:"dir,omitempty"`  // where etcd is started; empty: not known
	User  string  `json:"user,omitempty"` // as whom; empty: not said
	Taken []Taken `json:"taken"`
	Left  []Left  `json:"left"`
}

// Value is the last value that a key got, its items with commas between; empty: it got none.
func (f *Found) Value(key string) string {
	for _, t := range slices.Backward(f.Taken) {
		if t.Key == key {
			return strings.Join(t.Values, ",")
		}
	}
	return ""
}

// Fault is why nothing could be read, with what can be done about it.
type Fault struct {
	Err    error
	Remedy string
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

func faultf(remedy, format string, args ...any) error {
	return &Fault{Err: fmt.Errorf(format, args...), Remedy: remedy}
}

const maxFile = 1 << 20 // far above any start script; it keeps something else from eating memory

// Read reads the file at path, which must be absolute. An empty kind is recognised. The error is a *Fault where there is
// a remedy.
func Read(path string, kind Kind, h Host) (*Found, error) {
	text, err := h.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, faultf("name the start script, unit or file that starts etcd here, or the process with --from-pid", "cannot read %s: it does not exist", path)
	case err != nil:
		return nil, fmt.Errorf("cannot read how etcd is started: %w", err)
	case strings.ContainsRune(string(text), 0):
		return nil, faultf("name the script that starts it, or a running one with --from-pid", "cannot read %s: it is a program, not a text", path)
	case len(text) > maxFile:
		return nil, faultf("name the file that starts etcd", "cannot read %s: it is larger than a start script can be", path)
	}
	if kind == "" {
		kind = recognise(path, string(text))
	}
	var s *start
	switch kind {
	case Script:
		s, err = readScript(path, string(text), h)
	case EnvFile:
		s = readEnvFile(path, string(text))
	case Unit:
		s, err = readUnit(path, string(text), h)
	case YAML:
		s, err = readYAML(path, text)
	default:
		return nil, faultf("say which with --from-kind", "cannot tell what %s is: neither a shell script, nor a unit, nor ETCD_* variables, nor an etcd.conf.yml", path)
	}
	if err != nil {
		return nil, err
	}
	return s.settle(kind, path, h)
}

// recognise tells the form by the name and the first telling line; empty: none.
func recognise(path, text string) Kind {
	switch ext := filepath.Ext(path); {
	case ext == ".service":
		return Unit
	case ext == ".sh", strings.HasPrefix(text, "#!"):
		return Script
	case ext == ".yml", ext == ".yaml":
		return YAML
	}
	return byContent(text)
}

// byContent goes by what most lines of the file are.
func byContent(text string) Kind {
	count := map[Kind]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, _, assigned := strings.Cut(line, "=")
		key, _, mapped := strings.Cut(line, ":")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "[Service]" || line == "[Unit]":
			return Unit
		case assigned && isName(strings.TrimPrefix(name, "export ")):
			count[EnvFile]++
			if strings.HasPrefix(name, "export ") || strings.Contains(line, "$(") || strings.Contains(line, "`") {
				count[Script]++
			}
		case mapped && !strings.ContainsAny(key, " \t$/\"'"):
			count[YAML]++
		default:
			count[Script]++
		}
	}
	best := Kind("")
	for _, k := range []Kind{YAML, EnvFile, Script} {
		if count[k] > 0 && count[k] >= count[best] {
			best = k
		}
	}
	return best
}

// isName says whether text can be the name of a variable.
func isName(text string) bool {
	return text != "" && (text[0] < '0' || text[0] > '9') && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
