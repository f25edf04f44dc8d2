package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what a Unix socket's address has room for beside its final zero.
const maxSocketPath = len(unix.RawSockaddrUnix{}.Path) - 1

// verify finds faults between values that are each fine. What is only known from the host is left to Check.
func (l *loader) verify() {
	l.verifyRestart()
	l.verifyLog()
	l.verifyHealth()
	l.verifyCluster()
	l.verifySocket()
	l.verifyPathFlags()
	if l.cfg.Etcd.Verify {
		l.verifyArgs()
	}
}

// sound says whether all of the values could be read.
func (l *loader) sound(keys ...string) bool {
	for _, k := range keys {
		if l.broken[k] {
			return false
		}
	}
	return true
}

func (l *loader) verifyRestart() {
	r := l.cfg.Restart
	if r.Delay > r.MaxDelay && l.sound("restart.delay", "restart.max_delay") {
		l.fault("", fmt.Sprintf("cannot begin with a delay of %s: restart.max_delay is %s", FormatDuration(r.Delay), FormatDuration(r.MaxDelay)),
			"make restart.delay the smaller of the two", "restart.delay", "restart.max_delay")
	}
}

func (l *loader) verifyLog() {
	g := l.cfg.Log
	if g.KeepTotal > 0 && g.MaxSize > g.KeepTotal && l.sound("log.max_size", "log.keep_total") {
		l.fault("", fmt.Sprintf("cannot let a log file grow to %s: log.keep_total is %s", g.MaxSize, g.KeepTotal),
			"make log.keep_total larger than log.max_size, best several times", "log.max_size", "log.keep_total")
	}
	data := l.cfg.DataDir()
	if g.Dir != "" && l.sound("log.dir", keyArgs+".data-dir") && within(data, g.Dir) {
		l.fault("", "cannot keep the log in etcd's data directory "+data+": whoever copies or sets aside the data would take the log along",
			"choose a folder outside of it", "log.dir", keyArgs+".data-dir")
	}
}

