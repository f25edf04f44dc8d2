package main

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/cluster"
)

// TestLocalAddresses: all addresses of this host are its own, and no others.
func TestLocalAddresses(t *testing.T) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() && !isLocal(n.IP) {
			t.Errorf("%v is not taken for this host's", n.IP)
		}
	}
	for _, other := range []string{"198.51.100.9", "203.0.113.1", "203.0.113.9", "2001:db8::5"} {
		if isLocal(net.ParseIP(other)) {
			t.Errorf("%s is taken for this host's", other)
		}
	}
}

func TestOwnAmong(t *testing.T) {
	for _, tt := range []struct{ name, endpoints, serves, want string }{
		{"named alike", "http://10.9.9.9:2379 http://host-a.invalid:2379", "http://host-a.invalid:2379", "http://host-a.invalid:2379"},
		{"others only", "http://10.9.9.8:2379 http://10.9.9.7:2379", "http://10.9.9.9:2379", ""},
		{"another port", "http://127.0.0.1:4001", "http://127.0.0.1:2379", ""},
		{"another loopback address", "http://127.0.0.3:2379", "http://127.0.0.1:2379", ""},
		{"on all addresses", "https://127.0.0.1:2379 https://10.9.9.8:2379", "https://0.0.0.0:2379", "https://127.0.0.1:2379"},
		{"on all addresses, by name", "https://localhost:2379 https://10.9.9.8:2379", "https://[::]:2379", "https://localhost:2379"},
		{"by name, on an address", "http://localhost:2379", "http://127.0.0.1:2379", "http://localhost:2379"},
		{"several", "http://10.9.9.8:1 http://127.0.0.1:2 http://127.0.0.1:3", "http://127.0.0.1:3 http://127.0.0.1:2", "http://127.0.0.1:2 http://127.0.0.1:3"},
		{"socket", "unix:///run/etcd.sock http://10.9.9.8:1", "unix:///run/etcd.sock", "unix:///run/etcd.sock"},
		{"none", "", "http://127.0.0.1:2379", ""},
	} {
		got := ownAmong(t.Context(), parseURLs(strings.Fields(tt.endpoints)), parseURLs(strings.Fields(tt.serves)))
		if !slices.EqualFunc(got, strings.Fields(tt.want), func(u *url.URL, s string) bool { return u.String() == s }) {
			t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
		}
	}
}

// TestAskerAsksItsOwn: what an etcd advertises may lead to other members too.
func TestAskerAsksItsOwn(t *testing.T) {
	for _, tt := range []struct{ name, endpoints, advertise, listen, want, serverName string }{
		{"its own address", "", "http://127.0.0.1:2379", "http://127.0.0.1:2379", "http://127.0.0.1:2379", ""},
		{"a balancer", "", "https://balancer.invalid:2379", "https://0.0.0.0:2379", "https://127.0.0.1:2379", "balancer.invalid"},
		{"another member's address", "", "http://203.0.113.9:2379", "http://[::]:2379", "http://[::1]:2379", "203.0.113.9"},
		{"one of several", "", "http://203.0.113.9:2379,http://127.0.0.1:2379", "http://0.0.0.0:2379", "http://127.0.0.1:2379", ""},
		{"the cluster's endpoints", "http://203.0.113.9:2379 http://127.0.0.1:2379", "http://203.0.113.9:2379", "http://127.0.0.1:2379", "http://127.0.0.1:2379", ""},
		{"only advertised", "", "http://203.0.113.9:2379", "", "http://203.0.113.9:2379", ""},
		{"nothing said", "http://203.0.113.9:2379", "", "", "http://203.0.113.9:2379", ""},
	} {
		a := asker{options: cluster.Options{Endpoints: parseURLs(strings.Fields(tt.endpoints))}, fixed: tt.endpoints != ""}
		for flag, value := range map[string]string{advertiseFlag: tt.advertise, listenFlag: tt.listen} {
			if value != "" {
				a.args = append(a.args, flag+value)
			}
		}
		o := a.ownOptions(t.Context(), nil)
		if got := o.Endpoints; len(got) != 1 || got[0].String() != tt.want || o.ServerName != tt.serverName {
			t.Errorf("%s: %v as %q, want %s as %q", tt.name, got, o.ServerName, tt.want, tt.serverName)
		}
	}
}
