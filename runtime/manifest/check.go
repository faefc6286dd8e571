package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxConfig is the most bytes that a config may have.
const maxConfig = 1 << 20

// ConfigProblem is one thing that is wrong with a config.
type ConfigProblem struct {
	Pointer string // JSON pointer to the value; "" is the config itself
	Text    string // what is wrong; it holds no value of the config
}

// CheckConfig holds a config, JSON, against the manifest's schema and returns
// what is wrong, at most 100 problems, in the order of their pointers. Defaults
// of the schema are not put in. A manifest without a schema takes any object.
func (m *Manifest) CheckConfig(config []byte) []ConfigProblem {
	v, err := decode(config)
	if err != nil {
		return []ConfigProblem{{Text: "the config " + err.Error()}}
	}
	if _, ok := v.(map[string]any); !ok {
		return []ConfigProblem{{Text: "the config must be an object"}}
	}
	if m.schema == nil {
		return nil
	}
	s, err := look(m.schema, v)
	if err != nil {
		return []ConfigProblem{{Text: err.Error()}}
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(m.schema.Validate(v), &invalid) {
		return nil
	}
	var out []ConfigProblem
	for _, leaf := range leaves(invalid) {
		for _, at := range s.places(leaf) {
			out = append(out, s.problems(leaf, at)...)
		}
	}
	slices.SortStableFunc(out, func(a, b ConfigProblem) int {
		return cmp.Or(cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Text, b.Text))
	})
	out = slices.Compact(out)
	return out[:min(len(out), maxProblems)]
}

// decode reads JSON within the bounds of a config.
func decode(config []byte) (any, error) {
	if len(config) > maxConfig {
		return nil, fmt.Errorf("has %d bytes, over %d", len(config), maxConfig)
	}
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, errors.New("is not JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("is not JSON")
	}
	if !bounded(v, 1) {
		return nil, fmt.Errorf("is nested deeper than %d, or has a number out of range", maxDepth+16)
	}
	return v, nil
}

func bounded(v any, depth int) bool {
	if depth > maxDepth+16 {
		return false
	}
	switch v := v.(type) {
	case json.Number:
		return smallNumber(v.String())
	case []any:
		for _, x := range v {
			if !bounded(x, depth+1) {
				return false
			}
		}
	case map[string]any:
		for _, x := range v {
			if !bounded(x, depth+1) {
				return false
			}
		}
	}
	return true
}

// leaves returns the errors that say something themselves.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		return branch(e)
	case *kind.OneOf:
		if k.Subschemas == nil {
			return branch(e)
		}
		return []*jsonschema.ValidationError{e}
	case *kind.PropertyNames: // what it holds has the name for its place
		return []*jsonschema.ValidationError{e}
	}
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var out []*jsonschema.ValidationError
	for _, c := range e.Causes {
		out = append(out, leaves(c)...)
	}
	return out
}

// branch returns the errors of the one form that the value was meant to have,
// where only one of them has the value's type and constants; else e itself.
func branch(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	var meant [][]*jsonschema.ValidationError
	for _, c := range e.Causes {
		errs := leaves(c)
		other := slices.ContainsFunc(errs, func(l *jsonschema.ValidationError) bool {
			switch l.ErrorKind.(type) {
			case *kind.Type, *kind.FalseSchema:
				return len(l.InstanceLocation) <= len(e.InstanceLocation)
			case *kind.Const, *kind.Enum:
				return len(l.InstanceLocation) <= len(e.InstanceLocation)+1
			}
			return false
		})
		if !other {
			meant = append(meant, errs)
		}
	}
	if len(meant) == 1 {
		return meant[0]
	}
	return []*jsonschema.ValidationError{e}
}

