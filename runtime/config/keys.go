package config

import (
	"errors"
	"path"
	"regexp"
	"strings"
	"time"
)

// Forms of values. They are never changed.
var (
	nameForm   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	appIDForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	aesKeyForm = regexp.MustCompile(`^[A-Za-z0-9+/]{43}$`)
	tokenForm  = regexp.MustCompile(`^[!-~]{1,64}$`)
	adminForm  = regexp.MustCompile(`^[!-~]{1,256}$`)
	// percentForm has up to three decimals, with or without the sign.
	percentForm = regexp.MustCompile(`^(100(\.0{1,3})?|[0-9]{1,2}(\.[0-9]{1,3})?)%?$`)
	pathForm    = regexp.MustCompile(`^(/[A-Za-z0-9._~=@+,-]+)+$`)
)

// document is the file as it is decoded, before references are resolved.
type document struct {
	version   int
	include   []Include
	server    *Server
	store     *storeDecl
	upstreams []*upstreamDecl
	callers   []*callerDecl
	apps      []*appDecl
	plugins   []*pluginDecl
	pipelines []*pipelineDecl
	main      *pipelineDecl

	serverNode *node // what server was read from
	storePos   Pos   // of store, else of the file
	storeNode  *node // nil where there is none
}

// appDecl is an app together with what is resolved later.
type appDecl struct {
	App
	node     *node
	pipeline *node
	with     []entry

	credentials credentialsDecl
}

// absent stands for a section of the app that isn't there.
func (a *appDecl) absent() *node { return &node{pos: a.node.pos, from: a.node.from, kind: mapping} }

// pluginDecl is a plugin together with its config.
type pluginDecl struct {
	Plugin
	config  *node
	stateOf *node
}

func documentSection() section[document] {
	return section[document]{
		doc: "pipeline.yaml, or a file that it includes: that has " + includedWords(),
		keys: []key[document]{
			{
				name: "weft", required: true, doc: "the version of this file's format",
				value: to(integer(1, 1), func(c *document) *int { return &c.version }),
			},
			{
				name: "include", doc: "files with apps and pipelines of their own; a broken one doesn't touch the others",
				value: to(includeKind(), func(c *document) *[]Include { return &c.include }),
			},
			{
				name: "server", doc: "the host",
				value: to(nested("the host's settings", serverSection), func(c *document) **Server { return &c.server }),
			},
			{
				name: "store", doc: "where state and the durable queue are kept",
				value: to(nested("a store", storeSection), func(c *document) **storeDecl { return &c.store }),
			},
			{
				name: "upstreams", doc: "the business's own services by name",
				value: to(named("a mapping of names to upstreams", upstreamSection, startUpstream), func(c *document) *[]*upstreamDecl { return &c.upstreams }),
			},
			{
				name: "callers", doc: "the business's systems that call the host, by name",
				value: to(named("a mapping of names to callers", callerSection, startCaller), func(c *document) *[]*callerDecl { return &c.callers }),
			},
			{
				name: "apps", doc: "official accounts and mini programs by name",
				value: to(named("a mapping of names to apps", appSection, startApp), func(c *document) *[]*appDecl { return &c.apps }),
			},
			{
				name: "plugins", doc: "WASM modules by name",
				value: to(named("a mapping of names to plugins", pluginSection, startPlugin), func(c *document) *[]*pluginDecl { return &c.plugins }),
			},
			{
				name: "pipelines", doc: "pipelines by name",
				value: to(named("a mapping of names to pipelines", pipelineSection, startPipeline), func(c *document) *[]*pipelineDecl { return &c.pipelines }),
			},
			{
				name: "pipeline", doc: "short for pipelines.main",
				value: to(mainPipeline(), func(c *document) **pipelineDecl { return &c.main }),
			},
		},
	}
}

