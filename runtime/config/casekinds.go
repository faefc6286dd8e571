package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// documentKind reads a callback that begins with first, or the name of its file;
// 0: it is always a callback.
func documentKind(first byte) kind[*CaseDocument] {
	what := "a callback of 1 to 1048576 bytes"
	if first != 0 {
		what += " that begins with " + string(first) + ", or the file that has it"
	}
	inner := single(shape{form: "string", what: what}, false, func(s string) (string, error) {
		switch {
		case strings.TrimSpace(s) == "":
			return "", errors.New("is empty")
		case len(s) > maxCaseDocument:
			return "", fmt.Errorf("has %d bytes", len(s))
		}
		return s, nil
	})
	return kind[*CaseDocument]{shape: inner.shape, read: func(d *decoder, n *node) (*CaseDocument, bool) {
		s, ok := inner.read(d, n)
		doc := &CaseDocument{Pos: n.pos, Text: s}
		if ok && first != 0 && strings.TrimSpace(s)[0] != first {
			doc.Text, doc.File = "", d.relative(s)
		}
		return doc, ok
	}}
}

// cannedElem reads one answer.
func cannedElem() kind[*Canned] {
	return kind[*Canned]{
		shape: shape{form: "section", what: "an answer", section: func() described { return cannedSection() }},
		read: func(d *decoder, n *node) (*Canned, bool) {
			c := &Canned{Pos: n.pos}
			return c, cannedSection().decode(d, n, c)
		},
	}
}

// cannedCalls reads answers by calls of WeChat's API.
func cannedCalls() kind[map[string]*Canned] {
	return byPattern("a mapping of WeChat's paths to answers", cannedElem())
}

