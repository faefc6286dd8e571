package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Call is one request that came in.
type Call struct {
	At     time.Time     // that it was executed or refused, by the simulator's clock
	Took   time.Duration // until its answer was ready, by the same clock
	App    string        // its id; "": the call names none that is known
	Method string
	Path   string
	Query  url.Values  // without tokens and the secret
	Header http.Header // nil where it is over 8 KiB
	From   string      // the caller's address
	Token  State       // of the token it showed; "": it showed none
	// BodySize in bytes and BodyHash, SHA-256 in hexadecimal, are of what was
	// read of the body; it isn't, before the connection is cut, where it streams.
	BodySize int64
	BodyHash string
	Body     []byte // of JSON, where it holds no secret and is at most 4 KiB
	RID      string // as in errmsg and in the answer's X-Wechat-TraceID
	Errcode  int    // answered, or that would have been
	Outcome  string // ok, errcode, status (another than 200), an End, down, gone (the caller left)
	Executed bool   // WeChat did what it asks for
	Answer   []byte // at most 4 KiB of what isn't a stream and holds no credential
}

// Fetch is one call that asks for a credential, whatever came of it, unless
// WeChat was down.
type Fetch struct {
	App      string
	Kind     Kind
	At       time.Time
	Forced   bool // with force_refresh
	New      bool // it gave another one than before
	Executed bool // WeChat gave a credential, though the answer may have been lost
	Errcode  int
	Outcome  string // as in Call
}

// kept is how many fetches are told of, and how many kinds of calls counted
// apart.
const (
	keptFetches = 100_000
	keptKinds   = 10_000
	keptBytes   = 4 << 10
	keptHeader  = 8 << 10
	others      = "(others)" // the path of what isn't counted apart
)

type countKey struct {
	app, method, path, outcome string
	errcode                    int
	token                      State
	executed                   bool
}

type counts struct {
	keep    int
	recent  []Call
	fetches []Fetch
	calls   map[countKey]int
}

func newCounts(keep int) counts {
	return counts{keep: keep, calls: map[countKey]int{}}
}

// record takes down a call; outcome "": by its answer.
func (w *WeChat) record(c *call, outcome string) {
	switch {
	case outcome != "":
	case c.bodyErr != nil && c.answer.Status == 0:
		outcome = "gone"
	case c.answer.Status != 0 && c.answer.Status != http.StatusOK:
		outcome = "status"
	case c.answer.errcode != 0:
		outcome = "errcode"
	default:
		outcome = "ok"
	}
	r := c.request
	one := Call{
		At: c.now, Took: w.now().Sub(c.arrived), App: c.appID, Method: r.Method, Path: r.URL.Path, Query: without(c.query), Header: small(r.Header), From: c.from.String(),
		Token: c.token, BodySize: c.meter.size, BodyHash: c.bodyHash(), RID: c.rid, Errcode: c.answer.errcode, Outcome: outcome, Executed: c.executed,
	}
	if !c.endpoint.open && !c.endpoint.private && c.fetch == nil {
		one.Body, one.Answer = upTo(c.body), upTo(c.answer.Body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.add(one)
	if f := c.fetch; f != nil && !c.down {
		f.App, f.At, f.Errcode, f.Outcome, f.Executed = one.App, c.now, one.Errcode, outcome, one.Executed
		w.counts.fetches = last(append(w.counts.fetches, *f), keptFetches)
	}
}

func (n *counts) add(one Call) {
	n.recent = last(append(n.recent, one), n.keep)
	k := countKey{one.App, one.Method, one.Path, one.Outcome, one.Errcode, one.Token, one.Executed}
	if _, ok := n.calls[k]; !ok && len(n.calls) >= keptKinds {
		k.path = others
	}
	n.calls[k]++
}

// last drops the oldest, in lots, so that each costs little.
func last[V any](all []V, keep int) []V {
	if len(all) < 2*keep {
		return all
	}
	return append(make([]V, 0, 2*keep), all[len(all)-keep:]...)
}

func without(query url.Values) url.Values {
	for _, name := range []string{"access_token", "refresh_token", "secret", "appsecret"} {
		query.Del(name)
	}
	return query
}

func small(h http.Header) http.Header {
	size := 0
	for name, values := range h {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	if size > keptHeader {
		return nil
	}
	return h.Clone()
}

func upTo(b []byte) []byte {
	if len(b) == 0 || len(b) > keptBytes {
		return nil
	}
	return slices.Clone(b)
}

// Received tells of the last calls that are meant, the oldest first. What it
// gives is not to be changed.
func (w *WeChat) Received(where Where) []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []Call
	for _, one := range w.counts.recent[max(0, len(w.counts.recent)-w.counts.keep):] {
		if where.meets(one.App, one.Method, one.Path) {
			found = append(found, one)
		}
	}
	return found
}

// Fetches tells of the last 100,000 fetches of an app's credentials by one kind
// of call, or of all kinds where kind is "", the oldest first. What Invalidate
// and FetchElsewhere do isn't among them.
func (w *WeChat) Fetches(appID string, kind Kind) []Fetch {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []Fetch
	for _, f := range w.counts.fetches[max(0, len(w.counts.fetches)-keptFetches):] {
		if f.App == appID && (kind == "" || f.Kind == kind) {
			found = append(found, f)
		}
	}
	return found
}

// Totals is how many calls were made.
type Totals struct {
	Calls    int
	Executed int
	Errcodes map[int]int    // answers, or what would have been answered, by errcode; 0: none
	Outcomes map[string]int // by Call.Outcome
	Tokens   map[State]int  // by the token that was shown; "": none was
	Paths    map[string]int
	// Stale is how many were executed with a token that works no more: what
	// WeChat never does, so that it is 0 unless this package is wrong.
	Stale int
}

// Count counts the calls that are meant, of the whole life of w. After 10,000
// kinds of them, paths that are new are counted as one.
func (w *WeChat) Count(where Where) Totals {
	t := Totals{Errcodes: map[int]int{}, Outcomes: map[string]int{}, Tokens: map[State]int{}, Paths: map[string]int{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, n := range w.counts.calls {
		if !where.meets(k.app, k.method, k.path) {
			continue
		}
		t.Calls += n
		t.Errcodes[k.errcode] += n
		t.Outcomes[k.outcome] += n
		t.Tokens[k.token] += n
		t.Paths[k.path] += n
		if k.executed {
			t.Executed += n
			if k.token != "" && !k.token.Works() {
				t.Stale += n
			}
		}
	}
	return t
}
