package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

// Point is how far a database is: what it has applied of raft's log, and the newest revision in it.
type Point struct {
	Index    uint64 // of raft's log; 0: nothing was ever applied
	Term     uint64 // of that entry; 0 where etcd 3.4 or older wrote it
	Revision int64
}

// positionTries is how often a db is read that changes meanwhile. One reading takes a small part of the time between two
// commits of etcd's.
const positionTries = 5

var (
	errTooFast   = errors.New("it changes too fast to be read")
	errNoSegment = fmt.Errorf("no segment is there: %w", fs.ErrNotExist)
)

// Position reads off a db how far it is. It may be that of a running etcd: no lock is taken, and what is read is of one
// state (see dbFacts.settle). Only the pages on the way to the newest key are read, about ten of them, however large
// the db is. The error wraps fs.ErrNotExist where there is none.
func Position(path string) (p Point, err error) {
	err = ofOneState(path, func(b *bolt) (err error) {
		p, err = b.position()
		return err
	})
	if err != nil {
		return Point{}, fmt.Errorf("cannot read the position of the database %s: %w", path, err)
	}
	return p, nil
}

// Introduced reads off a db, as Position does, whether it has the client URLs of a member, by its hexadecimal ID. Each
// etcd that starts has raft's log say them, and serves nobody before it has seen that entry.
func Introduced(path, memberID string) (yes bool, err error) {
	err = ofOneState(path, func(b *bolt) error {
		d := &dbFacts{}
		err := d.readMembers(b)
		yes = slices.ContainsFunc(d.members, func(m Member) bool { return m.ID == memberID && len(m.ClientURLs) > 0 })
		return err
	})
	if err != nil {
		return false, fmt.Errorf("cannot read the members in the database %s: %w", path, err)
	}
	return yes, nil
}

// VersionsOf reads off a db which etcd it is of. What is said of Position goes for it too.
func VersionsOf(path string) (Versions, error) {
	r := &Report{}
	err := ofOneState(path, func(b *bolt) error {
		d := &dbFacts{}
		if err := errors.Join(d.readMeta(b), d.readCluster(b)); err != nil {
			return err
		}
		fillVersions(r, d)
		return nil
	})
	if err != nil {
		return Versions{}, fmt.Errorf("cannot read the versions of the database %s: %w", path, err)
	}
	return r.Versions, nil
}

// ofOneState reads a db until what was read is of one of its states.
func ofOneState(path string, read func(*bolt) error) error {
	f, size, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for range positionTries {
		var b *bolt
		if b, err = openBolt(f, size); err == nil {
			err = read(b)
		}
		after, openErr := openBolt(f, fileSize(f, 0))
		switch {
		case openErr != nil || b == nil:
			size = fileSize(f, 0)
		case after.meta.txid > b.meta.txid+1:
			err, size = errTooFast, after.size
		case err == nil:
			return nil
		}
	}
	return err
}

func (b *bolt) position() (Point, error) {
	d := &dbFacts{}
	err := errors.Join(d.readMeta(b), d.readRevision(b))
	return Point{Index: d.ConsistentIndex, Term: d.Term, Revision: d.Revision}, err
}

// identityBytes hold the first two records of a WAL: a sum, and whose it is.
const identityBytes = 4096

// Identity reads off the first record of a WAL whose it is: the IDs of cluster and member, hexadecimal. They never
// change while the WAL lives. The error wraps fs.ErrNotExist where there is no WAL.
func Identity(walDir string) (clusterID, memberID string, err error) {
	w := &walFacts{}
	if err := w.readIdentity(walDir); err != nil {
		return "", "", fmt.Errorf("cannot read whose WAL is in %s: %w", walDir, err)
	}
	return hexID(w.clusterID), hexID(w.memberID), nil
}

func (w *walFacts) readIdentity(dir string) error {
	name, err := FirstSegment(dir)
	if err != nil {
		return err
	}
	f, size, err := openFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, min(size, identityBytes))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	r := newSegmentReader(bytes.NewReader(head), int64(len(head)), 0, false)
	for {
		rec, err := r.read()
		if errors.Is(err, io.EOF) {
			err = errors.New("it has no such record")
		}
		if err != nil {
			return err
		}
		if rec.kind == recordMetadata {
			return w.takeMetadata(rec.data)
		}
	}
}

// FirstSegment is the name of the oldest segment in a WAL's folder. The error wraps fs.ErrNotExist where there is none.
func FirstSegment(walDir string) (string, error) {
	names, err := segmentNames(walDir)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", errNoSegment
	}
	return names[0], nil
}
