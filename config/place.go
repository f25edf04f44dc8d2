package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// From is the layer that a value came from. A later one overrides an earlier one.
type From string

// The layers, the weakest first.
const (
	FromDefault     From = "default"     // the constant in the table of keys
	FromDerived     From = "derived"     // a default that follows from other values
	FromFile        From = "file"        // the configuration file
	FromEnvironment From = "environment" // a variable ETCDSUP_…
	FromFlag        From = "flag"        // the command line
)

// Origin says where a value came from.
type Origin struct {
	From From   `json:"from"`
	Name string `json:"name,omitempty"` // the file, the variable or the flag
	Line int    `json:"line,omitempty"` // in the file, from 1
}

// String is the origin in one word, such as "default", "/etc/etcdsup/default.yaml:12", "ETCDSUP_LOG_DIR" or "--set".
func (o Origin) String() string {
	switch {
	case o.Line > 0:
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	case o.Name != "":
		return o.Name
	case o.From == "":
		return string(FromDefault)
	}
	return string(o.From)
}

// place is where one value is written, so that a fault can point at it.
type place struct {
	origin Origin
	column int    // of the value, from 1, in characters
	width  int    // of the value
	text   string // the whole line
	name   bool   // it is the name that stands here, not the value
}

// problem is a fault of the value at p.
func (p place) problem(key, what, remedy string) Problem {
	fault := Problem{Key: key, What: what, Remedy: remedy, Excerpt: printable(withoutSecrets(p.text)), Column: p.column, Width: p.width}
	switch p.origin.From {
	case FromFile:
		fault.File, fault.Line = p.origin.Name, p.origin.Line
	case FromEnvironment, FromFlag:
		fault.Source = p.origin.Name
	default:
		fault.Column, fault.Width = 0, 0
	}
	if secretSetting(key) {
		fault.hide(p.name)
	}
	return fault
}

// hide takes the value of a secret setting out of its fault. The caret is under the value, or under the name before it.
func (p *Problem) hide(name bool) {
	runes := []rune(p.Excerpt)
	keep := p.Column - 1
	if name {
		keep += p.Width
	}
	if keep < 0 || keep >= len(runes) {
		return
	}
	for i := keep; i < len(runes); i++ {
		runes[i] = '*'
	}
	p.Excerpt = string(runes)
}

// at moves the place to a part of the value, if that stands literally in the line.
func (p place) at(part string) place {
	runes := []rune(p.text)
	if part == "" || p.column < 1 || p.column > len(runes) {
		return p
	}
	before, _, found := strings.Cut(string(runes[p.column-1:]), part)
	if !found {
		return p
	}
	p.column += utf8.RuneCountInString(before)
	p.width = utf8.RuneCountInString(part)
	return p
}

// setting is one value as somebody wrote it, not yet read.
type setting struct {
	name   string // the full one, such as log.max_size or etcd.args.name
	key    *Key
	entry  string // of a mapping: the user's own name
	texts  []string
	takes  []scalar // for each text, what YAML takes it for; anyScalar outside of files
	place  place    // of the value
	places []place  // for each text
	named  place    // of the name
}

// written is the memory of a Config: for each setting that somebody wrote, where.
type written struct {
	settings map[string]setting
}

// Origin says where the value of a key, such as "log.max_size" or "etcd.args.name", came from.
func (c *Config) Origin(key string) Origin {
	if c.written == nil {
		return Origin{From: FromDefault}
	}
	if s, ok := c.written.settings[key]; ok {
		return s.place.origin
	}
	if k, _ := resolve(key); k != nil && k.Default != "" {
		return Origin{From: FromDefault}
	}
	return Origin{From: FromDerived}
}

// problem is a fault of the first of the keys that somebody wrote; of the first of all if nobody wrote any.
func (c *Config) problem(part, what, remedy string, keys ...string) Problem {
	if c.written != nil {
		for _, key := range keys {
			if s, ok := c.written.settings[key]; ok {
				return s.spot(part).problem(key, what, remedy)
			}
		}
	}
	return Problem{Key: keys[0], What: what, Remedy: remedy}
}

// Fault is a Problem with the value of a setting that somebody else has found, at the place where it was set.
func (c *Config) Fault(key, what, remedy string) Problem { return c.problem("", what, remedy, key) }

// nameProblem is a fault of a setting's name, not of its value.
func (c *Config) nameProblem(key, what, remedy string) Problem {
	if c.written != nil {
		if s, ok := c.written.settings[key]; ok {
			return s.named.problem(key, what, remedy)
		}
	}
	return Problem{Key: key, What: what, Remedy: remedy}
}

// spot is the place of one part of the value: of the item of a list, or of a part of a scalar.
func (s setting) spot(part string) place {
	if i := slices.Index(s.texts, part); i >= 0 && len(s.places) == len(s.texts) {
		return s.places[i]
	}
	return s.place.at(part)
}
