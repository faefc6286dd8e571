package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// dialect is the only $schema that a config's schema may name.
const dialect = "https://json-schema.org/draft/2020-12/schema"

// schemaURL is the schema's own address; nothing is ever fetched from it.
const schemaURL = "https://weft.invalid/config"

// numberForm is a number of JSON. It is never changed.
var numberForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE]([+-]?[0-9]+))?$`)

// smallNumber tells whether s is a number of JSON that exact arithmetic can hold
// in little memory.
func smallNumber(s string) bool {
	parts := numberForm.FindStringSubmatch(s)
	if parts == nil || len(s) > 128 {
		return false
	}
	if parts[4] == "" {
		return true
	}
	e, err := strconv.Atoi(parts[4])
	return err == nil && e >= -400 && e <= 400
}

// schema reads and compiles the schema of configs.
func (r *reader) schema(n *yaml.Node) *jsonschema.Schema {
	before := len(r.problems)
	if n.Kind != yaml.MappingNode {
		r.add(n, "config must be a mapping, a JSON Schema 2020-12")
		return nil
	}
	doc := r.value(n)
	r.subschema(n)
	if len(r.problems) > before {
		return nil
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	s, err := compile(c, doc)
	if err != nil {
		at, text := explain(n, err)
		r.add(at, "config is not a JSON Schema 2020-12: %s", text)
		return nil
	}
	return s
}

// noLoader fetches nothing.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema refers to nothing outside itself")
}

func compile(c *jsonschema.Compiler, doc any) (*jsonschema.Schema, error) {
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, fmt.Errorf("add the schema: %w", err)
	}
	s, err := c.Compile(schemaURL)
	if err != nil {
		return nil, fmt.Errorf("compile the schema: %w", err)
	}
	return s, nil
}

// value turns YAML into what encoding/json would give, numbers as json.Number.
func (r *reader) value(n *yaml.Node) any {
	switch n.Kind {
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			out = append(out, r.value(c))
		}
		return out
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = r.value(n.Content[i+1])
		}
		return out
	case yaml.ScalarNode:
	default: // what strict has refused
		return nil
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if !smallNumber(n.Value) {
			r.add(n, "%s is not a number as JSON has it, or is out of range", show(n.Value))
			return nil
		}
		return json.Number(n.Value)
	}
	return n.Value
}

// subschema refuses what leads outside the schema, in it and in what is below.
func (r *reader) subschema(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	one := []string{"not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"}
	lists := []string{"allOf", "anyOf", "oneOf", "prefixItems"}
	maps := []string{"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Value == "$schema":
			if strings.TrimSuffix(v.Value, "#") != dialect {
				r.add(v, "$schema must be %s", dialect)
			}
		case k.Value == "$ref":
			if v.Kind != yaml.ScalarNode || !strings.HasPrefix(v.Value, "#") {
				r.add(v, "$ref must begin with #: a schema refers to nothing outside itself")
			}
		case slices.Contains([]string{"$id", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"}, k.Value):
			r.add(k, "%s is not supported in a config's schema", k.Value)
		case slices.Contains(one, k.Value):
			r.subschema(v)
		case slices.Contains(lists, k.Value) && v.Kind == yaml.SequenceNode:
			for _, c := range v.Content {
				r.subschema(c)
			}
		case slices.Contains(maps, k.Value) && v.Kind == yaml.MappingNode:
			for j := 1; j < len(v.Content); j += 2 {
				r.subschema(v.Content[j])
			}
		}
	}
}

// explain finds the place and a short text for an error of the compiler.
func explain(n *yaml.Node, err error) (*yaml.Node, string) {
	var bad *jsonschema.SchemaValidationError
	var invalid *jsonschema.ValidationError
	if errors.As(err, &bad) && errors.As(bad.Err, &invalid) {
		leaf := invalid
		for len(leaf.Causes) > 0 {
			leaf = leaf.Causes[0]
		}
		return locate(n, leaf.InstanceLocation), pointer(leaf.InstanceLocation) + " " + describe(leaf)
	}
	var re *jsonschema.InvalidRegexError
	if errors.As(err, &re) {
		return n, fmt.Sprintf("%s is not a regular expression: %v", show(re.Regex), re.Err)
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	return n, strings.ReplaceAll(err.Error(), schemaURL, "")
}

// locate follows a path as far as it leads.
func locate(n *yaml.Node, path []string) *yaml.Node {
	for _, part := range path {
		var next *yaml.Node
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				next = n.Content[i+1]
			}
		}
		if i, err := strconv.Atoi(part); err == nil && n.Kind == yaml.SequenceNode && i >= 0 && i < len(n.Content) {
			next = n.Content[i]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// pointer writes a path as a JSON pointer.
func pointer(path []string) string {
	var b strings.Builder
	for _, part := range path {
		b.WriteString("/" + escape(part))
	}
	return b.String()
}

func escape(part string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
}
