package config

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Key is one row of the table of everything that can be configured. The loader, the defaults, the ETCDSUP_* variables,
// --set, the example, the reference, the completion and "config show" are all made from it.
type Key struct {
	Name    string // as in log.max_size: section and name
	Type    string // such as "duration"
	Form    string // how a value is written
	Default string // as it would be written; empty: none, or see Derived
	Derived string // where the default comes from if it is no constant, such as "<dir>/log"
	Doc     string // one or more sentences
	Example string // a value that could stand in a file
	Live    bool   // a change can be applied while etcd runs on

	entries bool // a mapping with names of the user's own
	list    bool // takes a list
	values  []string
	takes   scalar
	joined  func(texts []string) string // one text of the items of a list; nil: with commas
	set     func(*Config, string) error
	get     func(*Config) string
}

// Section is the part of the name before the dot, empty for instance and dir.
func (k *Key) Section() string {
	section, _, found := strings.Cut(k.Name, ".")
	if !found {
		return ""
	}
	return section
}

// Base is the part of the name after the dot.
func (k *Key) Base() string { return k.Name[strings.LastIndexByte(k.Name, '.')+1:] }

// Variable is the environment variable that sets the key. For etcd.args and etcd.env it is a prefix, to which an
// underscore and the name of the entry are added.
func (k *Key) Variable() string {
	return "ETCDSUP_" + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Setting is the name before "=" in --set, as far as it is fixed: of a mapping the name of the entry is to follow.
func (k *Key) Setting() string {
	if k.entries {
		return k.Name + "."
	}
	return k.Name + "="
}

// DefaultText is the default as it would be written, or else the words that say where it comes from.
func (k *Key) DefaultText() string { return cmp.Or(k.Default, k.Derived) }

// Values are all values that the key can have, where these can be counted.
func (k *Key) Values() []string { return slices.Clone(k.values) }

// row makes a Key: field says where its value lives in a Config.
func row[T any](name string, of kind[T], field func(*Config) *T, rest Key) Key {
	rest.Name, rest.Type, rest.Form, rest.takes, rest.values = name, of.name, of.form, of.takes, of.values
	rest.set = func(c *Config, text string) error {
		v, err := of.parse(text)
		if err == nil {
			*field(c) = v
		}
		return err
	}
	rest.get = func(c *Config) string { return of.format(*field(c)) }
	return rest
}

const (
	year      = 365 * day
	manyFiles = 100_000
	kib       = Size(1 << 10)
	gib, tib  = Size(1 << 30), Size(1 << 40)
	keyArgs   = "etcd.args"
	keyEnv    = "etcd.env"
)

// sections says what each part of the file is for, in the order of the file.
var sections = []struct{ name, doc string }{
	{"", "Which etcd this is, and where its files are."},
	{"etcd", "The process to run: etcd's own flags, under etcd's own names."},
	{"restart", "What follows when etcd ends by itself."},
	{"stop", "How etcd is brought down."},
	{"log", "Where and how etcd's output is kept."},
	{"health", "How etcd is watched."},
	{"control", "The socket by which the commands reach the daemon."},
	{"cluster", "How etcdsup itself talks to etcd, as a client."},
	{"service", "What systemd, or whoever else starts etcdsup, is told."},
	{"hooks", "Commands of your own that etcdsup runs."},
}

// table is the one list of keys, in the order of the file.
var table = []Key{
	row("instance", names, func(c *Config) *string { return &c.Instance }, Key{
		Default: DefaultInstance, Example: "events",
		Doc: "The name of this etcd among several on one host. It is part of the default folder and of the default configuration file's name.",
	}),
	row("dir", paths, func(c *Config) *string { return &c.Dir }, Key{
		Derived: "as root /var/lib/etcdsup/<instance>, otherwise $XDG_STATE_HOME/etcdsup/<instance>", Example: "/srv/etcd/main",
		Doc: "The base folder of everything that is not placed elsewhere.",
	}),

	row("etcd.binary", paths, func(c *Config) *string { return &c.Etcd.Binary }, Key{
		Derived: "the built-in etcd", Example: "/usr/local/bin/etcd",
		Doc: "The path of the etcd to run.",
	}),
	row("etcd.verify", booleans, func(c *Config) *bool { return &c.Etcd.Verify }, Key{
		Default: "true", Example: "true",
		Doc: "Whether the binary is asked which flags it knows, and gets the flags that it needs to run. With false, any program can stand in for etcd: it gets etcd.args as they are, and nothing else.",
	}),
	{
		Name: keyArgs, Type: "mapping", Form: "etcd's flags without dashes; a list becomes one value with commas",
		Derived: "one member on loopback: name <instance>, data-dir <dir>/data, client URLs http://127.0.0.1:2379, peer URLs http://127.0.0.1:2380, and whatever follows from those that are set",
		Example: "\n    name: n1\n    listen-client-urls: [http://127.0.0.1:2379, http://10.0.0.1:2379]\n    advertise-client-urls: http://10.0.0.1:2379\n    quota-backend-bytes: 8589934592",
		Doc:     "etcd's own flags, nothing renamed. Flags that etcdsup sets by itself (force-new-cluster, initial-cluster-state, log-outputs and the like) are refused.",
		entries: true, list: true, takes: anyScalar,
	},
	{
		Name: keyEnv, Type: "mapping", Form: "names and values of environment variables",
		Derived: "none, etcd gets a clean environment", Example: "\n    GOMEMLIMIT: 6GiB",
		Doc:     "Variables for etcd's environment. A flag of etcd belongs in etcd.args: etcd refuses to start when a flag is given both ways.",
		entries: true, takes: anyScalar,
	},

	row("restart.delay", durations(0, time.Hour), func(c *Config) *time.Duration { return &c.Restart.Delay }, Key{
		Default: "500ms", Example: "500ms", Live: true,
		Doc: "The wait before the second start in a row; it doubles with each further one. The first restart is made at once.",
	}),
	row("restart.max_delay", durations(0, day), func(c *Config) *time.Duration { return &c.Restart.MaxDelay }, Key{
		Default: "30s", Example: "30s", Live: true,
		Doc: "Where the doubling ends.",
	}),
	row("restart.jitter", floats(0, 0.9), func(c *Config) *float64 { return &c.Restart.Jitter }, Key{
		Default: "0.2", Example: "0.2", Live: true,
		Doc: "The share by which a wait is made longer or shorter at random, so that members which died together do not start together.",
	}),
	row("restart.reset_after", durations(0, day), func(c *Config) *time.Duration { return &c.Restart.ResetAfter }, Key{
		Default: "1m", Example: "1m", Live: true,
		Doc: "After so long a time of readiness (and four times the last wait) the next death counts as the first again.",
	}),
	row("restart.per_hour", integers(1, 3600), func(c *Config) *int { return &c.Restart.PerHour }, Key{
		Default: "30", Example: "30", Live: true,
		Doc: "The largest number of starts that etcdsup makes by itself within an hour.",
	}),

	row("stop.transfer", durations(0, time.Hour), func(c *Config) *time.Duration { return &c.Stop.Transfer }, Key{
		Default: "5s", Example: "5s", Live: true,
		Doc: "The time for handing leadership over before SIGTERM; 0 leaves that out.",
	}),
	row("stop.grace", durations(0, day), func(c *Config) *time.Duration { return &c.Stop.Grace }, Key{
		Default: "1m", Example: "1m", Live: true,
		Doc: "The time from SIGTERM to SIGQUIT. etcd needs up to 7s for each of its listeners when clients watch.",
	}),
	row("stop.dump", durations(0, time.Hour), func(c *Config) *time.Duration { return &c.Stop.Dump }, Key{
		Default: "5s", Example: "5s", Live: true,
		Doc: "The time for writing the stack dump after SIGQUIT; then SIGKILL.",
	}),

	row("log.dir", paths, func(c *Config) *string { return &c.Log.Dir }, Key{
		Derived: "<dir>/log", Example: "/var/log/etcd",
		Doc: "The folder of etcd.log and its archives.",
	}),
	row("log.max_size", sizes(64*kib, tib), func(c *Config) *Size { return &c.Log.MaxSize }, Key{
		Default: "100MiB", Example: "100MiB", Live: true,
		Doc: "The current file is rotated when it has this size.",
	}),
	row("log.rotate_every", durations(0, year), func(c *Config) *time.Duration { return &c.Log.RotateEvery }, Key{
		Default: "0", Example: "1d", Live: true,
		Doc: "The current file is also rotated after this time; 0: by size only.",
	}),
	row("log.keep_files", integers(0, manyFiles), func(c *Config) *int { return &c.Log.KeepFiles }, Key{
		Default: "20", Example: "20", Live: true,
		Doc: "The number of archives kept; 0: no limit by number.",
	}),
	row("log.keep_for", durations(0, 100*year), func(c *Config) *time.Duration { return &c.Log.KeepFor }, Key{
		Default: "0", Example: "90d", Live: true,
		Doc: "The age at which an archive is removed; 0: no limit by age, so that the last words before an old fault stay as long as there is room.",
	}),
	row("log.keep_total", sizes(0, 1024*tib), func(c *Config) *Size { return &c.Log.KeepTotal }, Key{
		Default: "2GiB", Example: "2GiB", Live: true,
		Doc: "The room for the current file and its archives together; 0: no limit by size.",
	}),
	row("log.compress", booleans, func(c *Config) *bool { return &c.Log.Compress }, Key{
		Default: "true", Example: "true", Live: true,
		Doc: "Whether archives are compressed with gzip, beside the writing and at low priority.",
	}),
	row("log.sync", durations(0, time.Hour), func(c *Config) *time.Duration { return &c.Log.Sync }, Key{
		Default: "10s", Example: "10s", Live: true,
		Doc: "How much of the log, in time, a power cut may cost; 0 leaves it to the kernel.",
	}),
	row("log.buffer", sizes(64*kib, gib), func(c *Config) *Size { return &c.Log.Buffer }, Key{
		Default: "16MiB", Example: "16MiB", Live: true,
		Doc: "The memory for output that the disk does not take.",
	}),
	row("log.max_wait", durations(time.Millisecond, time.Second), func(c *Config) *time.Duration { return &c.Log.MaxWait }, Key{
		Default: "50ms", Example: "50ms", Live: true,
		Doc: "The longest that a write of etcd may wait for the disk of the log. After that the oldest output in memory is dropped, counted, and marked in the log.",
	}),

	row("health.ready", choices(ReadyNotify, ReadyStarted), func(c *Config) *ReadyBy { return &c.Health.Ready }, Key{
		Default: "notify", Example: "notify", Live: true,
		Doc: "What makes etcd ready: notify is its own message, confirmed by a health answer; started is for a stand-in that sends none.",
	}),
	row("health.interval", durations(0, time.Hour), func(c *Config) *time.Duration { return &c.Health.Interval }, Key{
		Default: "10s", Example: "10s", Live: true,
		Doc: "The time between two probes of a ready etcd; 0: no probes.",
	}),
	row("health.timeout", durations(10*time.Millisecond, time.Hour), func(c *Config) *time.Duration { return &c.Health.Timeout }, Key{
		Derived: "3s, or health.interval where that is shorter", Example: "3s", Live: true,
		Doc: "How long a probe waits for its answer.",
	}),
	row("health.hung", durations(0, day), func(c *Config) *time.Duration { return &c.Health.Hung }, Key{
		Derived: "45s, or longer where health.interval is long; 0 without probes", Example: "45s", Live: true,
		Doc: "Without an answer and without progress for this long, etcd is hung: its stack dump is kept, it is killed and started again; 0: never. Lost quorum is not hung.",
	}),
	row("health.metrics", webURLs, func(c *Config) *string { return &c.Health.Metrics }, Key{
		Derived: "the first of listen-metrics-urls; without that flag etcdsup has etcd listen on a port of loopback", Example: "http://127.0.0.1:2381",
		Doc: "The URL, without path, that is probed. It should be one of etcd's listen-metrics-urls: these answer without quorum, client URLs do not.",
	}),

	row("control.socket", paths, func(c *Config) *string { return &c.Control.Socket }, Key{
		Derived: "<dir>/run/control.sock", Example: "/run/etcdsup/main.sock",
		Doc: "The path of the control socket, at most 107 bytes.",
	}),
	row("control.group", texts("the name or number of a group"), func(c *Config) *string { return &c.Control.Group }, Key{
		Derived: "none", Example: "etcd-admins",
		Doc: "A group whose members may use the control socket, beside root and the daemon's own user.",
	}),

	{
		Name: "cluster.endpoints", Type: endpoints.name, Form: endpoints.form,
		Derived: "this member's own client URLs", Example: "[https://10.0.0.1:2379, https://10.0.0.2:2379]", Live: true,
		Doc:  "The client URLs by which etcdsup reaches etcd, its cluster's other members included. What is for this host's etcd alone is asked at those that lead to it, or else at its own client URLs.",
		list: true, takes: endpoints.takes,
		set: func(c *Config, text string) (err error) { c.Cluster.Endpoints, err = endpoints.parse(text); return err },
		get: func(c *Config) string { return endpoints.format(c.Cluster.Endpoints) },
	},
	row("cluster.cacert", paths, func(c *Config) *string { return &c.Cluster.CACert }, Key{
		Derived: "the host's own certificate authorities", Example: "/etc/etcd/ca.crt", Live: true,
		Doc: "The certificate authority that etcd's certificates must come from.",
	}),
	row("cluster.cert", paths, func(c *Config) *string { return &c.Cluster.Cert }, Key{
		Derived: "none", Example: "/etc/etcd/client.crt", Live: true,
		Doc: "The certificate that etcdsup shows to etcd. It goes with cluster.key.",
	}),
	row("cluster.key", paths, func(c *Config) *string { return &c.Cluster.Key }, Key{
		Derived: "none", Example: "/etc/etcd/client.key", Live: true,
		Doc: "The key of cluster.cert. Only its owner and its group may read it.",
	}),
	row("cluster.user", texts("the name of a user"), func(c *Config) *string { return &c.Cluster.User }, Key{
		Derived: "none", Example: "etcdsup", Live: true,
		Doc: "The user of etcd as whom etcdsup logs in. It goes with cluster.password_file.",
	}),
	row("cluster.password_file", paths, func(c *Config) *string { return &c.Cluster.PasswordFile }, Key{
		Derived: "none", Example: "/etc/etcdsup/password", Live: true,
		Doc: "The file whose first line is the password of cluster.user. Only its owner and its group may read it.",
	}),

	row("service.ready", choices(TellSupervising, TellServing), func(c *Config) *TellReady { return &c.Service.Ready }, Key{
		Default: "supervising", Example: "serving",
		Doc: "When the service manager is told that the service is ready: supervising is as soon as etcd is looked after, serving is once etcd serves. With serving, a start takes as long as etcd makes progress.",
	}),
	{
		Name: keyAfterRebuild, Type: commands.name, Form: commands.form,
		Derived: "none", Example: "[[systemctl, restart, kube-apiserver]]", Live: true,
		Doc: "Commands that are run one after the other when mode force-new-cluster has made a cluster and has proven it, for instance to restart API servers. " +
			"A list is one program with its arguments, found by PATH; a text is a line for " + Shell + ". " +
			"Each runs as the daemon's user, in a process group of its own, with the daemon's environment and " + strings.Join(HookVariables, ", ") + ". " +
			"What it prints is kept with the change of mode. One that fails undoes nothing: etcdsup mode says so. " +
			"What it has started in the background is ended with it. One that runs when etcdsup itself ends is not run again.",
		list: true, takes: commands.takes, joined: func(texts []string) string { return "[" + strings.Join(texts, ",") + "]" },
		set: func(c *Config, text string) (err error) { c.Hooks.AfterRebuild, err = commands.parse(text); return err },
		get: func(c *Config) string { return commands.format(c.Hooks.AfterRebuild) },
	},
	row("hooks.timeout", durations(time.Second, day), func(c *Config) *time.Duration { return &c.Hooks.Timeout }, Key{
		Default: "1m", Example: "1m", Live: true,
		Doc: "How long each of the commands may take. Then its process group gets SIGTERM, and 5s later SIGKILL.",
	}),
}

// join is the one text of several for the key.
func (k *Key) join(texts []string) string {
	if k.joined != nil {
		return k.joined(texts)
	}
	return strings.Join(texts, ",")
}

// Keys is the table of everything that can be configured, in the order of the file. The slice is the caller's own.
func Keys() []Key { return append([]Key(nil), table...) }

func find(name string) *Key {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}

// resolve takes the full name of a setting apart: "etcd.args.name" is the entry "name" of etcd.args. Without a key of
// that name it returns nil.
func resolve(name string) (key *Key, entry string) {
	if k := find(name); k != nil {
		return k, ""
	}
	for _, prefix := range []string{keyArgs, keyEnv} {
		if entry, found := strings.CutPrefix(name, prefix+"."); found && entry != "" {
			return find(prefix), entry
		}
	}
	return nil, ""
}

func isSection(name string) bool {
	for i := range table {
		if strings.HasPrefix(table[i].Name, name+".") {
			return true
		}
	}
	return false
}
