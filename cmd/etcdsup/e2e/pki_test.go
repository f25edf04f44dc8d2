package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pki is a certificate authority with its folder.
type pki struct {
	t    *testing.T
	dir  string
	ca   string // file
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newPKI(t *testing.T, dir string) *pki {
	t.Helper()
	p := &pki{t: t, dir: dir, ca: filepath.Join(dir, "ca.pem"), key: newKey(t), next: 1}
	p.cert = &x509.Certificate{
		SerialNumber: big.NewInt(p.next), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
	}
	p.write(p.ca, p.cert, &p.key.PublicKey)
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *pki) write(path string, cert *x509.Certificate, of *ecdsa.PublicKey) {
	p.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, p.cert, of, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	p.file(path, "CERTIFICATE", der)
}

func (p *pki) file(path, kind string, der []byte) {
	p.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// issue makes name.pem and name.key, for both ends and for all the loopback addresses that hosts have here, since a
// connection to any of them comes from the first. change makes it something else.
func (p *pki) issue(name, user string, change ...func(*x509.Certificate)) (cert, key string) {
	p.t.Helper()
	p.next++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(p.next), Subject: pkix.Name{CommonName: user}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 11), net.IPv4(127, 0, 0, 12), net.IPv4(127, 0, 0, 13)},
		NotBefore:   p.cert.NotBefore, NotAfter: p.cert.NotAfter,
	}
	for _, f := range change {
		f(c)
	}
	private := newKey(p.t)
	cert, key = filepath.Join(p.dir, name+".pem"), filepath.Join(p.dir, name+".key")
	p.write(cert, c, &private.PublicKey)
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		p.t.Fatal(err)
	}
	p.file(key, "EC PRIVATE KEY", der)
	return cert, key
}

// client is how a client with that certificate speaks TLS.
func (p *pki) client(cert, key string) *tls.Config {
	p.t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(p.root())
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
}

func (p *pki) root() *x509.Certificate {
	p.t.Helper()
	text, err := os.ReadFile(p.ca)
	if err != nil {
		p.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		p.t.Fatal(err)
	}
	return cert
}
