package rebuild

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// revisions is how far the keys of a db are.
type revisions struct {
	keys    int64 // of the newest change that is left
	compact int64 // before which there is nothing, or soon will not be
}

// current is the revision that an etcd has which starts on it. One in which nothing ever happened begins with 1.
func (r revisions) current() int64 { return max(r.keys, r.compact, 1) }

// readRevisions reads a db, or a snapshot, with bbolt's shared lock on it. With thorough, it reads all of it: bbolt, when
// it opens a damaged db for writing, panics in a goroutine of its own, and that would be the end of this process.
func readRevisions(path string, thorough bool) (r revisions, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return r, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return r, fmt.Errorf("%w: no db", ErrDamaged)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Millisecond})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return r, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }() // also after a panic: it has a lock on the file
	err = guarded(func() error {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // an offset in a bad page may lead anywhere
		return db.View(func(tx *bolt.Tx) error {
			// A page behind the end of the file would end the process when it is looked at.
			if tx.Size() > info.Size() {
				return fmt.Errorf("%w: cut off at %d bytes, of %d", ErrDamaged, info.Size(), tx.Size())
			}
			if thorough {
				if err := tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return walk(b, 0) }); err != nil {
					return err
				}
			}
			return r.read(tx)
		})
	})
	return r, err
}

// walk visits all that is in a bucket; a page that is none makes bbolt panic.
func walk(b *bolt.Bucket, depth int) error {
	var before []byte
	return b.ForEach(func(k, v []byte) error {
		switch {
		case len(k) == 0 || before != nil && bytes.Compare(before, k) >= 0:
			return fmt.Errorf("%w: keys are out of order", ErrDamaged)
		case v == nil && depth > 3: // etcd's buckets have none in them
			return fmt.Errorf("%w: buckets in buckets", ErrDamaged)
		case v == nil:
			return walk(b.Bucket(k), depth+1)
		}
		before = append(before[:0], k...)
		if len(v) > 0 {
			touched.Store(uint32(v[len(v)-1]))
		}
		return nil
	})
}

// touched keeps the compiler from leaving out a read that is done for its effect.
var touched atomic.Uint32

func (r *revisions) read(tx *bolt.Tx) error {
	keys, meta := tx.Bucket([]byte("key")), tx.Bucket([]byte("meta"))
	if keys == nil || meta == nil {
		return fmt.Errorf("%w: not the db of an etcd", ErrDamaged)
	}
	if last, _ := keys.Cursor().Last(); last != nil {
		r.keys = revision(last)
	}
	r.compact = max(revision(meta.Get([]byte("scheduledCompactRev"))), revision(meta.Get([]byte("finishedCompactRev"))))
	return nil
}

// revision is that in a key of etcd's: 8 bytes, and what orders the changes of one transaction.
func revision(b []byte) int64 {
	if len(b) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}
