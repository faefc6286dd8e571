package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// document decodes the root file and checks what stands only there.
func (d *decoder) document(root *node) {
	doc := new(document)
	if !documentSection().decode(d, root, doc) {
		return
	}
	absent := &node{pos: root.pos, from: root.pos, kind: mapping}
	if doc.server == nil {
		doc.server = new(Server)
		d.push("server")
		serverSection().decode(d, absent, doc.server)
		d.pop()
	}
	doc.storePos, doc.storeNode = root.at("store"), root.get("store")
	if doc.serverNode = root.get("server"); doc.serverNode == nil {
		doc.serverNode = absent
	}
	d.checkAdmin(*doc.server, root)
	d.checkListeners(*doc.server, root)
	d.checkStore(doc)
	d.checkUpstreams(doc)
	d.complete(doc)
}

// complete takes over what a file holds.
func (d *decoder) complete(doc *document) {
	if doc.main != nil {
		d.addMain(doc)
	}
	for _, p := range doc.pipelines {
		p.Unit = d.unit
	}
	d.appRefs(doc.apps)
	d.doc = doc
}

// addMain puts `pipeline` among the pipelines.
func (d *decoder) addMain(doc *document) {
	for _, p := range doc.pipelines {
		if p.Name == doc.main.Name {
			d.addAt(doc.main.Pos, fmt.Sprintf("pipeline is short for pipelines.main, which line %d has, too", p.Pos.Line), "keep one")
			return
		}
	}
	doc.pipelines = append(doc.pipelines, doc.main)
	slices.SortStableFunc(doc.pipelines, func(a, b *pipelineDecl) int { return a.Pos.Line - b.Pos.Line })
}

// checkAdmin asks for a token where the admin listener is open to others.
func (d *decoder) checkAdmin(s Server, root *node) {
	server := root.get("server")
	if s.Admin == "" || isLoopback(s.Admin) || s.AdminToken != "" || server == nil || server.get("admin_token") != nil {
		return
	}
	d.addAt(server.at("admin"), "server.admin: not a loopback address, and there is no server.admin_token",
		"set server.admin_token, or listen on 127.0.0.1")
}

// checkListeners refuses one address for both listeners.
func (d *decoder) checkListeners(s Server, root *node) {
	server := root.get("server")
	if server == nil || !sameAddress(s.Listen, s.Admin) {
		return
	}
	at := server.at("admin")
	if server.get("admin") == nil {
		at = server.at("listen")
	}
	d.addAt(at, "server.admin and server.listen are one address", "give each a port of its own")
}

// link joins the files, the root first. Plugins are the root's; an app finds the
// pipelines of its own file, then the root's.
func link(units []*decoder) *Config {
	root := units[0].doc
	cfg := &Config{Server: *root.server, server: root.serverNode, store: root.storePos}
	cfg.Store = root.store.of(cfg.Server)
	plugins := make(map[string]*pluginDecl, len(root.plugins))
	names := make([]string, len(root.plugins))
	for i, p := range root.plugins {
		plugins[p.Name], names[i] = p, p.Name
		cfg.Plugins = append(cfg.Plugins, &p.Plugin)
	}
	upstreams := takeUpstreams(cfg, root.upstreams)
	uses := map[*Pipeline][]*Plugin{}
	unread := map[*Pipeline]bool{}
	for _, d := range units {
		if d.doc == nil {
			continue
		}
		d.resolvePlugins(plugins, names)
		d.stateOf()
		d.resolveUpstreams(upstreams)
		for _, p := range d.doc.pipelines {
			d.pipeline(p)
			uses[&p.Pipeline] = p.uses()
			if d.unread(p) {
				unread[&p.Pipeline] = true
			}
			cfg.Pipelines = append(cfg.Pipelines, &p.Pipeline)
		}
		visible := d.doc.visible(root)
		for _, a := range d.doc.apps {
			cfg.Apps = append(cfg.Apps, &a.App)
			d.appKeys(a)
			d.appBounds(root.server, a)
			d.originalID(a)
			d.narrowSkew(a)
			d.appAPI(root, a)
			d.appIdentity(root, a)
			d.appPipeline(a, visible)
			if a.Pipeline != nil && !unread[a.Pipeline] {
				d.appConfigs(a, uses[a.Pipeline], plugins)
				d.strayUpstreams(a, uses[a.Pipeline])
			}
		}
	}
	uniqueApps(units)
	uniqueFiles(units)
	canaryApps(units, cfg)
	units[0].callers(cfg)
	secretless(units, cfg, uses)
	units[0].hostBounds(cfg)
	if len(unread) == 0 {
		units[0].unused(cfg, uses)
		units[0].idleUpstreams(units)
	}
	for _, d := range units {
		d.unwalked(cfg)
	}
	return cfg
}

