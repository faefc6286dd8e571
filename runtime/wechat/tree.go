package wechat

import (
	"bytes"
	"fmt"
	"strconv"
)

// Bounds of a document (hostapi.md, 'Names of leaves'). Depth counts elements
// or containers that are open at once, the root among them; a name is a leaf's
// whole name, List[0].TemplateId.
const (
	maxDepth  = 32
	maxLeaves = 4096
	maxName   = 256
	maxBody   = 1 << 28 // so that places fit 32 bits; the server's bound is far lower
)

// span is a piece of text: [lo, hi) of the document, or, from the document's
// length on, of tree.aux. So most text is never copied while scanning.
type span struct{ lo, hi int32 }

// node is an element of XML, or a member or item of JSON. Node 0 is the root.
type node struct {
	name   span
	value  span   // of a leaf
	seen   uint64 // marks of its children's names, see mark
	parent int32  // -1 for the root
	child  int32  // the newest child with a name of its own, 0 for none
	next   int32  // the sibling with another name that came before, 0 for none
	kids   int32  // children with different names
	index  int32  // place among siblings of the same name, or in the array
	count  int32  // how many siblings have this name, kept on the first of them
	item   bool   // of an array: it has an index and no name
	leaf   bool
	inner  bool // has children
	taken  bool // a leaf that a field of the event's own stands for
}

// tree is a document taken apart, its nodes in document order. A small one
// costs no allocation: the first nodes lie in the tree itself, which can be on
// the stack for no slice points to them.
type tree struct {
	body   []byte
	aux    []byte // what can't be shown as a piece of body: unescaped text, joined names
	size   int32  // how many nodes there are
	leaves int
	head   [headers]int32 // the header's nodes, 0 for none
	twice  int32          // a node that is one of them again, 0 for none
	odd    bool           // there are names to be joined
	few    [few]node
	more   []*[chunk]node    // those beyond few
	wide   map[sibling]int32 // children of nodes that have many of them
}

const (
	few   = 8 // a text message has 7
	chunk = 32
)

// at returns a node.
func (t *tree) at(id int32) *node {
	if id < few {
		return &t.few[id]
	}
	i := uint32(id - few)
	return &t.more[i/chunk][i%chunk]
}

// grow makes the next node, all zero.
func (t *tree) grow() (int32, *node) {
	id := t.size
	t.size++
	if id >= few && (id-few)%chunk == 0 {
		t.more = append(t.more, new([chunk]node))
	}
	return id, t.at(id)
}

// sibling finds a child of a node with many children by its name.
type sibling struct {
	parent int32
	name   string
}

// narrow is how many different children are looked through one by one.
const narrow = 16

// syntaxError says where a document is wrong, and why. It quotes nothing.
type syntaxError struct {
	format Format
	at     int
	why    string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("%s at byte %d: %s", e.format, e.at, e.why)
}

// bytes returns the text of s. It is valid until aux grows.
func (t *tree) bytes(s span) []byte {
	if n := len(t.body); int(s.lo) >= n {
		return t.aux[int(s.lo)-n : int(s.hi)-n]
	}
	return t.body[s.lo:s.hi]
}

// add appends a child with a name to parent and returns it. The index and
// count of siblings of the same name are kept up, but for those of the header,
// of which there must be one only.
func (t *tree) add(parent int32, name span) int32 {
	id, n := t.grow()
	n.name, n.parent, n.count = name, parent, 1
	text := t.bytes(name)
	if parent == 0 {
		if h := headerOf(text); h >= 0 {
			if t.head[h] != 0 {
				t.twice = id
			}
			t.head[h] = id
			return id
		}
	} else {
		t.odd = true
	}
	t.link(id, n, text)
	return id
}

// link finds out which of its siblings have the name of a new node.
func (t *tree) link(id int32, n *node, name []byte) {
	p := t.at(n.parent)
	mark := mark(name)
	if p.seen&mark != 0 {
		if first := t.sibling(p, n.parent, name); first != 0 {
			f := t.at(first)
			n.index = f.count
			f.count++
			t.odd = true
			return
		}
	}
	n.next = p.child
	p.child = id
	p.seen |= mark
	p.kids++
	if p.kids >= narrow {
		t.widen(n.parent)
	}
}

