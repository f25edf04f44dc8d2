package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/config"
)

// withArgs is a configuration of etcd's flags, each "name=value".
func withArgs(args ...string) *config.Config {
	c := &config.Config{Etcd: config.Etcd{Verify: true}}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		c.Etcd.Args = append(c.Etcd.Args, config.Arg{Name: name, Values: strings.Split(value, ",")})
	}
	return c
}

func TestTLSFaults(t *testing.T) {
	const clients, peers = "listen-client-urls=https://127.0.0.1:2379", "listen-peer-urls=https://127.0.0.1:2380"
	ours := func(c *config.Config) *config.Config {
		c.Cluster.Cert, c.Cluster.Key = "/none/our.pem", "/none/our.key"
		return c
	}
	for what, tt := range map[string]struct {
		c    *config.Config
		keys []string // of the faults
	}{
		"none of it":           {withArgs("listen-client-urls=http://127.0.0.1:2379", "listen-peer-urls=http://127.0.0.1:2380"), nil},
		"a stand-in":           {&config.Config{Etcd: config.Etcd{Args: withArgs(peers).Etcd.Args}}, nil},
		"no peer certificate":  {withArgs(peers), []string{"etcd.args.peer-cert-file"}},
		"etcd makes its own":   {withArgs(peers, "peer-auto-tls=true", clients, "auto-tls=true"), nil},
		"not beside a file":    {withArgs(peers, "peer-auto-tls=true", "peer-cert-file=/none/p.pem"), []string{"etcd.args.peer-cert-file"}},
		"missing files":        {withArgs(peers, "peer-cert-file=/none/p.pem", "peer-key-file=/none/p.key", "peer-trusted-ca-file=/none/ca.pem"), []string{"etcd.args.peer-trusted-ca-file", "etcd.args.peer-cert-file", "etcd.args.peer-key-file"}},
		"two for peers":        {withArgs(peers, "peer-cert-file=/none/p.pem", "peer-key-file=/none/p.key", "peer-client-cert-file=/none/d.pem", "peer-client-key-file=/none/d.key"), []string{"etcd.args.peer-client-cert-file", "etcd.args.peer-client-key-file", "etcd.args.peer-cert-file", "etcd.args.peer-key-file"}},
		"a CA for clients":     {withArgs(clients, "auto-tls=true", "trusted-ca-file=/none/ca.pem"), []string{"etcd.args.trusted-ca-file", "cluster.cert"}},
		"no certificate of us": {withArgs(clients, "auto-tls=true", "client-cert-auth=true"), []string{"cluster.cert"}},
		"ours is missing":      {ours(withArgs(clients, "auto-tls=true", "client-cert-auth=true")), []string{"cluster.cert", "cluster.key"}},
		"passed over":          {withArgs("listen-client-urls=http://127.0.0.1:2379", "cert-file=/none/c.pem", "listen-peer-urls=http://127.0.0.1:2380", "peer-cert-file=/none/p.pem"), []string{"etcd.args.listen-client-urls", "etcd.args.listen-peer-urls"}},
		"beside one with TLS":  {withArgs("listen-client-urls=http://127.0.0.1:2379,https://10.0.0.1:2379", "auto-tls=true"), nil},
	} {
		var keys []string
		for _, f := range tlsFaults(tt.c) {
			keys = append(keys, f.key)
			if f.What == "" || f.Remedy == "" || f.Warning {
				t.Errorf("%s: %+v", what, f)
			}
		}
		if !slices.Equal(keys, tt.keys) {
			t.Errorf("%s: faults with %q, want %q", what, keys, tt.keys)
		}
	}
}
