package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/telemetry"
)

// apiCaller calls WeChat's API for one app, as gateway.API does.
type apiCaller interface {
	Call(ctx context.Context, r *gateway.APIRequest) (*gateway.APIResponse, error)
}

// fetcher sends a plugin's requests to one upstream, as gateway.Upstream does.
type fetcher interface {
	Fetch(ctx context.Context, r *gateway.FetchRequest) (gateway.FetchAnswer, error)
}

// capabilities are what a plugin may ask of others, in all apps. They belong to
// an assembly.
type capabilities struct {
	// scopes are those that a call of the API must be in, all of them: the grant's
	// and, where the manifest lists paths, its own.
	scopes   []gateway.Scope
	api      func(app string) apiCaller                           // nil: the app has no way to it
	fetch    func(app, upstream string) (by fetcher, name string) // with the name in pipeline.yaml; nil: there is none
	log      *slog.Logger
	recorder *recorder        // nil: nobody records
	seldom   telemetry.Seldom // of failures
}

// failureEvery is how often a call without an answer is logged, of a plugin.
const failureEvery = 10 * time.Second

// newCapabilities reads what a plugin may do. The error says which pattern is none.
func newCapabilities(grants []string, man *manifest.Manifest, log *slog.Logger) (*capabilities, error) {
	c := &capabilities{log: log}
	for _, list := range []struct {
		whose    string
		patterns []string
	}{{"grants.api", grants}, {"the manifest's capabilities.api.paths", man.Capabilities["api"].Paths}} {
		if len(list.patterns) == 0 {
			continue
		}
		scope, err := gateway.ParseScope(list.patterns)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", list.whose, err)
		}
		c.scopes = append(c.scopes, scope)
	}
	return c, nil
}

// eventCalls are what one event's call of a plugin asks of others. One goroutine
// uses them.
type eventCalls struct {
	*capabilities
	withheld bool // a shadow wanted to do something, and was not let
}

var (
	_ sandbox.API     = (*eventCalls)(nil)
	_ sandbox.Fetcher = (*eventCalls)(nil)
)

const (
	textNoAPI      = "the app has no way to WeChat's API here"
	textNoUpstream = "the upstream is not set up here"
	textWithheld   = "a shadow changes nothing: of it, only a GET goes out"
	textOutside    = "the call is outside of what is granted"
)

// target is a call that is granted.
func (c *capabilities) target(method, path string, query []hostapi.Field) (gateway.Target, error) {
	target, err := gateway.NewTarget(method, path, encodeQuery(query))
	if err != nil {
		return target, err
	}
	for _, scope := range c.scopes {
		if !scope.Allows(target.Method(), target.Path()) {
			return target, errors.New(textOutside)
		}
	}
	return target, nil
}

// encodeQuery writes a query, its fields in order.
func encodeQuery(fields []hostapi.Field) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = url.QueryEscape(f.Name) + "=" + url.QueryEscape(f.Value)
	}
	return strings.Join(parts, "&")
}

// withhold tells whether a call is one that a shadow doesn't make.
func (c *eventCalls) withhold(of sandbox.OutCall, method string) bool {
	if !of.Aside || method == http.MethodGet {
		return false
	}
	c.withheld = true
	return true
}

// API makes a call of WeChat's API.
func (c *eventCalls) API(ctx context.Context, of sandbox.OutCall, req *hostapi.APIRequest, resp *hostapi.APIResponse) hostapi.Status {
	target, err := c.target(req.Method, req.Path, req.Query)
	if err != nil {
		resp.Error = err.Error()
		return hostapi.Denied
	}
	if c.withhold(of, req.Method) {
		resp.Error = textWithheld
		return hostapi.Unavailable
	}
	caller := c.api(of.Event.App)
	if caller == nil {
		resp.Error = textNoAPI
		return hostapi.Unavailable
	}
	call := &gateway.APIRequest{Target: target, Header: http.Header{}, Repeatable: req.IdempotencyKey != ""}
	if of.Event.TraceParent != "" {
		call.Header.Set("Traceparent", of.Event.TraceParent)
	}
	if len(req.Body) > 0 {
		call.Body, call.Length = bytes.NewReader(req.Body), int64(len(req.Body))
		call.Header.Set("Content-Type", "application/json")
	}
	status := c.call(ctx, of, caller, call, resp)
	var told *recordedAnswer
	if status == hostapi.OK || status == hostapi.Upstream {
		told = &recordedAnswer{Status: int(resp.Status), Type: resp.ContentType, Body: string(resp.Body)}
	}
	c.recorder.of(of.Event.App).called(of.Event.ID, askedCall{method: target.Method(), path: target.Path()}, told)
	return status
}

