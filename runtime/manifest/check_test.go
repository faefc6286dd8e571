package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-dev/weft/runtime/manifest"
)

const schema = head + `config:
  type: object
  additionalProperties: false
  required: [greeting]
  properties:
    greeting: { type: string, minLength: 2, maxLength: 4, default: hi }
    count: { type: integer, minimum: 1, exclusiveMaximum: 10, multipleOf: 2 }
    color: { enum: [red, green] }
    one: { const: 1 }
    never: false
    tags: { type: array, uniqueItems: true, minItems: 1, maxItems: 3, items: { type: string, pattern: "^[a-z]+$" } }
    "a/b~c": { type: object, minProperties: 1, maxProperties: 2, additionalProperties: { type: boolean } }
    rule:
      oneOf:
        - { type: object, required: [kind, words], properties: { kind: { const: words } } }
        - { type: object, required: [kind, pattern], properties: { kind: { const: pattern } } }
    any: { anyOf: [ { type: string }, { type: integer } ] }
    two: { oneOf: [ { minimum: 1 }, { minimum: 2 } ] }
    not: { not: { const: 5 } }
    dep: { type: object, dependentRequired: { a: [b] }, propertyNames: { maxLength: 3 } }
    has: { contains: { const: x } }
    token: { type: string, writeOnly: true, minLength: 10, pattern: "^tok-" }
    pick: { writeOnly: true, enum: [s3cret-a, s3cret-b] }
    keys:
      writeOnly: true
      type: object
      additionalProperties: false
      properties: { a: { type: integer } }
    nested: { $ref: "#/$defs/nested" }
  $defs:
    nested: { properties: { pass: { writeOnly: true, type: string }, child: { $ref: "#/$defs/nested" } } }
`

func TestCheckConfig(t *testing.T) {
	m := parse(t, schema)
	for _, c := range []struct{ config, want string }{
		{`{"greeting":"你好"}`, ``},
		{`{"greeting":"你好","count":4,"color":"red","one":1.0,"tags":["a","b"],"a/b~c":{"x":true},"any":1,"two":1,"not":6,"has":["x"]}`, ``},
		{`{}`, `: lacks "greeting"`},
		{`{"greeting":"x","extra":1,"x/y":2}`, `
/extra: there is no such property
/greeting: must have at least 2 characters
/x~1y: there is no such property`},
		{`{"greeting":12345}`, `/greeting: must be string, and is number`},
		{`{"greeting":"abcde","count":0}`, `
/count: must be at least 1
/greeting: must have at most 4 characters`},
		{`{"greeting":"ab","count":10}`, `/count: must be under 10`},
		{`{"greeting":"ab","count":3}`, `/count: must be a multiple of 2`},
		{`{"greeting":"ab","count":2.5}`, `/count: must be integer, and is number`},
		{`{"greeting":"ab","color":"blue","one":2,"never":1}`, `
/color: must be one of "red", "green"
/never: must not be there
/one: must be 1`},
		{`{"greeting":"ab","tags":[]}`, `/tags: must have at least 1 items`},
		{`{"greeting":"ab","tags":["a","a","B","c"]}`, `
/tags/2: must match ^[a-z]+$
/tags: has the same item twice, at 0 and 1
/tags: must have at most 3 items`},
		{`{"greeting":"ab","a/b~c":{}}`, `/a~1b~0c: must have at least 1 properties`},
		{`{"greeting":"ab","a/b~c":{"x/y":1}}`, `/a~1b~0c/x~1y: must be boolean, and is number`},
		{`{"greeting":"ab","a/b~c":{"x":true,"y":true,"z":true}}`, `/a~1b~0c: must have at most 2 properties`},
		{`{"greeting":"ab","rule":{"kind":"pattern"}}`, `/rule: lacks "pattern"`},
		{`{"greeting":"ab","rule":{"kind":"other"}}`, `/rule: has none of the forms that the schema allows`},
		{`{"greeting":"ab","rule":1}`, `/rule: has none of the forms that the schema allows`},
		{`{"greeting":"ab","any":[]}`, `/any: has none of the forms that the schema allows`},
		{`{"greeting":"ab","two":2}`, `/two: has more than one of the forms of which the schema allows one`},
		{`{"greeting":"ab","not":5}`, `/not: has a form that the schema excludes`},
		{`{"greeting":"ab","dep":{"a":1}}`, `/dep: has "a", and lacks "b"`},
		{`{"greeting":"ab","dep":{"long":1}}`, `/dep: has a property "long", whose name the schema doesn't allow`},
		{`{"greeting":"ab","has":[]}`, `/has: lacks an item that the schema asks for`},
		{`{"greeting":"ab","token":"s3cret"}`, `
/token: must have at least 10 characters
/token: must match ^tok-`},
		{`{"greeting":"ab","pick":"s3cret"}`, `/pick: this secret is not what the schema says`},
		{`{"greeting":"ab","keys":{"s3cret":1}}`, `/keys: this secret is not what the schema says`},
		{`{"greeting":"ab","keys":{"a":"s3cret"}}`, `/keys: something in this secret is not what the schema says`},
		{`{"greeting":"ab","nested":{"child":{"pass":1}}}`, `/nested/child/pass: must be string, and is number`},
		{`[]`, `: the config must be an object`},
		{``, `: the config is not JSON`},
		{`{} {}`, `: the config is not JSON`},
		{`{"greeting":1e999999999}`, `: the config is nested deeper than 64, or has a number out of range`},
		{strings.Repeat("[", 100) + strings.Repeat("]", 100), `: the config is nested deeper than 64, or has a number out of range`},
	} {
		var lines []string
		for _, p := range m.CheckConfig([]byte(c.config)) {
			lines = append(lines, p.Pointer+": "+p.Text)
		}
		got, want := strings.Join(lines, "\n"), strings.TrimSpace(c.want)
		if sortLines(got) != sortLines(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.config, got, want)
		}
		if strings.Contains(got, "s3cret") {
			t.Errorf("%s: a secret in %s", c.config, got)
		}
	}
}

