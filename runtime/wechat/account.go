// Package wechat is the callback protocol of the WeChat platform, pure: no I/O,
// no clock, no randomness of its own.
//
// A callback goes through [ParseQuery], [Account.Open] and [Decode]; its answer
// through [AppendReply] and [Account.AppendSealed]. The other side, for tools
// and tests, is [Account.AppendCallback] and [Account.OpenReply].
//
// Facts of the protocol are from the platform's document 消息推送 (message push)
// at developers.weixin.qq.com, where nothing else is said.
package wechat

import (
	"errors"
	"fmt"
	"time"
)

// Success is the answer for 'got it, nothing to say'. It is never sealed.
const Success = "success"

// Mode is how an app's messages are protected. It comes from configuration
// only, never from a request.
type Mode uint8

// The modes. The zero Mode is none.
const (
	Encrypted  Mode = iota + 1 // 安全模式: sealed callbacks only
	Compatible                 // 兼容模式: callbacks both open and sealed; only the sealed part is used
	Plain                      // 明文模式: nothing is sealed
)

// ParseMode reads a mode as pipeline.yaml writes it: encrypted, compatible or
// plain.
func ParseMode(s string) (Mode, error) {
	for m := Encrypted; m <= Plain; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("mode %q is none of encrypted, compatible, plain", s)
}

// String returns the mode as pipeline.yaml writes it.
func (m Mode) String() string {
	switch m {
	case Encrypted:
		return "encrypted"
	case Compatible:
		return "compatible"
	case Plain:
		return "plain"
	}
	return "none"
}

func (m Mode) sealed() bool { return m == Encrypted || m == Compatible }

// Format is how a message is written. The zero Format is unknown.
type Format uint8

// The formats.
const (
	XML Format = iota + 1
	JSON
)

// String returns xml or json, and "" for the unknown format.
func (f Format) String() string {
	switch f {
	case XML:
		return "xml"
	case JSON:
		return "json"
	}
	return ""
}

// Sniff returns the format of body by its first byte that is not white space.
func Sniff(body []byte) Format {
	for _, c := range body {
		switch c {
		case ' ', '\t', '\r', '\n':
		case '<':
			return XML
		case '{':
			return JSON
		default:
			return 0
		}
	}
	return 0
}

// DefaultMaxSkew is the MaxSkew of an account that says none. WeChat delivers
// late now and then, and a repeat carries the first delivery's timestamp.
const DefaultMaxSkew = 10 * time.Minute

// AccountConfig is what NewAccount needs to know of an app.
type AccountConfig struct {
	AppID  string // app id, as it stands at the end of every sealed message; required
	Mode   Mode   // required
	Token  string // required
	AESKey string // EncodingAESKey, 43 characters; may be "" where no mode is sealed
	// MaxSkew is how far a timestamp may be off, both ways; 0 is DefaultMaxSkew.
	MaxSkew time.Duration
	// Previous is what holds besides, while one of them is being changed; nil
	// where nothing is.
	Previous *PreviousConfig
}

// PreviousConfig is what was true of an account until lately. What is left
// empty is as in the account.
type PreviousConfig struct {
	Token  string
	AESKey string
	Mode   Mode
	Until  time.Time // not accepted from then on
}

// Account is an app's side of the protocol. It is immutable and may be used by
// many goroutines at once. It prints without its secrets.
type Account struct {
	appID   string
	maxSkew time.Duration
	mode    Mode
	now     secrets // holds always
	both    secrets // holds until until: now's and the previous
	until   time.Time
}

// secrets are the tokens, keys and modes that hold at a time, the current ones
// first.
type secrets struct {
	tokens []string
	keys   []*key
	sealed bool // sealed callbacks are taken
	plain  bool // plain ones are
}

// NewAccount checks c and prepares its keys. Its errors name the setting that
// is wrong and never hold a token or a key.
func NewAccount(c AccountConfig) (*Account, error) {
	a := &Account{appID: c.AppID, maxSkew: c.MaxSkew, mode: c.Mode}
	if a.maxSkew == 0 {
		a.maxSkew = DefaultMaxSkew
	}
	switch {
	case c.AppID == "":
		return nil, errors.New("app_id is missing")
	case c.Token == "":
		return nil, errors.New("token is missing")
	case c.Mode < Encrypted || c.Mode > Plain:
		return nil, errors.New("mode is missing: encrypted, compatible or plain")
	case c.MaxSkew < 0:
		return nil, errors.New("max_skew is negative")
	case c.AESKey == "" && c.Mode.sealed():
		return nil, fmt.Errorf("encoding_aes_key is missing: mode %s needs it", c.Mode)
	}
	if err := a.now.add(c.Token, c.AESKey, c.Mode); err != nil {
		return nil, fmt.Errorf("encoding_aes_key: %w", err)
	}
	p := c.Previous
	if p == nil {
		return a, nil
	}
	if p.Mode > Plain {
		return nil, errors.New("previous.mode is unknown: encrypted, compatible or plain")
	}
	a.until = p.Until
	a.both = secrets{
		tokens: append([]string(nil), a.now.tokens...), keys: append([]*key(nil), a.now.keys...),
		sealed: a.now.sealed, plain: a.now.plain,
	}
	if err := a.both.add(p.Token, p.AESKey, p.Mode); err != nil {
		return nil, fmt.Errorf("previous.encoding_aes_key: %w", err)
	}
	if a.both.sealed && len(a.both.keys) == 0 {
		return nil, fmt.Errorf("previous.encoding_aes_key is missing: mode %s needs it", p.Mode)
	}
	return a, nil
}

func (s *secrets) add(token, aesKey string, m Mode) error {
	if token != "" {
		s.tokens = append(s.tokens, token)
	}
	if aesKey != "" {
		k, err := ParseAESKey(aesKey)
		if err != nil {
			return err
		}
		s.keys = append(s.keys, newKey(k))
	}
	s.sealed = s.sealed || m.sealed()
	s.plain = s.plain || m == Plain
	return nil
}

// at returns what holds at now.
func (a *Account) at(now time.Time) *secrets {
	if now.Before(a.until) {
		return &a.both
	}
	return &a.now
}

// all returns whatever may hold at some time.
func (a *Account) all() *secrets {
	if len(a.both.tokens) > 0 {
		return &a.both
	}
	return &a.now
}

// String names the account by its app id.
func (a *Account) String() string { return "wechat account " + a.appID }

// GoString is String, so that no form of printing shows a secret.
func (a *Account) GoString() string { return a.String() }
