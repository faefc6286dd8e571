package fuel

import (
	"fmt"
	"unicode/utf8"
)

// reader reads a part of a module. After the first error it gives zero values
// and has nothing left, so err is looked at once, at the end.
type reader struct {
	b       []byte // the whole module
	at, end int
	err     *Error
}

func (r *reader) fail(at int, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Offset: at, Text: fmt.Sprintf(format, args...)}
	}
	r.at = r.end
}

// failed gives r's error, without making a nil *Error a non-nil error.
func (r *reader) failed() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

func (r *reader) truncated() { r.fail(r.at, "the module or a part of it ends in the middle") }

func (r *reader) more() bool { return r.at < r.end }

func (r *reader) byte() byte {
	if r.at >= r.end {
		r.truncated()
		return 0
	}
	c := r.b[r.at]
	r.at++
	return c
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(r.end-r.at) {
		r.truncated()
		return nil
	}
	b := r.b[r.at : r.at+int(n) : r.at+int(n)]
	r.at += int(n)
	return b
}

// u32 reads an unsigned LEB128 of at most 32 bits.
func (r *reader) u32() uint32 {
	if r.at < r.end && r.b[r.at] < 0x80 {
		r.at++
		return uint32(r.b[r.at-1])
	}
	return r.longU32()
}

func (r *reader) longU32() uint32 {
	start, v := r.at, uint32(0)
	for shift := 0; ; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			r.fail(start, "a number of more than 32 bits")
			return 0
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
}

// skipSigned skips a signed LEB128 of at most so many bytes. Unused bits of the
// last are for the validator to look at.
func (r *reader) skipSigned(bytes int) {
	start := r.at
	for range bytes {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(start, "a number that is too long")
}

// count reads the length of a vector of elements of at least one byte each.
// wazero allocates what a count says before it looks whether so much follows, 27
// GB for a module of 44 bytes: each that it gets to see was read here, with what
// it counts.
func (r *reader) count(what string, limit int) uint32 {
	start := r.at
	n := r.u32()
	switch {
	case r.err != nil:
		return 0
	case uint64(n) > uint64(r.end-r.at):
		r.truncated()
		return 0
	case uint64(n) > uint64(limit):
		r.fail(start, "%d %s; at most %d are accepted", n, what, limit)
		return 0
	}
	return n
}

// index reads an index and checks that it is below n.
func (r *reader) index(what string, n uint32) uint32 {
	start := r.at
	i := r.u32()
	if r.err == nil && i >= n {
		r.fail(start, "%s %d, which there isn't", what, i)
	}
	return i
}

func (r *reader) name() []byte {
	start := r.at
	name := r.bytes(r.u32())
	if !utf8.Valid(name) {
		r.fail(start, "a name that is not UTF-8")
		return nil
	}
	return name
}

// sub gives a reader of the next n bytes and passes over them.
func (r *reader) sub(n uint32) reader {
	start := r.at
	r.bytes(n)
	return reader{b: r.b, at: start, end: r.at, err: r.err}
}

// valueType reads i32, i64, f32, f64, v128, funcref or externref.
func (r *reader) valueType() byte {
	t := r.byte()
	if r.err == nil && !isValueType(t) {
		r.fail(r.at-1, "a value of the unknown type 0x%02x", t)
	}
	return t
}

func (r *reader) referenceType() byte {
	t := r.byte()
	if r.err == nil && !isReferenceType(t) {
		r.fail(r.at-1, "a reference of the unknown type 0x%02x", t)
	}
	return t
}

const (
	typeI32  = 0x7f
	typeI64  = 0x7e
	typeV128 = 0x7b

	typeFuncRef = 0x70
)

func isValueType(t byte) bool     { return t >= typeV128 && t <= 0x7f || isReferenceType(t) }
func isReferenceType(t byte) bool { return t == 0x70 || t == 0x6f }
