package main

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/process"
)

// lineage is a line of processes, etcd first: each is "PID DIR COMMAND…".
func lineage(rows ...string) (line []process.Description) {
	for _, row := range rows {
		f := strings.Fields(row)
		d := process.Description{Dir: f[1], Command: f[2:], Name: f[2]}
		for _, c := range f[0] {
			d.ID.PID = d.ID.PID*10 + int(c-'0')
		}
		line = append(line, d)
	}
	return line
}

func TestFindKeeper(t *testing.T) {
	fifos := []string{"/home/work/etcd/status/svcontrol", "/srv/status/etcd/svcontrol", "/service/etcd/supervise/control"}
	host := keeperHost{
		isFIFO: func(path string) bool { return slices.Contains(fifos, path) },
		glob: func(pattern string) []string {
			if pattern == "/srv/status/*/svcontrol" {
				return []string{"/srv/status/etcd/svcontrol"}
			}
			return nil
		},
		property: func(unit, name string) string {
			return map[string]string{
				"etcd.service MainPID": "9", "supervise.service MainPID": "7", "rc-local.service MainPID": "3", "scan.service MainPID": "6",
				"cron.service MainPID": "6", "both.service MainPID": "8",
				"linked.service MainPID": "9", "linked.service UnitFileState": "enabled",
				"run-1.service MainPID": "9", "run-1.service Transient": "yes",
				"needed.service MainPID": "9", "needed.service WantedBy": "multi-user.target api.service", "needed.service BoundBy": "api.service web.service",
			}[unit+" "+name]
		},
		linkTo: func(path string) string {
			return map[string]string{"/etc/systemd/system/linked.service": "/opt/linked.service", "/etc/systemd/system/etcd.service": "/lib/systemd/system/etcd3.service"}[path]
		},
		enabled: func(unit string) bool { return unit == "etcd.service" },
		inUnit: func(unit string, _ int) []process.Description {
			return map[string][]process.Description{
				"etcd.service":      lineage("9 / etcd", "12 / etcd-plugin"),
				"supervise.service": lineage("7 / supervise", "9 / etcd", "13 / tee -a log"),
				"both.service":      lineage("8 / sh", "9 / etcd", "13 / cat", "14 / /opt/api --port 80"),
			}[unit]
		},
		descendants: func(int) []int { return []int{12} },
	}
	const etcd = "9 /home/work/etcd ./etcd --name n1"
	for _, c := range []struct {
		name, cgroup string
		line         []process.Description
		kind         keeperKind
		says         string // its title, or the refusal
		control      string
		under        string
	}{
		{"Baidu's", "", lineage(etcd, "8 /home/work/etcd /bin/sh ./start-etcd.sh", "7 /home/work/etcd supervise -f ./start-etcd.sh -F supervise.conf -p ./status", "1 / /sbin/init"),
			keptByFIFO, "supervise with its state", "/home/work/etcd/status/svcontrol", ""},
		{"Baidu's, a folder deeper", "", lineage(etcd, "7 /srv ./supervise -u/srv/status -f ./etcd", "1 / init"), keptByFIFO, "supervise with its state", "/srv/status/etcd/svcontrol", ""},
		{"daemontools", "", lineage(etcd, "7 /service/etcd supervise etcd", "6 /service svscan /service", "1 / init"), keptByFIFO, "supervise in /service/etcd", "/service/etcd/supervise/control", "svscan"},
		{"runit", "", lineage(etcd, "7 / runsv /service/etcd", "6 / runsvdir -P /service", "1 / init"), keptByFIFO, "runsv in /service/etcd", "/service/etcd/supervise/control", "runsvdir"},
		{"no FIFO", "", lineage(etcd, "7 /nowhere supervise x", "1 / init"), "", "the FIFO for its commands is not found", "", ""},
		{"unit", "/system.slice/etcd.service", lineage(etcd, "1 / systemd"), keptBySystemd, "the unit etcd.service", "", ""},
		{"unit around supervise", "/system.slice/supervise.service", lineage(etcd, "7 / supervise -f x -p y", "1 / systemd"), keptBySystemd, "the unit supervise.service", "", ""},
		{"unit that is not around it", "/system.slice/rc-local.service", lineage(etcd, "8 / /bin/bash /x/start-etcd.sh", "1 / systemd"), keptByScript, "the script of process 8", "", ""},
		{"svscan as a unit", "/system.slice/scan.service", lineage(etcd, "7 /service/etcd supervise etcd", "6 /service svscan /service", "1 / systemd"), keptByFIFO, "supervise in /service/etcd", "/service/etcd/supervise/control", "svscan"},
		{"svscan that runs it itself", "/system.slice/scan.service", lineage(etcd, "6 /service svscan /service", "1 / systemd"), "", "process 6 (svscan /service) does when etcd ends", "", ""},
		{"supervise below a guard as a unit", "/system.slice/scan.service", lineage(etcd, "7 /service/etcd supervise etcd", "6 / /opt/guardd", "1 / systemd"), keptByFIFO, "supervise in /service/etcd", "/service/etcd/supervise/control", ""},
		{"supervisord as a unit", "/system.slice/supervise.service", lineage(etcd, "7 / python3 /usr/bin/supervisord -n", "1 / systemd"), "", "which program of supervisord", "", ""},
		{"cron's script", "/system.slice/cron.service", lineage(etcd, "7 / sh -c x", "6 / /usr/sbin/cron -f", "1 / systemd"), keptByScript, "the script of process 7", "", ""},
		{"unit that runs more", "/system.slice/both.service", lineage(etcd, "8 / sh /x/start-all.sh", "1 / systemd"), "", "the unit both.service: it runs more than etcd: process 14 (/opt/api --port 80)", "", ""},
		{"linked unit", "/system.slice/linked.service", lineage(etcd, "1 / systemd"), "", "a link to /opt/linked.service", "", ""},
		{"transient unit", "/system.slice/run-1.service", lineage(etcd, "1 / systemd"), "", "it is transient", "", ""},
		{"unit that others need", "/system.slice/needed.service", lineage(etcd, "1 / systemd"), "", "would start it again: api.service, web.service", "", ""},
		{"a user's unit", "/user.slice/user-0.slice/user@0.service/app.slice/etcd.service", lineage(etcd, "1 / systemd"), "", "the unit etcd.service: it is one of a user's", "", ""},
		{"a user's session", "/user.slice/user-0.slice/session-1.scope", lineage(etcd, "1 / systemd"), keptByNobody, "nothing", "", ""},
		{"a person's shell", "", lineage(etcd, "8 / -bash", "7 / sshd: root", "1 / systemd"), keptByNobody, "nothing", "", ""},
		{"scripts in scripts", "", lineage(etcd, "8 / bash /x/start-etcd.sh", "7 / sh -c while:;do", "6 / bash", "1 / systemd"), keptByScript, "the script of process 7", "", ""},
		{"unknown", "", lineage(etcd, "8 / /opt/guard/guardd --etcd", "1 / systemd"), "", "process 8 (/opt/guard/guardd --etcd) does when etcd ends", "", ""},
		{"supervisord without a name", "", lineage(etcd, "8 / python3 /usr/bin/supervisord -c /etc/s.conf", "1 / systemd"), "", "which program of supervisord", "", ""},
	} {
		c.line[0].Cgroup = c.cgroup
		k, err := findKeeper(c.line, host)
		says := k.Title
		if err != nil {
			says = err.Error()
		}
		if k.Kind != c.kind || !strings.Contains(says, c.says) || k.Control != c.control || k.Under != c.under || k.Enabled != (k.Name == "etcd.service") {
			t.Errorf("%s: %+v, %v", c.name, k, err)
		}
	}
}

