package datadir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// This is a reader of bbolt's file format. bbolt itself is not used, for three reasons: it takes a lock, which would
// hold up an etcd that starts meanwhile and cannot be had while one runs; it maps the file, so a truncated one ends
// the process by SIGBUS; and it trusts what it finds on a page, so a damaged one panics or reads anywhere.
// Here each page is read by pread and checked before it is believed.

const (
	boltMagic     = 0xED0CDAED
	boltVersion   = 2
	boltHeader    = 16 // of a page: id 8, flags 2, count 2, overflow 4
	boltElement   = 16 // of a branch or leaf page
	boltMetaSize  = 64 // behind the header: magic, version, page size, flags, root, sequence, freelist, pages, txid, checksum
	boltNoList    = ^uint64(0)
	maxDepth      = 48      // of a tree; a deeper one goes in circles
	maxBoltObject = 1 << 26 // of a key or value that is read whole
)

// Flags of a page.
const (
	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageMeta     = 0x04
	pageFreelist = 0x10
)

// boltMeta is the root of one state of the database. There are two, written in turn.
type boltMeta struct {
	pageSize uint32
	root     uint64
	freelist uint64
	pages    uint64 // all pages have a lower number
	txid     uint64
}

// pageError says which page cannot be what it should be.
type pageError struct {
	page uint64
	text string
}

func (e *pageError) Error() string { return fmt.Sprintf("page %d: %s", e.page, e.text) }

var errNoBucket = errors.New("no such bucket")

// bolt is one state of a database: what the meta that was chosen leads to.
type bolt struct {
	r    io.ReaderAt
	size int64 // of the file, without what follows the db
	meta boltMeta
	// oneBad is why only one of the two metas can be used; nil when both can.
	oneBad error
}

// openBolt reads the newer of the metas that are whole.
func openBolt(r io.ReaderAt, size int64) (*bolt, error) {
	first, err0 := readMeta(r, size, 0)
	second, err1 := secondMeta(r, size, first, err0)
	b := &bolt{r: r, size: size, oneBad: errors.Join(err0, err1)}
	switch {
	case err0 != nil && err1 != nil:
		return nil, fmt.Errorf("both meta pages are bad: first %w, second %w", err0, err1)
	case err1 != nil, err0 == nil && first.txid > second.txid:
		b.meta = first
	default:
		b.meta = second
	}
	return b, nil
}

// secondMeta stands at the second page, which is where the first meta says. Without it each size is tried.
func secondMeta(r io.ReaderAt, size int64, first boltMeta, err0 error) (boltMeta, error) {
	if err0 == nil {
		return readMeta(r, size, int64(first.pageSize))
	}
	for pageSize := int64(1024); pageSize <= 1<<20; pageSize *= 2 {
		if m, err := readMeta(r, size, pageSize); err == nil && int64(m.pageSize) == pageSize {
			return m, nil
		}
	}
	return readMeta(r, size, 4096)
}

func readMeta(r io.ReaderAt, size, at int64) (boltMeta, error) {
	var b [boltHeader + boltMetaSize]byte
	if at+int64(len(b)) > size {
		return boltMeta{}, errors.New("lies behind the end of the file")
	}
	if _, err := r.ReadAt(b[:], at); err != nil {
		return boltMeta{}, err
	}
	u32 := func(i int) uint32 { return binary.LittleEndian.Uint32(b[boltHeader+i:]) }
	u64 := func(i int) uint64 { return binary.LittleEndian.Uint64(b[boltHeader+i:]) }
	m := boltMeta{pageSize: u32(8), root: u64(16), freelist: u64(32), pages: u64(40), txid: u64(48)}
	sum := fnv.New64a()
	sum.Write(b[boltHeader : boltHeader+56])
	switch {
	case u32(0) != boltMagic:
		return m, errors.New("is no meta page")
	case u32(4) != boltVersion:
		return m, fmt.Errorf("is of version %d", u32(4))
	case u64(56) != sum.Sum64():
		return m, errors.New("has a wrong checksum")
	case m.pageSize < 512 || m.pageSize > 1<<20 || m.pageSize&(m.pageSize-1) != 0:
		return m, fmt.Errorf("has page size %d", m.pageSize)
	case m.pages > 1<<40 || m.root >= m.pages:
		return m, fmt.Errorf("has its root at page %d of %d", m.root, m.pages)
	}
	return m, nil
}

// bytesUsed is the size of the database as etcd counts it.
func (b *bolt) bytesUsed() int64 { return int64(b.meta.pages) * int64(b.meta.pageSize) }

