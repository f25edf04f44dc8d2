package supervisor

import (
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/config"
)

// Reconfigure makes the next start of etcd go by another configuration. binary and argv0 are what it comes to.
func (m *Machine) Reconfigure(c *config.Config, binary, argv0 string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Config, m.Binary, m.Argv0, m.ready = c, binary, argv0, nil
}

// Join makes the next starts those of a member that joins: with this initial-cluster, until it is taken back with "".
func (m *Machine) Join(initialCluster string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.joining, m.ready = initialCluster, nil
}

// config is the configuration for the next start.
func (m *Machine) config() *config.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Config
}

// Next is the configuration for the next start. It is not to be changed.
func (m *Machine) Next() *config.Config { return m.config() }

// Running is the etcd that was started or taken over last.
func (m *Machine) Running() Run {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running
}

func (m *Machine) runs(r Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = r
}

// Pending names the settings that the running etcd was not started with: they wait for its restart.
func (m *Machine) Pending() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running.Args == nil {
		return nil // an etcd that no record knows
	}
	var pending []string
	if m.running.Binary != m.Binary {
		pending = append(pending, "etcd.binary")
	}
	next := arguments(m.Config.Etcd, addedMetrics(m.Config, m.running.Metrics), "")
	for _, name := range changedFlags(m.running.Args, next) {
		if !isBootstrap(name) {
			pending = append(pending, "etcd.args."+name)
		}
	}
	return pending
}

// changedFlags are the names of the flags that differ between two command lines, sorted.
func changedFlags(a, b []string) []string {
	var names []string
	collect := func(from, other []string) {
		for _, arg := range from {
			if !slices.Contains(other, arg) {
				name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
				names = append(names, name)
			}
		}
	}
	collect(a, b)
	collect(b, a)
	slices.Sort(names)
	return slices.Compact(names)
}
