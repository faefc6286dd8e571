package manifest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"gopkg.in/yaml.v3"
)

// Forms of words. They are never changed.
var (
	nameForm     = regexp.MustCompile(`^[a-z][a-z0-9-]{1,62}$`)
	pathForm     = regexp.MustCompile(`^((GET|HEAD|POST|PUT|PATCH|DELETE) )?(/[A-Za-z0-9._~*-]+)+$`)
	languageForm = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`)
)

// Bounds of single values.
const (
	maxText  = 4096
	maxWords = 256
	maxFuel  = 1_000_000_000_000 // what pipeline.yaml can grant
)

// Capabilities returns the names of the capabilities of ABI 1.
func Capabilities() []string {
	return []string{"state", "send", "api", "fetch", "media", "vault", "emit", "schedule"}
}

// Parse reads a plugin.yaml. file is what positions name. An error is an *Error
// with everything that is wrong.
func Parse(file string, src []byte) (*Manifest, error) {
	r := new(reader)
	m := new(Manifest)
	if root := r.document(src); root != nil {
		r.fields(root, "the manifest", m.fields(r))
	}
	if err := r.err(file); err != nil {
		return nil, err
	}
	return m, nil
}

// fields is what a manifest has.
func (m *Manifest) fields(r *reader) []field {
	return []field{
		{name: "name", required: true, read: func(n *yaml.Node) {
			if m.Name = r.text(n, "name", maxText); m.Name != "" && !nameForm.MatchString(m.Name) {
				r.add(n, "name must match %s", nameForm)
			}
		}},
		{name: "version", required: true, read: func(n *yaml.Node) {
			m.Version = r.text(n, "version", 256)
			if _, err := semver.StrictNewVersion(m.Version); m.Version != "" && err != nil {
				r.add(n, "version must be a semantic version such as 1.2.0")
			}
		}},
		{name: "abi", required: true, read: func(n *yaml.Node) { m.ABI = int(r.integer(n, "abi", 1, 1)) }},
		{name: "title", read: func(n *yaml.Node) { m.Title = r.languages(n, "title") }},
		{name: "description", read: func(n *yaml.Node) { m.Description = r.languages(n, "description") }},
		{name: "vendor", read: func(n *yaml.Node) { m.Vendor = r.text(n, "vendor", maxText) }},
		{name: "license", read: func(n *yaml.Node) { m.License = r.text(n, "license", maxText) }},
		{name: "messages", read: func(n *yaml.Node) {
			m.Messages, m.MessagesSet = r.words(n, "messages"), true
			if contains(m.Messages, "event") {
				r.add(n, "event is not a message: list its events under events")
			}
		}},
		{name: "events", read: func(n *yaml.Node) { m.Events, m.EventsSet = r.words(n, "events"), true }},
		{name: "capabilities", read: func(n *yaml.Node) { m.Capabilities = r.capabilities(n) }},
		{name: "raw", read: func(n *yaml.Node) { m.Raw = r.boolean(n, "raw") }},
		{name: "limits", read: func(n *yaml.Node) { r.fields(n, "limits", m.Limits.fields(r)) }},
		{name: "config", read: func(n *yaml.Node) { m.schema = r.schema(n) }},
	}
}

func (l *Limits) fields(r *reader) []field {
	return []field{
		{name: "memory", read: func(n *yaml.Node) {
			v, ok := size(n.Value)
			if n.Kind != yaml.ScalarNode || !ok || v < 64<<10 || v > 4<<30 {
				r.add(n, "memory must be a size from 64KiB to 4GiB, such as 16MiB")
				return
			}
			l.Memory = v
		}},
		{name: "timeout", read: func(n *yaml.Node) {
			v, err := time.ParseDuration(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil || v < time.Millisecond || v > time.Hour {
				r.add(n, "timeout must be a duration from 1ms to 1h, such as 300ms")
				return
			}
			l.Timeout = v
		}},
		{name: "fuel", read: func(n *yaml.Node) { l.Fuel = r.integer(n, "fuel", 1, maxFuel) }},
	}
}

// size reads a number of bytes, alone or with B, KiB, MiB or GiB.
func size(s string) (int64, bool) {
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "B"} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			s, shift = digits, (i+1)%4*10
			break
		}
	}
	v, err := strconv.ParseUint(s, 10, 32)
	return int64(v) << shift, err == nil
}

// languages reads a mapping of languages to texts.
func (r *reader) languages(n *yaml.Node, what string) map[string]string {
	out := map[string]string{}
	r.each(n, what, func(k, v *yaml.Node) {
		if !languageForm.MatchString(k.Value) {
			r.add(k, "%s is not a language: en, zh, zh-CN", show(k.Value))
			return
		}
		out[k.Value] = r.text(v, what, maxText)
	})
	return out
}

// words reads a list of words.
func (r *reader) words(n *yaml.Node, what string) []string {
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxWords {
		r.add(n, "%s must be a list of at most %d words", what, maxWords)
		return nil
	}
	out := []string{}
	for _, c := range n.Content {
		w := r.text(c, "a word of "+what, 128)
		if contains(out, w) {
			r.add(c, "%s stands in %s twice", show(w), what)
		}
		out = append(out, w)
	}
	return out
}

// capabilities reads what the plugin needs.
func (r *reader) capabilities(n *yaml.Node) map[string]Capability {
	out := map[string]Capability{}
	r.each(n, "capabilities", func(k, v *yaml.Node) {
		if !slices.Contains(Capabilities(), k.Value) {
			r.add(k, "unknown capability %s: there are %s", show(k.Value), strings.Join(Capabilities(), ", "))
			return
		}
		var c Capability
		fields := []field{
			{name: "why", required: true, read: func(n *yaml.Node) { c.Why = r.text(n, "why", maxText) }},
			{name: "optional", read: func(n *yaml.Node) { c.Optional = r.boolean(n, "optional") }},
		}
		switch k.Value {
		case "fetch":
			fields = append(fields, field{name: "upstreams", read: func(n *yaml.Node) { c.Upstreams = r.upstreams(n) }})
		case "api":
			fields = append(fields, field{name: "paths", read: func(n *yaml.Node) { c.Paths = r.paths(n) }})
		}
		r.fields(v, "capability "+k.Value, fields)
		out[k.Value] = c
	})
	return out
}

// paths reads patterns of calls of WeChat's API, as a grant in pipeline.yaml has
// them.
func (r *reader) paths(n *yaml.Node) []string {
	out := r.words(n, "paths")
	for i, c := range n.Content {
		if i < len(out) && !pathForm.MatchString(out[i]) {
			r.add(c, "%s is not a path of WeChat's API, such as /cgi-bin/user/* or GET /cgi-bin/user/info", show(out[i]))
		}
	}
	return out
}

func (r *reader) upstreams(n *yaml.Node) map[string]string {
	out := map[string]string{}
	r.each(n, "upstreams", func(k, v *yaml.Node) {
		if !nameForm.MatchString(k.Value) {
			r.add(k, "the name of an upstream must match %s", nameForm)
		}
		out[k.Value] = r.text(v, "what is asked of an upstream", maxText)
	})
	return out
}
