package e2e

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdsup/etcdsup/packaging/lab"
	"github.com/etcdsup/etcdsup/supervisor/control"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

// binary is where the program is on the hosts.
const binary = "/usr/bin/etcdsup"

// service is one instance of etcdsup on a host.
type service struct {
	*lab.Host
	t        testing.TB
	instance string
	unit     string
	client   string // client URL
	peer     string
}

// newService puts etcdsup on a host. Its default instance is neither configured nor installed.
func newService(t testing.TB, h *lab.Host) *service {
	t.Helper()
	h.CopyIn(lab.Program(t), binary)
	h.Must("sync") // a power cut takes what was not written yet
	s := &service{Host: h, t: t, instance: "default", unit: "etcdsup.service"}
	s.client, s.peer = s.url(2379), s.url(2380)
	return s
}

// install makes it a service that runs, as the user is told to do it.
func (s *service) install() *status.Status {
	s.t.Helper()
	s.cli(0, "install", "--now")
	return s.awaitReady()
}

func (s *service) url(port int) string {
	return "http://" + net.JoinHostPort(s.Addr(), strconv.Itoa(port))
}

// another is one more instance on that host, of the template.
func (s *service) another(name string, port int) *service {
	a := *s
	a.instance, a.unit = name, "etcdsup@"+name+".service"
	a.client, a.peer = s.url(port), s.url(port+1)
	return &a
}

// in is the same service for a part of the test.
func (s *service) in(t testing.TB) *service {
	part := *s
	part.t, part.Host = t, s.For(t)
	return &part
}

// part runs a part of the test, which the next ones build upon.
func (s *service) part(t *testing.T, name string, tell func(t *testing.T, s *service)) {
	t.Helper()
	if !t.Run(name, func(t *testing.T) { tell(t, s.in(t)) }) {
		t.FailNow()
	}
}

// dir is the folder of the instance on the host.
func (s *service) dir() string { return "/var/lib/etcdsup/" + s.instance }

// configure writes the configuration of a real etcd, with more of it below.
func (s *service) configure(more string) {
	s.t.Helper()
	s.write(fmt.Sprintf("etcd:\n  args:\n    name: %s-%s\n    listen-client-urls: %s\n    listen-peer-urls: %s\n%s", s.Name(), s.instance, s.client, s.peer, more))
}

func (s *service) write(yaml string) {
	s.t.Helper()
	s.Write("/etc/etcdsup/"+s.instance+".yaml", yaml, "644")
}

// dropIn is what an administrator changes of the unit.
func (s *service) dropIn(text string) {
	s.t.Helper()
	s.Write("/etc/systemd/system/"+s.unit+".d/test.conf", text, "644")
	s.systemctl("daemon-reload")
}

func (s *service) systemctl(args ...string) {
	s.t.Helper()
	s.Must(append([]string{"systemctl"}, args...)...)
}

// property is one of the unit's, as systemctl show has it.
func (s *service) property(name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.Must("systemctl", "show", s.unit, "--value", "-p", name))
}

// cli runs etcdsup on the host, as root, and wants this exit code. It gives all that was printed.
func (s *service) cli(code int, args ...string) string {
	s.t.Helper()
	out, errOut, got := s.Exec(append([]string{binary, "-i", s.instance}, args...)...)
	if got != code {
		s.t.Fatalf("etcdsup %s: exit code %d, not %d\n%s%s", strings.Join(args, " "), got, code, out, errOut)
	}
	return out + errOut
}

func (s *service) control() *control.Client {
	s.t.Helper()
	return control.NewClient(s.Path(s.dir() + "/run/control.sock"))
}

// awaitStatus polls the socket until the status is as wanted. That nobody listens may change.
func (s *service) awaitStatus(what string, wanted func(*status.Status) bool) (st *status.Status) {
	s.t.Helper()
	client := s.control()
	var err error
	s.await(what, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), lab.Patience)
		defer cancel()
		st, err = client.Status(ctx, false)
		return err == nil && wanted(st)
	})
	return st
}

func (s *service) awaitReady() *status.Status {
	s.t.Helper()
	return s.awaitStatus("ready", func(st *status.Status) bool { return st.Ready })
}

// await polls until done.
func (s *service) await(what string, done func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(lab.Patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; !done(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s, %s: not within %v: %s", s.Name(), s.instance, lab.Patience, what)
		}
	}
}

// dial is a client of the host's etcd.
func (s *service) dial() *clientv3.Client {
	s.t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{s.client}, DialTimeout: lab.Patience, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(lab.DialAddr)},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (s *service) put(key, value string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), lab.Patience)
	defer cancel()
	if _, err := s.dial().Put(ctx, key, value); err != nil {
		s.t.Fatal(err)
	}
}

// expectKey wants a key to have this value. A connection that a boot before has spoilt is made anew.
func (s *service) expectKey(key, value string) {
	s.t.Helper()
	var r *clientv3.GetResponse
	s.await("an answer of etcd", func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
		defer cancel()
		c := s.dial()
		defer c.Close()
		var err error
		if r, err = c.Get(ctx, key); err != nil {
			s.t.Logf("%s: %v", s.client, err)
		}
		return err == nil
	})
	if len(r.Kvs) != 1 || string(r.Kvs[0].Value) != value {
		s.t.Errorf("%s is %v, not %q", key, r.Kvs, value)
	}
}

// expectNothingLeft wants no process of the service's, neither in its cgroup nor of its user.
func (s *service) expectNothingLeft() {
	s.t.Helper()
	if out, _, code := s.Exec("pgrep", "-a", "-u", "etcd"); code != 1 {
		s.t.Errorf("processes are left:\n%s", out)
	}
	if out := s.Must("find", "/sys/fs/cgroup", "-path", "*"+s.unit+"*", "-name", "cgroup.procs", "-size", "+0"); out != "" {
		s.t.Errorf("cgroups are left: %s", out)
	}
}
