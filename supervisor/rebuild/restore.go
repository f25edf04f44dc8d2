package rebuild

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"golang.org/x/sys/unix"
)

// Options is how a restored cluster of one member begins.
type Options struct {
	Name     string   // of the member
	PeerURLs []string // of the member
	// Token goes into the IDs of the cluster and the member: with a token that was never used, neither is an old one's.
	Token string
	// Bump is by how much the revision rises at least. With MarkCompacted all older revisions are gone for clients, so
	// that watches of theirs end with an error instead of waiting for ever. etcd has the two only together.
	Bump          uint64
	MarkCompacted bool
	// SkipHash lets a source pass that has no checksum, as a db file has none, or a wrong one.
	SkipHash bool
	// WALDir is where the WAL goes, and must not exist; empty: member/wal in the data directory.
	WALDir string
	// Tell is told how far it is, from another goroutine too; may be nil.
	Tell func(doing string) `json:"-"`
}

// Restored is what a restore has made. IDs are hexadecimal.
type Restored struct {
	ClusterID      string        `json:"cluster_id"`
	MemberID       string        `json:"member_id"`
	RevisionBefore int64         `json:"revision_before"`
	RevisionAfter  int64         `json:"revision_after"`
	Took           time.Duration `json:"took_ns"`
}

// Restore makes the data directory dst of a new cluster with one member from a snapshot file, or from the db of a
// stopped member, which are not changed. There must be nothing at dst. It appears whole or not at all, and is on disk
// when Restore returns; what a killed one leaves has a name that begins with dst and says .etcdsup-partial-.
//
// What is in a member's WAL and not in its db is not restored. The error wraps [ErrInUse] when an etcd has the source
// open, [ErrDamaged] when it is no whole db, fs.ErrExist when there is something at dst. ctx is looked at before the
// work and after it, not meanwhile.
func Restore(ctx context.Context, source, dst string, o Options) (Restored, error) {
	began := time.Now()
	r := &restore{source: source, o: o}
	r.tell("reading " + source)
	err := r.prepare(dst)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = r.run(ctx)
	}
	if err != nil {
		return Restored{}, fmt.Errorf("cannot restore %s to %s: %w", source, dst, err)
	}
	r.res.Took = time.Since(began)
	return r.res, nil
}

// restore is one restore under way.
type restore struct {
	source  string
	o       Options
	dst     string
	partial string // where it is made
	walDst  string // empty when the WAL is in the data directory
	walPart string
	bump    uint64
	res     Restored
}

func (r *restore) prepare(dst string) (err error) {
	if r.o.MarkCompacted != (r.o.Bump > 0) {
		return errors.New("a higher revision and the mark that all before it is compacted go together")
	}
	if r.o.Name == "" { // which etcd's tool would take
		return errors.New("the member has no name")
	}
	if r.dst, err = vacant(dst); err != nil {
		return err
	}
	mark := partialMark()
	r.partial = r.dst + mark
	if r.o.WALDir != "" {
		if r.walDst, err = vacant(r.o.WALDir); err != nil {
			return err
		}
		r.walPart = r.walDst + mark
	}
	was, err := readRevisions(r.source, r.o.SkipHash)
	if err != nil {
		return err
	}
	r.res.RevisionBefore = was.current()
	return r.setBump(was)
}

// setBump raises the bump by what etcd's tool does not count: it goes by the newest revision that is left of the keys,
// which is behind the revision when the last changes were deletions that have been compacted.
func (r *restore) setBump(was revisions) error {
	if r.o.Bump == 0 {
		return nil
	}
	if r.o.Bump > uint64(math.MaxInt64-was.current()) {
		return fmt.Errorf("no revision can be %d above %d", r.o.Bump, was.current())
	}
	r.bump = r.o.Bump + uint64(was.current()-was.keys)
	return nil
}

