package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/supervisor/etcdbin"
	"github.com/etcdsup/etcdsup/supervisor/porttest"
)

// ranInit runs one "etcdsup init …" for the configuration file in a folder of its own, unless the arguments name one.
func ranInit(t *testing.T, file string, args ...string) result {
	t.Helper()
	var o, e bytes.Buffer
	s := streams{in: strings.NewReader(""), out: &o, err: &e, env: []string{"HOME=" + t.TempDir()}}
	code := execute(context.Background(), append([]string{"init", "--config", file, "--dir", filepath.Join(filepath.Dir(file), "state")}, args...), s)
	return result{code, o.String(), e.String()}
}

// scriptIn is a start script of the usual kind beside an etcd, which here is a link to a program that is none.
func scriptIn(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "start-etcd.sh")
	text := "#!/bin/sh\nexec etcd --name node1 --data-dir ./data \\\n  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \\\n" +
		"  --initial-cluster-state new " + more + " > ./log/etcd.log 2>&1\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return script
}

// withoutEtcd: this host may or may not have an etcd in its PATH, and neither matters here.
func withoutEtcd(t *testing.T, script string) {
	t.Helper()
	text, err := os.ReadFile(script)
	if err == nil {
		err = os.WriteFile(script, bytes.Replace(text, []byte("exec etcd"), []byte("PATH=/nowhere exec etcd"), 1), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestInitWritesWhatTheExampleHas(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made", "c.yaml")
	ranInit(t, file).want(t, exitOK, "wrote      "+file, "")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range config.Keys() {
		if !strings.Contains(string(text), k.Base()+":") {
			t.Errorf("%s is not in it", k.Name)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	ranInit(t, file).want(t, exitOK, "unchanged", "")
}

func TestInitNeverWritesOver(t *testing.T) {
	script := scriptIn(t, "")
	withoutEtcd(t, script)
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("instance: mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ranInit(t, file, "--from", script).want(t, exitFailure, "", "cannot write "+file+": it exists")
	ranInit(t, file, "--from", script, "--replace").want(t, exitOK, "set aside  "+file+".before-", "")
	aside, _ := filepath.Glob(file + ".before-*")
	if len(aside) != 1 {
		t.Fatalf("set aside: %v", aside)
	}
	if text, err := os.ReadFile(aside[0]); err != nil || string(text) != "instance: mine\n" {
		t.Errorf("the old one is now %q, %v", text, err)
	}
}

func TestInitFromAScript(t *testing.T) {
	script := scriptIn(t, "--force-new-cluster")
	withoutEtcd(t, script)
	r := ranInit(t, "-", "--from", script)
	r.want(t, exitOK, "    name: node1  # start-etcd.sh:2\n", "left out on purpose")
	for _, want := range []string{"etcd.args.data-dir", "relative to " + filepath.Dir(script), "> ./log/etcd.log 2>&1"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is not told in %s", want, r.err)
		}
	}
	c, err := config.Load(config.Source{File: "c.yaml", Text: []byte(r.out)})
	if err != nil || c.DataDir() != filepath.Dir(script)+"/data" || c.Arg("force-new-cluster") != "" {
		t.Errorf("%v, %+v", err, c)
	}
}

func TestInitShowsFaultsAndWritesAllTheSame(t *testing.T) {
	script := scriptIn(t, "--listen-peer-urls http://node1:2380 --no-such-flag 3")
	withoutEtcd(t, script)
	file := filepath.Join(t.TempDir(), "c.yaml")
	r := ranInit(t, file, "--from", script, "-o", "json")
	var out initOutcome
	if err := json.Unmarshal([]byte(r.out), &out); err != nil || r.code != exitConfig || out.OK || !out.Written || out.File != file {
		t.Fatalf("%v: %+v", err, r)
	}
	if len(out.Problems) == 0 || !slices.ContainsFunc(out.Problems, func(p config.Problem) bool { return p.Key == "etcd.args.listen-peer-urls" && p.File == file }) {
		t.Errorf("problems: %+v", out.Problems)
	}
	if !exists(file) {
		t.Error("it is not written")
	}
}

func TestInitKeepsSecrets(t *testing.T) {
	env := filepath.Join(t.TempDir(), "etcd")
	if err := os.WriteFile(env, []byte("ETCD_NAME=n1\nETCD_DATA_DIR=/nowhere/data\nETCD_DISCOVERY_PASSWORD=hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	for _, form := range []string{outputText, outputJSON} {
		if r := ranInit(t, file, "--from", env, "-o", form, "--replace"); strings.Contains(r.out+r.err, "hunter2") || !strings.Contains(r.out, config.Masked) {
			t.Errorf("it says %s%s", r.out, r.err)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info, err)
	}
}

func TestInitRefuses(t *testing.T) {
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitFailure, "it does not exist", []string{"--from", "/nowhere/start.sh"}},
		{exitFailure, "it is a program", []string{"--from", "/proc/self/exe"}},
		{exitUsage, "there is no such kind", []string{"--from", "/etc/hosts", "--from-kind", "ini"}},
		{exitUsage, "cannot use --from-kind alone", []string{"--from-kind", "unit"}},
		{exitFailure, "none runs below it", []string{"--from-pid", strconv.Itoa(os.Getpid())}},
		{exitUsage, "there is none of this number", []string{"--from-pid", "-4"}},
		{exitUsage, "cannot use --plan alone", []string{"--plan"}},
		{exitUsage, "cannot use --user alone", []string{"--print", "--user", "etcd"}},
		{exitUsage, "cannot read both", []string{"--from-pid", "1", "--from", "x"}},
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		ranInit(t, file, c.args...).want(t, c.code, "", c.says)
		if exists(file) {
			t.Errorf("%v: it wrote all the same", c.args)
		}
	}
}

// A running etcd is read as it was started, and what comes of it is what it runs by.
func TestInitFromAProcess(t *testing.T) {
	dir := t.TempDir()
	client, peer := "http://"+porttest.Addr(t, "127.0.0.1"), "http://"+porttest.Addr(t, "127.0.0.1")
	binary := etcdbin.Builtin(t)
	// Its parent is a shell, as under a script, so the shell's PID does as well.
	etcd := exec.Command("/bin/sh", "-c", `"$0" "$@"; exit`, binary, "--name=n1", "--data-dir", "data", "--listen-client-urls", client,
		"--advertise-client-urls", client, "--listen-peer-urls="+peer, "--initial-cluster-state=new", "--unsafe-no-fsync")
	etcd.Dir, etcd.Env = dir, []string{"ETCD_HEARTBEAT_INTERVAL=300", "ETCD_ELECTION_TIMEOUT=3000", "GOGC=80",
		"ETCD_INITIAL_ADVERTISE_PEER_URLS=" + peer, "ETCD_INITIAL_CLUSTER=n1=" + peer}
	etcd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := etcd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-etcd.Process.Pid, syscall.SIGKILL)
		_ = etcd.Wait()
	})
	eventually(t, "etcd has made its data directory", func() bool { return exists(filepath.Join(dir, "data", "member")) })
	file := filepath.Join(t.TempDir(), "c.yaml")
	r := ranInit(t, file, "--from-pid", strconv.Itoa(etcd.Process.Pid))
	r.want(t, exitOK, "etcd.args.listen-peer-urls", "")
	c, err := config.Load(config.Source{File: file, FileRequired: true})
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir() != filepath.Join(dir, "data") || c.Arg("listen-client-urls") != client || c.Etcd.Binary != binary ||
		c.Arg("heartbeat-interval") != "300" || c.Arg("initial-cluster-state") != "" || c.Etcd.Env["GOGC"] != "80" {
		t.Errorf("it runs by %+v", c.Etcd)
	}
}
