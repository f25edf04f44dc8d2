package config

import (
	"testing"
	"time"
)

func TestArgsFollowFromWhatIsSet(t *testing.T) {
	const one, two = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	for _, tt := range []struct {
		name, args string
		want       map[string]string
	}{
		{"nothing", "", map[string]string{
			"name": "default", "data-dir": "/var/lib/etcdsup/default/data", "listen-client-urls": one, "advertise-client-urls": one,
			"listen-peer-urls": two, "initial-advertise-peer-urls": two, "initial-cluster": "default=" + two,
		}},
		{"name", "name: n1", map[string]string{"name": "n1", "initial-cluster": "n1=" + two}},
		{"listen only", "listen-client-urls: http://10.0.0.1:2379", map[string]string{"advertise-client-urls": "http://10.0.0.1:2379"}},
		{"listen on all and one", "listen-client-urls: [http://0.0.0.0:2379, http://10.0.0.1:2379]", map[string]string{"advertise-client-urls": "http://10.0.0.1:2379"}},
		{"listen on a socket", "listen-client-urls: unix:///run/etcd.sock", map[string]string{"advertise-client-urls": "unix:///run/etcd.sock"}},
		{"advertise only", "advertise-client-urls: http://10.0.0.1:2379", map[string]string{"listen-client-urls": "http://10.0.0.1:2379"}},
		{"peer listen only", "listen-peer-urls: http://10.0.0.1:2380", map[string]string{
			"initial-advertise-peer-urls": "http://10.0.0.1:2380", "initial-cluster": "default=http://10.0.0.1:2380",
		}},
		{"two peer URLs", "initial-advertise-peer-urls: [http://10.0.0.1:2380, http://10.0.1.1:2380]", map[string]string{
			"listen-peer-urls":             "http://10.0.0.1:2380,http://10.0.1.1:2380",
			"initial-cluster":              "default=http://10.0.0.1:2380,default=http://10.0.1.1:2380",
			"initial-advertise-peer-urls":  "http://10.0.0.1:2380,http://10.0.1.1:2380",
			"listen-client-urls":           one,
			"not-a-flag-that-anybody-gave": "",
		}},
		{"members", "name: n2\n    initial-cluster: [n1=http://10.0.0.1:2380, n2=http://10.0.0.2:2380]", map[string]string{
			"initial-advertise-peer-urls": "http://10.0.0.2:2380", "listen-peer-urls": "http://10.0.0.2:2380",
			"initial-cluster": "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380",
		}},
		{"members by names", "name: n2\n    listen-peer-urls: http://0.0.0.0:2380\n    initial-cluster: n1=http://h1:2380,n2=http://h2:2380", map[string]string{
			"initial-advertise-peer-urls": "http://h2:2380",
		}},
		{"certificate", "cert-file: /c\n    key-file: /k\n    peer-auto-tls: true", map[string]string{
			"listen-client-urls": "https://127.0.0.1:2379", "advertise-client-urls": "https://127.0.0.1:2379",
			"listen-peer-urls": "https://127.0.0.1:2380", "initial-cluster": "default=https://127.0.0.1:2380",
		}},
		{"discovery", "discovery-srv: example.com", map[string]string{"initial-cluster": ""}},
		{"IPv6", "listen-client-urls: \"http://[::]:2379\"\n    advertise-client-urls: http://10.0.0.1:2379", map[string]string{"listen-client-urls": "http://[::]:2379"}},
		{"names that are not looked up", "listen-client-urls: http://127.0.0.1:2379\n    advertise-client-urls: http://etcd1:2379", map[string]string{"name": "default"}},
		{"values as written", "max-wals: 0x10\n    pre-vote: True\n    quota-backend-bytes: 1_000", map[string]string{
			"max-wals": "0x10", "pre-vote": "True", "quota-backend-bytes": "1_000",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustLoad(t, asRoot(writeFile(t, "etcd:\n  args:\n    "+tt.args+"\n")))
			got := map[string]string{}
			for i, a := range c.Etcd.Args {
				got[a.Name] = a.Value()
				if i > 0 && c.Etcd.Args[i-1].Name >= a.Name {
					t.Errorf("%s comes after %s", a.Name, c.Etcd.Args[i-1].Name)
				}
			}
			for flag, want := range tt.want {
				if got[flag] != want {
					t.Errorf("%s is %q, want %q", flag, got[flag], want)
				}
			}
		})
	}
}