// places gives the pointers of what an error is about. The library's location
// of a wrong name is overwritten by what it checks afterwards (v6.0.3,
// validator.go, propertyNames), so that those are found in the survey.
func (s *survey) places(e *jsonschema.ValidationError) []string {
	k, ok := e.ErrorKind.(*kind.PropertyNames)
	if !ok {
		return []string{pointer(e.InstanceLocation)}
	}
	var list []string
	for _, o := range s.named[e.SchemaURL] {
		if _, has := o.values[k.Property]; has && strings.Count(o.at, "/") == len(e.InstanceLocation) {
			list = append(list, o.at)
		}
	}
	if list == nil {
		return []string{""} // of the config as a whole: never of nothing
	}
	return list
}

// problems turns an error about the value at a pointer into problems. Nothing is
// said about what is in a secret but that it is wrong.
func (s *survey) problems(e *jsonschema.ValidationError, at string) []ConfigProblem {
	for i, c := range at {
		if c == '/' && s.secrets[at[:i]] {
			return []ConfigProblem{{Pointer: at[:i], Text: "something in this secret is not what the schema says"}}
		}
	}
	if k, ok := e.ErrorKind.(*kind.AdditionalProperties); ok && !s.secrets[at] {
		var out []ConfigProblem
		for _, p := range k.Properties {
			out = append(out, ConfigProblem{Pointer: at + "/" + escape(p), Text: "there is no such property"})
		}
		return out
	}
	if s.secrets[at] {
		switch e.ErrorKind.(type) {
		case *kind.AdditionalProperties, *kind.PropertyNames, *kind.DependentRequired, *kind.Enum, *kind.Const:
			return []ConfigProblem{{Pointer: at, Text: "this secret is not what the schema says"}}
		}
	}
	return []ConfigProblem{{Pointer: at, Text: describe(e)}}
}

// describe says what is wrong in terms of the schema, never of the value.
func describe(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return fmt.Sprintf("must be %s, and is %s", strings.Join(k.Want, " or "), k.Got)
	case *kind.Required:
		return "lacks " + names(k.Missing)
	case *kind.AdditionalProperties:
		return "has unknown properties: " + names(k.Properties)
	case *kind.DependentRequired:
		return fmt.Sprintf("has %s, and lacks %s", show(k.Prop), names(k.Missing))
	case *kind.PropertyNames:
		return fmt.Sprintf("has a property %s, whose name the schema doesn't allow", show(k.Property))
	case *kind.Enum:
		return "must be one of " + values(k.Want)
	case *kind.Const:
		return "must be " + values([]any{k.Want})
	case *kind.Pattern:
		return "must match " + k.Want
	case *kind.FalseSchema:
		return "must not be there"
	case *kind.AnyOf:
		return "has none of the forms that the schema allows"
	case *kind.OneOf:
		if len(k.Subschemas) > 1 {
			return "has more than one of the forms of which the schema allows one"
		}
		return "has none of the forms that the schema allows"
	case *kind.Not:
		return "has a form that the schema excludes"
	case *kind.UniqueItems:
		return fmt.Sprintf("has the same item twice, at %d and %d", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains, *kind.MinContains:
		return "lacks an item that the schema asks for"
	case *kind.MaxContains:
		return "has too many items of a form that the schema bounds"
	case *kind.RefCycle:
		return "can't be checked: the schema refers to itself without end"
	}
	return describeBound(e)
}

// describeBound is describe for bounds.
func describeBound(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d properties", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d properties", k.Want)
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.ExclusiveMinimum:
		return "must be over " + k.Want.RatString()
	case *kind.ExclusiveMaximum:
		return "must be under " + k.Want.RatString()
	case *kind.MultipleOf:
		return "must be a multiple of " + k.Want.RatString()
	}
	return "is not what the schema says"
}

func names(list []string) string {
	shown := make([]string, 0, len(list))
	for i, s := range list {
		if i == 10 {
			shown = append(shown, "…")
			break
		}
		shown = append(shown, show(s))
	}
	return strings.Join(shown, ", ")
}

// values lists values of the schema.
func values(list []any) string {
	shown := make([]string, 0, len(list))
	for i, v := range list {
		b, err := json.Marshal(v)
		if i == 20 || err != nil || len(b) > 256 {
			shown = append(shown, "…")
			break
		}
		shown = append(shown, string(b))
	}
	return strings.Join(shown, ", ")
}
