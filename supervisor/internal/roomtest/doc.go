// Package roomtest tries together what does not know each other: a rebuild in a room, the client that it talks through and
// the reader of the data that it leaves, with real etcds. It holds tests only.
package roomtest
