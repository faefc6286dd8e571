package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"gopkg.in/yaml.v3"

	"github.com/weft-dev/weft/runtime/config"
)

// schema returns the schema as JSON and compiled.
func schema(t testing.TB) (map[string]any, *jsonschema.Schema) {
	t.Helper()
	src, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any), compiled(t, src)
}

// compiled compiles a schema.
func compiled(t testing.TB, src []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("https://weft.invalid/schema", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://weft.invalid/schema")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance is a file as an editor sees it: scalars without quotes by their look.
// ok is false for one that is no YAML, or that JSON has no value for.
func instance(src string) (v any, ok bool) {
	var n yaml.Node
	if yaml.Unmarshal([]byte(src), &n) != nil || len(n.Content) != 1 {
		return nil, false
	}
	return instanceOf(n.Content[0], 0)
}

func instanceOf(n *yaml.Node, depth int) (any, bool) {
	switch {
	case depth > config.MaxDepth || n.Style&yaml.TaggedStyle != 0:
		return nil, false
	case n.Kind == yaml.AliasNode:
		return instanceOf(n.Alias, depth+1)
	case n.Kind == yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			v, ok := instanceOf(c, depth+1)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	case n.Kind == yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			v, ok := instanceOf(n.Content[i+1], depth+1)
			if !ok || k.ShortTag() != "!!str" || out[k.Value] != nil {
				return nil, false
			}
			out[k.Value] = v
		}
		return out, true
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, true
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), true
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value), true
		}
	}
	return n.Value, true
}

// notOfShape are the problems that no schema of a file sees: ranges of
// durations, sizes with a unit, names that lead nowhere, and what hangs on more
// than one value or on YAML's way of writing one.
var notOfShape = regexp.MustCompile(`there is no plugin|there is no pipeline|doesn't use plugin|is not (0s or )?a duration from|is under its answer_within` +
	`|is not a size from .*(MiB|GiB|TiB|KiB)\)?$|a path of the host's own|has this path|one address|no server\.admin_token|encoding_aes_key is missing|names nothing` +
	`|a second stage|is not a file|only the last branch|not a number that JSON|is out of range|is short for|^apps\.f\.callback_path` +
	`|without quotes YAML reads|only a stage with plugin|fuel: 1e9|a second document|a percentage over 0|own plugin|may not use state|a state of its own|state of another plugin|own state without it|no answer that one could compare|can have a (canary|shadow)` +
	`|two stores|server\.key is missing|has one address|meaning with|database 0|go together|has this key, too|(master|upstream|keys|redirects) is missing|there is no (upstream|Redis)` +
	`|not encrypted on its way|holds a path|segment of dots|openid stands here twice|is under session|answers with a credential|holds \*\* beside|"h:(0|70000)"`)

// TestSchemaRefuses: of every problem that Parse has with a file's shape, the
// schema has one, too, at the same place.
func TestSchemaRefuses(t *testing.T) {
	_, s := schema(t)
	seen := 0
	for _, c := range problemCases() {
		t.Run(c.name, func(t *testing.T) {
			v, ok := instance(c.src)
			if !ok {
				return
			}
			var invalid *jsonschema.ValidationError
			places := []string{}
			if errors.As(s.Validate(v), &invalid) {
				places = errorPlaces(invalid, nil)
			}
			_, problems := config.Parse("p.yaml", []byte(c.src), options())
			shaped := false
			for _, p := range problems {
				if p.Warning || notOfShape.MatchString(p.Text) {
					continue
				}
				shaped = true
				seen++
				where, _, ok := strings.Cut(strings.ReplaceAll(p.Text, `"`, ""), ": ")
				if !ok || strings.Contains(where, " ") {
					where = ""
				}
				if !slices.ContainsFunc(places, func(place string) bool { return place == where || keys(place, where) }) {
					t.Errorf("the schema has nothing against %q at %q, only at %q", p.Text, where, places)
				}
			}
			if !shaped && len(places) > 0 {
				t.Errorf("the schema is against it: %v", invalid)
			}
		})
	}
	if seen < 80 {
		t.Errorf("only %d problems of shape", seen)
	}
}

