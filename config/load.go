package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Source is everything that a configuration is made of. A later layer overrides an earlier one: defaults, file,
// environment, command line.
type Source struct {
	File         string   // empty: ETCDSUP_CONFIG, or else the instance's own file if it exists
	FileRequired bool     // whether File must exist; a file that ETCDSUP_CONFIG names always must
	Text         []byte   // what File holds, or is to hold; nil: it is read
	Instance     string   // from the command line; empty: not given
	Dir          string   // from the command line, relative to the working directory; empty: not given
	Env          []string // as from os.Environ; of it, ETCDSUP_*, HOME and XDG_* are read
	Overrides    []string // such as "log.max_size=1GiB"

	euid func() int // of the process, unless a test says otherwise
}

// Load builds the complete Config, or returns Problems, which then hold every fault at once.
func Load(src Source) (*Config, error) {
	c, faults := Read(src)
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

// loader carries one Load.
type loader struct {
	src    Source
	cfg    *Config
	env    map[string]string
	args   map[string][]string
	faults Problems
	broken map[string]bool // settings whose last value could not be read: nothing is concluded from them
}

// Read is Load that also returns the Config where there are faults: it is then as good as it can be, and only there to be
// looked at for further faults.
func Read(src Source) (*Config, Problems) {
	if src.euid == nil {
		src.euid = os.Geteuid
	}
	l := &loader{src: src, env: environment(src.Env), args: map[string][]string{}, broken: map[string]bool{}}
	l.cfg = &Config{written: &written{settings: map[string]setting{}}}
	l.cfg.Etcd.Env = map[string]string{}
	l.defaults()
	variables, flags := l.fromEnvironment(), l.fromFlags()
	for _, s := range slices.Concat(l.fromFile(variables, flags), variables, flags) {
		l.apply(s)
	}
	l.derive()
	l.verify()
	l.faults.sort()
	return l.cfg, l.faults
}

func environment(list []string) map[string]string {
	env := map[string]string{}
	for _, one := range list {
		if name, value, ok := strings.Cut(one, "="); ok {
			env[name] = value
		}
	}
	return env
}

func (l *loader) defaults() {
	for i := range table {
		if k := &table[i]; k.Default != "" {
			// The table is tested to hold no default that does not fit; a panic would end a supervisor.
			_ = k.set(l.cfg, k.Default)
		}
	}
}

// fromFile finds the file and reads it.
func (l *loader) fromFile(later ...[]setting) []setting {
	name, required := l.locate(instanceOf(later))
	if name == "" {
		return nil
	}
	text, err := l.src.Text, error(nil)
	if text == nil {
		text, err = readFile(name)
	}
	if errors.Is(err, fs.ErrNotExist) && !required {
		return nil
	}
	if err != nil {
		l.faults = append(l.faults, Problem{
			Source: name, What: "cannot read the configuration file: " + reason(err),
			Remedy: "name a file that exists and that this user may read; `etcdsup config example` prints one",
		})
		return nil
	}
	l.cfg.File, _ = filepath.Abs(name)
	r := readYAML(name, text)
	l.faults = append(l.faults, r.faults...)
	return r.settings
}

// instanceOf is the instance as far as it is known without the file, which it is part of the name of.
func instanceOf(later [][]setting) string {
	instance := find("instance").Default
	for _, s := range slices.Concat(later...) {
		if s.name == "instance" && IsInstanceName(s.texts[0]) {
			instance = s.texts[0]
		}
	}
	return instance
}

// Path is the configuration file that would be read, whether it exists or not; empty: there is no place for one.
func (src Source) Path() string {
	if src.euid == nil {
		src.euid = os.Geteuid
	}
	l := &loader{src: src, env: environment(src.Env)}
	name, _ := l.locate(instanceOf([][]setting{l.fromEnvironment(), l.fromFlags()}))
	return name
}

// locate names the file to read and says whether it must exist.
func (l *loader) locate(instance string) (name string, required bool) {
	if l.src.File != "" {
		return l.src.File, l.src.FileRequired
	}
	if name := l.env["ETCDSUP_CONFIG"]; name != "" {
		return name, true
	}
	folder := "/etc"
	if l.src.euid() != 0 {
		folder = l.home("XDG_CONFIG_HOME", ".config")
	}
	if folder == "" {
		return "", false
	}
	return filepath.Join(folder, "etcdsup", instance+".yaml"), false
}

// home is one of the user's own base folders; empty if the environment does not tell.
func (l *loader) home(variable, below string) string {
	if folder := l.env[variable]; filepath.IsAbs(folder) {
		return folder
	}
	if home := l.env["HOME"]; filepath.IsAbs(home) {
		return filepath.Join(home, below)
	}
	return ""
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// reason is the cause of an error without the path, which stands beside it already.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// apply reads one setting into the Config.
func (l *loader) apply(s setting) {
	l.broken[s.name] = true
	if why, remedy := nameMisfit(s); why != "" {
		l.faults = append(l.faults, s.named.problem(s.name, "cannot use the name "+quoted("", s.entry)+": "+why, remedy))
		return
	}
	for i, text := range s.texts {
		if why, remedy := l.misfit(s, text, s.takes[i]); why != "" {
			what := fmt.Sprintf("cannot set %s to %s: %s", s.name, quoted(s.name, s.written(text)), why)
			l.faults = append(l.faults, s.places[i].problem(s.name, what, remedy))
			return
		}
	}
	if err := l.store(s); err != nil {
		l.faults = append(l.faults, s.place.problem(s.name, "cannot set "+s.name+": "+err.Error(), "write "+formOf(s.key)))
		return
	}
	delete(l.broken, s.name)
	l.cfg.written.settings[s.name] = s
}

// misfit says why a text is no value for the key, and what to write instead; empty: it fits.
func (l *loader) misfit(s setting, text string, takes scalar) (why, remedy string) {
	if s.key.entries {
		_, err := parseText(text)
		if err != nil {
			return err.Error(), "write it in one line"
		}
		return "", ""
	}
	var scratch Config
	if err := s.key.set(&scratch, s.key.join([]string{text})); err != nil {
		var u unfit
		if errors.As(err, &u) {
			return u.why, u.remedy
		}
		return err.Error(), "write " + s.key.Form
	}
	if takes&s.key.takes == 0 {
		return typeMisfit(takes)
	}
	return "", ""
}

func typeMisfit(takes scalar) (why, remedy string) {
	switch takes {
	case scalarString:
		return "it is a text in quotes", "remove the quotes"
	case scalarBool:
		return "YAML takes it for true or false", "put it in quotes if this text is meant"
	}
	return "YAML takes it for a number", "put it in quotes if this text is meant"
}

// nameMisfit says why an entry of a mapping cannot have the name that it has.
func nameMisfit(s setting) (why, remedy string) {
	bare := strings.TrimLeft(s.entry, "-")
	switch {
	case s.key.Name == keyEnv && !isVariableName(s.entry):
		return "no variable can have it", "write a name of letters, digits and '_'"
	case s.key.Name != keyArgs:
		return "", ""
	case bare != s.entry:
		return "flags are written without dashes in front here", "write " + printable(bare)
	case !isFlagName(s.entry):
		return "no flag can have it", "write the name as etcd's --help has it, without dashes in front"
	}
	return "", ""
}

func (l *loader) store(s setting) error {
	switch s.key.Name {
	case keyArgs:
		l.args[s.entry] = s.texts
	case keyEnv:
		l.cfg.Etcd.Env[s.entry] = s.texts[0]
	default:
		return s.key.set(l.cfg, s.key.join(s.texts))
	}
	return nil
}
