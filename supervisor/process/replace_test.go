package process

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// replace starts a child and becomes the next of the fakes, which has only what it is told and what it inherits.
func replace([]string) {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := Start(Spec{Path: self(), Args: []string{"etcd", fake + "exit-42"}, Env: os.Environ(), Output: w})
	if err != nil {
		fmt.Println(err)
		return
	}
	if said, err := bufio.NewReader(r).ReadString('\n'); said != "ready\n" { // before that, SIGTERM ends it by itself
		fmt.Println(said, err)
		return
	}
	id, _ := json.Marshal(p.ID())
	kept, other := must(os.CreateTemp("", "kept")), must(os.Open(os.DevNull))
	fmt.Fprint(kept, "what is kept")
	_ = os.Remove(kept.Name())
	err = Replace(Replacement{
		Exe: must(os.Open(self())), Args: []string{"other", fake + "replaced", string(id), strconv.Itoa(os.Getpid()), strconv.Itoa(int(kept.Fd())), strconv.Itoa(int(other.Fd()))},
		Env: append(os.Environ(), "REPLACED=yes"), Keep: []int{int(kept.Fd())},
	})
	fmt.Println(err)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// replaced says, in a line each, what has come through.
func replaced(args []string) {
	fmt.Println("same PID", strconv.Itoa(os.Getpid()) == args[1], os.Getenv("REPLACED"))
	fd := number(args[2])
	if err := Inherited([]int{fd}); err != nil {
		fmt.Println(err)
	}
	f := os.NewFile(uintptr(fd), "kept")
	_, _ = f.Seek(0, io.SeekStart)
	text, _ := io.ReadAll(f)
	flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	fmt.Println("file", string(text), flags == unix.FD_CLOEXEC)
	fmt.Println("other file", Inherited([]int{number(args[3])}) != nil)
	var id ID
	_ = json.Unmarshal([]byte(args[0]), &id)
	p, err := Adopt(id)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		fmt.Println(err)
	}
	fmt.Println("child", p.Child(), p.Wait())
}

func TestReplace(t *testing.T) {
	_, r := command(t, "replace")
	var got []string
	for lines := bufio.NewScanner(r); lines.Scan(); {
		got = append(got, lines.Text())
	}
	want := []string{"same PID true yes", "file what is kept true", "other file true", "child true exit code 42"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestReplaceThatFails leaves all as it was.
func TestReplaceThatFails(t *testing.T) {
	text, err := os.CreateTemp(t.TempDir(), "text")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(text, "no program")
	if err := text.Chmod(0o755); err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	fd := int(text.Fd())
	before := field("SigBlk")
	if err := Replace(Replacement{Exe: text, Args: []string{"x"}, Keep: []int{fd}}); err == nil {
		t.Error("executed")
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags != unix.FD_CLOEXEC {
		t.Errorf("flags %d, %v", flags, err)
	}
	if after := field("SigBlk"); after != before {
		t.Errorf("blocked signals %s became %s", before, after)
	}
	launch(t, Spec{}, "sleep") // a child can still be born
}
