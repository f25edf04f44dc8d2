// Package e2e tries the service as it is installed: the unit, the user and the program on hosts with a real systemd and a
// real etcd. It holds tests only.
package e2e
