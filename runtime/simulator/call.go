package simulator

import (
	"bytes"
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
	request  *http.Request
	query    url.Values
	now      time.Time
	rid      string
	from     netip.Addr
	endpoint endpoint
	app      *app   // under the lock of w
	appID    string // "": it names none that is known
	token    State  // of the token it shows; "": it shows none
	fetch    *Fetch // it asks for a credential
	down     bool
	fault    Fault
	body     []byte // of an endpoint that has all of it read
	bodyErr  error
	sum      hash.Hash
	size     int64
	answer   answer
	executed bool
}

// endpoint is what a path does.
type endpoint struct {
	method string // "": any
	open   bool   // it wants no token
	// streams leaves the body to serve; else it is read, up to MaxJSON, and
	// where the method is POST it must be a JSON object.
	streams bool
	fetches Kind // the credential that it gives; JSTicket: or the other ticket
	// serve does it. The lock of w is held, unless it streams.
	serve func(*WeChat, *call) answer
}

func endpoints() map[string]endpoint {
	return map[string]endpoint{
		"/cgi-bin/token":            {method: http.MethodGet, open: true, fetches: PlainToken, serve: (*WeChat).plainToken},
		"/cgi-bin/stable_token":     {method: http.MethodPost, open: true, fetches: StableToken, serve: (*WeChat).stableToken},
		"/cgi-bin/ticket/getticket": {method: http.MethodGet, fetches: JSTicket, serve: (*WeChat).getTicket},
	}
}

// errTooLarge is a body over MaxJSON or MaxBody.
var errTooLarge = errors.New("body too large")

// receive reads what is needed to know whose call it is.
func (w *WeChat) receive(r *http.Request) *call {
	c := &call{request: r, query: r.URL.Query(), now: w.now(), sum: sha256.New()}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.from = addr.Addr().Unmap()
	}
	known := false
	if c.endpoint, known = w.endpoints[r.URL.Path]; !known {
		c.endpoint = endpoint{streams: true, serve: (*WeChat).other}
	}
	if !c.endpoint.streams {
		c.body, c.bodyErr = io.ReadAll(io.LimitReader(r.Body, MaxJSON+1))
		c.sum.Write(c.body)
		c.size = int64(len(c.body))
		if len(c.body) > MaxJSON {
			c.body, c.bodyErr = nil, errTooLarge
		}
	}
	if kind := c.endpoint.fetches; kind != "" {
		c.fetch = &Fetch{Kind: kind, Forced: kind == StableToken && c.claimed().ForceRefresh}
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
		c.app = w.apps[c.claimed().AppID]
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
	ForceRefresh bool   `json:"force_refresh"`
}

func (c *call) claimed() claim {
	if c.endpoint.method == http.MethodGet {
		return claim{GrantType: c.query.Get("grant_type"), AppID: c.query.Get("appid"), Secret: c.query.Get("secret")}
	}
	var said claim
	if json.Unmarshal(c.body, &said) != nil {
		return claim{}
	}
	return said
}

// readAll reads what is left of the body, to be hashed and counted.
func (c *call) readAll() error {
	n, err := io.Copy(c.sum, io.LimitReader(c.request.Body, MaxBody+1))
	c.size += n
	if err == nil && n > MaxBody {
		err = errTooLarge
	}
	return err
}

func (c *call) bodyHash() string {
	if c.size == 0 {
		return ""
	}
	return hex.EncodeToString(c.sum.Sum(nil))
}

// execute does what WeChat does with the call, and leaves its answer.
func (w *WeChat) execute(c *call) {
	a, ok := w.check(c)
	switch {
	case !ok:
	case c.endpoint.streams:
		a = c.endpoint.serve(w, c)
	default:
		w.mu.Lock()
		a = c.endpoint.serve(w, c)
		w.mu.Unlock()
	}
	c.answer = a
	c.executed = ok && a.errcode == 0 && a.Status < 400 && c.bodyErr == nil
}

// check refuses what doesn't reach the endpoint at all.
func (w *WeChat) check(c *call) (answer, bool) {
	method := c.request.Method
	switch {
	case errors.Is(c.bodyErr, errTooLarge):
		return answer{Answer: Answer{Status: http.StatusRequestEntityTooLarge, ContentType: "text/html", Body: []byte("<html><head><title>413 Request Entity Too Large</title></head></html>\n")}}, false
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
	if c.endpoint.streams || method != http.MethodPost {
		return answer{}, true
	}
	switch {
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
		if len(c.query.Get("access_token")) < 100 {
			return c.refuses(40014), false
		}
		return c.refuses(40001), false
	}
	if !c.app.allows(c.from) {
		return c.notAllowed(), false
	}
	return answer{}, true
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
func (w *WeChat) other(c *call) answer {
	if c.bodyErr = c.readAll(); c.bodyErr != nil {
		return c.refuses(47001)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	set, ok := find(w.answers, c.appID, c.request.Method, c.request.URL.Path)
	if !ok {
		return fine()
	}
	a := answer{Answer: set}
	var told struct {
		Errcode int `json:"errcode"`
	}
	if json.Unmarshal(set.Body, &told) == nil {
		a.errcode = told.Errcode
	}
	return a
}