func serverSection() section[Server] {
	return section[Server]{
		name: "server",
		doc:  "the host; changes need a restart",
		keys: []key[Server]{
			{
				name: "listen", def: "127.0.0.1:8080", doc: "public listener: callbacks",
				value: to(hostPort(), func(s *Server) *string { return &s.Listen }),
			},
			{
				name: "admin", def: "127.0.0.1:9090", doc: "admin listener: metrics and health",
				value: to(hostPort(), func(s *Server) *string { return &s.Admin }),
			},
			{
				name: "admin_token", doc: "what callers of the admin listener show; required where it isn't loopback",
				value: to(matching("1 to 256 printable ASCII characters without blanks", adminForm, true), func(s *Server) *string { return &s.AdminToken }),
			},
			{
				name: "data", def: "./data", doc: "folder of the compile cache and the embedded store",
				value: to(folder(), func(s *Server) *string { return &s.Data }),
			},
			{
				name: "inflight", def: "4096", doc: "events at once, over all apps; what becomes of more is the pipeline's overflow",
				value: to(integer(1, 1_000_000), func(s *Server) *int { return &s.Inflight }),
			},
			{
				name: "drain", def: "10s", doc: "time for events in flight when stopping",
				value: to(duration(0, time.Hour, true), func(s *Server) *time.Duration { return &s.Drain }),
			},
			{
				name: "public", doc: "how browsers reach the host; addresses that they are sent to are made from it, never from a Host header",
				value: to(safeURL("https://wx.acme.cn", false), func(s *Server) *string { return &s.Public }),
			},
			{
				name: "key", doc: "what the host seals and signs with, the same on all hosts; left out with the embedded store, one is made in data",
				value: to(serverKey(), func(s *Server) *[]byte { return &s.Key }),
			},
			{
				name: "previous_keys", doc: "keys that are still accepted while the key is being changed",
				value: to(atMost(maxPreviousKeys, "keys", listOf("a list of keys", serverKey())), func(s *Server) *[][]byte { return &s.PreviousKeys }),
			},
		},
	}
}

func startApp(e entry) *appDecl {
	return &appDecl{App: App{Name: e.key, Pos: e.pos}, node: e.value}
}

func appSection() section[appDecl] {
	return section[appDecl]{
		name: "apps.*",
		doc:  "an official account or a mini program",
		keys: append(accountKeys(), []key[appDecl]{
			{
				name: "labels", doc: "words of your own, visible to `when` as labels",
				value: to(mapOf("a mapping of names to texts", anyText(1024)), func(a *appDecl) *map[string]string { return &a.Labels }),
			},
			{
				name: "pipeline", def: "main", doc: "the pipeline that its events walk",
				value: to(reference("the name of a pipeline"), func(a *appDecl) **node { return &a.pipeline }),
			},
			{
				name: "limits", doc: "bounds of the app",
				value: to(nestedValue("a mapping", appLimitsSection), func(a *appDecl) *AppLimits { return &a.Limits }),
			},
			{
				name: "api_base", def: "https://api.weixin.qq.com", doc: "where WeChat's API is; the secret goes there, so it is https",
				value: to(safeURL("https://api.weixin.qq.com", true), func(a *appDecl) *string { return &a.APIBase }),
			},
			{
				name: "api", doc: "bounds of calls of WeChat's API, of plugins and callers together",
				value: to(nestedValue("a mapping", apiSection), func(a *appDecl) *API { return &a.API }),
			},
			{
				name: "credentials", doc: "where the app's access_token and tickets come from",
				value: to(nestedValue("a mapping", credentialsSection), func(a *appDecl) *credentialsDecl { return &a.credentials }),
			},
			{
				name: "jsapi", doc: "the pages of an official account that may call WeChat's JavaScript; left out: none",
				value: to(nested("a mapping", jsapiSection), func(a *appDecl) **JSAPI { return &a.JSAPI }),
			},
			{
				name: "oauth", doc: "login of the app's users; left out of an official account: none",
				value: to(nested("a mapping", oauthSection), func(a *appDecl) **OAuth { return &a.OAuth }),
			},
			{
				name: "domain_files", doc: "WeChat's check files by name, that tell it whose a domain is; served at the top of the public listener",
				value: to(domainFiles(), func(a *appDecl) *map[string]string { return &a.DomainFiles }),
			},
			{
				name: "upstreams", doc: "this app's upstreams by the plugins' names for them; go before the plugin's grants.fetch",
				value: to(upstreamNames(), func(a *appDecl) *map[string]*Upstream { return &a.Upstreams }),
			},
			{
				name: "with", doc: "this app's config of plugins, over the plugin's own (RFC 7386)",
				value: withTarget{},
			},
		}...),
	}
}