// vacant is the absolute path of what must not exist yet.
func vacant(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	switch _, err := os.Lstat(path); {
	case err == nil:
		return "", &os.PathError{Op: "mkdir", Path: path, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return path, nil
}

// partialMark is what the place package knows for what may be cleared away.
func partialMark() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return ".etcdsup-partial-" + hex.EncodeToString(id[:])
}

func (r *restore) run(ctx context.Context) error {
	lock, err := makeLocked(r.partial)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err = r.make(); err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = r.settle()
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(r.partial), r.removeWAL())
	}
	return nil
}

// makeLocked makes a folder and locks it, which tells that somebody is at work on it.
func makeLocked(path string) (*os.File, error) {
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return f, nil
}

func (r *restore) removeWAL() error {
	if r.walPart == "" {
		return nil
	}
	return os.RemoveAll(r.walPart)
}

func (r *restore) walDir() string {
	if r.walPart != "" {
		return r.walPart
	}
	return filepath.Join(r.partial, "member", "wal")
}

// make lets etcd's own tool work, and reads off what it has made.
func (r *restore) make() error {
	watched := r.watchCopy()
	err := guarded(func() error { return snapshot.NewV3(quiet).Restore(r.config()) })
	watched()
	if err != nil {
		return err
	}
	r.tell("reading what was made")
	l, err := readLog(r.walDir())
	if err != nil {
		return err
	}
	r.res.ClusterID = fmt.Sprintf("%x", l.member.GetClusterID())
	r.res.MemberID = fmt.Sprintf("%x", l.member.GetNodeID())
	is, err := readRevisions(filepath.Join(r.partial, "member", "snap", "db"), false)
	if err != nil {
		return err
	}
	r.res.RevisionAfter = is.current()
	if want := r.res.RevisionBefore + int64(r.o.Bump); r.res.RevisionAfter < want {
		return fmt.Errorf("the revision is %d, and should be %d", r.res.RevisionAfter, want)
	}
	return nil
}

func (r *restore) tell(doing string) {
	if r.o.Tell != nil {
		r.o.Tell(doing)
	}
}

// tellEvery is how often it is told how much has been copied.
const tellEvery = 500 * time.Millisecond

// watchCopy tells how far etcd's tool is, by the size of the db that it makes, until the end that it returns is called.
func (r *restore) watchCopy() (end func()) {
	source, err := os.Stat(r.source)
	if r.o.Tell == nil || err != nil {
		return func() {}
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with end
		defer close(ended)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			if made, err := os.Stat(filepath.Join(r.partial, "member", "snap", "db")); err == nil {
				r.tell(fmt.Sprintf("making the new data, %d %%", min(100, 100*made.Size()/max(source.Size(), 1))))
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop); <-ended }
}

func (r *restore) config() snapshot.RestoreConfig {
	var cluster []string
	for _, url := range r.o.PeerURLs {
		cluster = append(cluster, r.o.Name+"="+url)
	}
	return snapshot.RestoreConfig{
		SnapshotPath:        r.source,
		Name:                r.o.Name,
		OutputDataDir:       r.partial,
		OutputWALDir:        r.walPart,
		PeerURLs:            r.o.PeerURLs,
		InitialCluster:      strings.Join(cluster, ","),
		InitialClusterToken: r.o.Token,
		SkipHashCheck:       r.o.SkipHash,
		RevisionBump:        r.bump,
		MarkCompacted:       r.o.MarkCompacted,
	}
}

// settle writes out the folders, for etcd's tool does so with the files alone, and renames. The WAL comes first: a
// data directory without it would be taken for one whose WAL is lost.
func (r *restore) settle() error {
	for _, dir := range []string{r.walDir(), filepath.Join(r.partial, "member", "snap"), filepath.Join(r.partial, "member"), r.partial} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	if r.walPart != "" {
		if err := appear(r.walPart, r.walDst); err != nil {
			return err
		}
	}
	return appear(r.partial, r.dst)
}

func appear(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // a file system that cannot, such as NFS
		err = os.Rename(from, to) // which replaces no folder
	} else if err != nil {
		err = &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
