package simulator

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// call is one request on its way through.
type call struct {
	request  *http.Request // its body is a meter
	query    url.Values
	arrived  time.Time
	now      time.Time // it is executed by
	claim    claim     // who says to be calling, where there is no token
	rid      string
	from     netip.Addr
	endpoint endpoint
	app      *app   // under the lock of w
	appID    string // "": it names none that is known
	token    State  // of the token it shows; "": it shows none
	fetch    *Fetch // it asks for a credential
	down     bool
	fault    Fault
	meter    *meter
	body     []byte // of an endpoint that has all of it read
	bodyErr  error
	answer   answer
	executed bool
}

// endpoint is what a path does.
type endpoint struct {
	method string // "": any
	open   bool   // it wants no token
	free   bool   // it counts against no quota
	// private bodies are not told of by Received; nor are those of what is open
	// or fetches.
	private bool
	// streams leaves the body to serve; else it is read, up to MaxJSON, and
	// where the method is POST it must be a JSON object, unless the endpoint is
	// lax.
	streams, lax bool
	fetches      Kind // the credential that it gives; JSTicket: or the other ticket
	// serve does it. The lock of w is held, unless it streams.
	serve func(*WeChat, *call) answer
}

func endpoints() map[string]endpoint {
	all := map[string]endpoint{}
	for _, some := range []func(map[string]endpoint){
		credentialsEndpoints, quotaEndpoints, opsEndpoints, usersEndpoints, messagesEndpoints, mediaEndpoints, snsEndpoints,
	} {
		some(all)
	}
	return all
}

// errTooLarge is a body over MaxJSON or MaxBody.
var errTooLarge = errors.New("body too large")

// meter hashes and counts a body as it is read, up to MaxBody.
type meter struct {
	io.Closer
	from io.Reader
	sum  hash.Hash
	size int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.sum.Write(p[:n])
	if m.size += int64(n); m.size > MaxBody {
		return n, errTooLarge
	}
	return n, err
}

