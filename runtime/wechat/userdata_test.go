package wechat

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

type userDataCase struct {
	Name, IV, Plaintext, AppID string
	SessionKey                 string `json:"session_key"`
	Encrypted                  string `json:"encrypted_data"`
	Valid                      bool
}

func TestVectorsUserData(t *testing.T) {
	var cases []userDataCase
	vectors(t, "wxa_userdata.json", &cases)
	if len(cases) == 0 {
		t.Fatal("there are no cases")
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			key, err := ParseSessionKey(c.SessionKey)
			if err != nil {
				t.Fatal(err)
			}
			d, err := OpenUserData(key, c.Encrypted, c.IV)
			if c.Valid != (err == nil) || string(d.JSON) != c.Plaintext {
				t.Fatalf("%v, %s; want %s", err, d.JSON, c.Plaintext)
			}
			if c.AppID != "" {
				if err := d.Check(c.AppID, d.Timestamp, 0); err != nil {
					t.Error(err)
				}
			}
			var mark struct {
				Watermark struct {
					Timestamp int64
					AppID     string
				}
			}
			if err := json.Unmarshal(d.JSON, &mark); err != nil || d.AppID != mark.Watermark.AppID || d.Timestamp.Unix() != mark.Watermark.Timestamp {
				t.Errorf("watermark %q %v, want %+v", d.AppID, d.Timestamp, mark)
			}
			for i := range key { // whichever byte of the key is another one
				other := key
				other[i] ^= 1
				if d, err := OpenUserData(other, c.Encrypted, c.IV); !errors.Is(err, ErrSessionKey) || d.JSON != nil {
					t.Errorf("another key: %v", err)
				}
			}
		})
	}
}

func TestVectorsRawData(t *testing.T) {
	var cases []struct {
		Name, Signature string
		RawData         string `json:"raw_data"`
		SessionKey      string `json:"session_key"`
		Valid           bool
	}
	vectors(t, "wxa_rawdata_signature.json", &cases)
	if len(cases) == 0 {
		t.Fatal("there are no cases")
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if got := SignedRawData(c.RawData, c.SessionKey, c.Signature); got != c.Valid {
				t.Errorf("%t, want %t", got, c.Valid)
			}
			for _, wrong := range [][3]string{
				{c.RawData + " ", c.SessionKey, c.Signature},
				{c.RawData, c.SessionKey + "=", c.Signature},
				{c.RawData, "", c.Signature},
				{c.RawData, c.SessionKey, ""},
				{c.RawData, c.SessionKey, strings.ToUpper(c.Signature)},
				{c.RawData, c.SessionKey, c.Signature[1:]},
			} {
				if SignedRawData(wrong[0], wrong[1], wrong[2]) {
					t.Errorf("taken: %q", wrong)
				}
			}
		})
	}
}

// sealUserData makes encryptedData as WeChat does, with pad as the padding.
func sealUserData(key, iv [16]byte, plain, pad string) string {
	text := []byte(plain + pad)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(text, text)
	return base64.StdEncoding.EncodeToString(text)
}

// padTo16 is the padding of PKCS#7.
func padTo16(plain string) string {
	n := 16 - len(plain)%16
	return strings.Repeat(string(rune(n)), n)
}

// TestUserDataRefused: whatever is wrong has the one error for it, and text that
// was opened in part never comes out.
func TestUserDataRefused(t *testing.T) {
	key, iv := [16]byte{1, 2, 3}, [16]byte{9}
	vector := base64.StdEncoding.EncodeToString(iv[:])
	const plain = `{"phoneNumber":"13812345678","watermark":{"timestamp":1477314187,"appid":"wx1"}}` // 5 blocks
	good := sealUserData(key, iv, plain, padTo16(plain))
	if d, err := OpenUserData(key, good, vector); err != nil || string(d.JSON) != plain {
		t.Fatalf("%v %s", err, d.JSON)
	}
	sealed := func(plain string) string { return sealUserData(key, iv, plain, padTo16(plain)) }
	for _, c := range []struct {
		name, encrypted, iv string
		want                error
	}{
		{"empty", "", vector, ErrUserData},
		{"no base64", "~~~~", vector, ErrUserData},
		{"a blank for a plus", "AAAA AAAAAAAAAAAAAAAA==", vector, ErrUserData},
		{"no whole block", base64.StdEncoding.EncodeToString(make([]byte, 17)), vector, ErrUserData},
		{"no iv", good, "", ErrUserData},
		{"a short iv", good, vector[4:], ErrUserData},
		{"too long", strings.Repeat("A", MaxUserData+4), vector, ErrUserData},
		{"padding of 0", sealUserData(key, iv, plain[:64], strings.Repeat("\x00", 16)), vector, ErrSessionKey},
		{"padding of 17", sealUserData(key, iv, plain[:64], strings.Repeat("\x11", 16)), vector, ErrSessionKey},
		{"padding whose first byte differs", sealUserData(key, iv, plain[:64], "\x0f"+strings.Repeat("\x10", 15)), vector, ErrSessionKey},
		{"nothing but padding", sealed(""), vector, ErrSessionKey},
		{"no JSON", sealed("hello"), vector, ErrSessionKey},
		{"null", sealed("null"), vector, ErrSessionKey},
		{"a list", sealed("[1]"), vector, ErrSessionKey},
		{"more after it", sealed("{} {}"), vector, ErrSessionKey},
		{"no UTF-8", sealed("{\"a\":\"\xff\"}"), vector, ErrSessionKey},
	} {
		d, err := OpenUserData(key, c.encrypted, c.iv)
		if !errors.Is(err, c.want) || d.JSON != nil {
			t.Errorf("%s: %v %q, want %v", c.name, err, d.JSON, c.want)
		}
	}
	for _, key := range []string{"", "AAAA", "~", strings.Repeat("A", 24), "tiihtNczf5v6AKRyjwEUhQ"} {
		if _, err := ParseSessionKey(key); err == nil || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("session_key %q: %v", key, err)
		}
	}
}

