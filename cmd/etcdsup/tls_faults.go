package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/cluster"
)

// tlsSide is one use that the configuration has for a certificate.
type tlsSide struct {
	files cluster.TLSFiles
	use   cluster.TLSUse
	hosts []string                   // under which it is talked to
	keys  map[cluster.TLSFile]string // of the configuration
}

// etcdKey is the key of one of etcd's flags.
func etcdKey(flag string) string { return "etcd.args." + flag }

// tlsFaults are what keeps peers and clients, we among them, from talking TLS with the etcd that is configured. The
// files are read anew, since certificates are renewed in place.
func tlsFaults(c *config.Config) []fault {
	if !c.Etcd.Verify {
		return nil
	}
	found := slices.Concat(unusedTLS(c, "listen-client-urls", "cert-file"), unusedTLS(c, "listen-peer-urls", "peer-cert-file"), caFaults(c), noClientCert(c))
	for _, s := range tlsSides(c) {
		for _, p := range cluster.CheckTLS(s.files, s.hosts, s.use) {
			found = append(found, fault{key: s.keys[p.File], TLSProblem: p})
		}
	}
	return unique(found)
}

// unique leaves out what was said of a file already: one file may have several uses.
func unique(all []fault) (kept []fault) {
	for _, f := range all {
		if !slices.ContainsFunc(kept, func(k fault) bool { return k.What == f.What }) {
			kept = append(kept, f)
		}
	}
	return kept
}

func tlsSides(c *config.Config) []tlsSide {
	var sides []tlsSide
	add := func(use cluster.TLSUse, hosts []string, ca, cert, key string, auto bool) {
		value := func(name string) string {
			if flag, ok := strings.CutPrefix(name, etcdKey("")); ok {
				return c.Arg(flag)
			}
			return map[string]string{"cluster.cacert": c.Cluster.CACert, "cluster.cert": c.Cluster.Cert, "cluster.key": c.Cluster.Key}[name]
		}
		sides = append(sides, tlsSide{
			files: cluster.TLSFiles{CA: value(ca), Cert: value(cert), Key: value(key), Auto: auto && value(cert) == ""}, use: use, hosts: hosts,
			keys: map[cluster.TLSFile]string{cluster.FileCA: ca, cluster.FileCert: cert, cluster.FileKey: key},
		})
	}
	if speaksTLS(c, "listen-peer-urls", "initial-advertise-peer-urls") {
		use, auto := cluster.UsePeer, c.Arg("peer-auto-tls") == "true"
		if c.Arg("peer-client-cert-file") != "" {
			use = cluster.UseServer
			add(cluster.UseClient, nil, etcdKey("peer-trusted-ca-file"), etcdKey("peer-client-cert-file"), etcdKey("peer-client-key-file"), auto)
		}
		add(use, c.ArgValues("initial-advertise-peer-urls"), etcdKey("peer-trusted-ca-file"), etcdKey("peer-cert-file"), etcdKey("peer-key-file"), auto)
	}
	if speaksTLS(c, "listen-client-urls", "advertise-client-urls") {
		add(cluster.UseServer, clientURLs(c), "cluster.cacert", etcdKey("cert-file"), etcdKey("key-file"), c.Arg("auto-tls") == "true")
	}
	if c.Cluster.Cert != "" {
		ca := ""
		if wantsClientCert(c) {
			ca = etcdKey("trusted-ca-file")
		}
		add(cluster.UseClient, nil, ca, "cluster.cert", "cluster.key", false)
	}
	return sides
}

// speaksTLS tells whether one of the flags has an https URL.
func speaksTLS(c *config.Config, flags ...string) bool {
	return slices.ContainsFunc(flags, func(flag string) bool {
		return slices.ContainsFunc(c.ArgValues(flag), func(u string) bool { return strings.HasPrefix(u, "https:") || strings.HasPrefix(u, "unixs:") })
	})
}

// wantsClientCert tells whether etcd takes no client without a certificate. A CA for clients alone has it ask for one.
func wantsClientCert(c *config.Config) bool {
	return (c.Arg("trusted-ca-file") != "" || c.Arg("client-cert-auth") == "true") && speaksTLS(c, "listen-client-urls")
}

// caFaults are those of the CAs that etcd trusts clients by. Whom its own certificate comes from is another matter.
func caFaults(c *config.Config) (found []fault) {
	if file := c.Arg("trusted-ca-file"); file != "" && speaksTLS(c, "listen-client-urls") {
		for _, p := range cluster.CheckCA(file) {
			found = append(found, fault{key: etcdKey("trusted-ca-file"), TLSProblem: p})
		}
	}
	return found
}

// noClientCert is that etcd wants a certificate of every client, and we have none.
func noClientCert(c *config.Config) []fault {
	if !wantsClientCert(c) || c.Cluster.Cert != "" {
		return nil
	}
	return []fault{{key: "cluster.cert", TLSProblem: cluster.TLSProblem{
		What:   "cannot ask etcd anything: it wants a certificate of every client, and cluster.cert is not set",
		Remedy: "set cluster.cert, cluster.key and cluster.cacert to the files that etcdctl is given",
	}}}
}

// unusedTLS is a certificate for listeners that are all without TLS: etcd passes it over, and says so in its log only.
func unusedTLS(c *config.Config, listen, cert string) []fault {
	if c.Arg(cert) == "" || speaksTLS(c, listen) {
		return nil
	}
	return []fault{{key: etcdKey(listen), TLSProblem: cluster.TLSProblem{
		What:   fmt.Sprintf("cannot use the certificate of %s: %s is without TLS, and etcd would pass it over", cert, strings.Join(c.ArgValues(listen), ",")),
		Remedy: "write https://, or remove the certificate",
	}}}
}