// accountKeys are the keys of an app that say what WeChat has of it.
func accountKeys() []key[appDecl] {
	return []key[appDecl]{
		{
			name: "type", required: true, doc: "what it is",
			value: to(oneOf(Official, MiniProgram), func(a *appDecl) *AppType { return &a.Type }),
		},
		{
			name: "app_id", required: true, doc: "AppID of the account",
			value: to(matching("an AppID: 1 to 64 letters, digits, _ and -", appIDForm, false),
				func(a *appDecl) *string { return &a.AppID }),
		},
		{
			name: "app_secret", doc: "AppSecret of the account; required where something calls WeChat",
			value: to(matching("an AppSecret: 1 to 256 printable ASCII characters without blanks", secretForm, true),
				func(a *appDecl) *string { return &a.AppSecret }),
		},
		{
			name: "token", required: true, doc: "Token of the account's server settings",
			value: to(token(), func(a *appDecl) *string { return &a.Token }),
		},
		{
			name: "encoding_aes_key", doc: "EncodingAESKey of the account's server settings; required unless mode is plain",
			value: to(aesKey(), func(a *appDecl) *string { return &a.EncodingAESKey }),
		},
		{
			name: "mode", required: true, doc: "encryption of messages (安全, 兼容 or 明文模式): from here only, never from the request",
			value: to(modeKind(), func(a *appDecl) *string { return &a.Mode }),
		},
		{
			name: "previous", doc: "what is also accepted while token, key or mode are being changed; what it leaves out is the app's",
			value: to(nested("a mapping", previousSection), func(a *appDecl) **Previous { return &a.Previous }),
		},
		{
			name: "callback_path", doc: "a path for callbacks beside /wx/{app}",
			value: to(callbackPath(), func(a *appDecl) *string { return &a.CallbackPath }),
		},
		{
			name: "max_skew", def: "10m", doc: "a callback whose timestamp is further off is refused",
			value: to(duration(time.Second, 24*time.Hour, false), func(a *appDecl) *time.Duration { return &a.MaxSkew }),
		},
	}
}

func appLimitsSection() section[AppLimits] {
	return section[AppLimits]{
		name: "apps.*.limits",
		doc:  "bounds of an app",
		keys: []key[AppLimits]{
			{
				name: "inflight", doc: "events at once; left out: at most as many of those that all apps share as it leaves free",
				value: to(integer(1, 1_000_000), func(l *AppLimits) *int { return &l.Inflight }),
			},
			{
				name: "workers", doc: "durable runs at once; left out: at most as many of the host's as it leaves free",
				value: to(integer(1, 10_000), func(l *AppLimits) *int { return &l.Workers }),
			},
			{
				name: "queue", def: "100000", doc: "entries of the durable queue, dead letters not counted; an event that would be one more gets HTTP 500",
				value: to(integer(1, 100_000_000), func(l *AppLimits) *int { return &l.Queue }),
			},
		},
	}
}

func previousSection() section[Previous] {
	return section[Previous]{
		name: "apps.*.previous",
		doc:  "what an app accepts beside its own while one of them is changed",
		keys: []key[Previous]{
			{
				name: "token", doc: "the other Token",
				value: to(token(), func(p *Previous) *string { return &p.Token }),
			},
			{
				name: "encoding_aes_key", doc: "the other EncodingAESKey",
				value: to(aesKey(), func(p *Previous) *string { return &p.EncodingAESKey }),
			},
			{
				name: "mode", doc: "the other mode",
				value: to(modeKind(), func(p *Previous) *string { return &p.Mode }),
			},
			{
				name: "until", required: true, doc: "when it ends",
				value: to(moment(), func(p *Previous) *time.Time { return &p.Until }),
			},
		},
	}
}

func startPlugin(e entry) *pluginDecl {
	return &pluginDecl{Plugin: Plugin{Name: e.key, Pos: e.pos}}
}

