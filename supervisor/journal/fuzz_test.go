package journal

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/etcdsup/etcdsup/supervisor/status"
)

// The seeds are small, for the fuzzer spends its time on making them smaller, and always the same.

func smallJournal(f *testing.F) []byte {
	plan := status.Plan{Request: status.ModeRequest{Mode: status.ModeJoin}, Steps: []status.Step{{Name: "a"}}}
	var all []byte
	for i, r := range []record{
		{Format: Format, Plan: &plan}, {Step: "a", Phase: PhaseBegin}, {Step: "a", Phase: PhaseDone, Data: map[string]string{"k": "v"}},
		{Outcome: status.OutcomeDone},
	} {
		r.N = i + 1
		line, err := encode(r)
		must(f, err)
		all = append(all, line...)
	}
	return all
}

func smallAudit(f *testing.F) []byte {
	var all []byte
	prev := genesis
	for i := range 2 {
		line, err := seal("hash", sealed{Seq: uint64(i + 1), Kind: KindStep, Prev: prev}, func(rest []byte) string {
			prev = chained(prev, rest)
			return prev
		})
		must(f, err)
		all = append(all, line...)
	}
	return all
}

// FuzzJournal: any bytes are a fold of whole lines with an unfinished one behind them, or a named damage; and what was
// taken for whole is so again.
func FuzzJournal(f *testing.F) {
	const id, name = "20261123T011500Z-join", "20261123T011500Z-join" + suffix
	data := smallJournal(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(slices.Concat(data[:len(data)/2], []byte("\n"), data[len(data)/2:]))
	f.Add([]byte("\n\n"))
	f.Add([]byte(`{"crc":"00000000","n":1}` + "\n"))
	f.Add([]byte(`{"crc":"00000000","n":1,"format":1,"plan":{"steps":[{"name":"a"}]},"outcome":"done"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		mended := remadeWith(data, "crc", crcDigits, func(_ string, rest []byte) string { return crc(rest) })
		for _, data := range [][]byte{data, mended} {
			r, err := read(id, name, data)
			var bad *FileError
			if err != nil {
				if !errors.As(err, &bad) || bad.Line < 1 || bad.Line > bytes.Count(data, []byte("\n"))+1 || bad.Remedy == "" {
					t.Fatalf("error %v", err)
				}
				continue
			}
			if int(r.whole)+len(r.torn) != len(data) || !bytes.HasSuffix(data, r.torn) {
				t.Fatalf("%d whole, %d torn of %d bytes", r.whole, len(r.torn), len(data))
			}
			again, err := read(id, name, data[:r.whole])
			if err != nil || len(again.torn) > 0 || !reflect.DeepEqual(again.state, r.state) {
				t.Fatalf("again: %+v, %v\nfirst: %+v", again, err, r)
			}
			r.state.Transition()
			if endsForSure(data) && len(r.torn) == 0 && !r.state.ended() {
				t.Fatalf("ends for sure, but reads as %+v", r.state)
			}
		}
	})
}

// FuzzAudit: no bytes bring the readers down; what they say of the same bytes agrees, and going on with them makes a
// chain that holds as far as the old one did.
func FuzzAudit(f *testing.F) {
	data := smallAudit(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(slices.Concat(data, data))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		prev := genesis
		mended := remadeWith(data, "hash", hashDigits, func(check string, rest []byte) string {
			e, _ := decodeEntry([]byte(`{"hash":"` + chained(prev, rest) + `",` + string(rest)))
			prev = e.Hash
			return e.Hash
		})
		for _, data := range [][]byte{data, mended} {
			agree(t, data)
		}
	})
}

func agree(t *testing.T, data []byte) {
	r, size, err := verify(bytes.NewReader(data))
	var b *ChainError
	if err != nil && (!errors.As(err, &b) || b.Line != r.Entries+1) || err == nil && int(size) != len(data) {
		t.Fatalf("%+v, %d of %d bytes, %v", r, size, len(data), err)
	}
	all, bad, readErr := newest(bytes.NewReader(data), 0)
	if readErr != nil || len(all) < r.Entries || err == nil && (bad > 0 || len(all) != r.Entries) {
		t.Fatalf("%d entries, %d bad, %v, but %d verified, %v", len(all), bad, readErr, r.Entries, err)
	}
	last, _, readErr := newest(bytes.NewReader(data), 1)
	if readErr != nil || len(last) > 1 || len(last) == 1 && last[0].Hash != all[len(all)-1].Hash {
		t.Fatalf("newest: %+v, %v", last, readErr)
	}
	end := endOf(data, 0)
	if end.problem == "" && int(end.whole)+len(end.torn) != len(data) {
		t.Fatalf("%d whole, %d torn of %d bytes", end.whole, len(end.torn), len(data))
	}
	if err == nil && (end.problem != "" || len(end.torn) > 0 || end.last.Hash != r.Head) {
		t.Fatalf("the chain holds, but its end reads as %+v", end)
	}
}

// remadeWith gives each line the check that its bytes have now, so that a fuzzer gets behind it.
func remadeWith(data []byte, member string, digits int, check func(string, []byte) string) []byte {
	var out [][]byte
	for line := range bytes.Lines(data) {
		body, end := bytes.CutSuffix(line, []byte("\n"))
		if old, rest, ok := unseal(member, digits, body); ok {
			line = []byte(`{"` + member + `":"` + check(old, rest) + `",` + string(rest))
			if end {
				line = append(line, '\n')
			}
		}
		out = append(out, line)
	}
	return bytes.Join(out, nil)
}
