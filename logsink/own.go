package logsink

import (
	"io"

	"gopkg.in/natefinch/lumberjack.v2"
)

// OwnLog opens a plain rotated log file, for what this program itself has to say. It is opened at the first
// write; size is in MiB. Unlike a Sink it writes synchronously and returns errors.
func OwnLog(path string, size, keep int) io.WriteCloser {
	return &lumberjack.Logger{Filename: path, MaxSize: size, MaxBackups: keep}
}
