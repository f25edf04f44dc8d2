package config

import (
	"cmp"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// audience is one of the two groups that an etcd listens for: clients and peers.
type audience struct {
	who               string
	listen, advertise string // flags
	port              string // etcd's usual one
	cert, key, auto   string // flags
}

var (
	clients = audience{"clients", "listen-client-urls", "advertise-client-urls", "2379", "cert-file", "key-file", "auto-tls"}
	peers   = audience{"peers", "listen-peer-urls", "initial-advertise-peer-urls", "2380", "peer-cert-file", "peer-key-file", "peer-auto-tls"}
)

// derive fills what depends on other values.
func (l *loader) derive() {
	c := l.cfg
	if c.Dir == "" {
		c.Dir = l.baseDir()
	}
	l.derivePath(&c.Log.Dir, "log")
	l.derivePath(&c.Control.Socket, "run/control.sock")
	if _, set := c.written.settings["health.timeout"]; !set {
		c.Health.Timeout = answerWithin(c.Health)
	}
	if _, set := c.written.settings["health.hung"]; !set {
		c.Health.Hung = hungAfter(c.Health)
	}
	if c.Etcd.Verify {
		l.deriveArgs()
		l.deriveMetrics()
	}
	for _, name := range slices.Sorted(maps.Keys(l.args)) {
		c.Etcd.Args = append(c.Etcd.Args, Arg{Name: name, Values: l.args[name]})
	}
}

func (l *loader) baseDir() string {
	if l.src.euid() == 0 {
		return filepath.Join("/var/lib/etcdsup", l.cfg.Instance)
	}
	if state := l.home("XDG_STATE_HOME", ".local/state"); state != "" {
		return filepath.Join(state, "etcdsup", l.cfg.Instance)
	}
	if !l.broken["dir"] {
		l.faults = append(l.faults, Problem{
			Key: "dir", What: "cannot tell where the files are to be kept: neither HOME nor XDG_STATE_HOME is set",
			Remedy: "name a folder with --dir, or in the variable ETCDSUP_DIR",
		})
	}
	return ""
}

func (l *loader) derivePath(field *string, below string) {
	if *field == "" && l.cfg.Dir != "" {
		*field = filepath.Join(l.cfg.Dir, below)
	}
}

func answerWithin(h Health) time.Duration {
	if h.Interval == 0 {
		return 3 * time.Second
	}
	return min(3*time.Second, h.Interval)
}

// hungAfter leaves room for three probes, so that a single lost answer never looks like a hung etcd.
func hungAfter(h Health) time.Duration {
	if h.Interval == 0 {
		return 0
	}
	return max(45*time.Second, 3*h.Interval+h.Timeout)
}

// deriveArgs adds the flags without which etcd would listen or store in places of its own choice.
func (l *loader) deriveArgs() {
	l.give("name", l.cfg.Instance)
	if l.cfg.Dir != "" {
		l.give("data-dir", l.cfg.Dir+"/data")
	}
	l.deriveURLs(clients)
	if own := l.ownPeerURLs(); len(own) > 0 {
		l.give(peers.advertise, own...)
	}
	l.deriveURLs(peers)
	l.deriveCluster()
}

// give sets a flag of etcd unless the user did. One whose value could not be read is left alone.
func (l *loader) give(flag string, values ...string) {
	name := keyArgs + "." + flag
	if _, set := l.args[flag]; set || l.broken[name] || len(values) == 0 {
		return
	}
	l.args[flag] = values
}

// deriveURLs lets what is advertised follow from what is listened on, and the other way round.
func (l *loader) deriveURLs(a audience) {
	listen, listening := l.args[a.listen]
	advertise, advertising := l.args[a.advertise]
	switch {
	case l.broken[keyArgs+"."+a.listen], l.broken[keyArgs+"."+a.advertise], listening && advertising:
	case listening:
		l.advertiseFor(a, listen)
	case advertising:
		l.listenFor(a, advertise)
	default:
		scheme := "http"
		if l.args[a.cert] != nil || strings.EqualFold(l.first(a.auto), "true") {
			scheme = "https"
		}
		own := scheme + "://127.0.0.1:" + a.port
		l.give(a.listen, own)
		l.give(a.advertise, own)
	}
}

func (l *loader) advertiseFor(a audience, listen []string) {
	var reachable []string
	for _, one := range listed(listen) {
		u, err := parseEtcdURL(one)
		if err != nil {
			return // it is reported where all URLs are looked at
		}
		if !unspecified(u) {
			reachable = append(reachable, one)
		}
	}
	if len(reachable) == 0 {
		l.fault("", "cannot tell at which URL "+a.who+" reach this etcd: it listens on every address, and "+a.advertise+" is not set",
			"set "+a.advertise+" under etcd: args: to the URL that "+a.who+" of other hosts use", keyArgs+"."+a.listen)
		return
	}
	l.give(a.advertise, reachable...)
}

func (l *loader) listenFor(a audience, advertise []string) {
	var all []string
	for _, one := range listed(advertise) {
		u, err := parseEtcdURL(one)
		if err != nil {
			return
		}
		if host := u.Hostname(); u.Host != "" && net.ParseIP(host) == nil && host != "localhost" {
			l.fault(one, "cannot tell on which address to listen for "+a.who+": "+a.advertise+" is a host name, and "+a.listen+" is not set",
				"set "+a.listen+" under etcd: args:, such as "+u.Scheme+"://0.0.0.0:"+cmp.Or(u.Port(), a.port), keyArgs+"."+a.advertise)
			return
		}
		all = append(all, one)
	}
	l.give(a.listen, all...)
}

// ownPeerURLs are the URLs that initial-cluster has for this member, where the user wrote one.
func (l *loader) ownPeerURLs() []string {
	var own []string
	for _, m := range members(l.args["initial-cluster"]) {
		if m.name == l.first("name") && m.url != "" {
			own = append(own, m.url)
		}
	}
	return own
}

// deriveCluster is a cluster of this member alone. etcd ignores the flag once there is data.
func (l *loader) deriveCluster() {
	for _, other := range []string{"discovery", "discovery-srv", "discovery-endpoints", "discovery-token"} {
		if l.args[other] != nil || l.broken[keyArgs+"."+other] {
			return
		}
	}
	var all []string
	for _, one := range listed(l.args[peers.advertise]) {
		all = append(all, l.first("name")+"="+one)
	}
	l.give("initial-cluster", all...)
}

func (l *loader) deriveMetrics() {
	listen := listed(l.args["listen-metrics-urls"])
	if l.cfg.Health.Metrics != "" || len(listen) == 0 {
		return
	}
	u, err := parseEtcdURL(listen[0])
	if err != nil || u.Host == "" {
		return
	}
	if unspecified(u) {
		u.Host = net.JoinHostPort(loopbackOf(u), u.Port())
	}
	l.cfg.Health.Metrics = u.String()
}

func loopbackOf(u *url.URL) string {
	if strings.Contains(u.Hostname(), ":") {
		return "::1"
	}
	return "127.0.0.1"
}

func (l *loader) first(flag string) string {
	if values := l.args[flag]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// fault is a fault of the first of the keys that somebody wrote.
func (l *loader) fault(part, what, remedy string, keys ...string) {
	l.faults = append(l.faults, l.cfg.problem(part, what, remedy, keys...))
}

// faultName is a fault of a setting's name, whatever its value is.
func (l *loader) faultName(what, remedy, key string) {
	l.faults = append(l.faults, l.cfg.nameProblem(key, what, remedy))
}

// member is one entry of initial-cluster.
type member struct{ name, url string }

func members(values []string) []member {
	var all []member
	for _, one := range listed(values) {
		name, url, _ := strings.Cut(one, "=")
		all = append(all, member{name, url})
	}
	return all
}
