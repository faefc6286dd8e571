package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// How things stand in the file. Integers are big endian; times are Unix
// nanoseconds; N is a name: its length in one byte, then its bytes.
//
//	weft     "format" → fileFormat, one byte
//	values   N(bucket) key → value record
//	marks    N(bucket) once → mark record
//	expiry   time, 'v' or 'm', key of values or marks → nothing
//	sizes    bucket → 8 bytes: keys and values of the bucket, expired ones included until they are removed
//	entries  N(queue) sequence → entry record
//	keys     N(queue) key → sequence
//
// Each record begins with its own format byte.
const (
	fileFormat   = 1
	recordFormat = 1
)

// The kinds of the index by expiry.
const (
	valueIndex = 'v'
	markIndex  = 'm'
)

var errRecord = errors.New("damaged record")

// forever is the expiry of what does not expire.
const forever = 0

// after is the time d after now; times past the range stay at its end.
func after(now int64, d time.Duration) int64 {
	if d > 0 && now > math.MaxInt64-int64(d) {
		return math.MaxInt64
	}
	return now + int64(max(d, 0))
}

// nameKey is N(name) rest.
func nameKey(name, rest string) []byte {
	k := make([]byte, 0, 1+len(name)+len(rest))
	k = append(k, byte(len(name)))
	k = append(k, name...)
	return append(k, rest...)
}

// splitName takes N(name) off k.
func splitName(k []byte) (name, rest []byte, err error) {
	if len(k) < 1 || k[0] == 0 || len(k) < 1+int(k[0]) {
		return nil, nil, fmt.Errorf("%w: a name is cut short", errRecord)
	}
	return k[1 : 1+int(k[0])], k[1+int(k[0]):], nil
}

// entryKey is the key of an entry in entries.
func entryKey(queue string, seq uint64) []byte {
	k := make([]byte, 0, 1+len(queue)+8)
	k = append(k, byte(len(queue)))
	k = append(k, queue...)
	return binary.BigEndian.AppendUint64(k, seq)
}

// indexKey is a key of expiry.
func indexKey(expiry int64, kind byte, key []byte) []byte {
	k := make([]byte, 0, 9+len(key))
	k = binary.BigEndian.AppendUint64(k, uint64(expiry))
	k = append(k, kind)
	return append(k, key...)
}

// splitIndex is the reverse of indexKey.
func splitIndex(k []byte) (expiry int64, kind byte, key []byte, err error) {
	if len(k) < 9 || (k[8] != valueIndex && k[8] != markIndex) {
		return 0, 0, nil, fmt.Errorf("%w: no key of the index by expiry", errRecord)
	}
	return int64(binary.BigEndian.Uint64(k)), k[8], k[9:], nil
}

// format checks the first byte of a record, and that at least n bytes follow.
func format(b []byte, n int) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: it is empty", errRecord)
	}
	if b[0] != recordFormat {
		return fmt.Errorf("%w: format %d, this version of weft knows %d", errRecord, b[0], recordFormat)
	}
	if len(b)-1 < n {
		return fmt.Errorf("%w: it is cut short at %d bytes", errRecord, len(b))
	}
	return nil
}

// value is a value record: format, expiry (8), value.
type value struct {
	expiry int64 // forever, or when it is no more
	data   []byte
}

const valueHead = 9

// live says whether the value is there at now.
func (v value) live(now int64) bool { return v.expiry == forever || now < v.expiry }

// appendValue appends a value record to b.
func appendValue(b []byte, v value) []byte {
	b = append(b, recordFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(v.expiry))
	return append(b, v.data...)
}

// decodeValue reads a value record; data is part of b.
func decodeValue(b []byte) (value, error) {
	if err := format(b, valueHead-1); err != nil {
		return value{}, err
	}
	return value{expiry: int64(binary.BigEndian.Uint64(b[1:])), data: b[valueHead:]}, nil
}

// mark is a mark record, what Once remembers: format, expiry (8), flags, number (8).
// There is no flag for Applied: what left a mark was applied.
type mark struct {
	expiry int64
	found  bool
	number int64
}

const (
	markSize  = 18
	markFound = 1
)

// appendMark appends a mark record to b.
func appendMark(b []byte, m mark) []byte {
	b = append(b, recordFormat)
	b = binary.BigEndian.AppendUint64(b, uint64(m.expiry))
	var flags byte
	if m.found {
		flags = markFound
	}
	b = append(b, flags)
	return binary.BigEndian.AppendUint64(b, uint64(m.number))
}

// decodeMark reads a mark record.
func decodeMark(b []byte) (mark, error) {
	if err := format(b, markSize-1); err != nil {
		return mark{}, err
	}
	if len(b) != markSize || b[9]&^markFound != 0 {
		return mark{}, fmt.Errorf("%w: no mark", errRecord)
	}
	return mark{
		expiry: int64(binary.BigEndian.Uint64(b[1:])),
		found:  b[9] == markFound,
		number: int64(binary.BigEndian.Uint64(b[10:])),
	}, nil
}

// entry is an entry record: format, flags, tries (4), appended (8), ready (8),
// N(key), N(line) where the line has a name, length of reason (2), reason, value.
type entry struct {
	dead     bool
	tries    uint32
	appended int64
	ready    int64
	key      []byte
	line     []byte
	reason   []byte
	value    []byte
}

const (
	entryHead     = 22
	entryDead     = 1
	entryLine     = 2
	entryAppended = 6  // where appended stands
	entryReady    = 14 // where ready stands
)

// appendEntry appends an entry record to b.
func appendEntry(b []byte, e entry) []byte {
	var flags byte
	if e.dead {
		flags = entryDead
	}
	if len(e.line) > 0 {
		flags |= entryLine
	}
	b = append(b, recordFormat, flags)
	b = binary.BigEndian.AppendUint32(b, e.tries)
	b = binary.BigEndian.AppendUint64(b, uint64(e.appended))
	b = binary.BigEndian.AppendUint64(b, uint64(e.ready))
	b = append(b, byte(len(e.key)))
	b = append(b, e.key...)
	if len(e.line) > 0 {
		b = append(b, byte(len(e.line)))
		b = append(b, e.line...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.reason)))
	b = append(b, e.reason...)
	return append(b, e.value...)
}

// decodeEntry reads an entry record; its slices are part of b.
func decodeEntry(b []byte) (entry, error) {
	if err := format(b, entryHead-1); err != nil {
		return entry{}, err
	}
	if b[1]&^(entryDead|entryLine) != 0 {
		return entry{}, fmt.Errorf("%w: unknown flags of an entry", errRecord)
	}
	e := entry{
		dead:     b[1]&entryDead != 0,
		tries:    binary.BigEndian.Uint32(b[2:]),
		appended: int64(binary.BigEndian.Uint64(b[entryAppended:])),
		ready:    int64(binary.BigEndian.Uint64(b[entryReady:])),
	}
	var rest []byte
	var err error
	if e.key, rest, err = splitName(b[entryHead:]); err != nil {
		return entry{}, err
	}
	if b[1]&entryLine != 0 {
		if e.line, rest, err = splitName(rest); err != nil {
			return entry{}, err
		}
	}
	if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
		return entry{}, fmt.Errorf("%w: the reason is cut short", errRecord)
	}
	n := int(binary.BigEndian.Uint16(rest))
	e.reason, e.value = rest[2:2+n], rest[2+n:]
	return e, nil
}

// decodeNumber reads 8 bytes: a size or a sequence.
func decodeNumber(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: a number of %d bytes", errRecord, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
