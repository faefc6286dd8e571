package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of a file of cases, beside those of every file.
const (
	maxCaseName     = 200
	maxCaseDocument = 1 << 20 // bytes of a callback
)

// caseFileDecl is a file of cases together with what its cases take from it.
type caseFileDecl struct {
	CaseFile
	version   int
	now       time.Time
	config    *node
	upstreams map[string]*Canned
	cases     []*caseDecl
}

// caseDecl is a case together with its config as it stands.
type caseDecl struct {
	Case
	config *node
}

func caseFileSection() section[caseFileDecl] {
	return section[caseFileDecl]{
		doc: "cases.yaml",
		keys: []key[caseFileDecl]{
			{
				name: "weft", required: true, doc: "the version of this file's format",
				value: to(integer(1, 1), func(c *caseFileDecl) *int { return &c.version }),
			},
			{
				name: "app", doc: "the app of pipeline.yaml that the events are for; left out: the cases are a plugin's",
				value: to(name(), func(c *caseFileDecl) *string { return &c.App }),
			},
			{
				name: "plugin", doc: "of a plugin's cases: its .wasm file; left out: the only one beside this file",
				value: to(sourceFile(), func(c *caseFileDecl) *string { return &c.Plugin }),
			},
			{
				name: "now", def: "2027-01-15T08:00:00Z", doc: "what the clock shows when a case begins",
				value: to(moment(), func(c *caseFileDecl) *time.Time { return &c.now }),
			},
			{
				name: "config", doc: "of a plugin's cases: its config",
				value: to(anyMapping(), func(c *caseFileDecl) **node { return &c.config }),
			},
			{
				name: "env", doc: "what ${NAME} in pipeline.yaml stands for; it goes before the environment",
				value: to(mapOf("a mapping of variables to texts", maybeText(MaxExpanded)), func(c *caseFileDecl) *map[string]string { return &c.Env }),
			},
			{
				name: "upstreams", doc: "what upstreams of pipeline.yaml answer, by their names; one that is not here fails",
				value: to(cannedMap(), func(c *caseFileDecl) *map[string]*Canned { return &c.upstreams }),
			},
			{
				name: "cases", required: true, doc: "one after another, each from its own beginning",
				value: to(caseList(), func(c *caseFileDecl) *[]*caseDecl { return &c.cases }),
			},
		},
	}
}

func caseSection() section[caseDecl] {
	return section[caseDecl]{
		name: "cases[]",
		doc:  "events that share a state",
		keys: []key[caseDecl]{
			{
				name: "name", required: true, doc: "what it shows; unique in the file",
				value: to(anyText(maxCaseName), func(c *caseDecl) *string { return &c.Name }),
			},
			{
				name: "app", doc: "the app; left out: the file's",
				value: to(name(), func(c *caseDecl) *string { return &c.App }),
			},
			{
				name: "now", doc: "what the clock shows when it begins; left out: the file's",
				value: to(moment(), func(c *caseDecl) *time.Time { return &c.Now }),
			},
			{
				name: "config", doc: "the plugin's config, in place of the file's",
				value: to(anyMapping(), func(c *caseDecl) **node { return &c.config }),
			},
			{
				name: "upstreams", doc: "what upstreams answer, over the file's",
				value: to(cannedMap(), func(c *caseDecl) *map[string]*Canned { return &c.Upstreams }),
			},
			{
				name: "given", doc: "the state at its beginning",
				value: to(stateKind(), func(c *caseDecl) *[]StateValue { return &c.Given }),
			},
			{
				name: "events", required: true, doc: "one after another",
				value: to(caseEventList(), func(c *caseDecl) *[]*CaseEvent { return &c.Events }),
			},
			{
				name: "state", doc: "what is kept at its end, by key: app:KEY or user:OPENID:KEY, null for nothing; other keys are not looked at",
				value: to(stateKind(), func(c *caseDecl) *[]StateValue { return &c.State }),
			},
		},
	}
}

