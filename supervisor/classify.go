package supervisor

import (
	"fmt"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// classify names the cause of a death as far as the exit status and the machine's own knowledge reach, with one
// sentence for people. m is the machine as it was when the process died.
func classify(x status.Exit, m machine) status.Exit {
	_, x.Asked = phase[m.is]
	x.Asked = x.Asked && !m.wasHung && m.stranger == ""
	x.Ready = m.wasReady
	x.Cause, x.Detail = cause(x, m)
	return x
}

func cause(x status.Exit, m machine) (status.Cause, string) {
	switch {
	case m.wasHung:
		return status.CauseHung, "killed by etcdsup: it neither answered nor made progress"
	case m.stranger != "":
		return status.CauseIdentity, "stopped by etcdsup: " + m.stranger
	case x.Unknown && x.Asked:
		return status.CauseClean, "ended as asked; the kernel does not tell an adopted process's exit status"
	case x.Unknown:
		return status.CauseUnknown, "ended by itself; the kernel does not tell an adopted process's exit status"
	case x.Asked && (x.Signal == "SIGTERM" || x.Signal == "SIGINT"):
		// etcd ends an orderly stop by sending itself the same signal again: that is its success.
		return status.CauseClean, "ended by " + x.Signal + " as asked"
	case x.Asked && m.is == killing:
		return status.CauseSignal, "took SIGKILL to end: it may have left work undone, which its log replay will redo"
	case x.Asked:
		return status.CauseClean, "ended while being stopped, with " + ending(x)
	case x.Signal != "":
		return status.CauseSignal, signalDetail(x)
	default:
		return codeCause(*x.Code)
	}
}

// codeCause reads an exit code that nobody asked for. See the etcd documentation of exit paths: 0 is the one
// that must not be answered by a restart.
func codeCause(code int) (status.Cause, string) {
	switch code {
	case 0:
		return status.CauseIdentity, "exit code 0 without being asked: etcd ends so when it was removed from its cluster; its data directory is of no more use there"
	case 1:
		return status.CauseUnknown, "exit code 1: a fatal error, which its last lines name"
	case 2:
		return status.CauseUnknown, "exit code 2: a flag that it refuses, or a panic; its last lines name it"
	}
	return status.CauseUnknown, fmt.Sprintf("exit code %d", code)
}

func signalDetail(x status.Exit) string {
	switch x.Signal {
	case "SIGKILL":
		return "SIGKILL from outside: the kernel's OOM killer, or a person"
	case "SIGHUP":
		return "SIGHUP from outside: etcd does not handle it and dies of it"
	case "SIGTERM", "SIGINT":
		return x.Signal + " from outside: somebody else stopped it; use etcdsup stop to keep it down"
	case "SIGPIPE":
		return "SIGPIPE: it wrote to an output that nobody held open"
	}
	return x.Signal + " from outside"
}

func ending(x status.Exit) string {
	if x.Signal != "" {
		return x.Signal
	}
	return fmt.Sprintf("exit code %d", *x.Code)
}
