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
)

const (
	// ticketTime is how long a ticket is good.
	ticketTime = time.Minute
	ticketSeal = "oauth ticket" // purpose of the vault
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

// issue puts a ticket into the store.
func (o *OAuth) issue(ctx context.Context, app, ticket string, u User) error {
	plain, err := json.Marshal(ticketRecord{OpenID: u.OpenID, UnionID: u.UnionID, Until: o.now().Add(ticketTime).UnixMilli()})
	if err != nil {
		return fmt.Errorf("write a ticket: %w", err)
	}
	bucket, key := ticketPlace(app, ticket)
	op := store.Op{Kind: store.Set, Bucket: bucket, Key: key, Value: o.vault.Seal(ticketSeal, plain, []byte(bucket+"/"+key)), TTL: ticketTime}
	if _, err := o.applyOnce(ctx, op); err != nil {
		return fmt.Errorf("keep a ticket: %w", err)
	}
	return nil
}

// Redeem tells whom a ticket logs in, once over all hosts. ErrTicket: nobody.
func (o *OAuth) Redeem(ctx context.Context, app, ticket string) (User, error) {
	if b, err := hex.DecodeString(ticket); err != nil || len(b) != macSize {
		return User{}, ErrTicket
	}
	bucket, key := ticketPlace(app, ticket)
	sealed, err := o.store.Get(ctx, bucket, key)
	if errors.Is(err, store.ErrNotFound) {
		return User{}, ErrTicket
	} else if err != nil {
		return User{}, fmt.Errorf("redeem a ticket: %w", err)
	}
	res, err := o.applyOnce(ctx, store.Op{Kind: store.Delete, Bucket: bucket, Key: key})
	switch {
	case err != nil:
		return User{}, fmt.Errorf("redeem a ticket: %w", err)
	case !res.Found: // somebody was faster
		return User{}, ErrTicket
	}
	plain, err := o.vault.Open(ticketSeal, sealed, []byte(bucket+"/"+key))
	if err != nil {
		return User{}, fmt.Errorf("%w: %w", ErrTicket, err)
	}
	var r ticketRecord
	if json.Unmarshal(plain, &r) != nil || r.OpenID == "" || o.now().UnixMilli() >= r.Until {
		return User{}, ErrTicket
	}
	return User{OpenID: r.OpenID, UnionID: r.UnionID}, nil
}
