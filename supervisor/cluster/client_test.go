package cluster

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"
	"github.com/etcdsup/etcdsup/supervisor/status"
)

func newClient(t testing.TB, o Options, m *etcdtest.Member) *Client {
	t.Helper()
	o.Endpoints = []*url.URL{parse(t, m.ClientURL)}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// soon is for what is well, and takes a small part of it.
func soon(t testing.TB) context.Context { return within(t, etcdtest.Patience) }

func TestStatusOfOneMember(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t, 1)[0]
	st, version, err := newClient(t, Options{Name: "m1"}, m).Status(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if version == "" || st.Name != "m1" || st.ID == "" || st.ClusterID == "" || st.LeaderID != st.ID {
		t.Errorf("version %q, %+v", version, st)
	}
	if st.Role != status.RoleLeader || st.Term < 2 || st.Revision != 1 || st.DBSize == 0 || st.Quota != DefaultQuota || st.Asked.IsZero() {
		t.Errorf("%+v", st)
	}
}

func TestStatusOfNobody(t *testing.T) {
	t.Parallel()
	c := newClient(t, Options{}, etcdtest.New(t, 1)[0])
	if st, _, err := c.Status(within(t, 500*time.Millisecond)); err == nil {
		t.Errorf("got %+v", st)
	}
	if _, err := NewClient(Options{}); err == nil {
		t.Error("accepted no client URL")
	}
}

func TestStatusOfAStoppedMemberEndsInTime(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t, 1)[0]
	m.Pause()
	if _, _, err := newClient(t, Options{}, m).Status(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestStatusWithTLSAndAuth(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	m := etcdtest.Start(t, 1, etcdtest.WithClientTLS(), etcdtest.WithArgs(
		"--cert-file="+p.serverCert, "--key-file="+p.serverKey, "--trusted-ca-file="+p.ca, "--client-cert-auth"))[0]
	o := Options{CACert: p.ca, Cert: p.clientCert, Key: p.clientKey}
	if _, _, err := newClient(t, o, m).Status(soon(t)); err != nil {
		t.Fatalf("with a certificate: %v", err)
	}
	if st, _, err := newClient(t, Options{CACert: p.ca}, m).Status(within(t, time.Second)); err == nil {
		t.Errorf("without a certificate: %+v", st)
	}
	if _, _, err := newClient(t, Options{CACert: filepath.Join(t.TempDir(), "none")}, m).Status(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the CA's file: %v", err)
	}
}

// enableAuth makes root with its password and lets nobody in without.
func enableAuth(t testing.TB, endpoint, password string) {
	t.Helper()
	cl, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx := soon(t)
	if _, err := cl.UserAdd(ctx, "root", password); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
}

func writePassword(t testing.TB, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// leader is the member that leads, and its status.
func leader(t testing.TB, members []*etcdtest.Member, o Options) (*etcdtest.Member, *status.Member) {
	t.Helper()
	var found *etcdtest.Member
	var st *status.Member
	etcdtest.Eventually(t, "somebody leads", func() bool {
		for _, m := range members {
			s, _, err := newClient(t, o, m).Status(soon(t))
			if err == nil && s.Role == status.RoleLeader {
				found, st = m, s
				return true
			}
		}
		return false
	})
	return found, st
}

func TestLeadershipIsTransferred(t *testing.T) {
	t.Parallel()
	members := etcdtest.Start(t, 3)
	etcdtest.Eventually(t, "one hands over to another, with no election of their own in between", func() bool {
		old, st := leader(t, members, Options{})
		moved, to, err := newClient(t, Options{}, old).TransferLeadership(soon(t))
		if moved != (err == nil) || moved && (to == "" || to == old.Name) {
			t.Logf("moved %v to %q: %v", moved, to, err)
			return false
		}
		now, st2 := leader(t, members, Options{})
		again, _, err2 := newClient(t, Options{}, old).TransferLeadership(soon(t))
		t.Logf("moved %v to %q: %v; %s leads; the old leader once more: moved %v, %v", moved, to, err, now.Name, again, err2)
		return moved && now.Name == to && st2.ID != st.ID && !again && err2 == nil
	})
}

func TestLeadershipIsTransferredWithAuth(t *testing.T) {
	t.Parallel()
	members := etcdtest.Start(t, 2)
	enableAuth(t, members[0].ClientURL, "secret")
	o := Options{User: "root", PasswordFile: writePassword(t, "secret")}
	var old *etcdtest.Member
	etcdtest.Eventually(t, "the leader hands over", func() bool {
		old, _ = leader(t, members, o)
		moved, _, err := newClient(t, o, old).TransferLeadership(soon(t))
		return moved && err == nil
	})
	old, _ = leader(t, members, o)
	o.PasswordFile = writePassword(t, "wrong")
	if moved, _, err := newClient(t, o, old).TransferLeadership(soon(t)); moved || err == nil {
		t.Error("moved with the wrong password")
	}
}

func TestLeadershipStaysWhereNobodyCanTakeIt(t *testing.T) {
	t.Parallel()
	one := etcdtest.Start(t, 1)[0]
	if moved, _, err := newClient(t, Options{}, one).TransferLeadership(soon(t)); moved || err != nil {
		t.Errorf("one member: moved %v, %v", moved, err)
	}
}

func TestStatusWithoutQuorum(t *testing.T) {
	t.Parallel()
	members := etcdtest.Start(t, 2)
	members[1].Kill()
	c := newClient(t, Options{}, members[0])
	etcdtest.Eventually(t, "status says that there is no leader", func() bool {
		st, _, err := c.Status(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		return st.Role == status.RoleNone && st.LeaderID == "" && len(st.Errors) > 0
	})
	if moved, _, err := c.TransferLeadership(within(t, time.Second)); moved {
		t.Errorf("moved without a quorum: %v", err)
	}
}

func TestStatusWithAuth(t *testing.T) {
	t.Parallel()
	members := etcdtest.Start(t, 2)
	enableAuth(t, members[0].ClientURL, "secret")
	c := newClient(t, Options{User: "root", PasswordFile: writePassword(t, "secret")}, members[0])
	if _, _, err := c.Status(soon(t)); err != nil {
		t.Fatal(err)
	}
	if st, _, err := newClient(t, Options{}, members[0]).Status(soon(t)); err == nil {
		t.Errorf("let in without a log-in: %+v", st)
	}
	members[1].Kill()
	etcdtest.Eventually(t, "the log-in fails in time and says why", func() bool {
		_, _, err := c.Status(within(t, 500*time.Millisecond))
		return errors.Is(err, context.DeadlineExceeded)
	})
}