func (c *eventCalls) call(ctx context.Context, of sandbox.OutCall, caller apiCaller, call *gateway.APIRequest, resp *hostapi.APIResponse) hostapi.Status {
	answer, err := caller.Call(ctx, call)
	if err != nil {
		return c.apiFailed(ctx, of, err, resp)
	}
	return c.apiAnswered(ctx, of, answer, resp)
}

// apiAnswered reads an answer of WeChat's.
func (c *eventCalls) apiAnswered(ctx context.Context, of sandbox.OutCall, answer *gateway.APIResponse, resp *hostapi.APIResponse) hostapi.Status {
	defer func() { _ = answer.Body.Close() }() // what could be read was
	body, err := io.ReadAll(io.LimitReader(answer.Body, int64(of.MaxBody)+1))
	switch {
	case err != nil:
		return c.apiFailed(ctx, of, err, resp)
	case len(body) > of.MaxBody:
		resp.Error, resp.MaybeExecuted = fmt.Sprintf("the answer has over %d bytes", of.MaxBody), true
		return hostapi.TooLarge
	case answer.Errcode == 0 && answer.Status >= http.StatusBadRequest:
		resp.Error, resp.MaybeExecuted = fmt.Sprintf("WeChat answered with status %d", answer.Status), true
		return hostapi.Unavailable
	}
	resp.Status, resp.Body, resp.Rid = int32(answer.Status), body, strings.ToValidUTF8(answer.Rid, "")
	resp.ContentType = strings.ToValidUTF8(answer.Header.Get("Content-Type"), "")
	if answer.Errcode == 0 {
		return hostapi.OK
	}
	class := gateway.LookupErrcode(answer.Errcode).Class
	resp.Errcode, resp.Class = int32(min(max(answer.Errcode, math.MinInt32), math.MaxInt32)), string(class)
	if class == gateway.ClassAsOK {
		return hostapi.OK
	}
	return hostapi.Upstream
}

// apiFailed maps a call without an answer to what the guest is told, which has
// nothing of the host's surroundings.
func (c *eventCalls) apiFailed(ctx context.Context, of sandbox.OutCall, err error, resp *hostapi.APIResponse) hostapi.Status {
	*resp = hostapi.APIResponse{}
	for _, k := range []struct {
		kind   error
		status hostapi.Status
		maybe  bool
	}{
		{gateway.ErrTimeout, hostapi.Timeout, true},
		{gateway.ErrCanceled, hostapi.Timeout, true},
		{gateway.ErrBroken, hostapi.Unavailable, true},
		{gateway.ErrQuota, hostapi.Limited, false},
		{gateway.ErrLimited, hostapi.Limited, false},
		{gateway.ErrUnreachable, hostapi.Unavailable, false},
		{gateway.ErrCircuit, hostapi.Unavailable, false},
		{gateway.ErrBusy, hostapi.Unavailable, false},
		{gateway.ErrToken, hostapi.Unavailable, false},
		{gateway.ErrBody, hostapi.Unavailable, false},
	} {
		if !errors.Is(err, k.kind) {
			continue
		}
		resp.Error, resp.MaybeExecuted = k.kind.Error(), k.maybe
		if errors.Is(k.kind, gateway.ErrCanceled) {
			resp.Error = "the event's time ran out: the call may have been executed"
		}
		c.failed(ctx, of, "api", err)
		return k.status
	}
	c.failed(ctx, of, "api", err)
	resp.Error, resp.MaybeExecuted = "the call failed", true
	return hostapi.Unavailable
}

// Fetch makes a request to an upstream.
func (c *eventCalls) Fetch(ctx context.Context, of sandbox.OutCall, req *hostapi.FetchRequest, resp *hostapi.FetchResponse) hostapi.Status {
	if c.withhold(of, req.Method) {
		resp.Error = textWithheld
		return hostapi.Unavailable
	}
	service, name := c.fetch(of.Event.App, req.Upstream)
	if service == nil {
		resp.Error = textNoUpstream
		return hostapi.Unavailable
	}
	call := &gateway.FetchRequest{
		Method: req.Method, Path: req.Path, Query: encodeQuery(req.Query), Header: http.Header{}, Body: req.Body,
		EventID: of.Event.ID, Attempt: of.Event.Attempt,
	}
	for _, h := range req.Headers {
		call.Header.Add(h.Name, h.Value)
	}
	if req.IdempotencyKey != "" {
		call.Header.Set("Idempotency-Key", req.IdempotencyKey)
	}
	answer, err := service.Fetch(ctx, call)
	var told *recordedAnswer
	if err == nil {
		told = &recordedAnswer{Status: answer.Status, Type: strings.ToValidUTF8(answer.Header.Get("Content-Type"), ""), Body: string(answer.Body)}
	}
	c.recorder.of(of.Event.App).called(of.Event.ID, askedCall{name, req.Method, req.Path}, told)
	if err != nil {
		return c.fetchFailed(ctx, of, err, resp)
	}
	if len(answer.Body) > of.MaxBody {
		resp.Error, resp.MaybeExecuted = fmt.Sprintf("the answer has over %d bytes", of.MaxBody), true
		return hostapi.TooLarge
	}
	resp.Status, resp.Body, resp.Headers = int32(answer.Status), answer.Body, shownHeaders(answer.Header)
	return hostapi.OK
}

