package cluster

import (
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
)

// TestMain lets more tests run at a time than there are processors: they wait for etcds, which wait for each other. The
// command line overrules it.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func parse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func newProber(t testing.TB, health string, timeout time.Duration) *Prober {
	t.Helper()
	p, err := NewProber(Options{Health: parse(t, health), Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// endpoint is a health endpoint with canned answers by path: "200", "503 REASON" or "hang".
func endpoint(t *testing.T, answers map[string]string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, reason, _ := strings.Cut(answers[r.URL.RequestURI()], " ")
		switch code {
		case "200":
			w.Write([]byte(`{"health":"true","reason":""}`))
		case "503":
			http.Error(w, `{"health":"false","reason":"`+reason+`"}`, http.StatusServiceUnavailable)
		case "hang":
			<-r.Context().Done()
		default:
			t.Errorf("asked for %s", r.URL.RequestURI())
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestProbeReadsEveryAnswer(t *testing.T) {
	const short = 4 * time.Second // of which a busy host may take a good part
	for name, tc := range map[string]struct {
		linearizable, noAlarms, serializable string
		want                                 Health
	}{
		"healthy":                    {linearizable: "200", want: Health{Answered: true, Serving: true, Quorum: true}},
		"no leader":                  {linearizable: "503 RAFT NO LEADER", serializable: "200", want: Health{Answered: true, Serving: true, Detail: "RAFT NO LEADER"}},
		"no leader yet known":        {linearizable: "hang", serializable: "200", want: Health{Answered: true, Serving: true, Detail: "no answer in time"}},
		"no space":                   {linearizable: "503 ALARM NOSPACE", noAlarms: "200", want: Health{Answered: true, Serving: true, Quorum: true, Detail: "ALARM NOSPACE"}},
		"corrupt and no leader":      {linearizable: "503 ALARM CORRUPT", noAlarms: "503 RAFT NO LEADER", serializable: "200", want: Health{Answered: true, Serving: true, Detail: "ALARM CORRUPT"}},
		"3.4 with an alarm":          {linearizable: "503", noAlarms: "200", want: Health{Answered: true, Serving: true, Quorum: true, Detail: "health endpoint answered 503"}},
		"3.4 without a leader":       {linearizable: "503", noAlarms: "503", serializable: "503", want: Health{Answered: true, Detail: "health endpoint answered 503"}},
		"local reads fail":           {linearizable: "503 RANGE ERROR:x", serializable: "503 RANGE ERROR:x", want: Health{Answered: true, Detail: "RANGE ERROR:x"}},
		"hung":                       {linearizable: "hang", serializable: "hang", want: Health{Detail: "no answer in time"}},
		"something else on the port": {linearizable: "503 <html>", serializable: "503 <html>", want: Health{Answered: true, Detail: "<html>"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := etcdtest.Patience
			if tc.linearizable == "hang" {
				timeout = short
			}
			p := newProber(t, endpoint(t, map[string]string{
				pathLinearizable: tc.linearizable, pathNoAlarms: tc.noAlarms, pathSerializable: tc.serializable,
			}), timeout)
			began := time.Now()
			got := p.Probe(t.Context())
			if got.At.Before(began) {
				t.Errorf("ended at %v, before it began", got.At)
			}
			got.At = time.Time{}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestProbeOfWhatIsNoHTTP(t *testing.T) {
	if h := newProber(t, deadURL(t), etcdtest.Patience).Probe(t.Context()); h.Answered || !strings.Contains(h.Detail, "connection refused") {
		t.Errorf("nobody listens: %+v", h)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("220 mail.example.com\r\n"))
			conn.Close()
		}
	}()
	defer ln.Close()
	if h := newProber(t, "http://"+ln.Addr().String(), etcdtest.Patience).Probe(t.Context()); h.Answered || h.Detail == "" {
		t.Errorf("no HTTP: %+v", h)
	}
}

func TestProbeOverV6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Logf("this host has no IPv6, so an etcd cannot be asked over it either: %v", err)
		return
	}
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	srv.Start()
	defer srv.Close()
	if h := newProber(t, srv.URL, etcdtest.Patience).Probe(t.Context()); !h.Quorum {
		t.Errorf("over IPv6: %+v", h)
	}
}

func TestProbeByName(t *testing.T) {
	u := parse(t, endpoint(t, map[string]string{pathLinearizable: "200"}))
	if h := newProber(t, "http://localhost:"+u.Port(), etcdtest.Patience).Probe(t.Context()); !h.Quorum {
		t.Errorf("by name: %+v", h)
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	p := newProber(t, endpoint(t, map[string]string{pathLinearizable: "hang", pathSerializable: "hang"}), 24*time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if h := p.Probe(ctx); h.Answered {
		t.Errorf("%+v", h)
	}
}

func TestProbeRefusesWhatItCannotAsk(t *testing.T) {
	for _, text := range []string{"unix:///run/x.sock", "127.0.0.1:2381", "http://"} {
		u, _ := url.Parse(text)
		if _, err := NewProber(Options{Health: u}); err == nil {
			t.Errorf("accepted %q", text)
		}
	}
}

func TestProbeOfOneMember(t *testing.T) {
	t.Parallel()
	m := etcdtest.New(t, 1)[0]
	p := newProber(t, m.MetricsURL, time.Second)
	if h := p.Probe(t.Context()); h.Answered {
		t.Fatalf("not started: %+v", h)
	}
	m.Start()
	etcdtest.Eventually(t, "ready", func() bool { return p.Probe(t.Context()).Quorum })

	m.Pause()
	if h := p.Probe(t.Context()); h.Answered {
		t.Errorf("stopped: %+v", h)
	}
	m.Signal(syscall.SIGCONT)
	etcdtest.Eventually(t, "ready again", func() bool { return p.Probe(t.Context()).Quorum })

	m.Kill()
	if h := p.Probe(t.Context()); h.Answered {
		t.Errorf("killed: %+v", h)
	}
}

func TestProbeTellsWaitingFromHung(t *testing.T) {
	t.Parallel()
	members := etcdtest.New(t, 3)
	members[0].Start()
	p := newProber(t, members[0].MetricsURL, 30*time.Second)
	etcdtest.Eventually(t, "one of three answers", func() bool {
		h := p.Probe(t.Context())
		if h.Quorum {
			t.Fatalf("one of three has a quorum: %+v", h)
		}
		return h.Answered && h.Serving
	})

	members[1].Start()
	etcdtest.Eventually(t, "two of three have a quorum", func() bool { return p.Probe(t.Context()).Quorum })

	members[1].Kill()
	etcdtest.Eventually(t, "the quorum is lost, and every probe is answered", func() bool {
		h := p.Probe(t.Context())
		if !h.Answered || !h.Serving {
			t.Fatalf("a member without quorum looks hung: %+v", h)
		}
		return !h.Quorum
	})
}

func TestProbeOfAFullDatabase(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t, 1, etcdtest.WithArgs("--quota-backend-bytes=65536"))[0]
	cl, err := clientv3.New(clientv3.Config{Endpoints: []string{m.ClientURL}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	value := strings.Repeat("x", 20<<10)
	for err = nil; !errors.Is(err, rpctypes.ErrNoSpace) && t.Context().Err() == nil; _, err = cl.Put(t.Context(), "key", value) {
	}
	h := newProber(t, m.MetricsURL, 30*time.Second).Probe(t.Context())
	if !h.Serving || !h.Quorum || h.Detail != "ALARM NOSPACE" {
		t.Errorf("after %v: %+v", err, h)
	}
}

func TestProbeOverTLS(t *testing.T) {
	pki := newPKI(t)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.TLS = pki.serverConfig(t)
	srv.StartTLS()
	defer srv.Close()

	o := Options{Health: parse(t, srv.URL), Timeout: etcdtest.Patience, CACert: pki.ca, Cert: pki.clientCert, Key: pki.clientKey}
	p, err := NewProber(o)
	if err != nil {
		t.Fatal(err)
	}
	if h := p.Probe(t.Context()); !h.Quorum {
		t.Errorf("with a certificate: %+v", h)
	}
	o.Cert, o.Key = "", ""
	if p, err = NewProber(o); err != nil {
		t.Fatal(err)
	}
	if h := p.Probe(t.Context()); h.Answered {
		t.Errorf("without one: %+v", h)
	}
}
