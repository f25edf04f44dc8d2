package main

import (
	"slices"
	"strings"
	"testing"
)

// The rules are tried on sources that break them, one each, and on some that look as if they did.

func TestHouseRulesFindWhatBreaksThem(t *testing.T) {
	for _, tt := range []struct{ rule, path, text string }{
		{"import", "supervisor/process/x.go", `import "github.com/etcdsup/etcdsup/supervisor"`},
		{"import", "supervisor/process/x.go", `import "github.com/etcdsup/etcdsup/supervisor/control"`},
		{"import", "supervisor/process/x_test.go", `import . "github.com/etcdsup/etcdsup/supervisor/cluster"`},
		{"import", "supervisor/cluster/x.go", `import _ "github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"`},
		{"import", "cmd/etcdsup/x.go", `import "github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"`},
		{"import", "supervisor/cluster/x.go", `import "github.com/etcdsup/etcdsup/supervisor/etcdbin"`},
		{"import", "supervisor/status/x.go", `import "github.com/etcdsup/etcdsup/config"`},
		{"import", "supervisor/x.go", `import "github.com/etcdsup/etcdsup/supervisor/control"`},
		{"import", "supervisor/x.go", `import "github.com/etcdsup/etcdsup/logsink"`},
		{"import", "config/x.go", `import "github.com/etcdsup/etcdsup/supervisor/status"`},
		{"import", "logsink/x.go", `import "github.com/etcdsup/etcdsup/config"`},
		{"import", "logsink/logread/x.go", `import "github.com/etcdsup/etcdsup/logsink"`},
		{"import", "util/x.go", ``},
		{"import", "configuration/x.go", ``},
		{"module", "cmd/etcdsup/x.go", `import clientv3 "go.etcd.io/etcd/client/v3"`},
		{"module", "supervisor/x.go", `import "go.etcd.io/etcd/server/v3/etcdmain"`},
		{"module", "logsink/logread/x.go", `import "gopkg.in/natefinch/lumberjack.v2"`},
		{"module", "cmd/etcdsup/x.go", `import "github.com/goccy/go-yaml/ast"`},
		{"module", "supervisor/control/x.go", `import "github.com/spf13/cobra"`},
		{"module", "supervisor/process/x.go", `import "go.uber.org/zap"`},
		{"module", "config/x.go", `import "go.uber.org/goleak"`},
		{"module", "config/x.go", `import "example.com/left/pad"`},
		{"cgo", "logsink/x.go", `import "C"`},
		{"length", "config/x.go", strings.Repeat("\n", maxLines)},
		{"sleep", "config/x_test.go", `func f() { time.Sleep(1) }`},
		{"sleep", "config/x_test.go", `var wait = time.Sleep`},
		{"pdeathsig", "supervisor/process/x.go", `var a = &syscall.SysProcAttr{Pdeathsig: 9}`},
		{"pdeathsig", "supervisor/process/x.go", `func f() { a.Pdeathsig = 9 }`},
		{"skip", "config/x_test.go", `func f(t *testing.T) { t.Skip("not today") }`},
		{"skip", "config/x_test.go", `func f(b *testing.B) { if testing.Short() { b.Skipf("%d", 1) } }`},
		{"skip", "config/x_test.go", `func f(t testing.TB) { if os.Geteuid() == 0 { t.SkipNow() } }`},
		{"skip", "config/x_test.go", `func f(s *suite) { s.T.Skip() }`},
		{"skip", "config/x_test.go", `func f(t *rapid.T) { g(func(t *testing.T) { t.Skip() }) }`},
	} {
		if got := brokenBy(t, tt.path, tt.text); !slices.Equal(got, []string{tt.rule}) {
			t.Errorf("%s: %.60s\n\tbreaks %q, want %q", tt.path, tt.text, got, tt.rule)
		}
	}
}

func TestHouseRulesLeaveTheRestAlone(t *testing.T) {
	for _, tt := range []struct{ path, text string }{
		{"cmd/etcdsup/x.go", `import ("github.com/etcdsup/etcdsup/supervisor"; "github.com/etcdsup/etcdsup/supervisor/control")`},
		{"cmd/etcdsup/x_test.go", `import ("github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"; "go.etcd.io/etcd/client/v3")`},
		{"supervisor/process/x_test.go", `import ("github.com/etcdsup/etcdsup/supervisor/process"; "go.uber.org/goleak")`},
		{"supervisor/cluster/x.go", `import ("github.com/etcdsup/etcdsup/supervisor/status"; "google.golang.org/grpc/codes"; "golang.org/x/sys/unix")`},
		{"supervisor/cluster/x_test.go", `import "github.com/etcdsup/etcdsup/supervisor/internal/etcdtest"`},
		{"supervisor/internal/etcdtest/x.go", `import "github.com/etcdsup/etcdsup/supervisor/etcdbin"`},
		{"config/x.go", `func f() { time.Sleep(1) } // sleeps and Pdeathsig` + strings.Repeat("\n", maxLines-1)},
		{"config/x_test.go", `const s = "time.Sleep(1), Pdeathsig, t.Skip()"` + strings.Repeat("\n", 2*maxLines)},
		{"config/x_test.go", `func f(t *testing.T) { if os.Geteuid() != 0 { t.Skip("not root") } }`},
		{"config/x_test.go", `func f(t *testing.T) { g(func(t *rapid.T) { if full() { t.Skip("full") } }) }`},
	} {
		if got := brokenBy(t, tt.path, tt.text); len(got) > 0 {
			t.Errorf("%s: %.60s\n\tbreaks %q", tt.path, tt.text, got)
		}
	}
}

// brokenBy names the rules that a source breaks.
func brokenBy(t *testing.T, path, text string) []string {
	t.Helper()
	s, err := parseSource(path, []byte("package x\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range houseRules {
		if len(r.broken(s)) > 0 {
			names = append(names, r.name)
		}
	}
	return names
}

func TestStrays(t *testing.T) {
	names := []string{".ci", "cmd", "internal", "etcdsup", "bin", "main.go", "go.mod", "etcd"}
	if got := strays(names, "/etcdsup\n/bin/\n*.test\n"); !slices.Equal(got, []string{"internal", "main.go", "etcd"}) {
		t.Errorf("got %q", got)
	}
}