// boltPage is a page of a tree. Keys and values that lie outside data are read when they are asked for.
type boltPage struct {
	b        *bolt
	id       uint64
	flags    uint16
	count    int
	overflow uint32
	extent   int64  // bytes, with the pages that it runs over into
	data     []byte // from its beginning: the table of elements at least
}

// page reads a branch or leaf page.
func (b *bolt) page(id uint64) (*boltPage, error) {
	size := int64(b.meta.pageSize)
	if id < 2 || id >= b.meta.pages {
		return nil, &pageError{id, fmt.Sprintf("there are %d", b.meta.pages)}
	}
	if (int64(id)+1)*size > b.size {
		return nil, &pageError{id, fmt.Sprintf("lies behind the end of the file, at byte %d of %d", int64(id)*size, b.size)}
	}
	data := make([]byte, size)
	if _, err := b.r.ReadAt(data, int64(id)*size); err != nil {
		return nil, &pageError{id, err.Error()}
	}
	return b.parsePage(id, data)
}

// parsePage checks the header of a page of which data is the first part, and gets the rest of its table.
func (b *bolt) parsePage(id uint64, data []byte) (*boltPage, error) {
	p := &boltPage{
		b: b, id: id, data: data,
		flags:    binary.LittleEndian.Uint16(data[8:]),
		count:    int(binary.LittleEndian.Uint16(data[10:])),
		overflow: binary.LittleEndian.Uint32(data[12:]),
	}
	size := int64(b.meta.pageSize)
	p.extent = (int64(p.overflow) + 1) * size
	table := boltHeader + int64(p.count)*boltElement
	switch own := binary.LittleEndian.Uint64(data); {
	case own != id:
		return nil, &pageError{id, fmt.Sprintf("says that it is page %d", own)}
	case p.flags != pageBranch && p.flags != pageLeaf:
		return nil, &pageError{id, fmt.Sprintf("is of type %#x, neither branch nor leaf", p.flags)}
	case p.flags == pageBranch && p.count == 0:
		return nil, &pageError{id, "is a branch without children"}
	case id+uint64(p.overflow) >= b.meta.pages || int64(id)*size+p.extent > b.size:
		return nil, &pageError{id, fmt.Sprintf("runs over %d pages, past the end", p.overflow)}
	case table > p.extent:
		return nil, &pageError{id, fmt.Sprintf("has %d elements in %d bytes", p.count, p.extent)}
	case table > int64(len(data)):
		var err error
		p.data, err = p.fetch(0, table)
		return p, err
	}
	return p, nil
}

func (p *boltPage) u32(at int) uint32 { return binary.LittleEndian.Uint32(p.data[at:]) }

// fetch gives n bytes of the page from offset at.
func (p *boltPage) fetch(at, n int64) ([]byte, error) {
	switch {
	case at < 0 || n < 0 || at+n > p.extent:
		return nil, &pageError{p.id, fmt.Sprintf("an element lies at byte %d with %d bytes, the page has %d", at, n, p.extent)}
	case at+n <= int64(len(p.data)):
		return p.data[at : at+n], nil
	case n > maxBoltObject:
		return nil, &pageError{p.id, fmt.Sprintf("an element has %d bytes", n)}
	}
	b := make([]byte, n)
	if _, err := p.b.r.ReadAt(b, int64(p.id)*int64(p.b.meta.pageSize)+at); err != nil {
		return nil, &pageError{p.id, err.Error()}
	}
	return b, nil
}

// key of the element; of a branch it is the lowest key of the child.
func (p *boltPage) key(i int) ([]byte, error) {
	at := boltHeader + i*boltElement
	if p.flags == pageBranch {
		return p.fetch(int64(at)+int64(p.u32(at)), int64(p.u32(at+4)))
	}
	return p.fetch(int64(at)+int64(p.u32(at+4)), int64(p.u32(at+8)))
}

func (p *boltPage) value(i int) ([]byte, error) {
	at := boltHeader + i*boltElement
	return p.fetch(int64(at)+int64(p.u32(at+4))+int64(p.u32(at+8)), int64(p.u32(at+12)))
}

func (p *boltPage) child(i int) uint64 {
	return binary.LittleEndian.Uint64(p.data[boltHeader+i*boltElement+8:])
}

func (p *boltPage) isBucket(i int) bool { return p.u32(boltHeader+i*boltElement)&1 != 0 }

// boltBucket is where the tree of a bucket begins: at a page, or for a small one in the value itself.
type boltBucket struct {
	b      *bolt
	root   uint64
	inline *boltPage
}