func within(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func (l *loader) verifyHealth() {
	h := l.cfg.Health
	if h.Interval == 0 {
		if h.Hung > 0 && l.sound("health.hung", "health.interval") {
			l.fault("", "cannot find a hung etcd without probes: health.interval is 0", "set health.hung to 0, or health.interval to a duration",
				"health.hung", "health.interval")
		}
		return
	}
	if h.Timeout > h.Interval && l.sound("health.timeout", "health.interval") {
		l.fault("", fmt.Sprintf("cannot wait %s for an answer and ask every %s", FormatDuration(h.Timeout), FormatDuration(h.Interval)),
			"make health.timeout at most health.interval", "health.timeout", "health.interval")
	}
	if least := h.Interval + h.Timeout; h.Hung > 0 && h.Hung < least && l.sound("health.hung", "health.interval", "health.timeout") {
		l.fault("", fmt.Sprintf("cannot call etcd hung after %s: one lost answer takes %s", FormatDuration(h.Hung), FormatDuration(least)),
			"make health.hung several times health.interval, or 0", "health.hung", "health.interval", "health.timeout")
	}
}

func (l *loader) verifyCluster() {
	c := l.cfg.Cluster
	l.together("cluster.cert", c.Cert, "cluster.key", c.Key)
	l.together("cluster.user", c.User, "cluster.password_file", c.PasswordFile)
}

// together reports one of two settings that make no sense alone.
func (l *loader) together(aKey, a, bKey, b string) {
	if (a == "") == (b == "") || !l.sound(aKey, bKey) {
		return
	}
	if a == "" {
		aKey, bKey = bKey, aKey
	}
	l.fault("", "cannot use "+aKey+" without "+bKey, "set both, or neither", aKey)
}

func (l *loader) verifySocket() {
	socket := l.cfg.Control.Socket
	if len(socket) > maxSocketPath && l.sound("control.socket", "dir") {
		l.fault("", fmt.Sprintf("cannot make a socket at %s: its path has %d bytes, Linux takes %d", socket, len(socket), maxSocketPath),
			"set control.socket to a shorter path, such as /run/etcdsup/"+l.cfg.Instance+".sock", "control.socket", "dir", "instance")
		return
	}
	if notify := l.cfg.NotifySocket(); len(notify) > maxSocketPath && l.sound("dir") {
		l.fault("", fmt.Sprintf("cannot make a socket at %s, on which etcd says that it is ready: its path has %d bytes, Linux takes %d", notify, len(notify), maxSocketPath),
			"set dir to a shorter path, and etcd.args.data-dir and log.dir to where there is room", "dir", "instance")
	}
}

type pathFlag struct {
	name           string
	folder, secret bool
}

// pathFlags are etcd's flags that name a file or folder, and whether the file is a secret.
var pathFlags = []pathFlag{
	{name: "data-dir", folder: true}, {name: "wal-dir", folder: true},
	{name: "cert-file"}, {name: "key-file", secret: true},
	{name: "client-cert-file"}, {name: "client-key-file", secret: true},
	{name: "client-crl-file"}, {name: "trusted-ca-file"},
	{name: "peer-cert-file"}, {name: "peer-key-file", secret: true},
	{name: "peer-client-cert-file"}, {name: "peer-client-key-file", secret: true},
	{name: "peer-crl-file"}, {name: "peer-trusted-ca-file"},
	{name: "discovery-cert"}, {name: "discovery-key", secret: true}, {name: "discovery-cacert"},
}

// verifyPathFlags also looks at a stand-in's data-dir: etcdsup keeps its lock there.
func (l *loader) verifyPathFlags() {
	for _, p := range pathFlags {
		path, given := l.first(p.name), l.args[p.name] != nil
		if !given || filepath.IsAbs(path) || !l.cfg.Etcd.Verify && p.name != "data-dir" {
			continue
		}
		name := keyArgs + "." + p.name
		why, remedy := "it is empty", "write an absolute path, or remove the line"
		if path != "" {
			why, remedy = "the path is relative", "write an absolute path: etcd does not start in the folder that you are in"
		}
		l.fault(path, "cannot set "+name+" to "+quoted(name, path)+": "+why, remedy, name)
	}
}

// urlFlags are etcd's flags that hold URLs.
var urlFlags = []struct {
	name   string
	listen bool
}{
	{clients.listen, true}, {peers.listen, true}, {"listen-metrics-urls", true}, {"listen-client-http-urls", true},
	{clients.advertise, false}, {peers.advertise, false},
}

// verifyURLs reports URLs that etcd would refuse, and returns the others by flag.
func (l *loader) verifyURLs() map[string][]*url.URL {
	good := map[string][]*url.URL{}
	for _, f := range urlFlags {
		key := keyArgs + "." + f.name
		if values := l.args[f.name]; values != nil && len(listed(values)) == 0 {
			l.fault("", "cannot set "+key+" to nothing", "write a URL, or remove the line", key)
		}
		for _, one := range listed(l.args[f.name]) {
			u, err := parseEtcdURL(one)
			if err == nil {
				err = fitFor(f.listen, u)
			}
			if err == nil {
				good[f.name] = append(good[f.name], u)
				continue
			}
			l.broken[key] = true
			l.faultOf(err, one, "cannot use "+quoted(key, one)+" in "+key, key)
		}
	}
	return good
}

// faultOf is fault for an error that may bring its own remedy.
func (l *loader) faultOf(err error, part, what, key string) {
	remedy := "write scheme, host and port, such as http://127.0.0.1:2379"
	if u, ok := errors.AsType[unfit](err); ok {
		remedy = u.remedy
	}
	l.fault(part, what+": "+err.Error(), remedy, key)
}

// IsPathFlag says whether a flag of etcd names a file or a folder.
func IsPathFlag(flag string) bool {
	return slices.ContainsFunc(pathFlags, func(p pathFlag) bool { return p.name == flag })
}
