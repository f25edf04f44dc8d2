package cluster

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// authority issues certificates into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

const day = 24 * time.Hour

func newAuthority(t *testing.T, dir, name string, left time.Duration) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir, key: newKey(t), file: filepath.Join(dir, name+".pem")}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-100 * day), NotAfter: time.Now().Add(left),
	}
	der := sign(t, a.cert, a.cert, a.key, a.key)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// under makes an authority that another vouches for.
func (a *authority) under(name string) *authority {
	b := &authority{t: a.t, dir: a.dir, key: newKey(a.t), file: filepath.Join(a.dir, name+".pem")}
	template := *a.cert
	template.Subject.CommonName, template.SerialNumber = name, big.NewInt(2)
	der := sign(a.t, &template, a.cert, b.key, a.key)
	writePEM(a.t, b.file, "CERTIFICATE", der)
	var err error
	if b.cert, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return b
}

// issue makes a peer's certificate that is good for a year, but for what change does to it.
func (a *authority) issue(name string, change ...func(*x509.Certificate)) TLSFiles {
	f := TLSFiles{CA: a.file, Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key")}
	key := newKey(a.t)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "peer.example"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1), net.ParseIP("fd00::1")}, DNSNames: []string{"n1.example", "*.etcd.example"},
		NotBefore: time.Now().Add(-50 * day), NotAfter: time.Now().Add(365 * day),
	}
	for _, c := range change {
		c(cert)
	}
	writePEM(a.t, f.Cert, "CERTIFICATE", sign(a.t, cert, a.cert, key, a.key))
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writePEM(a.t, f.Key, "EC PRIVATE KEY", der)
	return f
}

