package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// TLSFiles are the files of one side of TLS, all PEM.
type TLSFiles struct {
	CA   string // whom to trust; empty: the system's roots
	Cert string // empty: none
	Key  string // of Cert
	// Auto says that certificates are made by etcd itself (--peer-auto-tls): nobody's is verified, and there are no files.
	Auto bool
}

// config reads the files anew, since certificates are renewed in place.
func (f TLSFiles) config() (*tls.Config, error) {
	if f.Auto {
		return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}, nil //nolint:gosec // as etcd does under that flag
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read the CA certificate: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot read the CA certificate: no PEM certificate in %s", f.CA)
		}
	}
	if f.Cert == "" {
		return cfg, nil
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("cannot read the client certificate: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// TLSFile tells the files apart.
type TLSFile uint8

// The files.
const (
	FileCert TLSFile = iota
	FileKey
	FileCA
)

// TLSUse is what a certificate is for.
type TLSUse uint8

// The uses. A peer serves and dials with the one certificate.
const (
	UsePeer TLSUse = iota
	UseServer
	UseClient
)

// TLSProblem is one thing that is wrong with the files.
type TLSProblem struct {
	File    TLSFile // that is to be changed
	What    string
	Remedy  string
	Fatal   bool // etcd does not start with it, or ends when it has joined its peers
	Warning bool // works today
}

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

// CheckTLS finds what would keep the owner of the certificate from being talked to under the hosts, which are names,
// addresses or URLs, and nil is none. f.CA is who has to have issued it; where none is set, a peer's has to come from the
// system's roots, and of others that is not looked at. Nor are revocation lists, and etcd's limits on common names.
func CheckTLS(f TLSFiles, hosts []string, use TLSUse) []TLSProblem {
	if f.Auto {
		return nil
	}
	c := &tlsCheck{files: f, now: time.Now()}
	roots := c.roots()
	chain := c.pair()
	if len(chain) == 0 {
		return c.found
	}
	leaf := chain[0]
	c.validity(FileCert, leaf, f.Cert)
	c.names(leaf, hosts)
	c.usage(leaf, use)
	if roots != nil || f.CA == "" && use == UsePeer {
		c.issuer(chain, roots)
	}
	return c.found
}

// CheckCA finds what keeps a file from being a list of CA certificates that others are trusted by.
func CheckCA(file string) []TLSProblem {
	c := &tlsCheck{files: TLSFiles{CA: file}, now: time.Now()}
	c.roots()
	return c.found
}

type tlsCheck struct {
	files TLSFiles
	now   time.Time
	found []TLSProblem
}

func (c *tlsCheck) fault(file TLSFile, remedy, format string, args ...any) *TLSProblem {
	c.found = append(c.found, TLSProblem{File: file, What: fmt.Sprintf(format, args...), Remedy: remedy})
	return &c.found[len(c.found)-1]
}

// fatal is a fault that etcd itself stumbles over.
func (c *tlsCheck) fatal(file TLSFile, remedy, format string, args ...any) {
	c.fault(file, remedy, format, args...).Fatal = true
}

// roots is nil where none are set or they cannot be had.
func (c *tlsCheck) roots() *x509.CertPool {
	if c.files.CA == "" {
		return nil
	}
	certs, ok := c.certificates(FileCA, c.files.CA)
	if !ok {
		return nil
	}
	pool := x509.NewCertPool()
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool
}

// pair is the certificate with those that came along with it, once its key is known to fit.
func (c *tlsCheck) pair() []*x509.Certificate {
	f := c.files
	if f.Cert == "" || f.Key == "" {
		c.fatal(FileCert, "set both the certificate and its key", "certificate and key are not both set (certificate %q, key %q)", f.Cert, f.Key)
		return nil
	}
	chain, ok := c.certificates(FileCert, f.Cert)
	_, err := os.ReadFile(f.Key)
	if err != nil {
		c.fatal(FileKey, "make it readable for the user that runs etcd", "cannot read the key: %v", err)
	}
	if !ok || err != nil {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		c.fatal(FileKey, "put the key beside the certificate that was made from it", "the key %s does not fit the certificate %s: %v", f.Key, f.Cert, err)
		return nil
	}
	return chain
}

// certificates are those in a file.
func (c *tlsCheck) certificates(which TLSFile, file string) ([]*x509.Certificate, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		c.fatal(which, "make it readable for the user that runs etcd", "cannot read the certificate: %v", err)
		return nil, false
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			c.fatal(which, "have it issued again", "cannot read the certificate %s: %v", file, err)
			return nil, false
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		c.fatal(which, "give a file with -----BEGIN CERTIFICATE-----", "there is no PEM certificate in %s", file)
		return nil, false
	}
	return certs, true
}

func (c *tlsCheck) validity(which TLSFile, cert *x509.Certificate, file string) {
	const renew = "have it issued again"
	switch left := cert.NotAfter.Sub(c.now); {
	case c.now.Before(cert.NotBefore):
		c.fault(which, "check this host's clock, or wait", "the certificate %s is not valid before %s", file, cert.NotBefore.Format(time.RFC3339))
	case left <= 0:
		c.fault(which, renew, "the certificate %s has expired on %s", file, cert.NotAfter.Format(time.RFC3339))
	case left < expiresSoon:
		c.fault(which, renew, "the certificate %s expires in %d days, on %s", file, int(left/(24*time.Hour)), cert.NotAfter.Format(time.RFC3339)).Warning = true
	}
}

func (c *tlsCheck) names(leaf *x509.Certificate, hosts []string) {
	for _, host := range hosts {
		host = hostOf(host)
		err := leaf.VerifyHostname(host)
		if err == nil {
			continue
		}
		c.fault(FileCert, "have it issued again with "+host+" among its alternative names, or advertise a URL that is there",
			"the certificate %s is not for %s, only for %s", c.files.Cert, host, namesOf(leaf))
	}
}

func hostOf(host string) string {
	if u, err := url.Parse(host); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	return strings.Trim(host, "[]")
}

func namesOf(cert *x509.Certificate) string {
	names := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "nothing: it has no alternative names, and its common name does not count"
	}
	return strings.Join(names, ", ")
}

