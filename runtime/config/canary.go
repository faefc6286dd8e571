package config

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"time"
)

// canaryDecl is a canary with the nodes that it came from.
type canaryDecl struct {
	Canary
	rollback *Rollback
	apps     []*node
}

func canarySection() section[canaryDecl] {
	return section[canaryDecl]{
		name: "canary",
		doc:  "gives some of a stage's events to another plugin",
		keys: []key[canaryDecl]{
			{
				name: "to", required: true, doc: "the plugin that gets them",
				value: pluginTarget[canaryDecl]{func(c *canaryDecl) **Plugin { return &c.To }},
			},
			{
				name: "apps", doc: "apps all of whose events it gets",
				value: to(listOf("a list of names of apps", reference("the name of an app")), func(c *canaryDecl) *[]*node { return &c.apps }),
			},
			{
				name: "users", doc: "users, by their openids, all of whose events it gets",
				value: to(listOf("a list of openids", anyText(128)), func(c *canaryDecl) *[]string { return &c.Users }),
			},
			{
				name: "percent", def: "0", doc: "the share of all other users whose events it gets, always the same ones",
				value: to(percent(0), func(c *canaryDecl) *Percent { return &c.Percent }),
			},
			{
				name: "rollback", doc: "when all goes back to the stage's plugin; each key that is left out is the default",
				value: to(nested("a mapping", rollbackSection), func(c *canaryDecl) **Rollback { return &c.rollback }),
			},
		},
	}
}

func rollbackSection() section[Rollback] {
	return section[Rollback]{
		name: "canary.rollback",
		doc:  "when a canary ends by itself",
		keys: []key[Rollback]{
			{
				name: "errors", def: "5%", doc: "the share of its events that fail, busy ones not counted",
				value: to(percent(1), func(r *Rollback) *Percent { return &r.Errors }),
			},
			{
				name: "min_events", def: "100", doc: "how many events it must have had in the window",
				value: to(integer(1, 1_000_000), func(r *Rollback) *int { return &r.MinEvents }),
			},
			{
				name: "window", def: "10m", doc: "what counts: its events of so long, up to now",
				value: to(duration(time.Second, 24*time.Hour, false), func(r *Rollback) *time.Duration { return &r.Window }),
			},
		},
	}
}

func canaryKind() kind[*Canary] {
	inner := nested("a mapping", canarySection)
	return kind[*Canary]{shape: inner.shape, read: func(d *decoder, n *node) (*Canary, bool) {
		if n.unknown {
			return nil, false
		}
		c, ok := inner.read(d, n)
		if !ok {
			return nil, false
		}
		c.Pos = n.from
		if c.rollback == nil {
			c.rollback = new(Rollback)
			d.push("rollback")
			rollbackSection().decode(d, &node{pos: n.from, from: n.from, kind: mapping}, c.rollback)
			d.pop()
		}
		c.Rollback = *c.rollback
		for _, app := range c.apps {
			d.canaryRefs = append(d.canaryRefs, canaryRef{node: app, path: d.where() + ".apps", canary: &c.Canary})
		}
		if n.get("to") != nil && n.empty("percent", "0", "0%") && n.empty("apps") && n.empty("users") {
			d.warn(c.Pos, d.where()+": gives plugin "+n.get("to").label()+" no event", "give percent, apps or users")
		}
		return &c.Canary, true
	}}
}

// label is a scalar as it is named in a text; "…" where there is none to name.
func (n *node) label() string {
	if n == nil || n.kind != scalar || n.expanded || n.unknown {
		return "…"
	}
	return show(n.text)
}

// empty tells whether a key has no value, an empty one or one of words.
func (n *node) empty(key string, words ...string) bool {
	v := n.get(key)
	if v == nil || v.isNull() || v.kind == list && len(v.items) == 0 {
		return true
	}
	if v.kind != scalar || v.unknown {
		return false
	}
	for _, w := range words {
		if v.text == w {
			return true
		}
	}
	return false
}

// canaryRef is an app's name in a canary.
type canaryRef struct {
	node   *node
	path   string
	canary *Canary
}

