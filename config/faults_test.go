package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// asRoot is a Source whose environment and user are the same on every host.
func asRoot(file string) Source {
	return Source{File: file, FileRequired: file != "", Env: []string{"HOME=/root"}, euid: func() int { return 0 }}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "etcdsup.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func problemsOf(t *testing.T, err error) Problems {
	t.Helper()
	if err == nil {
		return nil
	}
	var ps Problems
	if !errors.As(err, &ps) {
		t.Fatalf("the error is a %T, not Problems", err)
	}
	return ps
}

// spot is where a fault is expected.
type spot struct {
	line, column, width int
	key                 string
}

// marked takes the marks out of a file. Each is «text¦key» around the faulty text; the key is empty for none.
func marked(text string) (string, []spot) {
	var spots []spot
	var lines []string
	for number, line := range strings.Split(text, "\n") {
		for {
			before, rest, found := strings.Cut(line, "«")
			if !found {
				break
			}
			mark, after, _ := strings.Cut(rest, "»")
			fault, key, _ := strings.Cut(mark, "¦")
			spots = append(spots, spot{number + 1, utf8.RuneCountInString(before) + 1, utf8.RuneCountInString(fault), key})
			line = before + fault + after
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), spots
}

// faultyFiles has one file for each kind of fault. Everything that is wrong is marked, and nothing else may be reported.
var faultyFiles = map[string]string{
	"unknown key at the top":           "«intsance¦intsance»: a\n",
	"unknown key in a section":         "log:\n  «maxsize¦log.maxsize»: 1MiB\n",
	"key in the wrong section":         "stop:\n  «max_size¦stop.max_size»: 1MiB\n",
	"key outside of its section":       "«max_size¦max_size»: 1MiB\n",
	"dotted key":                       "«log.max_size¦log.max_size»: 1MiB\n",
	"dotted key in a section":          "etcd:\n  «args.name¦etcd.args.name»: n1\n",
	"number as key":                    "«12¦12»: x\n",
	"several unknown keys":             "«a¦a»: 1\nlog:\n  «b¦log.b»: 2\n  «c¦log.c»: 3\n",
	"duplicate key":                    "log:\n  compress: true\n  «compress¦log.compress»: false\n",
	"duplicate section":                "log:\n  sync: 1s\nstop:\n  dump: 1s\n«log¦log»:\n  buffer: 1MiB\n",
	"duplicate flag":                   "etcd:\n  args:\n    name: a\n    «name¦etcd.args.name»: b\n",
	"section is a scalar":              "log: «5¦log»\n",
	"section is a list":                "log:\n  «-¦log» a\n",
	"file is a list":                   "«-¦» a\n",
	"file is a scalar":                 "«hello¦»\n",
	"scalar is a mapping":              "log:\n  «max_size¦log.max_size»:\n    a: 1\n",
	"scalar is a flow mapping":         "log:\n  «max_size¦log.max_size»: {a: 1}\n",
	"scalar is a list":                 "log:\n  max_size: «[¦log.max_size»1MiB]\n",
	"nothing":                          "log:\n  «max_size¦log.max_size»:\n",
	"tilde":                            "log:\n  «max_size¦log.max_size»: ~\n",
	"anchor":                           "log:\n  max_size: «&¦log.max_size»x 1MiB\n",
	"alias":                            "instance: a\nlog:\n  dir: «*¦log.dir» x\n",
	"tag":                              "instance: «!!str¦instance» 5\n",
	"merge":                            "log:\n  «<<¦»: {}\n",
	"second document":                  "instance: a\n---\n«dir¦»: /x\n",
	"boolean as word":                  "log:\n  compress: «yes¦log.compress»\n",
	"boolean as number":                "log:\n  compress: «1¦log.compress»\n",
	"boolean in quotes":                "log:\n  compress: «\"true\"¦log.compress»\n",
	"integer as word":                  "log:\n  keep_files: «many¦log.keep_files»\n",
	"integer in quotes":                "log:\n  keep_files: «\"20\"¦log.keep_files»\n",
	"integer below its range":          "restart:\n  per_hour: «0¦restart.per_hour»\n",
	"integer above its range":          "restart:\n  per_hour: «3601¦restart.per_hour»\n",
	"integer with a fraction":          "restart:\n  per_hour: «3.5¦restart.per_hour»\n",
	"number above its range":           "restart:\n  jitter: «1.5¦restart.jitter»\n",
	"number that is none":              "restart:\n  jitter: «.nan¦restart.jitter»\n",
	"duration without unit":            "stop:\n  grace: «60¦stop.grace»\n",
	"duration with a wrong unit":       "stop:\n  grace: «60 sec¦stop.grace»\n",
	"duration below 0":                 "stop:\n  grace: «-1s¦stop.grace»\n",
	"duration above its range":         "log:\n  max_wait: «2s¦log.max_wait»\n",
	"duration is true":                 "stop:\n  grace: «true¦stop.grace»\n",
	"size with an ambiguous unit":      "log:\n  max_size: «100M¦log.max_size»\n",
	"size with a wrong unit":           "log:\n  max_size: «5 apples¦log.max_size»\n",
	"size below its range":             "log:\n  max_size: «1¦log.max_size»\n",
	"size is no whole number":          "log:\n  max_size: «0.3KiB¦log.max_size»\n",
	"size above all":                   "log:\n  keep_total: «99999999999TiB¦log.keep_total»\n",
	"choice":                           "health:\n  ready: «maybe¦health.ready»\n",
	"text is true":                     "control:\n  group: «true¦control.group»\n",
	"text of two lines":                "control:\n  group: «|¦control.group»\n    a\n    b\n",
	"instance that is no file name":    "instance: «../x¦instance»\n",
	"relative path":                    "log:\n  dir: «log/etcd¦log.dir»\n",
	"path of a shell":                  "dir: «~/etcd¦dir»\n",
	"relative binary":                  "etcd:\n  binary: «etcd¦etcd.binary»\n",
	"relative path in a flag":          "etcd:\n  args:\n    data-dir: «n1.etcd¦etcd.args.data-dir»\n",
	"empty path in a flag":             "etcd:\n  args:\n    wal-dir: «\"\"¦etcd.args.wal-dir»\n",
	"relative data-dir of a stand-in":  "etcd:\n  verify: false\n  args:\n    data-dir: «n1¦etcd.args.data-dir»\n",
	"URL without port":                 "cluster:\n  endpoints: «http://10.0.0.1¦cluster.endpoints»\n",
	"URL in a list":                    "cluster:\n  endpoints: [http://10.0.0.1:2379, «http://10.0.0.2¦cluster.endpoints»]\n",
	"URL with a path":                  "health:\n  metrics: «http://127.0.0.1:2379/metrics¦health.metrics»\n",
	"URL of another scheme":            "health:\n  metrics: «unix:///x¦health.metrics»\n",
	"flag with dashes":                 "etcd:\n  args:\n    «--name¦etcd.args.--name»: a\n",
	"flag that cannot be one":          "etcd:\n  args:\n    «a b¦etcd.args.a b»: a\n",
	"flag is a mapping":                "etcd:\n  args:\n    «initial-cluster¦etcd.args.initial-cluster»:\n      n1: http://10.0.0.1:2380\n",
	"flag without value":               "etcd:\n  args:\n    «memory-mlock¦etcd.args.memory-mlock»:\n",
	"flag with an empty list":          "etcd:\n  args:\n    cors: «[¦etcd.args.cors»]\n",
	"flag with a list in a list":       "etcd:\n  args:\n    cors: [a, «[¦etcd.args.cors»b]]\n",
	"flag of two lines":                "etcd:\n  args:\n    cors: «\"a\\nb\"¦etcd.args.cors»\n",
	"force-new-cluster":                "etcd:\n  args:\n    «force-new-cluster¦etcd.args.force-new-cluster»: true\n",
	"initial-cluster-state":            "etcd:\n  args:\n    «initial-cluster-state¦etcd.args.initial-cluster-state»: existing\n",
	"log flags":                        "etcd:\n  args:\n    «log-outputs¦etcd.args.log-outputs»: stderr\n    «logger¦etcd.args.logger»: zap\n    «enable-log-rotation¦etcd.args.enable-log-rotation»: true\n    «log-rotation-config-json¦etcd.args.log-rotation-config-json»: '{}'\n",
	"config-file":                      "etcd:\n  args:\n    «config-file¦etcd.args.config-file»: /etc/etcd.yaml\n",
	"variable that cannot be one":      "etcd:\n  env:\n    «A-B¦etcd.env.A-B»: a\n",
	"variable is a list":               "etcd:\n  env:\n    A: «[¦etcd.env.A»a]\n",
	"variable shadows a flag":          "etcd:\n  args: {max-wals: 5}\n  env:\n    «ETCD_MAX_WALS¦etcd.env.ETCD_MAX_WALS»: 5\n",
	"variable shadows a default":       "etcd:\n  env:\n    «ETCD_NAME¦etcd.env.ETCD_NAME»: n1\n",
	"variable is owned":                "etcd:\n  env:\n    «ETCD_FORCE_NEW_CLUSTER¦etcd.env.ETCD_FORCE_NEW_CLUSTER»: true\n    «NOTIFY_SOCKET¦etcd.env.NOTIFY_SOCKET»: /x\n    «ETCDSUP_LOG_DIR¦etcd.env.ETCDSUP_LOG_DIR»: /x\n",
	"listen on a name":                 "etcd:\n  args:\n    listen-client-urls: «http://etcd1:2379¦etcd.args.listen-client-urls»\n    advertise-client-urls: http://etcd1:2379\n",
	"listen without scheme":            "etcd:\n  args:\n    listen-peer-urls: «10.0.0.1:2380¦etcd.args.listen-peer-urls»\n",
	"second of listed URLs":            "etcd:\n  args:\n    listen-client-urls: http://127.0.0.1:2379,«http://10.0.0.1¦etcd.args.listen-client-urls»\n",
	"no URLs":                          "etcd:\n  args:\n    listen-metrics-urls: «\"\"¦etcd.args.listen-metrics-urls»\n",
	"advertise another port":           "etcd:\n  args:\n    listen-client-urls: http://0.0.0.0:2379\n    advertise-client-urls: «http://10.0.0.1:2378¦etcd.args.advertise-client-urls»\n",
	"advertise another address":        "etcd:\n  args:\n    listen-peer-urls: http://10.0.0.1:2380\n    initial-advertise-peer-urls: [http://10.0.0.1:2380, «http://10.0.0.2:2380¦etcd.args.initial-advertise-peer-urls»]\n",
	"advertise another scheme":         "etcd:\n  args:\n    listen-client-urls: http://10.0.0.1:2379\n    advertise-client-urls: «https://10.0.0.1:2379¦etcd.args.advertise-client-urls»\n",
	"advertise all addresses":          "etcd:\n  args:\n    listen-client-urls: http://0.0.0.0:2379\n    advertise-client-urls: «http://0.0.0.0:2379¦etcd.args.advertise-client-urls»\n",
	"nothing to advertise":             "etcd:\n  args:\n    listen-client-urls: «http://0.0.0.0:2379¦etcd.args.listen-client-urls»\n",
	"nothing to listen on":             "etcd:\n  args:\n    advertise-client-urls: «http://etcd1:2379¦etcd.args.advertise-client-urls»\n",
	"one port twice":                   "etcd:\n  args:\n    listen-client-urls: «http://127.0.0.1:2380¦etcd.args.listen-client-urls»\n",
	"metrics port twice":               "etcd:\n  args:\n    listen-metrics-urls: «http://0.0.0.0:2379¦etcd.args.listen-metrics-urls»\n",
	"metrics that nothing listens on":  "health:\n  metrics: «http://127.0.0.1:2381¦health.metrics»\n",
	"https without certificate":        "etcd:\n  args:\n    listen-client-urls: «https://10.0.0.1:2379¦etcd.args.listen-client-urls»\n",
	"peer https without certificate":   "etcd:\n  args:\n    listen-peer-urls: «https://10.0.0.1:2380¦etcd.args.listen-peer-urls»\n",
	"certificate without key":          "etcd:\n  args:\n    cert-file: «/etc/etcd/a.crt¦etcd.args.cert-file»\n",
	"key without certificate":          "etcd:\n  args:\n    peer-key-file: «/etc/etcd/a.key¦etcd.args.peer-key-file»\n",
	"election below five heartbeats":   "etcd:\n  args:\n    heartbeat-interval: 300\n    election-timeout: «1400¦etcd.args.election-timeout»\n",
	"heartbeat too long":               "etcd:\n  args:\n    heartbeat-interval: «201¦etcd.args.heartbeat-interval»\n",
	"election too long":                "etcd:\n  args:\n    election-timeout: «50001¦etcd.args.election-timeout»\n",
	"election with a unit":             "etcd:\n  args:\n    election-timeout: «1s¦etcd.args.election-timeout»\n",
	"member that is no URL":            "etcd:\n  args:\n    name: n1\n    initial-cluster: [n1=http://10.0.0.1:2380, n2=«10.0.0.2¦etcd.args.initial-cluster»]\n    listen-peer-urls: http://10.0.0.1:2380\n",
	"member without URL":               "etcd:\n  args:\n    initial-cluster: «default¦etcd.args.initial-cluster»\n",
	"two members of one URL":           "etcd:\n  args:\n    name: n1\n    initial-cluster: n1=http://127.0.0.1:2380,«n2=http://127.0.0.1:2380¦etcd.args.initial-cluster»\n",
	"own name not among the members":   "etcd:\n  args:\n    name: n3\n    initial-cluster: «n1=http://127.0.0.1:2380¦etcd.args.initial-cluster»\n",
	"own URL differs":                  "etcd:\n  args:\n    name: n1\n    initial-cluster: n1=«http://10.0.0.1:2380¦etcd.args.initial-cluster»\n    initial-advertise-peer-urls: http://10.0.0.2:2380\n",
	"two ways to form a cluster":       "etcd:\n  args:\n    initial-cluster: default=http://127.0.0.1:2380\n    discovery-srv: «example.com¦etcd.args.discovery-srv»\n",
	"discovery without endpoints":      "etcd:\n  args:\n    discovery-token: «abc¦etcd.args.discovery-token»\n",
	"delay above its maximum":          "restart:\n  delay: «1m¦restart.delay»\n  max_delay: 30s\n",
	"file larger than all files":       "log:\n  max_size: «3GiB¦log.max_size»\n",
	"all files smaller than one":       "log:\n  keep_total: «50MiB¦log.keep_total»\n",
	"log among the data":               "dir: /srv/etcd\nlog:\n  dir: «/srv/etcd/data/log¦log.dir»\n",
	"data is the log":                  "dir: /srv/etcd\netcd:\n  args:\n    data-dir: «/srv/etcd/log¦etcd.args.data-dir»\n",
	"timeout above the interval":       "health:\n  interval: 2s\n  timeout: «3s¦health.timeout»\n",
	"hung before one probe":            "health:\n  hung: «5s¦health.hung»\n",
	"hung without probes":              "health:\n  interval: 0\n  hung: «1m¦health.hung»\n",
	"certificate for us without key":   "cluster:\n  cert: «/etc/a.crt¦cluster.cert»\n",
	"user without password":            "cluster:\n  user: «root¦cluster.user»\n",
	"password without user":            "cluster:\n  password_file: «/etc/p¦cluster.password_file»\n",
	"socket path too long":             "control:\n  socket: «/run/" + strings.Repeat("x", 103) + "¦control.socket»\n",
	"notify socket path too long":      "dir: «/srv/" + strings.Repeat("x", 100) + "¦dir»\ncontrol: {socket: /run/s}\n",
	"socket path too long by the base": "dir: «/srv/" + strings.Repeat("x", 100) + "¦dir»\n",
	"tabs":                             "log:\n«\t¦»sync: 1s\n",
}

func TestEachFaultIsFoundAtItsPlace(t *testing.T) {
	for name, text := range faultyFiles {
		t.Run(name, func(t *testing.T) {
			file, want := marked(text)
			_, err := Load(asRoot(writeFile(t, file)))
			var got []spot
			for _, p := range problemsOf(t, err) {
				got = append(got, spot{p.Line, p.Column, p.Width, p.Key})
				if p.Remedy == "" || p.What == "" {
					t.Errorf("no remedy: %+v", p)
				}
				if p.Line == 0 {
					t.Errorf("no line: %+v", p)
				} else if lines := strings.Split(file, "\n"); p.Excerpt != lines[p.Line-1] {
					t.Errorf("the excerpt is %q, the line is %q", p.Excerpt, lines[p.Line-1])
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v\n%s", got, want, problemsOf(t, err).Pretty())
			}
		})
	}
}

func TestNoText(t *testing.T) {
	_, err := Load(asRoot(writeFile(t, "instance: a\ndir: ü\xff\n")))
	ps := problemsOf(t, err)
	if len(ps) != 1 || ps[0].Line != 2 || ps[0].Column != 7 {
		t.Fatalf("got %+v", ps)
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	var text strings.Builder
	for i := range 50 {
		fmt.Fprintf(&text, "unknown%d: 1\n", i)
	}
	src := asRoot(writeFile(t, text.String()))
	src.Env = append(src.Env, "ETCDSUP_LOG_MAX_SIZE=x")
	src.Overrides = []string{"stop.grace=x"}
	_, err := Load(src)
	ps := problemsOf(t, err)
	if len(ps) != 52 {
		t.Fatalf("%d faults, want 52", len(ps))
	}
	for i, p := range ps[:50] {
		if p.Line != i+1 {
			t.Fatalf("fault %d stands in line %d", i, p.Line)
		}
	}
}

func TestNearestNameIsOffered(t *testing.T) {
	for text, want := range map[string]string{
		"log:\n  maxsize: 1":      "max_size",
		"log:\n  keep-files: 1":   "keep_files",
		"log:\n  max_sise: 1":     "max_size",
		"restrat:\n  delay: 1":    "restart",
		"grace: 1s":               "grace under stop:",
		"log:\n  per_hour: 1":     "per_hour under restart:",
		"log:\n  instance: 1":     "instance at the top level",
		"log.max_size: 1":         "max_size under log:",
		"etcd:\n  args.name: n1":  "name under args:",
		"etcd:\n  args: {--a: b}": "write a",
	} {
		_, err := Load(asRoot(writeFile(t, text)))
		ps := problemsOf(t, err)
		if len(ps) != 1 || !strings.Contains(ps[0].Remedy, want) {
			t.Errorf("%q: got %+v, want a remedy with %q", text, ps, want)
		}
	}
	_, err := Load(asRoot(writeFile(t, "zzzzzzzzzzzz: 1")))
	if ps := problemsOf(t, err); strings.Contains(ps[0].Remedy, "write") {
		t.Errorf("something far off is offered: %s", ps[0].Remedy)
	}
}

func TestPretty(t *testing.T) {
	file := writeFile(t, "log:\n  compress: yes\n  dir: x\n")
	_, err := Load(asRoot(file))
	want := file + `:2:13: cannot set log.compress to "yes": it is neither true nor false
  2 |   compress: yes
    |             ^^^
  → write true or false

` + file + `:3:8: cannot set log.dir to "x": the path is relative
  3 |   dir: x
    |        ^
  → write an absolute path: which folder a relative one starts from differs between a shell and a service
`
	if got := problemsOf(t, err).Pretty(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestPrettyKeepsTheCaretUnderTheFault(t *testing.T) {
	long := strings.Repeat("a", 300) + "XYZ" + strings.Repeat("b", 300)
	for _, p := range []Problem{
		{Excerpt: "\tüü\tXYZ", Column: 5, Width: 3},
		{Excerpt: long, Column: 301, Width: 3},
		{Excerpt: strings.Repeat("a", 200) + "XYZ", Column: 201, Width: 3},
	} {
		lines := strings.Split(p.Pretty(), "\n")
		text, caret := []rune(lines[1]), []rune(lines[2])
		from, to := slices.Index(caret, '^'), len(caret)
		if got := string(text[from:to]); got != "XYZ" {
			t.Errorf("the caret is under %q:\n%s", got, p.Pretty())
		}
		if len(text) > maxExcerpt+10 {
			t.Errorf("the line is shown with %d characters", len(text))
		}
	}
}

func TestExcerptCannotSteerATerminal(t *testing.T) {
	_, err := Load(asRoot(writeFile(t, "\"a\\e[31m\": \"\\e]0;x\\a\" # \u009b31m\n")))
	for _, p := range problemsOf(t, err) {
		if strings.ContainsAny(p.Pretty(), "\x1b\x07\u009b") {
			t.Errorf("%q", p.Pretty())
		}
	}
}

func TestNoFileThatWasNamed(t *testing.T) {
	src := asRoot(filepath.Join(t.TempDir(), "none.yaml"))
	_, err := Load(src)
	if ps := problemsOf(t, err); len(ps) != 1 || ps[0].Remedy == "" {
		t.Errorf("got %+v", ps)
	}
	src.FileRequired = false
	if _, err := Load(src); err != nil {
		t.Errorf("a file that need not exist: %v", err)
	}
	if _, err := Load(asRoot(t.TempDir())); err == nil {
		t.Error("a folder was taken for a file")
	}
}