func caseList() kind[[]*caseDecl] {
	elem := kind[*caseDecl]{
		shape: shape{form: "section", what: "a case", section: func() described { return caseSection() }},
		read: func(d *decoder, n *node) (*caseDecl, bool) {
			c := &caseDecl{Case: Case{Pos: n.pos}}
			return c, caseSection().decode(d, n, c)
		},
	}
	return atLeastOne("a list of cases", elem)
}

// atLeastOne is listOf without the empty list.
func atLeastOne[V any](what string, elem kind[V]) kind[[]V] {
	k := listOf(what, elem)
	k.shape.low = 1
	plain := k.read
	k.read = func(d *decoder, n *node) ([]V, bool) {
		if n.isNull() || n.kind == list && len(n.items) == 0 {
			d.add(n.from, "is empty", "it is "+what)
			return nil, false
		}
		return plain(d, n)
	}
	return k
}

// eventSources are the keys of which an event has exactly one.
func eventSources() []string { return []string{"event", "xml", "json", "recorded"} }

func caseEventSection() section[CaseEvent] {
	return section[CaseEvent]{
		name: "events[]",
		doc:  "one event, and what is expected of it: what is left out is not looked at",
		one:  eventSources(),
		keys: []key[CaseEvent]{
			{
				name: "after", doc: "what the clock goes on by before; left out: 1s in an app's cases, 0s in a plugin's",
				value: to(duration(time.Millisecond, 100*365*24*time.Hour, true), func(e *CaseEvent) *time.Duration { return &e.After }),
			},
			{
				name: "event", doc: "the event by fields of Event",
				value: to(nested("a mapping", shortEventSection), func(e *CaseEvent) **ShortEvent { return &e.Event }),
			},
			{
				name: "xml", doc: "the callback: <xml>… or the file that has it",
				value: to(documentKind('<'), func(e *CaseEvent) **CaseDocument { return &e.Document }),
			},
			{
				name: "json", doc: "the callback: {… as a text, or the file that has it",
				value: to(documentKind('{'), func(e *CaseEvent) **CaseDocument { return &e.Document }),
			},
			{
				name: "recorded", doc: "a callback of `weft test --record`",
				value: to(nested("a mapping", recordedSection), func(e *CaseEvent) **recordedDecl { return &e.recorded }),
			},
			{
				name: "upstreams", doc: "what upstreams answer, over the case's",
				value: to(cannedMap(), func(e *CaseEvent) *map[string]*Canned { return &e.Upstreams }),
			},
			{
				name: "reply", doc: "the answer: none, or the JSON of Reply; `raw: S` is short for the body as a text",
				value: to(replyWant(), func(e *CaseEvent) **ReplyWant { return &e.Reply }),
			},
			{
				name: "outcome", doc: "of a plugin: next, done or error; of an app's event: " + strings.Join(pipelineOutcomes(), ", "),
				value: to(want(oneOf(slices.Concat(pluginOutcomes(), pipelineOutcomes())...)), func(e *CaseEvent) **Want[string] { return &e.Outcome }),
			},
			{
				name: "annotations", doc: "all of them, by name",
				value: to(want(mapOf("a mapping of names to texts", maybeText(MaxExpanded))), func(e *CaseEvent) **Want[map[string]string] { return &e.Annotations }),
			},
			{
				name: "path", doc: "the stages that ran, in order: a name for one without an error, else a mapping",
				value: to(want(listOf("a list of stages", stepKind())), func(e *CaseEvent) **Want[[]StepWant] { return &e.Path }),
			},
			{
				name: "fuel", doc: "the most that all plugins' calls may use, in units of an instruction",
				value: to(want(integer[int64](1, 1_000_000_000_000)), func(e *CaseEvent) **Want[int64] { return &e.Fuel }),
			},
			{
				name: "sends", doc: "the messages that WeChat is sent: none, the only thing that can be yet",
				value: to(noSends(), func(e *CaseEvent) *bool { return &e.NoSends }),
			},
		},
	}
}

