package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/vault"
	"github.com/weft-dev/weft/runtime/wechat"
)

const (
	// exchangeTime is how long WeChat may take to say who a code's user is.
	exchangeTime = 10 * time.Second
	// endTime is the most that the end of a login takes once its state is used up:
	// the exchange, and to keep what came of it.
	endTime = exchangeTime + 2*patience
	// FinishTime is the most that Finish takes.
	FinishTime = patience + endTime
)

// ErrScope says that a login asks for a scope that is none of web authorization's.
var ErrScope = errors.New("the scope is neither snsapi_base nor snsapi_userinfo")

// OAuthConfig is an app's web authorization.
type OAuthConfig struct {
	// Session is of its sessions. Where their claims have the unionid, WeChat is asked
	// for one that it doesn't tell with the openid, as far as the scope allows it.
	Session   SessionConfig
	Authorize string       // base of the page that browsers log in at, as wechat.Authorize has it; "": WeChat's
	SNS       *gateway.SNS // exchanges codes
	Callback  string       // redirect_uri: where WeChat sends browsers, as they reach the host
	Redirects Redirects
}

// OAuthOptions say how an OAuth is made.
type OAuthOptions struct {
	Store    store.Store
	Vault    *vault.Vault // seals what the store keeps of a user
	Sessions *Sessions
	Events   Events
	// Key is server.key, 32 bytes: it signs. What was signed with one of
	// PreviousKeys is still good.
	Key          []byte
	PreviousKeys [][]byte
	Now          func() time.Time // nil: time.Now
}

// OAuth logs users of web pages in. All hosts with one key and one store do it
// together. All methods may be called by many goroutines at once.
type OAuth struct {
	store    store.Store
	vault    *vault.Vault
	sessions *Sessions
	events   Events
	keys     []stateKey // the first signs
	now      func() time.Time

	closing context.Context // WeChat is asked until it ends
	stop    context.CancelFunc
}

// NewOAuth derives the keys. The caller closes it.
func NewOAuth(o OAuthOptions) (*OAuth, error) {
	a := &OAuth{store: o.Store, vault: o.Vault, sessions: o.Sessions, events: o.Events, now: o.Now}
	if a.now == nil {
		a.now = time.Now
	}
	for _, k := range append([][]byte{o.Key}, o.PreviousKeys...) {
		derived, err := newStateKey(k)
		if err != nil {
			return nil, err
		}
		a.keys = append(a.keys, derived)
	}
	a.closing, a.stop = context.WithCancel(context.Background())
	return a, nil
}

// Close has WeChat be asked no more: a Finish that waits for its answer ends as if
// there were none, and says so to who asks again, on other hosts, too.
func (o *OAuth) Close() { o.stop() }

// Begin starts a login: link is WeChat's page that the browser is sent to, cookie
// binds the login to it. had are the browser's cookies. scope "" is
// wechat.ScopeBase. ErrRedirect, ErrScope.
func (o *OAuth) Begin(c *OAuthConfig, redirect, scope string, had []*http.Cookie) (link string, cookie *http.Cookie, err error) {
	if scope == "" {
		scope = wechat.ScopeBase
	}
	if scope != wechat.ScopeBase && scope != wechat.ScopeUserInfo {
		return "", nil, ErrScope
	}
	if redirect, err = c.Redirects.Check(redirect); err != nil {
		return "", nil, err
	}
	l := newLogin(o.keys[0], c.Session.App, redirect, scope, o.now())
	link = wechat.Authorize{Base: c.Authorize, AppID: c.Session.AppID, RedirectURI: c.Callback, Scope: scope, State: l.state()}.Link()
	return link, cookieFor(o.keys, &l, had), nil
}

// Landing is where a browser goes that comes back from WeChat.
type Landing struct {
	Location string // the login's redirect, with ticket= or error=
	User     User   // who logged in, the first time; the zero value: nobody did
	// Refused is why nobody did, for the log; nil: nothing is wrong, or it was said
	// before. It holds nothing secret.
	Refused error
	// Failed says that Refused is not of the user's making: WeChat was away, or only an
	// operator can mend it.
	Failed bool
}

// Finish ends a login: the code is exchanged, once over all hosts, however often the
// browser asks. code is "" where WeChat sent none, because the user did not agree.
// cookies are the browser's. What it has begun it ends when ctx does, too: a browser
// that asks twice breaks its first request off. It takes at most FinishTime.
//
// ErrState: the state is not this browser's or was used; the browser is led nowhere.
// Another error is the store's: it may be asked again.
func (o *OAuth) Finish(ctx context.Context, c *OAuthConfig, code, state string, cookies []*http.Cookie) (Landing, error) {
	l, err := resume(o.keys, c.Session.App, state, cookies, o.now())
	if err != nil {
		return Landing{}, err
	}
	to, err := c.Redirects.Check(l.redirect)
	if err != nil { // the configuration has changed
		return Landing{}, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := ctx.Err(); err != nil {
		return Landing{}, fmt.Errorf("end a login: %w", err)
	}
	// A state that is used up has somebody who ends its login, even where the browser
	// breaks off in between.
	taking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	r, first, err := o.take(taking, &l, code)
	cancel()
	if err != nil {
		return Landing{}, err
	}
	landing := Landing{}
	var end outcome
	if first {
		end, landing, err = o.end(context.WithoutCancel(ctx), c, &l, r, code)
	} else {
		end, err = o.repeat(ctx, &l, r, code)
	}
	if err != nil {
		return Landing{}, err
	}
	if end == loggedIn {
		landing.Location = withParam(to, ticketParam, l.ticket(code))
	} else {
		landing.Location = withParam(to, errorParam, end.String())
	}
	return landing, nil
}

// end finds out who the user is and notes it for who asks again.
func (o *OAuth) end(ctx context.Context, c *OAuthConfig, l *login, r loginRecord, code string) (outcome, Landing, error) {
	asking, cancel := context.WithTimeout(ctx, exchangeTime)
	release := context.AfterFunc(o.closing, cancel)
	u, refused := exchange(asking, c, l.scope, code)
	release()
	cancel()
	keeping, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	end := outcomeOf(refused)
	if end == loggedIn {
		if err := o.issue(keeping, c.Session, l.ticket(code), u); err != nil {
			return 0, Landing{}, err
		}
	}
	if err := o.settle(keeping, l, r, end); err != nil {
		return 0, Landing{}, err
	}
	return end, Landing{User: u, Refused: refused, Failed: end == unavailable || end == failed}, nil
}
