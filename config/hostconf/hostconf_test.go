package hostconf_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/config/hostconf"
)

var update = flag.Bool("update", false, "write the golden files anew")

// host is one that holds a folder of testdata at a path of its own, and nothing else.
func host(files map[string]string) hostconf.Host {
	return hostconf.Host{
		ReadFile: func(path string) ([]byte, error) {
			for _, to := range slices.Backward(slices.Sorted(maps.Keys(files))) { // the longest first
				from := files[to]
				if rest, ok := strings.CutPrefix(path, to); ok {
					return os.ReadFile(from + rest)
				}
			}
			return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
		},
		Glob: func(pattern string) []string {
			if pattern == "/etc/systemd/system/etcd.service.d/*.conf" {
				return []string{"/etc/systemd/system/etcd.service.d/local.conf"}
			}
			return nil
		},
		Hostname: func(option string) (string, bool) {
			return map[string]string{"": "node1.example", "-s": "node1", "-i": "10.0.0.1", "-I": "10.0.0.1 172.17.0.1"}[option], option != "-f"
		},
		LookPath: func(name, path string) (string, bool) { return "/usr/bin/" + name, name == "etcd" },
	}
}

var readings = []struct {
	golden, path string
	kind         hostconf.Kind // that is to be recognised
	files        map[string]string
}{
	{"plain", "/home/work/etcd/start-etcd.sh", hostconf.Script, map[string]string{"/home/work/etcd/": "testdata/plain/"}},
	{"force", "/root/force-start-etcd.sh", hostconf.Script, map[string]string{"/root/": "testdata/force/"}},
	{"variables", "/home/work/etcd/start-etcd.sh", hostconf.Script, map[string]string{"/home/work/etcd/": "testdata/variables/"}},
	{"arrays", "/srv/start-etcd.sh", hostconf.Script, map[string]string{"/srv/": "testdata/arrays/"}},
	{"init-d", "/etc/init.d/etcd.sh", hostconf.Script, map[string]string{"/etc/init.d/": "testdata/init-d/", "/etc/sysconfig/etcd": "testdata/init-d/sysconfig"}},
	{"wrapped", "/srv/start-etcd.sh", hostconf.Script, map[string]string{"/srv/": "testdata/wrapped/"}},
	{"conditions", "/opt/start-etcd.sh", hostconf.Script, map[string]string{"/opt/": "testdata/conditions/"}},
	{"supervise", "/home/work/run-supervise.sh", hostconf.Script, map[string]string{"/home/work/etcd/": "testdata/supervise/", "/home/work/": "testdata/supervise/"}},
	{"config-file", "/root/start-etcd.sh", hostconf.Script, map[string]string{"/root/": "testdata/config-file/", "/etc/etcd/": "testdata/config-file/"}},
	{"yaml", "/etc/etcd/etcd.conf.yml", hostconf.YAML, map[string]string{"/etc/etcd/": "testdata/other/"}},
	{"environment", "/etc/default/etcd", hostconf.EnvFile, map[string]string{"/etc/default/etcd": "testdata/other/default-etcd"}},
	{"unit", "/lib/systemd/system/etcd.service", hostconf.Unit, map[string]string{
		"/lib/systemd/system/": "testdata/other/", "/etc/systemd/system/etcd.service.d/": "testdata/other/", "/etc/default/etcd": "testdata/other/default-etcd"}},
	{"centos", "/lib/systemd/system/centos.service", hostconf.Unit, map[string]string{
		"/lib/systemd/system/": "testdata/other/", "/etc/default/etcd": "testdata/other/default-etcd"}},
}

func TestRead(t *testing.T) {
	for _, r := range readings {
		t.Run(r.golden, func(t *testing.T) {
			found, err := hostconf.Read(r.path, "", host(r.files))
			if err != nil {
				t.Fatal(err)
			}
			if found.Kind != r.kind {
				t.Errorf("taken for %s, want %s", found.Kind, r.kind)
			}
			golden(t, r.golden, told(found))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: it is now\n%s", file, got)
	}
}

func told(f *hostconf.Found) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s in %s as %q\n", f.Kind, f.Path, f.Dir, f.User)
	for _, t := range f.Taken {
		fmt.Fprintf(&b, "%s: %s\n  = %s: %q", t.Place, t.Says, t.Key, t.Values)
		if t.Note != "" {
			fmt.Fprintf(&b, " (%s)", t.Note)
		}
		b.WriteString("\n")
	}
	for _, l := range f.Left {
		fmt.Fprintf(&b, "%s: %s\n  - %s\n", l.Place, l.Says, l.Why)
	}
	return b.String()
}

func TestFromProcess(t *testing.T) {
	found, err := hostconf.FromProcess(hostconf.Running{
		PID:     4711,
		Command: []string{"./etcd", "--name", "n1", "--data-dir=./data", "--initial-cluster-state", "new", "--force-new-cluster", "--wal-dir", "/wal"},
		Env:     []string{"HOME=/root", "PATH=/bin", "ETCD_HEARTBEAT_INTERVAL=200", "ETCD_NAME=other", "GOGC=50", "ETCDCTL_API=3"},
		Dir:     "/home/work/etcd", Exe: "/home/work/etcd/etcd", User: "work",
	}, host(nil))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "process", told(found))
}