// TestWatermark: data of another app or of another time is none of ours.
func TestWatermark(t *testing.T) {
	key, iv := [16]byte{1}, [16]byte{}
	at := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		name, plain, app string
		off              time.Duration
		want             error
	}{
		{"ours", `{"watermark":{"timestamp":1700000000,"appid":"wx1"}}`, "wx1", 10 * time.Minute, nil},
		{"made ahead of our clock", `{"watermark":{"timestamp":1700000000,"appid":"wx1"}}`, "wx1", -10 * time.Minute, nil},
		{"too old", `{"watermark":{"timestamp":1700000000,"appid":"wx1"}}`, "wx1", 10*time.Minute + time.Second, ErrWatermark},
		{"of the future", `{"watermark":{"timestamp":1700000000,"appid":"wx1"}}`, "wx1", -10*time.Minute - time.Second, ErrWatermark},
		{"of another app", `{"watermark":{"timestamp":1700000000,"appid":"wx2"}}`, "wx1", 0, ErrWatermark},
		{"without", `{}`, "wx1", 0, ErrWatermark},
		{"null", `{"watermark":null}`, "wx1", 0, ErrWatermark},
		{"without an app, for none", `{"watermark":{"timestamp":1700000000}}`, "", 0, ErrWatermark},
		{"the app is a number", `{"watermark":{"timestamp":1700000000,"appid":1}}`, "1", 0, ErrWatermark},
		{"the time is a word", `{"watermark":{"timestamp":"now","appid":"wx1"}}`, "wx1", 0, ErrWatermark},
		{"other letters", `{"Watermark":{"timestamp":1700000000,"appid":"wx1"}}`, "wx1", 0, ErrWatermark},
		{"other letters behind it", `{"watermark":{"timestamp":1700000000,"appid":"wx2","AppID":"wx1"}}`, "wx1", 0, ErrWatermark},
	} {
		d, err := OpenUserData(key, sealUserData(key, iv, c.plain, padTo16(c.plain)), base64.StdEncoding.EncodeToString(iv[:]))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err := d.Check(c.app, at.Add(c.off), 10*time.Minute); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// FuzzOpenUserData: hostile data never gives more than an object of JSON, and what
// was sealed opens.
func FuzzOpenUserData(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAA==", `{"a":1}`)
	f.Add([]byte("0123456789abcdef"), "A A\nAA", "=", `{"watermark":{"timestamp":1,"appid":"wx1"}}`)
	f.Add([]byte{}, "", "", `{"watermark":[{}]}`)
	f.Add([]byte("k"), "~", "AAAA", `{"watermark":{"timestamp":-9e99,"appid":{}}}x`)
	f.Fuzz(func(t *testing.T, k []byte, encrypted, iv, plain string) {
		var key [16]byte
		copy(key[:], k)
		if d, err := OpenUserData(key, encrypted, iv); err == nil && !json.Valid(d.JSON) || err != nil && d.JSON != nil {
			t.Errorf("%v, %q", err, d.JSON)
		}
		if len(plain) > 8<<10 {
			return
		}
		d, err := OpenUserData(key, sealUserData(key, key, plain, padTo16(plain)), base64.StdEncoding.EncodeToString(key[:]))
		var object map[string]json.RawMessage
		whole := utf8.ValidString(plain) && json.Unmarshal([]byte(plain), &object) == nil && object != nil
		if whole != (err == nil) || err == nil && !bytes.Equal(d.JSON, []byte(plain)) {
			t.Errorf("%q: %v, %q", plain, err, d.JSON)
		}
	})
}