// mark returns one bit for a name. Different names may have the same; where it
// isn't among the marks of the siblings, the name is new.
func mark(name []byte) uint64 {
	n := len(name)
	if n == 0 {
		return 1
	}
	return 1 << ((uint(name[0])*7 + uint(name[n/2])*3 + uint(name[n-1])*5 + uint(n)) & 63)
}

// sibling returns the first child of parent with that name, 0 for none.
func (t *tree) sibling(p *node, parent int32, name []byte) int32 {
	if p.kids >= narrow {
		return t.wide[sibling{parent, string(name)}]
	}
	for c := p.child; c != 0; {
		n := t.at(c)
		if bytes.Equal(t.bytes(n.name), name) {
			return c
		}
		c = n.next
	}
	return 0
}

// widen enters the newest child of a node with many into wide; all of them,
// when it makes them many.
func (t *tree) widen(parent int32) {
	if t.wide == nil {
		t.wide = make(map[sibling]int32)
	}
	p := t.at(parent)
	for c := p.child; c != 0; c = t.at(c).next {
		t.wide[sibling{parent, string(t.bytes(t.at(c).name))}] = c
		if p.kids > narrow {
			return
		}
	}
}

// addItem appends the next item of an array and returns it.
func (t *tree) addItem(parent, index int32) int32 {
	id, n := t.grow()
	n.parent, n.index, n.item = parent, index, true
	t.odd = true
	return id
}

// setLeaf gives a node its value. It answers false where there are too many.
func (t *tree) setLeaf(n *node, value span) bool {
	n.leaf, n.value = true, value
	t.leaves++
	return t.leaves <= maxLeaves
}

// run appends body[lo:hi] to the text v, which is the newest one. The first
// run of a text is not copied.
func (t *tree) run(v span, lo, hi int) span {
	switch {
	case lo == hi:
		return v
	case v.lo == v.hi:
		return span{int32(lo), int32(hi)}
	case int(v.hi) == lo && hi <= len(t.body) && int(v.lo) < len(t.body):
		return span{v.lo, int32(hi)}
	}
	v = t.own(v)
	t.aux = append(t.aux, t.body[lo:hi]...)
	v.hi += int32(hi - lo)
	return v
}

// own moves the text v, the newest one, to the end of aux, where it isn't.
func (t *tree) own(v span) span {
	n := len(t.body)
	if v.lo != v.hi && int(v.lo) >= n {
		return v
	}
	if t.aux == nil {
		t.aux = make([]byte, 0, n) // unescaped text is no longer than the body
	}
	start := len(t.aux)
	t.aux = append(t.aux, t.body[v.lo:v.hi]...)
	return span{int32(n + start), int32(n + len(t.aux))}
}

// path appends the whole name of a node to aux. It answers false where the
// name is too long.
func (t *tree) path(id int32) (span, bool) {
	size := 0
	for i := id; i > 0; i = t.at(i).parent {
		size += t.stepLen(i)
	}
	if size > maxName {
		return span{}, false
	}
	start := len(t.aux)
	var steps [maxDepth + 1]int32
	n := 0
	for i := id; i > 0; i = t.at(i).parent {
		steps[n] = i
		n++
	}
	for n--; n >= 0; n-- {
		t.step(steps[n])
	}
	base := len(t.body)
	return span{int32(base + start), int32(base + len(t.aux))}, true
}

// step appends what a node adds to the names of its leaves.
func (t *tree) step(id int32) {
	s := t.at(id)
	if !s.item {
		if s.parent > 0 {
			t.aux = append(t.aux, '.')
		}
		name := t.bytes(s.name)
		t.aux = append(t.aux, name...)
	}
	if s.indexed() {
		t.aux = append(t.aux, '[')
		t.aux = strconv.AppendInt(t.aux, int64(s.index), 10)
		t.aux = append(t.aux, ']')
	}
}

func (t *tree) stepLen(id int32) int {
	s := t.at(id)
	size := 0
	if !s.item {
		size = int(s.name.hi - s.name.lo)
		if s.parent > 0 {
			size++
		}
	}
	if s.indexed() {
		size += 3
		for n := s.index; n >= 10; n /= 10 {
			size++
		}
	}
	return size
}

// indexed tells whether the node's name carries an index: where it is an item,
// or one of several siblings of the same name.
func (s *node) indexed() bool { return s.item || s.index > 0 || s.count > 1 }
