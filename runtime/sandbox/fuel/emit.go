package fuel

// emitter writes one function after its survey. Reused from function to
// function.
type emitter struct {
	w *rewriter
	m *outline

	out    []byte
	from   int // what stands in the module from here on is yet to be copied
	frames []label
	depth  uint32 // labels that are open in what is written
	// Locals that are added where they are needed, i64 and i32; of no value
	// between instructions of the original, but fuel where inLocal says so.
	fuel, count uint32
	// inLocal: in a function that loops the local holds what fuel is left, and
	// the global has it whenever something else may look: at calls, at the end.
	inLocal bool
}

// label is a block of the original whose end hasn't come.
type label struct {
	depth   uint32 // labels open inside of it, itself included
	wrapped bool   // a loop with its slow path outside
	cost    int64  // of wrapped: what its header charges
}

// instructions writes everything up to the function's own end.
func (e *emitter) instructions(body span, s *survey) {
	r := reader{b: e.m.b, at: s.code, end: body.end}
	e.from = r.at
	sites := s.sites[1:]
	var in instr
	for {
		r.next(&in)
		var here *site
		if len(sites) > 0 && sites[0].at == r.at {
			here, sites = &sites[0], sites[1:]
		}
		switch in.code {
		case opBlock, opIf:
			e.open(label{})
		case opLoop:
			if here.kind == siteHeader {
				e.openLoop(&in, here, r.at)
				here = nil
			} else {
				e.open(label{})
			}
		case opEnd:
			if len(e.frames) == 1 {
				e.copyTo(in.at)
				return
			}
			e.end(r.at)
		default:
			e.instruction(&in, r.at)
		}
		if here != nil && (here.cost > 0 || here.kind != sitePlain) {
			e.copyTo(r.at)
			e.charge(*here)
		}
	}
}

// copyTo copies what the module has up to here.
func (e *emitter) copyTo(at int) {
	e.out = append(e.out, e.m.b[e.from:at]...)
	e.from = at
}

// instead writes that instructions, which stand up to end, are replaced by
// what is appended next.
func (e *emitter) instead(in *instr, end int) {
	e.copyTo(in.at)
	e.from = end
}

func (e *emitter) open(l label) {
	e.depth++
	l.depth = e.depth
	e.frames = append(e.frames, l)
}

// instruction writes one that is no block, where it changes.
func (e *emitter) instruction(in *instr, end int) {
	switch in.code {
	case opBr, opBrIf:
		if l := e.label(in.x); l != in.x {
			e.instead(in, end)
			e.out = appendU32(append(e.out, byte(in.code)), l)
		}
	case opBrTable:
		e.labels(in, end)
	case opReturn:
		if e.frames[0].depth > 1 {
			e.instead(in, end)
			e.out = appendU32(append(e.out, opBr), e.label(uint32(len(e.frames)-1)))
		}
	case opCall:
		e.call(in, end)
	case opCallIndirect:
		if e.inLocal {
			e.copyTo(in.at)
			e.store()
			e.copyTo(end)
			e.load()
		}
	case opRefFunc:
		e.instead(in, end)
		e.out = appendU32(append(e.out, opGlobalGet), e.w.reference(in.x))
	case opMemoryFill, opMemoryCopy:
		e.instead(in, end)
		e.copies(in, end)
	case opMemoryGrow, opMemoryInit, opTableFill, opTableCopy, opTableInit:
		e.instead(in, end)
		e.callOut(e.w.helperOf(in))
	}
}

// callOut calls a function that looks at the fuel and may change it.
func (e *emitter) callOut(index uint32) {
	e.store()
	e.out = appendU32(append(e.out, opCall), index)
	e.load()
}

// store gives the global what the local has, where that counts.
func (e *emitter) store() {
	if e.inLocal {
		e.out = appendU32(append(e.out, opLocalGet), e.fuel)
		e.out = append(e.out, e.w.setFuel...)
	}
}

// load gives the local what the global has, where the local counts.
func (e *emitter) load() {
	if e.inLocal {
		e.out = append(e.out, e.w.getFuel...)
		e.out = appendU32(append(e.out, opLocalSet), e.fuel)
	}
}

func (e *emitter) getFuel() {
	if e.inLocal {
		e.out = appendU32(append(e.out, opLocalGet), e.fuel)
	} else {
		e.out = append(e.out, e.w.getFuel...)
	}
}

func (e *emitter) setFuel() {
	if e.inLocal {
		e.out = appendU32(append(e.out, opLocalSet), e.fuel)
	} else {
		e.out = append(e.out, e.w.setFuel...)
	}
}

func (e *emitter) call(in *instr, end int) {
	index := in.x
	if index >= e.m.importFuncs {
		index++
	} else if !e.inLocal {
		return
	}
	e.instead(in, end)
	e.callOut(index)
}

