// Package journal keeps on disk what must be known after a crash: the journal of a transition, step by step, and the
// audit log of everything that was asked for, decided and done.
//
// Both are files of JSON lines that only grow. A line is on disk before the call that adds it returns, and carries a
// check over its own bytes, so a reader tells a line that was written from one that was being written when the power
// failed. One line at most can be unfinished, and it is the last; anything else that does not fit is damage, and is
// told, never guessed around.
//
// Nothing is deleted: unfinished bytes are copied beside their file before they are cut off, and what is in the way
// is renamed. Everything here may be used by several goroutines at once.
package journal
