package pipeline

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
)

// Bounds of a condition. There are no loops, no variables and no predicates in
// one, so its work is bounded by its size times the length of what it reads.
const (
	maxNodes     = 500     // nodes of the expression
	maxPatterns  = 5000    // steps of its patterns together, each of which one character may take
	memoryBudget = 100_000 // elements of the lists that one evaluation may make
	maxProblem   = 300     // bytes of what expr says of it
)

// builtins returns the functions of expr that a condition may use. They are
// pure: the same event decides the same way whenever it is run.
func builtins() []string {
	return []string{
		"len", "lower", "upper", "trim", "trimPrefix", "trimSuffix", "split",
		"hasPrefix", "hasSuffix", "indexOf", "lastIndexOf", "int", "float", "string", "abs", "min", "max",
	}
}

// Names that the patched expression uses and nobody can write.
const (
	foldedType  = "type[]"
	foldedEvent = "event[]"
	viewName    = "view[]"
	fieldCall   = "fields[]"
	attrCall    = "attrs[]"
	hasField    = "in fields[]"
	hasAttr     = "in attrs[]"
	foldedIn    = "in[]"
)

// condition is a compiled `when`. It may be evaluated by many goroutines at
// once.
type condition struct {
	program *vm.Program
}

// compile compiles and type-checks a `when`. The problems are all at pos, which
// is where the expression stands; their texts say at which character of it.
func compile(src string, pos config.Pos, known func(string) bool) (*condition, config.Problems) {
	check := &checker{src: src, pos: pos, known: known}
	if check.patterns(); len(check.problems) > 0 {
		return nil, check.problems
	}
	options := []expr.Option{
		expr.Env(new(env)), expr.AsBool(), expr.WarnOnAny(), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(),
		expr.Patch(check), expr.Patch(leftover{check}),
		lookupFunction(fieldCall, (*hostapi.Event).Field), lookupFunction(attrCall, (*hostapi.Event).Attr),
		presenceFunction(hasField, (*hostapi.Event).Field), presenceFunction(hasAttr, (*hostapi.Event).Attr),
		expr.Function(foldedIn, inFolded, new(func(string, []string) bool)),
	}
	for _, name := range builtins() {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(src, options...)
	if err != nil && check.problems.Err() == nil {
		check.problems = append(check.problems, compileProblem(src, pos, err))
	}
	if check.problems.Err() != nil {
		return nil, check.problems
	}
	return &condition{program}, check.problems
}

// eval decides for one event. The error tells the place in the expression and
// nothing of the event's content.
func (c *condition) eval(machine *vm.VM, e *env) (bool, error) {
	machine.MemoryBudget = memoryBudget
	out, err := machine.Run(c.program, e)
	if err != nil {
		return false, &whenError{src: c.program.Source().String(), err: err}
	}
	return out.(bool), nil
}

// whenError is a condition that could not be evaluated. It does not repeat
// expr's own text, which may hold what a user wrote.
type whenError struct {
	src string
	err error
}

func (e *whenError) Error() string {
	var fe *file.Error
	if errors.As(e.err, &fe) {
		return fmt.Sprintf("when %s: can't be computed for this event (character %d)", e.src, fe.From+1)
	}
	return fmt.Sprintf("when %s: can't be computed for this event", e.src)
}

// Reason is the label of weft_stage_errors_total.
func (e *whenError) Reason() string { return "when" }

// compileProblem explains an error of expr.
func compileProblem(src string, pos config.Pos, err error) config.Problem {
	var fe *file.Error
	if !errors.As(err, &fe) {
		return config.Problem{Pos: pos, Text: "when: " + strings.ReplaceAll(err.Error(), "\n", " ")}
	}
	text := fe.Message
	if len(text) > maxProblem { // it repeats a pattern whole
		text = strings.ToValidUTF8(text[:maxProblem], "") + "…"
	}
	p := config.Problem{Pos: pos, Text: fmt.Sprintf("when: %s, at character %d", text, fe.From+1)}
	name, unknown := strings.CutPrefix(fe.Message, "unknown name ")
	switch {
	case unknown:
		p.Advice = unknownAdvice(src, fe.From, name)
	case strings.HasPrefix(fe.Message, `unexpected token Operator("=")`):
		p.Advice = "== compares"
	case strings.Contains(fe.Message, "(mismatched types string and int)"), strings.Contains(fe.Message, "(mismatched types int and string)"):
		p.Advice = `texts are quoted, numbers are not: key == "1001", hour >= 9`
	case strings.HasPrefix(fe.Message, "unrecognized character: ") && strings.ContainsAny(fe.Message, "‘’“”＂＇"):
		p.Advice = `that is a full-width quote: write "`
	}
	return p
}

// unknownAdvice guesses what an unknown name was meant to be: a name in other
// letter case, a built-in that is off, or a leaf of the callback.
func unknownAdvice(src string, from int, name string) string {
	for _, n := range names() {
		if strings.EqualFold(n, name) {
			return "did you mean " + n + "?"
		}
	}
	for range from { // expr counts characters
		_, n := utf8.DecodeRuneInString(src)
		src = src[n:]
	}
	end := strings.IndexFunc(src, func(r rune) bool {
		return !(r == '.' || r == '_' || r == '[' || r == ']' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= utf8.RuneSelf)
	})
	if end < 0 {
		end = len(src)
	}
	if strings.HasPrefix(src[end:], "(") {
		return "functions of a when: " + strings.Join(builtins(), ", ")
	}
	return fmt.Sprintf(`a leaf of the callback is fields[%q]; names are %s`, strings.Trim(src[:end], "."), strings.Join(names(), ", "))
}

func lookupFunction(name string, find func(*hostapi.Event, string) (string, bool)) expr.Option {
	return expr.Function(name, func(p ...any) (any, error) {
		v, _ := find(p[0].(*hostapi.Event), p[1].(string))
		return v, nil
	}, new(func(*hostapi.Event, string) string))
}

func presenceFunction(name string, find func(*hostapi.Event, string) (string, bool)) expr.Option {
	return expr.Function(name, func(p ...any) (any, error) {
		_, ok := find(p[0].(*hostapi.Event), p[1].(string))
		return ok, nil
	}, new(func(*hostapi.Event, string) bool))
}

// inFolded looks for a folded word in a list that is not folded yet.
func inFolded(p ...any) (any, error) {
	for _, s := range p[1].([]string) {
		if strings.ToLower(s) == p[0].(string) {
			return true, nil
		}
	}
	return false, nil
}
