package room

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// meet has a client speak TLS to a server that takes certificates as etcd does, by the files that etcd is given.
func meet(t *testing.T, dir string, client *tls.Config) (name string, err error) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, passCert), filepath.Join(dir, passKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(dir, passCert))
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, clientSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said := make(chan error, 1)
	go func() { said <- tls.Client(near, client).HandshakeContext(ctx) }() // ends with the handshake, or with ctx
	server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	if err := errors.Join(server.HandshakeContext(ctx), <-said); err != nil {
		return "", err
	}
	return server.ConnectionState().VerifiedChains[0][0].Subject.CommonName, nil
}

func TestPass(t *testing.T) {
	h, err := openHall(filepath.Join(t.TempDir(), "room"))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	if name, err := meet(t, h.path, h.pass.client()); err != nil || name != rootUser {
		t.Errorf("with the pass one is %q, %v", name, err)
	}
	other, err := newPass()
	if err != nil {
		t.Fatal(err)
	}
	if name, err := meet(t, h.path, other.client()); err == nil {
		t.Errorf("another pass opens, for %q", name)
	}
	if name, err := meet(t, h.path, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Errorf("none opens, for %q", name)
	}
	if info, err := os.Stat(filepath.Join(h.path, passKey)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
}