// receive reads what is needed to know whose call it is.
func (w *WeChat) receive(original *http.Request) *call {
	r := *original
	now := w.now()
	c := &call{request: &r, query: r.URL.Query(), arrived: now, now: now, meter: &meter{Closer: r.Body, from: r.Body, sum: sha256.New()}}
	r.Body = c.meter
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.from = addr.Addr().Unmap()
	}
	known := false
	if c.endpoint, known = w.endpoints[r.URL.Path]; !known {
		c.endpoint = endpoint{streams: true, serve: (*WeChat).other}
	}
	if !c.endpoint.streams {
		c.body, c.bodyErr = io.ReadAll(io.LimitReader(r.Body, MaxJSON+1))
		if len(c.body) > MaxJSON {
			c.body, c.bodyErr = nil, errTooLarge
		}
	}
	c.claim = c.claimed()
	if kind := c.endpoint.fetches; kind != "" {
		c.fetch = &Fetch{Kind: kind, Forced: kind == StableToken && c.claim.ForceRefresh}
		if kind == JSTicket && c.query.Get("type") == string(CardTicket) {
			c.fetch.Kind = CardTicket
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.down = w.down
	c.rid = fmt.Sprintf("%08x-%08x-%08x", uint32(c.now.Unix()), w.random.Uint32(), w.random.Uint32())
	w.identify(c)
	return c
}

// identify says whose call it is, and what its token is worth now. The lock is
// held.
func (w *WeChat) identify(c *call) {
	if c.endpoint.open {
		c.app = w.apps[c.claim.AppID]
	} else if value := c.query.Get("access_token"); value != "" {
		c.token = Unknown
		if t := w.tokens[value]; t != nil {
			c.app, c.token = t.app, t.state(c.now)
		}
	}
	if c.app != nil {
		c.appID = c.app.ID
	}
}

// resume goes on with a call that was delayed.
func (w *WeChat) resume(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.now = w.now()
	w.identify(c)
}

// claim is who says to be calling where there is no token.
type claim struct {
	GrantType    string `json:"grant_type"`
	AppID        string `json:"appid"`
	Secret       string `json:"secret"`
	AppSecret    string `json:"appsecret"` // clear_quota/v2 has this one
	ForceRefresh bool   `json:"force_refresh"`
}

// claimed reads the claim from the body, or from the query where there is none.
func (c *call) claimed() claim {
	var said claim
	if len(c.body) == 0 {
		said = claim{GrantType: c.query.Get("grant_type"), AppID: c.query.Get("appid"), Secret: c.query.Get("secret"), AppSecret: c.query.Get("appsecret")}
	} else if json.Unmarshal(c.body, &said) != nil {
		return claim{}
	}
	said.Secret = cmp.Or(said.Secret, said.AppSecret)
	return said
}

// readAll reads what is left of the body, to be hashed and counted.
func (c *call) readAll() error {
	_, err := io.Copy(io.Discard, c.request.Body)
	return err
}

func (c *call) bodyHash() string {
	if c.meter.size == 0 {
		return ""
	}
	return hex.EncodeToString(c.meter.sum.Sum(nil))
}

// execute does what WeChat does with the call, and leaves its answer.
func (w *WeChat) execute(c *call) {
	a, ok := w.check(c)
	if ok {
		var set bool
		if a, set = w.set(c); !set {
			a = w.serve(c)
		}
	}
	// An answer before the end of the body would be lost to most callers.
	c.bodyErr = cmp.Or(c.bodyErr, c.readAll())
	if errors.Is(c.bodyErr, errTooLarge) {
		a = tooLarge()
	}
	c.answer = a
	c.executed = ok && a.errcode == 0 && a.Status < 400 && c.bodyErr == nil
}

// serve has the endpoint do it.
func (w *WeChat) serve(c *call) answer {
	if !c.endpoint.streams {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	return c.endpoint.serve(w, c)
}

// set gives the answer that SetAnswer set for the call.
func (w *WeChat) set(c *call) (answer, bool) {
	if c.endpoint.open || c.endpoint.fetches != "" {
		return answer{}, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	one, ok := find(w.answers, c.appID, c.request.Method, c.request.URL.Path)
	a := answer{Answer: one}
	var told struct {
		Errcode int `json:"errcode"`
	}
	if ok && json.Unmarshal(one.Body, &told) == nil {
		a.errcode = told.Errcode
	}
	return a, ok
}

// tooLarge is what a web server before WeChat's says.
func tooLarge() answer {
	return answer{Answer: Answer{
		Status: http.StatusRequestEntityTooLarge, ContentType: "text/html",
		Body: []byte("<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n"),
	}}
}

// check refuses what doesn't reach the endpoint at all.
func (w *WeChat) check(c *call) (answer, bool) {
	method := c.request.Method
	switch {
	case errors.Is(c.bodyErr, errTooLarge):
		return tooLarge(), false
	case c.endpoint.method == http.MethodGet && method != http.MethodGet:
		return c.refuses(43001), false
	case c.endpoint.method == http.MethodPost && method != http.MethodPost:
		return c.refuses(43002), false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !c.endpoint.open {
		if a, ok := w.authenticate(c); !ok {
			return a, false
		}
	}
	switch {
	case c.endpoint.streams || c.endpoint.lax || method != http.MethodPost:
	case len(bytes.TrimSpace(c.body)) == 0:
		return c.refuses(44002), false
	case bytes.TrimSpace(c.body)[0] != '{' || !json.Valid(c.body):
		return c.refuses(47001), false
	}
	return answer{}, true
}

// authenticate looks at the token and at where the call is from.
func (w *WeChat) authenticate(c *call) (answer, bool) {
	switch c.token {
	case "":
		return c.refuses(41001), false
	case Expired:
		return c.refuses(42001), false
	case Voided:
		return c.refuses(40001), false
	case Unknown:
		// When WeChat answers which of the two isn't documented.
		if len(c.query.Get("access_token")) < 100 {
			return c.refuses(40014), false
		}
		return c.refuses(40001), false
	}
	if !c.app.allows(c.from) {
		return c.notAllowed(), false
	}
	return w.spend(c)
}

// notAllowed names the caller's address, as WeChat does.
func (c *call) notAllowed() answer {
	six := c.from.String()
	if c.from.Is4() {
		six = "::ffff:" + six
	}
	return c.refusesWith(40164, fmt.Sprintf("invalid ip %s ipv6 %s, not in whitelist", c.from, six))
}

// other is any path under a token that this package knows nothing of.
func (w *WeChat) other(*call) answer { return fine() }
