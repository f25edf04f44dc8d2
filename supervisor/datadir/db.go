package datadir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// dbFacts is what a database tells.
type dbFacts struct {
	DB
	members   []Member
	removed   []string
	cluster   string
	storage   string
	downgrade string
}

const (
	dbTries   = 50 // to read the details between two commits, of which etcd makes 10 a second at most times
	walkTries = 2  // to count all pages while etcd goes on
)

// readDB reads a database of which the first size bytes of the file are; size 0 takes all. What is wrong with it goes
// into its verdict; the error is one of reading the file at all.
func readDB(path string, size int64, hot bool) (*dbFacts, error) {
	d := &dbFacts{DB: DB{Path: path, Verdict: VerdictOK}}
	f, whole, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		d.Verdict = VerdictMissing
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the database: %w", err)
	}
	defer f.Close()
	if d.FileSize = whole; size > 0 {
		d.FileSize = size
	}
	if d.FileSize == 0 {
		d.Verdict, d.Problem = VerdictEmpty, "the file has no bytes"
		return d, nil
	}
	if !d.settle(f, size, hot) {
		return d, nil
	}
	d.count(f, size, hot)
	return d, nil
}

// settle reads the details of one state of the database and says whether that went well. No lock is needed: bbolt
// never writes on the pages of its newest state, and not on those of the one before until that is replaced once more.
// So what was read is of one state if the newest is at most the next one afterwards; otherwise it is read again.
func (d *dbFacts) settle(f *os.File, size int64, hot bool) bool {
	var err error
	for try := 1; ; try++ {
		next := dbFacts{DB: DB{Path: d.Path, Verdict: VerdictOK, FileSize: fileSize(f, size)}}
		var b *bolt
		if b, err = openBolt(f, next.FileSize); err == nil {
			err = next.details(b)
			if after, openErr := openBolt(f, fileSize(f, size)); openErr == nil && after.meta.txid <= b.meta.txid+1 && err == nil {
				*d = next
				return true
			} else if openErr == nil && after.meta.txid == b.meta.txid && !hot {
				break // nobody writes, and it cannot be read
			}
		} else if !hot && try > 3 {
			break
		}
		if try == dbTries {
			if err == nil {
				err = errors.New("it changes too fast to be read")
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	d.Verdict, d.Problem = VerdictDamaged, err.Error()
	return false
}

func fileSize(f *os.File, size int64) int64 {
	if info, err := f.Stat(); err == nil && size == 0 {
		return info.Size()
	}
	return size
}

// count counts the pages in use. While etcd writes, the tree may change under the count: then it is begun again, and
// what comes of it is near enough. Damage on a page of a database at rest goes into the verdict.
func (d *dbFacts) count(f *os.File, size int64, hot bool) {
	for range walkTries {
		b, err := openBolt(f, fileSize(f, size))
		if err != nil {
			continue
		}
		c, err := b.walk()
		after, openErr := openBolt(f, fileSize(f, size))
		still := openErr == nil && after.meta.txid <= b.meta.txid+1
		if err != nil && still && (!hot || after.meta.txid == b.meta.txid) {
			d.Verdict, d.Problem = VerdictDamaged, err.Error()
			return
		}
		if err == nil {
			d.take(b, c)
			d.Approximate = !still
			return
		}
	}
}

func (d *dbFacts) take(b *bolt, c *census) {
	pages := c.pages + 2 // the metas
	if b.meta.freelist != boltNoList {
		pages++
	}
	d.InUse = pages * int64(b.meta.pageSize)
	d.Records = c.keys["key"]
	for _, n := range c.keys {
		d.Keys += n
	}
}

// details reads what is kept under known names.
func (d *dbFacts) details(b *bolt) error {
	d.PageSize, d.Size, d.txid = int(b.meta.pageSize), b.bytesUsed(), b.meta.txid
	if b.oneBad != nil {
		d.oneMeta = b.oneBad.Error()
	}
	if d.Size > d.FileSize {
		return fmt.Errorf("the file has %d bytes, its pages take %d: its end is missing", d.FileSize, d.Size)
	}
	return errors.Join(d.readMeta(b), d.readMembers(b), d.readCluster(b), d.readKeys(b))
}

// inBucket visits a bucket that may be missing: etcd makes them one by one.
func inBucket(b *bolt, name string, visit func(boltBucket) error) error {
	k, err := b.bucket(name)
	if errors.Is(err, errNoBucket) {
		return nil
	}
	if err == nil {
		err = visit(k)
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", name, err)
	}
	return nil
}

func (d *dbFacts) readMeta(b *bolt) error {
	return inBucket(b, "meta", func(k boltBucket) error {
		return k.each(func(key, value []byte) error {
			switch string(key) {
			case "consistent_index":
				d.ConsistentIndex = bigEndian(value)
			case "term":
				d.Term = bigEndian(value)
			case "finishedCompactRev":
				d.CompactRevision = int64(bigEndian(value))
			case "scheduledCompactRev":
				d.CompactScheduled = int64(bigEndian(value))
			case "storageVersion":
				d.storage = status.MinorOf(string(value))
			}
			return nil
		})
	})
}

func (d *dbFacts) readMembers(b *bolt) error {
	err := inBucket(b, "members", func(k boltBucket) error {
		return k.each(func(key, value []byte) error {
			var m memberJSON
			if err := json.Unmarshal(value, &m); err != nil {
				return fmt.Errorf("member %q: %w", key, err)
			}
			d.members = append(d.members, m.member())
			return nil
		})
	})
	return errors.Join(err, inBucket(b, "members_removed", func(k boltBucket) error {
		return k.each(func(key, _ []byte) error {
			d.removed = append(d.removed, string(key))
			return nil
		})
	}))
}

func (d *dbFacts) readCluster(b *bolt) error {
	err := inBucket(b, "cluster", func(k boltBucket) error {
		version, err := k.get("clusterVersion")
		if err != nil {
			return err
		}
		d.cluster = status.MinorOf(string(version))
		down, err := k.get("downgrade")
		if err != nil || down == nil {
			return err
		}
		var info struct {
			Target  string `json:"target-version"`
			Enabled bool   `json:"enabled"`
		}
		if json.Unmarshal(down, &info) == nil && info.Enabled {
			d.downgrade = status.MinorOf(info.Target)
		}
		return nil
	})
	return errors.Join(err, inBucket(b, "auth", func(k boltBucket) error {
		enabled, err := k.get("authEnabled")
		d.AuthEnabled = slices.Equal(enabled, []byte{1})
		return err
	}))
}

// readKeys takes the revision, and what the newest keys tell.
func (d *dbFacts) readKeys(b *bolt) error {
	if err := d.readRevision(b); err != nil {
		return err
	}
	return inBucket(b, "key", func(k boltBucket) error {
		leaf, err := k.lastLeaf()
		if err != nil {
			return err
		}
		return d.lookForKubernetes(leaf)
	})
}

// untouched says that etcd made the file and never got so far as to write into it.
func (d *dbFacts) untouched() bool {
	return d.Verdict == VerdictOK && d.ConsistentIndex == 0 && d.Revision <= 1 && d.Records == 0 && len(d.members) == 0 && len(d.removed) == 0
}

// readRevision takes the revision from the last key of the bucket: keys there are revisions, in 17 or 18 bytes.
func (d *dbFacts) readRevision(b *bolt) error {
	d.Revision = 1 // of a store in which nothing was ever put
	err := inBucket(b, "key", func(k boltBucket) error {
		leaf, err := k.lastLeaf()
		if err != nil || leaf.count == 0 {
			return err
		}
		last, err := leaf.key(leaf.count - 1)
		if err != nil {
			return err
		}
		if len(last) < 17 || last[8] != '_' {
			return fmt.Errorf("key %x is no revision", last)
		}
		d.Revision = int64(bigEndian(last))
		return nil
	})
	// A compaction may have removed the newest one, when it was a deletion.
	d.Revision = max(d.Revision, d.CompactRevision, d.CompactScheduled)
	return err
}

// lookForKubernetes looks at the newest keys: where an API server runs, it writes all the time.
func (d *dbFacts) lookForKubernetes(leaf *boltPage) error {
	for i := max(0, leaf.count-64); i < leaf.count; i++ {
		value, err := leaf.value(i)
		if err != nil {
			return err
		}
		// Of a key and value the first field is the key.
		num, kind, n := protowire.ConsumeTag(value)
		if n < 0 || num != 1 || kind != protowire.BytesType {
			continue
		}
		if key, n := protowire.ConsumeBytes(value[n:]); n >= 0 && bytes.HasPrefix(key, []byte("/registry/")) {
			d.Kubernetes = true
		}
	}
	return nil
}
