package logread

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// stream is all files as one sequence of lines. When it follows, the last one has no end: the stream looks
// what has become of it each time that it was read to where it ends now.
type stream struct {
	folder folder
	queue  []*source       // still to be read, oldest first; the first is being read
	live   *source         // the current file, held open also when it was renamed or removed; nil: none
	known  map[string]bool // archives that were there when live was opened: all others are later
	follow bool
	notice func(string)
}

// errIdle says that there is nothing new at the moment.
var errIdle = errors.New("nothing new")

// next returns the next line; errIdle when following and there is none yet, io.EOF when there will be none.
func (s *stream) next() (rawLine, error) {
	for {
		if len(s.queue) == 0 {
			if err := s.wait(); err != nil {
				return rawLine{}, err
			}
			continue
		}
		src := s.queue[0]
		line, err := s.read(src)
		if err == nil || errors.Is(err, errIdle) {
			return line, err
		}
		if errors.Is(err, io.EOF) && s.follow && src == s.live {
			if err := s.wait(); err != nil {
				return rawLine{}, err
			}
			continue
		}
		if !errors.Is(err, io.EOF) {
			if src == s.live {
				return rawLine{}, fmt.Errorf("cannot read the log: %w", err)
			}
			s.damaged(src, err)
		}
		if line, ok := src.unfinished(); ok {
			return line, nil
		}
		s.pop()
	}
}

func (s *stream) read(src *source) (rawLine, error) {
	if src.lines == nil {
		if err := src.open(); err != nil {
			return rawLine{}, err
		}
		off, settled := src.afterEcho()
		if !settled {
			return rawLine{}, errIdle
		}
		if err := src.readFrom(off, noEnd); err != nil {
			return rawLine{}, err
		}
	}
	return src.lines.next()
}

func (s *source) unfinished() (rawLine, bool) {
	if s.lines == nil {
		return rawLine{}, false
	}
	return s.lines.rest()
}

// damaged tells what could not be read. One bad file is no reason to withhold the others.
func (s *stream) damaged(src *source, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		s.notice(fmt.Sprintf("%s was removed before it could be read", src.name()))
		return
	}
	s.notice(fmt.Sprintf("cannot read all of %s: %v", src.name(), err))
	if src.lines != nil {
		src.lines.r = failing{io.EOF} // said once
	}
}

func (s *stream) pop() {
	if s.queue[0] == s.live {
		s.live = nil
	}
	s.queue[0].close()
	s.queue = s.queue[1:]
}

// wait is what happens at the end of all that was there: nil if there is more by now.
func (s *stream) wait() error {
	if !s.follow {
		return io.EOF
	}
	more, err := s.look()
	if err == nil && !more {
		return errIdle
	}
	return err
}

// look finds out what has become of the current file since it was read to its end, and puts what is to be
// read next into the queue. It is true if there is something to read.
//
// While the name stands for nothing, the file that we hold is the one to watch: it was renamed and the next one
// is about to be made, or it was removed and its writer has not noticed yet.
func (s *stream) look() (bool, error) {
	now, err := os.Stat(s.folder.current())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look at the log: %w", err)
	}
	if s.live == nil {
		return s.advance()
	}
	held, err := s.live.f.Stat()
	if err != nil {
		return false, fmt.Errorf("cannot look at the log: %w", err)
	}
	switch {
	case !os.SameFile(now, held):
		return s.advance()
	case held.Size() < s.live.at.off:
		s.restart()
		return true, nil
	}
	return held.Size() > s.live.at.off, nil
}

// advance goes on to the files that came after the one that we hold. That one stays first in the queue and is
// read once more to its end: its writer may have added to it between our last look and its leaving.
//
// What was rotated in the meantime, however often, is opened here at once: from then on it can be compressed
// or removed without loss.
func (s *stream) advance() (bool, error) {
	snap, err := s.folder.snapshot()
	if err != nil || snap.current == nil {
		return false, err
	}
	held := s.live
	fresh, found := s.later(snap.archives)
	s.queue = append(s.queue, fresh...)
	s.hold(snap)
	if held != nil && !found {
		append(fresh, s.live)[0].echo = held.lastWrite()
	}
	return true, nil
}

// hold makes the snapshot's current file the live one.
func (s *stream) hold(snap snapshot) {
	s.known = map[string]bool{}
	for _, a := range snap.archives {
		s.known[a.name] = true
	}
	if snap.current == nil {
		return
	}
	s.live = &source{folder: s.folder, f: snap.current}
	s.queue = append(s.queue, s.live)
}

// later opens the archives that came after the file we hold, and says whether that one is an archive itself.
// Where it is, what has an earlier name than it is no later file: when the clock was set back, an archive can get
// another name a moment after it got its first.
func (s *stream) later(all []archive) (out []*source, found bool) {
	for _, a := range all {
		if s.known[a.name] {
			continue
		}
		src := &source{folder: s.folder, archive: a}
		switch err := src.open(); {
		case err != nil:
			s.damaged(src, err)
		case s.live != nil && !found && s.live.sameAs(src):
			found = true
			closeAll(append(out, src))
			out = nil
		default:
			out = append(out, src)
		}
	}
	return out, found
}

// restart begins the current file again after it was truncated in place, as logrotate's copytruncate does.
// What was written between the last look and the truncation is in nobody's hands any more, and a file that grew
// beyond its old size in between can't be told from one that was only added to.
func (s *stream) restart() {
	s.notice(s.folder.base + " was truncated in place; what was written just before may be missing")
	old := s.live
	s.live = &source{folder: s.folder, f: old.f}
	s.queue = append(s.queue, s.live)
	old.finish()
	old.f = nil // it is the new one's to close
}

func (s *stream) close() {
	closeAll(s.queue)
	s.queue, s.live = nil, nil
}

func closeAll(sources []*source) {
	for _, src := range sources {
		src.close()
	}
}
