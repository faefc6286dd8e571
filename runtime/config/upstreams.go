package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Forms of header fields (RFC 9110, 5.1 and 5.5), values without what only
// servers may read as text.
var (
	headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$")
	fieldForm  = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)
	hostForm   = regexp.MustCompile(`^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)
	secretForm = regexp.MustCompile(`^[!-~]{1,256}$`)
)

// Bounds of an upstream, in bytes.
const (
	maxURL   = 2048
	maxField = 4096
)

// upstreamDecl is an upstream together with its node.
type upstreamDecl struct {
	Upstream
	node *node
}

func startUpstream(e entry) *upstreamDecl {
	return &upstreamDecl{Upstream: Upstream{Name: e.key, Pos: e.pos}, node: e.value}
}

func upstreamSection() section[upstreamDecl] {
	return section[upstreamDecl]{
		name: "upstreams.*",
		doc:  "a service of the business",
		keys: []key[upstreamDecl]{
			{
				name: "url", required: true, doc: "where it is; its path is used as it stands",
				value: to(upstreamURL(), func(u *upstreamDecl) *string { return &u.URL }),
			},
			{
				name: "private", doc: "the networks that it is in; left out: public addresses only. Link-local ones and the host's own listeners are never reached",
				value: to(networks(), func(u *upstreamDecl) *[]netip.Prefix { return &u.Private }),
			},
			{
				name: "headers", doc: "header fields of every request, Host among them",
				value: to(headerFields(), func(u *upstreamDecl) *map[string]string { return &u.Headers }),
			},
			{
				name: "timeout", def: "4s", doc: "time of one request, the wait for a connection included",
				value: to(duration(time.Millisecond, time.Minute, false), func(u *upstreamDecl) *time.Duration { return &u.Timeout }),
			},
			{
				name: "secret", doc: "what requests are signed with (Weft-Signature); left out: they aren't",
				value: to(matching("1 to 256 printable ASCII characters without blanks", secretForm, true), func(u *upstreamDecl) *string { return &u.Secret }),
			},
			{
				name: "connections", def: "64", doc: "connections at once",
				value: to(integer(1, 10_000), func(u *upstreamDecl) *int { return &u.Connections }),
			},
			{
				name: "tls", doc: "how connections of https are encrypted; left out: as the system's certificates say",
				value: to(nested("a mapping such as { ca: ca.pem }", upstreamTLSSection), func(u *upstreamDecl) **TLS { return &u.TLS }),
			},
		},
	}
}

func upstreamTLSSection() section[TLS] { return tlsSection("upstreams.*.tls") }

// checkUpstreams checks what hangs on more than one value of an upstream.
func (d *decoder) checkUpstreams(doc *document) {
	for _, u := range doc.upstreams {
		path := "upstreams." + show(u.Name)
		d.checkPair(path, u.node)
		if scheme, _, ok := strings.Cut(u.URL, "://"); u.TLS != nil && ok && !strings.EqualFold(scheme, "https") {
			d.addAt(u.node.get("tls").from, path+".tls has a meaning with an https url only", "leave it out, or write the url with https")
		}
	}
}

// upstreamURL reads the address of a service. It is shown as a secret is: its
// query may hold one.
func upstreamURL() kind[string] {
	what := "an address such as http://10.0.3.7:8080/path"
	return single(shape{form: "string", what: what}, true, func(s string) (string, error) {
		u, err := httpURL(s)
		if err == nil && u.User != nil {
			return "", errors.New("holds a user: give it as headers: { Authorization: … }")
		}
		return s, err
	})
}

// httpURL parses an address of http or https.
func httpURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, notThat()
	case len(s) > maxURL:
		return nil, fmt.Errorf("has over %d bytes", maxURL)
	case strings.Contains(s, "#"):
		return nil, errors.New("holds a #, which no server gets to see")
	}
	return u, nil
}

// safeURL reads an address that secrets are sent to, or that users are sent to:
// https, or http to this machine; without a slash at its end. Only with path may
// it have one.
func safeURL(example string, path bool) kind[string] {
	what := "an https address such as " + example + "; http only to this machine"
	return single(shape{form: "string", what: what}, true, func(s string) (string, error) {
		u, err := httpURL(s)
		switch {
		case err != nil:
			return "", err
		case u.User != nil:
			return "", errors.New("holds a user")
		case strings.Contains(s, "?"):
			return "", errors.New("holds a query")
		case u.Scheme == "http" && !loopbackHost(u.Hostname()):
			return "", errors.New("is not encrypted on its way")
		case !path && strings.Trim(u.Path, "/") != "":
			return "", errors.New("holds a path")
		}
		return strings.TrimRight(s, "/"), nil
	})
}

// networks reads a list of networks in CIDR form, or single addresses.
func networks() kind[[]netip.Prefix] {
	what := "a network such as 10.0.3.0/24, or an address"
	return listOf("a list of networks", single(shape{form: "string", what: what}, false, func(s string) (netip.Prefix, error) {
		p, err := netip.ParsePrefix(s)
		if addr, one := netip.ParseAddr(s); one == nil && addr.Zone() == "" {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6():
			return p, notThat()
		case p.Masked() != p:
			return p, &badValue{advice: "did you mean " + p.Masked().String() + "?"}
		case linkLocal(p):
			return p, errors.New("is link-local, which is never reached")
		}
		return p, nil
	}))
}

// linkLocal tells whether a network is one of link-local addresses only.
func linkLocal(p netip.Prefix) bool {
	a := p.Addr()
	return a.IsLinkLocalUnicast() && (a.Is4() && p.Bits() >= 16 || a.Is6() && p.Bits() >= 10)
}

// ownHeaders are the header fields that requests to upstreams have anyway.
func ownHeaders() []string {
	return []string{
		"Accept-Encoding", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Keep-Alive", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Weft-Attempt", "Weft-Event-Id", "Weft-Signature",
	}
}

// headerFields reads header fields by their names; the values are secrets.
func headerFields() kind[map[string]string] {
	what := "a header field's value: 1 to 4096 printable ASCII characters"
	value := single(shape{form: "string", what: what, pattern: fieldForm.String()}, true, func(s string) (string, error) {
		if len(s) > maxField || !fieldForm.MatchString(s) {
			return "", notThat()
		}
		return s, nil
	})
	k := mapOf("a mapping of header fields", value)
	plain := k.read
	k.read = func(d *decoder, n *node) (map[string]string, bool) {
		seen := map[string]bool{}
		for _, e := range n.entries {
			name := textproto.CanonicalMIMEHeaderKey(e.key)
			switch {
			case !headerForm.MatchString(e.key):
				d.add(e.pos, show(e.key)+" is not the name of a header field", "")
			case slices.Contains(ownHeaders(), name):
				d.add(e.pos, show(e.key)+" is a header field that the host sets itself", "leave it out")
			case name == "Host" && e.value.text != "" && !hostForm.MatchString(e.value.text):
				d.add(e.value.pos, "the value is not the name of a host, with or without a port", "")
			case seen[name]:
				d.add(e.pos, show(e.key)+" stands here twice, in another letter case", "keep one")
			}
			seen[name] = true
		}
		return plain(d, n)
	}
	return k
}

func forwardSection() section[forwardDecl] {
	return section[forwardDecl]{
		name: "forward",
		doc:  "sends the event to an upstream",
		keys: []key[forwardDecl]{
			{
				name: "to", required: true, doc: "the upstream",
				value: to(reference("the name of an upstream"), func(f *forwardDecl) **node { return &f.to }),
			},
			{
				name: "as", required: true, doc: "raw: the callback as it came, whose answer is given as it came; json: the event, whose answer is a reply or nothing",
				value: to(oneOf(ForwardRaw, ForwardJSON), func(f *forwardDecl) *ForwardAs { return &f.As }),
			},
		},
	}
}

// forwardDecl is a forward whose upstream is found later.
type forwardDecl struct {
	Forward
	to *node
}

func forwardKind() kind[*Forward] {
	return kind[*Forward]{
		shape: shape{form: "section", what: "a forward, such as { to: legacy, as: raw }", section: func() described { return forwardSection() }},
		read: func(d *decoder, n *node) (*Forward, bool) {
			f := new(forwardDecl)
			if n.unknown || !forwardSection().decode(d, n, f) {
				return nil, false
			}
			if f.to != nil {
				d.refer(f.to, d.where()+".to", func(u *Upstream) { f.To = u })
			}
			return &f.Forward, true
		},
	}
}

// upstreamRef is an upstream's name where one is used.
type upstreamRef struct {
	node *node
	path string
	set  func(*Upstream)
}

// refer keeps an upstream's name, to be found when all are known.
func (d *decoder) refer(n *node, path string, set func(*Upstream)) {
	if !n.unknown {
		d.upstreams = append(d.upstreams, upstreamRef{node: n, path: path, set: set})
	}
}

// upstreamNames reads a mapping of the plugins' names for upstreams to names of
// upstreams.
func upstreamNames() kind[map[string]*Upstream] {
	inner := reference("the name of an upstream")
	k := mapOf("a mapping of a plugin's names to upstreams, such as { orders: acme-orders }", inner)
	k.shape.keys = nameForm.String()
	return kind[map[string]*Upstream]{shape: k.shape, read: func(d *decoder, n *node) (map[string]*Upstream, bool) {
		for _, e := range n.entries {
			if !nameForm.MatchString(e.key) {
				d.add(e.pos, show(e.key)+" is not "+nameWhat, "")
			}
		}
		names, ok := k.read(d, n)
		out := make(map[string]*Upstream, len(names))
		for name, ref := range names {
			out[name] = nil
			d.refer(ref, d.where()+"."+show(name), func(u *Upstream) { out[name] = u })
		}
		return out, ok
	}}
}

// takeUpstreams puts the root's upstreams into cfg.
func takeUpstreams(cfg *Config, decls []*upstreamDecl) map[string]*Upstream {
	all := make(map[string]*Upstream, len(decls))
	for _, u := range decls {
		u.Open = u.node.open()
		u.stranger = u.node.get("secret") == nil && u.node.get("headers") == nil
		cfg.Upstreams = append(cfg.Upstreams, &u.Upstream)
		all[u.Name] = &u.Upstream
	}
	return all
}

// resolveUpstreams fills in the upstreams that the file names.
func (d *decoder) resolveUpstreams(upstreams map[string]*Upstream) {
	for _, ref := range d.upstreams {
		if u := upstreams[ref.node.text]; u != nil {
			ref.set(u)
		} else {
			d.addAt(ref.node.pos, ref.path+": there is no upstream "+ref.node.shown(), d.adviceFor(ref.node, slices.Sorted(maps.Keys(upstreams))))
		}
	}
}

// idleUpstreams warns of the root's upstreams that no file names.
func (d *decoder) idleUpstreams(units []*decoder) {
	used := map[string]bool{}
	for _, u := range units {
		for _, ref := range u.upstreams {
			used[ref.node.text] = true
		}
	}
	for _, u := range d.doc.upstreams {
		if !used[u.Name] {
			d.warn(u.Pos, "nothing uses upstream "+show(u.Name), "")
		}
	}
}

// open tells whether what stands at n, or in it, can't be told.
func (n *node) open() bool {
	return n.unknown || slices.ContainsFunc(n.items, (*node).open) ||
		slices.ContainsFunc(n.entries, func(e entry) bool { return e.value.open() })
}

// checkForwards warns of upstreams that can't know whose the events are.
func (d *decoder) checkForwards(p *pipelineDecl) {
	p.each(func(s *Stage, _ bool) {
		if f := s.Forward; f != nil && f.As == ForwardJSON && f.To != nil && f.To.stranger {
			d.warn(s.Pos, fmt.Sprintf("stage%s: upstream %s can't tell who sends: it has neither secret nor headers", d.named(s), show(f.To.Name)), "")
		}
	})
}