var propertyNames = regexp.MustCompile(`/([a-z_]+)/propertyNames$`)

// keys tells whether place stands for the keys of the mapping at where.
func keys(place, where string) bool {
	name, ok := strings.CutPrefix(place, "keys of ")
	return ok && (name == where || strings.HasSuffix(where, "."+name))
}

// errorPlaces are the places of a validator's errors, as Parse writes them.
func errorPlaces(e *jsonschema.ValidationError, places []string) []string {
	place := strings.Join(e.InstanceLocation, ".")
	if _, ok := e.ErrorKind.(*kind.PropertyNames); ok { // which the validator puts anywhere
		place = "keys of " + propertyNames.FindStringSubmatch(e.SchemaURL)[1]
	}
	places = append(places, place)
	for _, cause := range e.Causes {
		places = errorPlaces(cause, places)
	}
	return places
}

// TestSchemaAccepts holds every configuration of the project to the schema.
func TestSchemaAccepts(t *testing.T) {
	_, s := schema(t)
	root := filepath.Join("..", "..")
	found := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "data" || d.Name() == "bin"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".yaml" && filepath.Ext(path) != ".md":
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files := []string{string(src)}
		if filepath.Ext(path) == ".md" {
			files = yamlBlocks(string(src))
		}
		for _, file := range files {
			v, ok := instance(file)
			if m, is := v.(map[string]any); !ok || !is || m["weft"] == nil || m["cases"] != nil {
				continue
			}
			found++
			if err := s.Validate(v); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 4 {
		t.Errorf("only %d configurations were found", found)
	}
}

// yamlBlocks are the fenced pieces of YAML in a Markdown file.
func yamlBlocks(src string) []string {
	var blocks []string
	for _, part := range strings.Split("\n"+src, "\n```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		blocks = append(blocks, block)
	}
	return blocks
}

// TestSchemaAcceptsWays: a value may be written in more ways than one.
func TestSchemaAcceptsWays(t *testing.T) {
	_, s := schema(t)
	for _, src := range []string{
		minimal,
		"weft: \"1\"\n" + strings.TrimPrefix(app, "weft: 1\n") + stages,
		app + "server:\nstore:\nplugins:\npipeline:\n",
		app + "server: { drain: 0, data: 12, admin_token: 123 }\npipeline: { dedupe: 0s, deadline: 30m0.5s, stages: }\n",
		"weft: 1\napps:\n  shop: { type: official, app_id: 123, token: 12345, mode: plain, max_skew: 1.5h, labels: { a: 1, b: true }, with: }\n" + stages,
		app + "plugins:\n  a: { source: a.wasm, config: , grants: { state: TRUE }, limits: { memory: 65536, fuel: \"100000\", instances: 3 } }\n" +
			"pipeline: { stages: [ { plugin: a, on_error: { reply: { text: 5 } } } ] }\n",
		app + "pipeline: { stages: [ { reply: { image: 77 } }, { name: b, reply: { transfer: } }, { name: c, reply: { text: { content: x } } } ] }\n",
	} {
		if _, problems := config.Parse("p.yaml", []byte(src), config.Options{}); problems.Err() != nil {
			t.Errorf("it is wrong: %v\n%s", problems, src)
		}
		v, ok := instance(src)
		if !ok {
			t.Fatalf("no YAML: %s", src)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%v\n%s", err, src)
		}
	}
}

// TestSchemaAcceptsReferences puts ${…} in the place of each scalar in turn.
func TestSchemaAcceptsReferences(t *testing.T) {
	_, s := schema(t)
	for _, reference := range []string{"${X}", "${X:-y}", "${file:/run/secrets/x}", "a${_X1}b"} {
		var doc yaml.Node
		if err := yaml.Unmarshal(full(t), &doc); err != nil {
			t.Fatal(err)
		}
		count := 0
		eachValue(doc.Content[0], func(n *yaml.Node) {
			before := *n
			n.Value, n.Style, n.Tag = reference, yaml.DoubleQuotedStyle, ""
			src, err := yaml.Marshal(&doc)
			if err != nil {
				t.Fatal(err)
			}
			v, ok := instance(string(src))
			if err := s.Validate(v); !ok || err != nil {
				t.Errorf("%s on line %d: %v", reference, n.Line, err)
			}
			*n = before
			count++
		})
		if count < 60 {
			t.Errorf("only %d scalars", count)
		}
	}
	for _, bad := range []string{"${}", "${1X}", "${X", "${file:}", "${A B}"} {
		if v, _ := instance(app + "server: { drain: \"" + bad + "\" }\n"); s.Validate(v) == nil {
			t.Errorf("%s is taken for a reference", bad)
		}
	}
}

// eachValue calls f for the scalars that are values.
func eachValue(n *yaml.Node, f func(*yaml.Node)) {
	for i, c := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 0:
		case c.Kind == yaml.ScalarNode:
			f(c)
		default:
			eachValue(c, f)
		}
	}
}

