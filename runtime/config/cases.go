package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// CaseFile is a checked file of cases: of an app's pipeline, or of a plugin.
type CaseFile struct {
	App    string // of pipeline.yaml; "": the cases are a plugin's
	Plugin string // of a plugin's: its .wasm file, as a path; "": the only one beside the file
	Env    map[string]string
	Cases  []*Case // at least one, in the order of the file
}

// Case is a sequence of events that share a state.
type Case struct {
	Pos     Pos
	Name    string // unique in its file
	App     string // the file's where the case has none
	Now     time.Time
	Config  PluginConfig // of a plugin's case; its own or the file's, {} where there is none
	Answers              // the file's with its own over them
	Given   []StateValue // what is kept when the case begins
	Events  []*CaseEvent // at least one
	State   []StateValue // what is kept at its end; what is not named is not looked at
}

// CaseEvent is one event and what is expected of it. What is nil or empty is not
// looked at.
type CaseEvent struct {
	Pos      Pos
	After    time.Duration // what the clock goes on by before; AfterSet: the file says so
	AfterSet bool
	At       time.Time // what the clock shows then; zero: After counts
	Event    *ShortEvent
	Document *CaseDocument
	Answers  // the case's with its own over them

	Reply       *ReplyWant
	Outcome     *Want[string]
	Annotations *Want[map[string]string]
	Path        *Want[[]StepWant]
	Fuel        *Want[int64] // an upper bound
	NoSends     bool         // no message is sent to WeChat
	// Asks is what others are asked in order, in words: NAME METHOD /path?query "body"
	// for an upstream, the same of wechat, and NAME alone for a forward.
	Asks *Want[[]string]

	recorded *recordedDecl
}

// Recorded tells whether the event is one of a recording.
func (e *CaseEvent) Recorded() bool { return e.recorded != nil }

// Answers are what is answered in the place of others.
type Answers struct {
	// Upstreams are by NAME, or by NAME METHOD /path for what plugins fetch from it,
	// METHOD and patterns of paths as in grants.api; those go before that of NAME.
	// NAME is that of pipeline.yaml; in a plugin's cases the plugin's own.
	Upstreams map[string]*Canned
	WeChat    map[string]*Canned // of WeChat's API, by METHOD /path likewise
}

// over gives base's with own's in their place.
func (own Answers) over(base Answers) Answers {
	return Answers{over(base.Upstreams, own.Upstreams), over(base.WeChat, own.WeChat)}
}

// Want is something expected, and where the file says so.
type Want[T any] struct {
	Pos   Pos
	Value T
}

// ReplyWant is the reply that is expected.
type ReplyWant struct {
	Pos   Pos
	Reply *Reply // nil: none
}

// StepWant is a stage that is expected to have run. Without Error and OnError it
// has run without an error; where only one of them is there the other is not
// looked at.
type StepWant struct {
	Stage   string
	Side    string
	Error   string // the reason
	OnError string // what followed
}

// StateValue is a value under a key of state.
type StateValue struct {
	Pos    Pos
	Plugin string // "" in a plugin's case
	User   string // "": of the app
	Key    string
	Value  []byte // nil: there is none
}

// ShortEvent is an event by the fields of Event in weft.proto. Which of them the
// file has says Has.
type ShortEvent struct {
	ID, Type, Event, Key, Content, User, From, To, Scene, MsgID string

	Origin Origin

	Created int64
	Attempt int
	Reply   *Reply
	Fields  []NamedText // in the order of the file
	Attrs   []NamedText
	has     map[string]Pos
}

// Has gives the place of a field that the file names.
func (e *ShortEvent) Has(field string) (Pos, bool) {
	pos, ok := e.has[field]
	return pos, ok
}

// Origin is where an event of a case comes from, as in Event.origin of weft.proto.
type Origin string

// The origins that a case can have.
const (
	OriginWeChat   Origin = "wechat"
	OriginIdentity Origin = "identity" // a login or a phone number, which the host tells itself
)

// NamedText is a field of a callback, or an annotation.
type NamedText struct{ Name, Value string }

// CaseDocument is a callback as WeChat has it, before it is sealed.
type CaseDocument struct {
	Pos  Pos
	Text string
	File string // a path, where Text is ""
}

// Canned is what an upstream answers in a case.
type Canned struct {
	Pos    Pos
	Status int
	Type   string // Content-Type
	Body   string
}

// ParseCases reads a file of cases. file is its path, for positions and as the
// place that relative paths start from. ${…} in it stands for itself. Its bounds
// and Problems are those of Parse; the CaseFile is nil where Problems.Err is not
// nil.
func ParseCases(file string, src []byte) (*CaseFile, Problems) {
	d := newDecoder(file, Options{}, new(usage))
	d.expand.literal = true
	var out *CaseFile
	if root := d.readYAML(src); root != nil {
		out = d.cases(root)
	}
	problems := d.finish()
	if problems.Err() != nil {
		return nil, problems
	}
	return out, problems
}

