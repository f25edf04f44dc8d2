package logread

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"regexp"
	"time"
)

// None is the number of lines that means: nothing of what is there already.
const None = -1

// Options say which part of the log is wanted. The zero value is all that is there now.
type Options struct {
	Last   int            // so many of the lines that pass the filters, counted from the end; 0: every one
	Since  time.Time      // entries from then on; zero: from the first one
	Until  time.Time      // entries up to then; zero: to the last one
	Level  Level          // entries of this level and above; the marker of a gap passes always
	Grep   *regexp.Regexp // lines (their first MaxLine bytes) that it matches; nil: all
	Follow bool           // go on with what is written from now on, until the context ends
	Poll   time.Duration  // how often to look when following; zero: 100 ms
	Plain  bool           // only the bytes are wanted: Kind, Level and Time are left out unless a filter needs them

	Location *time.Location // zone of formats that name none; nil: local time
	Notice   func(string)   // told what the reader of the log should know, such as a file that can't be read; nil: nobody
	Idle     func() error   // called when all that was there has been handed out, before waiting for more; an error ends it
}

const defaultPoll = 100 * time.Millisecond

func (o *Options) location() *time.Location {
	if o.Location == nil {
		return time.Local
	}
	return o.Location
}

// Reader reads one log, once. It is for one goroutine.
type Reader struct {
	o      Options
	stream stream
	judge  judge
	skip   int
	block  int64 // of the first look from the end
}

// Open finds the log in a folder: base is the name of the current file, such as etcd.log. What is there at this
// moment is fixed: a Reader that does not follow shows no line that was written later. A folder without a log is
// an empty log; one that does not exist is an error that is fs.ErrNotExist, unless the reader follows.
func Open(dir, base string, o Options) (*Reader, error) {
	return open(dir, base, o, firstBlock)
}

func open(dir, base string, o Options, block int64) (*Reader, error) {
	if _, err := os.Stat(dir); err != nil && (!o.Follow || !errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("cannot look into the log folder: %w", err)
	}
	if o.Poll <= 0 {
		o.Poll = defaultPoll
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	r := &Reader{o: o, judge: newJudge(&o), block: block}
	r.stream = stream{folder: folder{dir, base}, follow: o.Follow, notice: o.Notice}
	if err := r.begin(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// begin queues the files that matter and finds the place in them to begin at.
func (r *Reader) begin() error {
	snap, err := r.stream.folder.snapshot()
	if err != nil {
		return err
	}
	wanted := r.inSpan(snap.archives)
	for _, a := range wanted {
		r.stream.queue = append(r.stream.queue, &source{folder: r.stream.folder, archive: a})
	}
	r.stream.hold(snap)
	if len(r.stream.queue) == 0 {
		return nil
	}
	r.judge.undated = r.undated(len(wanted) == len(snap.archives))
	end := r.end()
	from := place{}
	if r.o.Last != 0 {
		t := tail{sources: r.stream.queue, fresh: r.judge, block: r.block, want: max(0, r.o.Last)}
		from = t.find(end)
	}
	return r.seek(from, end)
}

// end is where the current file ends for now.
func (r *Reader) end() int64 {
	live := r.stream.live
	switch {
	case live == nil:
		return noEnd
	case r.o.Follow:
		return lastLineEnd(live.f, live.size())
	}
	return live.size()
}

// seek begins the stream at a place.
func (r *Reader) seek(p place, end int64) error {
	s := &r.stream
	for _, src := range s.queue[:p.source] {
		src.close()
	}
	s.queue = s.queue[p.source:]
	r.skip = p.skip
	if s.live != nil && len(s.queue) > 1 {
		_ = s.live.readFrom(0, r.limit(end)) // never fails for a plain file
	}
	src := s.queue[0]
	if src == s.live {
		return src.readFrom(p.off, r.limit(end))
	}
	if src.open() == nil && src.readFrom(p.off, noEnd) != nil {
		src.lines = nil // it is said when it is read
	}
	return nil
}

func (r *Reader) limit(end int64) int64 {
	if r.o.Follow {
		return noEnd
	}
	return end
}

// slack is how far clocks may be off between a line and the name of the file that holds it.
const slack = time.Minute

// inSpan drops the archives that surely hold nothing between since and until: a file holds what was written
// between the rotation before it and its own.
func (r *Reader) inSpan(all []archive) (out []archive) {
	var before time.Time
	for _, a := range all {
		older := !r.o.Since.IsZero() && a.rotated.Add(slack).Before(r.o.Since) && !r.touched(a)
		newer := !r.o.Until.IsZero() && before.Add(-slack).After(r.o.Until)
		if !older && !newer {
			out = append(out, a)
		}
		before = a.rotated
	}
	return out
}

// touched says whether a plain archive was written to within the span, whatever its name says.
func (r *Reader) touched(a archive) bool {
	fi, err := os.Stat(r.stream.folder.path(a.name))
	return err == nil && !fi.ModTime().Before(r.o.Since)
}

// undated is what lines are worth that come before any time: they are as old as their file, unless they may
// continue an entry in a file that was left out.
func (r *Reader) undated(complete bool) bool {
	if r.o.Since.IsZero() {
		return true
	}
	first := r.stream.queue[0]
	return complete && first.open() == nil && !first.modified().Before(r.o.Since)
}

// Lines hands out the lines that pass, oldest first. It ends with the log, or when the context does, which is
// no error. A Line is valid until the next one.
func (r *Reader) Lines(ctx context.Context) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for n := 0; n%1024 != 0 || ctx.Err() == nil; n++ {
			raw, err := r.stream.next()
			switch {
			case errors.Is(err, errIdle):
				if err := r.idle(ctx); err != nil {
					if ctx.Err() == nil {
						yield(Line{}, err)
					}
					return
				}
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(Line{}, err)
				return
			default:
				if line, ok := r.pass(raw); ok && !yield(line, nil) {
					return
				}
			}
		}
	}
}

// pass judges a line and leaves out those before the place to begin at.
func (r *Reader) pass(raw rawLine) (Line, bool) {
	line, ok := r.judge.see(raw)
	if ok && r.skip > 0 {
		if !raw.cut {
			r.skip--
		}
		return line, false
	}
	return line, ok
}

// idle waits until it is time to look again.
func (r *Reader) idle(ctx context.Context) error {
	if r.o.Idle != nil {
		if err := r.o.Idle(); err != nil {
			return err
		}
	}
	t := time.NewTimer(r.o.Poll)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Entries is Lines with each line taken apart.
func (r *Reader) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for line, err := range r.Lines(ctx) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(line.Entry(), nil) {
				return
			}
		}
	}
}

// Empty says whether there is no log: neither a current file nor an archive that could hold something wanted.
func (r *Reader) Empty() bool { return len(r.stream.queue) == 0 }

// Close lets go of the files.
func (r *Reader) Close() { r.stream.close() }
