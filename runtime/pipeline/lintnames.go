package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"github.com/weft-dev/weft/runtime/config"
)

// appsThatWalk returns the apps of a pipeline; nil where one's is not known.
func appsThatWalk(cfg *config.Config, p *config.Pipeline) []*config.App {
	var apps []*config.App
	for _, a := range cfg.Apps {
		if a.Pipeline == nil {
			return nil
		}
		if a.Pipeline == p {
			apps = append(apps, a)
		}
	}
	return apps
}

// names warns where a condition compares a name with what it never is.
func (l *linter) names(src string, pos config.Pos) {
	tree, err := parser.Parse(src)
	if src == "" || err != nil {
		return
	}
	ast.Walk(&tree.Node, &comparisons{l, pos})
}

// comparisons looks at the comparisons of one condition.
type comparisons struct {
	*linter
	pos config.Pos
}

// Visit implements ast.Visitor.
func (c *comparisons) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		if id, ok := n.Node.(*ast.IdentifierNode); ok && id.Value == "labels" {
			c.label(n.Property)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "==", "!=":
			c.compare(n.Left, n.Right)
			c.compare(n.Right, n.Left)
		case "in":
			if list, ok := n.Right.(*ast.ArrayNode); ok {
				for _, el := range list.Nodes {
					c.compare(n.Left, el)
				}
			}
		}
	}
}

func (c *comparisons) never(n ast.Node, text, advice string) {
	c.warn(c.pos, fmt.Sprintf("when: %s, at character %d", text, n.Location().From+1), advice)
}

// label looks at the name of a label.
func (c *comparisons) label(name ast.Node) {
	s, ok := name.(*ast.StringNode)
	if !ok || len(c.apps) == 0 || slices.ContainsFunc(c.apps, func(a *config.App) bool { _, has := a.Labels[s.Value]; return has }) {
		return
	}
	c.never(name, fmt.Sprintf("no app of the pipeline has a label %q", s.Value), "labels are the app's own; one that it doesn't have is \"\"")
}

// compare looks at a name and what it is compared with.
func (c *comparisons) compare(name, with ast.Node) {
	id, ok := name.(*ast.IdentifierNode)
	if !ok {
		return
	}
	switch v := with.(type) {
	case *ast.StringNode:
		switch {
		case id.Value == "app" && len(c.apps) > 0:
			c.app(v)
		case id.Value == "origin" && !slices.Contains(origins(), v.Value):
			c.never(v, fmt.Sprintf("%q is no origin", v.Value), "it is one of "+strings.Join(origins(), ", "))
		}
	case *ast.IntegerNode:
		switch {
		case id.Value == "hour" && (v.Value < 0 || v.Value > 23):
			c.never(v, fmt.Sprintf("hour is never %d", v.Value), "it is 0 to 23")
		case id.Value == "weekday" && (v.Value < 1 || v.Value > 7):
			c.never(v, fmt.Sprintf("weekday is never %d", v.Value), "it is 1, Monday, to 7, Sunday")
		}
	}
}

func (c *comparisons) app(v *ast.StringNode) {
	var names []string
	for _, a := range c.apps {
		if a.Name == v.Value {
			return
		}
		names = append(names, a.Name)
	}
	if len(names) > maxListed {
		names = append(names[:maxListed:maxListed], "…")
	}
	c.never(v, fmt.Sprintf("%q is no app of the pipeline", v.Value), "its apps are "+strings.Join(names, ", "))
}

// origins are what Event.Origin is one of.
func origins() []string { return []string{"wechat", "plugin", "schedule", "api", "identity"} }
