package fuel

// maxUnchecked is how much may be executed, by the order in which the
// instructions stand, before code looks at its fuel although there is neither
// an entry nor a loop: a function of a megabyte can run for long without. Of
// several ways to a place, the longest counts.
const maxUnchecked = 10_000

// smallLeaf is the cost up to which a function that calls nothing and doesn't
// loop doesn't look at its fuel: its callers count it against maxUnchecked.
const smallLeaf = 32

// site is a place in a body where the cost of what follows is subtracted.
type site struct {
	at   int // offset, in the module, of the instruction that follows
	cost int64
	kind siteKind
	ways int // into it, as in way.next, where all are always taken; else 0
}

type siteKind uint8

const (
	sitePlain  siteKind = iota
	siteCheck           // looks at the fuel
	siteHeader          // the same, of a loop, with the slow path outside
)

// survey is the first look at a function: it checks every index, and finds
// where which cost is charged. Reused from function to function.
type survey struct {
	m *outline
	o *Options

	r            reader
	sites        []site
	frames       []frame
	ways         []way
	forks        []fork
	live         bool // the instruction that comes can be reached
	unchecked    int64
	params       uint32
	locals       uint32 // parameters included
	groups       span   // the declarations of locals
	groupCount   uint32
	code         int    // where instructions begin
	index        uint32 // of the function, the original's
	instructions int64
	vectors      int64 // of these, those of vectors, whose values take 16 bytes
	values       int64 // that instructions make beside their first: of calls, and of blocks with a type
	widest       int64 // most parameters and results of a call, or of the function itself
	work         work
	calls, loops bool // it calls functions; it has a loop
	bulk, copies bool // it works in bulk; by memory.fill or memory.copy
}

// frame is a block whose end hasn't come.
type frame struct {
	op       byte // opBlock, opLoop, opIf, opElse
	live     bool // its start can be reached
	thenLive bool // of opElse: the end of the first arm can be reached
	targeted bool // something that can be reached branches to its label
	params   bool // of opLoop: it takes parameters
	site     int  // of opLoop: the index of its header's
	fork     int  // of opIf and opElse whose start can be reached: the index of its fork
	// What was unchecked as it began, and the most at branches to its end.
	before, unchecked int64
	join              join // of its label, and for all but opLoop of its end
	region            region
}

// function surveys the body of a function of the original.
func (s *survey) function(index uint32, body span) error {
	t := s.m.types[s.m.funcs[index]]
	s.index = index
	s.r = reader{b: s.m.b, at: body.at, end: body.end}
	if s.readLocals(t); s.r.err != nil {
		return s.r.failed()
	}
	s.code = s.r.at
	s.sites = append(s.sites[:0], site{at: s.r.at})
	s.frames = append(s.frames[:0], frame{op: opBlock, live: true})
	s.ways, s.forks = s.ways[:0], s.forks[:0]
	s.live, s.unchecked, s.instructions = true, 0, 0
	s.vectors, s.values, s.widest = 0, 0, t.width()
	s.calls, s.loops, s.bulk, s.copies = false, false, false, false
	s.work.begin(nanosFunction+nanosType*int64(len(s.m.types))+nanosDeclare*int64(s.m.globals), s.locals)
	s.frames[0].region.results = int64(len(t.results))
	total := int64(0)
	var in instr
	for s.r.err == nil && len(s.frames) > 0 {
		if s.r.next(&in); s.r.err != nil {
			break
		}
		if s.check(&in); s.r.err != nil {
			break
		}
		s.instructions++
		s.room(&in)
		if s.live {
			total += int64(in.row.cost)
			s.follow(&in)
		}
		s.step(&in)
	}
	if s.r.more() {
		s.r.fail(s.r.at, "%d bytes after the end of a function", s.r.end-s.r.at)
	}
	if s.calls || s.loops || s.bulk || total > smallLeaf {
		s.sites[0].kind = siteCheck
	}
	if s.r.err == nil && !s.o.apart {
		s.coalesce()
	}
	return s.r.failed()
}

