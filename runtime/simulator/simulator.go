// Package simulator is a fake WeChat: an http.Handler that answers as
// api.weixin.qq.com does, with WeChat's own habits (status 200 for errors,
// tokens that void each other, quotas), and with faults on demand. It needs no
// account and reaches nothing outside of the process.
//
// What it does is set by methods of WeChat, which may be called at any time, by
// many goroutines, while it serves. What it has seen is read the same way.
//
// Facts of the protocol are cited as the sections of WeChat's server API
// documentation, or as what public SDKs agree on where that says nothing.
// Where neither says what WeChat does, the comment says so.
package simulator

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Bounds of what a caller sends, in bytes. A longer body is HTTP 413.
const (
	MaxJSON = 1 << 20 // the body of a call that is JSON
	MaxBody = 1 << 30 // any other body, which is hashed and counted, not kept
)

// Options are what a WeChat is made with. The zero value is of use.
type Options struct {
	// Now is the clock that lives, windows and quotas go by; nil: time.Now.
	// Delays and pauses wait by the timers of package time, whatever it says.
	Now func() time.Time
	// Seed is of everything random: the values of tokens, and which calls a
	// Share meets. 0: another one each time.
	Seed uint64
	// Keep is how many calls Received tells of; 0: 1000.
	Keep int
}

// WeChat is one fake WeChat, with apps of its own. It is an http.Handler;
// listening, TLS and the limits of a connection are up to whoever serves it.
type WeChat struct {
	now       func() time.Time
	endpoints map[string]endpoint
	closed    chan struct{}
	close     sync.Once

	mu      sync.Mutex
	random  *rand.Rand
	apps    map[string]*app
	tokens  map[string]*token // by value: the apps' access tokens
	tickets map[string]*ticket
	down    bool
	faults  []*armed
	answers []set[Answer]
	quotas  []set[Quota]
	counts  counts

	messages      int64 // that were sent, and the id of the last one
	codes         map[string]*code
	userTokens    map[string]grant
	refreshTokens map[string]grant
}

// New makes a WeChat without any app.
func New(o Options) *WeChat {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	if o.Keep == 0 {
		o.Keep = 1000
	}
	return &WeChat{
		now: o.Now, endpoints: endpoints(), closed: make(chan struct{}),
		random: rand.New(rand.NewPCG(o.Seed, 0)),
		apps:   map[string]*app{}, tokens: map[string]*token{}, tickets: map[string]*ticket{},
		counts: newCounts(o.Keep),
		codes:  map[string]*code{}, userTokens: map[string]grant{}, refreshTokens: map[string]grant{},
	}
}

// Close ends the calls that hang or are delayed: their connections are cut. It
// is called before the server that serves w is closed, which waits for them.
func (w *WeChat) Close() {
	w.close.Do(func() { close(w.closed) })
}

// SetDown cuts the connection of every call, without looking at it, until it is
// called with false.
func (w *WeChat) SetDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// ServeHTTP answers one call. It panics with http.ErrAbortHandler, as net/http
// has it, where a connection is to be cut.
func (w *WeChat) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c := w.receive(r)
	if c.down {
		w.record(c, "down")
		panic(http.ErrAbortHandler)
	}
	c.fault = w.strike(c)
	if !w.wait(r.Context(), c.fault.Delay) {
		w.record(c, "gone")
		panic(http.ErrAbortHandler)
	}
	w.resume(c)
	w.end(rw, c)
}
