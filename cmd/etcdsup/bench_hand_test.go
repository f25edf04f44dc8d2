package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What people do by hand with etcd, as BenchmarkStory has it done: each step as soon as the one before has had its effect.

// hands is somebody with a shell: etcd, etcdctl, and a folder for everything.
type hands struct {
	b       *testing.B
	program string
	etcdctl string
	dir     string
	main    *byHand // that etcdctl asks
}

// byHand is one etcd of theirs.
type byHand struct {
	*hands
	name         string
	client, peer string
	cmd          *exec.Cmd
}

// tellByHand is the story as people know it.
func tellByHand(b *testing.B, program, etcdctl, from string) (t told) {
	h := &hands{b: b, program: program, etcdctl: etcdctl, dir: b.TempDir()}
	h.main = h.host("c", "127.0.0.13")
	began := time.Now()
	if out, err := exec.Command("cp", "-a", from, h.main.data()).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	h.main.forceNewCluster()
	defer h.main.stop()
	t.first = time.Since(began)
	second, third := h.host("b", "127.0.0.12"), h.host("a", "127.0.0.11")
	defer third.stop()
	defer second.stop()
	t.gap = whileWriting(b, 1, func() {
		third.join(second.join("c=" + h.main.peer))
		t.whole = time.Since(began)
	}, h.main.client).gap
	return t
}

func (h *hands) host(name, addr string) *byHand {
	return &byHand{hands: h, name: name, client: freeURLAt(h.b, addr), peer: freeURLAt(h.b, addr)}
}

// forceNewCluster makes the data a cluster of one, at this etcd's peer URL and without the flag.
func (e *byHand) forceNewCluster() {
	e.start("--force-new-cluster")
	e.awaitHealthy()
	e.stop()
	e.start()
	e.awaitHealthy()
	id, _, _ := strings.Cut(e.ask("member", "list"), ",")
	e.ask("member", "update", id, "--peer-urls="+e.peer)
}

// join makes this etcd a member; list is the initial-cluster so far, and comes back with this member.
func (e *byHand) join(list string) string {
	list += "," + e.name + "=" + e.peer
	e.ask("member", "add", e.name, "--peer-urls="+e.peer)
	e.start("--initial-cluster-state=existing", "--initial-cluster="+list, "--initial-advertise-peer-urls="+e.peer)
	e.awaitHealthy()
	return list
}

// ask runs etcdctl until it succeeds: etcd refuses changes for five seconds after a change.
func (h *hands) ask(args ...string) string {
	var out []byte
	h.again("etcdctl "+strings.Join(args, " "), func() (err error) {
		out, err = exec.Command(h.etcdctl, append([]string{"--endpoints=" + h.main.client}, args...)...).Output()
		return err
	})
	return string(out)
}

// again tries until it succeeds.
func (h *hands) again(what string, try func() error) {
	h.b.Helper()
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(time.Minute); ; <-pause.C {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			h.b.Fatalf("%s: not within a minute: %v", what, err)
		}
	}
}

func (e *byHand) data() string { return filepath.Join(e.dir, e.name) }

func (e *byHand) start(more ...string) {
	log, err := os.OpenFile(e.data()+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		e.b.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(e.program, append([]string{"--name=" + e.name, "--data-dir=" + e.data(), "--listen-client-urls=" + e.client,
		"--advertise-client-urls=" + e.client, "--listen-peer-urls=" + e.peer}, more...)...)
	cmd.Args[0], cmd.Env = "etcd", []string{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		e.b.Fatal(err)
	}
	e.cmd = cmd
}

// stop ends it in order. One that was never started is left alone.
func (e *byHand) stop() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Signal(unix.SIGTERM)
	kill := time.AfterFunc(20*time.Second, func() { _ = e.cmd.Process.Kill() })
	defer kill.Stop()
	_ = e.cmd.Wait() // an error: etcd sends the signal to itself once more
}

// awaitHealthy asks as curl does, again and again.
func (e *byHand) awaitHealthy() {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	e.again(e.name+" is healthy", func() error {
		answer, err := client.Get(e.client + "/health")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("answer %s", answer.Status)
		}
		return nil
	})
}

// buildEtcdctl gives an etcdctl of the version of the built-in etcd, which is built into the user's cache folder once.
func buildEtcdctl(b *testing.B) string {
	b.Helper()
	version := moduleVersion(b, "go.etcd.io/etcd/client/v3")
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(cache, "etcdsup-test", "etcdctl-"+version+"-"+runtime.Version())
	path := filepath.Join(dir, "etcdctl")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	temp := filepath.Join(dir, fmt.Sprint("etcdctl.", os.Getpid()))
	module := b.TempDir() // of its own: this project does without etcdctl's dependencies
	for _, args := range [][]string{
		{"mod", "init", "throwaway"}, {"get", "go.etcd.io/etcd/etcdctl/v3@" + version}, {"build", "-o", temp, "go.etcd.io/etcd/etcdctl/v3"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = module, append(os.Environ(), "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("cannot build etcdctl %s: go %s: %v\n%s", version, args[0], err, out)
		}
	}
	if err := os.Rename(temp, path); err != nil {
		b.Fatal(err)
	}
	return path
}

// moduleVersion is that of a module in this test executable.
func moduleVersion(b *testing.B, path string) string {
	b.Helper()
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	b.Fatalf("no module %s", path)
	return ""
}
