package room

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// The client socket speaks TLS with a certificate that is made for the run and forgotten with it. It is etcd's own, the
// CA that etcd trusts, and ours, and its common name is that of the user who may do everything: where authentication is
// on, nobody's password, certificate or token is needed to mend the data, and none that the data knows can be wrong.
// It has no alternative names, by which etcd would hold it against the address that we come from, and a socket has none.
const (
	passCert = "pass.pem"
	passKey  = "pass.key"
	rootUser = "root" // whom etcd wants to be there before it switches authentication on
)

// pass is that certificate with its key.
type pass struct {
	der  []byte
	pair tls.Certificate
	key  []byte // PEM
	cert []byte // PEM
}

func newPass() (*pass, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: rootUser}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), // whatever the clock says
	}
	p := &pass{}
	if p.der, err = x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	p.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.der})
	p.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	p.pair, err = tls.X509KeyPair(p.cert, p.key)
	return p, err
}

// write puts the files where etcd is told to look for them.
func (p *pass) write(dir string) error {
	err := os.WriteFile(filepath.Join(dir, passCert), p.cert, 0o600)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, passKey), p.key, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot make a certificate for the run apart: %w", err)
	}
	return nil
}

// client takes nobody but the holder of the same key for etcd.
func (p *pass) client() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{p.pair},
		InsecureSkipVerify: true, //nolint:gosec // there is one certificate, which is compared instead
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 1 && bytes.Equal(s.PeerCertificates[0].Raw, p.der) {
				return nil
			}
			return errors.New("this is not the etcd that was started")
		},
	}
}