// room counts what an instruction takes of the stack, beside its first value.
func (s *survey) room(in *instr) {
	var t funcType
	switch {
	case in.code>>8 == prefixVector:
		s.vectors++
		return
	case in.row.imm == immBlock:
		if in.block.form == blockTyped {
			s.values += s.m.types[in.block.index].width()
		}
		return
	case in.code == opCall:
		t = s.m.types[s.m.funcs[in.x]]
	case in.code == opCallIndirect:
		t = s.m.types[in.x]
	}
	s.values += int64(max(0, len(t.results)-1))
	s.widest = max(s.widest, t.width())
}

// width is how many values go in and out.
func (t funcType) width() int64 { return int64(len(t.params) + len(t.results)) }

func (s *survey) readLocals(t funcType) {
	r := &s.r
	s.params = uint32(len(t.params))
	s.groupCount = r.count("declarations of locals", s.o.Limits.Locals)
	s.groups.at = r.at
	all := uint64(s.params)
	for range s.groupCount {
		all += uint64(r.u32())
		r.valueType()
		if r.err == nil && all > uint64(s.o.Limits.Locals) {
			r.fail(s.groups.at, "a function with %d locals; at most %d are accepted", all, s.o.Limits.Locals)
		}
	}
	s.groups.end = r.at
	s.locals = uint32(all)
}

// check refuses indexes that the original doesn't have.
func (s *survey) check(in *instr) {
	m := s.m
	switch in.row.imm {
	case immLocal:
		s.below(in, "local", in.x, s.locals)
	case immGlobal:
		s.below(in, "global", in.x, m.globals)
	case immFunc:
		s.below(in, "function", in.x, uint32(len(m.funcs)))
	case immLabel:
		s.below(in, "label", in.x, uint32(len(s.frames)))
	case immLabels:
		s.checkLabels(in)
	case immCallIndirect:
		s.below(in, "type", in.x, uint32(len(m.types)))
		s.below(in, "table", in.y, uint32(len(m.tables)))
	case immTable:
		s.below(in, "table", in.x, uint32(len(m.tables)))
	case immTables:
		s.below(in, "table", in.x, uint32(len(m.tables)))
		s.below(in, "table", in.y, uint32(len(m.tables)))
	case immTableInit:
		s.below(in, "element segment", in.x, m.elems)
		s.below(in, "table", in.y, uint32(len(m.tables)))
	case immElem:
		s.below(in, "element segment", in.x, m.elems)
	case immInit, immData:
		s.below(in, "data segment", in.x, min(m.dataCount, uint32(len(m.data))))
	case immBlock:
		if in.block.form == blockTyped {
			s.below(in, "type", in.block.index, uint32(len(m.types)))
		}
	}
}

func (s *survey) below(in *instr, what string, i, n uint32) {
	if i >= n {
		s.r.fail(in.at, "%s of %s %d, which there isn't", in.row.name, what, i)
	}
}

func (s *survey) checkLabels(in *instr) {
	if uint64(in.x) > uint64(s.o.Limits.Labels) {
		s.r.fail(in.at, "br_table of %d labels; at most %d are accepted", in.x, s.o.Limits.Labels)
		return
	}
	r := reader{b: s.m.b, at: in.labels, end: s.r.at}
	for range uint64(in.x) + 1 {
		s.below(in, "label", r.u32(), uint32(len(s.frames)))
	}
}