func pluginOutcomes() []string { return []string{"next", "done", "error"} }

func pipelineOutcomes() []string {
	return []string{"replied", "success", "late", "stopped", "queued", "again", "repeat"}
}

func caseEventList() kind[[]*CaseEvent] {
	elem := kind[*CaseEvent]{
		shape: shape{form: "section", what: "an event", section: func() described { return caseEventSection() }},
		read:  readCaseEvent,
	}
	return atLeastOne("a list of events", elem)
}

func readCaseEvent(d *decoder, n *node) (*CaseEvent, bool) {
	e := &CaseEvent{Pos: n.pos}
	if !caseEventSection().decode(d, n, e) {
		return nil, false
	}
	e.AfterSet = n.get("after") != nil
	if ev := n.get("event"); ev != nil && e.Event != nil {
		if ev.get("type") == nil && ev.get("event") != nil {
			e.Event.Type = "event"
		}
		e.Event.has = make(map[string]Pos, len(ev.entries))
		for _, en := range ev.entries {
			e.Event.has[en.key] = en.pos
		}
	}
	if r := e.recorded; r != nil {
		e.At, e.Document = r.at, r.body
		if e.AfterSet {
			d.add(n.at("after"), "a recorded event has its own time", "leave out after")
		}
	}
	var sources []string
	for _, k := range eventSources() {
		if n.get(k) != nil {
			sources = append(sources, k)
		}
	}
	switch {
	case len(sources) == 0:
		d.add(n.pos, "there is no event", "it has one of "+strings.Join(eventSources(), ", "))
	case len(sources) > 1:
		d.add(n.get(sources[1]).from, "an event is one of "+strings.Join(sources, " and "), "make two of it")
	}
	return e, true
}

func shortEventSection() section[ShortEvent] {
	str := func(name, doc string, at func(*ShortEvent) *string) key[ShortEvent] {
		return key[ShortEvent]{name: name, doc: doc, value: to(maybeText(MaxExpanded), at)}
	}
	return section[ShortEvent]{
		name: "events[].event",
		doc:  "an event by fields of Event in weft.proto",
		keys: []key[ShortEvent]{
			str("id", "the same id is the same event again; left out: one of its own", func(e *ShortEvent) *string { return &e.ID }),
			{
				name: "type", def: "text", doc: "MsgType; left out beside event: event",
				value: to(maybeText(1024), func(e *ShortEvent) *string { return &e.Type }),
			},
			str("event", "Event", func(e *ShortEvent) *string { return &e.Event }),
			str("key", "EventKey", func(e *ShortEvent) *string { return &e.Key }),
			str("content", "Content of a text", func(e *ShortEvent) *string { return &e.Content }),
			str("user", "whom it is about, an openid", func(e *ShortEvent) *string { return &e.User }),
			str("from", "FromUserName; left out: user", func(e *ShortEvent) *string { return &e.From }),
			str("to", "ToUserName", func(e *ShortEvent) *string { return &e.To }),
			str("scene", "of a QR code, without qrscene_", func(e *ShortEvent) *string { return &e.Scene }),
			str("msg_id", "MsgId", func(e *ShortEvent) *string { return &e.MsgID }),
			{
				name: "created", doc: "CreateTime, Unix seconds; left out: what the clock shows",
				value: to(integer[int64](0, 1<<53), func(e *ShortEvent) *int64 { return &e.Created }),
			},
			{
				name: "attempt", doc: "of a plugin's cases: 1, and more when it is run again",
				value: to(integer(1, 1<<31-1), func(e *ShortEvent) *int { return &e.Attempt }),
			},
			{
				name: "reply", doc: "of a plugin's cases: what earlier stages have set",
				value: to(replyKind(), func(e *ShortEvent) **Reply { return &e.Reply }),
			},
			{
				name: "fields", doc: "every other leaf of the callback by its name, such as List[0].TemplateId",
				value: to(textEntries(), func(e *ShortEvent) *[]NamedText { return &e.Fields }),
			},
			{
				name: "attrs", doc: "of a plugin's cases: annotations of earlier stages",
				value: to(textEntries(), func(e *ShortEvent) *[]NamedText { return &e.Attrs }),
			},
		},
	}
}

