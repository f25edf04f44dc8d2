package config

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// listed takes values apart that may be lists, comma-separated texts, or both.
func listed(values []string) []string {
	var all []string
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			if one = strings.TrimSpace(one); one != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// parseEtcdURL holds a URL to what etcd itself accepts: scheme, host and port, nothing more.
func parseEtcdURL(text string) (*url.URL, error) {
	text = strings.TrimSpace(text)
	u, err := url.Parse(text)
	if err != nil {
		return nil, unfit{"it is not a URL", "write scheme, host and port, such as http://127.0.0.1:2379"}
	}
	switch u.Scheme {
	case "unix", "unixs":
		return u, nil
	case "http", "https":
		return u, checkHostPort(u)
	case "":
		return nil, unfit{"it has no scheme", "write http:// or https:// in front"}
	}
	if !strings.Contains(text, "://") {
		return nil, unfit{"it has no scheme", "write http:// or https:// in front"}
	}
	return nil, unfit{"its scheme is " + printable(u.Scheme), "write http, https, unix or unixs"}
}

func checkHostPort(u *url.URL) error {
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return unfit{"it has no port", "add the port, such as " + u.Scheme + "://" + u.Hostname() + ":2379"}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return unfit{"its port is no number from 1 to 65535", "write the port as a number"}
	}
	if host == "" {
		return unfit{"it has no host", "write a host, such as " + u.Scheme + "://127.0.0.1:" + port}
	}
	if u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return unfit{"it goes on after the port", "end it with the port: " + u.Scheme + "://" + u.Host}
	}
	return nil
}

func parseWebURL(text string) (*url.URL, error) {
	u, err := parseEtcdURL(text)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("its scheme is " + u.Scheme)
	}
	return u, nil
}

func unspecified(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsUnspecified()
}

// serves says whether somebody who connects to u may reach the listener. A host name could mean any address, so only
// its port counts: no name is looked up here.
func serves(listener, u *url.URL) bool {
	if listener.Host == "" || u.Host == "" {
		return listener.String() == u.String()
	}
	if listener.Scheme != u.Scheme || listener.Port() != u.Port() {
		return false
	}
	return unspecified(listener) || sameHost(listener.Hostname(), u.Hostname())
}

func sameHost(listen, host string) bool {
	a, b := net.ParseIP(listen), net.ParseIP(host)
	switch {
	case listen == host:
		return true
	case listen == "localhost":
		return b == nil || b.IsLoopback()
	case host == "localhost":
		return a != nil && a.IsLoopback()
	case b == nil:
		return true
	}
	return a != nil && a.Equal(b)
}

// collide says whether two listeners would ask for the same port of the same address.
func collide(a, b *url.URL) bool {
	if a.Host == "" || b.Host == "" || a.Port() != b.Port() {
		return false
	}
	return unspecified(a) || unspecified(b) || strings.EqualFold(a.Hostname(), b.Hostname()) ||
		net.ParseIP(a.Hostname()) != nil && net.ParseIP(b.Hostname()) != nil && sameHost(a.Hostname(), b.Hostname())
}
