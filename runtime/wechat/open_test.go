package wechat

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

const otherKey = "ZYXWVUTSRQPONMLKJIHGFEDCBA9876543210abcdefg"

var testNow = time.Unix(1700000000, 0)

const testMessage = `<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><MsgType>text</MsgType></xml>`

func newAccount(t *testing.T, c AccountConfig) *Account {
	t.Helper()
	if c.AppID == "" {
		c.AppID = testAppID
	}
	if c.Token == "" {
		c.Token = testToken
	}
	if c.AESKey == "" {
		c.AESKey = testKey
	}
	a, err := NewAccount(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// callback makes a callback as an account of mode m gets it.
func callback(t *testing.T, c AccountConfig, f Format, msg string) (Query, []byte) {
	t.Helper()
	body, q := newAccount(t, c).AppendCallback(nil, []byte(msg), f, "gh_1", testNow.Unix(), "n1", [16]byte{1})
	return q, body
}

func TestOpenInEachMode(t *testing.T) {
	jsonMessage := `{"ToUserName":"gh_1","FromUserName":"o1","MsgType":"text"}`
	for app := Encrypted; app <= Plain; app++ {
		for sent := Encrypted; sent <= Plain; sent++ {
			for f, msg := range map[Format]string{XML: testMessage, JSON: jsonMessage} {
				t.Run(fmt.Sprintf("%s callback to %s app in %s", sent, app, f), func(t *testing.T) {
					q, body := callback(t, AccountConfig{Mode: sent}, f, msg)
					a := newAccount(t, AccountConfig{Mode: app})
					o, err := a.Open(q, body, testNow)
					if app.sealed() != sent.sealed() {
						if err != ErrMode {
							t.Errorf("error %v, want ErrMode", err)
						}
						return
					}
					if err != nil || string(o.Body) != msg || o.Format != f || o.Sealed != sent.sealed() {
						t.Fatalf("%q %v %v, %v", o.Body, o.Format, o.Sealed, err)
					}
					if o.Nonce != "n1" || !o.Timestamp.Equal(testNow) {
						t.Errorf("nonce %q timestamp %v", o.Nonce, o.Timestamp)
					}
					answer := a.AppendSealed(nil, []byte(msg), o, 1, [16]byte{2})
					if sent.sealed() && Sniff(answer) != f || !sent.sealed() && string(answer) != msg {
						t.Errorf("answer %s", answer)
					}
				})
			}
		}
	}
}

func TestOpenUsesOnlyTheSealedPart(t *testing.T) {
	q, body := callback(t, AccountConfig{Mode: Compatible}, XML, testMessage)
	forged := strings.Replace(string(body), "<FromUserName>o1<", "<FromUserName>admin<", 1)
	if forged == string(body) {
		t.Fatal("the callback has no plain part")
	}
	q.Signature = "not looked at"
	a := newAccount(t, AccountConfig{Mode: Compatible})
	o, err := a.Open(q, []byte(forged), testNow)
	if err != nil || string(o.Body) != testMessage {
		t.Errorf("%q, %v", o.Body, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	sealed := AccountConfig{Mode: Encrypted}
	q, body := callback(t, sealed, XML, testMessage)
	text := string(body)
	with := func(change func(*Query)) Query {
		c := q
		change(&c)
		return c
	}
	for _, c := range []struct {
		name string
		q    Query
		body string
		want error
	}{
		{"as it should be", q, text, nil},
		{"signature is not looked at", with(func(q *Query) { q.Signature = "" }), text, nil},
		{"encrypt_type is not looked at", with(func(q *Query) { q.EncryptType = "raw" }), text, nil},
		{"wrong msg_signature", with(func(q *Query) { q.MsgSignature = strings.Repeat("0", 40) }), text, ErrNotAuthentic},
		{"upper-case msg_signature", with(func(q *Query) { q.MsgSignature = strings.ToUpper(q.MsgSignature) }), text, ErrNotAuthentic},
		{"signature in place of msg_signature", with(func(q *Query) { q.MsgSignature = q.Signature }), text, ErrNotAuthentic},
		{"no msg_signature", with(func(q *Query) { q.MsgSignature = "" }), text, ErrNotAuthentic},
		{"no nonce", with(func(q *Query) { q.Nonce = "" }), text, ErrNotAuthentic},
		{"no timestamp", with(func(q *Query) { q.Timestamp = "" }), text, ErrNotAuthentic},
		{"timestamp of words", with(func(q *Query) { q.Timestamp = "now" }), text, ErrNotAuthentic},
		{"plain callback", with(func(q *Query) { q.MsgSignature = "" }), testMessage, ErrMode},
		{"plain callback that calls itself sealed", q, testMessage, ErrMode},
		{"no Encrypt", q, `{"MsgType":"text"}`, ErrMode},
		{"empty Encrypt", q, `<xml><Encrypt></Encrypt></xml>`, ErrNotAuthentic},
		{"not XML", q, "hello", ErrNotAuthentic},
		{"empty body", q, "", ErrNotAuthentic},
		{"cut", q, text[:len(text)-1], ErrNotAuthentic},
		{"another text", q, strings.Replace(text, "Encrypt><![CDATA[", "Encrypt><![CDATA[AAAA", 1), ErrNotAuthentic},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := newAccount(t, sealed).Open(c.q, []byte(c.body), testNow)
			if err != c.want || err != nil && o.Body != nil {
				t.Errorf("%q, %v, want %v", o.Body, err, c.want)
			}
		})
	}
	for name, c := range map[string]AccountConfig{
		"wrong token":       {Mode: Encrypted, Token: "other"},
		"wrong key":         {Mode: Encrypted, AESKey: otherKey},
		"wrong app id":      {Mode: Encrypted, AppID: "wx1234567890abcdee"},
		"app id's front":    {Mode: Encrypted, AppID: testAppID[:len(testAppID)-1]},
		"app id and more":   {Mode: Encrypted, AppID: testAppID + "0"},
		"app id's end only": {Mode: Encrypted, AppID: testAppID[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newAccount(t, c).Open(q, body, testNow); err != ErrNotAuthentic {
				t.Errorf("error %v, want ErrNotAuthentic", err)
			}
		})
	}
}

// TestOpenPadding seals with each kind of padding by hand.
func TestOpenPadding(t *testing.T) {
	a := newAccount(t, AccountConfig{Mode: Encrypted})
	k := a.now.keys[0]
	for size := range 100 {
		msg := strings.Repeat("m", size)
		b := append(make([]byte, 16), 0, 0, 0, 0)
		binary.BigEndian.PutUint32(b[16:], uint32(size))
		b = append(b, msg...)
		b = append(b, testAppID...)
		right := padBlock - len(b)%padBlock
		for n := 1; n <= 64; n++ {
			if (len(b)+n)%16 != 0 {
				continue
			}
			for wrong := -1; wrong < n; wrong++ {
				c := append([]byte(nil), b...)
				for i := range n {
					c = append(c, byte(n))
					if i == wrong {
						c[len(c)-1] ^= 1
					}
				}
				text := sealBlocks(k, c)
				msg2, ok := k.open(make([]byte, len(text)), text, testAppID)
				if want := n == right && wrong < 0; ok != want || ok && string(msg2) != msg {
					t.Fatalf("message of %d, padding of %d (byte %d wrong): %q, %v", size, n, wrong, msg2, ok)
				}
			}
		}
	}
}

func TestOpenTimestamp(t *testing.T) {
	for _, c := range []struct {
		skew, off time.Duration
		ok        bool
	}{
		{0, 0, true},
		{0, DefaultMaxSkew, true},
		{0, -DefaultMaxSkew, true},
		{0, DefaultMaxSkew + time.Second, false},
		{0, -DefaultMaxSkew - time.Second, false},
		{time.Second, time.Second, true},
		{time.Second, time.Second + 1, false},
		{time.Second, -time.Second, true},
		{time.Second, -time.Second - 1, false},
		{1000 * time.Hour, 999 * time.Hour, true},
		{time.Hour, 1 << 62, false},
		{time.Hour, -1 << 62, false},
	} {
		t.Run(fmt.Sprint(c.skew, c.off), func(t *testing.T) {
			q, body := callback(t, AccountConfig{Mode: Encrypted}, XML, testMessage)
			a := newAccount(t, AccountConfig{Mode: Encrypted, MaxSkew: c.skew})
			now := testNow.Add(c.off)
			if _, err := a.Open(q, body, now); (err == nil) != c.ok || err != nil && err != ErrNotAuthentic {
				t.Errorf("Open: %v", err)
			}
			if err := a.Verify(q, now); (err == nil) != c.ok {
				t.Errorf("Verify: %v", err)
			}
		})
	}
	a := newAccount(t, AccountConfig{Mode: Plain})
	for _, s := range []string{
		"", "-1", "+1700000000", " 1700000000", "1700000000 ", "1700000000.0", "0x1", "9223372036854775807",
		"9223372036854775808", "99999999999999999999999", "１",
	} {
		sig := sign(testToken, s, "n", nil)
		if err := a.Verify(Query{Signature: string(sig[:]), Timestamp: s, Nonce: "n"}, testNow); err != ErrNotAuthentic {
			t.Errorf("timestamp %q: %v", s, err)
		}
	}
	// 64 bits: after 2038
	late := time.Unix(1<<33, 0)
	sig := sign(testToken, strconv.Itoa(1<<33), "n", nil)
	if err := a.Verify(Query{Signature: string(sig[:]), Timestamp: strconv.Itoa(1 << 33), Nonce: "n"}, late); err != nil {
		t.Error(err)
	}
}

func TestOpenPrevious(t *testing.T) {
	until := testNow.Add(time.Minute)
	old := &PreviousConfig{Token: "old-token", AESKey: otherKey, Mode: Plain, Until: until}
	a := newAccount(t, AccountConfig{Mode: Encrypted, Previous: old, MaxSkew: time.Hour})
	for _, c := range []struct {
		name       string
		sent       AccountConfig
		now, after error
	}{
		{"current", AccountConfig{Mode: Encrypted}, nil, nil},
		{"old token", AccountConfig{Mode: Encrypted, Token: "old-token"}, nil, ErrNotAuthentic},
		{"old key", AccountConfig{Mode: Encrypted, AESKey: otherKey}, nil, ErrNotAuthentic},
		{"old token and key", AccountConfig{Mode: Compatible, Token: "old-token", AESKey: otherKey}, nil, ErrNotAuthentic},
		{"old mode", AccountConfig{Mode: Plain, Token: "old-token"}, nil, ErrMode},
		{"old mode, new token", AccountConfig{Mode: Plain}, nil, ErrMode},
		{"another token", AccountConfig{Mode: Encrypted, Token: "third"}, ErrNotAuthentic, ErrNotAuthentic},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, body := callback(t, c.sent, XML, testMessage)
			for at, want := range map[time.Time]error{until.Add(-1): c.now, until: c.after} {
				o, err := a.Open(q, body, at)
				if err != want {
					t.Fatalf("at %v: %v, want %v", at.Sub(until), err, want)
				}
				if err != nil {
					continue
				}
				// The answer is for the secrets that the sender knows.
				answer := a.AppendSealed(nil, []byte("answer"), o, 1, [16]byte{})
				plain, _, err := newAccount(t, c.sent).OpenReply(answer)
				if err != nil || string(plain) != "answer" {
					t.Errorf("answer %q, %v", plain, err)
				}
			}
			want := error(nil)
			if c.sent.Token == "third" {
				want = ErrNotAuthentic
			}
			if err := a.Verify(q, testNow); err != want {
				t.Errorf("Verify: %v, want %v", err, want)
			}
		})
	}
	t.Run("plain only, sealed before", func(t *testing.T) {
		a := newAccount(t, AccountConfig{Mode: Plain, Previous: &PreviousConfig{Mode: Encrypted, Until: until}})
		for sent := Encrypted; sent <= Plain; sent++ {
			q, body := callback(t, AccountConfig{Mode: sent}, JSON, `{"MsgType":"text"}`)
			if o, err := a.Open(q, body, testNow); err != nil || string(o.Body) != `{"MsgType":"text"}` {
				t.Errorf("%v: %q, %v", sent, o.Body, err)
			}
		}
	})
}

