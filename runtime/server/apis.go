package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
)

// outlet is an app's way to WeChat.
type outlet struct {
	credentials *gateway.AppCredentials
	api         *gateway.API
}

// callsWeChat tells whether an app has what WeChat's API asks for.
func callsWeChat(app *config.App) bool {
	return app.AppSecret != "" || app.Credentials.From != config.FromWeChat
}

// openOutlets opens the ways to WeChat of the apps that have one, and reads who may
// use them, and how much.
func (a *assembly) openOutlets() {
	if a.ways == nil {
		return
	}
	for _, app := range a.cfg.Apps {
		if !callsWeChat(app) {
			continue
		}
		o, err := a.openOutlet(app)
		if err != nil {
			a.problems = append(a.problems, config.Problem{Pos: app.Pos, Text: fmt.Sprintf("app %s: %v", app.Name, err)})
			continue
		}
		a.outlets[app.Name] = o
		a.readLimits(app)
	}
}

// readLimits takes the limits of an app's calls.
func (a *assembly) readLimits(app *config.App) {
	of := map[string]*gateway.EndpointLimit{}
	limit := func(pattern string) *gateway.EndpointLimit {
		if of[pattern] == nil {
			of[pattern] = &gateway.EndpointLimit{Pattern: pattern, Paths: a.scope(app.Pos, "app "+app.Name, pattern)}
		}
		return of[pattern]
	}
	for pattern, rate := range app.API.Rate {
		limit(pattern).Rate = gateway.Rate(rate)
	}
	for pattern, calls := range app.API.Daily {
		limit(pattern).Daily = calls
	}
	for _, pattern := range slices.Sorted(maps.Keys(of)) {
		a.limits[app.Name] = append(a.limits[app.Name], *of[pattern])
	}
}

// readCallers takes the business's systems and what they may do.
func (a *assembly) readCallers() {
	for _, c := range a.cfg.Callers {
		if c.Open {
			continue
		}
		caller := gateway.CallerConfig{Name: c.Name, Hash: c.Hash, AllApps: c.AllApps, Apps: c.Apps, Rate: gateway.Rate(c.Rate)}
		if len(c.Paths) > 0 {
			caller.Paths = a.scope(c.Pos, "caller "+c.Name, c.Paths...)
		}
		for _, kind := range c.Credentials {
			caller.Kinds = append(caller.Kinds, string(kind))
		}
		a.callers = append(a.callers, caller)
	}
}

// scope reads patterns of paths.
func (a *assembly) scope(pos config.Pos, whose string, patterns ...string) gateway.Scope {
	s, err := gateway.ParseScope(patterns)
	if err != nil {
		a.problems = append(a.problems, config.Problem{Pos: pos, Text: fmt.Sprintf("%s: %v", whose, err)})
	}
	return s
}

func (a *assembly) openOutlet(app *config.App) (outlet, error) {
	c := gateway.CredentialConfig{
		App: app.Name, Source: gateway.CredentialSource(app.Credentials.From), AppID: app.AppID, Secret: app.AppSecret,
		Base: app.APIBase, Plain: app.Credentials.Plain,
	}
	switch keys := app.Credentials.Keys; app.Credentials.From {
	case config.FromHTTP:
		client := a.upstreams[app.Credentials.Upstream.Name]
		if client == nil {
			return outlet{}, fmt.Errorf("credentials.upstream: %w", errNoUpstream)
		}
		c.Service, c.ServiceName = credentialService{client}, app.Credentials.Upstream.Name
	case config.FromRedis:
		c.Keys = map[gateway.CredentialKind]string{
			gateway.AccessToken: keys.AccessToken, gateway.JSAPITicket: keys.JSAPITicket, gateway.WXCardTicket: keys.WXCardTicket,
		}
	}
	credentials, err := a.ways.credentials.Open(c)
	if err != nil {
		return outlet{}, err
	}
	limiter := a.ways.limiter
	api, err := a.ways.apis.Open(gateway.APIConfig{
		App: app.Name, Base: app.APIBase, Timeout: app.API.Timeout, Tokens: credentials,
		Admit: func(method, path string) error { return limiter.Take(app.Name, method, path) },
	})
	if err != nil {
		a.ways.credentials.CloseApp(credentials)
		return outlet{}, err
	}
	return outlet{credentials, api}, nil
}

// closeOutlets gives back what openOutlets opened; nobody may use it any more.
func (a *assembly) closeOutlets() {
	for _, o := range a.outlets {
		o.api.Close()
		a.ways.credentials.CloseApp(o.credentials)
	}
}

// credentialService is another system that fetches an app's credentials.
type credentialService struct{ client *gateway.Upstream }

// Exchange implements gateway.CredentialService.
func (s credentialService) Exchange(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	r := &gateway.FetchRequest{Method: method, Path: "/" + path, Body: body}
	if body != nil {
		r.Header = http.Header{"Content-Type": {"application/json"}}
	}
	got, err := s.client.Fetch(ctx, r)
	if err != nil {
		return 0, nil, err
	}
	return got.Status, got.Body, nil
}
