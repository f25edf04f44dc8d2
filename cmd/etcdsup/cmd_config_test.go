package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/etcdsup/etcdsup/config"
)

// ranConfig runs one "etcdsup config …" in an environment of its own.
func ranConfig(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	s := streams{in: strings.NewReader(""), out: &o, err: &e, env: []string{"HOME=" + t.TempDir()}}
	code = execute(context.Background(), append([]string{"config", "--dir", t.TempDir()}, args...), s)
	return code, o.String(), e.String()
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const standIn = "etcd: {binary: /bin/sh, verify: false}\n"

func TestConfigCheckOfAGoodFile(t *testing.T) {
	file := configFile(t, standIn)
	code, out, errs := ranConfig(t, "check", file)
	if code != exitOK || !strings.HasPrefix(out, "ok: "+file) || errs != "" {
		t.Errorf("got %d, %q, %q", code, out, errs)
	}
	var answer configCheck
	code, out, _ = ranConfig(t, "check", "-o", "json", file)
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitOK || !answer.OK || answer.File != file || answer.Problems == nil {
		t.Errorf("got %d, %+v, %v", code, answer, err)
	}
}

func TestConfigCheckOfAFaultyFile(t *testing.T) {
	file := configFile(t, standIn+"lgo: 1\nstop: {grace: x}\n")
	code, out, errs := ranConfig(t, "check", file, "--set", "log.sync=y")
	if code != exitConfig || out != "" || strings.Count(errs, "→") != 3 || strings.Count(errs, "^\n") != 3 {
		t.Errorf("got %d, %q, %q", code, out, errs)
	}
	var answer configCheck
	code, out, errs = ranConfig(t, "check", "-o", "json", file)
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitConfig || answer.OK || len(answer.Problems) != 2 || errs != "" {
		t.Errorf("got %d, %+v, %v, %q", code, answer, err, errs)
	}
	if lines := []int{answer.Problems[0].Line, answer.Problems[1].Line}; !slices.Equal(lines, []int{2, 3}) {
		t.Errorf("got lines %v", lines)
	}
}

func TestConfigCheckOfAFileThatIsNotThere(t *testing.T) {
	if code, _, errs := ranConfig(t, "check", "/nowhere/c.yaml"); code != exitConfig || !strings.Contains(errs, "/nowhere/c.yaml") {
		t.Errorf("got %d, %q", code, errs)
	}
}

func TestConfigShow(t *testing.T) {
	file := configFile(t, standIn+"stop:\n  grace: 7s\n")
	code, out, _ := ranConfig(t, "show", "-c", file, "--set", "stop.dump=2s", "-o", "json", "stop")
	var settings []config.Setting
	if err := json.Unmarshal([]byte(out), &settings); err != nil || code != exitOK {
		t.Fatalf("got %d, %v", code, err)
	}
	want := []config.Setting{
		{Key: "stop.transfer", Value: "5s", Origin: config.Origin{From: config.FromDefault}},
		{Key: "stop.grace", Value: "7s", Origin: config.Origin{From: config.FromFile, Name: file, Line: 3}},
		{Key: "stop.dump", Value: "2s", Origin: config.Origin{From: config.FromFlag, Name: "--set"}},
	}
	if !slices.Equal(settings, want) {
		t.Errorf("got %+v", settings)
	}
	if code, _, _ := ranConfig(t, "show", "no-such-key"); code != exitUsage {
		t.Errorf("an unknown key ends with %d", code)
	}
	if code, out, _ := ranConfig(t, "show"); code != exitOK || !strings.Contains(out, "etcd.args.listen-client-urls") {
		t.Errorf("got %d, %q", code, out)
	}
}

func TestConfigExampleAndReference(t *testing.T) {
	code, out, _ := ranConfig(t, "example")
	if code != exitOK {
		t.Fatalf("got %d", code)
	}
	if code, _, errs := ranConfig(t, "show", "-c", configFile(t, out)); code != exitOK {
		t.Errorf("the example is faulty: %s", errs)
	}
	if code, out, _ := ranConfig(t, "reference"); code != exitOK || out != config.Reference() {
		t.Errorf("got %d", code)
	}
	var all []keyReference
	_, out, _ = ranConfig(t, "reference", "-o", "json")
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != len(config.Keys()) {
		t.Errorf("%d keys, %v", len(all), err)
	}
}

func TestConfigCompletion(t *testing.T) {
	for typed, want := range map[string]string{"log.max_s": "log.max_size=", "log.compress=": "log.compress=false", "etcd.a": "etcd.args.", "health.ready=": "health.ready=started"} {
		offers, _ := completeSetting(typed)
		if !slices.ContainsFunc(offers, func(o string) bool { return strings.Split(o, "\t")[0] == want }) {
			t.Errorf("%q: got %v", typed, offers)
		}
	}
}
