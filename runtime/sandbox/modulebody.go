package sandbox

import (
	"errors"
	"fmt"
)

// The sections in this file are walked, and nothing is kept of them: wazero
// allocates what a count in a module says before it looks whether so much
// follows, so that 44 bytes made it ask for 27 GB. After the walk every count
// is one that the module's bytes bear out.

// Bounds of what a count can make of few bytes.
const (
	// maxElements bounds the types, imports, functions, tables, memories and
	// exports of a module, each: an element of three bytes takes 48 in memory.
	maxElements = 1_000_000
	// maxLocals bounds the locals of one function, as browsers do, and
	// maxAllLocals those of all: one declaration of two bytes makes as many as
	// it says.
	maxLocals    = 50_000
	maxAllLocals = 4_000_000
)

// walkVector reads a count and walks so many elements of at least least bytes.
func (r *reader) walkVector(least uint32, element func()) {
	n := r.u32()
	if uint64(n)*uint64(least) > uint64(len(r.b)) {
		r.fail(errTruncated)
		return
	}
	for range n {
		if element(); r.err != nil {
			return
		}
	}
}

func (r *reader) walkGlobals() {
	r.walkVector(4, func() {
		r.globalType()
		r.walkExpression()
	})
}

// globalType reads the type of a global and whether it is mutable.
func (r *reader) globalType() {
	r.valueType()
	if mutable := r.byte(); mutable > 1 {
		r.fail(fmt.Errorf("a global of mutability 0x%02x", mutable))
	}
}

// valueType reads one of the types of WebAssembly 2.0, each a byte. Later ones
// take more.
func (r *reader) valueType() {
	if t := r.byte(); r.err == nil && !knownType(t) {
		r.fail(fmt.Errorf("a value of the unknown type 0x%02x", t))
	}
}

func (r *reader) referenceType() {
	if t := r.byte(); r.err == nil && t != 0x70 && t != 0x6f {
		r.fail(fmt.Errorf("a reference of the unknown type 0x%02x", t))
	}
}

// knownType tells i32, i64, f32, f64, v128, funcref and externref.
func knownType(t byte) bool { return t >= 0x7b && t <= 0x7f || t == 0x70 || t == 0x6f }

// walkExpression walks a constant expression.
func (r *reader) walkExpression() {
	for r.err == nil {
		switch op := r.byte(); op {
		case 0x0b: // end
			return
		case 0x41, 0x42: // i32.const, i64.const
			r.skipNumber()
		case 0x43: // f32.const
			r.bytes(4)
		case 0x44: // f64.const
			r.bytes(8)
		case 0x23, 0xd2: // global.get, ref.func
			r.u32()
		case 0xd0: // ref.null
			r.referenceType()
		case 0xfd:
			if sub := r.u32(); sub != 12 { // v128.const
				r.fail(fmt.Errorf("instruction 0xfd %d in a constant expression", sub))
			}
			r.bytes(16)
		default:
			r.fail(fmt.Errorf("instruction 0x%02x in a constant expression", op))
		}
	}
}

// skipNumber skips a signed LEB128.
func (r *reader) skipNumber() {
	for range 10 {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail(errors.New("a number of more than 64 bits"))
}

// walkElements walks the element section, whose eight forms are told by three
// bits: passive or declarative, with an explicit table or declarative, of
// expressions.
func (r *reader) walkElements() {
	r.walkVector(3, func() {
		form := r.u32()
		if form > 7 {
			r.fail(fmt.Errorf("elements of form %d", form))
			return
		}
		active, explicit, expressions := form&1 == 0, form&2 != 0, form&4 != 0
		if active {
			if explicit {
				r.u32() // table
			}
			r.walkExpression() // offset
		}
		if !active || explicit {
			if expressions {
				r.referenceType()
			} else if kind := r.byte(); kind != 0 {
				r.fail(fmt.Errorf("elements of kind 0x%02x", kind))
			}
		}
		if expressions {
			r.walkVector(1, r.walkExpression)
		} else {
			r.walkVector(1, func() { r.u32() })
		}
	})
}

// walkCode walks the function bodies as far as their locals.
func (r *reader) walkCode() {
	all := uint64(0)
	r.walkVector(2, func() {
		body := reader{b: r.bytes(r.u32())}
		own := uint64(0)
		body.walkVector(2, func() {
			own += uint64(body.u32())
			body.valueType()
		})
		all += own
		switch {
		case body.err != nil && r.err == nil:
			r.fail(body.err)
		case own > maxLocals:
			r.fail(fmt.Errorf("a function with %d locals; at most %d are accepted", own, maxLocals))
		case all > maxAllLocals:
			r.fail(fmt.Errorf("functions with more than %d locals in all", maxAllLocals))
		}
	})
}

func (r *reader) walkData() {
	r.walkVector(2, func() {
		switch form := r.u32(); form {
		case 0:
			r.walkExpression()
		case 1:
		case 2:
			r.u32() // memory
			r.walkExpression()
		default:
			r.fail(fmt.Errorf("data of form %d", form))
		}
		r.bytes(r.u32())
	})
}

// walkNames walks the custom section `name`.
func (r *reader) walkNames() {
	association := func(s *reader) func() {
		return func() {
			s.u32()
			s.name()
		}
	}
	for len(r.b) > 0 {
		id := r.byte()
		s := &reader{b: r.bytes(r.u32())}
		switch id {
		case 0: // of the module
			s.name()
		case 1: // of functions
			s.walkVector(2, association(s))
		case 2: // of locals
			s.walkVector(2, func() {
				s.u32()
				s.walkVector(2, association(s))
			})
		default:
			s.b = nil
		}
		if s.err == nil && len(s.b) > 0 {
			s.fail(fmt.Errorf("%d bytes too many", len(s.b)))
		}
		if s.err != nil && r.err == nil {
			r.fail(fmt.Errorf("names of kind %d: %w", id, s.err))
		}
	}
}
