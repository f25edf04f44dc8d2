package install

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kardianos/service"
)

// detect finds the service manager that runs here. The library takes every host for one with init scripts, and others by
// what is installed; so what it chose has to be what the host was started with, too.
func detect() (manager, error) {
	first := strings.TrimSpace(readText("/proc/1/comm"))
	none := fmt.Errorf("%w: process 1 is %s", ErrNoManager, firstOf(first, "hidden"))
	system := service.ChosenSystem()
	if system == nil {
		return nil, none
	}
	platform := system.String()
	if platform == "linux-systemd" {
		if !exists("/run/systemd/system") {
			return nil, none
		}
		return systemd{dir: "/etc/systemd/system"}, nil
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.platform == platform })
	if i < 0 || !kinds[i].runs(first) {
		return nil, none
	}
	return scripted{kind: kinds[i]}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// readText is a file's text, empty where it cannot be read.
func readText(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}
