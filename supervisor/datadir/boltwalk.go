package datadir

import (
	"fmt"
	"slices"
)

// census is what all pages of a database come to.
type census struct {
	pages int64            // that a tree reaches
	keys  map[string]int64 // of each bucket
}

// windowSize is read at once. Pages are visited in the order of their numbers, level by level, so that each byte of
// the file is read once at most for each level, and nearly all pages are of the last.
const windowSize = 1 << 18

type walker struct {
	b      *bolt
	seen   []uint64 // a bit for each page
	window []byte
	at     int64 // where the window stands in the file
	pages  int64
}

// walk visits every page of every bucket and looks at its header: etcd does not keep its list of free pages on disk,
// so what is in use has to be counted. The first page that is not what it should be ends it.
func (b *bolt) walk() (*census, error) {
	w := &walker{b: b, seen: make([]uint64, b.meta.pages/64+1), at: -1, window: make([]byte, max(windowSize, int(b.meta.pageSize)))}
	c := &census{keys: map[string]int64{}}
	buckets := map[string]boltBucket{}
	_, err := w.tree(b.meta.root, func(p *boltPage) error {
		for i := range p.count {
			if !p.isBucket(i) {
				continue
			}
			name, err := p.key(i)
			if err != nil {
				return err
			}
			if buckets[string(name)], err = p.bucketAt(i); err != nil {
				return err
			}
		}
		return nil
	})
	for name, k := range buckets {
		if err != nil {
			return nil, err
		}
		if k.inline != nil {
			c.keys[name] = int64(k.inline.count)
			continue
		}
		c.keys[name], err = w.tree(k.root, nil)
	}
	c.pages = w.pages
	return c, err
}

// tree counts the keys of the tree at root and calls leaf, if any, for its leaves.
func (w *walker) tree(root uint64, leaf func(*boltPage) error) (keys int64, err error) {
	level := []uint64{root}
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxDepth {
			return keys, &pageError{root, "the tree goes in circles"}
		}
		slices.Sort(level)
		var next []uint64
		for _, id := range level {
			p, err := w.visit(id)
			switch {
			case err != nil:
				return keys, err
			case p.flags == pageBranch:
				next = slices.Grow(next, p.count)
				for i := range p.count {
					next = append(next, p.child(i))
				}
				continue
			}
			keys += int64(p.count)
			if leaf != nil {
				if err := leaf(p); err != nil {
					return keys, err
				}
			}
		}
		level = next
	}
	return keys, nil
}

func (w *walker) visit(id uint64) (*boltPage, error) {
	data, err := w.read(id)
	if err != nil {
		return nil, err
	}
	p, err := w.b.parsePage(id, data)
	if err != nil {
		return nil, err
	}
	for n := id; n <= id+uint64(p.overflow); n++ {
		if w.seen[n/64]&(1<<(n%64)) != 0 {
			return nil, &pageError{n, "belongs to two places"}
		}
		w.seen[n/64] |= 1 << (n % 64)
	}
	w.pages += int64(p.overflow) + 1
	return p, nil
}

// read gives a page's first part from the window, which is moved when the page is not in it.
func (w *walker) read(id uint64) ([]byte, error) {
	size := int64(w.b.meta.pageSize)
	from := int64(id) * size
	if id < 2 || id >= w.b.meta.pages || from+size > w.b.size {
		return nil, &pageError{id, fmt.Sprintf("lies behind the end: there are %d, in %d bytes", w.b.meta.pages, w.b.size)}
	}
	if w.at < 0 || from < w.at || from+size > w.at+int64(len(w.window)) {
		n := min(int64(cap(w.window)), w.b.size-from)
		w.window = w.window[:n]
		if _, err := w.b.r.ReadAt(w.window, from); err != nil {
			w.at = -1
			return nil, &pageError{id, err.Error()}
		}
		w.at = from
	}
	return w.window[from-w.at : from-w.at+size : from-w.at+size], nil
}
