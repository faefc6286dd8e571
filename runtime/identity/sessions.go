package identity

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/vault"
)

// ErrSession is wrapped by the error of a session or a refresh token that is not
// good (any more): the user is to log in again. Nothing in its text is secret.
var ErrSession = errors.New("the session is not valid")

// Claims that a session's token may carry beside those that it always has (iss,
// aud, iat, exp, sid).
const (
	ClaimOpenID  = "openid"
	ClaimUnionID = "unionid"
)

// patience is how long a session is begun or rotated anew where the store is away:
// a failover of Redis takes about that long, and the client can't ask twice, because
// its code or refresh token is used up.
const (
	patience = 5 * time.Second
	pause    = 100 * time.Millisecond
)

// User is who logged in. UnionID may be empty: the account isn't bound to an open
// platform.
type User struct{ OpenID, UnionID string }

// Tokens is what a client gets for a session.
type Tokens struct {
	Token        string // a JWT
	RefreshToken string // good once
	ExpiresIn    time.Duration
}

// SessionConfig is what an app's settings say of its sessions.
type SessionConfig struct {
	App     string        // its name
	AppID   string        // its account at WeChat: with another one all its sessions have ended
	Claims  []string      // ClaimOpenID, ClaimUnionID: what of the user the JWT tells
	Session time.Duration // how long a JWT is good; over 0
	Refresh time.Duration // how long a refresh token is; over 0
}

// Session is a session whose token was shown. OpenID and UnionID are known
// whether the token has them or not.
type Session struct {
	ID, App, OpenID, UnionID string
	Expires                  time.Time // of the token
}

// SessionsOptions say how Sessions are made.
type SessionsOptions struct {
	Store store.Store
	Vault *vault.Vault // seals what the store keeps of a session
	// Key is server.key, 32 bytes: it signs. What was signed with one of
	// PreviousKeys is still verified.
	Key          []byte
	PreviousKeys [][]byte
	// Issuer is the iss of tokens: server.public. nil or empty: they have none, and
	// none is asked for.
	Issuer func() string
	Now    func() time.Time // nil: time.Now
}

// Sessions begins, rotates and verifies sessions. All hosts with one key and one
// store have the same ones. All methods may be called by many goroutines at once.
type Sessions struct {
	store  store.Store
	vault  *vault.Vault
	keys   []sessionKey // the first signs
	jwks   []byte
	issuer func() string
	now    func() time.Time
}

// NewSessions derives the keys.
func NewSessions(o SessionsOptions) (*Sessions, error) {
	s := &Sessions{store: o.Store, vault: o.Vault, issuer: o.Issuer, now: o.Now}
	if s.issuer == nil {
		s.issuer = func() string { return "" }
	}
	if s.now == nil {
		s.now = time.Now
	}
	for _, k := range append([][]byte{o.Key}, o.PreviousKeys...) {
		derived, err := newSessionKey(k)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(s.keys, func(k sessionKey) bool { return k.id == derived.id }) {
			s.keys = append(s.keys, derived)
		}
	}
	jwks, err := writeJWKS(s.keys)
	if err != nil {
		return nil, err
	}
	s.jwks = jwks
	return s, nil
}

// JWKS is the JSON Web Key Set (RFC 7517) that verifies tokens: the public keys,
// the one that signs first. The caller doesn't change it.
func (s *Sessions) JWKS() []byte { return s.jwks }

// Begin begins a session of a user who has just logged in. It returns when the
// session is durable. Where the store is away it tries for 5 s, or until ctx ends.
func (s *Sessions) Begin(ctx context.Context, c SessionConfig, u User) (Tokens, error) {
	if err := c.check(); err != nil {
		return Tokens{}, fmt.Errorf("begin a session: %w", err)
	}
	if u.OpenID == "" {
		return Tokens{}, errors.New("begin a session: the user has no openid")
	}
	var id sessionID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand
	refresh := s.newRefresh(c.App, id)
	r := record{OpenID: u.OpenID, UnionID: u.UnionID, Refresh: refresh.hash(), Until: s.now().Add(c.Refresh).Unix()}
	sealed, err := s.sealRecord(c, id, r)
	if err != nil {
		return Tokens{}, fmt.Errorf("begin a session: %w", err)
	}
	switch done, err := s.swap(ctx, time.Now().Add(patience), c, id, nil, sealed); {
	case err != nil:
		return Tokens{}, fmt.Errorf("begin a session: %w", err)
	case !done:
		return Tokens{}, errors.New("begin a session: its id is there already")
	}
	return s.tokens(c, id, r, refresh)
}

