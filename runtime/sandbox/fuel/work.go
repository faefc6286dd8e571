package fuel

import "math"

// What a compiler does for a function can grow with the square, or more, of
// its size. work estimates it for wazero v1.12.0, in nanoseconds, by what its
// passes loop over; it is an upper bound rather than a mean. Hostile modules
// of every such shape are in the tests.
//
// An edge is a way from one basic block to another. A chain is a row of blocks
// of which each has one way in: a variable is looked up along it each time. A
// phi is a variable that comes with more than one value into a block, or that
// a loop uses.
type work struct {
	nanos int64
	edges int64
	deep  int64 // most loops in each other
	at    place
	alive alive
}

// place is what is known where the survey is.
type place struct {
	height int64 // operands on the stack
	chain  int64 // blocks
	known  int64 // addresses that have been looked at, at most
	gets   int64 // accesses of locals so far
	sets   int64 // of these, those that set one
}

// region is what a block of the original is for work.
type region struct {
	start           place // with the operands that are the block's own
	params, results int64
	loop            int   // of opLoop: its point
	ways            int64 // branches and falls to its label so far
	chain, known    int64 // of the last of them; the least of all
}

// What the parts cost, in nanoseconds.
const (
	nanosEdge     = 5_000 // an edge, and what is in the block behind it
	nanosPair     = 3     // two edges: dominators, loops
	nanosLive     = 300   // a value that is alive over an edge
	nanosLookup   = 10    // a step along a chain
	nanosPhi      = 3     // a comparison of one pass over all phis
	nanosValue    = 400   // a parameter or result of a block or a call
	nanosGlobal   = 200   // a mutable global at a call
	nanosKnown    = 30    // an address that is known, over an edge
	nanosType     = 10    // a type of the module, for each function
	nanosDeclare  = 5     // a global of the module, for each function
	nanosTable    = 8     // an edge of the largest function, for each function
	nanosFunction = 5_000
	nanosCode     = 1_000 // an instruction
	// nanosByte is what is accepted for a byte of code. What Go, Rust, C (also
	// not optimized) and Haskell compile to takes 1,200 to 2,400.
	nanosByte = 25_000
	edgesLoop = 6 // of a loop with its slow path
	edgesCopy = 4 // of memory.copy, short or long
	edgesFill = 9 // of memory.fill, which wazero makes a loop of
	// ownVariables are those that aren't locals: memory, and what is added.
	ownVariables = 6
)

// follow follows an instruction that can be reached, before the survey does.
func (s *survey) follow(in *instr) {
	w, at := &s.work, &s.work.at
	w.nanos += nanosCode
	switch in.row.imm {
	case immLocal:
		at.gets++
		if in.code != opLocalGet {
			at.sets++
		} else {
			w.nanos += nanosLookup * at.chain
		}
		w.alive.access(in.x, in.code != opLocalGet, len(s.frames))
	case immMemarg, immMemargLane:
		at.known++
		w.nanos += 2 * nanosLookup * at.chain
	case immGlobal:
		w.nanos += nanosLookup * at.chain
	}
	at.height += int64(in.row.stack)
	switch in.code {
	case opBr:
		s.way(in.x)
	case opBrIf:
		s.way(in.x)
		s.edge(1)
		at.chain++
	case opBrTable:
		r := reader{b: s.m.b, at: in.labels, end: s.r.at}
		for range uint64(in.x) + 1 {
			s.way(r.u32())
		}
	case opReturn:
		s.way(uint32(len(s.frames) - 1))
	case opCall:
		s.followCall(s.m.types[s.m.funcs[in.x]])
	case opCallIndirect:
		s.followCall(s.m.types[in.x])
	case opMemoryCopy:
		s.followCopy(edgesCopy)
	case opMemoryFill:
		s.followCopy(edgesFill)
	}
}

