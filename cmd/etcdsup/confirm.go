package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// confirm asks on a terminal, and refuses where there is none.
func (g *globals) confirm(ctx context.Context, what string) error {
	return g.ask(ctx, what+"Go on? Type yes: ", "yes", "give --yes where nobody can be asked")
}

// ask wants a word typed. The question goes to standard error, so that the result alone is in standard output.
func (g *globals) ask(ctx context.Context, question, word, remedy string) error {
	in, ok := g.in.(*os.File)
	if !ok || !isTerminal(in) || !isTerminal(g.err) {
		return failf(exitUsage, remedy, "cannot ask whether to go on: this is no terminal")
	}
	fmt.Fprint(g.err, question)
	answer, err := readAnswer(ctx, in)
	switch {
	case err != nil:
		fmt.Fprintln(g.err) // the line of the question is still open
		return failf(exitInterrupted, "", "not done: nothing was changed")
	case answer != word:
		return failf(exitInterrupted, "", "not done: nothing was changed; to go on, the answer is %s and nothing else", word)
	}
	return nil
}

// readAnswer reads a line, and gives up when ctx ends.
func readAnswer(ctx context.Context, in *os.File) (string, error) {
	if err := awaitInput(ctx, in); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	return strings.TrimSpace(line), err
}

// awaitInput returns when a line can be read. A terminal knows no deadlines, so ctx ends the wait by way of a pipe.
func awaitInput(ctx context.Context, in *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { w.Close() })
	defer func() {
		if stop() {
			w.Close()
		}
	}()
	fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
