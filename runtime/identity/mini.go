package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/vault"
)

// Bounds of what a client or WeChat gives, in bytes.
const (
	maxCode       = 512
	maxOpenID     = 128
	maxSessionKey = 128
)

// Errors of a mini program's login, beside those of the gateway that they wrap.
var (
	// ErrCode says that a code was not taken: the user is to get another one.
	ErrCode = errors.New("the code is unknown, was used or has expired")
	// ErrAnswer is an answer of WeChat's that lacks what it must have. Its text
	// holds nothing of it.
	ErrAnswer = errors.New("WeChat's answer is not of the expected form")
	// ErrKept says that the store or the pipeline could not keep what has come of
	// a login or a phone number: nothing of it counts, and the user is to repeat it
	// with another code.
	ErrKept = errors.New("it could not be kept")
)

// MiniOptions say how a Mini is made.
type MiniOptions struct {
	Sessions *Sessions
	Vault    *vault.Vault // keeps session_keys and phone numbers
	Events   Events
	Now      func() time.Time // nil: time.Now
}

// Mini logs in the users of mini programs, and opens what WeChat has sealed for
// them. All methods may be called by many goroutines at once.
type Mini struct {
	sessions *Sessions
	vault    *vault.Vault
	events   Events
	now      func() time.Time
}

// NewMini makes a Mini.
func NewMini(o MiniOptions) *Mini {
	m := &Mini{sessions: o.Sessions, vault: o.Vault, events: o.Events, now: o.Now}
	if m.now == nil {
		m.now = time.Now
	}
	return m
}

// MiniApp is a mini program as its settings have it.
type MiniApp struct {
	Session SessionConfig
	// SNS exchanges codes of wx.login.
	SNS *gateway.SNS
	// API is asked for phone numbers.
	API *gateway.API
	// MaxSkew is how far the time of a watermark may be off.
	MaxSkew time.Duration
}

// Login is a session that has begun.
type Login struct {
	Tokens
	NewUser bool // nothing of the user was known
}

// Login exchanges the code of wx.login, keeps the user's session_key sealed, tells
// the pipeline, and begins a session. Errors: ErrCode, ErrAnswer, ErrKept, those of
// gateway.SNSError; none holds the code or what WeChat has answered.
func (m *Mini) Login(ctx context.Context, a MiniApp, code string) (Login, error) {
	if !plainText(code, maxCode) {
		return Login{}, ErrCode
	}
	asked := m.now()
	said, err := a.SNS.Get(ctx, "/sns/jscode2session", url.Values{"js_code": {code}, "grant_type": {"authorization_code"}})
	if err != nil {
		return Login{}, codeError(err, gateway.ErrCode)
	}
	u, key, err := decodeLogin(said)
	if err != nil {
		return Login{}, err
	}
	isNew, err := m.unknown(ctx, a.Session.App, u)
	if err != nil {
		return Login{}, err
	}
	// The event comes first: once the key is kept, the user is no new one.
	e := Event{ID: eventID(EventLogin, a.Session.App, code), App: a.Session.App, Name: EventLogin, User: u, At: m.now(), NewUser: isNew}
	if isNew { // whose logins at the same time are one
		e.ID = eventID(EventLogin, a.Session.App, "new", u.OpenID)
	}
	if err := m.events.Post(ctx, e); err != nil {
		return Login{}, fmt.Errorf("a login's event: %w: %w", ErrKept, err)
	}
	// Another login of the user's that was begun later may have ended before.
	if err := m.vault.PutKnown(ctx, a.Session.App, u.OpenID, vault.SessionKey, []byte(key), asked); err != nil {
		return Login{}, fmt.Errorf("a login's session_key: %w: %w", ErrKept, err)
	}
	tokens, err := m.sessions.Begin(ctx, a.Session, u)
	if err != nil {
		return Login{}, fmt.Errorf("%w: %w", ErrKept, err)
	}
	return Login{tokens, isNew}, nil
}

// unknown tells whether a user has never logged in, as far as server.key and
// previous_keys open what was kept.
func (m *Mini) unknown(ctx context.Context, app string, u User) (bool, error) {
	switch _, err := m.vault.Get(ctx, app, u.OpenID, vault.SessionKey); {
	case errors.Is(err, store.ErrNotFound):
		return true, nil
	case err != nil && !errors.Is(err, vault.ErrSealed):
		return false, fmt.Errorf("looking for a user: %w: %w", ErrKept, err)
	}
	return false, nil
}

// codeError gives a code that was not taken its one error.
func codeError(err, kind error) error {
	if errors.Is(err, kind) {
		return fmt.Errorf("%w: %w", ErrCode, err)
	}
	return err
}

// decodeLogin reads the answer of jscode2session. A session_key need not be one
// that can be decoded: what doesn't open with it says so.
func decodeLogin(said []byte) (u User, key string, err error) {
	fields := map[string]json.RawMessage{} // names as they stand: encoding/json takes OpenId for openid
	if json.Unmarshal(said, &fields) != nil {
		return User{}, "", fmt.Errorf("jscode2session: %w", ErrAnswer)
	}
	u.OpenID, key = text(fields["openid"]), text(fields["session_key"])
	u.UnionID = text(fields["unionid"])
	if !plainText(u.OpenID, maxOpenID) || !plainText(key, maxSessionKey) || u.UnionID != "" && !plainText(u.UnionID, maxOpenID) {
		return User{}, "", fmt.Errorf("jscode2session: %w", ErrAnswer)
	}
	return u, key, nil
}

// text is a string of JSON, "" where it is none.
func text(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// plainText tells whether s is 1 to most printable characters of ASCII without
// blanks.
func plainText(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
