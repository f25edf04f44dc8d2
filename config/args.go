package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// owned are etcd's flags that etcdsup sets by itself, and what to do instead of setting them.
var owned = map[string]string{
	"force-new-cluster":        "remove it: left in place, it tears the cluster apart at the next restart; etcdsup gives it to etcd by itself, once, in the mode force-new-cluster",
	"initial-cluster-state":    "remove it: etcdsup starts a member as new or existing by its mode, normal or join",
	"log-outputs":              "remove it: etcd writes to etcdsup; log.dir says where that is kept",
	"logger":                   "remove it: etcd has only one logger, and etcdsup reads what that writes",
	"enable-log-rotation":      "remove it: etcdsup rotates by log.max_size and log.rotate_every",
	"log-rotation-config-json": "remove it: etcdsup rotates by log.max_size, log.rotate_every, log.keep_files, log.keep_for and log.keep_total",
	"config-file":              "move the file's settings into etcd.args: with a file etcd ignores all flags, those of etcdsup too",
	"version":                  "remove it: etcd would print its version and end",
	"help":                     "remove it: etcd would print its help and end",
	"h":                        "remove it: etcd would print its help and end",
}

// verifyArgs finds what etcd would die of, or run with in a way that nobody wants.
func (l *loader) verifyArgs() {
	for _, name := range slices.Sorted(maps.Keys(owned)) {
		if l.args[name] != nil {
			l.faultName("cannot give etcd the flag "+name+": etcdsup sets it by itself", owned[name], keyArgs+"."+name)
		}
	}
	l.verifyEnv()
	good := l.verifyURLs()
	l.verifyServed(clients, good)
	l.verifyServed(peers, good)
	l.verifyCollisions(good)
	l.verifyTLS(clients, good)
	l.verifyTLS(peers, good)
	l.verifyMetrics(good)
	l.verifyTimes()
	l.verifyBootstrap()
}

// verifyEnv: etcd ends with status 1 when a flag is also given as a variable, even with the same value.
func (l *loader) verifyEnv() {
	flags := map[string]string{}
	for flag := range l.args {
		flags[flagVariable(flag)] = flag
	}
	for flag := range owned {
		flags[flagVariable(flag)] = flag
	}
	for _, name := range slices.Sorted(maps.Keys(l.cfg.Etcd.Env)) {
		flag, key := flags[name], keyEnv+"."+name
		switch {
		case strings.HasPrefix(name, variablePrefix):
			l.faultName("cannot give etcd the variable "+name+": names with "+variablePrefix+" are etcdsup's own", "remove it, or move it to the environment of etcdsup", key)
		case name == "NOTIFY_SOCKET":
			l.faultName("cannot give etcd the variable NOTIFY_SOCKET: etcdsup learns by its own socket when etcd is ready", "remove it", key)
		case flag == "":
		case owned[flag] != "":
			l.faultName("cannot give etcd the variable "+name+": etcdsup sets "+flag+" by itself", owned[flag], key)
		default:
			l.faultName("cannot give etcd the variable "+name+": the flag "+flag+" is given too, and etcd ends when both are",
				"remove it here and set "+flag+" under etcd: args:", key)
		}
	}
}

// flagVariable is the variable by which etcd takes a flag.
func flagVariable(flag string) string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fitFor is what etcd asks of a URL beyond its form.
func fitFor(listen bool, u *url.URL) error {
	switch host := u.Hostname(); {
	case u.Host == "":
		return nil
	case listen && net.ParseIP(host) == nil && host != "localhost":
		return unfit{"etcd listens on addresses, not on names", "write the IP address that " + printable(host) + " stands for, or 0.0.0.0 for all"}
	case !listen && unspecified(u):
		return unfit{"nobody can connect to " + host, "write the address or name by which others reach this host"}
	}
	return nil
}