// join writes files one after the other into one.
func join(t *testing.T, to string, files ...string) string {
	t.Helper()
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	if err := os.WriteFile(to, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func usages(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = u }
}

func valid(from, to time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

func unnamed(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, nil }

func TestCheckTLS(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	ca, other, old, middle := newAuthority(t, dir, "ca", 300*day), newAuthority(t, dir, "other", 300*day), newAuthority(t, dir, "old", -day), (*authority)(nil)
	middle = ca.under("middle")
	good, viaMiddle := ca.issue("good"), middle.issue("via")
	with := func(f TLSFiles, change func(*TLSFiles)) TLSFiles { change(&f); return f }
	bundled := with(viaMiddle, func(f *TLSFiles) { f.CA = ca.file; f.Cert = join(t, in("bundle.pem"), viaMiddle.Cert, middle.file) })
	noPEM, broken := in("none.pem"), in("broken.pem")
	if err := os.WriteFile(noPEM, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), 0o600); err != nil {
		t.Fatal(err)
	}
	urls := []string{"https://10.0.0.1:2380", "n1.example", "https://x.etcd.example:2380", "https://[fd00::1]:2380", "fd00::1"}

	for name, c := range map[string]struct {
		files  TLSFiles
		hosts  []string
		server bool // not a peer
		use    TLSUse
		want   []string // parts of each problem, in order; "warning: " before those that work today
	}{
		"good":                          {files: good, hosts: urls},
		"etcd makes its own":            {files: TLSFiles{Auto: true}, hosts: urls},
		"any usage":                     {files: ca.issue("any", usages(x509.ExtKeyUsageAny))},
		"no usage stated":               {files: ca.issue("unstated", usages())},
		"a server's alone, as a server": {files: ca.issue("server1", usages(x509.ExtKeyUsageServerAuth)), server: true},
		"a server without a CA":         {files: with(good, func(f *TLSFiles) { f.CA = "" }), server: true},
		"several CAs, one expired":      {files: with(good, func(f *TLSFiles) { f.CA = join(t, in("cas.pem"), old.file, other.file, ca.file) })},
		"through another CA":            {files: bundled},

		"nothing set":             {files: TLSFiles{}, want: []string{"not both set"}},
		"no key":                  {files: with(good, func(f *TLSFiles) { f.Key = "" }), want: []string{"not both set"}},
		"no certificate":          {files: with(good, func(f *TLSFiles) { f.Cert = "" }), want: []string{"not both set"}},
		"files that are missing":  {files: TLSFiles{CA: in("1"), Cert: in("2"), Key: in("3")}, want: []string{"/1: no such file", "/2: no such file", "cannot read the key"}},
		"a folder":                {files: with(good, func(f *TLSFiles) { f.Cert = dir }), want: []string{"is a directory"}},
		"no PEM":                  {files: with(good, func(f *TLSFiles) { f.Cert = noPEM }), want: []string{"no PEM certificate in " + noPEM}},
		"no PEM in the CA":        {files: with(good, func(f *TLSFiles) { f.CA = noPEM }), want: []string{"no PEM certificate in " + noPEM}},
		"broken":                  {files: with(good, func(f *TLSFiles) { f.Cert = broken }), want: []string{"cannot read the certificate " + broken}},
		"a key for a certificate": {files: with(good, func(f *TLSFiles) { f.Cert = f.Key }), want: []string{"no PEM certificate"}},
		"another's key":           {files: with(good, func(f *TLSFiles) { f.Key = viaMiddle.Key }), want: []string{"does not fit"}},
		"no key in the file":      {files: with(good, func(f *TLSFiles) { f.Key = noPEM }), want: []string{"does not fit"}},

		"another host":                  {files: good, hosts: []string{"https://10.0.0.1:2380", "https://10.0.0.2:2380", "n2.example"}, want: []string{"not for 10.0.0.2, only for n1.example, *.etcd.example, 10.0.0.1, fd00::1", "not for n2.example"}},
		"a common name is no name":      {files: ca.issue("cn", unnamed), hosts: []string{"peer.example"}, want: []string{"its common name does not count"}},
		"a server's alone, as a peer":   {files: ca.issue("server2", usages(x509.ExtKeyUsageServerAuth)), want: []string{"no clientAuth"}},
		"a client's alone, as a peer":   {files: ca.issue("client1", usages(x509.ExtKeyUsageClientAuth)), want: []string{"no serverAuth"}},
		"a client's alone, as a server": {files: ca.issue("client2", usages(x509.ExtKeyUsageClientAuth)), server: true, want: []string{"no serverAuth"}},
		"a client's alone, as a client": {files: ca.issue("client3", usages(x509.ExtKeyUsageClientAuth)), use: UseClient},
		"a server's alone, as a client": {files: ca.issue("server3", usages(x509.ExtKeyUsageServerAuth)), use: UseClient, want: []string{"no clientAuth"}},
		"for neither":                   {files: ca.issue("mail", usages(x509.ExtKeyUsageEmailProtection)), want: []string{"no serverAuth", "no clientAuth"}},

		"expired":             {files: ca.issue("expired", valid(-50*day, -day)), want: []string{"has expired"}},
		"expires soon":        {files: ca.issue("soon", valid(-50*day, 13*day+time.Hour)), want: []string{"warning: the certificate " + in("soon.pem") + " expires in 13 days"}},
		"expires in time":     {files: ca.issue("later", valid(-50*day, 15*day))},
		"of the future":       {files: ca.issue("future", valid(day, 300*day)), want: []string{"not valid before"}},
		"the CA has expired":  {files: old.issue("ofold"), want: []string{"certificate " + old.file + " has expired"}},
		"the CA expires soon": {files: newAuthority(t, dir, "ending", 3*day+time.Hour).issue("ofending"), want: []string{"warning: the certificate " + in("ending.pem") + " expires in 3 days"}},

		"another CA":              {files: with(good, func(f *TLSFiles) { f.CA = other.file }), want: []string{"does not come from " + other.file}},
		"a peer of no CA":         {files: with(good, func(f *TLSFiles) { f.CA = "" }), want: []string{"does not come from the system's roots"}},
		"the CA between is amiss": {files: with(viaMiddle, func(f *TLSFiles) { f.CA = ca.file }), want: []string{"does not come from " + ca.file}},
		"all at once": {files: with(ca.issue("all", unnamed, usages(), valid(-50*day, -day)), func(f *TLSFiles) { f.CA = other.file }), hosts: []string{"n1"},
			want: []string{"has expired", "not for n1", "does not come from"}},
	} {
		use := c.use
		if c.server {
			use = UseServer
		}
		problems := CheckTLS(c.files, c.hosts, use)
		var got []string
		for _, p := range problems {
			text := p.What
			if p.Warning {
				text = "warning: " + text
			}
			if fatal := slices.ContainsFunc([]string{"cannot read", "not both", "no PEM", "does not fit"}, func(w string) bool { return strings.Contains(text, w) }); p.Fatal != fatal {
				t.Errorf("%s: %q is fatal: %v", name, text, p.Fatal)
			}
			if p.Remedy == "" {
				t.Errorf("%s: no remedy for %q", name, p.What)
			}
			got = append(got, text)
		}
		if !slices.EqualFunc(got, c.want, strings.Contains) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
