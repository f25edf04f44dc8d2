// Package logread reads what etcd has logged, the current file, the rotated and the compressed ones, as one
// stream, oldest line first, and follows it across rotations. It only reads: it takes no lock, needs nobody's
// consent and works while etcdsup is down.
//
// A line is judged by its head, the cheap part (format, level, time), and parsed fully only when it is shown
// as something else than it was written as. Whatever is no head of its own, such as a stack trace, belongs to
// the entry before it and shares its level and time.
package logread