// verifyServed: a URL that is advertised but not listened on sends every client and peer into the void.
func (l *loader) verifyServed(a audience, good map[string][]*url.URL) {
	if !l.sound(keyArgs+"."+a.listen, keyArgs+"."+a.advertise) {
		return
	}
	for _, u := range good[a.advertise] {
		served := slices.ContainsFunc(good[a.listen], func(listener *url.URL) bool { return serves(listener, u) })
		if served || len(good[a.listen]) == 0 {
			continue
		}
		l.fault(u.String(), "cannot advertise "+u.String()+": no URL of "+a.listen+" serves it",
			"add "+listenerFor(u)+" to "+a.listen+", or advertise one of "+strings.Join(texted(good[a.listen]), ", "),
			keyArgs+"."+a.advertise, keyArgs+"."+a.listen)
	}
}

func listenerFor(u *url.URL) string {
	if u.Host != "" && net.ParseIP(u.Hostname()) == nil && u.Hostname() != "localhost" {
		return u.Scheme + "://0.0.0.0:" + u.Port()
	}
	return u.String()
}

func texted(us []*url.URL) []string {
	all := make([]string, len(us))
	for i, u := range us {
		all[i] = u.String()
	}
	return all
}

// verifyCollisions finds listeners of different flags that would take each other's port.
func (l *loader) verifyCollisions(good map[string][]*url.URL) {
	flags := []string{clients.listen, peers.listen, "listen-metrics-urls"}
	for i, a := range flags {
		for _, b := range flags[i+1:] {
			for _, ua := range good[a] {
				for _, ub := range good[b] {
					if collide(ua, ub) {
						l.fault(ub.String(), "cannot listen twice on port "+ub.Port()+": "+a+" has "+ua.String()+", "+b+" has "+ub.String(),
							"use different ports", keyArgs+"."+b, keyArgs+"."+a)
					}
				}
			}
		}
	}
}

// verifyTLS: without a certificate, etcd ends at once on an https URL.
func (l *loader) verifyTLS(a audience, good map[string][]*url.URL) {
	cert, key := keyArgs+"."+a.cert, keyArgs+"."+a.key
	if !l.sound(cert, key) {
		return
	}
	l.together(cert, l.first(a.cert), key, l.first(a.key))
	if l.first(a.cert) != "" || l.first(a.key) != "" || strings.EqualFold(l.first(a.auto), "true") {
		return
	}
	for _, u := range good[a.listen] {
		if u.Scheme == "https" || u.Scheme == "unixs" {
			l.fault(u.String(), "cannot listen on "+u.String()+": there is no certificate for "+a.who,
				"set "+a.cert+" and "+a.key+" under etcd: args:, or "+a.auto+": true", keyArgs+"."+a.listen, keyArgs+"."+a.advertise)
			return
		}
	}
}

func (l *loader) verifyMetrics(good map[string][]*url.URL) {
	u, err := parseWebURL(l.cfg.Health.Metrics)
	if err != nil || !l.sound("health.metrics", keyArgs+".listen-metrics-urls", keyArgs+".listen-client-http-urls", keyArgs+"."+clients.listen) {
		return
	}
	listeners := slices.Concat(good["listen-metrics-urls"], good["listen-client-http-urls"], good[clients.listen])
	if !slices.ContainsFunc(listeners, func(listener *url.URL) bool { return serves(listener, u) }) {
		l.fault("", "cannot probe "+u.String()+": etcd does not listen there", "set listen-metrics-urls under etcd: args: to it, or remove health.metrics",
			"health.metrics")
	}
}

// etcd's own defaults and limit of its two times, in milliseconds.
const (
	heartbeatDefault = 100
	electionDefault  = 1000
	electionMax      = 50_000
)

func (l *loader) verifyTimes() {
	const heartbeatKey, electionKey = keyArgs + ".heartbeat-interval", keyArgs + ".election-timeout"
	heartbeat, ok := l.milliseconds("heartbeat-interval", heartbeatDefault)
	election, too := l.milliseconds("election-timeout", electionDefault)
	switch {
	case !ok || !too:
	case election < 5*heartbeat:
		l.fault("", fmt.Sprintf("cannot elect within %d ms: the heartbeat comes every %d ms, and etcd wants at least five of them", election, heartbeat),
			fmt.Sprintf("set election-timeout to %d or more; ten heartbeats are usual", 5*heartbeat), electionKey, heartbeatKey)
	case election > electionMax:
		l.fault("", fmt.Sprintf("cannot elect within %d ms: etcd takes at most %d", election, electionMax), "make election-timeout smaller", electionKey)
	}
}

