package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/identity"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/wechat"
)

// assembly is a configuration with all that it names: loaded, checked, joined.
type assembly struct {
	cfg      *config.Config
	plugins  map[string]*sandbox.Plugin // by name in pipeline.yaml
	accounts map[string]*wechat.Account // by app
	pool     *gateway.Pool              // that has the upstreams
	// upstreams are those whose address is right, by name in pipeline.yaml.
	upstreams map[string]*gateway.Upstream
	ways      *ways                              // that have the outlets; nil: there are none
	outlets   map[string]outlet                  // by app, of those that call WeChat
	limits    map[string][]gateway.EndpointLimit // of outlets
	callers   []gateway.CallerConfig
	pages     map[string]*pages                // by app, of those whose pages may have signatures
	minis     map[string]miniApp               // of the mini programs, by name
	logins    map[string]*identity.OAuthConfig // by app, of those whose users log in on web pages
	files     map[string]string                // domain check files, by path
	set       *pipeline.Set
	// problems is all that was found, warnings included; with an error in it
	// the assembly must not serve.
	problems config.Problems
	// broken holds what is wrong with a plugin's config in an app that has no
	// earlier one. It takes out that app only.
	broken map[string]config.Problems
	// replaced is what is wrong with configs in whose place apps have an earlier one.
	replaced config.Problems
	// badConfigs are all configs that a plugin doesn't take.
	badConfigs map[appPlugin]bool
}

// assembleOptions is what an assembly needs from its surroundings.
type assembleOptions struct {
	sandbox   *sandbox.Sandbox // outlives the assembly
	upstreams *gateway.Pool    // likewise
	ways      *ways            // likewise; nil: nothing calls WeChat
	state     sandbox.State
	layers    *layers // of shadows; nil: they have no state
	log       *slog.Logger
	noEnv     bool // secrets may be missing: accounts are not looked at
	// client gives what stands in the place of an upstream's client, which is nil
	// where its address is wrong; nil: nothing does.
	client func(*config.Upstream, client) client
	// api gives the apps' clients of WeChat's API, nil for one that has none; nil:
	// none has.
	api func(app string) apiCaller
	// recorder sees what plugins are answered; nil: nobody does.
	recorder *recorder
	// module reads a plugin's module; advice says what to do about an error. nil:
	// its file.
	module   func(p *config.Plugin) (wasm []byte, advice string, err error)
	lastGood lastGood // nil: there are none
}

// assemble loads every plugin of cfg, checks each config that an app uses and
// builds the pipelines. It goes on past problems, so that all are found at once.
// The caller closes the assembly, whatever is in its problems; an error is ctx's
// end.
func assemble(ctx context.Context, cfg *config.Config, opt assembleOptions) (*assembly, error) {
	a := &assembly{
		cfg:      cfg,
		plugins:  make(map[string]*sandbox.Plugin, len(cfg.Plugins)),
		accounts: make(map[string]*wechat.Account, len(cfg.Apps)),
		broken:   make(map[string]config.Problems),

		badConfigs: make(map[appPlugin]bool),

		pool:      opt.upstreams,
		upstreams: make(map[string]*gateway.Upstream, len(cfg.Upstreams)),

		ways: opt.ways, outlets: make(map[string]outlet), limits: make(map[string][]gateway.EndpointLimit),

		pages: make(map[string]*pages), minis: make(map[string]miniApp), logins: make(map[string]*identity.OAuthConfig), files: make(map[string]string),
	}
	a.loadPlugins(ctx, opt)
	a.setConfigs(ctx, opt.lastGood)
	if err := ctx.Err(); err != nil { // then what was found tells nothing
		return nil, errors.Join(fmt.Errorf("loading plugins: %w", err), a.close(context.WithoutCancel(ctx)))
	}
	if !opt.noEnv {
		a.openAccounts(time.Now())
	}
	a.openUpstreams()
	a.openOutlets()
	a.readCallers()
	a.readPages()
	a.readMinis()
	a.readLogins()
	a.buildPipelines(opt)
	return a, nil
}

