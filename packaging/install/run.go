package install

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// runTime is how long a tool of the host may take. A service that starts or stops has its own time, which is shorter.
const runTime = 10 * time.Minute

// run runs a tool of the host and returns what it printed to its standard output, without the last line's end. The error
// has all that it said.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second // what it has started may have our pipe
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	text := strings.TrimRight(out.String(), "\n")
	if err == nil {
		return text, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	err = fmt.Errorf("%s: %w", strings.Join(append([]string{name}, args...), " "), err)
	if said := strings.TrimSpace(errs.String() + "\n" + text); said != "" { // init scripts complain on either
		err = fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(said), " "))
	}
	return text, err
}
