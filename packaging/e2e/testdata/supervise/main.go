// Supervise is a stand-in for the fork of daemontools' supervise that takes its command from its command line:
//
//	supervise -f COMMAND [-F CONF] -p STATUS
//
// It keeps COMMAND running, with a second between two starts, in a session of its own, and takes commands of one letter
// from STATUS/svcontrol: d and u for down and up, x to end once the command has, t and k for signals.
package main

import (
	"flag"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	command := flag.String("f", "", "")
	flag.String("F", "supervise.conf", "")
	status := flag.String("p", "", "")
	flag.Parse()
	if *command == "" || *status == "" {
		log.Fatal("supervise: -f and -p are needed")
	}
	s := &supervise{command: strings.Fields(*command), up: true, ended: make(chan struct{})}
	commands := make(chan byte)
	go listen(open(*status), commands)
	s.run(commands)
}

// open makes the state folder with its lock and its FIFO.
func open(status string) *os.File {
	if err := os.MkdirAll(status, 0o755); err != nil {
		log.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(status, "lock"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		log.Fatal("supervise: already running: ", err)
	}
	fifo := filepath.Join(status, "svcontrol")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil && !os.IsExist(err) {
		log.Fatal(err)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	return f
}

func listen(f *os.File, commands chan<- byte) {
	b := make([]byte, 1)
	for {
		if _, err := f.Read(b); err != nil {
			log.Fatal(err)
		}
		commands <- b[0]
	}
}

type supervise struct {
	command []string
	child   *exec.Cmd
	up      bool
	exit    bool
	ended   chan struct{}
}

func (s *supervise) run(commands <-chan byte) {
	for {
		if s.child == nil && s.exit {
			return
		}
		if s.child == nil && s.up {
			s.start()
		}
		select {
		case c := <-commands:
			s.obey(c)
		case <-s.ended:
			s.child = nil
		}
	}
}

func (s *supervise) start() {
	c := exec.Command(s.command[0], s.command[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		log.Print(err)
		time.Sleep(time.Second)
		return
	}
	s.child = c
	go func() {
		_ = c.Wait()
		s.ended <- struct{}{}
	}()
	time.Sleep(time.Second) // as the real one does, commands wait
}

func (s *supervise) obey(command byte) {
	signals := map[byte]syscall.Signal{'d': syscall.SIGTERM, 't': syscall.SIGTERM, 'k': syscall.SIGKILL, 'h': syscall.SIGHUP, 'i': syscall.SIGINT}
	switch command {
	case 'd':
		s.up = false
	case 'u':
		s.up = true
	case 'x':
		s.exit = true
	}
	if signal, ok := signals[command]; ok && s.child != nil {
		_ = s.child.Process.Signal(signal)
		_ = s.child.Process.Signal(syscall.SIGCONT)
	}
}