func pluginSection() section[pluginDecl] {
	return section[pluginDecl]{
		name: "plugins.*",
		doc:  "a WASM module",
		keys: []key[pluginDecl]{
			{
				name: "source", required: true, doc: "the module's file",
				value: to(sourceFile(), func(p *pluginDecl) *string { return &p.Source }),
			},
			{
				name: "config", doc: "the plugin's config for all apps; its manifest has the schema",
				value: to(anyMapping(), func(p *pluginDecl) **node { return &p.config }),
			},
			{
				name: "grants", doc: "what the plugin may use",
				value: to(nestedValue("a mapping", grantsSection), func(p *pluginDecl) *Grants { return &p.Grants }),
			},
			{
				name: "limits", doc: "bounds of the plugin; each that is left out is the default",
				value: to(nestedValue("a mapping", limitsSection), func(p *pluginDecl) *Limits { return &p.Limits }),
			},
			{
				name: "state_of", doc: "the plugin whose state it reads and writes in place of one of its own; grants.state goes with it",
				value: stateOfTarget{pluginTarget[pluginDecl]{func(p *pluginDecl) **Plugin { return &p.StateOf }}},
			},
			{
				name: "isolation", def: string(IsolationShared), doc: "who shares an instance: all apps, one app only, or nobody: event starts each event from a fresh memory",
				value: to(oneOf(IsolationShared, IsolationApp, IsolationEvent), func(p *pluginDecl) *Isolation { return &p.Isolation }),
			},
		},
	}
}

// stateOfTarget is a pluginTarget that keeps where the name stands.
type stateOfTarget struct{ pluginTarget[pluginDecl] }

func (t stateOfTarget) decode(d *decoder, n *node, dst *pluginDecl) {
	dst.stateOf = n
	t.pluginTarget.decode(d, n, dst)
}

func grantsSection() section[Grants] {
	return section[Grants]{
		name: "plugins.*.grants",
		doc:  "what a plugin may use",
		keys: []key[Grants]{
			{
				name: "state", doc: "a key-value state of its own in each app",
				value: to(boolean(), func(g *Grants) *bool { return &g.State }),
			},
			{
				name: "api", doc: "paths of WeChat's API that it may call with the app's token",
				value: to(patterns(), func(g *Grants) *[]string { return &g.API }),
			},
			{
				name: "fetch", doc: "upstreams that it may call, by its own names for them",
				value: to(upstreamNames(), func(g *Grants) *map[string]*Upstream { return &g.Fetch }),
			},
		},
	}
}

func limitsSection() section[Limits] {
	return section[Limits]{
		name: "plugins.*.limits",
		doc:  "bounds of a plugin",
		keys: []key[Limits]{
			{
				name: "memory", doc: "memory of one instance; left out: the manifest's, else 16MiB",
				value: to(size(64<<10, 4<<30), func(l *Limits) *int64 { return &l.Memory }),
			},
			{
				name: "timeout", doc: "time of one call; left out: the manifest's, else 1s",
				value: to(duration(time.Millisecond, time.Hour, false), func(l *Limits) *time.Duration { return &l.Timeout }),
			},
			{
				name: "fuel", doc: "instructions of one call; left out: the manifest's, else 1000000000",
				value: to(integer[int64](100_000, 1_000_000_000_000), func(l *Limits) *int64 { return &l.Fuel }),
			},
			{
				name: "instances", doc: "instances at once; left out: two for each processor",
				value: to(integer(1, 10_000), func(l *Limits) *int { return &l.Instances }),
			},
			{
				name: "state", doc: "bytes of state in each app; left out: 64MiB",
				value: to(size(1<<10, 1<<40), func(l *Limits) *int64 { return &l.State }),
			},
			{
				name: "host_calls", doc: "host calls for one event; left out: 100000",
				value: to(integer(1, 1_000_000_000), func(l *Limits) *int { return &l.HostCalls }),
			},
			{
				name: "response", doc: "bytes that host calls answer for one event; left out: 16MiB",
				value: to(size(1<<10, 4<<30), func(l *Limits) *int64 { return &l.Response }),
			},
			{
				name: "log", doc: "bytes of log lines for one event; left out: 64KiB",
				value: to(size(1<<10, 1<<30), func(l *Limits) *int64 { return &l.Log }),
			},
		},
	}
}

