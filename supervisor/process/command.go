package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is a program that is run to its end, for what it does and what it prints.
type Command struct {
	Path    string        // of the executable
	Args    []string      // argv, argv[0] included
	Env     []string      // NAME=value, the whole environment
	Dir     string        // working directory; empty: ours
	Timeout time.Duration // from its start to SIGTERM
	Grace   time.Duration // from SIGTERM to SIGKILL
	Keep    int           // bytes of each of its two streams that are kept, the last ones
}

// Ran is what became of a command.
type Ran struct {
	Exit     Exit
	Took     time.Duration
	TimedOut bool // it was ended because it took too long
	Stdout   Tail
	Stderr   Tail
}

// Tail is the end of a stream.
type Tail struct {
	Text    []byte
	Dropped int64 // bytes before it
}

// lateOutput is how long what a command has printed may take to reach us once all of its group is dead. Only who has left
// the group can hold the stream open that long.
const lateOutput = time.Second

// Run runs a command in a session and process group of its own, with nothing to read, and returns when the program has
// ended and all that is left of its group was killed. When ctx ends it is ended as by its time-out, and the error is that
// of ctx. A program that ends in any way is no error of Run's.
func (c *Command) Run(ctx context.Context) (Ran, error) {
	var r Ran
	out, err := newCatch(c.Keep)
	if err != nil {
		return r, fmt.Errorf("cannot run %s: %w", c.Path, err)
	}
	defer out.close()
	errs, err := newCatch(c.Keep)
	if err != nil {
		return r, fmt.Errorf("cannot run %s: %w", c.Path, err)
	}
	defer errs.close()
	began := time.Now()
	p, err := Start(Spec{Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, Output: out.writer, Errors: errs.writer})
	if err != nil {
		return r, err
	}
	defer p.Close()
	out.begin()
	errs.begin()
	r.TimedOut = c.attend(ctx, p)
	r.Exit = p.Wait()
	r.Took = time.Since(began)
	r.Stdout, r.Stderr = out.end(), errs.end()
	if r.TimedOut && ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	return r, nil
}

// attend returns when the program is dead, and still a zombie: as long as it is one, nobody else can have its number, and
// a signal to its group reaches nobody else.
func (c *Command) attend(ctx context.Context, p *Proc) (ended bool) {
	dead := make(chan struct{})
	go func() { // ends with the process
		defer close(dead)
		p.awaitDeath()
	}()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	select {
	case <-dead:
	case <-ctx.Done():
		ended = true
		p.signalGroup(unix.SIGTERM)
		grace := time.NewTimer(c.Grace)
		defer grace.Stop()
		select {
		case <-dead:
		case <-grace.C:
		}
	}
	p.signalGroup(unix.SIGKILL)
	<-dead
	return ended
}

// awaitDeath blocks until our child is dead, and leaves its status to Wait.
func (p *Proc) awaitDeath() {
	fd, err := p.use()
	if err != nil {
		return
	}
	defer p.unuse()
	if _, err := waitid(unix.P_PIDFD, fd, unix.WEXITED|unix.WNOWAIT); err != nil {
		pollFor(fd, unix.POLLIN, -1)
	}
}

// signalGroup signals the group that a child of ours leads, who is not waited for yet.
func (p *Proc) signalGroup(sig syscall.Signal) {
	_ = syscall.Kill(-p.PID(), sig) // fails when there is nobody, or nobody whom we may signal
}

// catch takes what comes through a pipe and keeps its end.
type catch struct {
	reader, writer *os.File
	keep           int
	tail           Tail
	done           chan struct{}
}

func newCatch(keep int) (*catch, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &catch{reader: r, writer: w, keep: keep, done: make(chan struct{})}, nil
}

// begin reads until the last writer has closed, or until end has waited long enough.
func (c *catch) begin() {
	_ = c.writer.Close()
	go func() { // ends as said
		defer close(c.done)
		buf := make([]byte, 32<<10)
		for {
			n, err := c.reader.Read(buf)
			c.add(buf[:n])
			if err != nil {
				return
			}
		}
	}()
}

func (c *catch) add(b []byte) {
	c.tail.Text = append(c.tail.Text, b...)
	if over := len(c.tail.Text) - c.keep; over > 0 {
		c.tail.Text = append(c.tail.Text[:0], c.tail.Text[over:]...)
		c.tail.Dropped += int64(over)
	}
}

func (c *catch) end() Tail {
	if err := c.reader.SetReadDeadline(time.Now().Add(lateOutput)); errors.Is(err, os.ErrNoDeadline) {
		_ = c.reader.Close()
	}
	<-c.done
	return c.tail
}

func (c *catch) close() {
	_ = c.reader.Close()
	_ = c.writer.Close() // where nothing was started
}
