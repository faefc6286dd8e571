package config

import (
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
	version int
	now     time.Time
	config  *node
	answers Answers
	cases   []*caseDecl
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
				name: "upstreams", doc: "what upstreams of pipeline.yaml answer, by their names, or by NAME METHOD /path for what plugins fetch; one that is not here fails. In a plugin's cases the names are its own",
				value: to(cannedMap(), func(c *caseFileDecl) *map[string]*Canned { return &c.answers.Upstreams }),
			},
			{
				name: "wechat", doc: "what WeChat's API answers to plugins, by METHOD /path; a call that is not here fails",
				value: to(cannedCalls(), func(c *caseFileDecl) *map[string]*Canned { return &c.answers.WeChat }),
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
				name: "wechat", doc: "what WeChat's API answers, over the file's",
				value: to(cannedCalls(), func(c *caseDecl) *map[string]*Canned { return &c.WeChat }),
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
				name: "wechat", doc: "what WeChat's API answers, over the case's",
				value: to(cannedCalls(), func(e *CaseEvent) *map[string]*Canned { return &e.WeChat }),
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
				name: "asks", doc: "what others are asked, in order: NAME METHOD /path?query \"body\" for an upstream, the same of wechat; NAME alone for a forward",
				value: to(want(listOf("a list of texts", anyText(maxCaseDocument))), func(e *CaseEvent) **Want[[]string] { return &e.Asks }),
			},
			{
				name: "sends", doc: "the messages that plugins send by WeChat's API, POST /cgi-bin/message/…: none; asks says which",
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
			{
				name: "origin", def: string(OriginWeChat), doc: "wechat: a callback; identity: a login or a phone number of the host's own, its event login or phone",
				value: to(oneOf(OriginWeChat, OriginIdentity), func(e *ShortEvent) *Origin { return &e.Origin }),
			},
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