// canaryApps fills in the apps that canaries name, of all files.
func canaryApps(units []*decoder, cfg *Config) {
	names := make([]string, len(cfg.Apps))
	apps := make(map[string]*App, len(cfg.Apps))
	for i, a := range cfg.Apps {
		names[i] = a.Name
		apps[a.Name] = a
	}
	walks := map[*Canary]*Pipeline{}
	for _, p := range cfg.Pipelines {
		for _, stages := range [][]*Stage{p.Stages, p.Always} {
			eachStage(stages, func(s *Stage) { walks[s.Canary] = p })
		}
	}
	for _, d := range units {
		for _, ref := range d.canaryRefs {
			if !ref.node.unknown {
				d.canaryApp(ref, names, apps, walks[ref.canary])
			}
		}
	}
}

// canaryApp warns of an app that is not there, which may be one of a file that
// can't be read at the moment, and of one with another pipeline than p.
func (d *decoder) canaryApp(ref canaryRef, names []string, apps map[string]*App, p *Pipeline) {
	switch a := apps[ref.node.text]; {
	case a == nil:
		d.warn(ref.node.pos, ref.path+": there is no app "+ref.node.shown(), d.adviceFor(ref.node, names))
	case p != nil && a.Pipeline != nil && a.Pipeline != p:
		d.warn(ref.node.pos, ref.path+": events of app "+ref.node.shown()+" don't walk pipeline "+show(p.Name), "")
	}
	ref.canary.Apps = append(ref.canary.Apps, ref.node.text)
}

// canary checks a stage's canary against the stage's plugin.
func (d *decoder) canary(s *Stage) {
	to, plugin := s.Canary.To, s.Plugin
	if to == nil || plugin == nil {
		return
	}
	where := "stage" + d.named(s) + ": canary"
	switch {
	case to == plugin:
		d.addAt(s.Canary.Pos, where+" gives its events to the stage's own plugin", "name another plugin: to: …")
	case to.Grants.State && to.StateOwner() != plugin.StateOwner():
		d.addAt(s.Canary.Pos, where+": plugin "+show(to.Name)+" has a state of its own, and a user who changes sides would find another one",
			"plugins."+show(to.Name)+": state_of: "+show(plugin.StateOwner()))
	}
}

// stateOf checks the plugins whose state is another's.
func (d *decoder) stateOf() {
	for _, p := range d.doc.plugins {
		if p.StateOf == nil {
			continue
		}
		where := "plugins." + show(p.Name) + ".state_of: "
		switch other := p.StateOf; {
		case other == &p.Plugin:
			d.addAt(p.stateOf.pos, where+"a plugin has its own state without it", "name another plugin")
		case other.StateOf != nil:
			d.addAt(p.stateOf.pos, where+"plugin "+show(other.Name)+" has the state of another plugin itself", "name that: "+show(other.StateOf.Name))
		case !p.Grants.State:
			d.addAt(p.stateOf.pos, where+"plugin "+show(p.Name)+" may not use state", "grants: { state: true }")
		}
	}
}

// percent reads a percentage from low thousandths of a percent to 100.
func percent(low Percent) kind[Percent] {
	what := "a percentage from 0 to 100, such as 10, 5% or 0.5%"
	if low > 0 {
		what = "a percentage over 0, up to 100, such as 10, 5% or 0.5%"
	}
	return single(shape{form: "percent", what: what, pattern: percentForm.String(), low: int64(low)}, false, func(s string) (Percent, error) {
		v, ok := parsePercent(s)
		switch {
		case !ok:
			return 0, &badValue{advice: "with three decimals at most"}
		case v < low:
			return 0, notThat()
		}
		return v, nil
	})
}

func parsePercent(s string) (Percent, bool) {
	if !percentForm.MatchString(s) {
		return 0, false
	}
	whole, part, _ := strings.Cut(strings.TrimSuffix(s, "%"), ".")
	v, err := strconv.Atoi(whole + (part + "000")[:3])
	return Percent(v), err == nil
}

// linesOf is a digest of a stage as it stands in the file: before ${…} is
// expanded, wherever in the file, without comments and however it is indented.
func linesOf(n *node) string {
	h := sha256.New()
	n.digest(h)
	return hex.EncodeToString(h.Sum(nil))
}

func (n *node) digest(h hash.Hash) {
	var b []byte
	add := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	b = binary.AppendUvarint(append(b, byte(n.kind)), uint64(len(n.items)+len(n.entries)))
	if n.kind == scalar {
		add(n.source)
	}
	h.Write(b) // never fails
	for _, item := range n.items {
		item.digest(h)
	}
	for _, e := range n.entries {
		b = b[:0]
		add(e.key)
		h.Write(b)
		e.value.digest(h)
	}
}
