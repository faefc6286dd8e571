package config

import (
	"fmt"
	"slices"
	"strings"
)

// build decodes the file, resolves its references and checks what concerns more
// than one value.
func (d *decoder) build(root *node) *Config {
	doc := new(document)
	if !documentSection().decode(d, root, doc) {
		return nil
	}
	absent := &node{pos: root.pos, from: root.pos, kind: mapping}
	if doc.server == nil {
		doc.server = new(Server)
		d.push("server")
		serverSection().decode(d, absent, doc.server)
		d.pop()
	}
	cfg := &Config{Server: *doc.server}
	cfg.Store.Dir = cfg.Server.Data
	if s := doc.store; s != nil && s.embedded != nil && s.embedded.dir != "" {
		cfg.Store.Dir = s.embedded.dir
	}
	d.checkAdmin(cfg.Server, root)
	d.checkListeners(cfg.Server, root)
	if doc.main != nil {
		d.addMain(doc)
	}
	d.link(cfg, doc)
	return cfg
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

// link resolves names, in the order plugins, pipelines, apps.
func (d *decoder) link(cfg *Config, doc *document) {
	plugins := make(map[string]*pluginDecl, len(doc.plugins))
	for _, p := range doc.plugins {
		plugins[p.Name] = p
		cfg.Plugins = append(cfg.Plugins, &p.Plugin)
	}
	d.resolvePlugins(doc, plugins)
	d.resolveUpstreams(cfg, doc.upstreams)
	uses := make(map[*Pipeline][]*Plugin, len(doc.pipelines))
	for _, p := range doc.pipelines {
		d.pipeline(p)
		uses[&p.Pipeline] = p.uses()
		cfg.Pipelines = append(cfg.Pipelines, &p.Pipeline)
	}
	for _, a := range doc.apps {
		cfg.Apps = append(cfg.Apps, &a.App)
		d.appKeys(a)
		d.appPipeline(a, cfg.Pipelines)
		if a.Pipeline != nil {
			d.appConfigs(a, uses[a.Pipeline], plugins)
		}
	}
	d.callbackPaths(doc.apps)
	d.unused(cfg, uses)
}

// resolvePlugins fills in the plugins that stages name.
func (d *decoder) resolvePlugins(doc *document, plugins map[string]*pluginDecl) {
	names := make([]string, len(doc.plugins))
	for i, p := range doc.plugins {
		names[i] = p.Name
	}
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

// callbackPaths refuses paths that two apps have, or that the host serves for an
// app itself.
func (d *decoder) callbackPaths(apps []*appDecl) {
	names := make(map[string]bool, len(apps))
	for _, a := range apps {
		names[a.Name] = true
	}
	owner := map[string]string{}
	for _, a := range apps {
		if a.CallbackPath == "" {
			continue
		}
		n := a.node.get("callback_path")
		where := "apps." + show(a.Name) + ".callback_path: "
		if other, double := owner[a.CallbackPath]; double {
			d.addAt(n.pos, where+"app "+show(other)+" has this path, too", "")
		}
		owner[a.CallbackPath] = a.Name
		parts := strings.Split(a.CallbackPath, "/")
		if len(parts) > 2 && slices.Contains(hostFolders(), parts[1]) && names[parts[2]] {
			d.addAt(n.pos, where+"/"+parts[1]+"/{app} is a path of the host's own", "")
		}
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
	walked := map[*Pipeline]bool{}
	for _, a := range cfg.Apps {
		walked[a.Pipeline] = true
	}
	for _, p := range cfg.Pipelines {
		for _, pl := range uses[p] {
			used[pl] = true
		}
		if len(cfg.Apps) > 0 && !walked[p] {
			d.warn(p.Pos, "no app uses pipeline "+show(p.Name), "")
		}
	}
	for _, p := range cfg.Plugins {
		if !used[p] {
			d.warn(p.Pos, "no stage uses plugin "+show(p.Name), "")
		}
	}
}
