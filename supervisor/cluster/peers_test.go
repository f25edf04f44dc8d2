package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// TestPeersAnswerWithoutQuorum asks three of which two go away, one by one.
func TestPeersAnswerWithoutQuorum(t *testing.T) {
	t.Parallel()
	members := etcdtest.Start(t, 3)
	want := listWith(t, newClient(t, Options{}, members[0]), status.Count{Voters: 3, Healthy: 3})
	var urls []string
	for _, m := range members {
		urls = append(urls, m.PeerURL)
	}
	members[1].Kill()
	members[2].Pause()
	var answers []status.PeerAnswer
	etcdtest.Eventually(t, "the one that lives answers within the time that it is given", func() bool {
		answers = AskPeers(t.Context(), urls, TLSFiles{})
		return answers[0].Kind == status.PeerEtcd
	})
	a := answers[0]
	if !a.Of(want.ClusterID) || len(a.Members) != 3 || a.Version != find(t, want, "m1").Version || a.ClusterVersion == "" || a.ClockAhead != 0 {
		t.Errorf("alive: %+v", a)
	}
	for i, m := range a.Members {
		w := want.Members[i]
		if m.ID != w.ID || m.Name != w.Name || m.Learner || !m.Started || m.PeerURLs[0] != w.PeerURLs[0] || m.ClientURLs[0] != w.ClientURLs[0] {
			t.Errorf("member %+v, not %+v", m, w)
		}
	}
	for i, kind := range []status.PeerKind{status.PeerEtcd, status.PeerNobody, status.PeerSilent} {
		if answers[i].Kind != kind || answers[i].URL != urls[i] || (answers[i].Detail == "") != (kind == status.PeerEtcd) {
			t.Errorf("%s: %+v", kind, answers[i])
		}
	}
	members[2].Signal(syscall.SIGCONT)
}

func TestPeersOverTLS(t *testing.T) {
	t.Parallel()
	p, foreign := newPKI(t), newPKI(t)
	m := etcdtest.Start(t, 1, etcdtest.WithPeerTLS(), etcdtest.WithArgs(
		"--peer-cert-file="+p.serverCert, "--peer-key-file="+p.serverKey, "--peer-trusted-ca-file="+p.ca, "--peer-client-cert-auth"))[0]
	plain := "http" + strings.TrimPrefix(m.PeerURL, "https")
	good := TLSFiles{CA: p.ca, Cert: p.serverCert, Key: p.serverKey}
	for name, c := range map[string]struct {
		url   string
		files TLSFiles
		kind  status.PeerKind
	}{
		"a peer's files":          {m.PeerURL, good, status.PeerEtcd},
		"no certificate":          {m.PeerURL, TLSFiles{CA: p.ca}, status.PeerBarred},
		"another CA's":            {m.PeerURL, TLSFiles{CA: p.ca, Cert: foreign.serverCert, Key: foreign.serverKey}, status.PeerBarred},
		"another CA":              {m.PeerURL, TLSFiles{CA: foreign.ca, Cert: p.serverCert, Key: p.serverKey}, status.PeerBarred},
		"another name":            {strings.Replace(m.PeerURL, "127.0.0.1", "localhost", 1), good, status.PeerBarred},
		"no TLS":                  {plain, good, status.PeerBarred},
		"a file that is amiss":    {m.PeerURL, TLSFiles{CA: p.ca + ".none"}, status.PeerUnasked},
		"whoever, by --auto":      {m.PeerURL, TLSFiles{Auto: true}, status.PeerBarred}, // it wants a certificate of ours
		"TLS where there is none": {"https" + strings.TrimPrefix(m.MetricsURL, "http"), good, status.PeerBarred},
	} {
		if a := PeerMembers(soon(t), c.url, c.files); a.Kind != c.kind {
			t.Errorf("%s: %+v, not %s", name, a, c.kind)
		}
	}
}

func TestPeersThatMakeTheirOwnCertificates(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t, 1, etcdtest.WithPeerTLS(), etcdtest.WithArgs("--peer-auto-tls"))[0]
	if a := PeerMembers(soon(t), m.PeerURL, TLSFiles{Auto: true}); a.Kind != status.PeerEtcd || len(a.Members) != 1 {
		t.Errorf("%+v", a)
	}
	if a := PeerMembers(soon(t), m.PeerURL, TLSFiles{}); a.Kind != status.PeerBarred {
		t.Errorf("verified all the same: %+v", a)
	}
}

