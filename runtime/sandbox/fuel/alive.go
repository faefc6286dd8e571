package fuel

import (
	"slices"
	"sort"
)

// alive finds, at most, where the locals of a function are alive: from the
// first access to the last, and in the whole of a loop that may read what was
// there before it, or in its last turn.
type alive struct {
	now    moment
	points []point
	spans  []span64 // of each local
	loops  []openLoop
	unset  []unset
	reads  []read
	sums   []int64 // of total
}

// moment is a place in a function: what one variable that is alive from the
// start to there has cost, in nanoseconds, and how many points there are.
type moment struct{ crossed, points int64 }

// span64 is where a local is alive. set is how many blocks were open where it
// was set, if that was in a block that is still open; else 0.
type span64 struct {
	from, to moment
	used     bool
	set      int
}

// point is a place where phis stand: a loop's header, or the end of a block
// with several ways in.
type point struct {
	ways int64
	most int64 // locals that can have one, but for those that aren't alive
	more int64 // phis that aren't of locals
}

// openLoop is a loop whose end hasn't come. depth is how many blocks are open
// around it.
type openLoop struct {
	depth int
	at    moment
	reads int // the last of alive.reads, and 1; 0 for none
}

// unset is what a local's set was before it was set in a block.
type unset struct {
	local uint32
	in    int
	was   int
}

// read is one of a value from outside of a loop.
type read struct {
	local uint32
	next  int
}

func (a *alive) begin(locals uint32) {
	a.spans = slices.Grow(a.spans[:0], int(locals))[:locals]
	clear(a.spans)
	a.now = moment{}
	a.points, a.loops, a.unset, a.reads = a.points[:0], a.loops[:0], a.unset[:0], a.reads[:0]
}

func (a *alive) point(p point) {
	a.points = append(a.points, p)
	a.now.points++
}

// access follows one of a local, with so many blocks open.
func (a *alive) access(local uint32, sets bool, depth int) {
	l := &a.spans[local]
	if !l.used && sets {
		l.from = a.now
	}
	l.used, l.to = true, a.now
	if sets {
		if l.set < depth {
			a.unset = append(a.unset, unset{local, depth, l.set})
			l.set = depth
		}
		return
	}
	i := sort.Search(len(a.loops), func(i int) bool { return a.loops[i].depth >= l.set })
	if i < len(a.loops) {
		a.reads = append(a.reads, read{local, a.loops[i].reads})
		a.loops[i].reads = len(a.reads)
	}
}

// leave follows the end of a block, or of an arm, that was the last of so many
// open ones: what was set in it may not be.
func (a *alive) leave(depth int) {
	for n := len(a.unset) - 1; n >= 0 && a.unset[n].in >= depth; n-- {
		a.spans[a.unset[n].local].set = a.unset[n].was
		a.unset = a.unset[:n]
	}
}

// openLoop gives the loop's point.
func (a *alive) openLoop(depth int) int {
	a.loops = append(a.loops, openLoop{depth: depth, at: a.now})
	a.point(point{})
	return len(a.points) - 1
}

func (a *alive) closeLoop(at int, p point) {
	loop := a.loops[len(a.loops)-1]
	a.loops = a.loops[:len(a.loops)-1]
	a.points[at] = p
	for i := loop.reads; i > 0; i = a.reads[i-1].next {
		l := &a.spans[a.reads[i-1].local]
		if loop.at.crossed < l.from.crossed {
			l.from.crossed = loop.at.crossed
		}
		l.from.points = min(l.from.points, loop.at.points)
		l.to = a.now
	}
}

// total gives what being alive costs in all, and how many comparisons one pass
// over all phis makes: for each way into a point, every phi with every other.
func (a *alive) total() (crossings, comparisons int64) {
	a.sums = slices.Grow(a.sums[:0], len(a.points)+1)[:len(a.points)+1]
	clear(a.sums)
	crossings = ownVariables * a.now.crossed
	for _, l := range a.spans {
		if l.used {
			crossings += l.to.crossed - l.from.crossed
			a.sums[l.from.points]++
			a.sums[l.to.points]--
		}
	}
	locals := int64(0)
	for i, p := range a.points {
		locals += a.sums[i]
		phis := min(p.most, locals) + p.more
		comparisons += phis * phis * p.ways
	}
	return crossings, comparisons
}
