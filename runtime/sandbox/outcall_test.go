package sandbox

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// fakeWays answers calls of api and fetch with what stands in it.
type fakeWays struct {
	status hostapi.Status
	api    hostapi.APIResponse
	fetch  hostapi.FetchResponse
	run    func(ctx context.Context) // before the answer; nil: nothing

	calls int
	of    OutCall
	asked any // the last request
}

func (w *fakeWays) API(ctx context.Context, of OutCall, req *hostapi.APIRequest, resp *hostapi.APIResponse) hostapi.Status {
	*resp = w.api
	return w.called(ctx, of, *req)
}

func (w *fakeWays) Fetch(ctx context.Context, of OutCall, req *hostapi.FetchRequest, resp *hostapi.FetchResponse) hostapi.Status {
	*resp = w.fetch
	return w.called(ctx, of, *req)
}

func (w *fakeWays) called(ctx context.Context, of OutCall, req any) hostapi.Status {
	w.calls++
	w.of, w.asked = of, req
	if w.run != nil {
		w.run(ctx)
	}
	return w.status
}

// newOutCaller gives a caller whose calls go to ways, with room for a request at
// 100 and a response at 400000.
func newOutCaller(t testing.TB, ways *fakeWays) *caller {
	t.Helper()
	c := newCaller(t, event('0'))
	if _, ok := c.in.memory.Grow(40); !ok {
		t.Fatal("no memory")
	}
	c.in.call.api, c.in.call.fetch = ways, ways
	return c
}

const outAt = 400000

// out makes a call and decodes its response.
func (c *caller) out(name string, req interface{ Append([]byte) []byte }, resp interface{ Decode([]byte) error }) hostapi.Status {
	c.t.Helper()
	raw := req.Append(nil)
	c.write(100, raw)
	got, trap := c.call(name, 100, uint64(len(raw)), outAt, 2<<20)
	if trap != nil {
		c.t.Fatal(trap)
	}
	if err := resp.Decode(c.read(outAt, uint64(uint32(got)))); err != nil {
		c.t.Fatal(err)
	}
	return hostapi.Status(got >> 32)
}

func TestAPIRequests(t *testing.T) {
	long := strings.Repeat("a", hostapi.MaxCallBody+1)
	many := make([]hostapi.Field, hostapi.MaxCallFields+1)
	good := hostapi.APIRequest{Method: "POST", Path: "/cgi-bin/a", Query: []hostapi.Field{{Name: "a", Value: "b"}}, Body: []byte(`{}`), IdempotencyKey: "k-1"}
	for name, tc := range map[string]struct {
		change func(r *hostapi.APIRequest)
		want   hostapi.Status
		text   string
	}{
		"as it should be": {func(*hostapi.APIRequest) {}, hostapi.OK, ""},
		"the most of all": {func(r *hostapi.APIRequest) {
			r.Path, r.Body, r.IdempotencyKey = "/"+long[:hostapi.MaxCallPath-1], []byte(long[1:]), long[:hostapi.MaxCallKey]
			r.Query = []hostapi.Field{{Name: "a", Value: long[:hostapi.MaxCallQuery-1]}}
		}, hostapi.OK, ""},
		"long path":            {func(r *hostapi.APIRequest) { r.Path = "/" + long[:hostapi.MaxCallPath] }, hostapi.TooLarge, "over its limit"},
		"long body":            {func(r *hostapi.APIRequest) { r.Body = []byte(long) }, hostapi.TooLarge, "over its limit"},
		"long query":           {func(r *hostapi.APIRequest) { r.Query[0].Name = long[:hostapi.MaxCallQuery] }, hostapi.TooLarge, "over its limit"},
		"many fields":          {func(r *hostapi.APIRequest) { r.Query = many }, hostapi.TooLarge, "over its limit"},
		"long key":             {func(r *hostapi.APIRequest) { r.IdempotencyKey = long[:hostapi.MaxCallKey+1] }, hostapi.TooLarge, "over its limit"},
		"no path":              {func(r *hostapi.APIRequest) { r.Path = "" }, hostapi.Invalid, "slash"},
		"another host":         {func(r *hostapi.APIRequest) { r.Path = "http://other/a" }, hostapi.Invalid, "slash"},
		"no method":            {func(r *hostapi.APIRequest) { r.Method = "" }, hostapi.Invalid, "method"},
		"method of two lines":  {func(r *hostapi.APIRequest) { r.Method = "GET / HTTP/1.1\r\nX: y" }, hostapi.Invalid, "method"},
		"method in lower case": {func(r *hostapi.APIRequest) { r.Method = "get" }, hostapi.Invalid, "method"},
		"GET with a body":      {func(r *hostapi.APIRequest) { r.Method = "GET" }, hostapi.Invalid, "has no body"},
		"key of two lines":     {func(r *hostapi.APIRequest) { r.IdempotencyKey = "k\r\nX: y" }, hostapi.Invalid, "idempotency_key"},
	} {
		t.Run(name, func(t *testing.T) {
			ways := &fakeWays{}
			c := newOutCaller(t, ways)
			req := good
			req.Query = slices.Clone(req.Query)
			tc.change(&req)
			var resp hostapi.APIResponse
			if status := c.out("api", &req, &resp); status != tc.want || !strings.Contains(resp.Error, tc.text) {
				t.Errorf("%s, %q", status, resp.Error)
			}
			if passed := tc.want == hostapi.OK; passed != (ways.calls == 1) || passed && fmt.Sprint(ways.asked) != fmt.Sprint(req) {
				t.Errorf("%d calls, the last %.200v", ways.calls, ways.asked)
			}
			if want := (OutCall{Plugin: "empty", Event: c.in.call.event, MaxBody: hostapi.MaxCallAnswer}); ways.calls > 0 && ways.of != want {
				t.Errorf("for %+v", ways.of)
			}
		})
	}
}

