package hostconf

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/config"
)

// start is how etcd is started, in whichever form it was said.
type start struct {
	binary word
	dir    string // working directory; empty: not known
	dirWhy string // how it is known
	user   string
	flags  []flag
	env    []variable // what the source itself sets, in its order
	left   []Left
}

// word is a text with its place.
type word struct {
	Place
	text string
	says string // as it stands there; empty: the text
}

// flag is one of etcd's flags.
type flag struct {
	Place
	name, value string
	says        string
	note        string
}

type variable struct {
	Place
	name, value string
}

func (s *start) leave(at Place, says, why string) {
	s.left = append(s.left, Left{at, says, why})
}

const (
	argsPrefix = "etcd.args."
	envPrefix  = "etcd.env."
)

// settler turns a start into what was found.
type settler struct {
	*start
	host  Host
	found *Found
}

// settle is where flags and variables become keys, by the rules of etcd and of etcdsup.
func (s *start) settle(kind Kind, path string, h Host) (*Found, error) {
	p := &settler{start: s, host: h, found: &Found{Kind: kind, Path: path, Dir: s.dir, User: s.user}}
	if err := p.configFile(); err != nil {
		return nil, err
	}
	p.variables()
	p.takeBinary()
	for _, f := range p.lastOnes() {
		p.takeFlag(f)
	}
	p.defaults()
	p.access()
	p.found.Left = p.left
	slices.SortStableFunc(p.found.Taken, func(a, b Taken) int { return p.order(a.Place, b.Place) })
	slices.SortStableFunc(p.found.Left, func(a, b Left) int { return p.order(a.Place, b.Place) })
	return p.found, nil
}

