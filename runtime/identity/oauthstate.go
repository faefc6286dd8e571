package identity

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

const (
	// stateLife is how long a user has between the start of a login and its end.
	stateLife = 10 * time.Minute
	nonceSize = 16
	macSize   = sha256.Size
	// stateSize is that of a state before it is written in hex: nonce, end, MAC. WeChat
	// takes 128 letters and digits.
	stateSize = nonceSize + 8 + macSize
	// logins is how many logins a browser may have under way in an app, each with a
	// cookie: more would not fit into a request's header.
	logins = 4
	// cookieName is that of a login's cookie, without its number.
	cookieName = "weft_oauth_"
)

// ErrState says that a login's state is not ours, has expired, belongs to another
// browser or was used with another code.
var ErrState = errors.New("the state of the login is not valid: it has to begin anew")

// stateKey is what states are signed with, derived from one key of the server.
type stateKey []byte

func newStateKey(key []byte) (stateKey, error) {
	derived, err := hkdf.Key(sha256.New, key, nil, "weft state", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the key of states: %w", err)
	}
	return derived, nil
}

// mac binds parts to a purpose.
func (k stateKey) mac(purpose string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, k)
	for _, p := range append([][]byte{[]byte(purpose)}, parts...) {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(p))) // a hash takes all
		mac.Write(p)
	}
	return mac.Sum(nil)
}

// login is one that has begun.
type login struct {
	key      stateKey // that it is signed with
	app      string
	nonce    [nonceSize]byte
	until    int64  // Unix seconds
	scope    string // wechat.ScopeBase or wechat.ScopeUserInfo
	redirect string // as Redirects.Check gave it
}

func newLogin(key stateKey, app, redirect, scope string, now time.Time) login {
	l := login{key: key, app: app, redirect: redirect, scope: scope, until: now.Add(stateLife).Unix()}
	rand.Read(l.nonce[:]) // never fails: crypto/rand ends the process instead
	return l
}

// head is what state and cookie both begin with.
func (l *login) head() []byte {
	return binary.BigEndian.AppendUint64(l.nonce[:len(l.nonce):len(l.nonce)], uint64(l.until))
}

// state is what WeChat gives back in the query: letters and digits.
func (l *login) state() string {
	head := l.head()
	return hex.EncodeToString(append(head, l.key.mac("state", []byte(l.app), head)...))
}

// cookie is what the browser keeps: a state without it is somebody else's.
func (l *login) cookie() string {
	body := l.head()
	if l.scope == wechat.ScopeUserInfo {
		body = append(body, 1)
	} else {
		body = append(body, 0)
	}
	body = append(body, l.redirect...)
	return encoding.EncodeToString(append(body, l.key.mac("cookie", []byte(l.app), body)...))
}

// readState reads the state of a query. It is signed by us and has not expired;
// scope and redirect are not in it.
func readState(keys []stateKey, app, state string, now time.Time) (login, error) {
	b, err := hex.DecodeString(state)
	if err != nil || len(b) != stateSize || strings.ToLower(state) != state {
		return login{}, ErrState
	}
	head := b[:nonceSize+8]
	for _, k := range keys {
		if hmac.Equal(k.mac("state", []byte(app), head), b[len(head):]) {
			l := login{key: k, app: app, nonce: [nonceSize]byte(b), until: int64(binary.BigEndian.Uint64(b[nonceSize:]))}
			if now.Unix() >= l.until {
				return login{}, ErrState
			}
			return l, nil
		}
	}
	return login{}, ErrState
}

// readCookie reads a login from a browser's cookie; whether it has expired it
// doesn't look at.
func readCookie(keys []stateKey, app, cookie string) (login, error) {
	const least = nonceSize + 8 + 1 + macSize
	if len(cookie) > base64.RawURLEncoding.EncodedLen(least+maxRedirect) {
		return login{}, ErrState
	}
	b, err := encoding.DecodeString(cookie)
	if err != nil || len(b) < least {
		return login{}, ErrState
	}
	body, sum := b[:len(b)-macSize], b[len(b)-macSize:]
	for _, k := range keys {
		if hmac.Equal(k.mac("cookie", []byte(app), body), sum) {
			l := login{key: k, app: app, nonce: [nonceSize]byte(body), until: int64(binary.BigEndian.Uint64(body[nonceSize:]))}
			l.scope, l.redirect = wechat.ScopeBase, string(body[nonceSize+9:])
			if body[nonceSize+8] == 1 {
				l.scope = wechat.ScopeUserInfo
			}
			return l, nil
		}
	}
	return login{}, ErrState
}

// resume finds the login of a state among a browser's cookies.
func resume(keys []stateKey, app, state string, cookies []*http.Cookie, now time.Time) (login, error) {
	shown, err := readState(keys, app, state, now)
	if err != nil {
		return login{}, err
	}
	for _, c := range cookies {
		if !strings.HasPrefix(c.Name, cookieName) {
			continue
		}
		if l, err := readCookie(keys, app, c.Value); err == nil && l.nonce == shown.nonce {
			return l, nil
		}
	}
	return login{}, ErrState
}

// cookieFor makes the cookie of a login, in a place that is free or that of the
// browser's oldest.
func cookieFor(keys []stateKey, l *login, had []*http.Cookie) *http.Cookie {
	var until [logins]int64 // 0: the place is free
	for _, c := range had {
		n, err := strconv.Atoi(strings.TrimPrefix(c.Name, cookieName))
		if err != nil || n < 0 || n >= logins || !strings.HasPrefix(c.Name, cookieName) {
			continue
		}
		if other, err := readCookie(keys, l.app, c.Value); err == nil {
			until[n] = other.until
		}
	}
	place := 0
	for n := range until {
		if until[n] < until[place] {
			place = n
		}
	}
	return &http.Cookie{
		Name: cookieName + strconv.Itoa(place), Value: l.cookie(), Path: "/oauth/" + l.app + "/", MaxAge: int(stateLife / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
