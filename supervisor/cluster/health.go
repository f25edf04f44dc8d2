package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Health is what one probe found.
type Health struct {
	Answered bool // something spoke HTTP: the process is not hung, whatever it said
	Serving  bool // local reads work; alarms do not count, they stand in Detail
	Quorum   bool // linearizable reads work, so a leader is known
	// Detail is etcd's own reason where all is not well, or why there was no answer.
	Detail string
	At     time.Time // when the probe ended
}

// DefaultTimeout is of one probe, all its requests together.
const DefaultTimeout = 3 * time.Second

// Prober asks one member's health endpoint. It keeps nothing between probes and is used by one goroutine at a time.
//
// A healthy member costs one request: /health, which is a linearizable read, so its 200 says everything. Only when it
// says no, or nothing in half the time, the reason is asked for:
//
//	state                       /health        then asked                         result
//	no quorum, first 2-3 s      hangs          serializable, alarms excluded: 200 serving, no quorum
//	no quorum, later            503 NO LEADER  serializable, alarms excluded: 200 serving, no quorum
//	alarm NOSPACE or CORRUPT    503 ALARM      alarms excluded: 200               serving, quorum, Detail names the alarm
//	hung                        hangs          hangs                              not answered
//	3.4 without quorum          hangs or 503   503: 3.4 knows no serializable one answered, not serving
type Prober struct {
	base    *url.URL
	timeout time.Duration
	tls     func() (*tls.Config, error)
}

// NewProber returns a prober of o.Health. Nothing is asked yet; files for TLS are read at each probe that needs them.
func NewProber(o Options) (*Prober, error) {
	if o.Health == nil || o.Health.Scheme != "http" && o.Health.Scheme != "https" || o.Health.Host == "" {
		return nil, fmt.Errorf("cannot probe %v: not an http or https URL", o.Health)
	}
	p := &Prober{base: o.Health, timeout: o.Timeout, tls: o.files().config}
	if p.timeout <= 0 {
		p.timeout = DefaultTimeout
	}
	return p, nil
}

// The paths that are asked.
const (
	pathLinearizable = "/health"
	pathNoAlarms     = "/health?exclude=NOSPACE&exclude=CORRUPT"
	pathSerializable = "/health?serializable=true&exclude=NOSPACE&exclude=CORRUPT"
)

// Probe asks once. It takes as long as the timeout at most, and ends early with ctx.
func (p *Prober) Probe(ctx context.Context) Health {
	h := p.probe(ctx, time.Now())
	h.At = time.Now()
	return h
}

func (p *Prober) probe(ctx context.Context, began time.Time) Health {
	end := began.Add(p.timeout)
	first := p.ask(ctx, began.Add(p.timeout/2), pathLinearizable)
	switch {
	case first.ok():
		return Health{Answered: true, Serving: true, Quorum: true}
	case !first.answered() && !errors.Is(first.err, os.ErrDeadlineExceeded):
		return Health{Detail: first.detail()} // nobody listens, or ctx ended
	case strings.HasPrefix(first.reason, "ALARM") || first.answered() && first.reason == "":
		if p.ask(ctx, began.Add(p.timeout*3/4), pathNoAlarms).ok() {
			return Health{Answered: true, Serving: true, Quorum: true, Detail: first.detail()}
		}
	}
	local := p.ask(ctx, end, pathSerializable)
	return Health{Answered: first.answered() || local.answered(), Serving: local.ok(), Detail: first.detail()}
}

// answer is of one request.
type answer struct {
	code   int // HTTP status; 0: no answer
	reason string
	err    error // why no answer
}

func (a answer) ok() bool       { return a.code == http.StatusOK }
func (a answer) answered() bool { return a.code != 0 }

func (a answer) detail() string {
	switch {
	case errors.Is(a.err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case a.err != nil:
		return a.err.Error()
	case a.reason != "":
		return a.reason
	}
	return fmt.Sprintf("health endpoint answered %d", a.code)
}

func (p *Prober) ask(ctx context.Context, deadline time.Time, path string) answer {
	conn, err := p.dial(ctx, deadline)
	if err != nil {
		return answer{err: err}
	}
	defer conn.Close()
	a, err := exchange(conn, p.base.Host, path)
	if err != nil {
		return answer{err: err}
	}
	return a
}

func (p *Prober) dial(ctx context.Context, deadline time.Time) (net.Conn, error) {
	addrs, err := resolve(ctx, p.base)
	if err != nil {
		return nil, err
	}
	raw, err := dialRaw(ctx, deadline, addrs)
	if err != nil {
		return nil, err
	}
	if p.base.Scheme == "http" {
		return raw, nil
	}
	cfg, err := p.tls()
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	cfg.ServerName = p.base.Hostname()
	return &tlsConn{tls.Client(raw, cfg), raw}, nil
}

// tlsConn closes the socket without a farewell, which could block.
type tlsConn struct {
	*tls.Conn
	raw *rawConn
}

func (c *tlsConn) Close() error { return c.raw.Close() }

// resolve costs nothing for an address in figures, which is what a loopback URL has.
func resolve(ctx context.Context, u *url.URL) ([]netip.AddrPort, error) {
	port, err := strconv.ParseUint(portOf(u), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("cannot read the port of %s: %w", u, err)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(port))}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), uint16(port))
	}
	return addrs, nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// maxBody is more than any health answer has.
const maxBody = 16 << 10

func exchange(conn net.Conn, host, path string) (answer, error) {
	request := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: etcdsup\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return answer{}, err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1<<10), nil)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return answer{}, err
	}
	return answer{code: resp.StatusCode, reason: reasonIn(body)}, nil
}

// reasonIn is empty for 3.4, which gives none.
func reasonIn(body []byte) string {
	var h struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(body, &h) != nil {
		return ""
	}
	return strings.TrimSpace(h.Reason)
}
