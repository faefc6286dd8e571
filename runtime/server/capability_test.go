package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/manifest"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store/bolt"
)

// fakeAPI answers calls of WeChat's API.
type fakeAPI struct {
	answer gateway.APIResponse
	body   io.Reader
	err    error
	calls  []*gateway.APIRequest
}

func (f *fakeAPI) Call(_ context.Context, r *gateway.APIRequest) (*gateway.APIResponse, error) {
	f.calls = append(f.calls, r)
	if f.err != nil {
		return nil, f.err
	}
	a := f.answer
	a.Body = io.NopCloser(f.body)
	return &a, nil
}

// fakeFetch answers requests to an upstream.
type fakeFetch struct {
	answer gateway.FetchAnswer
	err    error
	calls  []*gateway.FetchRequest
}

func (f *fakeFetch) Fetch(_ context.Context, r *gateway.FetchRequest) (gateway.FetchAnswer, error) {
	f.calls = append(f.calls, r)
	return f.answer, f.err
}

// newCalls are calls of a plugin that may make those of grants, and declares
// those of paths.
func newCalls(t *testing.T, api *fakeAPI, fetch *fakeFetch, grants, paths []string) *eventCalls {
	t.Helper()
	man := &manifest.Manifest{Capabilities: map[string]manifest.Capability{"api": {Paths: paths}}}
	c, err := newCapabilities(grants, man, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.api = func(app string) apiCaller {
		if app != "shop" || api == nil {
			return nil
		}
		return api
	}
	c.fetch = func(app, name string) (fetcher, string) {
		if app != "shop" || name != "orders" {
			return nil, ""
		}
		return fetch, name
	}
	return &eventCalls{capabilities: c}
}

// outOf is a call for an event of an app.
func outOf(app string) sandbox.OutCall {
	return sandbox.OutCall{Plugin: "asker", Event: &hostapi.Event{ID: "e1", App: app, Attempt: 2, TraceParent: "00-a-b-01"}, MaxBody: 100}
}

// TestAPIOutside: nothing goes out that the grant and the manifest don't both have,
// in whatever spelling.
func TestAPIOutside(t *testing.T) {
	grants, paths := []string{"GET /cgi-bin/user/*", "/cgi-bin/tags/**", "/cgi-bin/**/get"}, []string{"/cgi-bin/user/*", "/cgi-bin/tags/get"}
	for call, want := range map[string]bool{
		"GET /cgi-bin/user/info":     true,
		"GET /cgi-bin/tags/get":      true,
		"POST /cgi-bin/tags/get":     true,
		"GET /cgi-bin/%75ser/info":   true,
		"POST /cgi-bin/user/info":    false, // the grant has GET only
		"GET /cgi-bin/tags/members":  false, // the manifest doesn't have it
		"GET /cgi-bin/menu/get":      false,
		"GET /cgi-bin/user/a/b":      false,
		"GET /cgi-bin/user/../menu":  false,
		"GET /cgi-bin/user/%2e%2e/x": false,
		"GET /cgi-bin/user/..%2fx":   false,
		"GET /cgi-bin/user//info":    false,
		"GET //cgi-bin/user/info":    false,
		"GET /cgi-bin/user/":         false,
		"GET /cgi-bin/user/info?a=b": false,
		"GET /cgi-bin/user/info%3fa": false,
		"GET /cgi-bin/user/info#a":   false,
		"GET /cgi-bin/user/info;a":   false,
		"GET /CGI-BIN/user/info":     false,
		"GET /cgi-bin\\user\\info":   false,
		"GET /cgi-bin/user/in\r\nfo": false,
		"GET /cgi-bin/token":         false,
		"POST /cgi-bin/stable_token": false,
		"GET /sns/userinfo":          false,
	} {
		api := &fakeAPI{body: strings.NewReader("{}"), answer: gateway.APIResponse{Status: 200}}
		c := newCalls(t, api, nil, grants, paths)
		req := &hostapi.APIRequest{}
		req.Method, req.Path, _ = strings.Cut(call, " ")
		var resp hostapi.APIResponse
		status := c.API(t.Context(), outOf("shop"), req, &resp)
		if went := len(api.calls) == 1; went != want || (status == hostapi.OK) != want || !want && (status != hostapi.Denied || resp.Error == "") {
			t.Errorf("%q: %s %q, %d calls", call, status, resp.Error, len(api.calls))
		}
	}
	all := []string{"/**"}
	for _, query := range []string{"access_token", "Access_Token", "[access_token]", "access.token", " access_token"} {
		api := &fakeAPI{}
		c := newCalls(t, api, nil, all, nil)
		var resp hostapi.APIResponse
		req := &hostapi.APIRequest{Method: "GET", Path: "/cgi-bin/user/info", Query: []hostapi.Field{{Name: "a", Value: "b"}, {Name: query, Value: "x"}}}
		if status := c.API(t.Context(), outOf("shop"), req, &resp); status != hostapi.Denied || len(api.calls) != 0 {
			t.Errorf("query %q: %s", query, status)
		}
	}
	api := &fakeAPI{}
	c := newCalls(t, api, nil, all, nil)
	var resp hostapi.APIResponse
	if status := c.API(t.Context(), outOf("other"), &hostapi.APIRequest{Method: "GET", Path: "/a"}, &resp); status != hostapi.Unavailable || resp.Error != textNoAPI || len(api.calls) != 0 {
		t.Errorf("another app's: %s %q", status, resp.Error)
	}
	if _, err := newCapabilities([]string{"/a", "a"}, &manifest.Manifest{}, nil); err == nil || !strings.Contains(err.Error(), "grants.api") {
		t.Errorf("a grant that is no pattern: %v", err)
	}
	if _, err := newCapabilities(nil, &manifest.Manifest{Capabilities: map[string]manifest.Capability{"api": {Paths: []string{"/a/b**"}}}}, nil); err == nil || !strings.Contains(err.Error(), "manifest") {
		t.Errorf("a path that is no pattern: %v", err)
	}
}

// TestAPIRequest: what goes out is what was asked, with the trace and no more.
func TestAPIRequest(t *testing.T) {
	api := &fakeAPI{body: strings.NewReader(`{"a":1}`), answer: gateway.APIResponse{Status: 200, Header: http.Header{"Content-Type": {"application/json\xff"}}, Rid: "r"}}
	c := newCalls(t, api, nil, []string{"/**"}, nil)
	req := &hostapi.APIRequest{
		Method: "POST", Path: "/cgi-bin/a", Body: []byte(`{"q":"字"}`), IdempotencyKey: "k",
		Query: []hostapi.Field{{Name: "b", Value: "a&b=c"}, {Name: "a", Value: "\r\n"}},
	}
	var resp hostapi.APIResponse
	if status := c.API(t.Context(), outOf("shop"), req, &resp); status != hostapi.OK || string(resp.Body) != `{"a":1}` || resp.Status != 200 || resp.Rid != "r" || resp.ContentType != "application/json" {
		t.Errorf("%s, %+v", status, resp)
	}
	sent := api.calls[0]
	body, err := io.ReadAll(sent.Body)
	if err != nil || string(body) != string(req.Body) || sent.Length != int64(len(body)) || !sent.Repeatable || sent.Target.Method() != "POST" || sent.Target.Path() != "/cgi-bin/a" || sent.Target.Query() != "b=a%26b%3Dc&a=%0D%0A" {
		t.Errorf("sent %+v %q, %v", sent, body, err)
	}
	if h := sent.Header; len(h) != 2 || h.Get("Content-Type") != "application/json" || h.Get("Traceparent") != "00-a-b-01" {
		t.Errorf("with %v", h)
	}
}

// TestAPIAnswers: what came of a call as the guest is told, which has nothing of
// what the host alone should know.
func TestAPIAnswers(t *testing.T) {
	const secret = "s3cret"
	failed := func(kind error) error { return fmt.Errorf("dial 10.0.0.1 %s: %w", secret, kind) }
	for name, tt := range map[string]struct {
		answer gateway.APIResponse
		body   io.Reader
		err    error
		status hostapi.Status
		class  string
		maybe  bool
	}{
		"errcode":            {answer: gateway.APIResponse{Status: 200, Errcode: 40003, Rid: "r"}, status: hostapi.Upstream, class: "caller_error"},
		"user":               {answer: gateway.APIResponse{Status: 200, Errcode: 45015}, status: hostapi.Upstream, class: "user_state"},
		"already so":         {answer: gateway.APIResponse{Status: 200, Errcode: 45065}, status: hostapi.OK, class: "treat_as_ok"},
		"errcode over all":   {answer: gateway.APIResponse{Status: 200, Errcode: 1 << 40}, status: hostapi.Upstream, class: "caller_error"},
		"status":             {answer: gateway.APIResponse{Status: 502}, status: hostapi.Unavailable, maybe: true},
		"status and errcode": {answer: gateway.APIResponse{Status: 412, Errcode: -1}, status: hostapi.Upstream, class: "backoff"},
		"large":              {answer: gateway.APIResponse{Status: 200}, body: strings.NewReader(strings.Repeat("a", 101)), status: hostapi.TooLarge, maybe: true},
		"breaks off": {
			answer: gateway.APIResponse{Status: 200}, body: io.MultiReader(strings.NewReader("a"), brokenReader{failed(gateway.ErrBroken)}),
			status: hostapi.Unavailable, maybe: true,
		},
		"timeout":     {err: failed(gateway.ErrTimeout), status: hostapi.Timeout, maybe: true},
		"event ended": {err: failed(gateway.ErrCanceled), status: hostapi.Timeout, maybe: true},
		"broken":      {err: failed(gateway.ErrBroken), status: hostapi.Unavailable, maybe: true},
		"unreachable": {err: failed(gateway.ErrUnreachable), status: hostapi.Unavailable},
		"circuit":     {err: failed(gateway.ErrCircuit), status: hostapi.Unavailable},
		"quota":       {err: failed(gateway.ErrQuota), status: hostapi.Limited},
		"limited":     {err: failed(gateway.ErrLimited), status: hostapi.Limited},
		"busy":        {err: failed(gateway.ErrBusy), status: hostapi.Unavailable},
		"token":       {err: failed(gateway.ErrToken), status: hostapi.Unavailable},
		"unknown":     {err: errors.New(secret), status: hostapi.Unavailable, maybe: true},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.body == nil {
				tt.body = strings.NewReader("{}")
			}
			c := newCalls(t, &fakeAPI{answer: tt.answer, body: tt.body, err: tt.err}, nil, []string{"/**"}, nil)
			var resp hostapi.APIResponse
			status := c.API(t.Context(), outOf("shop"), &hostapi.APIRequest{Method: "POST", Path: "/a"}, &resp)
			if status != tt.status || resp.Class != tt.class || resp.MaybeExecuted != tt.maybe || resp.Rid != tt.answer.Rid {
				t.Errorf("%s, %+v", status, resp)
			}
			answered := status == hostapi.OK || status == hostapi.Upstream
			if answered != (resp.Error == "") || !answered && resp.Body != nil || strings.Contains(resp.Error, secret) || strings.Contains(resp.Error, "10.0.0.1") {
				t.Errorf("said %q", resp.Error)
			}
			if answered && (resp.Errcode != 0) != (tt.answer.Errcode != 0) {
				t.Errorf("errcode %d", resp.Errcode)
			}
		})
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// TestAsideCalls: of a shadow only GETs go out, and whatever else it wanted is
// noted; what it may not do at all is no difference.
func TestAsideCalls(t *testing.T) {
	for _, tt := range []struct {
		call     string
		status   hostapi.Status
		withheld bool
	}{
		{"GET /a", hostapi.OK, false},
		{"POST /a", hostapi.Unavailable, true},
		{"HEAD /a", hostapi.Unavailable, true},
		{"POST /outside", hostapi.Denied, false},
		{"fetch GET", hostapi.OK, false},
		{"fetch DELETE", hostapi.Unavailable, true},
	} {
		api, fetch := &fakeAPI{answer: gateway.APIResponse{Status: 200}, body: strings.NewReader("")}, &fakeFetch{answer: gateway.FetchAnswer{Status: 200}}
		c := newCalls(t, api, fetch, []string{"/a"}, nil)
		of := outOf("shop")
		of.Aside = true
		method, rest, _ := strings.Cut(tt.call, " ")
		status := hostapi.Status(-1)
		if method == "fetch" {
			status = c.Fetch(t.Context(), of, &hostapi.FetchRequest{Upstream: "orders", Method: rest}, new(hostapi.FetchResponse))
		} else {
			status = c.API(t.Context(), of, &hostapi.APIRequest{Method: method, Path: rest}, new(hostapi.APIResponse))
		}
		if went := len(api.calls)+len(fetch.calls) == 1; status != tt.status || c.withheld != tt.withheld || went != (status == hostapi.OK) {
			t.Errorf("%s: %s, withheld %t, went out %t", tt.call, status, c.withheld, went)
		}
	}
}

// askerService is a service of the business.
type askerService struct {
	*httptest.Server
	mu    sync.Mutex
	seen  []string
	calls atomic.Int32
}

func newAskerService(t *testing.T) *askerService {
	t.Helper()
	s := &askerService{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.seen = append(s.seen, fmt.Sprintf("%s %s %s %s %s", r.Method, r.RequestURI, body, r.Header.Get("Authorization"), r.Header.Get("Accept")))
		s.mu.Unlock()
		s.calls.Add(1)
		switch r.URL.Path {
		case "/base/moved":
			w.Header().Set("Location", "http://169.254.169.254/latest")
			w.WriteHeader(http.StatusFound)
		case "/base/large":
			_, _ = w.Write(make([]byte, gateway.MaxAnswer+1))
		case "/base/cookie":
			w.Header().Set("Set-Cookie", "s3cret=1")
			w.Header().Set("Etag", `"1"`)
			w.Header()["Content-Type"] = nil
		default:
			w.Header()["Content-Type"] = nil
			_, _ = w.Write(bytes.ToUpper([]byte(r.URL.Path)))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *askerService) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return ""
	}
	return s.seen[len(s.seen)-1]
}

// askerSections are an app whose plugin asks two services; another app has one of
// its own in the place of one of them.
func askerSections(t *testing.T, orders, stock, own string) string {
	t.Helper()
	return "apps:\n" + appYAML("shop", "encrypted", "") + appYAML("branch", "encrypted", "upstreams: { orders: branch-orders }\n") + fmt.Sprintf(`upstreams:
  acme-orders: { url: %q, private: [127.0.0.0/8], headers: { Authorization: "Bearer s3cret" }, timeout: 2s }
  acme-stock: { url: %q, private: [127.0.0.0/8], timeout: 300ms }
  branch-orders: { url: %q, private: [127.0.0.0/8] }
plugins:
  asker: { source: %q, grants: { fetch: { orders: acme-orders, stock: acme-stock } }, limits: { timeout: 3s } }
pipeline: { stages: [ { plugin: asker } ] }
`, orders+"/base", stock, own+"/own", asker(t))
}

// TestPluginFetches: a real guest asks services through a whole host.
func TestPluginFetches(t *testing.T) {
	orders, branch := newAskerService(t), newAskerService(t)
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hangs.Close)
	h := startHost(t, writeConfig(t, askerSections(t, orders.URL, hangs.URL, branch.URL)))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	id := counter()
	for _, tt := range []struct{ app, text, want string }{
		{"shop", "fetch orders GET /o1?q=a&b", "200 /BASE/O1"},
		{"shop", "fetch orders POST /o2 hello there", "200 /BASE/O2"},
		{"shop", "fetch orders GET", "200 /BASE"},
		{"shop", "fetch orders GET /moved", "302  Location=http://169.254.169.254/latest"},
		{"shop", "fetch orders GET /cookie", "200  Etag=\"1\""},
		{"shop", "fetch orders GET /large", "fetch orders: TOO_LARGE: the upstream's answer is too large, or compressed (it may have been executed)"},
		{"shop", "fetch orders GET /../admin", "fetch orders: INVALID: the path has a segment of dots"},
		{"shop", "fetch orders GET /%2e%2e/admin", "fetch orders: INVALID: the path has a segment of dots"},
		{"shop", "fetch stock GET /a", "fetch stock: TIMEOUT: the upstream did not answer in time (it may have been executed)"},
		{"shop", "fetch branch-orders GET /a", "fetch branch-orders: DENIED: no upstream of this name is granted"},
		{"shop", "fetch acme-orders GET /a", "fetch acme-orders: DENIED: no upstream of this name is granted"},
		{"shop", "api GET /cgi-bin/tags/get", "api /cgi-bin/tags/get: DENIED"},
		{"branch", "fetch orders GET /o1", "200 /OWN/O1"},
		{"branch", "fetch stock GET /a", "fetch stock: TIMEOUT: the upstream did not answer in time (it may have been executed)"},
	} {
		if got := h.say(t, tt.app, id(), tt.text); got != tt.want {
			t.Errorf("%s, %s: answered %q, want %q", tt.app, tt.text, got, tt.want)
		}
	}
	if got := orders.seen[:2]; got[0] != "GET /base/o1?q=a%26b  Bearer s3cret text/plain" || got[1] != "POST /base/o2 hello there Bearer s3cret text/plain" {
		t.Errorf("asked %q", got)
	}
	if got := branch.last(); branch.calls.Load() != 1 || got != "GET /own/o1   text/plain" {
		t.Errorf("the branch was asked %q", got)
	}
	if strings.Contains(h.log.String(), "s3cret") {
		t.Error("the log has the upstream's secret")
	}
	if len(h.log.lines(t, "a plugin's call got no answer")) == 0 {
		t.Error("nothing logged")
	}
}

