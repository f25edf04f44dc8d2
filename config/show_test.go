package config

import (
	"slices"
	"testing"
)

func TestChanged(t *testing.T) {
	old := mustLoad(t, asRoot(writeFile(t, "etcd:\n  args: {name: a, max-wals: 5}\n  env: {GOGC: 50}\nlog: {sync: 1s}\n")))
	now := mustLoad(t, asRoot(writeFile(t, "etcd:\n  args: {name: a, max-txn-ops: 5}\n  env: {GOGC: 60}\nlog: {sync: 2s, dir: /x}\nhealth: {interval: 5s}\n")))
	live, restart := Changed(old, now)
	if want := []string{"health.interval", "log.sync"}; !slices.Equal(live, want) {
		t.Errorf("live: got %v, want %v", live, want)
	}
	if want := []string{"etcd.args.max-txn-ops", "etcd.args.max-wals", "etcd.env.GOGC", "log.dir"}; !slices.Equal(restart, want) {
		t.Errorf("restart: got %v, want %v", restart, want)
	}
	if live, restart := Changed(old, old); len(live)+len(restart) > 0 {
		t.Errorf("nothing changed, got %v %v", live, restart)
	}
}

func TestConfigThatWasNotLoaded(t *testing.T) {
	c := &Config{Dir: "/d", Etcd: Etcd{Args: []Arg{{Name: "name", Values: []string{"a", "b"}}}}}
	if c.DataDir() != "/d/data" || c.Origin("log.dir").String() != "default" || len(c.Settings()) == 0 {
		t.Errorf("got %s, %s", c.DataDir(), c.Origin("log.dir"))
	}
	if c.Etcd.Args[0].Value() != "a,b" {
		t.Errorf("got %s", c.Etcd.Args[0].Value())
	}
}
