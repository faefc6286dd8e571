package fuel

// function writes the body of a function of the original. The result is good
// until the next call.
func (e *emitter) function(original uint32, body span, s *survey) []byte {
	t, index := e.m.types[e.m.funcs[original]], e.m.movedFunc(original)
	e.out, e.frames = e.out[:0], e.frames[:0]
	e.declareLocals(s)
	e.depth = 1
	e.inLocal = s.loops
	e.entry(index, t, s)
	if s.calls || e.inLocal {
		// `return` and branches to the function's label leave this block, so
		// that what follows it is the one way out.
		e.out = e.appendBlock(append(e.out, opBlock), e.resultBlock(t))
		e.depth++
	}
	e.frames = append(e.frames, label{depth: e.depth})
	e.instructions(body, s)
	if s.calls || e.inLocal {
		e.out = append(e.out, opEnd)
		e.store()
	}
	if s.calls {
		e.addStack(opI64Add, s.stack())
	}
	e.out = append(e.out, opEnd)
	return e.out
}

// stack is what a call of the function takes of the stack, in bytes, by an
// estimate. One that calls nothing takes nothing: it is the last.
func (s *survey) stack() int64 {
	return 64 + 8*(int64(s.locals)+s.instructions/4+s.vectors) + 16*(s.values+max(0, s.widest-valuesInRegisters))
}

// valuesInRegisters is how many parameters and results of a call, at least, take
// no room on the stack of the caller.
const valuesInRegisters = 8

func (e *emitter) declareLocals(s *survey) {
	checks := false
	for _, site := range s.sites {
		checks = checks || site.kind != sitePlain
	}
	added := uint32(0)
	if checks {
		added++
	}
	if s.copies {
		added++
	}
	e.out = appendU32(e.out, s.groupCount+added)
	e.out = append(e.out, e.m.b[s.groups.at:s.groups.end]...)
	e.fuel, e.count = s.locals, s.locals
	if checks {
		e.out = append(e.out, 1, typeI64)
		e.count++
	}
	if s.copies {
		e.out = append(e.out, 1, typeI32)
	}
}

// entry writes what stands before a function's own code.
func (e *emitter) entry(index uint32, t funcType, s *survey) {
	site := s.sites[0]
	if site.kind == sitePlain {
		e.charge(site)
		return
	}
	if s.calls {
		e.addStack(opI64Sub, s.stack())
		e.out = append(e.out, e.w.getStack...)
	}
	e.load()
	e.takeFuel(site.cost)
	if s.calls {
		// One look is enough for both: only the sign matters.
		e.out = append(e.out, opI64Or)
	}
	e.belowZero()
	if s.loops && !s.calls {
		e.ifRefuel()
		return
	}
	e.callAgain(index, t, s)
}

// callAgain writes the slow path: it calls the function once more, so that the
// code after it doesn't depend on what the host's call did to registers.
// Measured: a call tree takes 1.5 times as long as unbounded, instead of 1.7
// times. A function that loops and calls nothing gets slower by it.
func (e *emitter) callAgain(index uint32, t funcType, s *survey) {
	was := e.inLocal
	defer func() { e.inLocal = was }()
	e.out = append(e.out, opIf, blockEmpty)
	e.store()
	e.inLocal = false
	e.out = appendU32(append(e.out, opCall), e.w.refuel)
	e.addFuel(opI64Add, s.sites[0].cost)
	for i := range t.params {
		e.out = appendU32(append(e.out, opLocalGet), uint32(i))
	}
	e.out = appendU32(append(e.out, opCall), index)
	if s.calls {
		e.addStack(opI64Add, s.stack())
	}
	e.out = append(e.out, opReturn, opEnd)
}

// addStack adds to the stack that is left or, by op, subtracts from it.
func (e *emitter) addStack(op byte, bytes int64) {
	e.out = append(e.out, e.w.getStack...)
	e.out = appendI64(e.out, bytes)
	e.out = append(e.out, op)
	e.out = append(e.out, e.w.setStack...)
}

// resultBlock gives the type of a block without parameters that gives what a
// function of type t does.
func (e *emitter) resultBlock(t funcType) blockType {
	switch len(t.results) {
	case 0:
		return blockType{form: blockEmpty}
	case 1:
		return blockType{form: t.results[0]}
	}
	return blockType{form: blockTyped, index: e.w.funcType(nil, t.results)}
}

// appendBlock appends a block type.
func (e *emitter) appendBlock(b []byte, t blockType) []byte {
	if t.form != blockTyped {
		return append(b, t.form)
	}
	return appendSigned(b, int64(t.index))
}