func sortLines(s string) string {
	out := strings.Split(s, "\n")
	for i := range out {
		for j := i + 1; j < len(out); j++ {
			if out[j] < out[i] {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return strings.Join(out, "\n")
}

func TestCheckConfigWithoutSchema(t *testing.T) {
	m := parse(t, head)
	if got := m.CheckConfig([]byte(`{"anything":[1]}`)); got != nil {
		t.Errorf("got %v", got)
	}
	if got := m.CheckConfig([]byte(`3`)); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

// TestCheckConfigIsBounded: a schema whose work doubles at each level, or that
// never ends, is refused before it is done.
func TestCheckConfigIsBounded(t *testing.T) {
	var chain strings.Builder
	chain.WriteString(head + "config:\n  $ref: '#/$defs/a0'\n  $defs:\n")
	for i := range 60 {
		fmt.Fprintf(&chain, "    a%d: { allOf: [ { $ref: '#/$defs/a%d' }, { $ref: '#/$defs/a%d' } ] }\n", i, i+1, i+1)
	}
	chain.WriteString("    a60: {}\n")
	levels := head + "config: { allOf: [ { properties: { x: { $ref: '#' } } }, { properties: { x: { $ref: '#' } } } ] }\n"
	deep := strings.Repeat(`{"x":`, 50) + "1" + strings.Repeat("}", 50)
	for name, c := range map[string]struct{ manifest, config, want string }{
		"doubling":        {chain.String(), `{}`, "takes too much work"},
		"doubling levels": {levels, deep, "takes too much work"},
		"endless":         {head + "config: { $ref: '#' }\n", `{}`, "refers to itself without end"},
		"unique":          {head + "config: { properties: { a: { uniqueItems: true } } }\n", `{"a":[` + strings.Repeat("1,", 2000) + `1]}`, "takes too much work"},
	} {
		got := parse(t, c.manifest).CheckConfig([]byte(c.config))
		if len(got) != 1 || !strings.Contains(got[0].Text, c.want) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestMask(t *testing.T) {
	m := parse(t, schema)
	in := `{"token":"s3cret","greeting":"<a>","keys":{"a":["s3cret"]},"n":9007199254740993,"nested":{"pass":"s3cret","child":{"pass":{"x":"s3cret"},"o":1}},"pick":null}`
	want := `{"greeting":"<a>","keys":"***","n":9007199254740993,"nested":{"child":{"o":1,"pass":"***"},"pass":"***"},"pick":"***","token":"***"}`
	got, err := m.Mask([]byte(in))
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	branches := parse(t, head+`config:
  properties:
    list: { type: array, prefixItems: [ { writeOnly: true } ], items: { if: { const: x }, then: { writeOnly: true } } }
  patternProperties: { "^p-": { anyOf: [ { type: integer }, { writeOnly: true } ] } }
  additionalProperties: { dependentSchemas: { a: { properties: { b: { writeOnly: true } } } } }
`)
	got, err = branches.Mask([]byte(`{"list":[1,2],"p-x":3,"other":{"b":4,"c":5}}`))
	if want := `{"list":["***","***"],"other":{"b":"***","c":5},"p-x":"***"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if _, err := m.Mask([]byte(`{`)); err == nil {
		t.Error("masked what isn't JSON")
	}
}

// TestFirstPartyManifests reads the plugins' own.
func TestFirstPartyManifests(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "plugins", "*", "plugin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Parse(f, src)
		if err != nil {
			t.Error(err)
		} else if m.Name != filepath.Base(filepath.Dir(f)) {
			t.Errorf("%s: its name is %s", f, m.Name)
		}
	}
}
