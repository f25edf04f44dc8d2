package supervisor

import (
	"slices"
	"testing"

	"github.com/etcdsup/etcdsup/config"
)

func TestPendingNamesWhatWaits(t *testing.T) {
	c := &config.Config{Etcd: config.Etcd{Verify: true, Args: []config.Arg{{Name: "name", Values: []string{"a"}}}}}
	m := &Machine{Config: c, Binary: "/etcd"}
	m.runs(Run{Binary: "/etcd", Metrics: "http://127.0.0.1:9", Args: arguments(c.Etcd, "http://127.0.0.1:9", "")})
	if p := m.Pending(); len(p) != 0 {
		t.Errorf("nothing was changed, and %q waits", p)
	}
	now := &config.Config{Etcd: config.Etcd{Verify: true, Args: []config.Arg{{Name: "heartbeat-interval", Values: []string{"200"}}, {Name: "name", Values: []string{"b"}}}}}
	m.Reconfigure(now, "/other", "/other")
	if p, want := m.Pending(), []string{"etcd.binary", "etcd.args.heartbeat-interval", "etcd.args.name"}; !slices.Equal(p, want) {
		t.Errorf("waiting: %q, want %q", p, want)
	}
	m.runs(Run{})
	if p := m.Pending(); len(p) != 0 {
		t.Errorf("of an etcd that nobody knows %q waits", p)
	}
}