func TestOpenPlain(t *testing.T) {
	a := newAccount(t, AccountConfig{Mode: Plain})
	q, _ := callback(t, AccountConfig{Mode: Plain}, XML, testMessage)
	aes := q
	aes.EncryptType = "aes"
	for _, c := range []struct {
		name string
		q    Query
		body string
		want error
	}{
		{"message", q, testMessage, nil},
		{"of no format", q, "hello", nil},
		{"says raw", func() Query { q := q; q.EncryptType = "raw"; return q }(), testMessage, nil},
		{"calls itself sealed", aes, testMessage, ErrMode},
		{"envelope", q, `<xml><ToUserName>g</ToUserName><Encrypt>x</Encrypt></xml>`, ErrMode},
		{"JSON envelope", q, `{"Encrypt":"x"}`, ErrMode},
		{"envelope of 16 leaves", q, `{"Encrypt":"x",` + keys(15) + `}`, ErrMode},
		{"too many leaves for an envelope", q, `{"Encrypt":"x",` + keys(16) + `}`, nil},
		{"message that has an Encrypt", q, `{"Encrypt":"x","MsgType":"text"}`, nil},
		{"wrong signature and envelope", Query{Signature: "x", Timestamp: q.Timestamp, Nonce: "n"}, `{"Encrypt":"x"}`, ErrNotAuthentic},
		{"no signature", Query{Timestamp: q.Timestamp, Nonce: "n"}, testMessage, ErrNotAuthentic},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := a.Open(c.q, []byte(c.body), testNow)
			if err != c.want || err == nil && string(o.Body) != c.body {
				t.Errorf("%q, %v, want %v", o.Body, err, c.want)
			}
		})
	}
}

