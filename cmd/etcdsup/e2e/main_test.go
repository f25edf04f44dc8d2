package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// program is the built etcdsup, self this test executable, which stands in for etcd when it is started with --fake.
var program, self string

func TestMain(m *testing.M) {
	if a := parseFake(os.Args[1:]); a.mode != "" {
		os.Exit(fake(a))
	}
	if word := brokenAs(); word != "" {
		os.Exit(broken(word, os.Args[1:]))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "eu-bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if self, err = os.Executable(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if program = os.Getenv("E2E_PROGRAM"); program != "" {
		return m.Run()
	}
	program = filepath.Join(dir, "etcdsup")
	args := []string{"build", "-o", program}
	if raceEnabled() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "..")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build etcdsup: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// raceEnabled tells whether this test executable was built with -race: then etcdsup is too.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// times is how often something is repeated: a few times, many with ETCDSUP_LONG=1, and with ETCDSUP_LONG=ci a tenth of
// many, which the race detector gets through in some minutes.
func times(short, long int) int {
	switch os.Getenv("ETCDSUP_LONG") {
	case "1":
		return long
	case "ci":
		return max(short, long/10)
	}
	return short
}
