package logsink

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gopkg.in/natefinch/lumberjack.v2"
)

// OwnLog opens a plain rotated log file, for what this program itself has to say. It is opened at the first
// write, and anew when it was taken away; size is in MiB. Unlike a Sink it writes synchronously and returns errors.
// One goroutine at a time may use it.
func OwnLog(path string, size, keep int) io.WriteCloser {
	return &ownLog{lumberjack.Logger{Filename: path, MaxSize: size, MaxBackups: keep}}
}

type ownLog struct{ lumberjack.Logger }

// Write looks for the file first: lumberjack goes on in one that nobody can see any more.
func (l *ownLog) Write(p []byte) (int, error) {
	if _, err := os.Lstat(l.Filename); errors.Is(err, fs.ErrNotExist) {
		_ = l.Close() // nothing of it is left to be lost
		if err := os.MkdirAll(filepath.Dir(l.Filename), 0o700); err != nil {
			return 0, err
		}
	}
	return l.Logger.Write(p)
}
