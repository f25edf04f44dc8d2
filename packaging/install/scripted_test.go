package install

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestScripts(t *testing.T) {
	for _, k := range kinds {
		for _, s := range []script{
			{Name: "etcdsup", Instance: "default", Binary: "/usr/local/bin/etcdsup", User: "etcd", Group: "etcd"},
			{Name: "etcdsup-a.b", Instance: "a.b", Binary: "/opt/it's here/etcdsup", User: "kv", Group: "staff"},
		} {
			m := scripted{k}
			text := m.render(s)
			head, ok := parseHead(text)
			head.Name, head.Instance = s.Name, s.Instance
			if !ok || head != s || m.render(head) != text {
				t.Errorf("%s: %+v is read from\n%s", k.title, head, text)
			}
			run := " run\n"
			if s.Instance != "default" {
				run = " run -i a.b\n"
			}
			if k.text != "sysv.sh" && !strings.Contains(text, strings.TrimSpace(run)) || strings.Contains(text, "{{") {
				t.Errorf("%s does not run the instance:\n%s", k.title, text)
			}
			checkShell(t, k, text)
		}
	}
}

// checkShell has a shell read the text without running it. Upstart's is none.
func checkShell(t *testing.T, k kind, text string) {
	t.Helper()
	if strings.HasSuffix(k.text, ".conf") {
		return
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s%s", k.title, err, out, text)
	}
}

func TestParent(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if got := parent(cmd.Process.Pid); got != os.Getpid() {
		t.Errorf("the child's parent is %d", got)
	}
	if got := parent(1 << 30); got != 0 {
		t.Errorf("a process that is not there has the parent %d", got)
	}
}
