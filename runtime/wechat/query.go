package wechat

import (
	"net/url"
	"strings"
)

// Query is the query of a callback, as far as it matters. Absent ones are "".
type Query struct {
	Signature    string // signature, over token, timestamp and nonce: does not cover the body
	MsgSignature string // msg_signature, over these and the sealed text
	Timestamp    string // timestamp, Unix seconds
	Nonce        string // nonce
	EchoStr      string // echostr: what the verification of an address wants back
	EncryptType  string // encrypt_type: aes where the body is sealed; never what decides
}

// ParseQuery reads a raw query (without '?'). The first value of each name
// counts; pairs whose escapes are broken are left out, as [url.ParseQuery]
// leaves them out. It does not copy what isn't escaped.
func ParseQuery(raw string) Query {
	var q Query
	var seen uint8
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(pair, "=")
		name, ok := unescape(name)
		if !ok {
			continue
		}
		field, bit := q.field(name)
		if field == nil || seen&bit != 0 {
			continue
		}
		if value, ok = unescape(value); ok {
			*field = value
			seen |= bit
		}
	}
	return q
}

func (q *Query) field(name string) (*string, uint8) {
	switch name {
	case "signature":
		return &q.Signature, 1
	case "msg_signature":
		return &q.MsgSignature, 2
	case "timestamp":
		return &q.Timestamp, 4
	case "nonce":
		return &q.Nonce, 8
	case "echostr":
		return &q.EchoStr, 16
	case "encrypt_type":
		return &q.EncryptType, 32
	}
	return nil, 0
}

func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	s, err := url.QueryUnescape(s)
	return s, err == nil
}

// Encode returns the query as it stands in a URL, without '?', in the order
// that WeChat uses.
func (q Query) Encode() string {
	var b strings.Builder
	for _, p := range [...][2]string{
		{"signature", q.Signature},
		{"timestamp", q.Timestamp},
		{"nonce", q.Nonce},
		{"echostr", q.EchoStr},
		{"encrypt_type", q.EncryptType},
		{"msg_signature", q.MsgSignature},
	} {
		if p[1] == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0])
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(p[1]))
	}
	return b.String()
}
