package bolt

import (
	"bytes"
	"math"
	"testing"
	"time"
)

// FuzzRecord decodes b as each kind of record: it must not panic, and what it
// takes must be, encoded again, the same bytes.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{recordFormat})
	f.Add(appendValue(nil, value{}))
	f.Add(appendValue(nil, value{expiry: 1 << 60, data: []byte("value")}))
	f.Add(appendMark(nil, mark{expiry: 5, found: true, number: -7}))
	f.Add(appendEntry(nil, entry{key: []byte("k")}))
	f.Add(appendEntry(nil, entry{
		dead: true, tries: 3, appended: 1, ready: 2, key: bytes.Repeat([]byte("k"), 255),
		reason: []byte("why"), value: []byte("value"),
	}))
	f.Add(appendEntry(nil, entry{key: []byte("k"), line: []byte("line"), value: []byte("value")}))
	f.Add(append([]byte{2}, make([]byte, 40)...))
	f.Add(indexKey(7, markIndex, nameKey("bucket", "once")))
	f.Add(entryKey("queue", 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(kind string, err error, again []byte) {
			if err == nil && !bytes.Equal(again, b) {
				t.Errorf("%s: %x became %x", kind, b, again)
			}
		}
		v, err := decodeValue(b)
		check("value", err, appendValue(nil, v))
		m, err := decodeMark(b)
		check("mark", err, appendMark(nil, m))
		e, err := decodeEntry(b)
		if err == nil && (len(e.key) == 0 || len(e.key) > 255) {
			t.Errorf("a key of %d bytes", len(e.key))
		}
		check("entry", err, appendEntry(nil, e))
		at, kind, key, err := splitIndex(b)
		check("index", err, indexKey(at, kind, key))
		name, rest, err := splitName(b)
		check("name", err, nameKey(string(name), string(rest)))
		if n, err := decodeNumber(b); err == nil {
			check("number", nil, sequence(n))
		}
	})
}

// TestRecordFormat holds the bytes of format 1: a file written once must be read
// by every later version.
func TestRecordFormat(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"value": {appendValue(nil, value{expiry: 0x0102, data: []byte("v")}), "\x01\x00\x00\x00\x00\x00\x00\x01\x02v"},
		"mark":  {appendMark(nil, mark{expiry: 1, found: true, number: -1}), "\x01\x00\x00\x00\x00\x00\x00\x00\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff"},
		"entry": {
			appendEntry(nil, entry{dead: true, tries: 2, appended: 3, ready: 4, key: []byte("k"), reason: []byte("r"), value: []byte("v")}),
			"\x01\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x04\x01k\x00\x01rv",
		},
		"entry in a line": {
			appendEntry(nil, entry{ready: 4, key: []byte("k"), line: []byte("l"), value: []byte("v")}),
			"\x01\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x01k\x01l\x00\x00v",
		},
		"index":     {indexKey(1, valueIndex, nameKey("b", "k")), "\x00\x00\x00\x00\x00\x00\x00\x01v\x01bk"},
		"entry key": {entryKey("q", 1), "\x01q\x00\x00\x00\x00\x00\x00\x00\x01"},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
}

func TestAfter(t *testing.T) {
	for _, c := range []struct {
		now  int64
		d    time.Duration
		want int64
	}{
		{5, 3, 8},
		{5, 0, 5},
		{5, -3, 5},
		{5, math.MaxInt64, math.MaxInt64},
		{-5, math.MaxInt64, math.MaxInt64 - 5},
		{math.MaxInt64, 1, math.MaxInt64},
	} {
		if got := after(c.now, c.d); got != c.want {
			t.Errorf("after(%d, %d) = %d, want %d", c.now, c.d, got, c.want)
		}
	}
}

// FuzzHeap pushes, removes and pops as the bytes say, beside a plain slice.
func FuzzHeap(f *testing.F) {
	f.Add([]byte{5, 3, 9, 0, 200, 7, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		type item struct{ n, at int }
		h := heap[*item]{
			less:  func(a, b *item) bool { return a.n < b.n },
			moved: func(x *item, i int) { x.at = i },
		}
		var all []*item
		drop := func(x *item) {
			for i := range all {
				if all[i] == x {
					all = append(all[:i], all[i+1:]...)
					return
				}
			}
			t.Fatal("an item that is not there")
		}
		for _, c := range b {
			switch {
			case c < 128 || len(all) == 0:
				x := &item{n: int(c)}
				h.push(x)
				all = append(all, x)
			case c < 170:
				x := all[int(c)%len(all)]
				h.remove(x.at)
				drop(x)
			case c < 212:
				x := all[int(c)%len(all)]
				x.n = int(c) * 7 % 100
				h.fix(x.at)
			default:
				x := h.pop()
				for _, y := range all {
					if y.n < x.n {
						t.Fatalf("popped %d, %d is there", x.n, y.n)
					}
				}
				drop(x)
			}
			if h.len() != len(all) {
				t.Fatalf("%d items, want %d", h.len(), len(all))
			}
			for i, x := range h.items {
				if x.at != i {
					t.Fatalf("item at %d thinks it is at %d", i, x.at)
				}
			}
		}
	})
}