// peerServer answers as a peer does, but for what change does to it.
func peerServer(t *testing.T, clusterID, body string, ahead time.Duration) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		switch {
		case r.URL.Path == "/version":
			fmt.Fprint(w, `{"etcdserver":"3.4.45","etcdcluster":"not_decided"}`)
		case strings.HasPrefix(body, "/"):
			http.Redirect(w, r, body, http.StatusFound)
		default:
			if clusterID != "" {
				w.Header().Set("X-Etcd-Cluster-ID", clusterID)
			}
			fmt.Fprint(w, body)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestPeersThatAreNone(t *testing.T) {
	const members = `[{"id":18446744073709551615,"peerURLs":["http://a:2380"],"name":"","isLearner":true}]`
	notFound := httptest.NewServer(http.NotFoundHandler())
	defer notFound.Close()
	for name, c := range map[string]struct {
		url  string
		kind status.PeerKind
	}{
		"a peer":         {peerServer(t, "C1", members, 0), status.PeerEtcd},
		"no cluster ID":  {peerServer(t, "", members, 0), status.PeerStranger},
		"no list":        {peerServer(t, "c1", "<html>", 0), status.PeerStranger},
		"it points away": {peerServer(t, "c1", "/elsewhere", 0), status.PeerStranger},
		"a web server":   {notFound.URL, status.PeerStranger},
		"a mail server":  {talker(t, "220 mail.example.com\r\n"), status.PeerStranger},
		"it hangs up":    {talker(t, ""), status.PeerBarred},
		"nobody":         {deadURL(t), status.PeerNobody},
		"no port free":   {full(t), status.PeerUnreachable},
		"a unix socket":  {"unix://localhost:1", status.PeerUnasked},
		"nonsense":       {"http://a b", status.PeerUnasked},
		"no scheme":      {"127.0.0.1:2380", status.PeerUnasked},
		"no such port":   {"http://127.0.0.1:99999", status.PeerUnasked},
	} {
		ctx := soon(t)
		if c.kind == status.PeerUnreachable {
			ctx = within(t, 3*time.Second)
		}
		a := PeerMembers(ctx, c.url, TLSFiles{})
		if a.Kind != c.kind || (a.Err() == nil) != (c.kind == status.PeerEtcd) || a.URL != c.url {
			t.Errorf("%s: %+v, not %s", name, a, c.kind)
		}
		if c.kind != status.PeerEtcd {
			continue
		}
		m := a.Members[0]
		if !a.Of("c1") || a.Version != "3.4.45" || a.ClusterVersion != "" || m.ID != "ffffffffffffffff" || !m.Learner || m.Started {
			t.Errorf("%+v", a)
		}
	}
}

// talker says one thing to everybody who has said something, and hangs up; without anything to say at once.
func talker(t *testing.T, says string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if says != "" {
				conn.Read(make([]byte, 1<<10))
				conn.Write([]byte(says))
			}
			conn.Close()
		}
	}()
	return "http://" + ln.Addr().String()
}

// full is a port whose queue is full, so that attempts to connect get no reply: as with a host that is off.
func full(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for range 10 {
		conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
		if err != nil {
			return "http://" + addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("cannot fill the queue of a port")
	return ""
}

func TestUnconnected(t *testing.T) {
	for _, c := range []struct {
		err     error
		timeout bool
		kind    status.PeerKind
	}{
		{syscall.ECONNREFUSED, false, status.PeerNobody},
		{syscall.EHOSTUNREACH, false, status.PeerUnreachable},
		{syscall.ENETUNREACH, false, status.PeerUnreachable},
		{syscall.ETIMEDOUT, false, status.PeerUnreachable},
		{context.DeadlineExceeded, true, status.PeerUnreachable},
		{&net.DNSError{IsNotFound: true}, false, status.PeerUnreachable},
		{&net.DNSError{IsTimeout: true}, true, status.PeerUnasked},
		{&net.DNSError{IsTemporary: true}, false, status.PeerUnasked},
		{syscall.EMFILE, false, status.PeerUnasked},
		{syscall.EPERM, false, status.PeerUnasked},
		{context.Canceled, false, status.PeerUnasked},
		{errors.New("else"), false, status.PeerUnasked},
	} {
		if kind, detail := unconnected(fmt.Errorf("dial: %w", c.err), "why", c.timeout); kind != c.kind || detail == "" {
			t.Errorf("%v: %s, %q; not %s", c.err, kind, detail, c.kind)
		}
	}
}

func TestPeersClock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, -5 * time.Second, 0, 5 * time.Second, 24 * time.Hour} {
		began := time.Now()
		a := PeerMembers(soon(t), peerServer(t, "c1", "[]", ahead), TLSFiles{})
		took := time.Since(began) // in which no difference can be told from the time on the way
		if a.Kind != status.PeerEtcd || (a.ClockAhead-ahead).Abs() > 2*time.Second+took {
			t.Errorf("%v ahead: %+v", ahead, a)
		}
	}
}

// TestPeersClockIsCut: etcd's date has whole seconds, which alone make no difference.
func TestPeersClockIsCut(t *testing.T) {
	second := time.Date(2026, 1, 1, 0, 0, 7, 0, time.UTC)
	header := http.Header{"Date": {second.Format(http.TimeFormat)}}
	for _, at := range []time.Duration{0, 100 * time.Millisecond, 999 * time.Millisecond} {
		if got := clockAhead(header, second.Add(at), second.Add(at)); got != 0 {
			t.Errorf("%v into the second: %v", at, got)
		}
	}
	if got := clockAhead(header, second.Add(-2*time.Second), second.Add(-2*time.Second)); got < 2*time.Second || got > 3*time.Second {
		t.Errorf("two seconds early: %v", got)
	}
	if got := clockAhead(http.Header{}, second, second); got != 0 {
		t.Errorf("without a date: %v", got)
	}
}
