// Command etcdsup supervises one etcd: it runs it as a child, keeps its log, watches it and brings it back.
package main

import (
	"context"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/etcdmain"

	"github.com/etcdsup/etcdsup/supervisor/rebuild"
	"github.com/etcdsup/etcdsup/supervisor/room"
)

func main() {
	if actsAsChild(os.Args) {
		return
	}
	os.Exit(execute(context.Background(), os.Args[1:], standardStreams(receiveHandover())))
}

// actsAsChild does what this executable is there for under other names, those that the daemon gives to its children;
// it is false under any other.
func actsAsChild(args []string) bool {
	switch filepath.Base(args[0]) {
	case "etcd": // by the link that the daemon makes in its run folder
		etcdmain.Main(args)
	case room.Name: // on the way into a network of its own
		room.Enter(args)
	case guardName: // while another executable takes the place of this one
		os.Exit(runGuard(args))
	case rebuild.Name: // for work on data that may be its end
		rebuild.Enter(args)
	default:
		return false
	}
	return true
}
