package config

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hostOf is a host's name, or an address, IPv6 in brackets.
const hostOf = `([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?`

// Forms of where pages are, and of domain check files.
var (
	originForm   = regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]?://` + hostOf + `$`)
	pageHostForm = regexp.MustCompile(`^([Hh][Tt][Tt][Pp][Ss]?://)?` + hostOf + `$`)
	redirectForm = regexp.MustCompile(`^[Hh][Tt][Tt][Pp][Ss]?://` + hostOf + `(/[A-Za-z0-9._~@=+,-]+)*/?$`)
	fileForm     = regexp.MustCompile(`^[A-Za-z0-9_-]+\.txt$`)
	checkForm    = regexp.MustCompile(`^[!-~]{1,512}$`)
)

const (
	maxOrigins     = 256 // in a list
	maxOrigin      = 300 // bytes
	maxDomainFiles = 64  // of an app
	maxFileName    = 128 // bytes
)

func jsapiSection() section[JSAPI] {
	return section[JSAPI]{
		name: "apps.*.jsapi",
		doc:  "signatures for the JS-SDK of an official account's pages",
		keys: []key[JSAPI]{
			{
				name: "hosts", required: true, doc: "where the pages are that get one; https unless the entry says http://, the scheme's port unless it says another",
				value: to(origins("a list of hosts, one at least", pageOrigin("a host such as www.acme.cn, with or without http:// and a port", pageHostForm)),
					func(j *JSAPI) *[]string { return &j.Hosts }),
			},
			{
				name: "origins", doc: "pages of other hosts than the host's own whose scripts may read the answer (CORS)",
				value: to(atMost(maxOrigins, "origins", listOf("a list of origins", pageOrigin("an origin such as https://www.acme.cn", originForm))),
					func(j *JSAPI) *[]string { return &j.Origins }),
			},
		},
	}
}

func oauthSection() section[OAuth] {
	return section[OAuth]{
		name: "apps.*.oauth",
		doc:  "login of an app's users, and their sessions; a mini program that leaves it out has it with every default",
		keys: []key[OAuth]{
			{
				name: "redirects", doc: "where users may be sent after web authorization: scheme, host, port and the beginning of the path; required of an official account",
				value: to(origins("a list of addresses, one at least", redirect()), func(o *OAuth) *[]string { return &o.Redirects }),
			},
			{
				name: "claims", doc: "what the session's token tells its reader about the user; left out: openid",
				value: to(listOf("a list of openid and unionid", oneOf(ClaimOpenID, ClaimUnionID)), func(o *OAuth) *[]Claim { return &o.Claims }),
			},
			{
				name: "session", def: "2h", doc: "life of a session's token",
				value: to(duration(time.Minute, 24*time.Hour, false), func(o *OAuth) *time.Duration { return &o.Session }),
			},
			{
				name: "refresh", def: "30d", doc: "life of a refresh token, each of which is good for one renewal",
				value: to(duration(time.Minute, 365*24*time.Hour, false), func(o *OAuth) *time.Duration { return &o.Refresh }),
			},
			{
				name: "authorize_base", def: "https://open.weixin.qq.com", doc: "where WeChat's page is that browsers log in at; another one for a fake WeChat",
				value: to(safeURL("https://open.weixin.qq.com", true), func(o *OAuth) *string { return &o.AuthorizeBase }),
			},
		},
	}
}

// origins reads a list of what is no secret, one at least.
func origins(what string, elem kind[string]) kind[[]string] {
	return atMost(maxOrigins, "entries", atLeastOne(what, elem))
}

// pageOrigin reads an origin of a form as a browser writes it.
func pageOrigin(what string, form *regexp.Regexp) kind[string] {
	return single(shape{form: "string", what: what, pattern: form.String()}, false, func(s string) (string, error) {
		if !form.MatchString(s) || len(s) > maxOrigin {
			return "", notThat()
		}
		return plainOrigin(s)
	})
}

// plainOrigin is how a browser writes an origin that has the form of one: in small
// letters, without the port of its scheme.
func plainOrigin(s string) (string, error) {
	scheme, host, ok := strings.Cut(strings.ToLower(s), "://")
	if !ok {
		scheme, host = "https", scheme
	}
	port := ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil {
			return "", errors.New("has a port that is out of range")
		} else if n == 443 && scheme == "https" || n == 80 && scheme == "http" {
			port = ""
		}
	}
	if host[0] == '[' {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || addr.Is4In6() {
			return "", errors.New("has an address that is out of range")
		}
		host = "[" + addr.String() + "]"
	}
	if port != "" {
		host += ":" + port
	}
	return scheme + "://" + host, nil
}

// redirect reads an address whose path is a beginning.
func redirect() kind[string] {
	what := "an address such as https://www.acme.cn/ without a query"
	return single(shape{form: "string", what: what, pattern: redirectForm.String()}, false, func(s string) (string, error) {
		if !redirectForm.MatchString(s) || len(s) > maxURL {
			return "", notThat()
		}
		path := "/"
		if i := strings.IndexByte(s[len("https://"):], '/'); i >= 0 {
			i += len("https://")
			s, path = s[:i], s[i:]
		}
		for seg := range strings.SplitSeq(path, "/") {
			if seg != "" && strings.Trim(seg, ".") == "" {
				return "", errors.New("holds a segment of dots")
			}
		}
		origin, err := plainOrigin(s)
		return origin + path, err
	})
}