func TestFetchRequests(t *testing.T) {
	head := func(name, value string) func(*hostapi.FetchRequest) {
		return func(r *hostapi.FetchRequest) { r.Headers = append(r.Headers, hostapi.Field{Name: name, Value: value}) }
	}
	path := func(path string) func(*hostapi.FetchRequest) { return func(r *hostapi.FetchRequest) { r.Path = path } }
	upstream := func(name string) func(*hostapi.FetchRequest) {
		return func(r *hostapi.FetchRequest) { r.Upstream = name }
	}
	good := hostapi.FetchRequest{Upstream: "orders", Method: "POST", Path: "/a", Body: []byte("b"), Headers: []hostapi.Field{{Name: "content-Type", Value: "text/plain; charset=utf-8"}}}
	for name, tc := range map[string]struct {
		change func(r *hostapi.FetchRequest)
		want   hostapi.Status
		text   string
	}{
		"as it should be":       {head("ACCEPT", "*/*"), hostapi.OK, ""},
		"no path":               {path(""), hostapi.OK, ""},
		"escaped openid":        {path("/u/o%E5%AD%97%2F1/..a/b...c"), hostapi.OK, ""},
		"unknown upstream":      {upstream("other"), hostapi.Denied, "no upstream of this name"},
		"no upstream":           {upstream(""), hostapi.Denied, "no upstream"},
		"two upstreams":         {upstream("orders\nstock"), hostapi.Denied, "no upstream"},
		"an address":            {upstream("http://169.254.169.254/"), hostapi.Denied, "no upstream"},
		"no slash":              {path("a"), hostapi.Invalid, "slash"},
		"another host":          {path("@other/"), hostapi.Invalid, "slash"},
		"dots":                  {path("/a/../b"), hostapi.Invalid, "dots"},
		"dot":                   {path("/./b"), hostapi.Invalid, "dots"},
		"dots at the end":       {path("/a/.."), hostapi.Invalid, "dots"},
		"escaped dots":          {path("/a/%2e%2E/b"), hostapi.Invalid, "dots"},
		"half escaped dots":     {path("/a/.%2e/b"), hostapi.Invalid, "dots"},
		"escaped slashes":       {path("/a/..%2fb"), hostapi.Invalid, "dots"},
		"escaped backslash":     {path("/a/..%5cb"), hostapi.Invalid, "dots"},
		"escaped twice":         {path("/a/%252e%252e/b"), hostapi.Invalid, "dots"},
		"escaped three times":   {path("/a/%25252e%25252e/b"), hostapi.Invalid, "dots"},
		"escaped very often":    {path("/a/%2525252525252e"), hostapi.Invalid, "dots"},
		"dots with a parameter": {path("/a/..;x=1/b"), hostapi.Invalid, "dots"},
		"dots and a blank":      {path("/a/..%20/b"), hostapi.Invalid, "dots"},
		"backslash":             {path(`/a\..\b`), hostapi.Invalid, "has to be escaped"},
		"query in the path":     {path("/a?b=1"), hostapi.Invalid, "has to be escaped"},
		"fragment":              {path("/a#b"), hostapi.Invalid, "has to be escaped"},
		"line end":              {path("/a HTTP/1.1\r\nX: y"), hostapi.Invalid, "has to be escaped"},
		"escaped line end":      {path("/a%0d%0aX"), hostapi.Invalid, "control character"},
		"escaped NUL":           {path("/a%00"), hostapi.Invalid, "control character"},
		"not UTF-8 in ASCII":    {path("/字"), hostapi.Invalid, "has to be escaped"},
		"half an escape":        {path("/a%2"), hostapi.Invalid, "escapes are wrong"},
		"header of the host":    {head("Authorization", "Bearer x"), hostapi.Invalid, "a header is none of"},
		"header Host":           {head("Host", "other"), hostapi.Invalid, "a header is none of"},
		"header of a proxy":     {head("X-Forwarded-For", "127.0.0.1"), hostapi.Invalid, "a header is none of"},
		"method override":       {head("X-HTTP-Method-Override", "DELETE"), hostapi.Invalid, "a header is none of"},
		"signature":             {head("Weft-Signature", "t=1"), hostapi.Invalid, "a header is none of"},
		"length":                {head("Content-Length", "1"), hostapi.Invalid, "a header is none of"},
		"header name, two":      {head("Accept\r\nHost", "other"), hostapi.Invalid, "a header is none of"},
		"header twice":          {head("Content-Type", "a/b"), hostapi.Invalid, "a header is none of"},
		"header of two lines":   {head("Accept", "a\r\nHost: other"), hostapi.Invalid, "visible"},
		"header with a line":    {head("Accept", "a\nb"), hostapi.Invalid, "visible"},
		"header not ASCII":      {head("Accept", "字"), hostapi.Invalid, "visible"},
		"long headers":          {head("Accept", strings.Repeat("a", hostapi.MaxCallHeaders)), hostapi.TooLarge, "over its limit"},
		"many headers": {func(r *hostapi.FetchRequest) {
			r.Headers = make([]hostapi.Field, hostapi.MaxCallFields+1)
		}, hostapi.TooLarge, "over its limit"},
		"GET with a body": {func(r *hostapi.FetchRequest) { r.Method = "GET" }, hostapi.Invalid, "has no body"},
		"method":          {func(r *hostapi.FetchRequest) { r.Method = "CONNECT" }, hostapi.Invalid, "method"},
	} {
		t.Run(name, func(t *testing.T) {
			ways := &fakeWays{}
			c := newOutCaller(t, ways)
			req := good
			req.Headers = slices.Clone(req.Headers)
			tc.change(&req)
			var resp hostapi.FetchResponse
			if status := c.out("fetch", &req, &resp); status != tc.want || !strings.Contains(resp.Error, tc.text) {
				t.Errorf("%s, %q", status, resp.Error)
			}
			if passed := tc.want == hostapi.OK; passed != (ways.calls == 1) || passed && fmt.Sprint(ways.asked) != fmt.Sprint(req) {
				t.Errorf("%d calls, the last %.200v", ways.calls, ways.asked)
			}
		})
	}
}

