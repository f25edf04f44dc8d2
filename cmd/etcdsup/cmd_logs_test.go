package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdsup/etcdsup/logsink/logread"
)

const logLine = `{"level":"warn","ts":"2026-11-22T15:47:18.976Z","msg":"slow","took":"1s"}` + "\n"

func logFolder(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, etcdLogFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLogsFlags(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)
	tests := map[string]struct {
		flags logsFlags
		want  int
	}{
		"nothing":               {logsFlags{}, linesNow},
		"follow":                {logsFlags{follow: true}, linesFollowing},
		"number":                {logsFlags{lines: "7", follow: true}, 7},
		"all":                   {logsFlags{lines: "all", follow: true}, 0},
		"only new ones":         {logsFlags{lines: "0", follow: true}, logread.None},
		"since":                 {logsFlags{since: "10m"}, 0},
		"since and follow":      {logsFlags{since: "10m", follow: true}, 0},
		"since and a number":    {logsFlags{since: "10m", lines: "5"}, 5},
		"level":                 {logsFlags{level: "warn"}, 0},
		"expression and follow": {logsFlags{grep: "x", follow: true}, linesFollowing},
	}
	for name, tt := range tests {
		tt.flags.format = outputText
		if o, err := tt.flags.options(now); err != nil || o.Last != tt.want {
			t.Errorf("%s: %d lines, %v; want %d", name, o.Last, err, tt.want)
		}
	}
	for _, bad := range []logsFlags{{lines: "-1"}, {lines: "x"}, {level: "loud"}, {since: "soon"}, {until: "x"}, {since: "1m", until: "1h"}, {follow: true, until: "1m"}, {grep: "("}, {format: "xml"}} {
		if bad.format == "" {
			bad.format = outputText
		}
		if _, err := bad.options(now); err == nil || asFailure(&globals{}, err).code != exitUsage {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestLogsFormats(t *testing.T) {
	dir := logFolder(t, logLine)
	for format, want := range map[string]string{
		outputText: logLine, "raw": logLine,
		"json":   `{"time":"2026-11-22T15:47:18.976Z","level":"warn","kind":"json","msg":"slow","fields":{"took":"1s"}}` + "\n",
		"pretty": "WARN  slow  took=1s\n",
	} {
		var out bytes.Buffer
		if err := runLogs(t.Context(), dir, logsOptions{file: etcdLogFile, format: format}, &out); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out.String(), want) {
			t.Errorf("%s: %q", format, out.String())
		}
	}
}

func TestLogsCommand(t *testing.T) {
	base := t.TempDir()
	var out, errs bytes.Buffer
	run := func(args ...string) int {
		out.Reset()
		errs.Reset()
		return execute(t.Context(), append([]string{"--dir", base, "logs"}, args...), streams{in: strings.NewReader(""), out: &out, err: &errs})
	}
	if code := run(); code != exitFailure || !strings.Contains(errs.String(), "etcdsup run") {
		t.Errorf("without a log: exit code %d, %s", code, errs.String())
	}
	g := &globals{streams: streams{err: &errs}, dir: base}
	c, err := g.config()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(c.Log.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{etcdLogFile: logLine, selfLogName: "own\n"} {
		if err := os.WriteFile(filepath.Join(c.Log.Dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code := run("-o", "raw"); code != exitOK || out.String() != logLine {
		t.Errorf("exit code %d, %q, %s", code, out.String(), errs.String())
	}
	if code := run("--self"); code != exitOK || out.String() != "own\n" {
		t.Errorf("exit code %d, %q, %s", code, out.String(), errs.String())
	}
	if code := run("-n", "none"); code != exitUsage {
		t.Errorf("exit code %d for a wrong argument", code)
	}
}

// Following ends without an error when the context does.
func TestLogsFollowEnds(t *testing.T) {
	dir := logFolder(t, logLine)
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		o := logsOptions{file: etcdLogFile, format: "raw"}
		o.Follow = true
		ended <- runLogs(ctx, dir, o, write)
	}()
	lines := bufio.NewReader(read)
	for range 2 {
		if got, err := lines.ReadString('\n'); got != logLine || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		f, err := os.OpenFile(filepath.Join(dir, etcdLogFile), os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(logLine)
		}
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	cancel()
	go io.Copy(io.Discard, read) // ends with write
	if err := <-ended; err != nil {
		t.Error(err)
	}
	write.Close()
}

// logsHelper makes the test binary run the command on its real standard output.
const logsHelper = "ETCDSUP_TEST_LOGS_FOLDER"

func TestLogsHelper(t *testing.T) {
	dir := os.Getenv(logsHelper)
	if dir == "" {
		return // only a process for the tests below
	}
	ctx, stop := interruptible(context.Background())
	defer stop()
	o := logsOptions{file: etcdLogFile, format: "raw"}
	o.Follow = os.Getenv(logsHelper+"_FOLLOW") != ""
	if err := runLogs(ctx, dir, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startLogs runs the command in a process of its own whose first line was read already.
func startLogs(t *testing.T, dir, follow string) (cmd *exec.Cmd, out *os.File, errs *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errs = &bytes.Buffer{}
	cmd = exec.CommandContext(ctx, os.Args[0], "-test.run=^TestLogsHelper$")
	cmd.Env = append(os.Environ(), logsHelper+"="+dir, logsHelper+"_FOLLOW="+follow)
	cmd.Stdout, cmd.Stderr = write, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); read.Close() })
	write.Close()
	first := make([]byte, len(logLine))
	if _, err := io.ReadFull(read, first); err != nil || string(first) != logLine {
		t.Fatalf("got %q, %v", first, err)
	}
	return cmd, read, errs
}

func TestLogsEndQuietlyWhenNobodyReads(t *testing.T) {
	long := strings.Repeat(logLine, 100000)
	for name, tt := range map[string]struct{ text, follow string }{
		"in the middle of much": {long, ""}, "following much": {long, "1"}, "following a quiet log": {logLine, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, out, errs := startLogs(t, logFolder(t, tt.text), tt.follow)
			out.Close()
			if err := cmd.Wait(); err != nil || errs.Len() > 0 {
				t.Errorf("%v, %s", err, errs)
			}
		})
	}
}

func TestLogsEndQuietlyOnSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, _, errs := startLogs(t, logFolder(t, logLine), "1")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || errs.Len() > 0 {
			t.Errorf("%v: %v, %s", sig, err, errs)
		}
	}
}
