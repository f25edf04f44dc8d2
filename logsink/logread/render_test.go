package logread

import (
	"bytes"
	"testing"
	"time"
)

// rendered shows all lines of a text in a format.
func rendered(t *testing.T, f Format, s Style, text string) string {
	t.Helper()
	var out bytes.Buffer
	r := NewRenderer(&out, f, s)
	j := newJudge(&Options{Location: time.UTC})
	lines := &lineReader{r: bytes.NewBufferString(text)}
	for {
		raw, err := lines.next()
		if err != nil {
			rest, ok := lines.rest()
			if !ok {
				break
			}
			raw = rest
		}
		line, _ := j.see(raw)
		if err := r.Render(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const sample = `[WARNING] early
{"level":"info","ts":"2026-11-22T23:59:59.976Z","caller":"etcdmain/etcd.go:134","msg":"already initialized","data-dir":"data/n1","list":["a b"],"empty":"","q":"say \"x\""}
{"level":"error","ts":"2026-11-23T00:00:01.5Z","logger":"raft","msg":"failed","path":"p","error":"no such file","stacktrace":"a.b\n\ta.go:1"}
{"level":"warn","ts":"2026-11-23T00:00:02Z","logger":"etcdsup","msg":"log output dropped","dropped-bytes":2048,"dropped-lines":3}
panic: oh ` + "\x1b[2J\u202e" + `

goroutine 1 [running]:
` + "\tmain.go:1\n" + `{"level":"info","ts":"2026-11-23T00:00:03Z","msg":"torn"`

func TestRenderPretty(t *testing.T) {
	got := rendered(t, Pretty, Style{Location: time.UTC}, sample)
	want := `             WARN  [WARNING] early
-- 2026-11-22 +00:00 --
23:59:59.976 INFO  already initialized  data-dir=data/n1  list=["a b"]  empty=""  q="say \"x\""  (etcdmain/etcd.go:134)
-- 2026-11-23 +00:00 --
00:00:01.500 ERROR raft: failed  error="no such file"  path=p
    a.b
        a.go:1
00:00:02.000 WARN  ~~~~ GAP: output of etcd is missing here  dropped-bytes=2048  dropped-lines=3 ~~~~
00:00:02.000 PANIC panic: oh \x1b[2J\u202e

    goroutine 1 [running]:
        main.go:1
00:00:03.000 INFO  {"level":"info","ts":"2026-11-23T00:00:03Z","msg":"torn"
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestRenderColours(t *testing.T) {
	got := rendered(t, Pretty, Style{Location: time.UTC, Color: true}, `{"level":"error","ts":"2026-11-22T23:59:59.976Z","msg":"m`+"\x1b[0m"+`","error":"e"}`)
	want := "\x1b[2m-- 2026-11-22 +00:00 --\x1b[0m\n\x1b[2m23:59:59.976\x1b[0m \x1b[31mERROR\x1b[0m m\\x1b[0m  \x1b[1;31merror=e\x1b[0m\n"
	if got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestRenderJSON(t *testing.T) {
	got := rendered(t, JSON, Style{}, sample)
	want := `{"level":"warn","kind":"text","msg":"[WARNING] early"}
{"time":"2026-11-22T23:59:59.976Z","level":"info","kind":"json","caller":"etcdmain/etcd.go:134","msg":"already initialized","fields":{"data-dir":"data/n1","list":["a b"],"empty":"","q":"say \"x\""}}
{"time":"2026-11-23T00:00:01.5Z","level":"error","kind":"json","logger":"raft","msg":"failed","fields":{"path":"p","error":"no such file","stacktrace":"a.b\n\ta.go:1"}}
{"time":"2026-11-23T00:00:02Z","level":"warn","kind":"gap","logger":"etcdsup","msg":"log output dropped","fields":{"dropped-bytes":2048,"dropped-lines":3}}
{"time":"2026-11-23T00:00:02Z","level":"panic","kind":"crash","msg":"panic: oh \u001b[2J\u202e"}
{"time":"2026-11-23T00:00:02Z","level":"panic","kind":"more","raw":""}
{"time":"2026-11-23T00:00:02Z","level":"panic","kind":"more","raw":"goroutine 1 [running]:"}
{"time":"2026-11-23T00:00:02Z","level":"panic","kind":"more","raw":"\tmain.go:1"}
{"time":"2026-11-23T00:00:03Z","level":"info","kind":"json","raw":"{\"level\":\"info\",\"ts\":\"2026-11-23T00:00:03Z\",\"msg\":\"torn\""}
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestRenderJSONKeepsRepeatedKeys(t *testing.T) {
	got := rendered(t, JSON, Style{}, `{"level":"info","a":1,"a":2,"a#2":3,"a":4}`)
	if want := `{"level":"info","kind":"json","msg":"","fields":{"a":1,"a#3":2,"a#2":3,"a#4":4}}` + "\n"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestRenderRawIsTheBytes(t *testing.T) {
	if got := rendered(t, Raw, Style{}, sample); got != sample {
		t.Errorf("got %q", got)
	}
}

// Each of many equal keys must not be compared with all others: a line can be long, and strangers have a say in it.
func TestRenderManyEqualKeys(t *testing.T) {
	line := []byte(`{"level":"info"`)
	for len(line) < MaxLine/4 {
		line = append(line, `,"":0`...)
	}
	line = append(line, '}')
	checkLine(t, line)
}
