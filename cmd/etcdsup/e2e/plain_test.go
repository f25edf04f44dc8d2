package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdsup/etcdsup/supervisor/porttest"
)

// plain is an etcd that nobody supervises, as hosts have it today.
type plain struct {
	t       *testing.T
	binary  string // empty: the one that is built in
	network *network
	cmd     *exec.Cmd
	dir     string
	client  string
	second  string // its other client URL
	peer    string
	done    chan struct{}
	logFile string
}

// startPlain starts one on the given loopback address, with two client ports, a name and a directory of its own.
func startPlain(t *testing.T, root, host string) *plain {
	t.Helper()
	p := newPlain(t, root, host)
	p.start()
	return p
}

func newPlain(t *testing.T, root, host string) *plain {
	t.Helper()
	return &plain{
		t: t, dir: filepath.Join(root, "plain"), logFile: filepath.Join(root, "plain.log"),
		client: "http://" + porttest.Addr(t, host), second: "http://" + porttest.Addr(t, host), peer: "http://" + porttest.Addr(t, host),
	}
}

func (p *plain) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	clients := p.client + "," + p.second
	binary := p.binary
	if binary == "" {
		binary = program
	}
	p.cmd = exec.Command(binary, "--name=old", "--data-dir="+p.dir, "--listen-client-urls="+clients, "--advertise-client-urls="+clients,
		"--listen-peer-urls="+p.peer, "--initial-advertise-peer-urls="+p.peer, "--initial-cluster=old="+p.peer)
	p.cmd.Args[0], p.cmd.Env = "etcd", []string{}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.network.within(p.cmd.Start); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan struct{})
	p.done = done
	go func(cmd *exec.Cmd) { // ends with the process
		defer close(done)
		_ = cmd.Wait()
	}(p.cmd)
	p.t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.done })
}

func (p *plain) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
}

// copyTo copies the directory as it is at one moment, as a snapshot of the file system would.
func (p *plain) copyTo(dir string) {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	await(p.t, "it stands still", patience, func() bool { return stands(p.cmd.Process.Pid) })
	out, err := exec.Command("cp", "-a", p.dir, dir).CombinedOutput()
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	if err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
}

// fillKeys puts n keys, many in one transaction, and gives the last revision.
func fillKeys(t *testing.T, c *clientv3.Client, n int) (revision int64) {
	t.Helper()
	for from := 0; from < n; from += 100 {
		var ops []clientv3.Op
		for i := from; i < min(from+100, n); i++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("key/%05d", i), fmt.Sprintf("value %d", i)))
		}
		r, err := c.Txn(t.Context()).Then(ops...).Commit()
		if err != nil {
			t.Fatal(err)
		}
		revision = r.Header.Revision
	}
	return revision
}

// expectKeys wants all that fillKeys put, and no revision below what it was.
func expectKeys(t *testing.T, c *clientv3.Client, n int, revision int64) {
	t.Helper()
	r, err := c.Get(t.Context(), "key/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Kvs) != n || r.Header.Revision < revision {
		t.Errorf("%d keys at revision %d, not %d at %d or later", len(r.Kvs), r.Header.Revision, n, revision)
	}
	for i, kv := range r.Kvs {
		if want := fmt.Sprintf("value %d", i); string(kv.Value) != want {
			t.Fatalf("%s is %q, not %q", kv.Key, kv.Value, want)
		}
	}
}

// sumOf is one hash over all files of a directory.
func sumOf(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%x\n", strings.TrimPrefix(path, dir), len(b), sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
