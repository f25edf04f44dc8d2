// Command broken is a new etcdsup that says that it can take over, and cannot.
package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// how it is broken; set by the linker.
var how string

func main() {
	switch {
	case how == "refuses":
		fmt.Fprintln(os.Stderr, `{"error":"the moon is full","remedy":"wait a fortnight","code":"failure","exit":1}`)
		os.Exit(1)
	case slices.Contains(os.Args, "can-take-over"):
		fmt.Println(`{"version":"v99"}`)
	case how == "panics":
		panic("a mistake of the new version")
	case how == "hangs":
		<-time.After(24 * time.Hour)
	}
}