// TestSchemaTellsAll: an editor shows a text for every key, completes the words,
// and its defaults are what the schema itself accepts.
func TestSchemaTellsAll(t *testing.T) {
	doc, s := schema(t)
	sections := config.Reference()
	defs := doc["$defs"].(map[string]any)
	if len(defs) != len(sections) { // without the file itself, with reference
		t.Errorf("%d sections, %d definitions", len(sections), len(defs))
	}
	for _, sec := range sections {
		name := strings.NewReplacer(".*", "", "[]", "").Replace(sec.Name)
		def, compiled := doc, s
		if name != "" {
			def, compiled = defs[name].(map[string]any), subschema(s, name)
		}
		if def["description"] != sec.Doc || def["additionalProperties"] != false || compiled == nil {
			t.Errorf("section %q: %v", sec.Name, def)
			continue
		}
		for _, k := range sec.Keys {
			p := def["properties"].(map[string]any)[k.Name].(map[string]any)
			if text, _ := p["description"].(string); !strings.Contains(text, k.Doc) || !strings.Contains(text, k.What) {
				t.Errorf("%s.%s: %v", sec.Name, k.Name, p)
			}
			required, _ := def["required"].([]any)
			if k.Required != slices.Contains(required, any(k.Name)) {
				t.Errorf("%s.%s: required %v, in the schema %v", sec.Name, k.Name, k.Required, required)
			}
			for _, word := range k.Words {
				if err := compiled.Properties[k.Name].Validate(word); err != nil {
					t.Errorf("%s.%s: %s: %v", sec.Name, k.Name, word, err)
				}
			}
			if k.Default != "" {
				if err := compiled.Properties[k.Name].Validate(p["default"]); err != nil {
					t.Errorf("%s.%s: its default: %v", sec.Name, k.Name, err)
				}
			}
		}
	}
}

// subschema finds a definition that the schema reaches.
func subschema(s *jsonschema.Schema, name string) *jsonschema.Schema {
	seen := map[*jsonschema.Schema]bool{nil: true}
	var visit func(s *jsonschema.Schema) *jsonschema.Schema
	visit = func(s *jsonschema.Schema) *jsonschema.Schema {
		if seen[s] {
			return nil
		}
		seen[s] = true
		if strings.HasSuffix(s.Location, "#/$defs/"+name) {
			return s
		}
		next := []*jsonschema.Schema{s.Ref, s.Items2020}
		next = append(next, s.AnyOf...)
		for _, p := range s.Properties {
			next = append(next, p)
		}
		if more, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
			next = append(next, more)
		}
		for _, n := range next {
			if found := visit(n); found != nil {
				return found
			}
		}
		return nil
	}
	return visit(s)
}
