package supervisor

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/config"
)

// passed are the variables of our own environment that etcd gets. Everything else stays out: a flag and an
// ETCD_ variable for the same setting are fatal to etcd, and systemd's NOTIFY_SOCKET is ours.
var passed = []string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG"}

// bootstrapFlags go by the moment, not by the configuration: etcd reads them only where there is no WAL yet.
var bootstrapFlags = []string{"initial-cluster", "initial-cluster-state", "initial-cluster-token"}

// isBootstrap tells whether a flag is for the first start of a member alone.
func isBootstrap(name string) bool {
	return slices.Contains(bootstrapFlags, name) || strings.HasPrefix(name, "discovery")
}

// tell makes the arguments those of such a start. etcd passes the flags for a first start over where it finds its data;
// without them nobody who reads a process list, or looks for what is pending, takes them for what the cluster is.
func (b beginning) tell(args []string, joins bool) []string {
	switch {
	case b == continued:
		return slices.DeleteFunc(args, func(arg string) bool {
			name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
			return isBootstrap(name)
		})
	case b == newborn && !joins:
		return append(args, "--initial-cluster-state=new")
	}
	return args
}

// distinct gives a cluster that begins with one member a token of its own, unless the user has one. etcd makes the IDs of a
// new cluster and its member out of URL and token: without, an etcd that begins anew where another was is the same
// member of the same cluster, which may live on elsewhere by then.
func distinct(args []string, token string) []string {
	names := map[string]bool{}
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if name == "initial-cluster-token" || strings.HasPrefix(name, "discovery") {
			return args
		}
		if name == "initial-cluster" {
			for one := range strings.SplitSeq(value, ",") {
				member, _, _ := strings.Cut(one, "=")
				names[member] = true
			}
		}
	}
	if len(names) != 1 {
		return args
	}
	return append(args, "--initial-cluster-token="+token)
}

// arguments are etcd's command line after argv[0], for the flags of the configuration. metrics is the URL on
// loopback that answers health before quorum does; empty where the configuration names its own.
// join is the initial-cluster of a member that joins, which takes the place of the configuration's; empty: it does not.
func arguments(e config.Etcd, metrics, join string) []string {
	var args []string
	for _, a := range e.Args {
		if join == "" || !slices.Contains(bootstrapFlags, a.Name) {
			args = append(args, "--"+a.Name+"="+a.Value())
		}
	}
	if join != "" {
		args = append(args, "--initial-cluster="+join, "--initial-cluster-state=existing")
	}
	if !e.Verify {
		return args
	}
	if metrics != "" {
		args = append(args, "--listen-metrics-urls="+metrics)
	}
	// By default etcd writes to the journal when its parent is PID 1, as after our death: the pipe is the log.
	return append(args, "--logger=zap", "--log-outputs=stderr")
}

// environment is etcd's whole environment, sorted.
func environment(env func(string) (string, bool), extra map[string]string, own ...string) []string {
	set := map[string]string{}
	for _, name := range passed {
		if v, ok := env(name); ok {
			set[name] = v
		}
	}
	maps.Copy(set, extra)
	for _, kv := range own {
		name, v, _ := strings.Cut(kv, "=")
		set[name] = v
	}
	out := make([]string, 0, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		out = append(out, name+"="+set[name])
	}
	return out
}

// ownMetrics are the configuration's own listen-metrics-urls, if it has any.
func ownMetrics(e config.Etcd) string {
	for _, a := range e.Args {
		if a.Name == "listen-metrics-urls" && len(a.Values) > 0 {
			return a.Values[0]
		}
	}
	return ""
}

// linkBuiltin makes the name under which this executable is etcd: a link called etcd, so that ps, pgrep and the
// kernel's own messages say etcd. It leads to whatever program etcdsup itself runs from at the time of the start.
func linkBuiltin(path string) error {
	const self = "/proc/self/exe"
	if to, err := os.Readlink(path); err == nil && to == self {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), config.DirMode); err != nil {
		return fmt.Errorf("cannot link the built-in etcd: %w", err)
	}
	tmp := path + ".tmp"
	_ = os.Remove(tmp)
	if err := os.Symlink(self, tmp); err != nil {
		return fmt.Errorf("cannot link the built-in etcd: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("cannot link the built-in etcd: %w", err)
	}
	return nil
}
