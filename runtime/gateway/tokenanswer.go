package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// maxTokenAnswer is the most of an answer that holds a credential, in bytes.
	maxTokenAnswer = 64 << 10
	// maxTokenValue is the most of a credential, in bytes. WeChat asks for room
	// for 512.
	maxTokenValue = 2048
	// maxTokenLife is the most of a life that is believed.
	maxTokenLife = 24 * time.Hour
	// tokenMargin is how much earlier than WeChat we take a credential for
	// expired, or a two-hundredth of its life where that is less: for clocks
	// that differ and for the way of the call that it is used in.
	tokenMargin = 5 * time.Second
)

// tokenAnswer is what came of an attempt.
type tokenAnswer struct {
	value string
	life  time.Duration // from the time of asking
}

// wireAnswer is an answer of WeChat, or of another system. WeChat says errcode
// and expires_in as numbers, at times as strings.
type wireAnswer struct {
	Errcode     looseInt `json:"errcode"`
	Errmsg      string   `json:"errmsg"`
	AccessToken string   `json:"access_token"`
	Ticket      string   `json:"ticket"`
	Value       string   `json:"value"`
	ExpiresIn   looseInt `json:"expires_in"`
}

// looseInt is a whole number, or a string of one.
type looseInt int64

// UnmarshalJSON is json.Unmarshaler's.
func (n *looseInt) UnmarshalJSON(b []byte) error {
	text := strings.TrimSpace(strings.Trim(string(b), `"`))
	if text == "null" || text == "" {
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return errors.New("no whole number")
	}
	*n = looseInt(v)
	return nil
}

// decodeWire reads an answer.
func decodeWire(body []byte) (wireAnswer, error) {
	var w wireAnswer
	if err := json.Unmarshal(readable(body), &w); err != nil {
		return wireAnswer{}, errors.New("it is no JSON of the expected form") // the error may quote it
	}
	return w, nil
}

// readable is an answer in which control characters that stand as they are, which
// WeChat sends and JSON forbids, are blanks.
func readable(body []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r < ' ' || r == '\ufeff' {
			return ' '
		}
		return r
	}, body)
}

// readToken reads WeChat's answer to a call that gives kind.
func readToken(body []byte, kind CredentialKind) (tokenAnswer, *fetchFailure) {
	w, err := decodeWire(body)
	if err != nil {
		return tokenAnswer{}, &fetchFailure{result: fetchUnusable}
	}
	if w.Errcode != 0 {
		return tokenAnswer{}, errcodeFailure(int(w.Errcode), w.Errmsg)
	}
	value := w.AccessToken
	if kind != AccessToken {
		value = w.Ticket
	}
	return usableToken(value, w.ExpiresIn)
}

// usableToken checks what an answer says.
func usableToken(value string, expiresIn looseInt) (tokenAnswer, *fetchFailure) {
	if checkCredentialValue(value) != nil || expiresIn <= 0 {
		return tokenAnswer{}, &fetchFailure{result: fetchUnusable}
	}
	life := maxTokenLife
	if int64(expiresIn) < int64(maxTokenLife/time.Second) {
		life = time.Duration(expiresIn) * time.Second
	}
	return tokenAnswer{value: value, life: life}, nil
}

// checkCredentialValue is nil for what can be a credential.
func checkCredentialValue(v string) error {
	if v == "" || len(v) > maxTokenValue {
		return fmt.Errorf("a credential of %d bytes, 1 to %d are allowed", len(v), maxTokenValue)
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("a credential with a character that none has")
	}
	return nil
}

// How long nothing is tried after an answer that no new attempt changes, until
// the settings do.
const (
	pauseRefused = 10 * time.Minute // at last: it doubles from pauseFirst on
	pauseFirst   = time.Minute      // within the time that the credential before is still good
	pauseAddress = 2 * time.Minute  // somebody adds the address and waits for it to work
	pauseLimited = time.Hour        // the quota may be cleared before midnight
	pauseBusy    = 5 * time.Second  // of 45011, a bound per minute
)

// errcodeFailure classes an errcode of the calls that give credentials
// (wechat-errors.md, 'Token and credential').
func errcodeFailure(code int, message string) *fetchFailure {
	f := &fetchFailure{result: fetchErrcode, errcode: code, rid: ridIn(message)}
	switch code {
	case -1, -1000:
		f.result = fetchBusy
	case 45011:
		f.result, f.pause = fetchBusy, pauseBusy
	case 40001, 40002, 40013, 40125, 40243, 41002, 41004, 48001, 50004:
		f.result, f.pause = fetchRefused, pauseRefused
	case 40164, 45035, 61004, 89501, 89502, 89503, 89504, 89505, 89506, 89507:
		f.result, f.pause, f.address = fetchAddress, pauseAddress, addressIn(message)
	case 45009:
		f.result, f.pause = fetchLimited, pauseLimited
	}
	return f
}

// voided tells whether the errcode says that the access_token of the call is no
// good.
func voided(code int) bool { return code == 40001 || code == 40014 || code == 42001 }

var (
	ridForm     = regexp.MustCompile(`rid: ?([0-9A-Za-z]{6,10}(-[0-9A-Za-z]{6,10}){2})\b`)
	addressForm = regexp.MustCompile(`[0-9a-fA-F:.]{7,45}`)
)

// ridIn finds under which number WeChat knows the call; "": it says none.
func ridIn(message string) string {
	if m := ridForm.FindStringSubmatch(message); m != nil {
		return m[1]
	}
	return ""
}

// addressIn finds the first address in a message; the zero Addr: there is none.
func addressIn(message string) netip.Addr {
	for _, text := range addressForm.FindAllString(message, 8) {
		if a, err := netip.ParseAddr(strings.TrimRight(text, ".:")); err == nil {
			return a
		}
	}
	return netip.Addr{}
}
