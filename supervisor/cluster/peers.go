package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// PeerTimeout is for all peers together to answer.
const PeerTimeout = 2 * time.Second

// AskPeers asks at all peer URLs at once who is there. It takes PeerTimeout at most, or as long as ctx allows if that is
// less, and the answers are in the order of the URLs. It needs no quorum and changes nothing.
func AskPeers(ctx context.Context, urls []string, files TLSFiles) []status.PeerAnswer {
	ctx, cancel := context.WithTimeout(ctx, PeerTimeout)
	defer cancel()
	answers := make([]status.PeerAnswer, len(urls))
	var all sync.WaitGroup
	for i, u := range urls {
		all.Go(func() { answers[i] = PeerMembers(ctx, u, files) }) // ends with ctx at the latest
	}
	all.Wait()
	return answers
}

// PeerMembers asks at one peer URL for the member list and the version. It takes as long as ctx allows; without a
// deadline that may be for ever. What was wrong is in the answer, see Err there.
func PeerMembers(ctx context.Context, peerURL string, files TLSFiles) status.PeerAnswer {
	a := status.PeerAnswer{URL: peerURL}
	u, err := url.Parse(peerURL)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		err = errors.New("not an http or https URL")
	}
	if err != nil {
		a.Kind, a.Detail = status.PeerUnasked, err.Error()
		return a
	}
	c, err := newPeerCall(u, files)
	if err != nil {
		a.Kind, a.Detail = status.PeerUnasked, err.Error()
		return a
	}
	defer c.client.CloseIdleConnections()
	c.ask(ctx, &a)
	return a
}

// peerCall is a client that asks one peer, without proxies, and follows nobody who points elsewhere.
type peerCall struct {
	base      *url.URL
	client    http.Client
	connected atomic.Bool // somebody took the connection
}

func newPeerCall(base *url.URL, files TLSFiles) (*peerCall, error) {
	c := &peerCall{base: base}
	transport := &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			c.connected.Store(true)
		}
		return conn, err
	}}
	if base.Scheme == "https" {
		var err error
		if transport.TLSClientConfig, err = files.config(); err != nil {
			return nil, err
		}
	}
	c.client = http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

func (c *peerCall) ask(ctx context.Context, a *status.PeerAnswer) {
	began := time.Now()
	header, body, err := c.get(ctx, "/members")
	if err != nil {
		a.Kind, a.Detail = c.failure(err)
		return
	}
	a.ClockAhead = clockAhead(header, began, time.Now())
	a.ClusterID = strings.ToLower(header.Get("X-Etcd-Cluster-ID"))
	if a.Members, err = peersIn(body); err != nil || a.ClusterID == "" {
		a.Kind, a.Detail, a.ClusterID, a.Members = status.PeerStranger, "its answer is not etcd's", "", nil
		return
	}
	a.Kind = status.PeerEtcd
	_, body, err = c.get(ctx, "/version")
	if err == nil {
		a.Version, a.ClusterVersion = versionsIn(body)
	}
}

// maxPeerBody is more than any member list has.
const maxPeerBody = 1 << 20

// errNotOK is of an answer in HTTP that is no success.
var errNotOK = errors.New("it answered")

func (c *peerCall) get(ctx context.Context, path string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPeerBody))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w %s", errNotOK, resp.Status)
	}
	return resp.Header, body, err
}

// failure tells who is there by how the question failed. Whoever took the connection is somebody, whatever came of it.
func (c *peerCall) failure(err error) (status.PeerKind, string) {
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	detail := err.Error()
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		detail = wrapped.Err.Error()
	}
	switch {
	case errors.Is(err, errNotOK):
		return status.PeerStranger, detail
	case !c.connected.Load():
		return unconnected(err, detail, timeout)
	case timeout:
		return status.PeerSilent, "it takes connections but does not answer"
	case errors.Is(err, context.Canceled):
		return status.PeerUnasked, detail
	case errors.Is(err, http.ErrSchemeMismatch):
		return status.PeerBarred, "it speaks plain HTTP, not TLS"
	case strings.Contains(detail, "malformed HTTP"): // which has no type
		return status.PeerStranger, detail
	case ofTLS(err):
		return status.PeerBarred, detail
	}
	return status.PeerBarred, "it closed the connection without an answer (" + detail + "): " + c.closedBecause()
}

// closedBecause is what an etcd means that closes a connection without a word.
func (c *peerCall) closedBecause() string {
	if c.base.Scheme == "http" {
		return "perhaps it wants TLS"
	}
	return "perhaps it does not accept this host's certificate"
}

// unconnected tells the failures that are of the way there from those of this host.
func unconnected(err error, detail string, timeout bool) (status.PeerKind, string) {
	dns, ofDNS := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return status.PeerNobody, detail
	case ofDNS && !dns.IsNotFound:
		return status.PeerUnasked, detail // names cannot be looked up at all
	case timeout:
		return status.PeerUnreachable, "no reply to the attempt to connect"
	case ofDNS, errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EHOSTDOWN):
		return status.PeerUnreachable, detail
	}
	return status.PeerUnasked, detail
}

func ofTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	return strings.Contains(err.Error(), "tls: ") // what the handshake itself has against the other side has no type
}

// peersIn reads the list as etcd writes it.
func peersIn(body []byte) ([]status.Peer, error) {
	var members []struct {
		ID         uint64   `json:"id"`
		Name       string   `json:"name"`
		PeerURLs   []string `json:"peerURLs"`
		ClientURLs []string `json:"clientURLs"`
		IsLearner  bool     `json:"isLearner"`
	}
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, err
	}
	peers := make([]status.Peer, len(members))
	for i, m := range members {
		peers[i] = status.Peer{
			ID: hex(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs,
			Learner: m.IsLearner, Started: len(m.ClientURLs) > 0,
		}
	}
	sortPeers(peers)
	return peers, nil
}

// versionsIn is of that etcd, and of its cluster, which is not decided in the first moments.
func versionsIn(body []byte) (server, cluster string) {
	var v struct {
		Server  string `json:"etcdserver"`
		Cluster string `json:"etcdcluster"`
	}
	if json.Unmarshal(body, &v) != nil {
		return "", ""
	}
	if v.Cluster == "not_decided" {
		v.Cluster = ""
	}
	return v.Server, v.Cluster
}

// clockAhead compares the answer's date, which is cut to the second, with the middle of the question. What a second and
// the way there can explain is no difference.
func clockAhead(header http.Header, began, ended time.Time) time.Duration {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	const cut = time.Second / 2
	ahead := date.Add(cut).Sub(began.Add(ended.Sub(began) / 2))
	if ahead.Abs() <= cut+ended.Sub(began)/2 {
		return 0
	}
	return ahead
}