func TestSupervisordNamesItsProgram(t *testing.T) {
	line := lineage("9 / etcd", "8 /etc python3 /usr/bin/supervisord -c s.conf", "1 / systemd")
	line[0].Env = []string{"SUPERVISOR_GROUP_NAME=g", "SUPERVISOR_PROCESS_NAME=p"}
	k, err := findKeeper(line, keeperHost{})
	if err != nil || k.Name != "g:p" || !slices.Equal(k.Tool, []string{"supervisorctl", "-c", "/etc/s.conf"}) {
		t.Errorf("%+v, %v", k, err)
	}
}

// The end of a script's shells comes from the outside: an inner one that ends first would be started again.
func TestShellsEndFromTheOutermost(t *testing.T) {
	k, err := findKeeper(lineage("9 / etcd", "8 / bash /x/start-etcd.sh", "7 / sh /x/loop.sh", "1 / systemd"), keeperHost{})
	if err != nil || len(k.Shells) != 2 || k.Shells[0].PID != 7 || k.Shells[1].PID != 8 || k.Process.ID.PID != 7 {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestKeptByEtcdsup(t *testing.T) {
	for _, c := range []struct {
		name, cgroup, exe string
		line              []process.Description
		want              bool
	}{
		{"its child", "", "/opt/etcd", lineage("9 / etcd", "8 / /usr/bin/etcdsup -i kv run", "1 / systemd"), true},
		{"its service's", "/system.slice/system-etcdsup.slice/etcdsup@kv.service", "/opt/etcd", lineage("9 / etcd", "1 / systemd"), true},
		{"left by one that was killed", "", "/usr/bin/etcdsup", lineage("9 / etcd", "1 / systemd"), true},
		{"supervise's", "/system.slice/etcd.service", "/opt/etcd", lineage("9 / etcd", "8 / supervise etcd", "1 / systemd"), false},
		{"below another command of ours", "", "/opt/etcd", lineage("9 / etcd", "8 / etcdsup status", "1 / systemd"), false},
	} {
		c.line[0].Cgroup, c.line[0].Exe = c.cgroup, c.exe
		if got := keptByEtcdsup(c.line[0], c.line); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestASessionIsKnownByItsName(t *testing.T) {
	d := process.Description{Name: "sshd", Command: []string{"sshd: root@pts/0"}}
	if got := keeperName(d); got != "sshd" {
		t.Errorf("%q", got)
	}
}

// What is started again has the rights that it had, and its files get the same.
func TestSpawnGivesGroupsAndUmask(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give groups")
	}
	fifo := filepath.Join(t.TempDir(), "out")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	k := etcdKeeper{Outputs: [3]string{1: fifo}, Process: process.Description{
		Command: []string{"/bin/sh", "-c", "umask; id -u; id -g; id -G; echo end"}, Env: []string{"PATH=" + usualPath}, Dir: "/",
		UID: 65534, GID: 65534, Groups: []int{7, 4321}, Umask: 0o027,
	}}
	if err := k.spawn(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); !slices.Contains(said, "end") && lines.Scan(); {
		said = append(said, lines.Text())
	}
	if want := []string{"0027", "65534", "65534", "65534 7 4321", "end"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
}

func TestAScriptThatWeRunInIsNotEnded(t *testing.T) {
	us, err := process.Describe(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	parent, err := process.Describe(us.PPID)
	if err != nil {
		t.Fatal(err)
	}
	child := us.ID
	child.StartTicks++ // of another process
	for _, c := range []struct {
		kind   keeperKind
		shells []process.ID
		says   string
	}{
		{keptByScript, []process.ID{child, parent.ID}, "this command runs in it"},
		{keptByScript, []process.ID{child}, ""},
		{keptByNobody, nil, ""},
	} {
		k := etcdKeeper{Kind: c.kind, Shells: c.shells}
		if err := k.sparesUs(os.Getpid()); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