// close gives back plugins and connections. Nobody may use them any more.
func (a *assembly) close(ctx context.Context) error {
	var errs []error
	a.closeOutlets()
	for _, u := range a.upstreams {
		a.pool.Close(u)
	}
	for name, p := range a.plugins {
		if err := p.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("closing plugin %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// loadPlugins loads side by side, as many at once as there are cores, and
// reports in the order of the file.
func (a *assembly) loadPlugins(ctx context.Context, opt assembleOptions) {
	type outcome struct {
		plugin   *sandbox.Plugin
		problems config.Problems
	}
	outcomes := make([]outcome, len(a.cfg.Plugins))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, p := range a.cfg.Plugins {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			outcomes[i].plugin, outcomes[i].problems = loadPlugin(ctx, p, opt)
		})
	}
	wg.Wait()
	for i, o := range outcomes {
		a.problems = append(a.problems, o.problems...)
		if o.plugin != nil {
			a.plugins[a.cfg.Plugins[i].Name] = o.plugin
		}
	}
}

func loadPlugin(ctx context.Context, p *config.Plugin, opt assembleOptions) (*sandbox.Plugin, config.Problems) {
	read := opt.module
	if read == nil {
		read = func(p *config.Plugin) ([]byte, string, error) { return readModule(p.Source, nil) }
	}
	wasm, advice, err := read(p)
	if err != nil {
		return nil, config.Problems{{Pos: p.Pos, Text: fmt.Sprintf("plugin %s: %v", p.Name, err), Advice: advice}}
	}
	loaded, err := opt.sandbox.Load(ctx, sandbox.Spec{
		Name: p.Name, Wasm: wasm,
		Grants: sandbox.Grants{State: p.Grants.State, API: len(p.Grants.API) > 0, Fetch: sortedKeys(p.Grants.Fetch)},
		Limits: sandbox.Limits(p.Limits),
		State:  opt.state, StateOf: p.StateOwner(),

		Isolation: isolation(p.Isolation),
	})
	if err == nil {
		return loaded, nil
	}
	var le *sandbox.LoadError
	if !errors.As(err, &le) {
		return nil, config.Problems{{Pos: p.Pos, Text: fmt.Sprintf("plugin %s: %v", p.Name, err)}}
	}
	var problems config.Problems
	for _, text := range le.Problems {
		for line := range strings.Lines(text) { // a manifest may have many
			problems = append(problems, config.Problem{Pos: p.Pos, Text: fmt.Sprintf("plugin %s: %s", p.Name, strings.TrimRight(line, "\n"))})
		}
	}
	return nil, problems
}

// isolation is what the sandbox calls a form of isolation.
func isolation(form config.Isolation) sandbox.Isolation {
	switch form {
	case config.IsolationApp:
		return sandbox.IsolationApp
	case config.IsolationEvent:
		return sandbox.IsolationEvent
	}
	return sandbox.IsolationShared
}

// readModule reads a plugin's file. advice says what to do about an error.
func readModule(file string, from *sources) (wasm []byte, advice string, err error) {
	info, err := from.stat(file)
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a file", file)
	case info.Size() > sandbox.MaxModule:
		return nil, "leave out of it what the plugin doesn't use", fmt.Errorf("%s has %d bytes, over %d", file, info.Size(), sandbox.MaxModule)
	default:
		if wasm, err = from.readAtMost(file, sandbox.MaxModule); err == nil && !bytes.HasPrefix(wasm, []byte("\x00asm")) {
			err = fmt.Errorf("%s is not a WebAssembly module", file)
		}
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, "let the host read it", err
	case err != nil:
		return nil, "compile it with `weft plugin build` and the folder of its source", err
	}
	return wasm, "", nil
}

func (a *assembly) openAccounts(now time.Time) {
	for _, app := range a.cfg.Apps {
		account, err := openAccount(app)
		if err != nil {
			a.problems = append(a.problems, config.Problem{Pos: app.Pos, Text: fmt.Sprintf("app %s: %v", app.Name, err)})
			continue
		}
		a.accounts[app.Name] = account
		if prev := app.Previous; prev != nil && !prev.Until.After(now) {
			a.problems = append(a.problems, config.Problem{
				Pos: app.Pos, Warning: true,
				Text:   fmt.Sprintf("app %s: previous is over since %s: what it names is refused", app.Name, prev.Until.Format(time.RFC3339)),
				Advice: "remove it, or set until to a time to come",
			})
		}
	}
}

