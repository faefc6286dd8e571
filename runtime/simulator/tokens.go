package simulator

import (
	"slices"
	"time"
)

// Kind is a kind of credential.
type Kind string

// The kinds, and by which call each is fetched.
const (
	PlainToken  Kind = "token"        // GET /cgi-bin/token
	StableToken Kind = "stable_token" // POST /cgi-bin/stable_token
	JSTicket    Kind = "jsapi"        // GET /cgi-bin/ticket/getticket?type=jsapi
	CardTicket  Kind = "wx_card"      // GET /cgi-bin/ticket/getticket?type=wx_card
)

// State is what a token or a ticket is worth now.
type State string

// The states.
const (
	Unknown  State = "unknown"  // WeChat never gave it: 40001, 40014 where it isn't even shaped like one
	Current  State = "current"  // works, and is the newest of its kind
	Overlaps State = "overlaps" // works for a while yet: a newer one was fetched
	Expired  State = "expired"  // its life is over: 42001
	Voided   State = "voided"   // a newer one was fetched, and the overlap is over: 40001
)

// Works says whether WeChat takes it.
func (s State) Works() bool { return s == Current || s == Overlaps }

// token is an access token that was given.
type token struct {
	value   string
	app     *app
	expires time.Time
	ends    time.Time // when it works no more since a newer one was fetched; zero: none was
}

func (t *token) state(now time.Time) State {
	switch {
	case !t.ends.IsZero() && t.ends.Before(t.expires) && !now.Before(t.ends):
		return Voided
	case !now.Before(t.expires):
		return Expired
	case !t.ends.IsZero():
		return Overlaps
	}
	return Current
}

// family is the tokens of an app that void each other: those of the plain call
// and those of stable_token know nothing of one another ("getStableAccessToken").
type family struct {
	tokens []*token // the newest last, the oldest forgotten
}

// remembered is how many tokens of a family are told from values that WeChat
// never gave.
const remembered = 10_000

func (f *family) newest() *token {
	if len(f.tokens) == 0 {
		return nil
	}
	return f.tokens[len(f.tokens)-1]
}

// issue gives an app a new token. The one before works on for the overlap, one
// before that no more: the documentation tells owners of a leaked token to
// refresh twice, which voids it at once.
func (w *WeChat) issue(a *app, f *family, now time.Time) *token {
	for i, old := range slices.Backward(f.tokens) {
		if i < len(f.tokens)-2 {
			break
		}
		ends := now
		if i == len(f.tokens)-1 {
			ends = now.Add(a.Overlap)
		}
		if old.ends.IsZero() || ends.Before(old.ends) {
			old.ends = ends
		}
	}
	t := &token{value: w.value("8_", 136), app: a, expires: now.Add(a.Life)}
	w.tokens[t.value] = t
	f.tokens = append(f.tokens, t)
	if len(f.tokens) > remembered {
		delete(w.tokens, f.tokens[0].value)
		f.tokens = slices.Delete(f.tokens, 0, 1)
	}
	return t
}

// void ends a family's tokens at once.
func (f *family) void(now time.Time) {
	for _, t := range slices.Backward(f.tokens) {
		if !t.ends.IsZero() && !t.ends.After(now) {
			return
		}
		t.ends = now
	}
}

// Invalidate does what somebody else does who fetches tokens of an app until
// the ones that are out are void: they are refused from now on, with 40001, and
// stable_token gives another one.
func (w *WeChat) Invalidate(appID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if a := w.apps[appID]; a != nil {
		for _, f := range []*family{&a.plain, &a.stable} {
			f.void(now)
			w.issue(a, f, now)
		}
	}
}

// FetchElsewhere is one fetch by somebody else, forced where it is a stable
// token: the one that is out works on for the overlap.
func (w *WeChat) FetchElsewhere(appID string, kind Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.apps[appID]; a != nil {
		w.issue(a, a.family(kind), w.now())
	}
}

// Spoil makes WeChat refuse the tokens that are out, with 40001, while
// stable_token goes on giving the same one until a call with force_refresh.
func (w *WeChat) Spoil(appID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if a := w.apps[appID]; a != nil {
		a.plain.void(now)
		a.stable.void(now)
	}
}

func (a *app) family(kind Kind) *family {
	if kind == StableToken {
		return &a.stable
	}
	return &a.plain
}

// TokenState says what an access token is worth now, and whose it is.
func (w *WeChat) TokenState(value string) (appID string, s State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tokens[value]
	if t == nil {
		return "", Unknown
	}
	return t.app.ID, t.state(w.now())
}

// TokenEnds says when an access token works no more, as far as is known now;
// zero: WeChat never gave it.
func (w *WeChat) TokenEnds(value string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch t := w.tokens[value]; {
	case t == nil:
		return time.Time{}
	case !t.ends.IsZero() && t.ends.Before(t.expires):
		return t.ends
	default:
		return t.expires
	}
}

// ticket is a JS-SDK or card ticket that was given. Tickets don't void each
// other, and a newer token doesn't void them.
type ticket struct {
	app     *app
	kind    Kind
	expires time.Time
}

// TicketState says what a ticket is worth now, whose it is and of which kind.
func (w *WeChat) TicketState(value string) (appID string, kind Kind, s State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tickets[value]
	switch {
	case t == nil:
		return "", "", Unknown
	case !w.now().Before(t.expires):
		return t.app.ID, t.kind, Expired
	}
	return t.app.ID, t.kind, Current
}

// Issued lists the tokens, tickets and session_keys that were given and are
// remembered, and the secrets of the apps: what may stand in no log or error.
func (w *WeChat) Issued() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.personal()
	for value := range w.tokens {
		all = append(all, value)
	}
	for value := range w.tickets {
		all = append(all, value)
	}
	for _, a := range w.apps {
		all = append(all, a.Secret)
	}
	slices.Sort(all)
	return all
}

// Marks of what may stand in no log or error, whichever value it is: each token,
// ticket and code has SecretMark after its first characters, and each session_key
// begins with SessionKeyMark.
const (
	SecretMark     = "FakeSecret"
	SessionKeyMark = "FakeSess"
)

// value makes up a credential's value of so many characters; prefix "": of what is
// no secret.
func (w *WeChat) value(prefix string, length int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	b := append(make([]byte, 0, length), prefix...)
	if prefix != "" {
		b = append(b, SecretMark...)
	}
	for len(b) < length {
		b = append(b, alphabet[w.random.IntN(len(alphabet))])
	}
	return string(b)
}
