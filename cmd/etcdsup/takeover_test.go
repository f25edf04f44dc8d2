package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/process"
)

// madeIn writes files into a folder: name, text, name, text…
func madeIn(t *testing.T, pairs ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, pairs[i]), []byte(pairs[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Whatever of install was done when it was cut off, the configuration from before is the one that is there in the end.
func TestConfigBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		aside string // on record
		stays bool
		want  string // empty: no file
	}{
		{"none was there", []string{"c", "new"}, "", false, ""},
		{"not written yet", nil, "", false, ""},
		{"set aside and written", []string{"c", "new", "c.old", "old"}, "c.old", false, "old"},
		{"set aside and not written", []string{"c.old", "old"}, "c.old", false, "old"},
		{"not set aside yet", []string{"c", "old"}, "c.old", false, "old"},
		{"the same was there", []string{"c", "new"}, "", true, "new"},
	} {
		dir := madeIn(t, c.files...)
		o := &takeOver{Config: filepath.Join(dir, "c"), Stays: c.stays, g: &globals{streams: streams{err: io.Discard}}, file: filepath.Join(dir, "record")}
		if c.aside != "" {
			o.Aside = filepath.Join(dir, c.aside)
		}
		for range 2 { // a second way back changes nothing more
			if err := o.configBack(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		text, err := os.ReadFile(o.Config)
		if string(text) != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %q, %v", c.name, text, err)
		}
		if o.Moved == "" {
			continue
		}
		again, err := readTakeOver(o.file)
		if err != nil || again.newConfig() != o.Moved {
			t.Errorf("%s: the record has %+v, %v", c.name, again, err)
		}
		if text, err := os.ReadFile(o.Moved); string(text) != "new" {
			t.Errorf("%s: set aside is %q, %v", c.name, text, err)
		}
	}
}

func TestWhatTheConfigurationThereIs(t *testing.T) {
	earlier := &takeOver{Draft: sum([]byte("earlier")), Aside: "c.old"}
	for _, c := range []struct {
		name, there string
		exists      bool
		recorded    *takeOver
		ours, stays bool
		aside       string
	}{
		{"none", "", false, nil, false, false, ""},
		{"somebody's", "mine", true, nil, false, false, ""},
		{"somebody's, after an earlier call", "mine", true, earlier, false, false, ""},
		{"the same", "now", true, nil, false, true, ""},
		{"an earlier call's", "earlier", true, earlier, true, false, "c.old"},
	} {
		o := &takeOver{Draft: sum([]byte("now"))}
		o.meets([]byte(c.there), c.exists, c.recorded)
		if o.ours != c.ours || o.Stays != c.stays || o.Aside != c.aside {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
}

func TestOneTakeOverAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := onlyTakeOver(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := onlyTakeOver(path); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another take-over runs on this host: process %d (", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	first.Close()
	second, err := onlyTakeOver(path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

func TestWhatStartsEtcdAtBoot(t *testing.T) {
	for file, want := range map[string]bool{
		"/etc/systemd/system/etcdsup.service": true, "/etc/systemd/system/etcdsup@kv.service.d/x.conf": true, "/etc/systemd/system/etcd.service": false, "/etc/rc.local": false,
	} {
		if isOwnFile(file) != want {
			t.Errorf("%s is taken for ours: %v", file, !want)
		}
	}
	dir := madeIn(t, "etcd.service", "", "old.service", "")
	if err := os.Symlink("etcd.service", filepath.Join(dir, "alias.service")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"etcd.service": true, "etcd.service.d/x.conf": true, "alias.service": true, "old.service": false} {
		if isOfUnit(filepath.Join(dir, name), "etcd.service") != want {
			t.Errorf("%s is taken for the unit's: %v", name, !want)
		}
	}
	h := keeperHost{property: func(unit, _ string) string { return map[string]string{"once.service": "0"}[unit] }}
	for _, c := range []struct {
		cgroup string
		kind   keeperKind
		want   string
	}{
		{"/system.slice/once.service", keptByScript, "the unit once.service"},
		{"/system.slice/cron.service", keptByScript, ""},
		{"/user.slice/user-0.slice/session-1.scope", keptByNobody, ""},
	} {
		if got := bootUnit(process.Description{Cgroup: c.cgroup}, etcdKeeper{Kind: c.kind}, h); !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q", c.cgroup, got)
		}
	}
}

func TestWantsUser(t *testing.T) {
	for text, want := range map[string]bool{
		"no endpoint can be used: http://a:2379: etcdserver: user name is empty": true,
		"linearizable read: etcdserver: permission denied":                       true,
		"open /etc/x: permission denied":                                         false,
		"no answer in time":                                                      false,
	} {
		if err := errors.New(text); wantsUser(err) != want || strings.Contains(proofRemedy(err), "ETCDSUP_CLUSTER_USER=") != want {
			t.Errorf("%s: %s", text, proofRemedy(err))
		}
	}
}

// A way back asks etcd at its own URLs, whatever the configuration in its place is.
func TestEtcdIsKnownWithoutItsConfiguration(t *testing.T) {
	written := "etcd:\n  args:\n    advertise-client-urls: http://127.0.0.1:7777\n    listen-client-urls: http://127.0.0.1:7777\n"
	for _, c := range []struct {
		name, file, aside, want string
	}{
		{"as written", written, "", "http://127.0.0.1:7777"},
		{"broken", "etcd: [\n", "", "http://127.0.0.1:12379"},
		{"gone", "", "", "http://127.0.0.1:12379"},
		{"the one from before", written, "not there yet", "http://127.0.0.1:12379"},
	} {
		dir := madeIn(t)
		if c.file != "" {
			dir = madeIn(t, "c", c.file)
		}
		o := &takeOver{g: &globals{}, Config: filepath.Join(dir, "c"), Instance: "default", Aside: c.aside, Etcd: process.Description{
			Command: []string{"/opt/etcd", "--name=n", "--data-dir=/data", "--listen-client-urls=http://127.0.0.1:12379", "--advertise-client-urls=http://127.0.0.1:12379"},
			Dir:     "/opt", Exe: "/opt/etcd",
		}}
		got, err := o.etcdsConfig()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if urls := newAsker(got).options.Endpoints; len(urls) != 1 || urls[0].String() != c.want {
			t.Errorf("%s: it is asked at %v", c.name, urls)
		}
	}
}