// recordedDecl is a recorded callback.
type recordedDecl struct {
	at   time.Time
	body *CaseDocument
}

func recordedSection() section[recordedDecl] {
	return section[recordedDecl]{
		name: "events[].recorded",
		doc:  "a callback of a running host, with personal data replaced",
		keys: []key[recordedDecl]{
			{
				name: "at", required: true, doc: "when it came",
				value: to(moment(), func(r *recordedDecl) *time.Time { return &r.at }),
			},
			{
				name: "body", required: true, doc: "the opened callback, XML or JSON",
				value: to(documentKind(0), func(r *recordedDecl) **CaseDocument { return &r.body }),
			},
		},
	}
}

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

func cannedMap() kind[map[string]*Canned] {
	elem := kind[*Canned]{
		shape: shape{form: "section", what: "an answer", section: func() described { return cannedSection() }},
		read: func(d *decoder, n *node) (*Canned, bool) {
			c := &Canned{Pos: n.pos}
			return c, cannedSection().decode(d, n, c)
		},
	}
	k := mapOf("a mapping of upstreams to answers", elem)
	k.shape.keys = nameForm.String()
	return k
}

func cannedSection() section[Canned] {
	return section[Canned]{
		name: "upstreams.*",
		doc:  "what an upstream answers",
		keys: []key[Canned]{
			{
				name: "status", def: "200", doc: "the HTTP status; any but 200, and 204 to JSON, is an error of the stage",
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

// maybeText reads any string of at most max bytes; nothing at all is "".
func maybeText(max int) kind[string] {
	k := single(shape{form: "string", what: fmt.Sprintf("a text of at most %d bytes", max), high: int64(max)}, false, func(s string) (string, error) {
		if len(s) > max {
			return "", fmt.Errorf("has %d bytes", len(s))
		}
		return s, nil
	})
	plain := k.read
	k.read = func(d *decoder, n *node) (string, bool) {
		if n.isNull() {
			return "", true
		}
		return plain(d, n)
	}
	return k
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
	s := shape{form: "string", what: "none, or a reply such as { text: hello }", words: []string{"none"}, other: []shape{k.shape}}
	body := anyText(maxReply)
	return kind[*ReplyWant]{shape: s, read: func(d *decoder, n *node) (*ReplyWant, bool) {
		switch {
		case n.kind == scalar && n.text == "none" && n.tag == tagStr:
			return &ReplyWant{Pos: n.pos}, true
		case n.kind == scalar && !n.unknown:
			d.add(n.pos, show(n.text)+" is neither none nor a reply", "for a text write { text: … }")
			return nil, false
		}
		if raw := n.get("raw"); raw != nil && raw.kind == scalar && len(n.entries) == 1 {
			s, ok := body.read(d, raw)
			return &ReplyWant{Pos: n.pos, Reply: &Reply{Raw: &Raw{Body: []byte(s)}}}, ok
		}
		r, ok := k.read(d, n)
		return &ReplyWant{Pos: n.pos, Reply: r}, ok
	}}
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
	s := shape{form: "map", what: "a mapping of keys to values", elem: &shape{form: "any", what: "a text, { base64: … } or null"}}
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
	case n.kind == mapping && len(n.entries) == 1 && n.entries[0].key == "base64" && n.entries[0].value.kind == scalar:
		b, err := base64.StdEncoding.DecodeString(n.entries[0].value.text)
		if err != nil {
			d.add(n.pos, "base64 is not base64", "")
			return list
		}
		v.Value = append([]byte{}, b...)
	case n.kind == scalar:
		v.Value = append([]byte{}, n.text...)
	default:
		d.add(n.pos, "must be a text, { base64: … } or null, and is "+n.kind.String(), "")
		return list
	}
	return append(list, v)
}
