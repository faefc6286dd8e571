package config

import (
	"maps"
	"slices"
	"time"
)

func apiSection() section[API] {
	return section[API]{
		name: "apps.*.api",
		doc:  "bounds of an app's calls of WeChat's API; a call counts with every pattern that it matches",
		keys: []key[API]{
			{
				name: "timeout", def: "10s", doc: "time of one call; of an upload or a download, between bytes",
				value: to(duration(100*time.Millisecond, 5*time.Minute, false), func(a *API) *time.Duration { return &a.Timeout }),
			},
			{
				name: "rate", doc: "calls that go through, by path, on this host",
				value: to(byPattern("a mapping of paths to rates", rate()), func(a *API) *map[string]Rate { return &a.Rate }),
			},
			{
				name: "daily", doc: "calls a day (China's), by path, on all hosts together",
				value: to(byPattern("a mapping of paths to numbers of calls", integer[int64](1, 1_000_000_000_000)), func(a *API) *map[string]int64 { return &a.Daily }),
			},
		},
	}
}

// credentialsDecl is Credentials together with what is resolved later.
type credentialsDecl struct {
	Credentials
	upstream *node
}

func credentialsSection() section[credentialsDecl] {
	return section[credentialsDecl]{
		name: "apps.*.credentials",
		doc:  "where an app's access_token and tickets come from",
		keys: []key[credentialsDecl]{
			{
				name: "from", def: string(FromWeChat), doc: "who fetches them: wechat is this host; http and redis are another system, beside which the host never does",
				value: to(oneOf(FromWeChat, FromHTTP, FromRedis), func(c *credentialsDecl) *CredentialSource { return &c.From }),
			},
			{
				name: "plain", def: "false", doc: "the older call, which voids the token before it, in place of stable_token; with from wechat",
				value: to(boolean(), func(c *credentialsDecl) *bool { return &c.Plain }),
			},
			{
				name: "upstream", doc: "the service that is asked: GET url/KIND answers value and expires_in, POST of the value that was refused asks for another; with from http",
				value: to(reference("the name of an upstream"), func(c *credentialsDecl) **node { return &c.upstream }),
			},
			{
				name: "keys", doc: "keys in the Redis of store.redis that hold them; with from redis",
				value: to(nestedValue("a mapping", credentialKeysSection), func(c *credentialsDecl) *CredentialKeys { return &c.Keys }),
			},
		},
	}
}

func credentialKeysSection() section[CredentialKeys] {
	return section[CredentialKeys]{
		name: "apps.*.credentials.keys",
		doc:  "keys in Redis as they stand; what lies there is the value, or JSON that holds it; its time to live is the key's",
		keys: []key[CredentialKeys]{
			{
				name: string(AccessToken), required: true, doc: "key of the access_token",
				value: to(anyText(512), func(k *CredentialKeys) *string { return &k.AccessToken }),
			},
			{
				name: string(JSAPITicket), doc: "key of the jsapi_ticket",
				value: to(anyText(512), func(k *CredentialKeys) *string { return &k.JSAPITicket }),
			},
			{
				name: string(WXCardTicket), doc: "key of the wx_card_ticket",
				value: to(anyText(512), func(k *CredentialKeys) *string { return &k.WXCardTicket }),
			},
		},
	}
}

// appRefs keeps the upstreams that apps get their credentials from, to be found
// when all are known.
func (d *decoder) appRefs(apps []*appDecl) {
	for _, a := range apps {
		if a.credentials.upstream != nil {
			d.refer(a.credentials.upstream, "apps."+show(a.Name)+".credentials.upstream", func(u *Upstream) { a.credentials.Upstream = u })
		}
	}
}

// appAPI completes what an app calls WeChat with, and checks what hangs on more
// than one value.
func (d *decoder) appAPI(root *document, a *appDecl) {
	if a.node.get("api") == nil {
		apiSection().decode(d, a.absent(), &a.API)
	}
	n := a.node.get("credentials")
	if n == nil {
		n = a.absent()
		credentialsSection().decode(d, n, &a.credentials)
	}
	c := &a.credentials
	where := "apps." + show(a.Name) + ".credentials"
	for _, key := range []struct {
		name     string
		from     CredentialSource
		required bool
	}{{"plain", FromWeChat, false}, {"upstream", FromHTTP, true}, {"keys", FromRedis, true}} {
		switch {
		case c.From == "":
		case c.From == key.from && key.required && n.get(key.name) == nil:
			d.addAt(n.from, where+": "+key.name+" is missing", "from: "+string(key.from)+" needs it")
		case c.From != key.from && n.get(key.name) != nil:
			d.addAt(n.at(key.name), where+"."+key.name+" has a meaning with from: "+string(key.from)+" only", "leave it out")
		}
	}
	if c.From == FromRedis && (root.store == nil || root.store.redis == nil) {
		d.addAt(n.at("from"), where+".from: there is no Redis: store.redis is missing", "it is the one that these keys are read from")
	}
	a.Credentials = c.Credentials
}

// secretless warns of apps that something calls WeChat's API for, and that have
// no app_secret.
func secretless(units []*decoder, cfg *Config, uses map[*Pipeline][]*Plugin) {
	for _, d := range units {
		for _, a := range d.apps() {
			if a.node.get("app_secret") != nil || a.Credentials.From != FromWeChat {
				continue
			}
			reason := ""
			for _, p := range uses[a.Pipeline] {
				if len(p.Grants.API) > 0 {
					reason = "plugin " + show(p.Name) + " may call WeChat's API"
				}
			}
			for _, c := range cfg.Callers {
				if (c.AllApps || slices.Contains(c.Apps, a.Name)) && len(c.Paths)+len(c.Credentials) > 0 && reason == "" {
					reason = "caller " + show(c.Name) + " may use its credentials"
				}
			}
			if reason != "" {
				d.warn(a.Pos, "apps."+show(a.Name)+": app_secret is missing: "+reason, "without it such calls fail")
			}
		}
	}
}

// strayUpstreams warns of an app's upstreams that none of its plugins may fetch
// from.
func (d *decoder) strayUpstreams(a *appDecl, uses []*Plugin) {
	granted := map[string]bool{}
	for _, p := range uses {
		for name := range p.Grants.Fetch {
			granted[name] = true
		}
	}
	n := a.node.get("upstreams")
	if n == nil {
		return
	}
	for _, e := range n.entries {
		if !granted[e.key] {
			d.warn(e.pos, "apps."+show(a.Name)+".upstreams: no plugin of pipeline "+show(a.Pipeline.Name)+" has a grant to fetch from "+show(e.key),
				d.meant(e.key, slices.Sorted(maps.Keys(granted))))
		}
	}
}