func (c *tlsCheck) usage(leaf *x509.Certificate, use TLSUse) {
	remedy, dials := "have it issued again with extendedKeyUsage serverAuth and clientAuth", ", and peers dial with it"
	if use == UseClient {
		remedy, dials = "have it issued again with extendedKeyUsage clientAuth", ""
	}
	if use != UseClient && !allows(leaf, x509.ExtKeyUsageServerAuth) {
		c.fault(FileCert, remedy, "the certificate %s may not be used as a server (no serverAuth)", c.files.Cert)
	}
	if use != UseServer && !allows(leaf, x509.ExtKeyUsageClientAuth) {
		c.fault(FileCert, remedy, "the certificate %s may not be used as a client (no clientAuth)%s", c.files.Cert, dials)
	}
}

// allows goes by what is written in the certificate; nothing written allows everything.
func allows(cert *x509.Certificate, usage x509.ExtKeyUsage) bool {
	if len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, u := range cert.ExtKeyUsage {
		if u == usage || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// issuer looks for a way from the certificate to a CA, and how long that way is open. Other CAs in the file do not
// matter: there may be old ones.
func (c *tlsCheck) issuer(chain []*x509.Certificate, roots *x509.CertPool) {
	opts := x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: c.now,
	}
	leaf := chain[0]
	if c.now.Before(leaf.NotBefore) || c.now.After(leaf.NotAfter) { // which has been said
		opts.CurrentTime = leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	}
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	ways, err := leaf.Verify(opts)
	if err == nil {
		lasting := slices.MaxFunc(ways, func(a, b []*x509.Certificate) int { return ends(a).Compare(ends(b)) })
		for _, cert := range lasting[1:] {
			c.validity(FileCA, cert, c.trusted())
		}
		return
	}
	if invalid := (x509.CertificateInvalidError{}); errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		c.validity(FileCA, invalid.Cert, c.trusted())
		return
	}
	c.fault(FileCA, "set the CA that issued it as the trusted CA, and put intermediate certificates behind it in its file",
		"the certificate %s does not come from %s: %v", c.files.Cert, c.trusted(), err)
}

// ends is when the first certificate on a way expires.
func ends(way []*x509.Certificate) time.Time {
	return slices.MinFunc(way, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}

func (c *tlsCheck) trusted() string {
	if c.files.CA == "" {
		return "the system's roots"
	}
	return c.files.CA
}