// domainFiles reads WeChat's domain check files by their names.
func domainFiles() kind[map[string]string] {
	what := "a mapping of names of files to what is in them, such as { MP_verify_a1b2.txt: a1b2 }"
	k := mapOf(what, matching("1 to 512 printable ASCII characters without blanks", checkForm, false))
	k.shape.keys = fileForm.String()
	plain := k.read
	k.read = func(d *decoder, n *node) (map[string]string, bool) {
		for _, e := range n.entries {
			if !fileForm.MatchString(e.key) || len(e.key) > maxFileName {
				d.add(e.pos, show(e.key)+" is not the name of a check file: letters, digits, _ and -, then .txt", "")
			}
		}
		return plain(d, n)
	}
	return atMost(maxDomainFiles, "files", k)
}

// appIdentity completes how an app's users log in, and checks what hangs on more
// than one value.
func (d *decoder) appIdentity(root *document, a *appDecl) {
	d.appJSAPI(a)
	d.appOAuth(root, a)
}

// appJSAPI checks that an app with signatures for its pages can have tickets.
func (d *decoder) appJSAPI(a *appDecl) {
	n := a.node.get("jsapi")
	if n == nil {
		return
	}
	where := "apps." + show(a.Name) + ".jsapi"
	switch {
	case a.Type == MiniProgram:
		d.addAt(a.node.at("jsapi"), where+" has a meaning with type: official only", "leave it out")
	case a.Credentials.From == FromWeChat && a.node.get("app_secret") == nil:
		d.warn(a.node.at("jsapi"), where+": app_secret is missing: pages get no signature", "")
	case a.Credentials.From == FromRedis && !a.node.has("credentials", "keys", string(JSAPITicket)):
		d.warn(a.node.at("jsapi"), where+": credentials.keys has no jsapi_ticket: pages get no signature", "")
	}
}

// appOAuth checks an app's login.
func (d *decoder) appOAuth(root *document, a *appDecl) {
	n := a.node.get("oauth")
	where := "apps." + show(a.Name) + ".oauth"
	switch {
	case n == nil && a.Type == MiniProgram:
		n = a.absent()
		a.OAuth = new(OAuth)
		oauthSection().decode(d, n, a.OAuth)
	case n == nil || a.OAuth == nil:
		return
	case a.node.get("app_secret") == nil:
		d.warn(a.node.at("oauth"), where+": app_secret is missing: nobody can log in", "")
	}
	o := a.OAuth
	if n.get("claims") == nil {
		o.Claims = []Claim{ClaimOpenID}
	}
	for i, c := range o.Claims {
		if slices.Contains(o.Claims[:i], c) {
			d.addAt(n.at("claims"), where+".claims: "+string(c)+" stands here twice", "keep one")
		}
	}
	if o.Refresh > 0 && o.Refresh < o.Session {
		d.addAt(n.at("refresh"), where+".refresh is under session", "a session is renewed before its token ends")
	}
	switch {
	case a.Type == MiniProgram:
		for _, key := range []string{"redirects", "authorize_base"} {
			if n.get(key) != nil {
				d.addAt(n.at(key), where+"."+key+" has a meaning with type: official only", "leave it out")
			}
		}
	case a.Type == Official:
		d.redirects(root, n, where)
	}
}

// redirects checks what web authorization needs.
func (d *decoder) redirects(root *document, n *node, where string) {
	list := n.get("redirects")
	if list == nil && !n.unknown {
		d.addAt(n.from, where+": redirects is missing", "it is "+oauthSection().keys[0].value.shape().what)
	}
	if root.serverNode.get("public") == nil {
		d.warn(n.pos, where+": server.public is missing: WeChat can't send users back to the host", "server: { public: https://wx.acme.cn }")
	}
	if list == nil {
		return
	}
	for _, item := range list.items {
		if u, err := httpURL(item.text); err == nil && u.Scheme == "http" && !loopbackHost(u.Hostname()) {
			d.warn(item.pos, where+".redirects: "+item.shown()+" is not encrypted: what logs a user in goes there in plain", "write https://")
		}
	}
}

// has tells whether a value stands at a place in n.
func (n *node) has(keys ...string) bool {
	for _, key := range keys {
		if n = n.get(key); n == nil {
			return false
		}
	}
	return true
}

// uniqueFiles refuses a domain check file that two apps have: the host serves all
// apps under one name.
func uniqueFiles(units []*decoder) {
	owner := map[string]*appDecl{}
	for _, d := range units {
		for _, a := range d.apps() {
			n := a.node.get("domain_files")
			if n == nil {
				continue
			}
			for _, e := range n.entries {
				other := owner[e.key]
				if other == nil {
					owner[e.key] = a
					continue
				}
				d.addTwo(e.pos, other.Pos, "apps."+show(a.Name)+".domain_files: app "+show(other.Name)+" has "+show(e.key)+", too", "names of files are unique over all apps")
			}
		}
	}
}