// TestShadowAsks: a shadow reads and changes nothing, and says so.
func TestShadowAsks(t *testing.T) {
	orders := newAskerService(t)
	sections := strings.Replace(askerSections(t, orders.URL, orders.URL, orders.URL), "plugins:\n",
		fmt.Sprintf("plugins:\n  next: { source: %q, grants: { fetch: { orders: acme-orders } } }\n", asker(t)), 1)
	h := startHost(t, writeConfig(t, strings.Replace(sections, "{ plugin: asker }", "{ plugin: asker, shadow: next }", 1)))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for i, text := range []string{"fetch orders GET /a", "fetch orders POST /b", "fetch orders POST /c\nfetch orders GET /a"} {
		h.say(t, "shop", fmt.Sprint(i), text)
		h.waitForShadow(t, uint64(i+1))
	}
	if s := h.waitForShadow(t, 3); s.Same != 1 || s.NotComparable != 2 {
		t.Errorf("%+v", s)
	}
	if n := orders.calls.Load(); n != 4+2 {
		t.Errorf("%d requests: %q", n, orders.seen)
	}
}

// askerAPI is the way of an app to a fake WeChat.
func askerAPI(t *testing.T, w *simulator.WeChat) apiCaller {
	t.Helper()
	w.Set(simulator.App{ID: testAppID, Secret: "app-s3cret"})
	server := httptest.NewUnstartedServer(w)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(w.Close)
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	all, err := gateway.NewCredentials(gateway.CredentialOptions{Store: s, Key: make([]byte, 32), Client: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.Close)
	tokens, err := all.Open(gateway.CredentialConfig{App: "shop", Source: gateway.FromWeChat, AppID: testAppID, Secret: "app-s3cret", Base: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { all.CloseApp(tokens) })
	apis := gateway.NewAPIs(gateway.APIsConfig{})
	t.Cleanup(apis.Close)
	api, err := apis.Open(gateway.APIConfig{App: "shop", Base: server.URL, Timeout: 2 * time.Second, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return api
}

// TestPluginCallsWeChat: a real guest calls a fake WeChat by way of the gateway's
// client.
func TestPluginCallsWeChat(t *testing.T) {
	w := simulator.New(simulator.Options{Seed: 1})
	api := askerAPI(t, w)
	file := writeConfig(t, "apps:\n"+appYAML("shop", "plain", "app_secret: app-s3cret\n")+fmt.Sprintf(`plugins:
  asker: { source: %q, grants: { api: [ "/cgi-bin/user/*", "/cgi-bin/message/custom/send", "/wxa/*" ] }, limits: { timeout: 3s } }
pipeline: { stages: [ { plugin: asker } ] }
`, asker(t)))
	ask := openAsker(t, file, api)
	w.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/user/get"}, Errcode: 45009})
	w.Strike(simulator.Fault{Where: simulator.Where{Path: "/wxa/a"}, Errcode: 40003})
	for _, tt := range []struct{ text, want string }{
		{"api GET /cgi-bin/user/info?openid=oNobody", "200  {"},
		{"api POST /wxa/a {}", "api /wxa/a: errcode 40003 (caller_error), rid "},
		{"api GET /cgi-bin/menu/get", "api /cgi-bin/menu/get: DENIED: " + textOutside},
		{"api GET /wxa/a", "api /wxa/a: DENIED: " + textOutside}, // the manifest has POST
		{"api GET /cgi-bin/user/%2e%2e/menu", "api /cgi-bin/user/%2e%2e/menu: DENIED: "},
		{"api GET /cgi-bin/user/info?access_token=x", "api /cgi-bin/user/info: DENIED: "},
		{"api GET /cgi-bin/user/get", "api /cgi-bin/user/get: errcode 45009 (quota_stop)"},
		{"api GET /cgi-bin/user/get", "api /cgi-bin/user/get: LIMITED: "},
	} {
		if got := ask(tt.text); !strings.HasPrefix(got, tt.want) || strings.Contains(got, "s3cret") {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
	many := strings.Repeat("api GET /cgi-bin/user/info?openid=oNobody\n", hostapi.MaxCalls+5)
	if got := ask(strings.TrimSuffix(many, "\n")); got != "api /cgi-bin/user/info: LIMITED" {
		t.Errorf("one too many: %q", got)
	}
	if n := w.Count(simulator.Where{Path: "/cgi-bin/user/info"}).Calls; n != 1+hostapi.MaxCalls {
		t.Errorf("%d calls", n)
	}
	if n := w.Count(simulator.Where{Path: "/cgi-bin/menu/get"}).Calls; n != 0 {
		t.Errorf("%d calls outside", n)
	}
	w.SetDown(true)
	if got := ask("api POST /cgi-bin/message/custom/send {}"); !strings.HasPrefix(got, "api /cgi-bin/message/custom/send: UNAVAILABLE: ") || !strings.HasSuffix(got, "(it may have been executed)") {
		t.Errorf("down: %q", got)
	}
}

// openAsker loads the plugin of a configuration, as a host does, and gives what it
// answers to a text.
func openAsker(t *testing.T, file string, api apiCaller) func(text string) string {
	t.Helper()
	cfg, _, err := caseConfig(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.New(t.Context(), sandbox.Options{CacheDir: compileCache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close(context.Background()) })
	a, err := assemble(t.Context(), cfg, assembleOptions{
		sandbox: box, upstreams: gateway.NewPool(nil, discard()), state: noState{}, log: discard(), api: func(string) apiCaller { return api },
	})
	if err != nil || a.problems.Err() != nil {
		t.Fatal(err, a.problems)
	}
	t.Cleanup(func() { _ = a.close(context.Background()) })
	configs := a.plugins["asker"].SetConfigs(t.Context(), map[string]sandbox.Config{"shop": {JSON: []byte("{}")}})
	if len(configs) > 0 {
		t.Fatal(configs)
	}
	g := guest{plugin: a.plugins["asker"], asks: a.capabilitiesOf(cfg.Plugins[0], func(string) apiCaller { return api }, nil, assembleOptions{log: discard()})}
	return func(text string) string {
		t.Helper()
		res, err := g.Handle(t.Context(), &pipeline.Call{Event: &hostapi.Event{ID: "e", App: "shop", Type: "text", User: "oUser", Content: text}, Passive: true})
		if err != nil || res.Reply == nil {
			t.Fatalf("%s: %v", text, err)
		}
		return res.Reply.Text.Content
	}
}
