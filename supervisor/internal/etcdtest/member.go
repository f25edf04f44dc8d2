// Package etcdtest runs real etcds for tests: the one that etcdsup has built in, or others, as processes on loopback.
// It is imported by tests only.
package etcdtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
)

// Member is one etcd process of a test.
type Member struct {
	Name       string
	DataDir    string
	ClientURL  string
	PeerURL    string
	MetricsURL string
	LogFile    string // its stderr

	t       testing.TB
	args    []string
	binary  string // empty: the one that is built in
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process was waited for
	logFrom int64         // where the log of this process begins
}

// Option changes how members are started.
type Option func(*options)

type options struct {
	args         []string
	binary       string
	clientScheme string
	peerScheme   string
}

// WithArgs adds flags of etcd.
func WithArgs(args ...string) Option { return func(o *options) { o.args = append(o.args, args...) } }

// WithBinary runs another etcd than the one that is built in; see package etcdbin.
func WithBinary(path string) Option { return func(o *options) { o.binary = path } }

// WithClientTLS makes the client URL https; the certificates are to be named by WithArgs.
func WithClientTLS() Option { return func(o *options) { o.clientScheme = "https" } }

// WithPeerTLS makes the peer URL https; the certificates are to be named by WithArgs.
func WithPeerTLS() Option { return func(o *options) { o.peerScheme = "https" } }

// New prepares a cluster of n members without starting any. They end with the test.
func New(t testing.TB, n int, opts ...Option) []*Member {
	t.Helper()
	o := options{clientScheme: "http", peerScheme: "http"}
	for _, opt := range opts {
		opt(&o)
	}
	members := make([]*Member, n)
	var cluster []string
	for i := range members {
		members[i] = &Member{
			Name:       fmt.Sprintf("m%d", i+1),
			DataDir:    filepath.Join(t.TempDir(), "data"),
			ClientURL:  o.clientScheme + "://" + porttest.Addr(t, "127.0.0.1"),
			PeerURL:    o.peerScheme + "://" + porttest.Addr(t, "127.0.0.1"),
			MetricsURL: "http://" + porttest.Addr(t, "127.0.0.1"),
			LogFile:    filepath.Join(t.TempDir(), "etcd.log"),
			t:          t,
			binary:     o.binary,
		}
		cluster = append(cluster, members[i].Name+"="+members[i].PeerURL)
		t.Cleanup(members[i].tell)
	}
	for _, m := range members {
		m.args = append(m.flags(strings.Join(cluster, ",")), o.args...)
	}
	return members
}

// Start is New with every member started and ready.
func Start(t testing.TB, n int, opts ...Option) []*Member {
	t.Helper()
	members := New(t, n, opts...)
	for _, m := range members {
		m.Start()
	}
	for _, m := range members {
		m.WaitHealthy()
	}
	return members
}

// Patience bounds what a test waits for. It is for a machine that does much else: what is well takes a small part of it.
const Patience = 2 * time.Minute

func (m *Member) flags(cluster string) []string {
	flags := []string{
		"--name=" + m.Name, "--data-dir=" + m.DataDir,
		"--listen-client-urls=" + m.ClientURL, "--advertise-client-urls=" + m.ClientURL,
		"--listen-peer-urls=" + m.PeerURL, "--initial-advertise-peer-urls=" + m.PeerURL,
		"--listen-metrics-urls=" + m.MetricsURL,
		"--initial-cluster=" + cluster, "--initial-cluster-state=new",
		"--unsafe-no-fsync", // the tests are of supervision, not of the disk
	}
	if strings.Contains(cluster, ",") { // a busy machine's leader is late, and is to stay the leader
		flags = append(flags, "--heartbeat-interval=300", "--election-timeout=3000")
	}
	return flags
}