func (l *loader) milliseconds(flag string, without uint64) (uint64, bool) {
	text, key := l.first(flag), keyArgs+"."+flag
	if l.args[flag] == nil || l.broken[key] {
		return without, !l.broken[key]
	}
	n, err := strconv.ParseUint(text, 0, 32)
	if err != nil || n == 0 {
		l.fault("", "cannot set "+key+" to "+quoted(key, text)+": etcd wants a whole number of milliseconds above 0",
			"write the number without a unit, such as "+strconv.FormatUint(without, 10), key)
		return 0, false
	}
	return n, true
}

// verifyBootstrap looks at what a first start goes by. Later ones ignore it, but a rebuilt member is a first start too.
func (l *loader) verifyBootstrap() {
	const clusterKey = keyArgs + ".initial-cluster"
	if !l.sound(clusterKey, keyArgs+".name") {
		return
	}
	l.verifyDiscovery(clusterKey)
	seen := map[string]bool{}
	own := false
	for _, m := range members(l.args["initial-cluster"]) {
		own = own || m.name == l.first("name")
		_, err := parseEtcdURL(m.url)
		switch {
		case m.name == "" || m.url == "":
			l.fault("", "cannot use "+quoted(clusterKey, m.name)+" in initial-cluster: it is not name=URL", "write entries such as n1=http://10.0.0.1:2380", clusterKey)
			return
		case err != nil:
			l.faultOf(err, m.url, "cannot use "+quoted(clusterKey, m.url)+" in initial-cluster", clusterKey)
			return
		case seen[m.url]:
			l.fault(m.name+"="+m.url, "cannot give "+m.url+" to two members in initial-cluster", "give each member its own URL", clusterKey)
			return
		}
		seen[m.url] = true
	}
	if !own && len(seen) > 0 {
		l.fault("", "cannot find this member in initial-cluster: its name is "+quoted("", l.first("name")),
			"add "+l.first("name")+"=<one of "+peers.advertise+">, or set name to one of the members", clusterKey, keyArgs+".name")
		return
	}
	l.verifyOwnURLs(clusterKey)
}

// verifyOwnURLs: etcd compares the two lists at a first start. Names are left out, it would look them up.
func (l *loader) verifyOwnURLs(clusterKey string) {
	inCluster, advertised := l.ownPeerURLs(), listed(l.args[peers.advertise])
	if len(inCluster) == 0 || !l.sound(keyArgs+"."+peers.advertise) {
		return
	}
	for _, one := range inCluster {
		u, err := parseEtcdURL(one)
		if err == nil && net.ParseIP(u.Hostname()) != nil && !slices.Contains(advertised, one) && literal(advertised) {
			l.fault(one, "cannot match initial-cluster with "+peers.advertise+": this member is "+one+" there, and "+strings.Join(advertised, ", ")+" here",
				"write the same URLs in both, or remove "+peers.advertise, clusterKey, keyArgs+"."+peers.advertise)
		}
	}
}

// literal says whether all URLs hold addresses, so that comparing their texts means something.
func literal(urls []string) bool {
	return !slices.ContainsFunc(urls, func(one string) bool {
		u, err := parseEtcdURL(one)
		return err != nil || net.ParseIP(u.Hostname()) == nil
	})
}

func (l *loader) verifyDiscovery(clusterKey string) {
	var ways []string
	for _, flag := range []string{"initial-cluster", "discovery-srv", "discovery-endpoints"} {
		if l.first(flag) != "" {
			ways = append(ways, flag)
		}
	}
	if len(ways) > 1 {
		l.fault("", "cannot form a cluster in several ways at once: "+strings.Join(ways, " and ")+" are set", "keep one of them",
			keyArgs+"."+ways[1], clusterKey)
	}
	l.together(keyArgs+".discovery-token", l.first("discovery-token"), keyArgs+".discovery-endpoints", l.first("discovery-endpoints"))
}

// Owned says of a flag that etcdsup sets by itself what to do instead of setting it; empty: anybody may set it.
func Owned(flag string) (remedy string) { return owned[flag] }