// nestedValue is nested for a field that holds the section itself.
func nestedValue[T any](what string, sec func() section[T]) kind[T] {
	inner := nested(what, sec)
	return kind[T]{shape: inner.shape, read: func(d *decoder, n *node) (T, bool) {
		v, ok := inner.read(d, n)
		return *v, ok
	}}
}

// aesKey reads an EncodingAESKey. Its last character carries 2 spare bits, which
// WeChat doesn't always leave 0.
func aesKey() kind[string] {
	return matching("an EncodingAESKey: 43 letters, digits, + and /", aesKeyForm, true)
}

func modeKind() kind[string] { return oneOf("encrypted", "compatible", "plain") }

// token reads a Token. WeChat's own page allows 3 to 32 letters and digits; what
// is set by other means may be anything printable.
func token() kind[string] {
	return matching("a Token: 1 to 64 printable ASCII characters without blanks", tokenForm, true)
}

// folder and sourceFile read paths; they are made relative to the working
// directory when all is read.
func folder() kind[string] { return pathKind("the path of a folder") }

func sourceFile() kind[string] {
	k := pathKind("the path of a .wasm file")
	plain := k.read
	k.read = func(d *decoder, n *node) (string, bool) {
		s, ok := plain(d, n)
		if ok && strings.Contains(s, "://") {
			d.add(n.pos, n.shown()+" is not a file", "a plugin comes from a .wasm file")
			return "", false
		}
		return s, ok
	}
	return k
}

func pathKind(what string) kind[string] {
	k := text(what, func(s string) error {
		if s == "" || len(s) > 4096 || strings.Contains(s, "\x00") {
			return notThat()
		}
		return nil
	})
	plain := k.read
	k.read = func(d *decoder, n *node) (string, bool) {
		s, ok := plain(d, n)
		if !ok || strings.Contains(s, "://") {
			return s, ok
		}
		return d.relative(s), true
	}
	return k
}

func callbackPath() kind[string] {
	k := text("a path such as /wechat/portal/wx1", func(s string) error {
		switch {
		case !pathForm.MatchString(s) || path.Clean(s) != s || len(s) > 512:
			return notThat()
		case s == "/healthz" || s == "/readyz" || strings.HasPrefix(s, "/wx/") || strings.HasPrefix(s, "/.well-known/"),
			strings.Count(s, "/") == 1 && strings.HasSuffix(s, ".txt"):
			return errors.New("is a path of the host's own")
		}
		return nil
	})
	k.shape.pattern = pathForm.String()
	return k
}

// reference reads a name and keeps where it stands.
func reference(what string) kind[*node] {
	inner := single(shape{form: "string", what: what, pattern: nameForm.String()}, false, func(s string) (string, error) { return s, nil })
	return kind[*node]{shape: inner.shape, read: func(d *decoder, n *node) (*node, bool) {
		_, ok := inner.read(d, n)
		return n, ok || n.unknown
	}}
}

// anyMapping reads a mapping whose keys are not ours.
func anyMapping() kind[*node] {
	return kind[*node]{shape: shape{form: "any", what: "a mapping"}, read: func(d *decoder, n *node) (*node, bool) {
		switch {
		case n.isNull() || n.unknown && n.kind != mapping:
			return nil, false
		case n.kind != mapping:
			d.add(n.pos, "must be a mapping, and is "+n.kind.String(), "")
			return nil, false
		}
		d.checkJSON(n)
		return n, true
	}}
}

// withTarget reads an app's `with`: a mapping of plugins to configs.
type withTarget struct{}

func (withTarget) shape() shape {
	elem := anyMapping().shape
	return shape{form: "map", what: "a mapping of plugins to configs", elem: &elem}
}

func (w withTarget) decode(d *decoder, n *node, dst *appDecl) {
	switch {
	case n.unknown || n.isNull():
		return
	case n.kind != mapping:
		d.add(n.pos, "must be "+w.shape().what+", and is "+n.kind.String(), "")
		return
	}
	for _, e := range n.entries {
		d.push(e.key)
		if v, ok := anyMapping().read(d, e.value); ok {
			dst.with = append(dst.with, entry{key: e.key, pos: e.pos, value: v})
		}
		d.pop()
	}
}