// Start starts the process and returns at once. It may be called again after Kill.
func (m *Member) Start() {
	m.t.Helper()
	log, err := os.OpenFile(m.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		m.t.Fatal(err)
	}
	m.logFrom = info.Size()
	binary := m.binary
	if binary == "" {
		binary = etcdbin.Builtin(m.t)
	}
	m.cmd = exec.Command(binary, m.args...)
	m.cmd.Env = []string{}
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	done := make(chan struct{})
	m.done = done
	go func(cmd *exec.Cmd) { // waits for this process, which the cleanup ends
		defer close(done)
		cmd.Wait()
	}(m.cmd)
	m.t.Cleanup(m.Kill)
}

// Join prepares one more member, without starting it, for a cluster that has been told of it at m.PeerURL: cluster is
// its --initial-cluster beside the new member itself.
func Join(t testing.TB, name string, cluster []*Member, opts ...Option) *Member {
	t.Helper()
	m := New(t, 1, opts...)[0]
	m.Name = name
	initial := name + "=" + m.PeerURL
	for _, other := range cluster {
		initial += "," + other.Name + "=" + other.PeerURL
	}
	o := options{}
	for _, opt := range opts {
		opt(&o)
	}
	m.args = append(append(m.flags(initial), o.args...), "--initial-cluster-state=existing")
	return m
}

// Bootstrap sets the --initial-cluster of a member that Join prepared, as the cluster gave it.
func (m *Member) Bootstrap(initialCluster string) {
	m.args = append(m.args, "--initial-cluster="+initialCluster) // etcd takes the last
}

// PID is of the process that was started last.
func (m *Member) PID() int { return m.cmd.Process.Pid }

// Pause stops the process with SIGSTOP and waits until each thread stands still, which is later than kill(2) returns.
// Signal with SIGCONT lets it go on.
func (m *Member) Pause() {
	m.t.Helper()
	m.Signal(syscall.SIGSTOP)
	Eventually(m.t, m.Name+" stands still", func() bool {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", m.PID()))
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil && !strings.Contains(string(b), "\nState:\tT") {
				return false
			}
		}
		return len(files) > 0
	})
}

// Signal sends a signal and does not wait for what it does.
func (m *Member) Signal(sig syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		m.t.Fatalf("cannot send %v to %s: %v", sig, m.Name, err)
	}
}

// Kill ends the process with SIGKILL and waits for it. One that has ended is left alone.
func (m *Member) Kill() {
	if m.Ended() {
		return
	}
	m.cmd.Process.Kill()
	<-m.done
}

// Stop ends the process with SIGTERM and waits for it.
func (m *Member) Stop() {
	m.t.Helper()
	m.Signal(syscall.SIGTERM)
	<-m.done
}

// lives fails the test when there is nobody to wait for.
func (m *Member) lives() bool {
	m.t.Helper()
	if m.Ended() {
		m.t.Fatalf("%s has ended", m.Name)
	}
	return true
}

// begun tells that the start is over. Health is answered before that; but only from then on SIGTERM ends etcd as it should.
func (m *Member) begun() bool {
	log := m.Log()
	return strings.Contains(log[min(m.logFrom, int64(len(log))):], "notifying init daemon")
}

// WaitHealthy waits until the member serves linearizable reads, and would end by SIGTERM in good order.
func (m *Member) WaitHealthy() {
	m.t.Helper()
	Eventually(m.t, m.Name+" is healthy", func() bool { return m.lives() && m.answer("/health") == http.StatusOK && m.begun() })
}

// WaitAnswering waits until the member's metrics URL answers, which it does without a quorum too.
func (m *Member) WaitAnswering() {
	m.t.Helper()
	Eventually(m.t, m.Name+" answers", func() bool { return m.lives() && m.answer("/health?serializable=true") != 0 })
}

func (m *Member) answer(path string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.MetricsURL+path, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Ended tells that the process that was started last has ended.
func (m *Member) Ended() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// tell shows the end of the log of a member of a test that failed.
func (m *Member) tell() {
	if log := m.Log(); m.t.Failed() {
		m.t.Logf("the log of %s ends with:\n%s", m.Name, log[max(0, len(log)-3000):])
	}
}

// Log is what the member has printed so far.
func (m *Member) Log() string {
	b, err := os.ReadFile(m.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Eventually polls until ok is true and fails the test after Patience.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for !ok() {
		select {
		case <-every.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}