// step follows one instruction.
func (s *survey) step(in *instr) {
	if cost := int64(in.row.cost); s.live && cost > 0 {
		s.sites[len(s.sites)-1].cost += cost
		s.unchecked += cost
	}
	switch in.code {
	case opBlock, opLoop, opIf:
		s.open(in)
	case opElse:
		f := &s.frames[len(s.frames)-1]
		if f.op != opIf {
			s.r.fail(in.at, "else without if")
			return
		}
		if s.live {
			s.enter(&f.join)
		}
		if f.live {
			s.regionElse(f, s.live)
		}
		s.leave(f)
		f.op, f.thenLive = opElse, s.live
		s.live, s.unchecked = f.live, f.before
		s.newSite()
		if f.live {
			s.forks[f.fork].other = len(s.sites) - 1
		}
	case opEnd:
		s.close()
	case opBr, opBrIf:
		s.target(in.x, in.code == opBr)
		if in.code == opBrIf {
			s.newSite()
		} else {
			s.live = false
		}
	case opBrTable:
		r := reader{b: s.m.b, at: in.labels, end: s.r.at}
		for range uint64(in.x) + 1 {
			s.target(r.u32(), false)
		}
		s.live = false
	case opReturn, opUnreachable:
		s.live = false
	case opCall, opCallIndirect:
		s.calls = true
		s.unchecked += smallLeaf
	case opMemoryCopy, opMemoryFill:
		s.bulk, s.copies = true, true
		s.unchecked += shortCopy >> bytesShift
	case opMemoryGrow, opMemoryInit:
		s.bulk = true
	case opTableInit, opTableCopy, opTableFill:
		s.bulk = true
		s.m.resets.instruction(in.code, s.index)
	case opTableSet, opTableGrow, opElemDrop, opDataDrop:
		s.m.resets.instruction(in.code, s.index)
	}
	if s.live && s.unchecked > maxUnchecked && len(s.frames) > 0 {
		s.newSite()
		s.sites[len(s.sites)-1].kind = siteCheck
		s.unchecked = 0
	}
}

func (s *survey) open(in *instr) {
	if len(s.frames) > s.o.Limits.Nesting {
		s.r.fail(in.at, "blocks %d deep; at most %d are accepted", len(s.frames), s.o.Limits.Nesting)
		return
	}
	f := frame{op: byte(in.code), live: s.live, before: s.unchecked}
	if in.code == opLoop && s.live {
		s.enter(&f.join)
	}
	if in.code == opIf && s.live {
		f.fork = len(s.forks)
		s.forks = append(s.forks, fork{from: len(s.sites) - 1, then: len(s.sites)})
	}
	if in.code != opBlock {
		s.newSite()
	}
	if in.code == opLoop {
		f.site = len(s.sites) - 1
		f.params = in.block.form == blockTyped && len(s.m.types[in.block.index].params) > 0
		s.loops = true
	}
	if s.live {
		f.region = s.regionOpen(in)
	}
	s.frames = append(s.frames, f)
}

func (s *survey) close() {
	f := s.frames[len(s.frames)-1]
	s.frames = s.frames[:len(s.frames)-1]
	if f.live {
		s.regionClose(&f, s.live)
	}
	switch f.op {
	case opLoop:
		if f.targeted && f.params {
			s.sites[f.site].kind = siteCheck
		} else if f.targeted {
			s.sites[f.site].kind = siteHeader
		}
		if !f.join.pinned {
			s.sites[f.site].ways = f.join.ways
		}
		return
	case opBlock, opElse:
		if s.live {
			s.enter(&f.join)
		}
		s.leave(&f)
		s.unchecked = f.unchecked
		s.live = s.live || f.thenLive || f.targeted
	case opIf:
		if f.live && !s.live && !f.targeted {
			s.forks[f.fork].other = len(s.sites)
		}
		f.join.pinned = true
		s.leave(&f)
		s.unchecked = max(f.unchecked, f.before)
		s.live = f.live
	}
	if s.live && (f.targeted || f.op != opBlock) {
		s.newSite()
		if !f.join.pinned {
			s.sites[len(s.sites)-1].ways = f.join.ways
		}
	}
}

// target marks the label as one that is branched to, always or not.
func (s *survey) target(label uint32, always bool) {
	if !s.live {
		return
	}
	f := &s.frames[len(s.frames)-1-int(label)]
	f.targeted = true
	s.leave(f)
	if always {
		s.enter(&f.join)
	} else {
		f.join.pinned = true
	}
}

// leave notes that a way goes on at the end of f, if there is one.
func (s *survey) leave(f *frame) {
	if s.live {
		f.unchecked = max(f.unchecked, s.unchecked)
	}
}

// newSite lets what follows be charged at this place.
func (s *survey) newSite() {
	if last := &s.sites[len(s.sites)-1]; last.at == s.r.at {
		return
	}
	s.sites = append(s.sites, site{at: s.r.at})
}
