// Package process holds one operating-system process at a time: it starts it, or takes over one that an
// earlier etcdsup left running, signals it, waits for it, and tells whether it makes progress. Beside that it
// holds the two things that keep etcd single and contained: the start lock, which etcd inherits, and the cage,
// which knows every process that came out of etcd.
//
// Three rules run through all of it.
//
//   - A process is named by [ID], never by its PID alone, and signalled through a pidfd only. A pidfd is opened
//     first and the identity checked afterwards: the check then speaks of the process that the pidfd holds.
//   - Only [Proc.Wait] and [Reaper] wait for children. A child that somebody else in this program starts (with
//     os/exec, say) must stay in our session; children in foreign sessions belong to this package.
//   - Nothing here has to be remembered in memory: an ID, a token, a session and a lock are enough for the next
//     etcdsup to go on where this one was killed.
package process
