package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Bounds of checking one config. A schema that applies itself twice at each
// level costs 2^depth, so the work is counted before it is done.
const (
	maxWork  = 2_000_000
	maxPairs = 500_000
)

// masked stands for a secret.
const masked = "***"

// survey is what a schema means for one config.
type survey struct {
	secrets map[string]bool // JSON pointers of values that are writeOnly
	work    map[pair]int    // schemas that checking a value with a schema runs through
	over    bool
	// named are the objects whose names a schema of propertyNames checks, by
	// that schema's location.
	named map[string][]object
}

// object is one at a pointer.
type object struct {
	at     string
	values map[string]any
}

// pair is a schema applied to the value at a pointer.
type pair struct {
	schema *jsonschema.Schema
	at     string
}

// look walks the config along the schema.
func look(schema *jsonschema.Schema, config any) (*survey, error) {
	s := &survey{secrets: map[string]bool{}, work: map[pair]int{}, named: map[string][]object{}}
	if n := s.walk(schema, config, ""); n > maxWork || s.over {
		return nil, errors.New("the config takes too much work to check: make it smaller, or the schema simpler")
	}
	return s, nil
}

// walk counts the schemas that apply to v and to what is in it, and notes the
// secrets. All branches count, taken or not.
func (s *survey) walk(schema *jsonschema.Schema, v any, at string) int {
	if schema == nil || s.over {
		return 0
	}
	key := pair{schema, at}
	if n, ok := s.work[key]; ok {
		return n
	}
	if len(s.work) >= maxPairs {
		s.over = true
		return 0
	}
	s.work[key] = 1 // for a schema that leads back here, which Validate reports
	if schema.WriteOnly {
		s.secrets[at] = true
	}
	sum := 1 + len(schema.Required)
	if schema.Enum != nil {
		sum += len(schema.Enum.Values)
	}
	add := func(sub *jsonschema.Schema, part any, where string) {
		sum = min(sum+s.walk(sub, part, where), maxWork+1)
	}
	inPlace(schema, func(sub *jsonschema.Schema) { add(sub, v, at) })
	switch v := v.(type) {
	case map[string]any:
		if names := schema.PropertyNames; names != nil {
			s.named[names.Location] = append(s.named[names.Location], object{at, v})
		}
		for name, part := range v {
			where := at + "/" + escape(name)
			property(schema, name, func(sub *jsonschema.Schema) { add(sub, part, where) })
		}
	case []any:
		if schema.UniqueItems { // compares each with each
			sum = min(sum+len(v)*len(v), maxWork+1)
		}
		for i, part := range v {
			where := at + "/" + strconv.Itoa(i)
			item(schema, i, func(sub *jsonschema.Schema) { add(sub, part, where) })
		}
	}
	s.work[key] = sum
	return sum
}

// inPlace calls f for the schemas that apply to the same value.
func inPlace(s *jsonschema.Schema, f func(*jsonschema.Schema)) {
	for _, sub := range []*jsonschema.Schema{s.Ref, s.Not, s.If, s.Then, s.Else} {
		f(sub)
	}
	for _, list := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf} {
		for _, sub := range list {
			f(sub)
		}
	}
	for _, sub := range s.DependentSchemas {
		f(sub)
	}
}

// property calls f for the schemas that apply to a property.
func property(s *jsonschema.Schema, name string, f func(*jsonschema.Schema)) {
	own, known := s.Properties[name]
	f(own)
	for re, sub := range s.PatternProperties {
		if re.MatchString(name) {
			known = true
			f(sub)
		}
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok && !known {
		f(sub)
	}
	f(s.UnevaluatedProperties)
}

// item calls f for the schemas that apply to an item.
func item(s *jsonschema.Schema, i int, f func(*jsonschema.Schema)) {
	if i < len(s.PrefixItems) {
		f(s.PrefixItems[i])
	} else {
		f(s.Items2020)
	}
	f(s.Contains)
	f(s.UnevaluatedItems)
}

// Mask returns a config, JSON, with "***" for every value that the schema says is
// writeOnly, fit to be shown. Keys come sorted. A branch of the schema that isn't
// taken masks, too.
func (m *Manifest) Mask(config []byte) ([]byte, error) {
	v, err := decode(config)
	if err != nil {
		return nil, fmt.Errorf("mask a config: it %w", err)
	}
	if m.schema != nil {
		s, err := look(m.schema, v)
		if err != nil {
			return nil, fmt.Errorf("mask a config: %w", err)
		}
		v = s.mask(v, "")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("mask a config: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (s *survey) mask(v any, at string) any {
	if s.secrets[at] {
		return masked
	}
	switch v := v.(type) {
	case map[string]any:
		for name, part := range v {
			v[name] = s.mask(part, at+"/"+escape(name))
		}
	case []any:
		for i, part := range v {
			v[i] = s.mask(part, at+"/"+strconv.Itoa(i))
		}
	}
	return v
}
