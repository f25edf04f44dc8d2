// Package e2e tests the whole program as its users have it: the built executable, its command line, its control
// socket and a real etcd; where etcd itself is not the point, this package's test executable stands in for it.
//
// The tests use loopback ports below the ephemeral range, folders of their own and, as root, small tmpfs mounts and network
// namespaces. E2E_PROGRAM names an executable to be tested in place of one that is built here.
//
// ETCDSUP_LONG=1 runs the long form of those that repeat something many times, and has etcd 3.4, 3.5, 3.6 and 3.7 as
// etcd.binary in the changes of mode. A real jump of the wall clock would hit the whole host and is not made here: the
// supervisor's own tests cover it with virtual time.
package e2e
