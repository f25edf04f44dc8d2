package config

import (
	"maps"
	"slices"
)

// Setting is one line of what etcdsup runs by.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // as it would be written; **** for a secret
	Origin Origin `json:"origin"`
}

// Settings are all values in the order of the table; etcd.args and etcd.env give one line for each entry.
func (c *Config) Settings() []Setting {
	var all []Setting
	add := func(key, value string) {
		all = append(all, Setting{key, Shown(key, value), c.Origin(key)})
	}
	for i := range table {
		switch k := &table[i]; k.Name {
		case keyArgs:
			for _, a := range c.Etcd.Args {
				add(keyArgs+"."+a.Name, a.Value())
			}
		case keyEnv:
			for _, name := range slices.Sorted(maps.Keys(c.Etcd.Env)) {
				add(keyEnv+"."+name, c.Etcd.Env[name])
			}
		default:
			add(k.Name, k.get(c))
		}
	}
	return all
}

// Shown is the value of a setting as it may be shown: without secrets.
func Shown(key, value string) string {
	if secretSetting(key) && value != "" {
		return Masked
	}
	return withoutUserinfo(value)
}

// Changed names the settings in which the two differ: those that can be applied while etcd runs on, and those that need
// a new start of etcd, or of etcdsup itself.
func Changed(old, now *Config) (live, restart []string) {
	before, after := old.plain(), now.plain()
	names := slices.Collect(maps.Keys(before))
	for name := range after {
		if _, both := before[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if a, b := before[name], after[name]; a == b {
			continue
		}
		if k, _ := resolve(name); k.Live {
			live = append(live, name)
		} else {
			restart = append(restart, name)
		}
	}
	return live, restart
}

// value tells an entry that is there and empty from one that is not there.
type value struct {
	text  string
	given bool
}

// plain is every setting with its value, secrets included: they count as changes too.
func (c *Config) plain() map[string]value {
	all := map[string]value{}
	for i := range table {
		if k := &table[i]; !k.entries {
			all[k.Name] = value{k.get(c), true}
		}
	}
	for _, a := range c.Etcd.Args {
		all[keyArgs+"."+a.Name] = value{a.Value(), true}
	}
	for name, text := range c.Etcd.Env {
		all[keyEnv+"."+name] = value{text, true}
	}
	return all
}
