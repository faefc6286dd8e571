package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/vault"
)

const (
	// ticketTime is how long a ticket is good.
	ticketTime = time.Minute
	ticketSeal = "oauth ticket" // purpose of the vault
	// webLogin is the vault's field of users who have logged in to a page. It is empty.
	webLogin = "web_login"
)

// ErrTicket says that a ticket is not ours, has expired or was used.
var ErrTicket = errors.New("the ticket is not valid: the user is to log in again")

// ticketRecord is whom a ticket logs in, sealed in the store.
type ticketRecord struct {
	OpenID  string `json:"openid"`
	UnionID string `json:"unionid,omitempty"`
	Until   int64  `json:"until"` // Unix milliseconds
}

// ticket is that of a login with a code: the same for who asks twice, and known to
// nobody but hosts.
func (l *login) ticket(code string) string {
	return hex.EncodeToString(l.key.mac("ticket", []byte(l.app), l.nonce[:], []byte(code)))
}

// ticketPlace is where the record of a ticket stands. The store doesn't learn the
// ticket.
func ticketPlace(app, ticket string) (bucket, key string) {
	sum := sha256.Sum256([]byte(ticket))
	return fmt.Sprintf("ticket/%s/%x", app, sum[0]>>4), hex.EncodeToString(sum[:])
}

// ticketBound is what the record of a ticket is bound to: where it stands, and whose
// openid it has.
func ticketBound(c SessionConfig, bucket, key string) []byte {
	return []byte(bucket + "/" + key + "/" + c.AppID)
}

// issue puts a ticket into the store.
func (o *OAuth) issue(ctx context.Context, c SessionConfig, ticket string, u User) error {
	plain, err := json.Marshal(ticketRecord{OpenID: u.OpenID, UnionID: u.UnionID, Until: o.now().Add(ticketTime).UnixMilli()})
	if err != nil {
		return fmt.Errorf("write a ticket: %w", err)
	}
	bucket, key := ticketPlace(c.App, ticket)
	op := store.Op{Kind: store.Set, Bucket: bucket, Key: key, Value: o.vault.Seal(ticketSeal, plain, ticketBound(c, bucket, key)), TTL: ticketTime}
	if _, err := o.applyOnce(ctx, op); err != nil {
		return fmt.Errorf("keep a ticket: %w", err)
	}
	return nil
}

// peek tells whom a ticket logs in that was not redeemed yet. ErrTicket: nobody.
func (o *OAuth) peek(ctx context.Context, c SessionConfig, ticket string) (User, error) {
	if b, err := hex.DecodeString(ticket); err != nil || len(b) != macSize {
		return User{}, ErrTicket
	}
	bucket, key := ticketPlace(c.App, ticket)
	var sealed []byte
	err := steady(ctx, func() (err error) {
		sealed, err = o.store.Get(ctx, bucket, key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return User{}, ErrTicket
	} else if err != nil {
		return User{}, fmt.Errorf("read a ticket: %w", err)
	}
	plain, err := o.vault.Open(ticketSeal, sealed, ticketBound(c, bucket, key))
	if err != nil {
		return User{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	var r ticketRecord
	if json.Unmarshal(plain, &r) != nil || r.OpenID == "" || o.now().UnixMilli() >= r.Until {
		return User{}, ErrTicket
	}
	return User{OpenID: r.OpenID, UnionID: r.UnionID}, nil
}

// redeem uses a ticket up, for one caller over all hosts. ErrTicket: somebody was
// faster.
func (o *OAuth) redeem(ctx context.Context, app, ticket string) error {
	bucket, key := ticketPlace(app, ticket)
	switch res, err := o.applyOnce(ctx, store.Op{Kind: store.Delete, Bucket: bucket, Key: key}); {
	case err != nil:
		return fmt.Errorf("redeem a ticket: %w", err)
	case !res.Found:
		return ErrTicket
	}
	return nil
}

// Login begins the session of whom a ticket logs in, once over all hosts, and tells
// the pipeline. ErrTicket: it logs nobody in. ErrKept: it may be shown again, as long
// as it is good.
func (o *OAuth) Login(ctx context.Context, c *OAuthConfig, ticket string) (Login, error) {
	app := c.Session.App
	u, err := o.peek(ctx, c.Session, ticket)
	if err != nil {
		return Login{}, kept(err)
	}
	isNew, err := o.unknown(ctx, app, u)
	if err != nil {
		return Login{}, kept(err)
	}
	e := Event{ID: eventID(EventLogin, app, ticket), App: app, Name: EventLogin, User: u, At: o.now(), NewUser: isNew}
	if isNew { // whose logins at the same time are one
		e.ID = eventID(EventLogin, app, "new", u.OpenID)
	}
	if err := o.events.Post(ctx, e); err != nil {
		return Login{}, kept(fmt.Errorf("a login's event: %w", err))
	}
	// The session comes before the ticket is gone: where it can't be begun, the ticket
	// is still good.
	tokens, err := o.sessions.Begin(ctx, c.Session, u)
	if err != nil {
		return Login{}, kept(err)
	}
	if err := o.redeem(ctx, app, ticket); err != nil {
		o.sessions.drop(ctx, app, tokens)
		return Login{}, kept(err)
	}
	if isNew { // Without it the next login is taken for the first one, which is less than this one is worth.
		_ = steady(ctx, func() error { return o.vault.Put(ctx, app, u.OpenID, webLogin, nil, 0) })
	}
	return Login{tokens, isNew}, nil
}

// kept is an error of a login that failed for want of a store or a pipeline.
func kept(err error) error {
	if errors.Is(err, ErrTicket) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrKept, err)
}

// unknown tells whether a user has never logged in to a page.
func (o *OAuth) unknown(ctx context.Context, app string, u User) (bool, error) {
	err := steady(ctx, func() error {
		_, err := o.vault.Get(ctx, app, u.OpenID, webLogin)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return true, nil
	case err != nil && !errors.Is(err, vault.ErrSealed):
		return false, fmt.Errorf("looking for a user: %w", err)
	}
	return false, nil
}
