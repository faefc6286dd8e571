package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weft-dev/weft/runtime/store"
)

const (
	sessionIDSize = 16
	secretSize    = 32
	refreshTag    = 16
	sessionSeal   = "session" // purpose of the vault
)

// encoding is that of ids and refresh tokens; one text for each value.
var encoding = base64.RawURLEncoding.Strict()

// sessionID is random. Tokens have it as their sid; it opens nothing.
type sessionID [sessionIDSize]byte

func (id sessionID) String() string { return encoding.EncodeToString(id[:]) }

// place is where a session stands in the store. An app's sessions are in 16
// buckets, so that they are on all nodes of a Redis Cluster.
func (id sessionID) place(app string) (bucket, key string) {
	return fmt.Sprintf("session/%s/%x", app, id[0]>>4), id.String()
}

func readSessionID(text string) (id sessionID, err error) {
	b, ok := decoded(text, len(id))
	if !ok {
		return id, fmt.Errorf("%w: no token of ours", ErrSession)
	}
	return sessionID(b), nil
}

// decoded reads so many bytes. The length of the text is looked at, too, because
// the decoder passes over line ends.
func decoded(text string, size int) ([]byte, bool) {
	if len(text) != encoding.EncodedLen(size) {
		return nil, false
	}
	b, err := encoding.DecodeString(text)
	return b, err == nil && len(b) == size
}

// record is what the store keeps of a session, sealed.
type record struct {
	OpenID  string            `json:"openid"`
	UnionID string            `json:"unionid,omitempty"`
	Refresh [sha256.Size]byte `json:"refresh"` // hash of the refresh token's secret that is good
	Until   int64             `json:"until"`   // Unix seconds: when the refresh token expires
}

func (s *Sessions) sealRecord(c SessionConfig, id sessionID, r record) ([]byte, error) {
	plain, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write a session: %w", err)
	}
	return s.vault.Seal(sessionSeal, plain, recordPlace(c, id)), nil
}

// recordPlace is what a sealed record is bound to. Neither an app's name nor an AppID
// has a zero byte.
func recordPlace(c SessionConfig, id sessionID) []byte {
	return append(id[:], c.App+"\x00"+c.AppID...)
}

// record reads a session, and as what it stands in the store. ErrSession: there is
// none, or none that can be opened.
func (s *Sessions) record(ctx context.Context, c SessionConfig, id sessionID) (r record, sealed []byte, err error) {
	bucket, key := id.place(c.App)
	sealed, err = s.store.Get(ctx, bucket, key)
	if errors.Is(err, store.ErrNotFound) {
		return r, nil, fmt.Errorf("%w: it has ended", ErrSession)
	}
	if err != nil {
		return r, nil, err
	}
	plain, err := s.vault.Open(sessionSeal, sealed, recordPlace(c, id))
	if err != nil {
		return r, nil, fmt.Errorf("%w: %w", ErrSession, err)
	}
	if r, err = decodeRecord(plain); err != nil {
		return record{}, nil, err
	}
	return r, sealed, nil
}

func decodeRecord(plain []byte) (r record, err error) {
	if err := json.Unmarshal(plain, &r); err != nil || r.OpenID == "" {
		return record{}, fmt.Errorf("%w: its record can't be read", ErrSession)
	}
	return r, nil
}

// refreshToken is a session's id, a secret of which the store has a hash, and a
// tag by which a host knows a token that it or another one made: a token of ours
// whose secret is not the one that is good was used before, and one that somebody
// made up ends nobody's session.
type refreshToken struct {
	id     sessionID
	secret [secretSize]byte
	tag    [refreshTag]byte
}

func (t refreshToken) String() string {
	b := append(t.id[:], t.secret[:]...)
	return encoding.EncodeToString(append(b, t.tag[:]...))
}

func (t refreshToken) hash() [sha256.Size]byte { return sha256.Sum256(t.secret[:]) }

// newRefresh makes a refresh token.
func (s *Sessions) newRefresh(app string, id sessionID) refreshToken {
	t := refreshToken{id: id}
	_, _ = rand.Read(t.secret[:]) // never fails: crypto/rand
	t.tag = s.keys[0].tag(app, t)
	return t
}

// tag is what says that a refresh token of an app was made with this key.
func (k sessionKey) tag(app string, t refreshToken) [refreshTag]byte {
	mac := hmac.New(sha256.New, k.refresh)
	mac.Write(t.id[:])
	mac.Write(t.secret[:])
	mac.Write([]byte(app))
	return [refreshTag]byte(mac.Sum(nil))
}

// readRefresh reads a refresh token of an app; nothing of it is known to be good
// but that a host made it.
func (s *Sessions) readRefresh(app, text string) (t refreshToken, err error) {
	const size = sessionIDSize + secretSize + refreshTag
	refused := fmt.Errorf("%w: no refresh token of ours", ErrSession)
	b, ok := decoded(text, size)
	if !ok {
		return t, refused
	}
	t.id, t.secret, t.tag = sessionID(b), [secretSize]byte(b[sessionIDSize:]), [refreshTag]byte(b[sessionIDSize+secretSize:])
	for _, k := range s.keys {
		if want := k.tag(app, t); hmac.Equal(want[:], t.tag[:]) {
			return t, nil
		}
	}
	return refreshToken{}, refused
}