func TestStandInGetsItsArgsAndNothingElse(t *testing.T) {
	c := mustLoad(t, asRoot(writeFile(t, "dir: /d\netcd:\n  binary: /bin/sh\n  verify: false\n  args: {c: exit 1, force-new-cluster: true, listen-client-urls: anything}\n")))
	if len(c.Etcd.Args) != 3 || c.DataDir() != "/d/data" {
		t.Errorf("got %v in %s", c.Etcd.Args, c.DataDir())
	}
}

func TestHealthFollows(t *testing.T) {
	for _, tt := range []struct {
		file          string
		timeout, hung time.Duration
		metrics       string
	}{
		{"", 3 * time.Second, 45 * time.Second, ""},
		{"health: {interval: 0}", 3 * time.Second, 0, ""},
		{"health: {interval: 1s}", time.Second, 45 * time.Second, ""},
		{"health: {interval: 1m}", 3 * time.Second, 183 * time.Second, ""},
		{"etcd: {args: {listen-metrics-urls: 'http://10.0.0.1:2381,http://10.0.0.2:2381'}}", 3 * time.Second, 45 * time.Second, "http://10.0.0.1:2381"},
		{"etcd: {args: {listen-metrics-urls: 'http://0.0.0.0:2381'}}", 3 * time.Second, 45 * time.Second, "http://127.0.0.1:2381"},
		{"etcd: {args: {listen-metrics-urls: 'http://[::]:2381'}}", 3 * time.Second, 45 * time.Second, "http://[::1]:2381"},
		{"health: {metrics: 'http://127.0.0.1:2379'}", 3 * time.Second, 45 * time.Second, "http://127.0.0.1:2379"},
	} {
		c := mustLoad(t, asRoot(writeFile(t, tt.file)))
		if h := c.Health; h.Timeout != tt.timeout || h.Hung != tt.hung || h.Metrics != tt.metrics {
			t.Errorf("%s: got %+v", tt.file, h)
		}
	}
}

func TestServes(t *testing.T) {
	for _, tt := range []struct {
		listen, advertise string
		want              bool
	}{
		{"http://0.0.0.0:1", "http://10.0.0.1:1", true},
		{"http://[::]:1", "http://10.0.0.1:1", true},
		{"http://10.0.0.1:1", "http://10.0.0.1:1", true},
		{"http://10.0.0.1:1", "http://10.0.0.2:1", false},
		{"http://10.0.0.1:1", "http://10.0.0.1:2", false},
		{"http://10.0.0.1:1", "https://10.0.0.1:1", false},
		{"http://10.0.0.1:1", "http://name:1", true},
		{"http://localhost:1", "http://127.0.0.1:1", true},
		{"http://localhost:1", "http://10.0.0.1:1", false},
		{"http://127.0.0.1:1", "http://localhost:1", true},
		{"http://10.0.0.1:1", "http://localhost:1", false},
		{"http://[2001:db8::1]:1", "http://[2001:db8:0::1]:1", true},
		{"unix:///a", "unix:///a", true},
		{"unix:///a", "unix:///b", false},
		{"unix:///a", "http://10.0.0.1:1", false},
	} {
		l, err := parseEtcdURL(tt.listen)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseEtcdURL(tt.advertise)
		if err != nil {
			t.Fatal(err)
		}
		if got := serves(l, a); got != tt.want {
			t.Errorf("serves(%s, %s) = %v", tt.listen, tt.advertise, got)
		}
	}
}