// cannedForm is an upstream, alone or with a request.
var cannedForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}( ((GET|HEAD|POST|PUT|PATCH|DELETE) )?(/[A-Za-z0-9._~*-]+)+)?$`)

func cannedMap() kind[map[string]*Canned] {
	k := mapOf("a mapping of upstreams to answers", cannedElem())
	k.shape.keys = cannedForm.String()
	plain := k.read
	k.read = func(d *decoder, n *node) (map[string]*Canned, bool) {
		for _, e := range n.entries {
			if !cannedForm.MatchString(e.key) {
				d.add(e.pos, show(e.key)+" is not an upstream, or one with a request such as orders GET /orders/*", "")
			}
		}
		return plain(d, n)
	}
	return k
}

func cannedSection() section[Canned] {
	return section[Canned]{
		name: "upstreams.*",
		doc:  "what an upstream answers",
		keys: []key[Canned]{
			{
				name: "status", def: "200", doc: "the HTTP status; to a forward any but 200, and 204 to JSON, is an error of the stage",
				value: to(integer(200, 599), func(c *Canned) *int { return &c.Status }),
			},
			{
				name: "type", doc: "Content-Type",
				value: to(maybeText(1024), func(c *Canned) *string { return &c.Type }),
			},
			{
				name: "body", doc: "the answer's body",
				value: to(maybeText(maxCaseDocument), func(c *Canned) *string { return &c.Body }),
			},
		},
	}
}

// maybeText reads any string of at most max bytes.
func maybeText(max int) kind[string] {
	return single(shape{form: "string", what: fmt.Sprintf("a text of at most %d bytes", max), high: int64(max)}, false, func(s string) (string, error) {
		if len(s) > max {
			return "", fmt.Errorf("has %d bytes", len(s))
		}
		return s, nil
	})
}

// textEntries reads a mapping of names to texts, in the order of the file.
func textEntries() kind[[]NamedText] {
	elem := maybeText(MaxExpanded)
	return kind[[]NamedText]{shape: shape{form: "map", what: "a mapping of names to texts", elem: &elem.shape}, read: func(d *decoder, n *node) ([]NamedText, bool) {
		switch {
		case n.unknown || n.isNull():
			return nil, false
		case n.kind != mapping:
			d.add(n.pos, "must be a mapping of names to texts, and is "+n.kind.String(), "")
			return nil, false
		}
		var out []NamedText
		for _, e := range n.entries {
			d.push(e.key)
			if v, ok := elem.read(d, e.value); ok {
				out = append(out, NamedText{e.key, v})
			}
			d.pop()
		}
		return out, true
	}}
}

// want keeps the place of what is expected.
func want[T any](k kind[T]) kind[*Want[T]] {
	return kind[*Want[T]]{shape: k.shape, read: func(d *decoder, n *node) (*Want[T], bool) {
		v, ok := k.read(d, n)
		return &Want[T]{Pos: n.pos, Value: v}, ok
	}}
}

// replyWant reads a reply, or the word none.
func replyWant() kind[*ReplyWant] {
	k := replyKind()
	s := shape{form: "string", what: "none, or a reply such as { text: hello }", words: []string{"none"}, other: []shape{k.shape, {form: "section", what: "a mapping", section: func() described { return rawTextSection() }}}}
	return kind[*ReplyWant]{shape: s, read: func(d *decoder, n *node) (*ReplyWant, bool) {
		switch {
		case n.kind == scalar && n.text == "none" && n.tag == tagStr:
			return &ReplyWant{Pos: n.pos}, true
		case n.kind == scalar && !n.unknown:
			d.add(n.pos, show(n.text)+" is neither none nor a reply", "for a text write { text: … }")
			return nil, false
		}
		if raw := n.get("raw"); raw != nil && raw.kind == scalar && len(n.entries) == 1 {
			body := new(Raw)
			ok := rawTextSection().decode(d, n, body)
			return &ReplyWant{Pos: n.pos, Reply: &Reply{Raw: body}}, ok
		}
		r, ok := k.read(d, n)
		return &ReplyWant{Pos: n.pos, Reply: r}, ok
	}}
}

// rawTextSection is a raw reply whose body is a text.
func rawTextSection() section[Raw] {
	asText := anyText(maxReply)
	return section[Raw]{
		name: "reply.raw-text", doc: "the answer as it stands, as a text",
		keys: []key[Raw]{{
			name: "raw", required: true, doc: "the answer",
			value: to(kind[[]byte]{shape: asText.shape, read: func(d *decoder, n *node) ([]byte, bool) {
				s, ok := asText.read(d, n)
				return []byte(s), ok
			}}, func(r *Raw) *[]byte { return &r.Body }),
		}},
	}
}

// noSends reads none, or an empty list.
func noSends() kind[bool] {
	s := shape{form: "string", what: "none", words: []string{"none"}, other: []shape{{form: "list", what: "an empty list", elem: &shape{form: "any"}}}}
	return kind[bool]{shape: s, read: func(d *decoder, n *node) (bool, bool) {
		if n.kind == scalar && n.text == "none" || n.kind == list && len(n.items) == 0 {
			return true, true
		}
		d.add(n.pos, "the host sends no messages yet", "write sends: none, or leave it out")
		return false, false
	}}
}

func stepKind() kind[StepWant] {
	plain := anyText(maxCaseName)
	s := plain.shape
	s.what, s.other = "the name of a stage, or a mapping", []shape{{form: "section", what: "a mapping", section: func() described { return stepSection() }}}
	return kind[StepWant]{shape: s, read: func(d *decoder, n *node) (StepWant, bool) {
		var w StepWant
		if n.kind != mapping {
			stage, ok := plain.read(d, n)
			w.Stage = stage
			return w, ok
		}
		ok := stepSection().decode(d, n, &w)
		return w, ok
	}}
}

func stepSection() section[StepWant] {
	return section[StepWant]{
		name: "path[]",
		doc:  "a stage that ran: without an error, where neither error nor on_error is there",
		keys: []key[StepWant]{
			{
				name: "stage", required: true, doc: "its name",
				value: to(anyText(maxCaseName), func(s *StepWant) *string { return &s.Stage }),
			},
			{
				name: "side", doc: "instead: the plugin of its on_error ran",
				value: to(anyText(maxCaseName), func(s *StepWant) *string { return &s.Side }),
			},
			{
				name: "error", doc: "the error's reason, as in weft_stage_errors_total",
				value: to(anyText(maxCaseName), func(s *StepWant) *string { return &s.Error }),
			},
			{
				name: "on_error", doc: "what followed the error",
				value: to(oneOf(slices.Concat(onErrorWords(), []string{string(GiveReply), string(Instead)})...), func(s *StepWant) *string { return &s.OnError }),
			},
		},
	}
}

// stateKind reads values of state: by key in a plugin's cases, else by plugin and
// key.
func stateKind() kind[[]StateValue] {
	value := maybeText(MaxExpanded).shape
	value.other = []shape{
		{form: "null"},
		{form: "section", what: "a mapping", section: func() described { return stateBytesSection() }},
	}
	member := value
	member.other = append(value.other[:2:2], shape{form: "map", what: "a mapping of keys to values", elem: &value})
	s := shape{form: "map", what: "a mapping of keys to values", elem: &member}
	return kind[[]StateValue]{shape: s, read: func(d *decoder, n *node) ([]StateValue, bool) {
		switch {
		case n.unknown || n.isNull():
			return nil, false
		case n.kind != mapping:
			d.add(n.pos, "must be "+s.what+", and is "+n.kind.String(), "")
			return nil, false
		}
		var out []StateValue
		for _, e := range n.entries {
			d.push(e.key)
			if e.value.kind == mapping && !isStateKey(e.key) {
				for _, inner := range e.value.entries {
					d.push(inner.key)
					out = d.stateValue(out, e.key, inner)
					d.pop()
				}
			} else {
				out = d.stateValue(out, "", e)
			}
			d.pop()
		}
		return out, true
	}}
}

// stateBytesSection is a value of state that is no text.
func stateBytesSection() section[StateValue] {
	return section[StateValue]{
		name: "state.bytes", doc: "a value that is no text",
		keys: []key[StateValue]{{
			name: "base64", required: true, doc: "the bytes",
			value: to(base64Kind(), func(v *StateValue) *[]byte { return &v.Value }),
		}},
	}
}

func isStateKey(key string) bool {
	return strings.HasPrefix(key, "app:") || strings.HasPrefix(key, "user:")
}

// stateValue adds one value of a plugin's state to list.
func (d *decoder) stateValue(list []StateValue, plugin string, e entry) []StateValue {
	v := StateValue{Pos: e.pos, Plugin: plugin}
	if rest, ok := strings.CutPrefix(e.key, "user:"); ok {
		v.User, v.Key, ok = strings.Cut(rest, ":")
		if !ok || v.User == "" {
			v.Key = ""
		}
	} else {
		v.Key, _ = strings.CutPrefix(e.key, "app:")
		if v.Key == e.key {
			v.Key = ""
		}
	}
	if v.Key == "" {
		d.add(e.pos, "is not a key of state", "write app:KEY or user:OPENID:KEY")
		return list
	}
	switch n := e.value; {
	case n.isNull():
	case n.kind == mapping:
		if !stateBytesSection().decode(d, n, &v) {
			return list
		}
	case n.kind == scalar:
		v.Value = append([]byte{}, n.text...)
	default:
		d.add(n.pos, "must be a text, { base64: … } or null, and is "+n.kind.String(), "")
		return list
	}
	return append(list, v)
}
