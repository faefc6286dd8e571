package wechat

import (
	"bytes"
	"encoding/base64"
	"math"
	"strings"
	"time"
)

// Opened is a callback whose sender has been checked. It prints without its
// content and its secrets.
type Opened struct {
	// Body is the callback as the app is meant to read it: what was sealed, or
	// in plain mode the request's body itself.
	Body []byte
	// Format of Body by its first byte; 0 where it is neither.
	Format Format
	// Sealed tells that the answer is to be sealed, in EnvelopeFormat.
	Sealed         bool
	EnvelopeFormat Format
	// Nonce and Timestamp are the request's.
	Nonce     string
	Timestamp time.Time

	token string // that signed the request
	key   *key   // that opened it
}

// String says that it is a callback, and of which format.
func (o Opened) String() string { return "opened " + o.Format.String() + " callback" }

// GoString is String.
func (o Opened) GoString() string { return o.String() }

// Verify checks the request by which WeChat verifies a callback address (GET).
// The answer is then q.EchoStr, as plain text. now decides about the timestamp
// and about what is previous. The error is ErrNotAuthentic.
func (a *Account) Verify(q Query, now time.Time) error {
	if _, ok := a.fresh(q.Timestamp, now); !ok {
		return ErrNotAuthentic
	}
	if signedBy(a.at(now).tokens, q.Signature, q.Timestamp, q.Nonce, nil) < 0 {
		return ErrNotAuthentic
	}
	return nil
}

// Open checks a callback (POST) and opens it where it is sealed; body is not
// changed. Nothing is opened before its msg_signature has been checked.
//
// The error is ErrMode for a callback of another mode than the account's, and
// ErrNotAuthentic for everything else. In encrypted and compatible mode only
// msg_signature and the sealed part count; a plain callback is ErrMode. In
// plain mode only signature counts, which does not cover the body; a sealed
// callback is ErrMode. Before Previous.Until each mode, token and key of both
// settings is taken.
func (a *Account) Open(q Query, body []byte, now time.Time) (Opened, error) {
	s := a.at(now)
	at, ok := a.fresh(q.Timestamp, now)
	if !ok {
		return Opened{}, ErrNotAuthentic
	}
	o := Opened{Nonce: q.Nonce, Timestamp: at}
	if !s.sealed || s.plain && q.MsgSignature == "" && !isSealedType(q) {
		return o.openPlain(s, q, body)
	}
	var t tree
	format := Sniff(body)
	err := t.scan(format, body)
	var text []byte
	if err == nil {
		text, ok = t.only("Encrypt")
	}
	if s.plain && (err != nil || !ok) {
		return o.openPlain(s, q, body)
	}
	switch {
	case err != nil:
		return Opened{}, ErrNotAuthentic
	case !ok:
		return Opened{}, ErrMode
	}
	o.EnvelopeFormat = format
	if !o.openSealed(s, q.MsgSignature, q.Timestamp, text, a.appID) {
		return Opened{}, ErrNotAuthentic
	}
	return o, nil
}

// openPlain checks a callback that must not be sealed.
func (o Opened) openPlain(s *secrets, q Query, body []byte) (Opened, error) {
	by := signedBy(s.tokens, q.Signature, q.Timestamp, q.Nonce, nil)
	if by < 0 {
		return Opened{}, ErrNotAuthentic
	}
	if isSealedType(q) || isEnvelope(body) {
		return Opened{}, ErrMode
	}
	o.Body, o.Format, o.token = body, Sniff(body), s.tokens[by]
	return o, nil
}

// openSealed checks and opens the text of Encrypt.
func (o *Opened) openSealed(s *secrets, sig, timestamp string, text []byte, appID string) bool {
	by := signedBy(s.tokens, sig, timestamp, o.Nonce, text)
	if by < 0 {
		return false
	}
	buf := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	for _, k := range s.keys {
		if msg, ok := k.open(buf, text, appID); ok {
			o.Body, o.Format, o.Sealed = msg, Sniff(msg), true
			o.token, o.key = s.tokens[by], k
			return true
		}
	}
	return false
}

// fresh reads a timestamp and tells whether it is near enough to now.
func (a *Account) fresh(timestamp string, now time.Time) (time.Time, bool) {
	sec, ok := digits(timestamp)
	if !ok {
		return time.Time{}, false
	}
	off := now.Unix() - sec
	if off > math.MaxUint32 || off < -math.MaxUint32 {
		return time.Time{}, false // a century off: beyond any skew, and what a Duration holds
	}
	skew := time.Duration(off)*time.Second + time.Duration(now.Nanosecond())
	return time.Unix(sec, 0), -a.maxSkew <= skew && skew <= a.maxSkew
}

// digits reads a number of 1 to 18 decimal digits, and nothing else.
func digits(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	return n, true
}

// isSealedType tells whether the query calls the body sealed. That never
// decides how a callback is read; it only makes a mismatch plain.
func isSealedType(q Query) bool { return strings.EqualFold(q.EncryptType, "aes") }

// isEnvelope tells whether body holds an Encrypt and nothing that makes it a
// message of its own.
func isEnvelope(body []byte) bool {
	if !bytes.Contains(body, []byte("Encrypt")) {
		return false
	}
	// An envelope has few leaves: a long body is given up at once, for Decode is
	// going to read it anyhow.
	const most = 16
	t := tree{leaves: maxLeaves - most}
	if t.scan(Sniff(body), body) != nil {
		return false
	}
	if _, ok := t.only("Encrypt"); !ok {
		return false
	}
	for _, name := range [...]string{"MsgType", "Event", "InfoType"} {
		if _, ok := t.only(name); ok {
			return false
		}
	}
	return true
}

// only returns the text of the one leaf of that name at the top level.
func (t *tree) only(name string) ([]byte, bool) {
	for i := range t.size {
		n := t.at(i)
		if n.parent == 0 && n.leaf && !n.indexed() && string(t.bytes(n.name)) == name {
			return t.bytes(n.value), true
		}
	}
	return nil, false
}
