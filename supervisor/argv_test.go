package supervisor

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
)

func TestArguments(t *testing.T) {
	e := config.Etcd{Verify: true, Args: []config.Arg{
		{Name: "listen-client-urls", Values: []string{"http://127.0.0.1:2379", "http://127.0.0.1:4001"}}, {Name: "name", Values: []string{"a"}},
	}}
	want := []string{
		"--listen-client-urls=http://127.0.0.1:2379,http://127.0.0.1:4001", "--name=a",
		"--listen-metrics-urls=http://127.0.0.1:9", "--logger=zap", "--log-outputs=stderr",
	}
	if got := arguments(e, "http://127.0.0.1:9", ""); !slices.Equal(got, want) {
		t.Errorf("arguments: %q", got)
	}
	e.Verify = false
	if got := arguments(e, "http://127.0.0.1:9", ""); !slices.Equal(got, want[:2]) {
		t.Errorf("a stand-in got flags that nobody asked for: %q", got)
	}
}

// TestArgumentsOfAJoin: the list that the cluster gave takes the place of the configuration's.
func TestArgumentsOfAJoin(t *testing.T) {
	e := config.Etcd{Args: []config.Arg{{Name: "initial-cluster", Values: []string{"a=http://a:1"}}, {Name: "name", Values: []string{"b"}}}}
	want := []string{"--name=b", "--initial-cluster=a=http://a:1,b=http://b:1", "--initial-cluster-state=existing"}
	if got := arguments(e, "", "a=http://a:1,b=http://b:1"); !slices.Equal(got, want) {
		t.Errorf("arguments: %q", got)
	}
}

// TestDistinct: only a cluster of one begins with a token that nobody else has.
func TestDistinct(t *testing.T) {
	for _, tt := range []struct {
		args  []string
		given bool
	}{
		{[]string{"--name=a", "--initial-cluster=a=http://a:1"}, true},
		{[]string{"--name=a", "--initial-cluster=a=http://a:1,a=http://a:2"}, true},
		{[]string{"--name=a", "--initial-cluster=a=http://a:1,b=http://b:1"}, false},
		{[]string{"--name=a", "--initial-cluster=a=http://a:1", "--initial-cluster-token=mine"}, false},
		{[]string{"--name=a", "--discovery-srv=example.com"}, false},
		{[]string{"--name=a"}, false},
	} {
		want := slices.Clone(tt.args)
		if tt.given {
			want = append(want, "--initial-cluster-token=t")
		}
		if got := distinct(slices.Clone(tt.args), "t"); !slices.Equal(got, want) {
			t.Errorf("%q became %q", tt.args, got)
		}
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	ours := map[string]string{"PATH": "/bin", "ETCD_NAME": "x", "NOTIFY_SOCKET": "/run/systemd/notify", "TZ": "UTC", "SECRET": "s"}
	lookup := func(name string) (string, bool) { v, ok := ours[name]; return v, ok }
	got := environment(lookup, map[string]string{"TZ": "Europe/Berlin", "A": "b=c"}, "NOTIFY_SOCKET=/x/notify", "ETCDSUP_TOKEN=t")
	want := []string{"A=b=c", "ETCDSUP_TOKEN=t", "NOTIFY_SOCKET=/x/notify", "PATH=/bin", "TZ=Europe/Berlin"}
	if !slices.Equal(got, want) {
		t.Errorf("environment: %q, want %q", got, want)
	}
}

func TestLinkBuiltin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etcd")
	for range 2 { // made, and found made
		if err := linkBuiltin(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", path); err != nil {
		t.Fatal(err)
	}
	if err := linkBuiltin(path); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(path); err != nil || to != "/proc/self/exe" {
		t.Errorf("the link leads to %s, %v", to, err)
	}
}

func TestFreeLoopbackKeepsItsPort(t *testing.T) {
	if addr, ok := freeLoopback(""); !ok || addr == "" {
		t.Fatal("no free port")
	}
	first := porttest.Addr(t, "127.0.0.1")
	if again, ok := freeLoopback("http://" + first); !ok || again != first {
		t.Errorf("a free port was given up: %s, then %s", first, again)
	}
	taken, err := net.Listen("tcp", first)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if other, ok := freeLoopback("http://" + first); !ok || other == first {
		t.Errorf("a taken port was kept: %s", other)
	}
}