// order is that of the lines, the file that was named before others.
func (p *settler) order(a, b Place) int {
	rank := func(at Place) int {
		if at.File == p.found.Path {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
}

func (p *settler) take(at Place, says, key, note string, values ...string) {
	p.found.Taken = append(p.found.Taken, Taken{at, says, key, values, note})
}

// configFile: with a file of its own etcd goes by nothing else.
func (p *settler) configFile() error {
	at := slices.IndexFunc(p.flags, func(f flag) bool { return f.name == "config-file" })
	env := slices.IndexFunc(p.env, func(v variable) bool { return v.name == "ETCD_CONFIG_FILE" })
	var f flag
	switch {
	case at >= 0:
		f = p.flags[at]
	case env >= 0:
		v := p.env[env]
		f = flag{v.Place, "config-file", v.value, v.name + "=" + v.value, ""}
	default:
		return nil
	}
	path, _, ok := p.absolute(f.value)
	if why, is := unknown(f.value); is || !ok {
		return faultf("name the file itself with --from", "cannot follow %s in %s: %s", f.says, f.Place, cmp.Or(why, "its path is relative, and the folder is not known"))
	}
	text, err := p.host.ReadFile(path)
	if err != nil {
		return faultf("name the file itself with --from", "cannot follow %s in %s: %v", f.says, f.Place, err)
	}
	inner, err := readYAML(path, text)
	if err != nil {
		return err
	}
	p.leave(f.Place, f.says, "what the file says stands in etcd.args now")
	for i, other := range p.flags {
		if i != at {
			p.leave(other.Place, other.says, "etcd ignores its flags beside a configuration file")
		}
	}
	p.env = slices.DeleteFunc(p.env, func(v variable) bool { return strings.HasPrefix(v.name, "ETCD_") })
	p.flags, p.left = inner.flags, append(p.left, inner.left...)
	return nil
}

// passed are variables, other than flags, that change what etcd does.
var passed = []string{
	"GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GODEBUG", "GOTRACEBACK", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "ETCD_UNSUPPORTED_ARCH", "TZ",
}

// variables become flags where they are flags, since etcd ends when it gets one both ways.
func (p *settler) variables() {
	for i, v := range p.env {
		says := v.name + "=" + config.Shown(envPrefix+v.name, readable(v.value))
		why, is := unknown(v.value)
		name, isFlag := flagOf(v.name)
		later := slices.ContainsFunc(p.env[i+1:], func(o variable) bool { return o.name == v.name })
		switch {
		case later:
			p.leave(v.Place, says, "it is set again further down")
		case slices.Contains(passed, v.name) && !is:
			p.take(v.Place, says, envPrefix+v.name, "", v.value)
		case slices.Contains(passed, v.name):
			p.leave(v.Place, says, why)
		case !isFlag:
			p.leave(v.Place, says, "etcd does not go by it, and gets a clean environment")
		case slices.ContainsFunc(p.flags, func(f flag) bool { return f.name == name }):
			p.leave(v.Place, says, "the flag --"+name+" goes before it")
		case v.value == "":
			p.leave(v.Place, says, "it is empty, which etcd takes for not set")
		default:
			p.flags = append(p.flags, flag{v.Place, name, v.value, says, ""})
		}
	}
}

// flagOf is the flag that etcd takes from a variable.
func flagOf(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "ETCD_")
	return strings.ToLower(strings.ReplaceAll(rest, "_", "-")), ok && rest != ""
}

// lastOnes are the flags that count: of several with one name the last.
func (p *settler) lastOnes() []flag {
	var all []flag
	for i, f := range p.flags {
		again := slices.IndexFunc(p.flags[i+1:], func(o flag) bool { return o.name == f.name })
		if again >= 0 {
			p.leave(f.Place, f.says, "it is given again in "+p.flags[i+1+again].String())
			continue
		}
		all = append(all, f)
	}
	return all
}

// leftOut says more of the flags that would harm than their remedy in a configuration does.
var leftOut = map[string]string{
	"force-new-cluster":     "left out on purpose: in place at every start, it throws the other members out each time; etcdsup gives it to etcd once, with `etcdsup mode force-new-cluster`",
	"initial-cluster-state": "left out on purpose: it counts at a first start only, and etcdsup then starts a member as new, or as existing with `etcdsup mode join`",
	"log-outputs":           "etcdsup keeps the log now: `etcdsup logs`",
	"logger":                "there is only one logger, zap; what it writes is what etcdsup reads",
}

func (p *settler) takeFlag(f flag) {
	why, is := unknown(f.value)
	owned := config.Owned(f.name)
	switch {
	case !validFlag(f.name):
		p.leave(f.Place, f.says, "no flag can have this name")
	case owned != "":
		p.leave(f.Place, f.says, cmp.Or(leftOut[f.name], "etcdsup's own: "+strings.TrimPrefix(owned, "remove it: ")))
	case is:
		p.leave(f.Place, f.says, why+": set "+argsPrefix+f.name+" yourself")
	case strings.ContainsAny(f.value, "\n\r\x00"):
		p.leave(f.Place, f.says, "its value has several lines")
	case config.IsPathFlag(f.name) && f.value != "":
		p.takePath(f)
	default:
		p.take(f.Place, f.says, argsPrefix+f.name, f.note, items(f.name, f.value)...)
	}
}

func validFlag(name string) bool {
	return isName(strings.NewReplacer("-", "_", ".", "_").Replace(name)) && name[0] != '-' && name[0] != '.'
}

// items takes those values apart that are easier to read as lists.
func items(flag, value string) []string {
	if strings.HasSuffix(flag, "-urls") || flag == "initial-cluster" || flag == "cipher-suites" || flag == "discovery-endpoints" {
		all := strings.Split(value, ",")
		for i := range all {
			all[i] = strings.TrimSpace(all[i])
		}
		return slices.DeleteFunc(all, func(s string) bool { return s == "" })
	}
	return []string{value}
}

func (p *settler) takePath(f flag) {
	path, note, ok := p.absolute(f.value)
	if !ok {
		p.leave(f.Place, f.says, "the path is relative, and the folder that etcd is started in is not known: set "+argsPrefix+f.name+" yourself")
		return
	}
	p.take(f.Place, f.says, argsPrefix+f.name, cmp.Or(note, f.note), path)
}

// absolute resolves a path against the working directory, and says so.
func (p *settler) absolute(path string) (resolved, note string, ok bool) {
	switch {
	case filepath.IsAbs(path):
		return filepath.Clean(path), "", true
	case p.dir == "":
		return path, "", false
	}
	return filepath.Join(p.dir, path), "relative to " + p.dir + p.dirWhy, true
}

func (p *settler) takeBinary() {
	b := p.binary
	if b.text == "" {
		return
	}
	says := cmp.Or(b.says, readable(b.text))
	if why, is := unknown(b.text); is {
		p.leave(b.Place, says, why+": set etcd.binary yourself")
		return
	}
	if !strings.Contains(b.text, "/") {
		path, ok := p.host.LookPath(b.text, p.pathVariable())
		if !ok {
			p.leave(b.Place, says, "this host has no "+b.text+" in PATH: set etcd.binary yourself, or go with the built-in etcd")
			return
		}
		p.take(b.Place, says, "etcd.binary", "found by PATH", path)
		return
	}
	path, note, ok := p.absolute(b.text)
	if !ok {
		p.leave(b.Place, says, "the path is relative, and the folder that etcd is started in is not known: set etcd.binary yourself")
		return
	}
	p.take(b.Place, says, "etcd.binary", note, path)
}

// pathVariable is what the source has made of PATH, where that can be told.
func (p *settler) pathVariable() string {
	for _, v := range slices.Backward(p.env) {
		if _, is := unknown(v.value); v.name == "PATH" && !is {
			return v.value
		}
	}
	return ""
}

// defaults are etcd's own where etcdsup has others: the data is to be found again.
func (p *settler) defaults() {
	at := Place{File: p.found.Path}
	if p.found.Kind == Process {
		at.File = p.binary.File
	}
	mentioned := func(name string) bool {
		return slices.ContainsFunc(p.flags, func(f flag) bool { return f.name == name })
	}
	if !mentioned("name") {
		p.take(at, "no --name", argsPrefix+"name", "etcd's default", "default")
	}
	name := p.found.Value(argsPrefix + "name")
	if mentioned("data-dir") || name == "" {
		return
	}
	path, note, ok := p.absolute(name + ".etcd")
	if !ok {
		p.leave(at, "no --data-dir", "etcd's default is "+name+".etcd in the folder that it is started in, which is not known: set "+argsPrefix+"data-dir yourself")
		return
	}
	p.take(at, "no --data-dir", argsPrefix+"data-dir", "etcd's default, "+note, path)
}

// access is how etcdsup itself gets to an etcd that wants TLS: with what etcd itself has. Whether the certificate may be
// used so is found out by `config check`.
func (p *settler) access() {
	secure := strings.Contains(p.found.Value(argsPrefix+"listen-client-urls"), "https://")
	ca := p.found.Value(argsPrefix + "trusted-ca-file")
	if !secure || ca == "" {
		return
	}
	p.also("trusted-ca-file", "cluster.cacert", "etcdsup asks etcd as a client", ca)
	if p.found.Value(argsPrefix+"client-cert-auth") != "true" {
		return
	}
	const note = "clients must show a certificate, so etcdsup shows etcd's own; better give it one for itself"
	p.also("cert-file", "cluster.cert", note, p.found.Value(argsPrefix+"cert-file"))
	p.also("key-file", "cluster.key", note, p.found.Value(argsPrefix+"key-file"))
}

// also takes the value of a flag for a key besides.
func (p *settler) also(name, key, note, value string) {
	i := slices.IndexFunc(p.found.Taken, func(t Taken) bool { return t.Key == argsPrefix+name })
	if i >= 0 && value != "" {
		p.take(p.found.Taken[i].Place, p.found.Taken[i].Says, key, note, value)
	}
}
