// Package config turns one YAML file, ETCDSUP_* variables and flags into a complete Config, or into every
// Problem at once. Nothing starts on a faulty file.
package config

import (
	"cmp"
	"net/url"
	"os"
	"strings"
	"time"
)

// Size is a number of bytes. In files it is written "100MiB", "2GB" or a plain number.
type Size int64

// Arg is one of etcd's own flags as the file gives it: the name without dashes, one or more values.
// A list becomes one comma-separated value, as etcd expects.
type Arg struct {
	Name   string
	Values []string
}

// Value is what etcd gets for the flag.
func (a Arg) Value() string { return strings.Join(a.Values, ",") }

// Config is everything etcdsup runs by, complete with defaults. All paths in it are absolute.
type Config struct {
	Instance string // name among several etcds of one host
	File     string // the file it came from; empty: none
	Dir      string // base folder for all that is not placed elsewhere

	Etcd    Etcd
	Restart Restart
	Stop    Stop
	Log     Log
	Health  Health
	Control Control
	Cluster Cluster
	Service Service
	Hooks   Hooks

	written *written // who set what, and where; nil for a Config that was not loaded
}

// Etcd is the process to run.
type Etcd struct {
	Binary string            // path of an etcd; empty: the built-in one
	Args   []Arg             // etcd's own flags, data-dir and the URLs included; sorted by name
	Env    map[string]string // added to the clean environment etcd gets
	Verify bool              // ask the binary's --help for each flag; false for a stand-in that is no etcd: Args pass through, nothing is added
}

// Restart is what follows a death.
type Restart struct {
	Delay      time.Duration // of the second start in a row; the first one is at once
	MaxDelay   time.Duration // where doubling ends
	Jitter     float64       // 0.2: ±20 %
	ResetAfter time.Duration // this long ready (and 4 × the last delay): the next death counts as the first again
	PerHour    int           // starts by ourselves within any hour of supervised time
}

// Stop is how etcd is brought down.
type Stop struct {
	Transfer time.Duration // for handing leadership over before SIGTERM; 0: not asked
	Grace    time.Duration // SIGTERM → SIGQUIT
	Dump     time.Duration // SIGQUIT → SIGKILL
}

// Log is where and how etcd's output is kept.
type Log struct {
	Dir         string
	MaxSize     Size          // of the current file, then it is rotated
	RotateEvery time.Duration // 0: by size only
	KeepFiles   int           // archives kept; 0: no limit by count
	KeepFor     time.Duration // age of archives; 0: no limit by age
	KeepTotal   Size          // current file and archives together; 0: no limit by size
	Compress    bool          // gzip archives
	Sync        time.Duration // at most this much is lost by a power cut; 0: left to the kernel
	Buffer      Size          // memory for what the disk does not take
	MaxWait     time.Duration // etcd's write never waits longer for the log disk than this; then the oldest bytes are dropped
}

// ReadyBy says what makes the child ready.
type ReadyBy string

// The ways.
const (
	ReadyNotify  ReadyBy = "notify"  // etcd's own READY, confirmed by a serializable health answer
	ReadyStarted ReadyBy = "started" // as soon as it runs: for a stand-in that does not notify
)

// Health is how etcd is watched.
type Health struct {
	Ready    ReadyBy
	Interval time.Duration // between probes once ready; 0: no probes
	Timeout  time.Duration // of one probe
	Hung     time.Duration // no answer and no progress for this long: stack dump, kill, restart; 0: never
	Metrics  string        // URL probed, without path, e.g. http://127.0.0.1:2381; empty: etcdsup adds a listen-metrics-urls on loopback
}

// Control is the socket by which the commands reach the daemon.
type Control struct {
	Socket string // path
	Group  string // its members may use it, beside root and the daemon's own user; empty: nobody else
}

// Cluster is how etcdsup itself talks to etcd as a client.
type Cluster struct {
	Endpoints    []*url.URL // empty: this member's own client URLs
	CACert       string
	Cert         string
	Key          string
	User         string
	PasswordFile string
}

// TellReady says when the service manager is told that the service is ready.
type TellReady string

// The ways.
const (
	TellSupervising TellReady = "supervising" // as soon as etcd is looked after, and the socket answers
	TellServing     TellReady = "serving"     // once etcd serves
)

// Service is how etcdsup gets on with the service manager that started it.
type Service struct {
	Ready TellReady
}

// DefaultInstance is the name of the instance that nobody has named.
const DefaultInstance = "default"

// DataDir is etcd's data directory. A stand-in is not told of the default one, but its lock is kept there.
func (c *Config) DataDir() string { return cmp.Or(c.arg("data-dir"), c.Dir+"/data") }

// Arg is what etcd gets for one of its own flags; empty: it is not set.
func (c *Config) Arg(name string) string { return c.arg(name) }

// ArgValues are what etcd gets for one of its own flags that takes a list; nil: it is not set.
func (c *Config) ArgValues(name string) []string {
	if v := c.argument(name); v != "" {
		return strings.Split(v, ",")
	}
	return nil
}

// StateDir is where the record and the history are kept.
func (c *Config) StateDir() string { return c.Dir + "/state" }

// RunDir holds sockets and what needs not outlive a boot.
func (c *Config) RunDir() string { return c.Dir + "/run" }

// NotifySocket is where etcd says that it is ready.
func (c *Config) NotifySocket() string { return c.RunDir() + "/notify" }

// argument is the whole value of a flag.
func (c *Config) argument(name string) string {
	for _, a := range c.Etcd.Args {
		if a.Name == name {
			return a.Value()
		}
	}
	return ""
}

func (c *Config) arg(name string) string {
	for _, a := range c.Etcd.Args {
		if a.Name == name && len(a.Values) > 0 {
			return a.Values[0]
		}
	}
	return ""
}

// Mode bits of what etcdsup makes.
const (
	DirMode  os.FileMode = 0o700
	FileMode os.FileMode = 0o600
)