// cases decodes the file and fills in what cases take from it.
func (d *decoder) cases(root *node) *CaseFile {
	doc := new(caseFileDecl)
	if !caseFileSection().decode(d, root, doc) {
		return nil
	}
	names := map[string]int{}
	for _, c := range doc.cases {
		if line, double := names[c.Name]; double && c.Name != "" {
			d.addAt(c.Pos, "case "+show(c.Name)+" is there twice, first on line "+strconv.Itoa(line), "give each a name of its own")
		}
		names[c.Name] = c.Pos.Line
		if c.Now.IsZero() {
			c.Now = doc.now
		}
		if c.App == "" {
			c.App = doc.App
		}
		c.Answers = c.over(doc.answers)
		for _, ev := range c.Events {
			ev.Answers = ev.over(c.Answers)
		}
		config := c.config
		if config == nil {
			config = doc.config
		}
		d.caseConfig(&c.Case, config)
		doc.Cases = append(doc.Cases, &c.Case)
	}
	d.caseKinds(doc, root)
	return &doc.CaseFile
}

// over returns base with the upstreams of own in place of its.
func over(base, own map[string]*Canned) map[string]*Canned {
	if len(own) == 0 {
		return base
	}
	out := make(map[string]*Canned, len(base)+len(own))
	for _, m := range []map[string]*Canned{base, own} {
		for name, c := range m {
			out[name] = c
		}
	}
	return out
}

// caseConfig gives a case its config.
func (d *decoder) caseConfig(c *Case, root *node) {
	if d.used.json > MaxConfigs { // said where it happened
		return
	}
	decl := &pluginDecl{Plugin: Plugin{Pos: c.Pos}, config: root}
	merged, err := d.pluginConfig(decl, entry{})
	if err != nil {
		d.addAt(merged.Pos, "the config: "+err.Error(), "")
	}
	if d.used.json > MaxConfigs {
		d.addAt(c.Pos, "the configs of all cases together are over "+strconv.Itoa(MaxConfigs)+" bytes", "write one for the file")
	}
	c.Config = merged
}

// caseKinds holds the cases against what they are of: an app or a plugin.
func (d *decoder) caseKinds(doc *caseFileDecl, root *node) {
	plugin, foreign := doc.App == "", []string{"plugin", "config"}
	if plugin {
		foreign = []string{"env", "app"}
	}
	d.foreign(root, plugin, foreign)
	if list := root.get("cases"); list != nil {
		for _, item := range list.items {
			d.foreign(item, plugin, foreign)
		}
	}
	for _, c := range doc.Cases {
		for _, v := range slices.Concat(c.Given, c.State) {
			switch {
			case plugin && v.Plugin != "":
				d.addAt(v.Pos, "a plugin's cases name no plugin in a state", "write the keys at once")
			case !plugin && v.Plugin == "":
				d.addAt(v.Pos, "the state of which plugin?", "write NAME: { "+show(v.Key)+": … }")
			}
		}
		for _, ev := range c.Events {
			d.caseEventKind(ev, plugin)
		}
	}
}

// foreign refuses keys that the cases of the other kind have.
func (d *decoder) foreign(n *node, plugin bool, keys []string) {
	for _, key := range keys {
		if v := n.get(key); v != nil {
			d.foreignAt(v.from, plugin, key)
		}
	}
}

func (d *decoder) foreignAt(pos Pos, plugin bool, key string) {
	if plugin {
		d.addAt(pos, key+" goes with the cases of an app", "name the app at the top: app: NAME")
	} else {
		d.addAt(pos, key+" goes with the cases of a plugin", "leave it out, or leave out app at the top")
	}
}

// caseEventKind does so for one event.
func (d *decoder) caseEventKind(ev *CaseEvent, plugin bool) {
	words := pipelineOutcomes()
	if plugin {
		words = pluginOutcomes()
		if ev.Path != nil {
			d.foreignAt(ev.Path.Pos, plugin, "path")
		}
	}
	if ev.Outcome != nil && !slices.Contains(words, ev.Outcome.Value) {
		d.addAt(ev.Outcome.Pos, "outcome is "+show(ev.Outcome.Value), "here it is one of "+strings.Join(words, ", "))
	}
	if ev.Event == nil || plugin {
		return
	}
	for _, field := range []string{"id", "attempt", "reply", "attrs"} {
		if pos, ok := ev.Event.Has(field); ok {
			d.addAt(pos, field+" is made by the host, from the callback", "leave it out; the same event once more has the same msg_id, and after: 0s")
		}
	}
}
