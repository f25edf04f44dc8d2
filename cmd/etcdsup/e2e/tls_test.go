package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdsup/etcdsup/supervisor/porttest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// secured are hosts whose etcds speak TLS to clients and peers, want a certificate of each, and know users.
type secured struct {
	t        *testing.T
	pki      *pki
	password string // of root; empty: whoever has a certificate in that name is root
	folder   string
	tls      *tls.Config
	stranger *tls.Config // with a certificate in a name that no user has
}

func newSecured(t *testing.T, password string) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{t: t, pki: newPKI(t, dir), password: password, folder: dir}
	user := "root"
	if password != "" {
		user = "nobody-in-particular"
		if err := os.WriteFile(filepath.Join(dir, "password"), []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.pki.issue("peer", "peer")
	s.pki.issue("server", "server")
	s.tls, s.stranger = s.pki.client(s.pki.issue("client", user)), s.pki.client(s.pki.issue("stranger", "stranger"))
	return s
}

// host is one of them.
func (s *secured) host(name, addr string) *instance {
	s.t.Helper()
	in := newInstance(s.t)
	in.client = "https://" + porttest.Addr(s.t, addr)
	login := ""
	if s.password != "" {
		login = fmt.Sprintf("  user: root\n  password_file: %s/password\n", s.folder)
	}
	in.configure(strings.ReplaceAll(fmt.Sprintf(`etcd:
  args:
    name: %s
    listen-client-urls: %s
    listen-peer-urls: https://%s
    client-cert-auth: true
    trusted-ca-file: PKI/ca.pem
    cert-file: PKI/server.pem
    key-file: PKI/server.key
    peer-client-cert-auth: true
    peer-trusted-ca-file: PKI/ca.pem
    peer-cert-file: PKI/peer.pem
    peer-key-file: PKI/peer.key
cluster:
  cacert: PKI/ca.pem
  cert: PKI/client.pem
  key: PKI/client.key
%s`, name, in.client, porttest.Addr(s.t, addr), login), "PKI", s.folder))
	return in
}

// dial is a client of these hosts, logged in when there are users.
func (s *secured) dial(users bool, ins ...*instance) *clientv3.Client {
	s.t.Helper()
	cfg := clientv3.Config{DialTimeout: patience, Logger: zap.NewNop(), TLS: s.tls}
	for _, in := range ins {
		cfg.Endpoints = append(cfg.Endpoints, in.client)
	}
	if users && s.password != "" {
		cfg.Username, cfg.Password = "root", s.password
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// lockUp switches authentication on.
func (s *secured) lockUp(in *instance) {
	s.t.Helper()
	c := s.dial(false, in)
	ctx := s.t.Context()
	add := func() error {
		_, err := c.UserAddWithOptions(ctx, "root", s.password, &clientv3.UserAddOptions{NoPassword: s.password == ""})
		return err
	}
	grant := func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err }
	enable := func() error { _, err := c.AuthEnable(ctx); return err }
	for _, do := range []func() error{add, grant, enable} {
		if err := do(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// expectLocked wants authentication to be on, and the keys to be there for root.
func (s *secured) expectLocked(in *instance, keys int, revision int64) {
	s.t.Helper()
	expectKeys(s.t, s.dial(true, in), keys, revision)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{in.client}, DialTimeout: patience, Logger: zap.NewNop(), TLS: s.stranger})
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if r, err := c.Get(s.t.Context(), "key/00001"); err == nil {
		s.t.Errorf("a stranger reads %v", r.Kvs)
	}
}

// lose ends a host for good: its disk is gone.
func lose(t *testing.T, in *instance, d *daemon) {
	t.Helper()
	d.kill()
	for _, p := range processesOf(in.root) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	await(t, "its end", patience, func() bool { return len(processesOf(in.root)) == 0 })
	if err := os.Rename(in.dir, in.dir+".lost"); err != nil {
		t.Fatal(err)
	}
}

// TestSecured takes clusters that speak TLS everywhere and know users through every flow: root with a password from a
// file, and root by the name in the client certificate.
func TestSecured(t *testing.T) {
	t.Parallel()
	for name, password := range map[string]string{"password": "secret", "certificate": ""} {
		t.Run(name, func(t *testing.T) { t.Parallel(); securedFlows(t, newSecured(t, password)) })
	}
}

func securedFlows(t *testing.T, s *secured) {
	c, b := s.host("c", "127.0.0.13"), s.host("b", "127.0.0.12")
	dc, db := c.run(), b.run()
	c.awaitReady()
	revision := fillKeys(t, s.dial(false, c), 300)
	s.lockUp(c)
	b.awaitReady()
	t.Log(b.expect(0, "mode", "join", "--endpoint", c.client, "--yes").out)
	s.expectLocked(b, 300, revision)
	securedMembers(t, b, c)
	if r := c.expect(1, "mode", "force-new-cluster", "--yes"); !strings.Contains(r.err, "answers") {
		t.Errorf("while the other lives: %s", r.err)
	}

	lose(t, b, db)
	t.Log(c.expect(0, "mode", "force-new-cluster", "--yes").out)
	s.expectLocked(c, 300, revision)
	c.expect(0, "mode", "force-new-cluster", "--new-identity", "--bump-revision", "5000", "--yes")
	s.expectLocked(c, 300, revision+5000)
	db = b.run()
	b.awaitReady()
	b.expect(0, "mode", "join", "--endpoint", c.client, "--yes")
	s.expectLocked(b, 300, revision+5000)
	b.awaitStatus("normal", patience, func(st *status.Status) bool { return st.Ready && st.Job == nil })
	if r := c.expect(0, "member", "remove", "b", "--yes"); strings.Contains(r.out, "https://127.0.0.12") {
		t.Errorf("member remove:\n%s", r.out)
	}
	for _, d := range []*daemon{db, dc} {
		d.signal(syscall.SIGINT)
		d.wait(t)
	}
}

// securedMembers asks for the list and for changes of it, through the daemon and past it.
func securedMembers(t *testing.T, b, c *instance) {
	t.Helper()
	l, err := b.control().Members(t.Context())
	if err != nil || len(l.Members) != 2 || l.Count().Healthy != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	for _, m := range l.Members {
		b.expect(0, "member", "update-url", m.Name, m.PeerURLs[0], "--yes")
	}
	if r := b.expect(0, "member", "list", "--endpoint", c.client); strings.Count(r.out, "healthy") < 2 {
		t.Errorf("member list:\n%s", r.out)
	}
}

// TestFaultyCertificates: all that is wrong with certificates is said at once, before anything begins. Only what etcd
// itself would stumble over keeps it from being started, and no longer than it is so.
func TestFaultyCertificates(t *testing.T) {
	t.Parallel()
	s := newSecured(t, "")
	in := s.host("c", "127.0.0.13")
	d := in.run()
	in.awaitReady()
	in.expect(0, "config", "check")
	fillKeys(t, s.dial(false, in), 10)

	good := filepath.Join(t.TempDir(), "good")
	copyAll(t, s.folder, good)
	s.pki.issue("peer", "peer", func(c *x509.Certificate) {
		c.ExtKeyUsage, c.NotAfter = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, time.Now().Add(-time.Minute)
		c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
	})
	other := newPKI(t, t.TempDir())
	other.dir = s.folder
	other.issue("client", "root")
	wrong := []string{"has expired", "is not for 127.0.0.13, only for 192.0.2.1", "no clientAuth", "client.pem does not come from"}
	for _, args := range [][]string{{"config", "check"}, {"mode", "force-new-cluster", "--plan"}, {"mode", "join", "--plan", "--endpoint", in.client}, {"mode", "force-new-cluster", "--yes"}} {
		code := 1
		if args[0] == "config" {
			code = 6
		}
		r := in.expect(code, args...)
		for _, w := range wrong {
			if !strings.Contains(r.err, w) {
				t.Errorf("etcdsup %s does not say %q:\n%s", strings.Join(args, " "), w, r.err)
			}
		}
	}
	if m, err := in.control().Modes(t.Context()); err != nil || m.Last != nil || m.Now != nil {
		t.Errorf("something began: %+v, %v", m, err)
	}

	copyAll(t, good, s.folder)
	move(t, s.folder+"/server.key", s.folder+"/server.key.away")
	copyAll(t, s.folder+"/peer.key", s.folder+"/server.key")
	if r := in.expect(1, "restart"); !strings.Contains(r.err, "does not fit") || !in.awaitReady().Ready {
		t.Errorf("restart: %s", r.err)
	}
	in.expect(0, "stop")
	in.cli("start")
	st := in.awaitHeld("server.key does not fit the certificate")
	if !strings.Contains(st.Next, "put the key beside") {
		t.Errorf("next: %s", st.Next)
	}
	move(t, s.folder+"/server.key.away", s.folder+"/server.key")
	in.expect(0, "start")
	in.awaitReady()
	in.leave(d)
}