// unread says that nothing is known of a pipeline's stages because something
// else in it is wrong: what they use can't be told.
func (d *decoder) unread(p *pipelineDecl) bool {
	if len(p.Stages)+len(p.Always) > 0 {
		return false
	}
	last := p.node.lastLine()
	return slices.ContainsFunc(d.problems, func(x Problem) bool { return !x.Warning && x.Pos.Line >= p.Pos.Line && x.Pos.Line <= last })
}

// visible returns the pipelines that apps of a file may name: its own, then
// those of the root that have another name.
func (doc *document) visible(root *document) []*Pipeline {
	var all []*Pipeline
	own := map[string]bool{}
	for _, p := range doc.pipelines {
		own[p.Name] = true
		all = append(all, &p.Pipeline)
	}
	if doc == root {
		return all
	}
	for _, p := range root.pipelines {
		if !own[p.Name] {
			all = append(all, &p.Pipeline)
		}
	}
	return all
}

// resolvePlugins fills in the plugins that stages name.
func (d *decoder) resolvePlugins(plugins map[string]*pluginDecl, names []string) {
	for _, ref := range d.plugins {
		if p := plugins[ref.node.text]; p != nil {
			ref.set(&p.Plugin)
			continue
		}
		d.addAt(ref.node.pos, ref.path+": there is no plugin "+ref.node.shown(), d.adviceFor(ref.node, names))
	}
	for _, s := range d.unnamed {
		if s.Plugin != nil {
			s.Name = s.Plugin.Name
		}
	}
}

// adviceFor is meant for a name in the file; nothing is said of an expanded one.
func (d *decoder) adviceFor(n *node, names []string) string {
	if n.expanded {
		return ""
	}
	return d.meant(n.text, names)
}

// pipeline completes a pipeline and checks its times and its stages' names.
func (d *decoder) pipeline(p *pipelineDecl) {
	p.OrderUser = p.order == "user"
	if p.onError != nil {
		p.OnError = *p.onError
	}
	if p.Deadline != 0 && p.Deadline < p.AnswerWithin {
		d.addAt(p.node.at("deadline"), "deadline of pipeline "+show(p.Name)+" is under its answer_within",
			"deadline is the longest an event may take, answered or not")
	}
	first := map[string]Pos{}
	p.each(func(s *Stage, _ bool) {
		if s.Name == "" {
			return
		}
		if at, double := first[s.Name]; double {
			d.addAt(s.Pos, fmt.Sprintf("a second stage%s in pipeline %s; the first is on line %d", d.named(s), show(p.Name), at.Line),
				"give this one a name of its own: name: …")
			return
		}
		first[s.Name] = s.Pos
	})
	p.each(func(s *Stage, always bool) {
		switch {
		case s.Async:
			d.asyncStage(s)
		case always:
			d.alwaysStage(s)
		}
		if s.Canary != nil {
			d.canary(s)
		}
		if s.ShadowPos != (Pos{}) {
			d.shadow(s, always)
		}
		if len(s.Parallel) > 0 && s.OnError != nil && s.WhenPos == (Pos{}) {
			d.warn(s.Pos, "stage"+d.named(s)+": on_error has no effect: a branch that fails has its own", "move it into the branches")
		}
	})
	d.checkForwards(p)
}

// named is a stage's name for an error, after a blank; "" where it is an
// expanded value.
func (d *decoder) named(s *Stage) string {
	if d.hidden[s] || s.Name == "" {
		return ""
	}
	return " " + show(s.Name)
}

// alwaysStage warns of what can have no effect once the answer is given.
func (d *decoder) alwaysStage(s *Stage) {
	const advice = "stages under always run after the answer"
	if s.Reply != nil {
		d.warn(s.Pos, "stage"+d.named(s)+" under always: its reply goes nowhere", advice)
	}
	if s.OnError == nil {
		return
	}
	switch s.OnError.Kind {
	case Queue, Again, GiveReply:
		d.warn(s.Pos, "stage"+d.named(s)+" under always: on_error "+string(s.OnError.Kind)+" has no effect", advice)
	case Skip, Stop, Instead:
	}
}

