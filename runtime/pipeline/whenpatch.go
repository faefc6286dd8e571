package pipeline

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"

	"github.com/weft-dev/weft/runtime/config"
)

// checker refuses what a condition may not hold and patches the rest: lookups
// in fields and attrs become calls, and comparisons of type and event fold
// letter case. expr walks the tree from the leaves up.
type checker struct {
	src      string
	pos      config.Pos
	known    func(string) bool
	problems config.Problems
}

func (c *checker) problem(n ast.Node, warning bool, text, advice string) {
	text = fmt.Sprintf("when: %s, at character %d", text, n.Location().From+1)
	c.problems = append(c.problems, config.Problem{Pos: c.pos, Warning: warning, Text: text, Advice: advice})
}

// patterns refuses a condition with larger patterns than maxPatterns, before they
// are compiled: {1000} repeats what stands before it so often. Whatever else is
// wrong in them expr says.
func (c *checker) patterns() {
	if !strings.Contains(c.src, "matches") {
		return
	}
	tree, err := parser.ParseWithConfig(c.src, &conf.Config{MaxNodes: maxNodes})
	if err != nil {
		return
	}
	size := 0
	ast.Walk(&tree.Node, visit(func(n ast.Node) {
		b, ok := n.(*ast.BinaryNode)
		if !ok || b.Operator != "matches" {
			return
		}
		if s, ok := b.Right.(*ast.StringNode); ok {
			if re, err := syntax.Parse(s.Value, syntax.Perl); err == nil && size <= maxPatterns {
				if size += steps(re); size > maxPatterns {
					c.problem(b.Right, false, fmt.Sprintf("the patterns are too large: repeats written out, they have over %d steps", maxPatterns), "repeat less: {1000} is a thousand times")
				}
			}
		}
	}))
}

// visit is an ast.Visitor that changes nothing.
type visit func(ast.Node)

// Visit implements ast.Visitor.
func (v visit) Visit(node *ast.Node) { v(*node) }

// steps is how many steps a pattern has, about, with its repeats written out; where
// they are more than maxPatterns, any number over that.
func steps(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n = min(n+steps(sub), maxPatterns+1)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), maxPatterns+1)
	}
	return n
}

// Visit implements ast.Visitor.
func (c *checker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if n.Value == "$env" {
			c.problem(n, false, "$env can't be used", "")
		}
	case *ast.BuiltinNode:
		if !slices.Contains(builtins(), n.Name) {
			c.problem(n, false, n.Name+" can't be used", "functions of a when: "+strings.Join(builtins(), ", "))
		}
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		c.problem(n, false, "one expression only, without let and ;", "")
	case *ast.MemberNode:
		if call := lookupIn(n.Node, fieldCall, attrCall); call != "" {
			ast.Patch(node, callWithView(call, n.Property))
		}
	case *ast.BinaryNode:
		c.binary(node, n)
	}
}

func (c *checker) binary(node *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			c.problem(n.Right, false, "the pattern of matches must be a literal", "")
		}
	case "==", "!=":
		if folds(n.Left) && foldable(n.Right) || folds(n.Right) && foldable(n.Left) {
			n.Left, n.Right = c.fold(n.Left), c.fold(n.Right)
		}
	case "in":
		if call := lookupIn(n.Right, hasField, hasAttr); call != "" {
			ast.Patch(node, callWithView(call, n.Left))
			return
		}
		list, ok := n.Right.(*ast.ArrayNode)
		switch {
		case ok && (folds(n.Left) || slices.ContainsFunc(list.Nodes, folds)):
			n.Left = c.fold(n.Left)
			for i, el := range list.Nodes {
				list.Nodes[i] = c.fold(el)
			}
		case folds(n.Left):
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: foldedIn}, Arguments: []ast.Node{c.fold(n.Left), n.Right}})
		}
	}
}

// folds says whether comparing with n folds letter case.
func folds(n ast.Node) bool {
	id, ok := n.(*ast.IdentifierNode)
	return ok && (id.Value == "type" || id.Value == "event")
}

// foldable is false for literals that no text equals: expr says so better.
func foldable(n ast.Node) bool {
	switch n.(type) {
	case *ast.NilNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.ArrayNode, *ast.MapNode:
		return false
	}
	return true
}

// fold gives n in lower case: at load for a literal, from the environment for
// type and event.
func (c *checker) fold(n ast.Node) ast.Node {
	if !foldable(n) {
		return n
	}
	var out ast.Node
	switch v := n.(type) {
	case *ast.IdentifierNode:
		switch v.Value {
		case "type":
			out = &ast.IdentifierNode{Value: foldedType}
		case "event":
			out = &ast.IdentifierNode{Value: foldedEvent}
		}
	case *ast.StringNode:
		if c.known != nil && v.Value != "" && !c.known(v.Value) {
			c.problem(v, true, fmt.Sprintf("%q is no type or event that WeChat is known to send", v.Value), "")
		}
		out = &ast.StringNode{Value: strings.ToLower(v.Value)}
	}
	if out == nil {
		out = &ast.BuiltinNode{Name: "lower", Arguments: []ast.Node{n}}
	}
	out.SetLocation(n.Location())
	return out
}

// lookupIn returns the call for a lookup in fields or attrs, "" where n is
// neither.
func lookupIn(n ast.Node, inFields, inAttrs string) string {
	id, ok := n.(*ast.IdentifierNode)
	switch {
	case ok && id.Value == "fields":
		return inFields
	case ok && id.Value == "attrs":
		return inAttrs
	}
	return ""
}

func callWithView(name string, arg ast.Node) *ast.CallNode {
	return &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: name},
		Arguments: []ast.Node{&ast.IdentifierNode{Value: viewName}, arg},
	}
}

// leftover refuses what checker did not patch away: fields and attrs are looked
// up in and are no values themselves.
type leftover struct{ *checker }

// Visit implements ast.Visitor.
func (l leftover) Visit(node *ast.Node) {
	if n, ok := (*node).(*ast.IdentifierNode); ok && (n.Value == "fields" || n.Value == "attrs") {
		l.problem(n, false, n.Value+" is looked up in by name", fmt.Sprintf(`%s["Name"]`, n.Value))
	}
}
