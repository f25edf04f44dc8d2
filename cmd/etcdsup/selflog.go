package main

import (
	"io"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/etcdsup/etcdsup/config"
	"github.com/etcdsup/etcdsup/logsink"
)

const (
	selfLogName  = "etcdsup.log"
	selfLogSize  = 10 // MiB, then it is rotated
	selfLogKeep  = 5
	selfLogQueue = 512
	selfLogFlush = 2 * time.Second
)

// selfLog is etcdsup's own log: for people on a terminal, JSON elsewhere, and JSON in a rotated file. Neither a
// stuck terminal nor a stuck disk may hold the loop up, so each goes through a queue of its own.
//
// flush returns when what was logged so far has been written, or cannot be; end does too, and nothing is written after it.
func selfLog(c *config.Config, errOut io.Writer) (log *zap.Logger, flush, end func()) {
	screen := newQueue(errOut)
	file := logsink.OwnLog(filepath.Join(c.Log.Dir, selfLogName), selfLogSize, selfLogKeep)
	disk := newQueue(file)
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime = zapcore.ISO8601TimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	forScreen := zapcore.NewJSONEncoder(enc)
	if isTerminal(errOut) {
		forScreen = zapcore.NewConsoleEncoder(screenEncoding())
	}
	core := zapcore.NewTee(
		zapcore.NewCore(forScreen, screen, zap.InfoLevel),
		zapcore.NewCore(zapcore.NewJSONEncoder(enc), disk, zap.DebugLevel),
	)
	flush = func() {
		screen.flush()
		disk.flush()
	}
	return zap.New(core), flush, func() {
		screen.close()
		disk.close()
		_ = file.Close()
	}
}

func screenEncoding() zapcore.EncoderConfig {
	enc := zap.NewDevelopmentEncoderConfig()
	enc.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	enc.EncodeDuration = zapcore.StringDurationEncoder
	enc.CallerKey = ""
	return enc
}

// queue is a writer that never waits: what its goroutine has not written yet waits in it, and what does not fit is
// counted and said once there is room.
type queue struct {
	lines chan queued
	done  chan struct{}

	mu     sync.Mutex
	closed bool
	lost   int
}

// queued is a line, or the question whether all before it have been written.
type queued struct {
	line    []byte
	written chan<- struct{}
}

func newQueue(w io.Writer) *queue {
	q := &queue{lines: make(chan queued, selfLogQueue), done: make(chan struct{})}
	go func() { // ends when lines is closed
		defer close(q.done)
		for l := range q.lines {
			if l.written != nil {
				close(l.written)
				continue
			}
			_, _ = w.Write(l.line) // nobody is left to be told
		}
	}()
	return q
}

// flush waits for what is queued, but not for ever.
func (q *queue) flush() {
	written := make(chan struct{})
	limit := time.After(selfLogFlush)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	select {
	case q.lines <- queued{written: written}:
	case <-limit:
		return
	}
	select {
	case <-written:
	case <-limit:
	}
}

// Write queues one line. It never fails.
func (q *queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(p), nil
	}
	if q.lost > 0 {
		q.offer([]byte(lostLine(q.lost)))
	}
	line := append([]byte(nil), p...)
	select {
	case q.lines <- queued{line: line}:
	default:
		q.lost++
	}
	return len(p), nil
}

func (q *queue) offer(line []byte) {
	select {
	case q.lines <- queued{line: line}:
		q.lost = 0
	default:
	}
}

// Sync does nothing: a write that was queued is on its way.
func (q *queue) Sync() error { return nil }

// close waits for what is queued, but not for ever.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	close(q.lines)
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(selfLogFlush):
	}
}

func lostLine(n int) string {
	b, _ := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()).EncodeEntry(
		zapcore.Entry{Level: zap.WarnLevel, Time: time.Now(), Message: "own log lines lost"}, []zapcore.Field{zap.Int("lines", n)})
	return b.String()
}