// What cannot be read says what to do instead.
func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		kind hostconf.Kind
		says string
	}{
		"no etcd":         {"#!/bin/sh\necho hello\n", "", "cannot find where /x starts etcd"},
		"two etcds":       {"#!/bin/sh\netcd --name a\netcd --name b\n", "", "cannot tell which etcd is meant: /x starts 2 of them, in /x:2 and /x:3"},
		"no shell":        {"#!/bin/sh\nif then fi (\n", "", "cannot read /x:2 as a shell script"},
		"a program":       {"\x7fELF\x00\x01", "", "it is a program"},
		"nothing":         {"", "", "cannot tell what /x is"},
		"a unit of other": {"[Service]\nType=simple\n", "", "it has no ExecStart"},
		"several":         {"[Service]\nExecStart=/a\nExecStart=/b\n", "", "it has several ExecStart"},
		"no yaml":         {"name: [", hostconf.YAML, "cannot read the file as YAML"},
		"calls itself":    {"#!/bin/sh\n. /x\n", "", "cannot find where"},
		"lost file":       {"#!/bin/sh\netcd --config-file /gone\n", "", "cannot follow --config-file /gone in /x:2"},
	} {
		h := host(nil)
		h.ReadFile = func(path string) ([]byte, error) {
			if path != "/x" {
				return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
			}
			return []byte(c.text), nil
		}
		_, err := hostconf.Read("/x", c.kind, h)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// FuzzScript: whatever stands in a script, reading it ends, and never says of a mark that it is a value.
func FuzzScript(f *testing.F) {
	for _, r := range readings {
		if text, err := host(r.files).ReadFile(r.path); err == nil && r.kind == hostconf.Script {
			f.Add(string(text))
		}
	}
	f.Add("f() { f; }; f; etcd --name $(f) ${x:=${y:-z}}")
	f.Add("while :; do while :; do etcd; done; done")
	f.Fuzz(func(t *testing.T, text string) {
		defer time.AfterFunc(time.Minute, func() { panic("the reading does not end: " + text) }).Stop()
		h := host(nil)
		h.ReadFile = func(string) ([]byte, error) { return []byte(text), nil }
		found, err := hostconf.Read("/x/start.sh", hostconf.Script, h)
		if err != nil {
			return
		}
		for _, taken := range found.Taken {
			if strings.ContainsFunc(strings.Join(taken.Values, ""), func(r rune) bool { return r >= 0xF0000 }) {
				t.Errorf("%s is %q", taken.Key, taken.Values)
			}
		}
	})
}

// What is taken can be written down, and says the same when it is read again.
func TestTakenCanBeWritten(t *testing.T) {
	for _, r := range readings {
		found, err := hostconf.Read(r.path, "", host(r.files))
		if err != nil {
			t.Fatal(err)
		}
		var values []config.Value
		for _, taken := range found.Taken {
			values = append(values, config.Value{Key: taken.Key, Texts: taken.Values, Comment: taken.String()})
		}
		text := config.Filled("# head\n", values)
		c, _ := config.Examine(t.Context(), config.Source{File: "x.yaml", Text: []byte(text)}, nil)
		for _, taken := range found.Taken {
			flag, isFlag := strings.CutPrefix(taken.Key, "etcd.args.")
			if isFlag && !slices.Equal(c.ArgValues(flag), strings.Split(strings.Join(taken.Values, ","), ",")) {
				t.Errorf("%s: %s is %q in the file, want %q", r.golden, taken.Key, c.ArgValues(flag), taken.Values)
			}
		}
		if binary := found.Value("etcd.binary"); c.Etcd.Binary != binary {
			t.Errorf("%s: etcd.binary is %q, want %q", r.golden, c.Etcd.Binary, binary)
		}
	}
}