// TestOutBroken: what doesn't decode, and what is too long to be looked at.
func TestOutBroken(t *testing.T) {
	ways := &fakeWays{}
	c := newOutCaller(t, ways)
	for _, name := range []string{"api", "fetch"} {
		c.write(100, []byte{0x0a})
		got, trap := c.call(name, 100, 1, outAt, 1000)
		text := string(c.read(outAt, uint64(uint32(got))))
		if trap != nil || hostapi.Status(got>>32) != hostapi.Invalid || !strings.Contains(text, "Request: truncated") && !strings.Contains(text, "Request field 1: truncated") {
			t.Errorf("%s: %d, %q, %v", name, got>>32, text, trap)
		}
		c.want(int64(hostapi.TooLarge)<<32, name, 100, maxOutRequest+1, outAt, 1000)
	}
	if ways.calls != 0 {
		t.Errorf("%d calls", ways.calls)
	}
}

// TestOutLimits: both share a count, and nothing goes out without grant, time or
// room.
func TestOutLimits(t *testing.T) {
	ways := &fakeWays{api: hostapi.APIResponse{Status: 200, Body: make([]byte, 100)}, fetch: hostapi.FetchResponse{Status: 204}}
	c := newOutCaller(t, ways)
	req, fetch := &hostapi.APIRequest{Method: "GET", Path: "/a"}, &hostapi.FetchRequest{Upstream: "stock", Method: "GET"}
	var resp hostapi.APIResponse
	var fetched hostapi.FetchResponse
	for range hostapi.MaxCalls / 2 {
		if a, b := c.out("api", req, &resp), c.out("fetch", fetch, &fetched); a != hostapi.OK || b != hostapi.OK || len(resp.Body) != 100 || fetched.Status != 204 {
			t.Fatal(a, b, resp, fetched)
		}
	}
	want := func(status hostapi.Status, what string) {
		t.Helper()
		if a, b := c.out("api", req, &resp), c.out("fetch", fetch, &fetched); a != status || b != status || ways.calls != hostapi.MaxCalls {
			t.Errorf("%s: %s, %s, %d calls", what, a, b, ways.calls)
		}
	}
	want(hostapi.Limited, "too many")
	c.in.call.outCalls = 0
	c.in.call.answered = c.in.plugin.limits.Response
	want(hostapi.Limited, "too much")
	c.in.call.answered = 0
	in := c.in.plugin.grants
	c.in.plugin.grants = grants{State: true}
	want(hostapi.Denied, "not granted")
	c.in.plugin.grants = in
	c.in.call.api, c.in.call.fetch = nil, nil
	want(hostapi.Unavailable, "no way")
	c.in.call.api, c.in.call.fetch = ways, ways
	c.in.bound.deadline, c.in.bound.work = c.in.bound.now()-time.Second, 0
	for name, msg := range map[string]interface{ Append([]byte) []byte }{"api": req, "fetch": fetch} {
		raw := msg.Append(nil)
		c.write(100, raw)
		c.want(int64(hostapi.Timeout)<<32, name, 100, uint64(len(raw)), outAt, 1000)
	}
}