// label gives the number in what is written of a label of the original.
func (e *emitter) label(i uint32) uint32 {
	return e.depth - e.frames[len(e.frames)-1-int(i)].depth
}

func (e *emitter) labels(in *instr, end int) {
	e.instead(in, end)
	e.out = appendU32(append(e.out, opBrTable), in.x)
	r := reader{b: e.m.b, at: in.labels, end: end}
	for range uint64(in.x) + 1 {
		e.out = appendU32(e.out, e.label(r.u32()))
	}
}

// copies writes memory.fill or memory.copy, of which there are many short ones:
// only longer ones call the helper.
func (e *emitter) copies(in *instr, end int) {
	w := e.w
	helper := w.helperOf(in)
	e.out = appendU32(append(e.out, opLocalTee), e.count)
	e.out = appendU32(append(e.out, opLocalGet), e.count)
	e.out = append(appendI32(e.out, shortCopy), opI32GtU, opIf)
	e.out = e.appendBlock(e.out, blockType{index: w.funcType(copyOperands, nil)})
	e.callOut(helper)
	e.out = append(e.out, opElse)
	e.getFuel()
	e.out = appendU32(append(e.out, opLocalGet), e.count)
	e.out = append(appendI64(append(e.out, opI64ExtendU), bytesShift), opI64ShrU, opI64Sub)
	e.setFuel()
	e.out = append(e.out, e.m.b[in.at:end]...)
	e.out = append(e.out, opEnd)
}

// charge writes a site that isn't a loop's header.
func (e *emitter) charge(s site) {
	if s.kind == sitePlain {
		if s.cost > 0 {
			e.addFuel(opI64Sub, s.cost)
		}
		return
	}
	e.takeFuel(s.cost)
	e.belowZero()
	e.ifRefuel()
}

// ifRefuel calls the host if the value on the stack isn't 0.
func (e *emitter) ifRefuel() {
	e.out = append(e.out, opIf, blockEmpty)
	e.callOut(e.w.refuel)
	e.out = append(e.out, opEnd)
}

// addFuel adds or subtracts.
func (e *emitter) addFuel(op byte, cost int64) {
	e.getFuel()
	e.out = appendI64(e.out, cost)
	e.out = append(e.out, op)
	e.setFuel()
}

// takeFuel subtracts and leaves on the stack what there is then.
func (e *emitter) takeFuel(cost int64) {
	e.getFuel()
	if cost == 0 {
		return
	}
	e.out = appendI64(e.out, cost)
	e.out = append(e.out, opI64Sub)
	e.out = appendU32(append(e.out, opLocalTee), e.fuel)
	if e.inLocal {
		return
	}
	e.out = append(e.out, e.w.setFuel...)
	e.out = appendU32(append(e.out, opLocalGet), e.fuel)
}

func (e *emitter) belowZero() {
	e.out = append(appendI64(e.out, 0), opI64LtS)
}

// appendIfRefuel calls the host if the value on the stack isn't 0.
func (w *rewriter) appendIfRefuel(b []byte) []byte {
	b = append(b, opIf, blockEmpty, opCall)
	return append(appendU32(b, w.refuel), opEnd)
}

// openLoop writes a loop whose slow path is outside of it: inside, the call
// would make every turn slower.
//
//	block                  ;; of the loop's type, as the two other typed ones
//	  loop
//	    block
//	      loop             ;; the original's
//	        fuel -= cost
//	        br_if 1 (fuel < 0)
//	        …
//	      end
//	      br 2
//	    end
//	    call refuel
//	    fuel += cost       ;; which the loop charges again
//	    br 0
//	  end
//	end
func (e *emitter) openLoop(in *instr, s *site, end int) {
	e.instead(in, end)
	e.out = e.appendBlock(append(e.out, opBlock), in.block)
	e.out = e.appendBlock(append(e.out, opLoop), in.block)
	e.out = append(e.out, opBlock, blockEmpty)
	e.out = e.appendBlock(append(e.out, opLoop), in.block)
	e.takeFuel(s.cost)
	e.belowZero()
	e.out = append(e.out, opBrIf, 1)
	e.depth += 3
	e.open(label{wrapped: true, cost: s.cost})
}

// end ends a block, with its original's end at the offset before after.
func (e *emitter) end(after int) {
	l := e.frames[len(e.frames)-1]
	e.frames = e.frames[:len(e.frames)-1]
	e.depth--
	if !l.wrapped {
		return
	}
	e.copyTo(after)
	e.out = append(e.out, opBr, 2, opEnd)
	e.callOut(e.w.refuel)
	if l.cost > 0 {
		e.addFuel(opI64Add, l.cost)
	}
	e.out = append(e.out, opBr, 0, opEnd, opEnd)
	e.depth -= 3
}