func TestOpenReply(t *testing.T) {
	q, body := callback(t, AccountConfig{Mode: Encrypted}, XML, testMessage)
	a := newAccount(t, AccountConfig{Mode: Encrypted})
	o, err := a.Open(q, body, testNow)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", Success} {
		if got := a.AppendSealed(nil, []byte(s), o, 1, [16]byte{}); string(got) != s {
			t.Errorf("%q is answered as %q", s, got)
		}
		if plain, f, err := a.OpenReply([]byte(s)); string(plain) != s || f != 0 || err != nil {
			t.Errorf("%q opens as %q, %v, %v", s, plain, f, err)
		}
	}
	sealed := string(a.AppendSealed(nil, []byte("<xml><a>1</a></xml>"), o, 5, [16]byte{}))
	for _, c := range []struct {
		name, body string
		mode       Mode
		want       error
	}{
		{"sealed", sealed, Encrypted, nil},
		{"sealed, compatible", sealed, Compatible, nil},
		{"sealed, plain", sealed, Plain, ErrMode},
		{"plain, encrypted", testMessage, Encrypted, ErrMode},
		{"plain, compatible", testMessage, Compatible, nil},
		{"plain, plain", testMessage, Plain, nil},
		{"garbage, encrypted", "garbage", Encrypted, ErrNotAuthentic},
		{"garbage, plain", "garbage", Plain, nil},
		{"other time", strings.Replace(sealed, "<TimeStamp>5", "<TimeStamp>6", 1), Encrypted, ErrNotAuthentic},
		{"other nonce", strings.Replace(sealed, "n1", "n2", 1), Encrypted, ErrNotAuthentic},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := newAccount(t, AccountConfig{Mode: c.mode}).OpenReply([]byte(c.body)); err != c.want {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestNewAccountErrors(t *testing.T) {
	good := AccountConfig{AppID: "wx", Mode: Encrypted, Token: "secret-token", AESKey: testKey}
	for want, change := range map[string]func(*AccountConfig){
		"app_id is missing":                    func(c *AccountConfig) { c.AppID = "" },
		"token is missing":                     func(c *AccountConfig) { c.Token = "" },
		"mode is missing":                      func(c *AccountConfig) { c.Mode = 0 },
		"encoding_aes_key is missing":          func(c *AccountConfig) { c.AESKey = "" },
		"max_skew is negative":                 func(c *AccountConfig) { c.MaxSkew = -1 },
		"encoding_aes_key: must be":            func(c *AccountConfig) { c.AESKey = testKey[1:] },
		"43 characters of base64":              func(c *AccountConfig) { c.AESKey = "\n" + testKey[1:] },
		"previous.encoding_aes_key: must be":   func(c *AccountConfig) { c.Previous = &PreviousConfig{AESKey: "secret"} },
		"previous.mode":                        func(c *AccountConfig) { c.Previous = &PreviousConfig{Mode: 9} },
		"previous.encoding_aes_key is missing": func(c *AccountConfig) { c.Mode, c.AESKey, c.Previous = Plain, "", &PreviousConfig{Mode: Encrypted} },
	} {
		c := good
		change(&c)
		_, err := NewAccount(c)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), testKey[2:]) {
			t.Errorf("error %v shows a secret", err)
		}
	}
	a, err := NewAccount(good)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseAESKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(a, k), fmt.Sprintf("%+v %#v %s", a, a, a), fmt.Sprintf("%+v %#v %s", k, k, k)} {
		if strings.Contains(s, "secret") || strings.Contains(s, fmt.Sprint(k.b[0])) {
			t.Errorf("printed %s", s)
		}
	}
}

