package config

import (
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

const variablePrefix = "ETCDSUP_"

// notKeys are variables with our prefix that are no settings: the file's name, the switch for the long tests, and the
// mark that the descendants of a supervised etcd carry, and what a hook is told.
var notKeys = append([]string{"ETCDSUP_CONFIG", "ETCDSUP_LONG", "ETCDSUP_TOKEN"}, HookVariables...)

// fromEnvironment turns ETCDSUP_* variables into settings, in the order of their names. An empty one counts as not
// set: unit files and shells leave such behind.
func (l *loader) fromEnvironment() []setting {
	var names []string
	for name, value := range l.env {
		if strings.HasPrefix(name, variablePrefix) && value != "" && !slices.Contains(notKeys, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var all []setting
	for _, name := range names {
		at := outside(FromEnvironment, name, name+"=", l.env[name])
		key, entry := resolveVariable(name)
		if key == nil {
			l.unknownVariable(name)
			continue
		}
		all = append(all, single(key, entry, l.env[name], at))
	}
	return all
}

// resolveVariable is resolve for the names of variables: ETCDSUP_ETCD_ARGS_DATA_DIR sets etcd.args.data-dir.
func resolveVariable(name string) (key *Key, entry string) {
	for i := range table {
		k := &table[i]
		rest, found := strings.CutPrefix(name, k.Variable())
		switch {
		case !found:
		case !k.entries && rest == "":
			return k, ""
		case k.Name == keyArgs && len(rest) > 1 && rest[0] == '_':
			return k, strings.ToLower(strings.ReplaceAll(rest[1:], "_", "-"))
		case k.Name == keyEnv && len(rest) > 1 && rest[0] == '_':
			return k, rest[1:]
		}
	}
	return nil, ""
}

func (l *loader) unknownVariable(name string) {
	known := []string{"ETCDSUP_CONFIG"}
	for i := range table {
		known = append(known, table[i].Variable())
	}
	remedy := "unset it, or run etcdsup without it; `etcdsup config reference` lists the variables"
	if near := nearest(name, known); near != "" {
		remedy = "write " + near + ", or unset it"
	}
	if k, _ := resolveVariable(name + "_X"); k != nil {
		remedy = "add the name of an entry, such as " + k.Variable() + "_" + map[string]string{keyArgs: "NAME", keyEnv: "GOMEMLIMIT"}[k.Name]
	}
	at := place{origin: Origin{From: FromEnvironment, Name: name}, column: 1, width: len(name), text: name}
	l.faults = append(l.faults, at.problem("", "cannot use the variable: etcdsup has none of this name", remedy))
}

// fromFlags turns the command line into settings.
func (l *loader) fromFlags() []setting {
	var all []setting
	for _, override := range l.src.Overrides {
		if s, ok := l.override(override); ok {
			all = append(all, s)
		}
	}
	if l.src.Instance != "" {
		all = append(all, single(find("instance"), "", l.src.Instance, outside(FromFlag, "--instance", "--instance=", l.src.Instance)))
	}
	if l.src.Dir != "" {
		dir := l.src.Dir
		if absolute, err := filepath.Abs(dir); err == nil {
			dir = absolute
		}
		all = append(all, single(find("dir"), "", dir, outside(FromFlag, "--dir", "--dir=", dir)))
	}
	return all
}

func (l *loader) override(text string) (setting, bool) {
	name, value, found := strings.Cut(text, "=")
	at := outside(FromFlag, "--set", "--set "+name+"=", value)
	key, entry := resolve(name)
	switch {
	case key == nil || key.entries && entry == "":
		at.column, at.width = len("--set ")+1, utf8.RuneCountInString(name)
		what := "cannot use the key " + quoted("", name) + ": etcdsup has none of this name"
		l.faults = append(l.faults, at.problem(name, what, unknownOverrideRemedy(name)))
	case !found:
		at.column, at.width = len("--set ")+1, utf8.RuneCountInString(name)
		at.text = "--set " + name
		l.faults = append(l.faults, at.problem(name, "cannot set "+name+": there is no value", "write "+name+"=VALUE"))
	default:
		return single(key, entry, value, at), true
	}
	return setting{}, false
}

// outside is the place of a value that stands in no file: after the lead, in a line of its own.
func outside(from From, name, lead, value string) place {
	return place{
		origin: Origin{From: from, Name: name}, text: lead + value,
		column: utf8.RuneCountInString(lead) + 1, width: max(1, utf8.RuneCountInString(value)),
	}
}

// nameBefore is the place of the name in front of a value that stands in no file.
func nameBefore(value place) place {
	lead := strings.TrimSuffix(string([]rune(value.text)[:value.column-1]), "=")
	name := strings.TrimPrefix(lead, "--set ")
	value.column = len(lead) - len(name) + 1
	value.width, value.name = utf8.RuneCountInString(name), true
	return value
}

func single(key *Key, entry, text string, at place) setting {
	name := key.Name
	if key.entries {
		name += "." + entry
	}
	s := setting{name: name, key: key, entry: entry, named: nameBefore(at), texts: []string{text}, place: at}
	if key.Name == keyAfterRebuild {
		s.texts = commandItems(text)
	}
	for range s.texts {
		s.takes, s.places = append(s.takes, anyScalar), append(s.places, at)
	}
	return s
}

// unknownRemedy names the key that was most likely meant.
func unknownRemedy(name string) string {
	if k, entry := resolve(name); k != nil && entry != "" {
		return "write " + entry + " under args: in the section etcd:"
	} else if k != nil {
		return "write " + k.Base() + " under " + k.Section() + ":"
	}
	if near := nearestKey(name); near != "" {
		return "write " + near
	}
	return "remove it; `etcdsup config reference` lists all keys"
}

// nearestKey looks first beside the key, then through all sections, and says where the key belongs if it is another.
func nearestKey(name string) string {
	section, base := split(name)
	var beside, all []string
	for i := range table {
		k := &table[i]
		all = append(all, k.Base())
		if k.Section() == section {
			beside = append(beside, k.Base())
		}
	}
	for _, s := range sections[1:] {
		if section == "" {
			beside = append(beside, s.name)
		}
	}
	if near := nearest(base, beside); near != "" {
		return near
	}
	near := nearest(base, all)
	if near == "" || fold(near) != fold(base) {
		return ""
	}
	if k := &table[slices.Index(all, near)]; k.Section() != "" {
		return near + " under " + k.Section() + ":"
	}
	return near + " at the top level, outside of every section"
}

func split(name string) (section, base string) {
	section, base, found := strings.Cut(name, ".")
	if !found || !isSection(section) {
		return "", name
	}
	return section, base
}

func unknownOverrideRemedy(name string) string {
	var full []string
	for i := range table {
		if !table[i].entries {
			full = append(full, table[i].Name)
		}
	}
	if name == keyArgs || name == keyEnv {
		return "add the name of an entry, such as " + name + ".name=VALUE"
	}
	if near := nearest(name, full); near != "" {
		return "write " + near
	}
	return "`etcdsup config reference` lists all keys"
}

// quoted shows a value in a message: no secret, no endless text, nothing that steers a terminal.
func quoted(key, text string) string {
	if secretSetting(key) {
		return Masked
	}
	if runes := []rune(text); len(runes) > 80 {
		text = string(runes[:80]) + "…"
	}
	return `"` + printable(withoutUserinfo(text)) + `"`
}
