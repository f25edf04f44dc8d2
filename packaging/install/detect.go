package install

import (
	"fmt"
	"os"

	"github.com/kardianos/service"
)

// detect finds the service manager that runs here. The library takes any host for one with init scripts, and some for one
// with systemd where none is running, so what it chose is looked at once more.
func detect() (manager, error) {
	system := service.ChosenSystem()
	if system == nil {
		return nil, ErrNoManager
	}
	switch platform := system.String(); platform {
	case "linux-systemd":
		if _, err := os.Stat("/run/systemd/system"); err != nil {
			return nil, fmt.Errorf("%w: systemd is on this host, but is not what it was started with", ErrNoManager)
		}
		return systemd{dir: "/etc/systemd/system"}, nil
	default:
		return nil, ErrNoManager
	}
}

// Detected is the name of the service manager that runs here.
func Detected() (string, error) {
	m, err := detect()
	if err != nil {
		return "", err
	}
	return m.title(), nil
}
