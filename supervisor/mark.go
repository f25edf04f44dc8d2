package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/etcdsup/etcdsup/supervisor/datadir"
)

// Mark is who lives in the data directory, and how far that member is known to be. An etcd that starts from data behind
// it has forgotten what it promised to others: such data is not started. The zero value knows nothing.
type Mark struct {
	ClusterID string `json:"cluster_id,omitempty"` // hexadecimal; empty: not known
	MemberID  string `json:"member_id,omitempty"`  // hexadecimal; empty: nobody has lived here yet
	Term      uint64 `json:"term,omitempty"`
	Index     uint64 `json:"index,omitempty"` // of raft's log, as far as it was applied
	Revision  int64  `json:"revision,omitempty"`

	Dir Fingerprint `json:"dir"` // where that was
}

// Fingerprint tells a data directory from another one by a few calls of stat, without reading any file of it.
type Fingerprint struct {
	Dir   FileID `json:"dir"`             // of the directory itself
	DB    FileID `json:"db"`              // of member/snap/db
	WAL   FileID `json:"wal"`             // of the folder of the WAL
	First string `json:"first,omitempty"` // name of the oldest segment; empty: there is none
}

// FileID is a file's device and inode; zero: there is none.
type FileID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// Known is the mark in the words of package datadir.
func (m Mark) Known() datadir.Known {
	return datadir.Known{ClusterID: m.ClusterID, MemberID: m.MemberID, Term: m.Term, Index: m.Index, Revision: m.Revision}
}

// Is tells whether a member is the one that the mark knows; what the mark does not know is not compared.
func (m Mark) Is(clusterID, memberID string) bool {
	return (m.ClusterID == "" || m.ClusterID == clusterID) && (m.MemberID == "" || m.MemberID == memberID)
}

// raisedTo is the mark after the member was seen as o says. It never goes back.
func (m Mark) raisedTo(o Mark) Mark {
	o.Term, o.Index, o.Revision = max(m.Term, o.Term), max(m.Index, o.Index), max(m.Revision, o.Revision)
	return o
}

// The file has two slots of slotSize bytes, each in a block of its own, so that a write that a power cut tears apart
// cannot reach the other one. They are written in turns, the one with the higher seq counts. A slot is one line of text,
// then zeros:
//
//	etcdsup-mark 1 seq=7 cluster=cdf818194e3a8c32 member=8e9e05c52164694d term=2 index=15 revision=9
//	  dir=fe00:8a01 db=fe00:8a07 wal=fe00:8a05 first=0000000000000000-0000000000000000.wal crc=132e77a9
//
// (without the break). IDs, devices, inodes and the sum are hexadecimal, the other numbers decimal; "-" stands for
// nothing; crc is the CRC-32C of all before " crc=". A reader takes no other version than its own.
const (
	slotSize    = 4096
	markVersion = 1 // stands in markWords
	markWords   = "etcdsup-mark 1"
)

var markSum = crc32.MakeTable(crc32.Castagnoli)

func sumOf(line string) uint32 { return crc32.Checksum([]byte(line), markSum) }

// errNoMark says that a file has no mark that can be believed.
var errNoMark = errors.New("neither of its two lines is whole")

// encodeSlot is the slot that holds the mark.
func encodeSlot(m Mark, seq uint64) []byte {
	line := fmt.Appendf(nil, "%s seq=%d cluster=%s member=%s term=%d index=%d revision=%d dir=%v db=%v wal=%v first=%s",
		markWords, seq, orDash(m.ClusterID), orDash(m.MemberID), m.Term, m.Index, m.Revision, m.Dir.Dir, m.Dir.DB, m.Dir.WAL, orDash(m.Dir.First))
	line = fmt.Appendf(line, " crc=%08x\n", sumOf(string(line)))
	return append(line, make([]byte, slotSize-len(line))...)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// String is how a FileID stands in the mark's file.
func (f FileID) String() string { return fmt.Sprintf("%x:%x", f.Dev, f.Ino) }

// decodeMark takes the newer of the two slots that is whole.
func decodeMark(file []byte) (m Mark, seq uint64, err error) {
	err = errNoMark
	for from := 0; from < len(file) && from < 2*slotSize; from += slotSize {
		got, n, slotErr := decodeSlot(file[from:min(from+slotSize, len(file))])
		if slotErr == nil && (err != nil || n > seq) {
			m, seq, err = got, n, nil
		}
	}
	return m, seq, err
}

func decodeSlot(slot []byte) (m Mark, seq uint64, err error) {
	line, _, whole := bytes.Cut(slot, []byte("\n"))
	text, sum, hasSum := strings.Cut(string(line), " crc=")
	if want := fmt.Sprintf("%08x", sumOf(text)); !whole || !hasSum || sum != want {
		return Mark{}, 0, errNoMark
	}
	words, ok := strings.CutPrefix(text, markWords+" ")
	if !ok {
		return Mark{}, 0, errors.New("of another version")
	}
	f := &markFields{rest: words}
	seq = f.number("seq")
	m.ClusterID, m.MemberID = f.id("cluster"), f.id("member")
	m.Term, m.Index = f.number("term"), f.number("index")
	m.Revision = int64(f.number("revision"))
	m.Dir = Fingerprint{Dir: f.file("dir"), DB: f.file("db"), WAL: f.file("wal"), First: f.text("first")}
	if f.bad || f.rest != "" || m.Revision < 0 {
		return Mark{}, 0, errors.New("not in the form of a mark")
	}
	return m, seq, nil
}

// markFields takes name=value words from a line in their order.
type markFields struct {
	rest string
	bad  bool
}

func (f *markFields) word(name string) string {
	word, rest, _ := strings.Cut(f.rest, " ")
	f.rest = rest
	value, ok := strings.CutPrefix(word, name+"=")
	f.bad = f.bad || !ok || value == ""
	return value
}

func (f *markFields) text(name string) string {
	if v := f.word(name); v != "-" {
		return v
	}
	return ""
}

func (f *markFields) number(name string) uint64 { return f.parse(f.word(name), 10) }

// parse takes only what format would write, so that one mark has one form.
func (f *markFields) parse(text string, base int) uint64 {
	n, err := strconv.ParseUint(text, base, 64)
	f.bad = f.bad || err != nil || strconv.FormatUint(n, base) != text
	return n
}

func (f *markFields) id(name string) string {
	v := f.text(name)
	if v != "" {
		f.bad = f.bad || f.parse(v, 16) == 0
	}
	return v
}

func (f *markFields) file(name string) FileID {
	dev, ino, _ := strings.Cut(f.word(name), ":")
	return FileID{Dev: f.parse(dev, 16), Ino: f.parse(ino, 16)}
}