// asyncStage warns of what can have no effect in a run from the durable queue.
func (d *decoder) asyncStage(s *Stage) {
	if s.OnError == nil {
		return
	}
	switch s.OnError.Kind {
	case GiveReply:
		d.warn(s.Pos, "async stage"+d.named(s)+": the reply of its on_error goes nowhere", "the answer does not wait for it: skip has the same effect")
	case Again:
		d.warn(s.Pos, "async stage"+d.named(s)+": no delivery waits for it: its on_error again is queue", "leave it out")
	case Skip, Stop, Queue, Instead:
	}
}

// each calls f for every stage of the pipeline, those inside of another
// one after it.
func (p *pipelineDecl) each(f func(s *Stage, always bool)) {
	eachStage(p.Stages, func(s *Stage) { f(s, false) })
	eachStage(p.Always, func(s *Stage) { f(s, true) })
}

func eachStage(stages []*Stage, f func(*Stage)) {
	for _, s := range stages {
		f(s)
		for _, b := range s.Switch {
			eachStage(b.Stages, f)
		}
		eachStage(s.Parallel, f)
	}
}

// uses returns the plugins that the pipeline may run, each once.
func (p *pipelineDecl) uses() []*Plugin {
	var all []*Plugin
	seen := map[*Plugin]bool{nil: true}
	add := func(pl *Plugin) {
		if !seen[pl] {
			seen[pl] = true
			all = append(all, pl)
		}
	}
	add(p.OnError.Plugin)
	p.each(func(s *Stage, _ bool) {
		add(s.Plugin)
		if s.OnError != nil {
			add(s.OnError.Plugin)
		}
		if s.Canary != nil {
			add(s.Canary.To)
		}
		add(s.Shadow)
	})
	return all
}

// appKeys checks that an app, and what it accepts beside, has the keys of its
// modes, and completes previous.
func (d *decoder) appKeys(a *appDecl) {
	where := "apps." + show(a.Name)
	hasKey := a.node.get("encoding_aes_key") != nil
	if p := a.Previous; p != nil {
		n := a.node.get("previous")
		if n.get("token") == nil && n.get("encoding_aes_key") == nil && n.get("mode") == nil {
			d.addAt(n.from, where+".previous: names nothing that is also accepted", "token, encoding_aes_key or mode")
		}
		complete(&p.Token, a.Token)
		complete(&p.EncodingAESKey, a.EncodingAESKey)
		complete(&p.Mode, a.Mode)
		if p.Mode != "" && p.Mode != "plain" && !hasKey && n.get("encoding_aes_key") == nil && a.Mode == "plain" {
			d.addAt(n.from, where+".previous: encoding_aes_key is missing", "every mode but plain needs one")
		}
	}
	switch {
	case a.Mode == "plain":
		a.EncodingAESKey = ""
	case a.Mode != "" && !hasKey:
		d.addAt(a.Pos, where+": encoding_aes_key is missing", "every mode but plain needs one")
	}
}

// appBounds completes the bounds of an app, and warns of one that bounds nothing.
func (d *decoder) appBounds(s *Server, a *appDecl) {
	limits := a.node.get("limits")
	if limits == nil {
		appLimitsSection().decode(d, a.absent(), &a.Limits)
	}
	if a.Limits.Inflight > s.Inflight && s.Inflight > 0 {
		d.warn(limits.at("inflight"), "apps."+show(a.Name)+".limits.inflight is over server.inflight, which bounds all apps together", "")
	}
}

// originalID warns of an account's other id in the place of its AppID: every sealed
// callback would be refused.
func (d *decoder) originalID(a *appDecl) {
	if strings.HasPrefix(a.AppID, "gh_") {
		d.warn(a.node.at("app_id"), "apps."+show(a.Name)+".app_id begins with gh_: that is an account's original id (原始ID)", "the AppID begins with wx and stands beside it in the account's console")
	}
}

// repeatsLast is how long after its first delivery WeChat may send a callback
// again, with the same timestamp: twice, five seconds after it got no answer.
const repeatsLast = 15 * time.Second

// narrowSkew warns of a max_skew that refuses WeChat's repeats.
func (d *decoder) narrowSkew(a *appDecl) {
	if a.MaxSkew > 0 && a.MaxSkew < repeatsLast {
		d.warn(a.node.at("max_skew"), "apps."+show(a.Name)+".max_skew is under 15s: WeChat's repeats, which carry the first delivery's timestamp, are refused",
			"300s or more also forgives a clock that is off")
	}
}