func TestOpenedPrintsNoSecret(t *testing.T) {
	for _, m := range []Mode{Encrypted, Plain} {
		q, body := callback(t, AccountConfig{Mode: m}, XML, testMessage)
		o, err := newAccount(t, AccountConfig{Mode: m}).Open(q, body, testNow)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			s := fmt.Sprintf(format, o) + fmt.Sprintf(format, &o)
			if strings.Contains(s, testToken) || strings.Contains(s, "gh_1") || strings.Contains(s, fmt.Sprint(body[:4])[1:8]) {
				t.Errorf("%s prints %s", format, s)
			}
		}
	}
}

func TestParseAESKeySpareBits(t *testing.T) {
	// The last character holds 4 bits of the key; its other 2 may be set.
	a, err := ParseAESKey(testKey[:42] + "Q")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range "RST" {
		if b, err := ParseAESKey(testKey[:42] + string(c)); err != nil || b != a {
			t.Errorf("%c: %v", c, err)
		}
	}
}

func TestParseMode(t *testing.T) {
	for m := Encrypted; m <= Plain; m++ {
		if got, err := ParseMode(m.String()); got != m || err != nil {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	for _, s := range []string{"", "none", "Plain", "安全模式"} {
		if m, err := ParseMode(s); err == nil {
			t.Errorf("%q is %v", s, m)
		}
	}
}

func TestOpenAllocations(t *testing.T) {
	a, q, body, now := benchCallback(t)
	n := testing.AllocsPerRun(100, func() {
		o, err := a.Open(q, body, now)
		var ev hostapi.Event
		if err == nil {
			err = Decode("shop", o, &ev)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if n > 8 {
		t.Errorf("%v allocations to open and decode a text callback, at most 8 are allowed", n)
	}
}

func sealBlocks(k *key, b []byte) []byte {
	for i := 0; i < len(b); i += 16 {
		prev := k.iv[:]
		if i > 0 {
			prev = b[i-16 : i]
		}
		for j := range 16 {
			b[i+j] ^= prev[j]
		}
		k.block.Encrypt(b[i:i+16], b[i:i+16])
	}
	return base64.StdEncoding.AppendEncode(nil, b)
}
