package fuel

// Where every way into a block is a way that is always taken, what the block
// costs can be charged on those ways instead; and where a block ends in an if,
// what both arms cost at least can be charged before it. Each path through the
// function costs what it did, in fewer places.

// way is one into a block, from the block that a site begins. It is always
// taken at the end of that.
type way struct {
	from int // index of the site
	next int // the next way into the same block: its index in survey.ways, plus 1
}

// fork is an if whose arms are entered from nowhere else.
type fork struct{ from, then, other int } // indexes of sites; other is 0 until there is one

// join is what is known of the ways into the block at a label.
type join struct {
	ways   int  // the first, as in way.next
	pinned bool // there is another, that is not always taken
}

// enter notes that the block at hand, which can be reached, goes on at a label.
func (s *survey) enter(j *join) {
	s.ways = append(s.ways, way{len(s.sites) - 1, j.ways})
	j.ways = len(s.ways)
}

// coalesce moves costs to where they are charged. Sites stand in the order of
// the code: what a later one passes on, an earlier one passes on in its turn.
func (s *survey) coalesce() {
	for i := len(s.sites) - 1; i > 0; i-- {
		s.passOn(i)
	}
	for i := len(s.forks) - 1; i >= 0; i-- {
		f := s.forks[i]
		if f.other == 0 {
			continue
		}
		then, other := &s.sites[f.then], &s.sites[f.other]
		least := min(then.cost, other.cost)
		s.sites[f.from].cost += least
		then.cost -= least
		other.cost -= least
	}
}

// passOn charges a block on the ways into it. One that goes on at its own
// start keeps its cost.
func (s *survey) passOn(i int) {
	to := &s.sites[i]
	for w := to.ways; w != 0; w = s.ways[w-1].next {
		if s.ways[w-1].from == i {
			return
		}
	}
	for w := to.ways; w != 0; w = s.ways[w-1].next {
		s.sites[s.ways[w-1].from].cost += to.cost
	}
	if to.ways != 0 {
		to.cost = 0
	}
}
