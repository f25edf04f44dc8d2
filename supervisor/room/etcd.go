package room

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// Etcd is what Rebuild asks of the etcd in the room, and of it alone: nobody whom a member list names is contacted.
type Etcd interface {
	// WaitServing returns when a linearizable read was answered.
	WaitServing(ctx context.Context) error
	// Status is etcd's own state, with the raft index and the revision.
	Status(ctx context.Context) (me *status.Member, version string, err error)
	// Members is the list as the cluster has it; how the members are is not asked.
	Members(ctx context.Context) (*status.Members, error)
	UpdatePeerURLs(ctx context.Context, p *status.Peer, urls []string) error
	Remove(ctx context.Context, p *status.Peer) error
	// Nudge adds an entry to raft's log that changes no key and no revision.
	Nudge(ctx context.Context) error
	// CountKeys is the number of keys that live.
	CountKeys(ctx context.Context) (int64, error)
}

// The sockets are named relative to the working directory on the inside: a path in a Unix address has 107 bytes, and
// nobody knows how long an operator's are. They look like a host and a port because 3.4 takes no other URL; to etcd the
// file has the same name, port and all.
const (
	clientSocket = "client:1"
	peerSocket   = "peer:1"
)

// hall is the directory of the sockets, and the working directory of etcd.
type hall struct {
	path string
	dir  *os.File
	pass *pass
}

// openHall makes the directory for nobody but its owner, and clears what a run that was killed has left in it.
func openHall(path string) (*hall, error) {
	err := os.MkdirAll(path, 0o700)
	if err == nil {
		err = os.Chmod(path, 0o700)
	}
	var dir *os.File
	if err == nil {
		dir, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make a place for the sockets: %w", err)
	}
	h := &hall{path: path, dir: dir}
	h.clear()
	if h.pass, err = newPass(); err == nil {
		err = h.pass.write(path)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *hall) clear() {
	for _, name := range []string{clientSocket, peerSocket, passCert, passKey} {
		_ = os.Remove(filepath.Join(h.path, name))
	}
}

// close leaves nothing behind, unless somebody else put something there.
func (h *hall) close() {
	h.clear()
	_ = h.dir.Close()
	_ = os.Remove(h.path)
}

// endpoint is the client socket for the outside, by way of our descriptor of the directory, which keeps it short.
func (h *hall) endpoint() *url.URL {
	return &url.URL{Scheme: "unixs", Path: fmt.Sprintf("/proc/self/fd/%d/%s", h.dir.Fd(), clientSocket)}
}

// flags are etcd's arguments. Those of the caller come first, since of two equal ones the last counts.
//
// The state is "existing" because it is ignored where there is data, and keeps etcd from making a new cluster where
// there is none. A lone voter needs no long election timeout: nobody competes, and it is what a start waits for.
func (s *RebuildSpec) flags() []string {
	clients := s.ClientURLs
	if len(clients) == 0 {
		clients = []string{"http://127.0.0.1:2379"}
	}
	var self []string
	for _, u := range s.PeerURLs {
		self = append(self, s.Name+"="+u)
	}
	args := append([]string{}, s.Args...)
	args = append(args,
		"--name="+s.Name, "--data-dir="+s.DataDir,
		"--listen-client-urls=unixs://"+clientSocket, "--cert-file="+passCert, "--key-file="+passKey,
		"--client-cert-auth", "--trusted-ca-file="+passCert, "--advertise-client-urls="+strings.Join(clients, ","),
		"--listen-peer-urls=unix://"+peerSocket, "--initial-advertise-peer-urls="+strings.Join(s.PeerURLs, ","),
		"--initial-cluster="+strings.Join(self, ","), "--initial-cluster-state=existing",
		"--heartbeat-interval=10", "--election-timeout=50",
		"--snapshot-count=1", "--logger=zap", "--log-outputs=stderr",
	)
	if s.WALDir != "" {
		args = append(args, "--wal-dir="+s.WALDir)
	}
	if s.Force {
		args = append(args, "--force-new-cluster")
	}
	return args
}

// cleanEnv drops what would speak against the flags, which is fatal to etcd, and the socket on which it would tell a
// service manager that it is ready.
func cleanEnv(env []string) []string {
	kept := []string{}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "ETCD_") && name != "ETCD_UNSUPPORTED_ARCH" || name == "NOTIFY_SOCKET" {
			continue
		}
		kept = append(kept, kv)
	}
	return kept
}

// check refuses what would not do what was meant.
func (s *RebuildSpec) check() error {
	switch {
	case !filepath.IsAbs(s.DataDir), !filepath.IsAbs(s.RunDir), relative(s.WALDir), relative(s.Binary):
		return errors.New("the paths are not absolute")
	case s.Name == "" || len(s.PeerURLs) == 0:
		return errors.New("the member's name and peer URLs are not known")
	case s.Dial == nil:
		return errors.New("nobody asks etcd")
	}
	if segments, err := filepath.Glob(filepath.Join(s.walDir(), "*.wal")); err != nil || len(segments) == 0 {
		return fmt.Errorf("there is no WAL in %s", s.walDir())
	}
	return nil
}

func relative(path string) bool { return path != "" && !filepath.IsAbs(path) }

func (s *RebuildSpec) walDir() string {
	if s.WALDir != "" {
		return s.WALDir
	}
	return filepath.Join(s.DataDir, "member", "wal")
}

// newestSnapshot is the index of raft's newest snapshot, by the names of the files, which are TERM-INDEX.snap; 0 without.
func newestSnapshot(dataDir string) uint64 {
	entries, _ := os.ReadDir(filepath.Join(dataDir, "member", "snap"))
	newest := uint64(0)
	for _, e := range entries {
		name, isSnap := strings.CutSuffix(e.Name(), ".snap")
		_, index, two := strings.Cut(name, "-")
		if n, err := strconv.ParseUint(index, 16, 64); isSnap && two && err == nil {
			newest = max(newest, n)
		}
	}
	return newest
}
