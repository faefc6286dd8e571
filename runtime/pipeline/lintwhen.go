package pipeline

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// verdict is what a condition may come to for an event of which only type and
// event are known.
type verdict uint8

const (
	mayHold verdict = 1 << iota
	mayFail
	undecided = mayHold | mayFail
)

func (v verdict) not() verdict { return v&mayHold<<1 | v&mayFail>>1 }

func (v verdict) and(w verdict) verdict { return v&w&mayHold | (v|w)&mayFail }

// sample is a type and an event that events have together.
type sample struct {
	typ, event string
	fresh      bool // one of them stands for all other words
	own        bool // the host tells it
	env        *env
}

const (
	// fresh stands for every word that neither WeChat's documents nor the files
	// have: what asks for more than which word it is can't be told.
	fresh = "\x00"
	// nonsense is one such word.
	nonsense = "\x01"
)

// formula judges a condition.
type formula func(*sample) verdict

// formulas makes formulas of conditions, and collects the words that these hold
// against type and event.
type formulas struct {
	types, events []string
	machine       vm.VM
}

// of makes the formula of a `when`. What can't be told from type and event, and
// what doesn't compile, is undecided.
func (f *formulas) of(src string) formula {
	tree, err := parser.Parse(src)
	if err != nil {
		return func(*sample) verdict { return undecided }
	}
	return f.node(tree.Node)
}

// node follows the logic of a condition down to what only type and event decide.
func (f *formulas) node(n ast.Node) formula {
	switch n := n.(type) {
	case *ast.UnaryNode:
		if n.Operator == "!" || n.Operator == "not" {
			inner := f.node(n.Node)
			return func(s *sample) verdict { return inner(s).not() }
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "&&", "and":
			left, right := f.node(n.Left), f.node(n.Right)
			return func(s *sample) verdict { return left(s).and(right(s)) }
		case "||", "or":
			left, right := f.node(n.Left), f.node(n.Right)
			return func(s *sample) verdict { return left(s).not().and(right(s).not()).not() }
		}
	case *ast.ConditionalNode:
		cond, yes, no := f.node(n.Cond), f.node(n.Exp1), f.node(n.Exp2)
		return func(s *sample) (v verdict) {
			c := cond(s)
			if c&mayHold != 0 {
				v |= yes(s)
			}
			if c&mayFail != 0 {
				v |= no(s)
			}
			return v
		}
	}
	return f.leaf(n)
}

// leaf judges by computing the condition.
func (f *formulas) leaf(n ast.Node) formula {
	var seen leafNames
	ast.Walk(&n, &seen)
	if seen.other {
		return func(*sample) verdict { return undecided }
	}
	c, _ := compile(n.String(), config.Pos{}, nil)
	if c == nil {
		return func(*sample) verdict { return undecided }
	}
	if seen.typ {
		f.types = append(f.types, seen.words...)
	}
	if seen.event {
		f.events = append(f.events, seen.words...)
	}
	exact := comparesWords(n)
	return func(s *sample) verdict {
		if s.fresh && !exact {
			return undecided
		}
		switch holds, err := c.eval(&f.machine, s.env); {
		case err != nil:
			return undecided
		case holds:
			return mayHold
		}
		return mayFail
	}
}

// leafNames are the names and words in a condition.
type leafNames struct {
	typ, event bool // it names type, event
	other      bool // it names more
	words      []string
}

// Visit implements ast.Visitor.
func (l *leafNames) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		switch n.Value {
		case "type":
			l.typ = true
		case "event":
			l.event = true
		default:
			l.other = true
		}
	case *ast.StringNode:
		l.words = append(l.words, n.Value)
	}
}

// comparesWords tells whether a condition asks only which of its own words type
// or event is, so that all others are one to it.
func comparesWords(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.StringNode, *ast.BoolNode:
		return true
	case *ast.IdentifierNode:
		return folds(n)
	case *ast.ArrayNode:
		return !slices.ContainsFunc(n.Nodes, func(el ast.Node) bool { return !comparesWords(el) })
	case *ast.BinaryNode:
		return slices.Contains([]string{"==", "!=", "in"}, n.Operator) && comparesWords(n.Left) && comparesWords(n.Right)
	}
	return false
}

// samples are the types and events of all events that WeChat may send, as far as
// its words, and those of the files, tell them apart. Messages have no event, but
// for those of devices and of types that nobody knows yet.
func samples(facts *Facts, types, events []string) []sample {
	var all []sample
	seen := map[[2]string]bool{}
	add := func(typ, event string) {
		if key := [2]string{typ, event}; !seen[key] && typ+event != "" {
			seen[key] = true
			all = append(all, sample{
				typ: typ, event: event, fresh: typ == fresh || event == fresh,
				env: newEnv(new(app), &hostapi.Event{Type: typ, Event: event}),
			})
		}
	}
	known := func(typ string) bool {
		return slices.ContainsFunc(facts.MsgTypes, func(t string) bool { return strings.EqualFold(t, typ) })
	}
	others := []string{fresh, nonsense}
	for _, t := range slices.Concat(facts.MsgTypes, types, others) {
		switch {
		case strings.EqualFold(t, "event") || t == "":
			continue
		case !known(t) || strings.HasPrefix(t, "device_") || t == "hardware":
			for _, e := range slices.Concat(events, others) {
				add(t, e)
			}
		}
		add(t, "")
	}
	for _, e := range slices.Concat(facts.Events, events, others) {
		add("event", e)
	}
	for _, e := range slices.Concat(facts.InfoTypes, events, others) {
		add("", e)
	}
	return all
}

// ownSamples are the events that the host tells itself.
func ownSamples(facts *Facts) (all []sample) {
	for _, e := range facts.Own {
		all = append(all, sample{typ: "event", event: e, own: true, env: newEnv(new(app), &hostapi.Event{Type: "event", Event: e})})
	}
	return all
}
