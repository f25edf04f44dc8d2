package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustLoad(t *testing.T, src Source) *Config {
	t.Helper()
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLaterLayersOverrideEarlierOnes(t *testing.T) {
	file := writeFile(t, "stop:\n  grace: 1s\n  dump: 1s\n  transfer: 1s\n")
	src := asRoot(file)
	src.Env = append(src.Env, "ETCDSUP_STOP_GRACE=2s", "ETCDSUP_STOP_DUMP=2s")
	src.Overrides = []string{"stop.grace=9s", "stop.grace=3s"}
	c := mustLoad(t, src)
	for _, want := range []struct {
		key    string
		got    time.Duration
		value  time.Duration
		origin string
	}{
		{"stop.grace", c.Stop.Grace, 3 * time.Second, "--set"},
		{"stop.dump", c.Stop.Dump, 2 * time.Second, "ETCDSUP_STOP_DUMP"},
		{"stop.transfer", c.Stop.Transfer, time.Second, file + ":4"},
		{"restart.delay", c.Restart.Delay, 500 * time.Millisecond, "default"},
	} {
		if want.got != want.value || c.Origin(want.key).String() != want.origin {
			t.Errorf("%s is %s from %s, want %s from %s", want.key, want.got, c.Origin(want.key), want.value, want.origin)
		}
	}
	if got := c.Origin("log.dir").String(); got != "derived" {
		t.Errorf("log.dir is from %s", got)
	}
}

func TestFaultInAnOverriddenValueIsStillOne(t *testing.T) {
	src := asRoot(writeFile(t, "stop:\n  grace: x\n"))
	src.Overrides = []string{"stop.grace=1s"}
	_, err := Load(src)
	if ps := problemsOf(t, err); len(ps) != 1 || ps[0].Line != 2 {
		t.Errorf("got %+v", ps)
	}
}

// Every key can be set in every way, and the three ways agree.
func TestEveryKeyHasItsVariableAndOverride(t *testing.T) {
	for _, k := range Keys() {
		if k.entries {
			continue
		}
		text := strings.Trim(strings.ReplaceAll(k.Example, ", ", ","), "[]")
		byVariable, byFlag := asRoot(""), asRoot("")
		byVariable.Env = append(byVariable.Env, k.Variable()+"="+text)
		byFlag.Overrides = []string{k.Setting() + text}
		a, _ := Read(byVariable) // keys that want a partner are faulty alone, but are read
		b, _ := Read(byFlag)
		if k.get(a) == "" || k.get(a) != k.get(b) {
			t.Errorf("%s: %q by the variable, %q by --set", k.Name, k.get(a), k.get(b))
		}
		if a.Origin(k.Name).String() != k.Variable() || b.Origin(k.Name).String() != "--set" {
			t.Errorf("%s: from %s and %s", k.Name, a.Origin(k.Name), b.Origin(k.Name))
		}
	}
}

func TestEntriesByVariableAndOverride(t *testing.T) {
	src := asRoot(writeFile(t, "etcd:\n  args: {name: a, max-wals: 7}\n"))
	src.Env = append(src.Env, "ETCDSUP_ETCD_ARGS_MAX_WALS=9", "ETCDSUP_ETCD_ENV_GOMEMLIMIT=1GiB")
	src.Overrides = []string{"etcd.args.initial-cluster=a=http://127.0.0.1:2380,b=http://127.0.0.1:3380", "etcd.env.GOGC=50"}
	c := mustLoad(t, src)
	if c.arg("max-wals") != "9" || c.arg("name") != "a" || c.arg("initial-cluster") != "a=http://127.0.0.1:2380,b=http://127.0.0.1:3380" {
		t.Errorf("got %v", c.Etcd.Args)
	}
	if c.Etcd.Env["GOMEMLIMIT"] != "1GiB" || c.Etcd.Env["GOGC"] != "50" {
		t.Errorf("got %v", c.Etcd.Env)
	}
	if got := c.Origin("etcd.args.max-wals").String(); got != "ETCDSUP_ETCD_ARGS_MAX_WALS" {
		t.Errorf("from %s", got)
	}
}

func TestUnknownVariablesAndOverrides(t *testing.T) {
	for text, remedy := range map[string]string{
		"ETCDSUP_LOG_MAXSIZE=1":   "ETCDSUP_LOG_MAX_SIZE",
		"ETCDSUP_CONFG=1":         "ETCDSUP_CONFIG",
		"ETCDSUP_ETCD_ARGS=1":     "ETCDSUP_ETCD_ARGS_NAME",
		"ETCDSUP_ETCD_ENV_=1":     "ETCDSUP_ETCD_ENV_GOMEMLIMIT",
		"log.maxsize=1":           "log.max_size",
		"etcd.args=1":             "etcd.args.name",
		"log=1":                   "",
		"log.max_size":            "log.max_size=VALUE",
		"":                        "",
		"=":                       "",
		"etcd.args.=x":            "",
		"ETCDSUP_QQQQQQQQQQQQQ=x": "unset",
	} {
		src := asRoot("")
		if strings.HasPrefix(text, "ETCDSUP_") {
			src.Env = append(src.Env, text)
		} else {
			src.Overrides = []string{text}
		}
		_, err := Load(src)
		ps := problemsOf(t, err)
		if len(ps) != 1 || !strings.Contains(ps[0].Remedy, remedy) || ps[0].Source == "" || ps[0].Line != 0 {
			t.Errorf("%q: got %+v", text, ps)
			continue
		}
		if caret := caretText(ps[0]); strings.Trim(text, "=") != "" && (caret == "" || !strings.Contains(text, caret)) {
			t.Errorf("%q: the caret is under %q", text, caret)
		}
	}
}

func caretText(p Problem) string {
	runes := []rune(p.Excerpt)
	if p.Column < 1 || p.Column-1+p.Width > len(runes) {
		return ""
	}
	return string(runes[p.Column-1 : p.Column-1+p.Width])
}

func TestVariablesThatAreNotOurs(t *testing.T) {
	src := asRoot("")
	src.Env = append(src.Env, "ETCD_NAME=x", "ETCDSUP_LOG_DIR=", "ETCDSUPX=1", "PATH=/bin", "nonsense", "ETCDSUP_LONG=1")
	if c := mustLoad(t, src); c.arg("name") != "default" || c.Log.Dir != "/var/lib/etcdsup/default/log" {
		t.Errorf("got %+v", c)
	}
}

func TestInstanceAndFolders(t *testing.T) {
	user := func() int { return 1000 }
	for _, tt := range []struct {
		name          string
		src           Source
		instance, dir string
	}{
		{"root", asRoot(""), "default", "/var/lib/etcdsup/default"},
		{"root, another instance", Source{Instance: "events", euid: func() int { return 0 }}, "events", "/var/lib/etcdsup/events"},
		{"by variable", Source{Env: []string{"ETCDSUP_INSTANCE=events"}, euid: func() int { return 0 }}, "events", "/var/lib/etcdsup/events"},
		{"flag before variable", Source{Instance: "a", Env: []string{"ETCDSUP_INSTANCE=b"}, euid: func() int { return 0 }}, "a", "/var/lib/etcdsup/a"},
		{"user", Source{Env: []string{"HOME=/home/u"}, euid: user}, "default", "/home/u/.local/state/etcdsup/default"},
		{"user with XDG", Source{Env: []string{"HOME=/home/u", "XDG_STATE_HOME=/s"}, euid: user}, "default", "/s/etcdsup/default"},
		{"user with a relative XDG", Source{Env: []string{"HOME=/home/u", "XDG_STATE_HOME=s"}, euid: user}, "default", "/home/u/.local/state/etcdsup/default"},
		{"folder by variable", Source{Env: []string{"ETCDSUP_DIR=/d"}, euid: user}, "default", "/d"},
		{"folder by flag", Source{Dir: "/e", Env: []string{"ETCDSUP_DIR=/d"}, euid: user}, "default", "/e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, tt.src)
			if c.Instance != tt.instance || c.Dir != tt.dir || c.Log.Dir != tt.dir+"/log" || c.DataDir() != tt.dir+"/data" ||
				c.Control.Socket != tt.dir+"/run/control.sock" || c.RunDir() != tt.dir+"/run" || c.StateDir() != tt.dir+"/state" {
				t.Errorf("got %+v", c)
			}
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		_, err := Load(Source{euid: user})
		if ps := problemsOf(t, err); len(ps) != 1 || ps[0].Key != "dir" {
			t.Errorf("got %+v", ps)
		}
	})
	t.Run("relative folder by flag", func(t *testing.T) {
		here, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		if c := mustLoad(t, Source{Dir: "x/y", euid: user}); c.Dir != filepath.Join(here, "x/y") {
			t.Errorf("got %s", c.Dir)
		}
	})
}

func TestDefaultFile(t *testing.T) {
	folder := t.TempDir()
	if err := os.MkdirAll(folder+"/etcdsup", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"default": "stop: {grace: 1s}", "events": "stop: {grace: 2s}"} {
		if err := os.WriteFile(folder+"/etcdsup/"+name+".yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src := Source{Env: []string{"HOME=/home/u", "XDG_CONFIG_HOME=" + folder}, euid: func() int { return 1000 }}
	if c := mustLoad(t, src); c.Stop.Grace != time.Second || c.File != folder+"/etcdsup/default.yaml" {
		t.Errorf("got %s from %s", c.Stop.Grace, c.File)
	}
	src.Instance = "events"
	if c := mustLoad(t, src); c.Stop.Grace != 2*time.Second || c.Instance != "events" {
		t.Errorf("got %s of %s", c.Stop.Grace, c.Instance)
	}
	src.Instance = "../etcdsup/default"
	if _, err := Load(src); err == nil {
		t.Error("an instance that is a path was taken")
	}
	src.Instance = ""
	src.Env = append(src.Env, "ETCDSUP_CONFIG="+folder+"/none.yaml")
	if _, err := Load(src); err == nil {
		t.Error("a file that ETCDSUP_CONFIG names is not there, and nobody says so")
	}
}

func TestFilesThatHoldNothing(t *testing.T) {
	plain := mustLoad(t, asRoot(""))
	for _, text := range []string{"", "\n\n", "# only words\n", "---\n", "log:\nstop:\n  # nothing here\n", "\ufefflog:\r\n  sync: 10s\r\n"} {
		c := mustLoad(t, asRoot(writeFile(t, text)))
		if live, restart := Changed(plain, c); len(live)+len(restart) > 0 {
			t.Errorf("%q changes %v %v", text, live, restart)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	text := `etcd:
  args:
    discovery-password: hunter2
    discovery-user: [hunter2, "x
    discovery-endpoints: http://u:hunter2@10.0.0.1:2379
`
	_, broken := Load(asRoot(writeFile(t, text)))
	_, unknown := Load(asRoot(writeFile(t, "etcd: {args: {--a: b, discovery-password: hunter2}}\ndiscovery-password: hunter2\n")))
	_, twice := Load(asRoot(writeFile(t, "etcd:\n  args:\n    discovery-password: hunter2\n    discovery-password: hunter2\n  env:\n    A_TOKEN: hunter2\n    A_TOKEN: hunter2\n")))
	_, value := Load(asRoot(writeFile(t, "etcd:\n  args:\n    discovery-password: \"hunter2\\n\"\n    advertise-client-urls: http://u:hunter2@h\n")))
	for i, err := range []error{broken, unknown, twice, value} {
		ps := problemsOf(t, err)
		if len(ps) == 0 {
			t.Errorf("%d: no fault", i)
		}
		if strings.Contains(ps.Pretty()+ps.Error(), "hunter2") {
			t.Errorf("%d: the secret is shown:\n%s", i, ps.Pretty())
		}
	}
	c := mustLoad(t, asRoot(writeFile(t, "etcd:\n  args: {discovery-password: hunter2, discovery-proxy: 'http://u:hunter2@p:1'}\n  env: {MY_TOKEN: hunter2, GOGC: 50}\n")))
	shown := 0
	for _, s := range c.Settings() {
		if strings.Contains(s.Value, "hunter2") {
			t.Errorf("%s is shown as %s", s.Key, s.Value)
		}
		shown += b2i(s.Key == "etcd.env.GOGC" && s.Value == "50") + b2i(s.Key == "etcd.args.discovery-password" && s.Value == Masked)
	}
	if shown != 2 {
		t.Errorf("settings are missing: %v", c.Settings())
	}
}

func TestSettingsListEveryKey(t *testing.T) {
	var names []string
	for _, s := range mustLoad(t, asRoot("")).Settings() {
		names = append(names, s.Key)
	}
	for _, k := range Keys() {
		if !k.entries && !slices.Contains(names, k.Name) {
			t.Errorf("%s is missing", k.Name)
		}
	}
}