// hostBounds warns where there are too few places for the apps.
func (d *decoder) hostBounds(cfg *Config) {
	if n := len(cfg.Apps); n > 1 && cfg.Server.Inflight > 0 && cfg.Server.Inflight < 2*n {
		d.warn(Pos{File: d.file, Line: 1, Col: 1},
			fmt.Sprintf("server.inflight is under %d, two for each of %d apps: no place is kept free for an app", 2*n, n), "")
	}
}

func complete(own *string, other string) {
	if *own == "" {
		*own = other
	}
}

// appPipeline resolves an app's pipeline.
func (d *decoder) appPipeline(a *appDecl, pipelines []*Pipeline) {
	if a.pipeline == nil || a.pipeline.unknown {
		return
	}
	names := make([]string, len(pipelines))
	for i, p := range pipelines {
		names[i] = p.Name
		if p.Name == a.pipeline.text {
			a.Pipeline = p
			return
		}
	}
	d.addAt(a.pipeline.pos, "apps."+show(a.Name)+".pipeline: there is no pipeline "+a.pipeline.shown(), d.adviceFor(a.pipeline, names))
}

// uniqueApps refuses an app whose name another file has, and paths that two apps
// have, or that the host serves for an app itself.
func uniqueApps(units []*decoder) {
	apps := map[string]*appDecl{}
	for _, d := range units {
		for _, a := range d.apps() {
			if other := apps[a.Name]; other != nil {
				d.addTwo(a.Pos, other.Pos, "app "+show(a.Name)+" is also in "+other.Pos.String(), "names of apps are unique over all files")
				continue
			}
			apps[a.Name] = a
		}
	}
	owner := map[string]*appDecl{}
	for _, d := range units {
		for _, a := range d.apps() {
			d.callbackPath(a, owner[a.CallbackPath], apps)
			if owner[a.CallbackPath] == nil {
				owner[a.CallbackPath] = a
			}
		}
	}
}

// apps are those of the file.
func (d *decoder) apps() []*appDecl {
	if d.doc == nil {
		return nil
	}
	return d.doc.apps
}

// addTwo notes a problem of a place that has another one against it.
func (d *decoder) addTwo(pos, other Pos, text, advice string) {
	p := Problem{Pos: pos, Text: text, Advice: advice}
	if other.File != pos.File {
		p.Other = other
	}
	d.problems = append(d.problems, p)
}

// callbackPath checks an app's path. owner is another app that has it.
func (d *decoder) callbackPath(a, owner *appDecl, apps map[string]*appDecl) {
	if a.CallbackPath == "" {
		return
	}
	pos := a.node.get("callback_path").pos
	where := "apps." + show(a.Name) + ".callback_path: "
	if owner != nil {
		at := ""
		if owner.Pos.File != d.file {
			at = " of " + owner.Pos.String()
		}
		d.addTwo(pos, owner.Pos, where+"app "+show(owner.Name)+at+" has this path, too", "")
	}
	parts := strings.Split(a.CallbackPath, "/")
	if len(parts) > 2 && slices.Contains(hostFolders(), parts[1]) && apps[parts[2]] != nil {
		d.addTwo(pos, apps[parts[2]].Pos, where+"/"+parts[1]+"/{app} is a path of the host's own", "")
	}
}

// hostFolders are the first parts of the host's own paths that go on with the
// name of an app (/wx is refused for every name).
func hostFolders() []string {
	return []string{"jsapi", "oauth", "mp", "api", "credential", "send", "events"}
}

// unused warns of what nothing leads to.
func (d *decoder) unused(cfg *Config, uses map[*Pipeline][]*Plugin) {
	if len(cfg.Apps) == 0 {
		d.warn(Pos{File: d.file, Line: 1, Col: 1}, "there are no apps: no callback will be accepted", "")
	}
	used := map[*Plugin]bool{}
	for _, p := range cfg.Pipelines {
		for _, pl := range uses[p] {
			used[pl] = true
		}
	}
	for _, p := range cfg.Plugins {
		if p.StateOf != nil {
			used[p.StateOf] = true
		}
	}
	for _, p := range cfg.Plugins {
		if !used[p] {
			d.warn(p.Pos, "no stage uses plugin "+show(p.Name), "")
		}
	}
}

// unwalked warns of pipelines of the file that no app uses.
func (d *decoder) unwalked(cfg *Config) {
	if d.doc == nil || len(cfg.Apps) == 0 {
		return
	}
	walked := map[*Pipeline]bool{}
	for _, a := range cfg.Apps {
		walked[a.Pipeline] = true
	}
	for _, p := range d.doc.pipelines {
		if !walked[&p.Pipeline] {
			d.warn(p.Pos, "no app uses pipeline "+show(p.Name), "")
		}
	}
}
