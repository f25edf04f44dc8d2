package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// brokenMark stands before the word at the end of an executable that says how it is to be broken. It is this test
// executable, in the place of a new etcdsup.
const brokenMark = "\n--- broken: "

// brokenAs is that word; empty: this executable is as it should be.
func brokenAs() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	end := make([]byte, 256)
	n, _ := f.ReadAt(end, max(0, info.Size()-int64(len(end))))
	_, word, _ := strings.Cut(string(end[:n]), brokenMark)
	return strings.TrimSpace(word)
}

// broken is a new etcdsup's whole life. It returns the exit code.
func broken(word string, args []string) int {
	word, program, _ := strings.Cut(word, " ")
	if slices.Contains(args, "can-take-over") {
		return brokenAnswer(word)
	}
	switch word {
	case "panics":
		panic("a mistake of the new version")
	case "hangs":
		select {}
	case "kills-itself":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "cannot-start": // a whole etcdsup, which does not understand how it was started
		err := syscall.Exec(program, append(slices.Clone(os.Args), "--set", "no.such_key=1"), os.Environ())
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0 // at once
}

func brokenAnswer(word string) int {
	switch word {
	case "panics-when-asked":
		panic("a mistake of the new version")
	case "hangs-when-asked":
		select {}
	case "refuses":
		fmt.Fprintln(os.Stderr, `{"error":"the moon is full","remedy":"wait a fortnight","code":"failure","exit":1}`)
		return 1
	case "silent":
		return 0
	}
	fmt.Println(`{"version":"v99"}`)
	return 0
}