// shownHeaders are those of an upstream's answer that a plugin sees.
func shownHeaders(from http.Header) []hostapi.Field {
	var to []hostapi.Field
	size := 0
	for _, name := range []string{"Content-Language", "Content-Type", "Etag", "Last-Modified", "Link", "Location", "Retry-After"} {
		for _, value := range from[name] {
			value = strings.ToValidUTF8(value, "")
			if size += len(name) + len(value); size > hostapi.MaxCallHeaders {
				return to
			}
			to = append(to, hostapi.Field{Name: name, Value: value})
		}
	}
	return to
}

// fetchFailed is apiFailed of a fetch.
func (c *eventCalls) fetchFailed(ctx context.Context, of sandbox.OutCall, err error, resp *hostapi.FetchResponse) hostapi.Status {
	var failed *gateway.Error
	switch {
	case errors.Is(err, gateway.ErrFetch):
		resp.Error = err.Error()
		return hostapi.Invalid
	case !errors.As(err, &failed):
		c.failed(ctx, of, "fetch", err)
		resp.Error = "the upstream gave no answer"
		return hostapi.Unavailable
	}
	c.failed(ctx, of, "fetch", err)
	resp.MaybeExecuted = failed.MaybeExecuted()
	switch {
	case failed.Unusable():
		resp.Error = "the upstream's answer is too large, or compressed"
		return hostapi.TooLarge
	case failed.Reason() == "timeout", ctx.Err() != nil:
		resp.Error = "the upstream did not answer in time"
		return hostapi.Timeout
	}
	resp.Error = "the upstream is out of reach"
	return hostapi.Unavailable
}

// failed logs a call without an answer.
func (c *eventCalls) failed(ctx context.Context, of sandbox.OutCall, call string, err error) {
	if skipped, ok := c.seldom.Pass(time.Now(), failureEvery); ok {
		c.log.LogAttrs(ctx, slog.LevelWarn, "a plugin's call got no answer", slog.String("call", call), slog.String("plugin", of.Plugin), slog.String("app", of.Event.App),
			slog.String("event_id", of.Event.ID), slog.String("error", err.Error()), slog.Int64("skipped", skipped))
	}
}

// capabilitiesOf is what a plugin that loaded may ask of others, nil: nothing.
// clients are those
// of the upstreams, by name in pipeline.yaml; the app's own upstreams go before the
// grant's.
func (a *assembly) capabilitiesOf(p *config.Plugin, api func(app string) apiCaller, clients map[string]client, opt assembleOptions) *capabilities {
	loaded := a.plugins[p.Name]
	if loaded == nil || len(p.Grants.API)+len(p.Grants.Fetch) == 0 {
		return nil
	}
	c, err := newCapabilities(p.Grants.API, loaded.Manifest(), opt.log)
	if err != nil {
		a.problems = append(a.problems, config.Problem{Pos: p.Pos, Text: fmt.Sprintf("plugin %s: %v", p.Name, err)})
		return nil
	}
	own := make(map[string]map[string]*config.Upstream, len(a.cfg.Apps))
	for _, app := range a.cfg.Apps {
		own[app.Name] = app.Upstreams
	}
	c.api, c.recorder = api, opt.recorder
	c.fetch = func(app, name string) (fetcher, string) {
		u := own[app][name]
		if u == nil {
			u = p.Grants.Fetch[name]
		}
		if u == nil {
			return nil, ""
		}
		if client := clients[u.Name]; client != nil {
			return client, u.Name
		}
		return nil, ""
	}
	return c
}

// apiOf is an app's way to WeChat's API, nil where it has none.
func (a *assembly) apiOf(app string) apiCaller {
	if o, ok := a.outlets[app]; ok {
		return o.api
	}
	return nil
}
