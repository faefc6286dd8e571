// Package fuel rewrites WebAssembly modules so that the host can bound what
// they execute: instructions, and the stack. A rewritten module behaves as it
// did but for that.
//
// It counts down fuel, one unit for each instruction, in a global that is
// appended to the module. Each basic block subtracts its cost at its start, or
// where what comes before it always leads there; function entries and loop
// headers look whether it went below zero, and then call the host, which
// refills it or ends the call by a panic. A second global counts down the bytes
// of stack that are left, by an estimate; a function that finds it below zero
// calls the host likewise.
package fuel

import (
	"fmt"
	"time"
)

// Options are what a module is rewritten for. The zero value is usable.
type Options struct {
	// Module and Name are what the host function is imported by, of type
	// () -> (). "" means "weft_host" and "refuel". A module that imports
	// anything from Module by itself is refused.
	Module, Name string
	// MaxPages bounds the memory, in pages of 64 KiB: its maximum becomes the
	// smaller of this and its own. A module whose memory starts with more is
	// refused. 0 means 65,536.
	MaxPages uint32
	// Stack is the budget of the call stack, in bytes. 0 means 16 MiB.
	Stack int64
	// Globals lets the host reset an instance: the module exports every mutable
	// global of its own of type i32, i64, f32 or f64.
	Globals bool
	// apart: each block is charged by itself, for tests.
	apart bool
	// Limits bound the work that a hostile module makes, here and in what
	// compiles it.
	Limits Limits
}

// Limits bound the parts of a module. 0 means the default that each names.
type Limits struct {
	Types      int // 10,000
	Imports    int // 10,000
	Functions  int // 100,000
	Globals    int // 10,000
	Exports    int // 10,000
	Tables     int // 100; they start with TableSize elements in all at most
	TableSize  int // 65,536
	Segments   int // of data and of elements, each 100,000
	Elements   int // in all element segments, 200,000: each takes 40 bytes of the host in each instance
	References int // functions of which code takes a reference, 10,000
	Signature  int // parameters, and results, of one type, each 1,000
	Body       int // bytes of one function, 1 MiB
	Locals     int // of one function, parameters included, 10,000
	AllLocals  int // of all functions, 4,000,000
	Nesting    int // blocks in each other, 10,000
	Labels     int // of one br_table, 65,536
	Output     int // bytes of the rewritten module, 128 MiB
	CustomSize int // bytes of all custom sections, 16 MiB
	// Compile is what wazero's compiler may take for the module, by an estimate
	// that is rather too high; 60 s. Less is accepted for a small module: 1.5 s,
	// and 25 µs for each byte of code, which is ten times what code of real
	// compilers takes.
	Compile time.Duration
}

// Module is a rewritten module.
type Module struct {
	Wasm []byte
	// Fuel and Stack are the names under which the module exports its globals,
	// both mutable i64. Fuel starts at 0: the host sets it before a call, and
	// adds to it, until it is not below zero, when it is called. It is right
	// whenever the module calls out or comes back; behind a trap it may be what
	// it was at the last call or at the start of the function. Stack starts
	// at Options.Stack and is there again whenever no call is in the instance;
	// where it is below zero as the host is called, the host has to end the
	// call: calls went too deep.
	Fuel, Stack string
	// Globals are, with Options.Globals, the names under which the module
	// exports these globals, one name each, in the order of the globals. The
	// names are the module's own where it exports a global by itself.
	Globals []string
	// CantReset says what an instance can't be reset from to how it started,
	// although memory and Globals are set: at most ten texts, one a kind, each
	// under 100 bytes, with the first function or global, by its index in the
	// original. Empty where all can be.
	CantReset []string
	// Refuel is the index of the host function among the module's functions:
	// those of the original from there on moved by one.
	Refuel uint32
}

// Error says why a module is refused.
type Error struct {
	Offset int // where in the module, in bytes
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Text) }

// Rewrite gives a module that behaves as wasm does, but for its bounds:
//
//   - fuel and stack, as the package says. Instructions cost one unit, but
//     block, loop, end, else and nop nothing; memory.fill, copy and init cost
//     one more for each 64 bytes, table.fill, copy and init one more for each 8
//     elements, memory.grow 1,024 for each page. Those of memory run in pieces
//     of 256 KiB, charged one by one, and trap before they write anything, as
//     the one instruction does;
//   - the memory's maximum, and each table's, which becomes what it starts
//     with: table.grow answers −1.
//
// A memory or a table that is imported stays as it is: whoever gives it bounds
// it. Wrong types and whatever else only a validator finds stay in the result,
// but every index is checked, so that the original's code can't reach what is
// added. Custom sections are kept where they stand; function indexes of the
// section "name" move. Left out are sections of DWARF, whose offsets would be
// wrong, and a section "name" that doesn't read as one. The same input gives the same bytes. The result doesn't share
// memory with wasm.
//
// Accepted is WebAssembly 2.0
// (https://www.w3.org/TR/wasm-core-2/#binary-format); any other section,
// instruction or form is refused, as is a module over a limit. The error is an
// *Error. Work and memory are linear in the size of the input.
func Rewrite(wasm []byte, o Options) (*Module, error) {
	o = o.withDefaults()
	m, err := readOutline(wasm, &o.Limits)
	if err != nil {
		return nil, err
	}
	if err := m.checkImports(o.Module); err != nil {
		return nil, err
	}
	w := newRewriter(m, &o)
	code, err := w.code()
	if err != nil {
		return nil, err
	}
	out, err := w.assemble(code)
	if err != nil {
		return nil, err
	}
	return &Module{
		Wasm: out, Fuel: w.fuelName, Stack: w.stackName, Refuel: m.importFuncs,
		Globals: w.globalNames, CantReset: m.resets.cant(),
	}, nil
}

func (o Options) withDefaults() Options {
	if o.Module == "" {
		o.Module = "weft_host"
	}
	if o.Name == "" {
		o.Name = "refuel"
	}
	if o.MaxPages == 0 || o.MaxPages > maxPages {
		o.MaxPages = maxPages
	}
	if o.Stack <= 0 {
		o.Stack = 16 << 20
	}
	l := &o.Limits
	if l.Compile <= 0 {
		l.Compile = time.Minute
	}
	for _, d := range []struct {
		limit *int
		value int
	}{
		{&l.Types, 10_000},
		{&l.Imports, 10_000},
		{&l.Functions, 100_000},
		{&l.Globals, 10_000},
		{&l.Exports, 10_000},
		{&l.Tables, 100},
		{&l.TableSize, 65_536},
		{&l.Segments, 100_000},
		{&l.Elements, 200_000},
		{&l.References, 10_000},
		{&l.Signature, 1_000},
		{&l.Body, 1 << 20},
		{&l.Locals, 10_000},
		{&l.AllLocals, 4_000_000},
		{&l.Nesting, 10_000},
		{&l.Labels, 65_536},
		{&l.Output, 128 << 20},
		{&l.CustomSize, 16 << 20},
	} {
		if *d.limit <= 0 {
			*d.limit = d.value
		}
	}
	return o
}

// maxPages is the most that a memory of 32-bit addresses has.
const maxPages = 65_536
