package hostapi

import (
	"errors"
	"strconv"
	"unicode/utf8"
)

// ErrDecode is what every error of a Decode is: errors.Is(err, ErrDecode). The
// text says which field of which message is wrong; it never quotes a value.
var ErrDecode = errors.New("hostapi: message does not decode")

// malformed is a cause of ErrDecode.
type malformed string

const (
	errTruncated malformed = "truncated"
	errVarint    malformed = "varint over 64 bits"
	errNumber    malformed = "field number out of range"
	errGroup     malformed = "group, which proto3 does not have"
	errWireType  malformed = "wrong wire type"
	errReserved  malformed = "reserved wire type"
	errUTF8      malformed = "string is not UTF-8"
)

// Error returns the cause.
func (m malformed) Error() string { return string(m) }

// Is reports that the cause is an ErrDecode.
func (m malformed) Is(target error) bool { return target == ErrDecode }

// fieldError says where in a message the cause is.
type fieldError struct {
	message string
	num     int // 0 where the number itself could not be read
	err     error
}

// Error returns the way to the field, such as 'Event field 12: Field field 1:
// truncated'.
func (e *fieldError) Error() string {
	if e.num == 0 {
		return e.message + ": " + e.err.Error()
	}
	return e.message + " field " + strconv.Itoa(e.num) + ": " + e.err.Error()
}

// Unwrap returns the cause.
func (e *fieldError) Unwrap() error { return e.err }

// Wire types, https://protobuf.dev/programming-guides/encoding/#structure.
const (
	wireVarint = 0
	wireI64    = 1
	wireLen    = 2
	wireSGroup = 3
	wireEGroup = 4
	wireI32    = 5

	maxFieldNumber = 1<<29 - 1
)

// field is one field as it lies on the wire: n holds a varint, s the bytes of
// a length-delimited one. The fixed-width types carry neither, because no
// message uses them and they are only skipped.
type field struct {
	num  int
	wire int
	n    uint64
	s    string
}

// message takes the fields of one message, one after another. A number that it
// doesn't know is skipped; a later occurrence replaces an earlier one, adds to
// a repeated field, and is merged into a message.
type message interface {
	set(f field) error
}

// decode reads the message s, called name in errors, into m.
func decode(name, s string, m message) error {
	for len(s) > 0 {
		f, rest, err := readField(s)
		if err == nil {
			err = m.set(f)
		}
		if err != nil {
			return &fieldError{name, f.num, err}
		}
		s = rest
	}
	return nil
}

// count returns how many fields of s have the number a, and how many b, up to
// the first that is malformed.
func count(s string, a, b int) (na, nb int) {
	for len(s) > 0 {
		f, rest, err := readField(s)
		if err != nil {
			break
		}
		switch f.num {
		case a:
			na++
		case b:
			nb++
		}
		s = rest
	}
	return na, nb
}

// readField reads the field that s starts with.
func readField(s string) (f field, rest string, err error) {
	tag, s, err := readVarint(s)
	if err != nil {
		return f, "", err
	}
	if tag>>3 == 0 || tag>>3 > maxFieldNumber {
		return f, "", errNumber
	}
	f.num, f.wire = int(tag>>3), int(tag&7)
	switch f.wire {
	case wireVarint:
		f.n, s, err = readVarint(s)
		return f, s, err
	case wireLen:
		size, s, err := readVarint(s)
		if err != nil {
			return f, "", err
		}
		if size > uint64(len(s)) {
			return f, "", errTruncated
		}
		f.s = s[:size]
		return f, s[size:], nil
	case wireI64, wireI32:
		size := 8
		if f.wire == wireI32 {
			size = 4
		}
		if len(s) < size {
			return f, "", errTruncated
		}
		return f, s[size:], nil
	case wireSGroup, wireEGroup:
		return f, "", errGroup
	default:
		return f, "", errReserved
	}
}

// readVarint reads the base-128 number that s starts with; it need not be the
// shortest form.
func readVarint(s string) (v uint64, rest string, err error) {
	for i := 0; i < len(s) && i < 10; i++ {
		c := s[i]
		if i == 9 && c > 1 {
			return 0, "", errVarint
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, s[i+1:], nil
		}
	}
	return 0, "", errTruncated
}

func (f field) toString(dst *string) error {
	if f.wire != wireLen {
		return errWireType
	}
	if !utf8.ValidString(f.s) {
		return errUTF8
	}
	*dst = f.s
	return nil
}

// toBytes stores a copy; no bytes are nil.
func (f field) toBytes(dst *[]byte) error {
	if f.wire != wireLen {
		return errWireType
	}
	*dst = nil
	if f.s != "" {
		*dst = []byte(f.s)
	}
	return nil
}

func (f field) toMessage(name string, m message) error {
	if f.wire != wireLen {
		return errWireType
	}
	return decode(name, f.s, m)
}

// toInt stores a number, cut to its type as protobuf says: an int32 or uint32
// on the wire with more bits loses the upper ones.
func toInt[T ~int32 | ~uint32 | ~int64 | ~uint64](f field, dst *T) error {
	if f.wire != wireVarint {
		return errWireType
	}
	*dst = T(f.n)
	return nil
}

func (f field) toBool(dst *bool) error {
	if f.wire != wireVarint {
		return errWireType
	}
	*dst = f.n != 0
	return nil
}

// The size functions return the bytes that the append function of the same
// name adds. A zero value is left out, as proto3 does for a field without
// presence; size… and append…Message write an empty message too.

func sizeVarint(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func sizeString[T string | []byte](num int, v T) int {
	if len(v) == 0 {
		return 0
	}
	return sizeMessage(num, len(v))
}

func sizeMessage(num, size int) int {
	return sizeVarint(uint64(num)<<3) + sizeVarint(uint64(size)) + size
}

func sizeInt(num int, v uint64) int {
	if v == 0 {
		return 0
	}
	return sizeVarint(uint64(num)<<3) + sizeVarint(v)
}

func sizeBool(num int, v bool) int {
	if !v {
		return 0
	}
	return sizeInt(num, 1)
}

func appendVarint(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

func appendString[T string | []byte](b []byte, num int, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return append(appendHeader(b, num, len(v)), v...)
}

// appendHeader adds what goes before the size bytes of an embedded message.
func appendHeader(b []byte, num, size int) []byte {
	return appendVarint(appendVarint(b, uint64(num)<<3|wireLen), uint64(size))
}

func appendInt(b []byte, num int, v uint64) []byte {
	if v == 0 {
		return b
	}
	return appendVarint(appendVarint(b, uint64(num)<<3|wireVarint), v)
}

func appendBool(b []byte, num int, v bool) []byte {
	if !v {
		return b
	}
	return appendInt(b, num, 1)
}

// grow returns b with room for n more bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, len(b)+n), b...)
}
