package supervisor

import (
	"crypto/rand"
	"time"
)

// prepared is what is the same from start to start. It is made once: the time of a restart is what a dead etcd's
// clients wait.
type prepared struct {
	metrics string // that args were made for
	begins  beginning
	args    []string
	argv    []string
	env     []string
}

// prepare is what etcd is to be started with, for this URL to probe.
func (m *Machine) prepare(metrics string, begins beginning) *prepared {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ready == nil || m.ready.metrics != metrics || m.ready.begins != begins {
		args := begins.tell(arguments(m.Config.Etcd, addedMetrics(m.Config, metrics), m.joining), m.joining != "")
		if begins == newborn && m.joining == "" {
			args = distinct(args, rand.Text())
		}
		m.ready = &prepared{
			metrics: metrics, begins: begins, args: args, argv: append([]string{m.Argv0}, args...),
			env: environment(m.Getenv, m.Config.Etcd.Env, "NOTIFY_SOCKET="+m.Notify, m.Cage.Env()),
		}
	}
	return m.ready
}

// RoomEnv is the environment of an etcd that is run apart: it is found by it, and ended, if etcdsup is killed meanwhile.
func (m *Machine) RoomEnv() []string {
	return environment(m.Getenv, m.config().Etcd.Env, m.Cage.Env())
}

// boundAfter is how old an etcd is that must have bound its ports.
const boundAfter = 10 * time.Second

// portIsOurs tells whether the etcd before this start has just let go of the port that it was given, so that nobody
// need look whether it is free. m.mu is held.
func (m *Machine) portIsOurs() bool {
	return m.metrics != "" && !m.launched.IsZero() && time.Since(m.launched) > boundAfter
}

// forgetPort makes the next start look for a free port: the one after a stop may be a long time away.
func (m *Machine) forgetPort() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.launched = time.Time{}
}

// startedNow keeps the time of the newest start.
func (m *Machine) startedNow() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.launched = time.Now()
	return m.launched
}
