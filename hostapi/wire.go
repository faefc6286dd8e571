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

// reader reads one message field by field. After next the field's number and
// wire type are in num and wire, a varint in n, the bytes of a length-delimited
// field in v; the fixed-width types carry neither, because no message uses them
// and they are only skipped. The first error ends the reading.
//
// It is a loop over a cursor, without interfaces and with few calls, because
// calls are what costs most in a Go guest.
type reader struct {
	s    string
	pos  int // s[pos:] is still to be read
	num  int // 0 where the number could not be read
	wire int
	n    uint64
	v    string
	err  error
}

// next reads the next field; false at the end of the message and after an
// error.
func (r *reader) next() bool {
	if r.pos >= len(r.s) || r.err != nil {
		return false
	}
	r.num = 0
	tag := r.varint()
	if tag>>3 == 0 || tag>>3 > maxFieldNumber {
		return r.refuse(errNumber)
	}
	r.num, r.wire = int(tag>>3), int(tag&7)
	switch r.wire {
	case wireVarint:
		r.n = r.varint()
		return r.err == nil
	case wireLen:
		size := r.varint()
		if r.err != nil || size > uint64(len(r.s)-r.pos) {
			return r.refuse(errTruncated)
		}
		r.v = r.s[r.pos : r.pos+int(size)]
		r.pos += int(size)
		return true
	case wireI64:
		return r.skip(8)
	case wireI32:
		return r.skip(4)
	case wireSGroup, wireEGroup:
		return r.refuse(errGroup)
	default:
		return r.refuse(errReserved)
	}
}

// refuse ends the reading with the first error; it returns false.
func (r *reader) refuse(err error) bool {
	if r.err == nil {
		r.err = err
	}
	return false
}

func (r *reader) skip(n int) bool {
	if len(r.s)-r.pos < n {
		return r.refuse(errTruncated)
	}
	r.pos += n
	return true
}

// varint reads a base-128 number; it need not be the shortest form. It is 0
// after an error. Nearly all are of one or two bytes.
func (r *reader) varint() uint64 {
	s := r.s[r.pos:]
	if len(s) > 0 && s[0] < 0x80 {
		r.pos++
		return uint64(s[0])
	}
	if len(s) > 1 && s[1] < 0x80 {
		r.pos += 2
		return uint64(s[0]&0x7f) | uint64(s[1])<<7
	}
	return r.longVarint()
}

func (r *reader) longVarint() uint64 {
	var v uint64
	for i, c := range []byte(r.s[r.pos:]) {
		if i == 9 && c > 1 {
			r.refuse(errVarint)
			return 0
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.pos += i + 1
			return v
		}
	}
	r.refuse(errTruncated)
	return 0
}

// run returns how many fields with the number of the one just read follow one
// another, that one counted.
func (r *reader) run() int {
	n := 1
	for c := *r; c.next() && c.num == r.num; {
		n++
	}
	return n
}

// failure returns the error of the message, called name in it, or nil.
func (r *reader) failure(name string) error {
	if r.err == nil {
		return nil
	}
	return &fieldError{name, r.num, r.err}
}

// The functions below store the field just read.

func (r *reader) text(dst *string) {
	switch {
	case r.wire != wireLen:
		r.refuse(errWireType)
	case !utf8.ValidString(r.v):
		r.refuse(errUTF8)
	default:
		*dst = r.v
	}
}

// bytes stores a copy; no bytes are nil.
func (r *reader) bytes(dst *[]byte) {
	if r.wire != wireLen {
		r.refuse(errWireType)
		return
	}
	*dst = nil
	if r.v != "" {
		*dst = []byte(r.v)
	}
}

// message returns the bytes of an embedded message, or none after an error.
func (r *reader) message() string {
	if r.wire != wireLen {
		r.refuse(errWireType)
		return ""
	}
	return r.v
}

// merge takes the error of an embedded message.
func (r *reader) merge(err error) {
	if err != nil {
		r.refuse(err)
	}
}

// readInt stores a number, cut to its type as protobuf says: an int32 or
// uint32 on the wire with more bits loses the upper ones.
func readInt[T ~int32 | ~uint32 | ~int64 | ~uint64](r *reader, dst *T) {
	if r.wire != wireVarint {
		r.refuse(errWireType)
		return
	}
	*dst = T(r.n)
}

func (r *reader) bool(dst *bool) {
	if r.wire != wireVarint {
		r.refuse(errWireType)
		return
	}
	*dst = r.n != 0
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
