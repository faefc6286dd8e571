package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of a request whose caller may not make it. None says more than the caller
// knows.
var (
	// ErrNoKey and ErrUnknownKey are answered with 401.
	ErrNoKey      = errors.New("the request shows no key: Authorization: Bearer KEY")
	ErrUnknownKey = errors.New("nobody has this key")
	// ErrScope is answered with 403: nothing goes to WeChat.
	ErrScope = errors.New("the key's scope doesn't reach so far")
)

// maxCallerKey is the most of a key that is looked at, in bytes.
const maxCallerKey = 512

// CallerConfig is a system of the business and what it may do.
type CallerConfig struct {
	Name    string
	Hash    [sha256.Size]byte // of its key
	AllApps bool
	Apps    []string
	Paths   Paths    // of WeChat's API; nil: none
	Kinds   []string // of credentials that it may read
	Rate    Rate     // zero: no bound
}

// Callers knows the systems that call the host by their keys. It belongs to the
// host: a reload changes the callers, and what they used of their rates stays
// used. All methods may be called by many goroutines at once.
type Callers struct {
	now   func() time.Time
	start time.Time

	mu    sync.Mutex // of Set
	known atomic.Pointer[map[[sha256.Size]byte]*Caller]
}

// Caller is one of them, as it was when it showed its key.
type Caller struct {
	config CallerConfig
	bucket *bucket // nil: no rate
}

// NewCallers makes a set without callers. now is time.Now where it is nil.
func NewCallers(now func() time.Time) *Callers {
	if now == nil {
		now = time.Now
	}
	c := &Callers{now: now, start: now()}
	c.known.Store(new(map[[sha256.Size]byte]*Caller))
	return c
}

// Set replaces all callers in one step. One with the name of a caller before has
// used what that one had of its rate.
func (c *Callers) Set(list []CallerConfig) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := make(map[string]*bucket)
	for _, old := range *c.known.Load() {
		before[old.config.Name] = old.bucket
	}
	next := make(map[[sha256.Size]byte]*Caller, len(list))
	for _, config := range list {
		config.Apps, config.Kinds = slices.Clone(config.Apps), slices.Clone(config.Kinds)
		caller := &Caller{config: config}
		if config.Rate.bounds() {
			if caller.bucket = before[config.Name]; caller.bucket == nil {
				caller.bucket = newBucket(config.Rate)
			}
			caller.bucket.change(config.Rate, int64(c.now().Sub(c.start)))
		}
		next[config.Hash] = caller
	}
	c.known.Store(&next)
}

// Admit finds out who sends a request, and takes one of the requests that it may
// send. The error is ErrNoKey, ErrUnknownKey or a *LimitError (429).
func (c *Callers) Admit(h http.Header) (*Caller, error) {
	key, ok := bearer(h)
	if !ok {
		return nil, ErrNoKey
	}
	sum := sha256.Sum256([]byte(key))
	caller := (*c.known.Load())[sum]
	if caller == nil || subtle.ConstantTimeCompare(caller.config.Hash[:], sum[:]) != 1 {
		return nil, ErrUnknownKey
	}
	if caller.bucket != nil {
		if wait, ok := caller.bucket.take(int64(c.now().Sub(c.start))); !ok {
			return nil, &LimitError{Limit: caller.config.Rate.String(), Of: "caller " + caller.config.Name, Wait: wait}
		}
	}
	return caller, nil
}

// bearer is the key that a request shows (RFC 6750, 2.1). One with two
// Authorization fields shows none: nobody can tell which of them is meant.
func bearer(h http.Header) (string, bool) {
	fields := h["Authorization"]
	if len(fields) != 1 {
		return "", false
	}
	scheme, key, _ := strings.Cut(fields[0], " ")
	key = strings.Trim(key, " ")
	return key, strings.EqualFold(scheme, "Bearer") && key != "" && len(key) <= maxCallerKey
}

// Name is the caller's name in pipeline.yaml.
func (c *Caller) Name() string { return c.config.Name }

// For is nil where the caller may call for an app, else ErrScope, also where
// there is no such app.
func (c *Caller) For(app string) error {
	if c.config.AllApps || slices.Contains(c.config.Apps, app) {
		return nil
	}
	return ErrScope
}

// Read is nil where the caller may read a kind of credential of an app, else
// ErrScope.
func (c *Caller) Read(app, kind string) error {
	if !slices.Contains(c.config.Kinds, kind) {
		return ErrScope
	}
	return c.For(app)
}

// Allows tells whether the caller may make a call of WeChat's API for the apps
// that it may call for. The path is a clean one.
func (c *Caller) Allows(method, path string) bool {
	return c.config.Paths != nil && c.config.Paths.Allows(method, path)
}
