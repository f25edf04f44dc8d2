package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// fakeArgs are the flags of a stand-in for etcd.
type fakeArgs struct {
	mode    string
	dataDir string
	pace    int // lines a second; 0: as fast as it can
	all     []string
}

func parseFake(args []string) (a fakeArgs) {
	a.all = args
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "--fake":
			a.mode = value
		case "--data-dir":
			a.dataDir = value
		case "--pace":
			a.pace, _ = strconv.Atoi(value)
		}
	}
	return a
}

// fake is a stand-in's whole life; it returns the exit code.
func fake(a fakeArgs) int {
	switch a.mode {
	case "idle": // ends with SIGTERM, at once
		await := make(chan os.Signal, 1)
		signal.Notify(await, syscall.SIGTERM)
		<-await
	case "seven": // ends with SIGTERM too, and not well
		await := make(chan os.Signal, 1)
		signal.Notify(await, syscall.SIGTERM)
		<-await
		return 7
	case "lines":
		return fakeLines(a)
	case "slow": // answers nobody, and works a little all the time
		for range time.Tick(20 * time.Millisecond) {
			for began := time.Now(); time.Since(began) < 5*time.Millisecond; {
			}
		}
	case "stubborn": // takes neither SIGTERM nor SIGQUIT, and has a child in a session of its own that is alike
		signal.Ignore(syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGINT)
		return fakeForkAway(a)
	case "middle":
		return fakeForkAway(a)
	case "container": // no etcd: what makes a container, see container_test.go
		return fakeContainer(a.all)
	case "breeder": // has a grandchild that is orphaned, and then ends with an exit code that is nobody's
		return fakeBreed(a)
	case "bred":
		return fakeForkAway(a)
	case "orphan":
		return fakeOrphan(a)
	case "escaped":
		signal.Ignore(syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGINT)
		select {}
	}
	return 0
}

// fakeForkAway starts the next generation in a new session; the middle one of them ends at once.
func fakeForkAway(a fakeArgs) int {
	next := map[string]string{"stubborn": "middle", "middle": "escaped", "breeder": "bred", "bred": "orphan"}[a.mode]
	cmd := exec.Command(self0(), "--fake="+next, "--data-dir="+a.dataDir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 1
	}
	if a.mode == "middle" || a.mode == "bred" {
		return 0
	}
	_ = cmd.Wait()
	if a.mode == "breeder" {
		return 0
	}
	select {}
}

// fakeBreed lives until SIGTERM, once its child has left it a grandchild that is no longer anybody's.
func fakeBreed(a fakeArgs) int {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	if code := fakeForkAway(a); code != 0 {
		return code
	}
	<-end
	return 0
}

func orphanFile(dataDir string) string { return filepath.Join(dataDir, "orphan") }

// fakeOrphan waits until it is one, says so, and ends.
func fakeOrphan(a fakeArgs) int {
	for range time.Tick(time.Millisecond) {
		if os.Getppid() == 1 {
			break
		}
	}
	if os.WriteFile(orphanFile(a.dataDir), nil, 0o600) != nil {
		return 1
	}
	return 3
}

func self0() string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exe
}

// fakeLines writes numbered lines, one write each, until SIGTERM; then it leaves their number in its data folder.
func fakeLines(a fakeArgs) int {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	began := time.Now()
	n := lastCount(a.dataDir) // a new generation goes on counting
	first := n
	line := make([]byte, 0, 128)
	for {
		select {
		case <-end:
			return keepCount(a.dataDir, n)
		default:
		}
		line = appendLine(line[:0], n)
		if _, err := os.Stdout.Write(line); err != nil {
			return 1
		}
		n++
		if a.pace > 0 && (n-first)%(a.pace/100+1) == 0 {
			due := began.Add(time.Duration(n-first) * time.Second / time.Duration(a.pace))
			<-time.After(time.Until(due))
		}
	}
}

func countFile(dataDir string) string { return filepath.Join(dataDir, "lines") }

func lastCount(dataDir string) int {
	b, _ := os.ReadFile(countFile(dataDir))
	n, _ := strconv.Atoi(string(b))
	return n
}

func keepCount(dataDir string, n int) int {
	if os.WriteFile(countFile(dataDir), []byte(strconv.Itoa(n)), 0o600) != nil {
		return 1
	}
	return 0
}

// appendLine is line n: its number twice, so that a torn one is seen.
func appendLine(b []byte, n int) []byte {
	return fmt.Appendf(b, "%012d %s %012d\n", n, filler[:n%len(filler)], n)
}

const filler = "the quick brown fox jumps over the lazy dog and over"
