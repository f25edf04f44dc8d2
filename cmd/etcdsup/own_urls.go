package main

import (
	"context"
	"net"
	"net/url"
	"slices"
	"time"
)

// The endpoints of the configuration may be those of the whole cluster. Who is asked for itself, or told to hand its
// leadership over, is to be this host's etcd and no other.

// ownAmong are those of the endpoints that lead to the etcd with these client URLs, on this host.
func ownAmong(ctx context.Context, endpoints, serves []*url.URL) (own []*url.URL) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	for _, e := range endpoints {
		if slices.ContainsFunc(serves, func(s *url.URL) bool { return leadsTo(ctx, e, s) }) {
			own = append(own, e)
		}
	}
	return own
}

// lookupTime is for all names to be looked up. One that takes longer is not known to be ours.
const lookupTime = time.Second

func leadsTo(ctx context.Context, endpoint, serves *url.URL) bool {
	if *endpoint == *serves {
		return true
	}
	if endpoint.Port() == "" || endpoint.Port() != serves.Port() {
		return false
	}
	at := addresses(ctx, endpoint.Hostname())
	listens := net.ParseIP(serves.Hostname())
	if listens != nil && listens.IsUnspecified() {
		return slices.ContainsFunc(at, isLocal)
	}
	there := addresses(ctx, serves.Hostname())
	return slices.ContainsFunc(at, func(a net.IP) bool { return slices.ContainsFunc(there, a.Equal) })
}

// addresses are those of a name; none where it cannot be looked up.
func addresses(ctx context.Context, host string) (ips []net.IP) {
	if ip := net.ParseIP(host); ip != nil {
		return []net.IP{ip}
	}
	found, _ := net.DefaultResolver.LookupIPAddr(ctx, host)
	for _, a := range found {
		ips = append(ips, a.IP)
	}
	return ips
}

// isLocal tells whether somebody who listens on all addresses of this host is reached at this one. The list of addresses
// would have to be asked for by netlink, which the service may not: so the kernel is asked of one at a time.
func isLocal(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	return canBind(ip) && (!canBind(nobodys(ip)) || leavesFrom(ip))
}

// nobodys is an address of ip's family for documentation: no host has it. One that binds to it binds to any
// (net.ipv4.ip_nonlocal_bind, as keepalived wants it), and then that proves nothing.
func nobodys(ip net.IP) net.IP {
	if ip.To4() != nil {
		return net.IPv4(203, 0, 113, 1)
	}
	return net.ParseIP("2001:db8::1")
}

func canBind(ip net.IP) bool {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was sent
	return true
}

// leavesFrom tells whether what goes to the address comes from it too, which only a host's own does. The second address
// of an interface is not told so. Nothing is sent.
func leavesFrom(ip net.IP) bool {
	const discard = 9
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: ip, Port: discard})
	if err != nil {
		return false
	}
	at, ok := conn.LocalAddr().(*net.UDPAddr)
	_ = conn.Close() // nothing was sent
	return ok && at.IP.Equal(ip)
}
