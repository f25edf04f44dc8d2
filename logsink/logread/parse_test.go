package logread

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestParseForms(t *testing.T) {
	berlin := time.FixedZone("", 3600)
	tests := map[string]struct {
		line string
		want Entry
	}{
		"zap": {
			`{"level":"warn","ts":"2026-11-22T15:47:18.976123Z","logger":"raft","caller":"raft/node.go:1","msg":"slow","took":1.5,"to":["a", "b"],"error":"x \"y\""}` + "\n",
			Entry{Line: Line{Kind: KindJSON, Level: LevelWarn, Time: at("2026-11-22T15:47:18.976123Z")}, Logger: "raft", Caller: "raft/node.go:1", Msg: "slow",
				Fields: []Field{{"took", "1.5", false}, {"to", `["a","b"]`, false}, {"error", `x "y"`, true}}},
		},
		"zap, own keys elsewhere and twice": {
			`{"msg":"m","time":1700000000.25,"x":{"level":"error"},"level":"info","msg":"n"}`,
			Entry{Line: Line{Kind: KindJSON, Level: LevelInfo, Time: at("2023-11-14T22:13:20.25Z")}, Msg: "m",
				Fields: []Field{{"x", `{"level":"error"}`, false}, {"msg", "n", true}}},
		},
		"zap with a zone, CRLF and NULs before it": {
			"\x00\x00" + `{"level":"fatal","ts":"2026-11-22T15:47:18.976+0100","msg":"discovery failed"}` + "\r\n",
			Entry{Line: Line{Kind: KindJSON, Level: LevelFatal, Time: at("2026-11-22T14:47:18.976Z")}, Msg: "discovery failed"},
		},
		"zap, torn": {
			`{"level":"info","ts":"2026-11-22T15:47:18.976Z","msg":"half","error":"no en`,
			Entry{Line: Line{Kind: KindJSON, Level: LevelInfo, Time: at("2026-11-22T15:47:18.976Z")}, Broken: true,
				Msg: `{"level":"info","ts":"2026-11-22T15:47:18.976Z","msg":"half","error":"no en`},
		},
		"gap": {
			`{"level":"warn","ts":"2026-11-22T15:47:18.976123Z","logger":"etcdsup","msg":"log output dropped","dropped-bytes":12,"dropped-lines":1}`,
			Entry{Line: Line{Kind: KindGap, Level: LevelWarn, Time: at("2026-11-22T15:47:18.976123Z")}, Logger: "etcdsup", Msg: "log output dropped",
				Fields: []Field{{"dropped-bytes", "12", false}, {"dropped-lines", "1", false}}},
		},
		"capnslog": {
			"2026-11-22 15:37:49.474943 E | etcdserver: publish error: timed out",
			Entry{Line: Line{Kind: KindCapnslog, Level: LevelError, Time: at("2026-11-22T14:37:49.474943Z")}, Logger: "etcdserver", Msg: "publish error: timed out"},
		},
		"capnslog without a package": {
			"2026-11-22 15:37:49.474943 N | not a package: text",
			Entry{Line: Line{Kind: KindCapnslog, Level: LevelInfo, Time: at("2026-11-22T14:37:49.474943Z")}, Msg: "not a package: text"},
		},
		"raft": {
			"raft2026/01/02 03:04:05 INFO: 8e9e05c52164694d became leader at term 2",
			Entry{Line: Line{Kind: KindRaft, Level: LevelInfo, Time: at("2026-01-02T02:04:05Z")}, Logger: "raft", Msg: "8e9e05c52164694d became leader at term 2"},
		},
		"gRPC": {
			"2026/01/02 03:04:05 WARNING: [core] [Channel #3] grpc: failed",
			Entry{Line: Line{Kind: KindStdlog, Level: LevelWarn, Time: at("2026-01-02T02:04:05Z")}, Logger: "grpc", Msg: "[core] [Channel #3] grpc: failed"},
		},
		"net/http": {
			"2026/01/02 03:04:05 http: TLS handshake error from 127.0.0.1:1: EOF",
			Entry{Line: Line{Kind: KindStdlog, Level: LevelWarn, Time: at("2026-01-02T02:04:05Z")}, Msg: "http: TLS handshake error from 127.0.0.1:1: EOF"},
		},
		"console": {
			"2026-11-22T15:47:18.976Z\tinfo\traft\tetcdserver/server.go:12\ta\tb\t{\"k\": [1, 2], \"s\": \"t\"}",
			Entry{Line: Line{Kind: KindConsole, Level: LevelInfo, Time: at("2026-11-22T15:47:18.976Z")}, Logger: "raft", Caller: "etcdserver/server.go:12", Msg: "a\tb",
				Fields: []Field{{"k", "[1,2]", false}, {"s", "t", true}}},
		},
		"console, only text": {
			"2026-11-22T15:47:18.976Z\tERROR\tall of it",
			Entry{Line: Line{Kind: KindConsole, Level: LevelError, Time: at("2026-11-22T15:47:18.976Z")}, Msg: "all of it"},
		},
		"panic":             {"panic: boom", Entry{Line: Line{Kind: KindCrash, Level: LevelPanic}, Msg: "panic: boom"}},
		"runtime fault":     {"fatal error: fault", Entry{Line: Line{Kind: KindCrash, Level: LevelPanic}, Msg: "fatal error: fault"}},
		"flag error":        {"flag provided but not defined: -x", Entry{Line: Line{Kind: KindText, Level: LevelError}, Msg: "flag provided but not defined: -x"}},
		"stack":             {"\tgo.etcd.io/x.go:1 +0x1", Entry{Msg: "\tgo.etcd.io/x.go:1 +0x1"}},
		"object, no entry":  {`{"a":1}`, Entry{Msg: `{"a":1}`}},
		"date, no entry":    {"2026-11-22 is a day in autumn", Entry{Msg: "2026-11-22 is a day in autumn"}},
		"impossible time":   {"2026-13-22 15:37:49.474943 E | x: y", Entry{Msg: "2026-13-22 15:37:49.474943 E | x: y"}},
		"empty":             {"\n", Entry{}},
		"nothing but NULs":  {"\x00\x00\x00", Entry{}},
		"unterminated date": {"2026", Entry{Msg: "2026"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Parse([]byte(tt.line), berlin)
			if !got.Time.Equal(tt.want.Time) {
				t.Errorf("time %v, want %v", got.Time, tt.want.Time)
			}
			if got.Broken {
				got.Fields, got.Logger, got.Caller = nil, "", ""
			}
			got.Time, tt.want.Time, got.Raw = time.Time{}, time.Time{}, nil
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// kinds counts the lines of a captured log by their form.
func kinds(t *testing.T, file string) map[Kind]int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	found := map[Kind]int{}
	for line := range bytes.Lines(data) {
		e := Parse(line, time.UTC)
		found[e.Kind]++
		if e.Broken {
			t.Errorf("%s: broken: %s", file, line)
		}
		if e.Time.IsZero() && e.Kind != KindMore && e.Kind != KindCrash && e.Kind != KindText {
			t.Errorf("%s: no time: %s", file, line)
		}
	}
	return found
}

func TestParseRealLogs(t *testing.T) {
	want := map[string]map[Kind]int{
		"json-panic-3.7.3.log":      {KindJSON: 12, KindCrash: 1, KindMore: 18},
		"json-fault-3.7.3.log":      {KindJSON: 8, KindCrash: 2, KindMore: 191},
		"json-oom-3.4.23.log":       {KindJSON: 4, KindCrash: 1, KindMore: 18},
		"json-grpc-3.5.35.log":      {KindJSON: 54, KindStdlog: 5},
		"usage-3.7.3.log":           {KindText: 1, KindMore: 24},
		"capnslog-panic-3.4.23.log": {KindCapnslog: 16, KindText: 2, KindCrash: 1, KindMore: 22},
		"capnslog-raft-3.4.23.log":  {KindCapnslog: 28, KindText: 2, KindRaft: 9},
		"console-3.7.3.log":         {KindConsole: 70, KindMore: 16},
	}
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) != len(want) {
		t.Fatalf("captured logs: %v, %v; %d are described", files, err, len(want))
	}
	for file, counts := range want {
		if got := kinds(t, file); !reflect.DeepEqual(got, counts) {
			t.Errorf("%s: %v, want %v", file, got, counts)
		}
	}
}

// checkLine holds for every line whatever is in it.
func checkLine(t *testing.T, raw []byte) {
	t.Helper()
	e := Parse(raw, time.UTC)
	line := Line{Raw: raw, Kind: e.Kind, Level: e.Level, Time: e.Time}
	if again := line.Entry(); !reflect.DeepEqual(again, e) {
		t.Errorf("taken apart later: %+v, at once: %+v", again, e)
	}
	if h := classify(body(raw), time.UTC); h.kind == KindMore && (h.level != LevelUnknown || !h.time.IsZero()) {
		t.Errorf("no head, but level %v, time %v", h.level, h.time)
	}
	checkPretty(t, line)
	checkJSON(t, line)
}

func checkPretty(t *testing.T, line Line) {
	t.Helper()
	var out bytes.Buffer
	r := NewRenderer(&out, Pretty, Style{Location: time.UTC})
	if err := r.Render(line); err != nil || r.Flush() != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(out.Bytes()) {
		t.Errorf("not UTF-8: %q", out.Bytes())
	}
	for _, c := range out.String() {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Fatalf("%q gets to the terminal in %q", c, out.String())
		}
	}
}

func checkJSON(t *testing.T, line Line) {
	t.Helper()
	var out bytes.Buffer
	r := NewRenderer(&out, JSON, Style{})
	if err := r.Render(line); err != nil || r.Flush() != nil {
		t.Fatal(err)
	}
	text := strings.TrimSuffix(out.String(), "\n")
	if !json.Valid([]byte(text)) || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		t.Errorf("bad JSON: %q", text)
	}
}

func FuzzLine(f *testing.F) {
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			f.Add(line)
		}
	}
	for _, s := range []string{
		"{\"level\":\"info\",\"ts\":\"2026-11-22T15:47:18.976Z\",\"msg\":\"\x1b[2J\\u001b]0;x\\u0007\u202e\",\"k\u0085\":[\"\u009b\x7f\",1e5]}",
		`{"level":"info","ts":1e400,"level":"x"}`, `{"level":"info","ts":-1}`, `{"level":"error"`, `{"level":"info","ts":"x`, "{", "{}", `{"":""}`,
		"2026-11-22T15:47:18.976Z\tinfo\t\t\t{", "raft", "\xff\xfe", `{"level":"info","a":1,"a":2,"a#2":3}`,
		"{\"level\":\"warn\",\"logger\":\"etcdsup\",\"msg\":\"log output dropped\",\"x\":\"\x1b\"}", "panic: \x9b31m", "2026/01/02 03:04:05 : ",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkLine(t, raw) })
}