func (b *bolt) rootBucket() boltBucket { return boltBucket{b: b, root: b.meta.root} }

// bucket of the name; errNoBucket if there is none.
func (b *bolt) bucket(name string) (boltBucket, error) {
	p, i, err := b.rootBucket().find([]byte(name))
	if err != nil {
		return boltBucket{}, err
	}
	if p == nil || !p.isBucket(i) {
		return boltBucket{}, fmt.Errorf("%q: %w", name, errNoBucket)
	}
	return p.bucketAt(i)
}

func (p *boltPage) bucketAt(i int) (boltBucket, error) {
	v, err := p.value(i)
	if err != nil {
		return boltBucket{}, err
	}
	if len(v) < 16 {
		return boltBucket{}, &pageError{p.id, fmt.Sprintf("a bucket of %d bytes", len(v))}
	}
	bucket := boltBucket{b: p.b, root: binary.LittleEndian.Uint64(v)}
	if bucket.root == 0 {
		bucket.inline, err = p.inlineLeaf(v[16:])
	}
	return bucket, err
}

// inlineLeaf is the page that a small bucket keeps in its value.
func (p *boltPage) inlineLeaf(v []byte) (*boltPage, error) {
	if len(v) < boltHeader {
		return nil, &pageError{p.id, fmt.Sprintf("an inline bucket of %d bytes", len(v))}
	}
	in := &boltPage{b: p.b, id: p.id, flags: pageLeaf, data: v, extent: int64(len(v)), count: int(binary.LittleEndian.Uint16(v[10:]))}
	if boltHeader+in.count*boltElement > len(v) {
		return nil, &pageError{p.id, fmt.Sprintf("an inline bucket with %d elements in %d bytes", in.count, len(v))}
	}
	return in, nil
}

func (k boltBucket) top() (*boltPage, error) {
	if k.inline != nil {
		return k.inline, nil
	}
	return k.b.page(k.root)
}

// find gives the leaf and the place of the key there; the page is nil when there is no such key.
func (k boltBucket) find(key []byte) (*boltPage, int, error) {
	p, err := k.top()
	for depth := 0; err == nil; depth++ {
		i, exact, err := p.search(key)
		switch {
		case err != nil:
			return nil, 0, err
		case p.flags == pageLeaf && exact:
			return p, i, nil
		case p.flags == pageLeaf:
			return nil, 0, nil
		case depth > maxDepth:
			return nil, 0, &pageError{p.id, "the tree goes in circles"}
		}
		if p, err = k.b.page(p.child(max(i, 0))); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, err
}

// search finds the last element whose key is not above key; -1 if there is none.
func (p *boltPage) search(key []byte) (at int, exact bool, err error) {
	low, high := 0, p.count
	for low < high {
		mid := int(uint(low+high) >> 1)
		k, err := p.key(mid)
		if err != nil {
			return 0, false, err
		}
		if c := bytes.Compare(k, key); c == 0 {
			return mid, true, nil
		} else if c < 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1, false, nil
}

// get is the value of the key; nil when there is none.
func (k boltBucket) get(key string) ([]byte, error) {
	p, i, err := k.find([]byte(key))
	if err != nil || p == nil {
		return nil, err
	}
	return p.value(i)
}

// lastLeaf is the leaf with the highest keys. It may have none: then the bucket is empty.
func (k boltBucket) lastLeaf() (*boltPage, error) {
	p, err := k.top()
	for depth := 0; err == nil && p.flags == pageBranch; depth++ {
		if depth > maxDepth {
			return nil, &pageError{p.id, "the tree goes in circles"}
		}
		p, err = k.b.page(p.child(p.count - 1))
	}
	return p, err
}

// each visits all keys of a small bucket in their order.
func (k boltBucket) each(visit func(key, value []byte) error) error {
	p, err := k.top()
	if err != nil {
		return err
	}
	return p.each(visit, 0)
}

func (p *boltPage) each(visit func(key, value []byte) error, depth int) error {
	if depth > maxDepth {
		return &pageError{p.id, "the tree goes in circles"}
	}
	for i := range p.count {
		if p.flags == pageBranch {
			child, err := p.b.page(p.child(i))
			if err == nil {
				err = child.each(visit, depth+1)
			}
			if err != nil {
				return err
			}
			continue
		}
		key, err := p.key(i)
		if err != nil {
			return err
		}
		value, err := p.value(i)
		if err == nil {
			err = visit(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