// openAccount makes the protocol's side of an app. Its errors hold no secret.
func openAccount(app *config.App) (*wechat.Account, error) {
	mode, err := wechat.ParseMode(app.Mode)
	if err != nil {
		return nil, err
	}
	c := wechat.AccountConfig{AppID: app.AppID, Mode: mode, Token: app.Token, AESKey: app.EncodingAESKey, MaxSkew: app.MaxSkew}
	if prev := app.Previous; prev != nil {
		c.Previous = &wechat.PreviousConfig{Token: prev.Token, AESKey: prev.EncodingAESKey, Until: prev.Until}
		if c.Previous.Mode, err = wechat.ParseMode(prev.Mode); err != nil {
			return nil, fmt.Errorf("previous: %w", err)
		}
	}
	return wechat.NewAccount(c)
}

// openUpstreams opens the clients of the business's services.
func (a *assembly) openUpstreams() {
	for _, u := range a.cfg.Upstreams {
		if u.Open {
			continue
		}
		client, err := openUpstream(a.pool, u)
		if err != nil {
			a.problems = append(a.problems, config.Problem{Pos: u.Pos, Text: fmt.Sprintf("upstream %s: %v", u.Name, err)})
			continue
		}
		a.upstreams[u.Name] = client
	}
}

// openUpstream opens an upstream's client, with its files as they are now.
func openUpstream(pool *gateway.Pool, u *config.Upstream) (*gateway.Upstream, error) {
	c := gateway.UpstreamConfig{
		Name: u.Name, URL: u.URL, Private: u.Private, Headers: u.Headers, Timeout: u.Timeout,
		Secret: u.Secret, Connections: u.Connections,
	}
	if u.TLS != nil {
		var err error
		if c.TLS, err = tlsConfig(u.TLS); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	return pool.Open(c)
}

// buildPipelines compiles the pipelines. A plugin that didn't load, or an upstream
// without a client, is stood in for, so that its stages are checked all the same.
func (a *assembly) buildPipelines(opt assembleOptions) {
	clients := a.clients(opt)
	api := opt.api
	if api == nil {
		api = a.apiOf
	}
	guests := make(map[string]pipeline.Plugin, len(a.cfg.Plugins))
	for _, p := range a.cfg.Plugins {
		guests[p.Name] = guest{a.plugins[p.Name], opt.state, opt.layers, a.capabilitiesOf(p, api, clients, opt)}
	}
	// An app that is out of service has no pipeline: its entries of the durable
	// queue wait instead of failing in their plugin.
	cfg := *a.cfg
	cfg.Apps = slices.DeleteFunc(slices.Clone(cfg.Apps), func(app *config.App) bool { return len(a.broken[app.Name]) > 0 })
	services := make(map[string]pipeline.Upstream, len(a.cfg.Upstreams))
	for _, u := range a.cfg.Upstreams {
		services[u.Name] = service{clients[u.Name], a.accounts}
	}
	set, problems := pipeline.Build(&cfg, guests, pipeline.KnownWords(documented()), pipeline.Upstreams(services))
	a.set = set
	a.problems = append(a.problems, problems...)
}

// clients are those of the upstreams, or what stands in their place; nil of one
// whose address is wrong.
func (a *assembly) clients(opt assembleOptions) map[string]client {
	clients := make(map[string]client, len(a.cfg.Upstreams))
	for _, u := range a.cfg.Upstreams {
		var c client
		if open := a.upstreams[u.Name]; open != nil {
			c = open
		}
		if opt.client != nil {
			c = opt.client(u, c)
		}
		clients[u.Name] = c
	}
	return clients
}

// documented tells whether WeChat's documents have a word as a type or an
// event, in any letter case, or the host's own events do.
func documented() func(word string) bool {
	words := map[string]bool{}
	c := wechat.Catalogue()
	for _, list := range [][]string{c.MsgTypes, c.Events, c.InfoTypes, {identity.EventLogin, identity.EventPhone}} {
		for _, w := range list {
			words[strings.ToLower(w)] = true
		}
	}
	return func(word string) bool { return words[strings.ToLower(word)] }
}