// followCopy follows what becomes an if of so many edges, in whose one arm the
// helper is called.
func (s *survey) followCopy(edges int64) {
	w, at := &s.work, &s.work.at
	w.nanos += nanosGlobal * (s.m.mutable + 2)
	s.edge(edges)
	at.chain = 0
	w.alive.point(point{ways: 2, more: ownVariables})
}

func (s *survey) followCall(t funcType) {
	params, results := int64(len(t.params)), int64(len(t.results))
	s.work.at.height += results - params
	s.work.nanos += nanosValue*(params+results) + nanosGlobal*(s.m.mutable+2)
}

// edge counts edges from here.
func (s *survey) edge(n int64) {
	s.work.edges += n
	s.work.alive.now.crossed += n * nanosLive
	s.work.nanos += n * (nanosEdge + nanosLive*max(0, s.work.at.height) + nanosKnown*s.work.at.known)
}

// way follows one from here to a label.
func (s *survey) way(label uint32) { s.wayTo(&s.frames[len(s.frames)-1-int(label)]) }

func (s *survey) wayTo(f *frame) {
	at, j := &s.work.at, &f.region
	s.edge(1)
	values := j.results
	if f.op == opLoop {
		values = j.params
	}
	s.work.nanos += nanosValue * values
	s.work.alive.now.crossed += nanosLookup * (at.chain + 1)
	j.ways++
	j.chain = at.chain + 1
	j.known = min(j.known, at.known)
}

// regionOpen follows the start of a block that can be reached.
func (s *survey) regionOpen(in *instr) region {
	w, at := &s.work, &s.work.at
	j := region{known: math.MaxInt64}
	switch {
	case in.block.form == blockTyped:
		t := s.m.types[in.block.index]
		j.params, j.results = int64(len(t.params)), int64(len(t.results))
	case in.block.form != blockEmpty:
		j.results = 1
	}
	w.nanos += nanosValue * (j.params + j.results)
	switch in.code {
	case opLoop:
		j.loop = w.alive.openLoop(len(s.frames))
		w.deep = max(w.deep, int64(len(w.alive.loops)))
		s.edge(edgesLoop)
		w.nanos += 3 * nanosValue * (j.params + j.results)
		at.chain = 0
	case opIf:
		s.edge(2)
		at.chain++
	}
	j.start = *at
	j.start.height = max(0, at.height-j.params)
	return j
}

// regionElse follows the end of an arm; live tells whether it can be reached.
func (s *survey) regionElse(f *frame, live bool) {
	if live {
		s.wayTo(f)
	}
	s.work.alive.leave(len(s.frames))
	s.work.at.chain, s.work.at.known = f.region.start.chain, f.region.start.known
	s.work.at.height = f.region.start.height + f.region.params
}

// regionClose follows the end of a block whose start could be reached; live tells
// whether its end can be.
func (s *survey) regionClose(f *frame, live bool) {
	w, at, j := &s.work, &s.work.at, &f.region
	if f.op == opLoop {
		w.alive.closeLoop(j.loop, point{ways: j.ways + 1, most: at.gets - j.start.gets, more: ownVariables + j.params})
	} else {
		if live {
			s.wayTo(f)
		}
		if f.op == opIf {
			j.ways++ // from the condition
			j.known = min(j.known, j.start.known)
			j.chain = max(j.chain, j.start.chain)
		}
		if j.ways > 1 {
			w.alive.point(point{ways: j.ways, most: at.sets - j.start.sets, more: ownVariables + j.results})
			at.chain = 0
		} else {
			at.chain = j.chain
		}
		at.known = j.known
	}
	at.height = j.start.height + j.results
	w.alive.leave(len(s.frames) + 1)
}

// begin starts with a function.
func (w *work) begin(nanos int64, locals uint32) {
	w.alive.begin(locals)
	*w = work{nanos: nanos, alive: w.alive}
}

// total is the estimate once the function has ended.
func (w *work) total() int64 {
	crossings, phis := w.alive.total()
	return w.nanos + crossings + nanosPair*w.edges*w.edges + nanosPhi*phis*(w.deep+2)
}
