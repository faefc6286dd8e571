package fuel

import (
	"encoding/binary"
	"fmt"
	"time"
)

// rewriter holds what is appended to a module while its parts are written.
type rewriter struct {
	m *outline
	o *Options

	types   []funcType        // appended
	typeAt  map[string]uint32 // of those
	helpers []helper

	// references are the functions whose references the code takes. wazero
	// makes a new one each time and keeps it until the instance ends: a loop
	// took 13 GB of the host's memory for 1,000 million units of fuel. So each
	// is made once, as an appended global that the code reads.
	references  []uint32
	referenceAt map[uint32]uint32
	helper      map[helperKey]uint32 // the index of each as a function

	refuel              uint32 // function
	fuelName, stackName string
	getFuel, setFuel    []byte // instructions
	getStack, setStack  []byte
	refuelType          uint32
	globalNames         []string // of Module.Globals
	addedGlobals        []export // those that the original doesn't export
	allLocals           uint64
	compiling           time.Duration // an estimate, of the functions so far
	edges               int64         // most of one of them
	survey              survey
	emit                emitter
}

func newRewriter(m *outline, o *Options) *rewriter {
	w := &rewriter{m: m, o: o, typeAt: map[string]uint32{}, referenceAt: map[uint32]uint32{}, helper: map[helperKey]uint32{}, refuel: m.importFuncs}
	w.refuelType = w.funcType(nil, nil)
	fuel, stack := m.globals, m.globals+1
	w.getFuel = appendU32([]byte{opGlobalGet}, fuel)
	w.setFuel = appendU32([]byte{opGlobalSet}, fuel)
	w.getStack = appendU32([]byte{opGlobalGet}, stack)
	w.setStack = appendU32([]byte{opGlobalSet}, stack)
	w.fuelName = m.freeExport("weft_fuel")
	w.stackName = m.freeExport("weft_stack")
	if o.Globals {
		w.addGlobals()
	}
	w.survey = survey{m: m, o: o}
	w.emit = emitter{w: w, m: m}
	return w
}

// freeExport gives a name under which the module exports nothing: name itself,
// or with a number after it.
func (m *outline) freeExport(name string) string {
	free := name
	for i := 2; m.exports[free]; i++ {
		free = fmt.Sprintf("%s_%d", name, i)
	}
	return free
}

// funcType gives the index of an appended type.
func (w *rewriter) funcType(params, results []byte) uint32 {
	key := fmt.Sprintf("%s>%s", params, results)
	i, ok := w.typeAt[key]
	if !ok {
		i = uint32(len(w.m.types) + len(w.types))
		w.types = append(w.types, funcType{params, results})
		w.typeAt[key] = i
	}
	return i
}

// reference gives the global that holds the reference of a function of the
// original.
func (w *rewriter) reference(f uint32) uint32 {
	i, ok := w.referenceAt[f]
	if !ok {
		i = w.m.globals + 2 + uint32(len(w.references))
		w.references = append(w.references, f)
		w.referenceAt[f] = i
	}
	return i
}

// code writes the bodies of all functions, without a count before them.
func (w *rewriter) code() ([]byte, error) {
	var out []byte
	for i, body := range w.m.bodies {
		original := w.m.importFuncs + uint32(i)
		if err := w.survey.function(original, body); err != nil {
			return nil, err
		}
		w.allLocals += uint64(w.survey.locals)
		if w.allLocals > uint64(w.o.Limits.AllLocals) {
			return nil, &Error{Offset: body.at, Text: fmt.Sprintf("functions with more than %d locals in all", w.o.Limits.AllLocals)}
		}
		if err := w.compile(original, body); err != nil {
			return nil, err
		}
		b := w.emit.function(original, body, &w.survey)
		if len(w.references) > w.o.Limits.References {
			return nil, &Error{Offset: body.at, Text: fmt.Sprintf("code takes references of more than %d functions", w.o.Limits.References)}
		}
		if len(out)+len(b) > w.o.Limits.Output {
			return nil, w.tooLarge(body.at)
		}
		out = appendU32(out, uint32(len(b)))
		out = append(out, b...)
	}
	for _, h := range w.helpers {
		b := w.helperBody(h)
		out = appendU32(out, uint32(len(b)))
		out = append(out, b...)
	}
	return out, nil
}

// compile counts what a compiler has to do for the function that was surveyed,
// and refuses more than is accepted for so much code.
func (w *rewriter) compile(original uint32, body span) error {
	w.compiling += time.Duration(w.survey.work.total())
	w.edges = max(w.edges, w.survey.work.edges)
	code := w.m.codeSize()
	most := min(w.o.Limits.Compile, 3*time.Second/2+time.Duration(nanosByte*int64(code)))
	if total := w.compileTime(); total > most {
		return &Error{Offset: body.at, Text: fmt.Sprintf(
			"up to function %d the module takes %v to compile, by an estimate; at most %v are accepted for %d bytes of code",
			original, total.Round(time.Millisecond), most.Round(time.Millisecond), code)}
	}
	return nil
}

// compileTime is an estimate, of the functions so far.
func (w *rewriter) compileTime() time.Duration {
	each := nanosTable*w.edges + nanosDeclare*int64(len(w.references))
	return w.compiling + time.Duration(each*int64(len(w.m.bodies)))
}

func (w *rewriter) tooLarge(at int) *Error {
	return &Error{Offset: at, Text: fmt.Sprintf("with its bounds the module would be over %d bytes", w.o.Limits.Output)}
}

func appendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// appendSigned appends a signed LEB128.
func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendI64(b []byte, v int64) []byte { return appendSigned(append(b, opI64Const), v) }
func appendI32(b []byte, v int32) []byte { return appendSigned(append(b, opI32Const), int64(v)) }
