package fuel

import (
	"fmt"
	"strconv"
)

// Opcodes whose effect on an instance the host can't take back.
const (
	opTableSet  = 0x26
	opDataDrop  = prefixMisc<<8 | 9
	opElemDrop  = prefixMisc<<8 | 13
	opTableGrow = prefixMisc<<8 | 15
)

// lasting are these opcodes, in the order in which they are told. Never
// written.
var lasting = [...]uint16{opTableSet, opTableGrow, opTableFill, opTableCopy, opTableInit, opElemDrop, opDataDrop}

// resets is what is known of resetting an instance to how it started.
type resets struct {
	globals        []uint32          // mutable, of the module's own, that the host can set
	exported       map[uint32]string // of globals, under one name each
	vector, ref    int64             // a mutable global of such a type; -1 without
	imported       int64             // a mutable global that is imported; -1 without
	instructionsOf map[uint16]uint32 // lasting ones, each with the first function that has it
}

func newResets() resets {
	return resets{exported: map[uint32]string{}, vector: -1, ref: -1, imported: -1, instructionsOf: map[uint16]uint32{}}
}

// global takes in a global of the module's own.
func (s *resets) global(i uint32, t byte, mutable bool) {
	switch {
	case !mutable:
	case t == typeV128:
		s.vector = first(s.vector, i)
	case isReferenceType(t):
		s.ref = first(s.ref, i)
	default:
		s.globals = append(s.globals, i)
	}
}

func first(have int64, i uint32) int64 {
	if have >= 0 {
		return have
	}
	return int64(i)
}

// instruction takes in a lasting instruction.
func (s *resets) instruction(code uint16, function uint32) {
	if _, ok := s.instructionsOf[code]; !ok {
		s.instructionsOf[code] = function
	}
}

// cant gives what Module.CantReset is.
func (s *resets) cant() []string {
	var texts []string
	for _, code := range lasting {
		if function, ok := s.instructionsOf[code]; ok {
			texts = append(texts, fmt.Sprintf("%s in function %d", lookUp(code).name, function))
		}
	}
	for _, g := range []struct {
		index int64
		what  string
	}{
		{s.vector, "which is mutable, of type v128"},
		{s.ref, "which is mutable, a reference"},
		{s.imported, "which is mutable, imported"},
	} {
		if g.index >= 0 {
			texts = append(texts, fmt.Sprintf("global %d, %s", g.index, g.what))
		}
	}
	return texts
}

// addGlobals gives those that can be set names: the one under which the module
// exports it, or a new one.
func (w *rewriter) addGlobals() {
	for _, i := range w.m.resets.globals {
		name, ok := w.m.resets.exported[i]
		if !ok {
			name = w.m.freeExport("weft_global_" + strconv.FormatUint(uint64(i), 10))
			w.addedGlobals = append(w.addedGlobals, export{name, i})
		}
		w.globalNames = append(w.globalNames, name)
	}
}

// export is one of a global.
type export struct {
	name  string
	index uint32
}