// Rotate gives new tokens for a refresh token, which is used up then. One that was
// used before ends its session, on all hosts, and so do two uses at once: whoever
// shows it twice may have stolen it. ErrSession: it is not one of this app, its
// time is over, or the session has ended. Where the store is away it tries for 5 s,
// or until ctx ends; after an error of the store the session may be rotated or not.
func (s *Sessions) Rotate(ctx context.Context, c SessionConfig, refresh string) (Tokens, error) {
	if err := c.check(); err != nil {
		return Tokens{}, fmt.Errorf("rotate a session: %w", err)
	}
	shown, err := s.readRefresh(c.App, refresh)
	if err != nil {
		return Tokens{}, err
	}
	var r record
	var sealed []byte
	until := time.Now().Add(patience)
	reading, cancel := context.WithDeadline(ctx, until) // a change that is under way is waited for
	defer cancel()
	if err := steadyUntil(reading, until, func() (err error) {
		r, sealed, err = s.record(reading, c, shown.id)
		return err
	}); err != nil {
		return Tokens{}, fmt.Errorf("rotate a session: %w", err)
	}
	switch {
	case r.Refresh != shown.hash():
		return Tokens{}, s.end(ctx, c.App, shown.id)
	case s.now().Unix() >= r.Until:
		return Tokens{}, fmt.Errorf("%w: its refresh token has expired", ErrSession)
	}
	next := s.newRefresh(c.App, shown.id)
	r.Refresh, r.Until = next.hash(), s.now().Add(c.Refresh).Unix()
	rotated, err := s.sealRecord(c, shown.id, r)
	if err != nil {
		return Tokens{}, fmt.Errorf("rotate a session: %w", err)
	}
	switch done, err := s.swap(ctx, until, c, shown.id, sealed, rotated); {
	case err != nil:
		return Tokens{}, fmt.Errorf("rotate a session: %w", err)
	case !done: // another host has rotated with the same token
		return Tokens{}, s.end(ctx, c.App, shown.id)
	}
	return s.tokens(c, shown.id, r, next)
}

// swap puts a session's record in the place of another, nil: of none. done is
// false where somebody else was faster.
func (s *Sessions) swap(ctx context.Context, until time.Time, c SessionConfig, id sessionID, old, sealed []byte) (done bool, err error) {
	bucket, key := id.place(c.App)
	op := store.Op{Kind: store.CompareAndSet, Bucket: bucket, Key: key, Expect: old, Value: sealed, TTL: c.kept()}
	err = steadyUntil(ctx, until, func() error {
		res, err := s.store.Apply(ctx, op)
		// The latter: an earlier try did it, and its answer got lost.
		done = res.Applied || bytes.Equal(res.Value, sealed)
		return err
	})
	return done, err
}

// end ends a session whose refresh token was used twice. Its error is never nil.
func (s *Sessions) end(ctx context.Context, app string, id sessionID) error {
	bucket, key := id.place(app)
	err := steady(ctx, func() error {
		_, err := s.store.Apply(ctx, store.Op{Kind: store.Delete, Bucket: bucket, Key: key})
		return err
	})
	if err != nil {
		return fmt.Errorf("end a session whose refresh token was used twice: %w", err)
	}
	return fmt.Errorf("%w: its refresh token was used twice, which has ended it", ErrSession)
}

// drop ends a session that has just begun and whose tokens nobody gets. One that
// can't be ended now ends with its refresh token.
func (s *Sessions) drop(ctx context.Context, app string, t Tokens) {
	if begun, err := s.readRefresh(app, t.RefreshToken); err == nil {
		_ = s.end(ctx, app, begun.id)
	}
}

// Verify returns the session of a JWT, the text after "Bearer ". ErrSession: it is
// not one of ours for this app, has expired, or its session has ended.
func (s *Sessions) Verify(ctx context.Context, c SessionConfig, bearer string) (Session, error) {
	claims, err := s.readToken(c.App, bearer)
	if err != nil {
		return Session{}, err
	}
	id, err := readSessionID(claims.SessionID)
	if err != nil {
		return Session{}, err
	}
	r, _, err := s.record(ctx, c, id)
	if err != nil {
		return Session{}, fmt.Errorf("verify a session: %w", err)
	}
	return Session{ID: claims.SessionID, App: c.App, OpenID: r.OpenID, UnionID: r.UnionID, Expires: claims.ExpiresAt.Time}, nil
}

// tokens writes the tokens of a session.
func (s *Sessions) tokens(c SessionConfig, id sessionID, r record, refresh refreshToken) (Tokens, error) {
	token, err := s.writeToken(c, id, r)
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{Token: token, RefreshToken: refresh.String(), ExpiresIn: c.Session}, nil
}

func (c SessionConfig) check() error {
	if c.App == "" || c.Session <= 0 || c.Refresh <= 0 {
		return errors.New("sessions need an app and times over 0")
	}
	return nil
}

// kept is how long the store keeps a session that was just begun or rotated.
func (c SessionConfig) kept() time.Duration { return max(c.Session, c.Refresh) }

// steady calls f until the store answers, for patience or until ctx ends.
func steady(ctx context.Context, f func() error) error {
	return steadyUntil(ctx, time.Now().Add(patience), f)
}

// steadyUntil does so until a time, by the machine's clock, but once at least.
func steadyUntil(ctx context.Context, until time.Time, f func() error) error {
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	for {
		err := f()
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-end.C:
			again.Stop()
			return err
		case <-ctx.Done():
			again.Stop()
			return err
		}
	}
}