// TestOutAnswers: the response's room is what is left of the event's, and an answer
// over it is none.
func TestOutAnswers(t *testing.T) {
	ways := &fakeWays{status: hostapi.Upstream, api: hostapi.APIResponse{Status: 200, Body: make([]byte, 101), Errcode: 40003, Class: "caller_error"}}
	ways.fetch = hostapi.FetchResponse{Status: 200, Body: make([]byte, 101)}
	c := newOutCaller(t, ways)
	req, fetch := &hostapi.APIRequest{Method: "POST", Path: "/a"}, &hostapi.FetchRequest{Upstream: "stock", Method: "GET"}
	var resp hostapi.APIResponse
	var fetched hostapi.FetchResponse
	if status := c.out("api", req, &resp); status != hostapi.Upstream || resp.Errcode != 40003 || resp.Class != "caller_error" {
		t.Errorf("%s, %+v", status, resp)
	}
	for range 2 {
		c.in.call.answered = c.in.plugin.limits.Response - 100
		if status := c.out("api", req, &resp); status != hostapi.TooLarge || resp.Errcode != 0 || resp.Body != nil || !resp.MaybeExecuted || resp.Error != "the answer has over 100 bytes" || ways.of.MaxBody != 100 {
			t.Errorf("%s, %+v, %d", status, resp, ways.of.MaxBody)
		}
		c.in.call.answered = c.in.plugin.limits.Response - 100
		if status := c.out("fetch", fetch, &fetched); status != hostapi.TooLarge || fetched.Body != nil || !fetched.MaybeExecuted {
			t.Errorf("%s, %+v", status, fetched)
		}
	}
	ways.api.Body = make([]byte, hostapi.MaxCallAnswer+1)
	c.in.call.answered = 0
	if status := c.out("api", req, &resp); status != hostapi.TooLarge || ways.of.MaxBody != hostapi.MaxCallAnswer {
		t.Errorf("%s, %d", status, ways.of.MaxBody)
	}
}

