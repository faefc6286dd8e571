package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// schemaObject is an object of a JSON Schema.
type schemaObject = map[string]any

// referenceForm is a scalar that has a ${…} in it.
const referenceForm = `\$\{([A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?|file:[^}]+)\}`

// Schema returns the JSON Schema 2020-12 of pipeline.yaml, indented, made from
// the table that Parse reads by. It is the schema of included files, too. It
// accepts what Parse accepts, with ${…} as it stands in the file. What it can't
// say, and Parse does: ranges of durations and of sizes with a unit, what hangs on
// more than one value, and that an included file has fewer keys.
func Schema() ([]byte, error) {
	w := schemaWriter{defs: schemaObject{
		"reference": schemaObject{
			"description": "a value from the environment or from a file: ${NAME}, ${NAME:-default} or ${file:PATH}",
			"type":        "string", "pattern": referenceForm,
		},
	}}
	root := w.section(documentSection())
	for name, value := range root["properties"].(schemaObject) {
		if p := value.(schemaObject); !slices.Contains(includedKeys(), name) {
			p["description"] = fmt.Sprint(p["description"], "\nIn the root file only.")
		}
	}
	return w.write(root, "pipeline.yaml")
}

// CaseSchema returns the JSON Schema 2020-12 of files of cases, indented, made
// from the table that ParseCases reads by. It accepts what ParseCases accepts. What
// it can't say, and ParseCases does, is what hangs on more than one value, and the
// ranges of durations.
func CaseSchema() ([]byte, error) {
	w := schemaWriter{defs: schemaObject{}, literal: true}
	return w.write(w.section(caseFileSection()), "cases.yaml")
}

// write writes a schema with what it refers to.
func (w schemaWriter) write(root schemaObject, title string) ([]byte, error) {
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = title
	root["$defs"] = w.defs
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return b.Bytes(), nil
}

// schemaWriter collects the schemas of sections; each is written once.
type schemaWriter struct {
	defs    schemaObject
	literal bool // ${…} stands for itself
}

// section is the schema of a mapping with fixed keys.
func (w schemaWriter) section(sec described) schemaObject {
	doc, shapes := sec.describe()
	properties := make(schemaObject, len(doc.Keys))
	var required []string
	for i, k := range doc.Keys {
		value := w.value(shapes[i])
		value["description"] = k.Doc + "\nIt is " + k.What + "."
		if k.Default != "" {
			value["default"] = defaultValue(k.Default)
		}
		if k.Required {
			required = append(required, k.Name)
		}
		properties[k.Name] = value
	}
	out := schemaObject{"description": doc.Doc, "type": "object", "properties": properties, "additionalProperties": false}
	switch {
	case len(required) > 0:
		out["required"] = required
	case doc.One == nil:
		out["type"] = []string{"object", "null"}
	}
	switch {
	case doc.One == nil:
	case len(doc.One) == len(doc.Keys):
		out["minProperties"], out["maxProperties"] = 1, 1
	default:
		var one []any
		for _, name := range doc.One {
			one = append(one, schemaObject{"required": []string{name}})
		}
		out["oneOf"] = one
	}
	return out
}

// refer is a reference to the schema of a section, which it writes where it isn't
// there yet.
func (w schemaWriter) refer(sec described) schemaObject {
	doc, _ := sec.describe()
	name := strings.NewReplacer(".*", "", "[]", "").Replace(doc.Name)
	if _, ok := w.defs[name]; !ok {
		w.defs[name] = nil // for a section that leads back to itself
		w.defs[name] = w.section(sec)
	}
	return schemaObject{"$ref": "#/$defs/" + name}
}

// value is the schema of a value.
func (w schemaWriter) value(s shape) schemaObject {
	var forms []any
	switch s.form {
	case "section":
		return w.refer(s.section())
	case "any":
		return schemaObject{"type": []string{"object", "null"}}
	case "null":
		return schemaObject{"type": "null"}
	case "map":
		out := schemaObject{"type": []string{"object", "null"}, "additionalProperties": w.value(*s.elem)}
		if s.keys != "" {
			out["propertyNames"] = schemaObject{"pattern": s.keys}
		}
		if s.high > 0 {
			out["maxProperties"] = s.high
		}
		return out
	case "list":
		return listSchema(s, w.value(*s.elem))
	case "integer":
		forms = []any{bounded(schemaObject{"type": "integer"}, s, "minimum", "maximum"), schemaObject{"type": "string", "pattern": `^[+-]?[0-9]+$`}}
	case "size":
		forms = []any{schemaObject{"type": "string", "pattern": s.pattern}, bounded(schemaObject{"type": "integer"}, s, "minimum", "maximum")}
	case "percent":
		forms = []any{schemaObject{"type": "string", "pattern": s.pattern}, schemaObject{"type": "number", "minimum": float64(s.low) / 1000, "maximum": 100}}
	case "duration":
		forms = []any{schemaObject{"type": "string", "pattern": s.pattern}}
		if s.accepts("0") {
			forms = append(forms, schemaObject{"const": 0})
		}
	case "boolean":
		forms = []any{schemaObject{"type": "boolean"}, schemaObject{"type": "string", "pattern": `^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$`}}
	default:
		forms = []any{stringSchema(s)}
	}
	if !w.literal {
		forms = append(forms, schemaObject{"$ref": "#/$defs/reference"})
	}
	for _, o := range s.other {
		forms = append(forms, w.value(o))
	}
	return schemaObject{"anyOf": forms}
}

// stringSchema is the schema of a text. Many a text may also be written without
// quotes where YAML then reads a number or a boolean.
func stringSchema(s shape) schemaObject {
	if s.words != nil {
		return schemaObject{"enum": s.words}
	}
	types := []string{"string"}
	for _, alike := range [][2]string{{"1", "number"}, {"true", "boolean"}} {
		if s.accepts != nil && s.accepts(alike[0]) {
			types = append(types, alike[1])
		}
	}
	out := bounded(schemaObject{"type": types}, s, "minLength", "maxLength") // of characters: a bound of bytes is a looser one of these
	if s.pattern != "" {
		out["pattern"] = s.pattern
	}
	return out
}

// listSchema is the schema of a list.
func listSchema(s shape, elem schemaObject) schemaObject {
	out := bounded(schemaObject{"type": []string{"array", "null"}, "items": elem}, s, "minItems", "maxItems")
	if s.low > 0 {
		out["type"] = "array"
	}
	return out
}

// bounded adds the bounds of a shape, where it has some, under their names.
func bounded(out schemaObject, s shape, low, high string) schemaObject {
	if s.low != 0 {
		out[low] = s.low
	}
	if s.high != 0 {
		out[high] = s.high
	}
	return out
}

// defaultValue is a default as JSON has it.
func defaultValue(text string) any {
	switch resolve(text) {
	case tagInt:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	case tagBool:
		return text == "true"
	}
	return text
}
