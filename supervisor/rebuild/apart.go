package rebuild

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Apart does the work of this package in a child process: this executable under the name [Name], see [Enter]. etcd's
// modules may panic on damaged data in goroutines of their own, which would be the end of whoever called them, and they
// read as much into memory as an etcd has. The child ends with us, however we end, and with the context of a call, at
// once. What was cut short can be done again.
type Apart struct {
	Tell func(doing string) // how far it is; may be nil
}

// Restore is [Restore]. What an ended child leaves is said there.
func (a *Apart) Restore(ctx context.Context, source, dst string, o Options) (r Restored, err error) {
	if err = a.do(ctx, order{Work: "restore", Source: source, Dst: dst, Options: o}, &r); err != nil && !isFailure(err) {
		err = fmt.Errorf("cannot restore %s to %s: %w", source, dst, err)
	}
	return r, err
}

// KeepEntries is [KeepEntries].
func (a *Apart) KeepEntries(ctx context.Context, dataDir, walDir string) (k Kept, err error) {
	if err = a.do(ctx, order{Work: "keep-entries", Source: dataDir, WALDir: walDir}, &k); err != nil && !isFailure(err) {
		err = fmt.Errorf("cannot keep the last entries in %s: %w", dataDir, err)
	}
	return k, err
}

// isFailure tells that the child itself has said what it could not do.
func isFailure(err error) bool {
	_, is := errors.AsType[*failure](err)
	return is
}

// do has a child do the work, and decodes what it came to.
func (a *Apart) do(ctx context.Context, o order, result any) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args, cmd.Env, cmd.Dir = []string{Name, string(text)}, []string{}, "/"
	// A group of its own, so that a Ctrl-C meant for us does not end it half-way.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	said, heard := &lastWords{}, &listener{tell: a.Tell}
	cmd.Stdout, cmd.Stderr = heard, said
	err = runLocked(cmd)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case heard.last.Failed != nil:
		return heard.last.Failed
	case err == nil && heard.last.Result != nil:
		return json.Unmarshal(heard.last.Result, result)
	case said.panicked():
		return fmt.Errorf("%w: %s", ErrDamaged, said.first())
	case err == nil:
		err = errors.New("it has said nothing")
	}
	return fmt.Errorf("the process that does it ended: %w: %s", err, said.first())
}

// runLocked runs the command from a thread that lives until the command has ended: the kernel takes the end of the thread
// for ours.
func runLocked(cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { // ends with the command
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ended <- cmd.Run()
	}()
	return <-ended
}

// listener reads the child's reports as they come.
type listener struct {
	tell func(string)
	part []byte
	last report // the newest that is no progress
}

// Write takes whole lines out of what has come; one that is not understood is no report. exec calls it from one goroutine.
func (l *listener) Write(b []byte) (int, error) {
	l.part = append(l.part, b...)
	for {
		line, rest, whole := bytes.Cut(l.part, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		var r report
		if json.Unmarshal(line, &r) == nil {
			l.hear(r)
		}
		l.part = append([]byte{}, rest...)
	}
}

func (l *listener) hear(r report) {
	switch {
	case r.Doing == "":
		l.last = r
	case l.tell != nil:
		l.tell(r.Doing)
	}
}

// lastWords are the first of what the child prints when it panics.
type lastWords struct {
	mu   sync.Mutex
	text []byte
}

const mostWords = 4 << 10

// Write keeps the beginning, where the reason stands.
func (w *lastWords) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b[:min(len(b), mostWords-len(w.text))]...)
	return len(b), nil
}

// reasons are how Go begins the last words of a program that ends by itself because something is wrong with it.
var reasons = []string{"panic: ", "fatal error: ", "unexpected fault address ", "SIGBUS: ", "SIGSEGV: "}

func (w *lastWords) panicked() bool {
	for _, r := range reasons {
		if strings.HasPrefix(w.first(), r) {
			return true
		}
	}
	return false
}

// first is the first line.
func (w *lastWords) first() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := bufio.NewScanner(bytes.NewReader(w.text))
	for lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); text != "" {
			return text
		}
	}
	return "it said nothing"
}
