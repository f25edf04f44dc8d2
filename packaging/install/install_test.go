package install

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAccountCommands(t *testing.T) {
	find := func(tools ...string) func(string) string {
		return func(name string) string {
			if slices.Contains(tools, name) {
				return "/sbin/" + name
			}
			return ""
		}
	}
	for _, tt := range []struct {
		name  string
		tools []string
		group bool
		want  []string
	}{
		{"none", nil, false, nil},
		{"adduser that is not busybox's", []string{"adduser", "addgroup"}, false, nil},
		{"useradd", []string{"useradd", "nologin", "busybox-adduser"}, false,
			[]string{"/sbin/useradd --system --user-group --no-create-home --home-dir /var/lib/etcdsup --shell /sbin/nologin --comment etcd, run by etcdsup kv"}},
		{"useradd, group there", []string{"useradd"}, true,
			[]string{"/sbin/useradd --system --gid kv --no-create-home --home-dir /var/lib/etcdsup --shell /bin/false --comment etcd, run by etcdsup kv"}},
		{"busybox", []string{"busybox-adduser", "busybox-addgroup", "nologin"}, false,
			[]string{"/sbin/busybox-addgroup -S kv", "/sbin/busybox-adduser -S -D -H -h /var/lib/etcdsup -s /sbin/nologin -g etcd, run by etcdsup -G kv kv"}},
		{"busybox, group there", []string{"busybox-adduser", "busybox-addgroup"}, true,
			[]string{"/sbin/busybox-adduser -S -D -H -h /var/lib/etcdsup -s /bin/false -g etcd, run by etcdsup -G kv kv"}},
	} {
		var got []string
		for _, c := range accountCommands(find(tt.tools...), "kv", tt.group) {
			got = append(got, strings.Join(c, " "))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

func TestMisfitLabel(t *testing.T) {
	for label, misfit := range map[string]bool{
		"unconfined_u:object_r:user_home_t:s0": true,
		"system_u:object_r:admin_home_t:s0":    true,
		"system_u:object_r:bin_t:s0":           false,
		"":                                     false,
		"a:b":                                  false,
	} {
		if got := misfitLabel(label) != ""; got != misfit {
			t.Errorf("%q: %v", label, got)
		}
	}
}

func TestListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 24680 1 0000000000000000 100 0 0 10 0
   1: 0100007F:094B 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 11111 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:094C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22222 1 0000000000000000 100 0 0 10 0
   3: torn
`
	if got := listening(table, 2379); !slices.Equal(got, []string{"24680"}) {
		t.Errorf("%q", got)
	}
}

func TestListenAddress(t *testing.T) {
	for text, want := range map[string]string{
		"http://127.0.0.1:2379": "127.0.0.1:2379", "https://0.0.0.0:1": "0.0.0.0:1", "http://:2379": "[::]:2379",
		"http://[::1]:2379": "[::1]:2379", "http://localhost:2379": "127.0.0.1:2379",
		"unix:///run/x": "", "http://127.0.0.1": "", "::": "",
	} {
		got, ok := listenAddress(text)
		if (want != "") != ok || ok && got.String() != want {
			t.Errorf("%s: %s, %v", text, got, ok)
		}
	}
}

func TestOverlap(t *testing.T) {
	at := func(texts ...string) (all []listener) {
		for _, text := range texts {
			all = append(all, listener{netip.MustParseAddrPort(text), "f"})
		}
		return all
	}
	for _, tt := range []struct {
		ours, theirs []listener
		want         string
	}{
		{at("127.0.0.1:1", "127.0.0.1:2"), at("127.0.0.1:3", "127.0.0.1:2"), "127.0.0.1:2"},
		{at("127.0.0.1:1"), at("127.0.0.2:1"), ""},
		{at("127.0.0.1:1"), at("0.0.0.0:1"), "0.0.0.0:1"},
		{at("[::]:1"), at("127.0.0.1:1"), "127.0.0.1:1"},
		{nil, at("127.0.0.1:1"), ""},
	} {
		l, ok := overlap(tt.ours, tt.theirs)
		if ok != (tt.want != "") || ok && l.addr.String() != tt.want {
			t.Errorf("%v and %v: %v", tt.ours, tt.theirs, l)
		}
	}
}

func TestPortHolders(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("%T", name)
	}
	port := uint16(in4.Port)
	for _, host := range []string{"127.0.0.1", "0.0.0.0"} {
		if err := tryPort(netip.AddrPortFrom(netip.MustParseAddr(host), port)); err == nil {
			t.Errorf("%s:%d is said to be free", host, port)
		}
	}
	if got := portHolders(port); !slices.Equal(got, []int{os.Getpid()}) {
		t.Errorf("held by %v", got)
	}
}

func TestOutermost(t *testing.T) {
	got := outermost([]string{"/data/etcd/wal", "/srv", "/data/etcd", "/data/etcd2", "/srv/", "/data/etcd"})
	if want := []string{"/data/etcd", "/data/etcd2", "/srv"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if isWithin("/database", "/data") || !isWithin("/x", "/") || !isWithin("/x", "/x") {
		t.Error("a folder is taken for another one's")
	}
}

func TestDropIn(t *testing.T) {
	if text := (dropIn{mounts: []string{"/x"}}).text(); text != "" {
		t.Errorf("not needed: %s", text)
	}
	d := dropIn{config: "/etc/etcdsup/a.yaml", user: "kv", group: "staff", mounts: []string{"/data/etcd", "/w al"}, writable: []string{"/data", `/5%/"q"`}, runtime: []string{"etcd sup", "a/b"}}
	text := d.text()
	for _, line := range []string{"RequiresMountsFor=/data/etcd \"/w al\"\n", "ReadWritePaths=-/data \"-/5%%/\\\"q\\\"\"\n", "User=kv\nGroup=staff\n",
		"RuntimeDirectory=\"etcd sup\" a/b\nRuntimeDirectoryMode=0755\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in\n%s", line, text)
		}
	}
	if !isOurs(text) || isOurs(text+"Nice=1\n") || isOurs("[Service]\nUser=x\n") {
		t.Error("an edited drop-in is taken for ours, or ours for an edited one")
	}
}

func TestSplitRuntime(t *testing.T) {
	others, names := splitRuntime([]string{"/run", "/run/etcdsup", "/srv/run/x", "/run/a/b"})
	if !slices.Equal(others, []string{"/run", "/srv/run/x"}) || !slices.Equal(names, []string{"etcdsup", "a/b"}) {
		t.Errorf("%q and %q", others, names)
	}
}

func TestSetting(t *testing.T) {
	const text = "[Service]\nUser=a\n#User=b\n User = c \nUserNot=d\n"
	if got := setting(text, "User"); got != "c" {
		t.Errorf("%q", got)
	}
	if got := setting(text, "Group"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestInCgroup(t *testing.T) {
	for text, want := range map[string]bool{
		"0::/system.slice/etcdsup.service\n":                                     true,
		"1:name=systemd:/x\n0::/system.slice/etcdsup.service/etcd-default-abc\n": true,
		"0::/system.slice/not-etcdsup.service\n":                                 false,
		"0::/\n":                                                                 false,
	} {
		if inCgroup(text, "etcdsup.service") != want {
			t.Errorf("%q: not %v", text, want)
		}
	}
}

func TestPlainUnit(t *testing.T) {
	for _, name := range []string{"etcdsup.service", "etcdsup@a.service"} {
		m := systemd{dir: t.TempDir()}
		p := &planner{Service: Service{Instance: "default", Binary: "/opt/bin/etcdsup"}, account: account{name: "kv", group: "staff"}}
		if strings.Contains(name, "@") {
			p.Instance = "a"
		}
		text := m.unit(p).Text()
		if !isPlain(text, name) || isPlain(strings.Replace(text, "always", "no", 1), name) {
			t.Errorf("%s: an edited unit is taken for ours, or ours for an edited one", name)
		}
	}
}

func TestFileIsReplacedAndKept(t *testing.T) {
	dir := t.TempDir()
	f := file{path: filepath.Join(dir, "etcdsup.service"), text: []byte("a\nnew\n"), mode: 0o644, uid: os.Geteuid(), gid: os.Getegid}
	c, needed, err := f.change()
	if err != nil || !needed || !c.New || c.Kept != "" {
		t.Fatalf("%+v, %v, %v", c, needed, err)
	}
	if err := os.WriteFile(f.path, []byte("a\nold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, needed, err = f.change()
	if err != nil || !needed || c.New || !strings.Contains(c.Diff, "-old\n+new\n") {
		t.Fatalf("%+v, %v, %v", c, needed, err)
	}
	if err := c.do(t.Context()); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(f.path)
	if err != nil || string(now) != "a\nnew\n" {
		t.Errorf("%q, %v", now, err)
	}
	old, err := os.ReadFile(c.Kept)
	if err != nil || string(old) != "a\nold\n" {
		t.Errorf("%q, %v", old, err)
	}
	if info, err := os.Stat(f.path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	if _, needed, err := f.change(); needed || err != nil {
		t.Errorf("a second time: %v, %v", needed, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestAsideName(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 67e6, time.FixedZone("", 3600))
	if got := asideName("/etc", "a.service", at); got != "/etc/a.service.old-20260102T020405.067Z" {
		t.Error(got)
	}
}

// TestRights asks the kernel as another user, on files that only root may use, and after that as root again.
func TestRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) { // the folders of a test are its user's only
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(dir, "a", "b", "secret")
	if err := os.MkdirAll(filepath.Dir(secret), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	stranger, member := account{name: "s", uid: nobody, gid: nobody}, account{name: "m", uid: nobody, gid: nobody, groups: []int{0}}
	if stranger.may(secret, unix.R_OK) == nil || member.may(secret, unix.R_OK) != nil || member.may(secret, unix.W_OK) == nil {
		t.Error("a user has rights that are not his, or lacks some that are")
	}
	closed := filepath.Join(dir, "a")
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := stranger.blocker(secret); got != closed {
		t.Errorf("blocked by %s", got)
	}
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("this process has lost its rights: %v", err)
	}
}