// TestOutWaits: a call ends before the event's time does, in which the guest holds
// no run token, and the call ends with the event.
func TestOutWaits(t *testing.T) {
	for _, name := range []string{"api", "fetch"} {
		t.Run(name, func(t *testing.T) {
			spec := watSpec(t, name+"-call", "capabilities: { api: { why: tries }, fetch: { why: tries, upstreams: { orders: lists } } }")
			spec.Grants = Grants{API: true, Fetch: []string{"orders"}}
			spec.Limits.Timeout = 300 * time.Millisecond
			p := load(t, newSandbox(t, Options{}), spec)
			var left time.Duration
			ways := &fakeWays{status: hostapi.Status(hostapi.Done), run: func(ctx context.Context) {
				at, _ := ctx.Deadline()
				left = time.Until(at)
				<-ctx.Done()
			}}
			call := textCall('0')
			call.API, call.Fetch, call.Aside = ways, ways, true
			res, err := handle(p, call)
			if err != nil || res.Outcome != hostapi.Done || left <= 200*time.Millisecond || left > 270*time.Millisecond || !ways.of.Aside {
				t.Errorf("%+v, %v, %v left, %+v", res, err, left, ways.of)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ways.run = func(ctx context.Context) {
				cancel()
				<-ctx.Done()
			}
			began := time.Now()
			if _, _ = p.Handle(ctx, call); time.Since(began) > 200*time.Millisecond {
				t.Errorf("the event ended, and its call lasted for %v", time.Since(began))
			}
		})
	}
}

// TestInstancesThatWait: a plugin whose calls wait for others has more instances.
func TestInstancesThatWait(t *testing.T) {
	s := newSandbox(t, Options{})
	manifest := "capabilities: { api: { why: tries, optional: true }, fetch: { why: tries, optional: true, upstreams: { orders: lists } } }"
	for _, tt := range []struct {
		grants Grants
		limit  int
		want   int
	}{
		{Grants{}, 0, defaultInstances()},
		{Grants{API: true}, 0, outInstances},
		{Grants{Fetch: []string{"orders"}}, 0, outInstances},
		{Grants{API: true, Fetch: []string{"orders"}}, 3, 3},
	} {
		spec := watSpec(t, "empty", manifest)
		spec.Grants, spec.Limits.Instances = tt.grants, tt.limit
		if got := load(t, s, spec).Limits().Instances; got != tt.want {
			t.Errorf("%+v: %d instances, want %d", tt.grants, got, tt.want)
		}
	}
}

// TestFetchGrants: names that the manifest doesn't declare are a mistake, and those
// that it does are all needed, but where it says optional.
func TestFetchGrants(t *testing.T) {
	s := newSandbox(t, Options{})
	load := func(manifest string, names ...string) error {
		spec := watSpec(t, "empty", manifest)
		spec.Grants.Fetch = names
		p, err := s.Load(t.Context(), spec)
		if err == nil {
			err = p.Close(t.Context())
		}
		return err
	}
	const both = "capabilities: { fetch: { why: tries, upstreams: { orders: lists, stock: counts } } }"
	optional := strings.Replace(both, "why: tries", "why: tries, optional: true", 1)
	for _, tt := range []struct {
		manifest, want string
		names          []string
	}{
		{both, "", []string{"stock", "orders", "orders"}},
		{both, "plugins.empty.grants: { fetch: { orders: …, stock: … } }", []string{"stock"}},
		{optional, "", []string{"stock"}},
		{optional, "plugins.empty.grants.fetch has stok, which the manifest doesn't declare; it declares orders, stock", []string{"stok"}},
		{"", "plugins.empty.grants.fetch has stock, which the manifest doesn't declare; it declares none", []string{"stock"}},
	} {
		if err := load(tt.manifest, tt.names...); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %v: %v", tt.manifest, tt.names, err)
		}
	}
}

// FuzzFetchPath: a path that is let through never leads out of the folder that it
// goes behind, however often it is decoded.
func FuzzFetchPath(f *testing.F) {
	for _, path := range []string{"", "/", "/a/b", "/a/../b", "/%2e%2e/", "/%252e.", "/a%2f..%5c", "/..;a/", "/%zz", "/%00"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if wrongPath(path) != "" || path == "" {
			return
		}
		for text := path; ; {
			if dots(text) || text[0] != '/' || strings.ContainsAny(text[:min(len(text), len(path))], "\r\n\x00") {
				t.Fatalf("%q let through, read as %q", path, text)
			}
			next, err := url.PathUnescape(text)
			if err != nil || next == text {
				return
			}
			text = next
		}
	})
}
