package wechat

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxUserData is the most of an encryptedData or a rawData, in bytes of text.
const MaxUserData = 64 << 10

// What OpenUserData and UserData.Check answer with. None quotes what it is about.
var (
	// ErrUserData is data that no session_key could open: not base64, no whole
	// blocks, or too long. HTTP 400.
	ErrUserData = errors.New("encrypted_data or iv is malformed: a + that became a blank is the usual cause")
	// ErrSessionKey is data that does not open with this session_key: the user's
	// WeChat has another one by now, and the user is to log in again.
	ErrSessionKey = errors.New("the data does not open with the session_key: log in again")
	// ErrWatermark is data of another app, or of another time. HTTP 403.
	ErrWatermark = errors.New("the watermark is of another app or of another time")
)

// UserData is what a mini program's encryptedData holds.
type UserData struct {
	JSON      []byte // the object as it stands, its watermark included
	AppID     string // of the watermark; "": there is none
	Timestamp time.Time
}

// ParseSessionKey reads a session_key: base64 of 16 bytes. The error does not hold
// it.
func ParseSessionKey(s string) ([16]byte, error) {
	var key [16]byte
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != len(key) {
		return key, errors.New("a session_key must be base64 of 16 bytes")
	}
	copy(key[:], b)
	return key, nil
}

// OpenUserData opens encryptedData: base64 of AES-128-CBC with the session_key,
// padded by PKCS#7 to blocks of 16, as "开放数据校验与解密" of WeChat's
// documentation has it. White space in it is taken out: mini programs wrap it.
//
// Nothing but its form protects it against change: whoever made the request can
// change parts of it. Its errors are ErrUserData and ErrSessionKey; the second is
// one error for a bad padding and for what is no JSON, so that a sender learns
// nothing else.
func OpenUserData(key [16]byte, encrypted, iv string) (UserData, error) {
	if len(encrypted) > MaxUserData || len(iv) > MaxUserData {
		return UserData{}, ErrUserData
	}
	text, err := base64.StdEncoding.DecodeString(withoutSpace(encrypted))
	vector, err2 := base64.StdEncoding.DecodeString(withoutSpace(iv))
	if err != nil || err2 != nil || len(vector) != aes.BlockSize || len(text) == 0 || len(text)%aes.BlockSize != 0 {
		return UserData{}, ErrUserData
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return UserData{}, fmt.Errorf("opening user data: %w", err)
	}
	cipher.NewCBCDecrypter(block, vector).CryptBlocks(text, text)
	plain, ok := unpadded(text)
	d := UserData{JSON: plain}
	if !ok || !d.read() {
		return UserData{}, ErrSessionKey
	}
	return d, nil
}

// withoutSpace takes out what base64 is wrapped with.
func withoutSpace(s string) string {
	if !strings.ContainsAny(s, " \t\r\n") {
		return s
	}
	return strings.Join(strings.Fields(s), "")
}

// unpadded takes the padding of PKCS#7 off; text is whole blocks of 16.
func unpadded(text []byte) (plain []byte, ok bool) {
	last := text[len(text)-aes.BlockSize:]
	n := int(last[aes.BlockSize-1])
	good := subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, aes.BlockSize)
	for i := range aes.BlockSize {
		inside := subtle.ConstantTimeLessOrEq(aes.BlockSize-i, n)
		good &= subtle.ConstantTimeSelect(inside, subtle.ConstantTimeByteEq(last[i], byte(n)), 1)
	}
	if good != 1 {
		return nil, false
	}
	return text[:len(text)-n], true
}

// read takes the watermark from the JSON; false: it is no object of JSON.
func (d *UserData) read() bool {
	// Names are compared as they stand: encoding/json alone would take Watermark,
	// too, and whichever is last.
	var fields map[string]json.RawMessage
	if !utf8.Valid(d.JSON) || !decodeWhole(d.JSON, &fields) || fields == nil {
		return false
	}
	var mark map[string]json.RawMessage
	if fields["watermark"] == nil || json.Unmarshal(fields["watermark"], &mark) != nil {
		return true // one without
	}
	var seconds int64
	if json.Unmarshal(mark["timestamp"], &seconds) == nil {
		d.Timestamp = time.Unix(seconds, 0)
	}
	if json.Unmarshal(mark["appid"], &d.AppID) != nil {
		d.AppID = ""
	}
	return true
}

// decodeWhole reads one value of JSON that is all there is.
func decodeWhole(b []byte, to any) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	if d.Decode(to) != nil {
		return false
	}
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}

// Check compares the watermark with the app and with now: its timestamp may be off
// by skew. The error is ErrWatermark.
func (d *UserData) Check(appID string, now time.Time, skew time.Duration) error {
	if subtle.ConstantTimeCompare([]byte(d.AppID), []byte(appID)) != 1 || appID == "" {
		return ErrWatermark
	}
	if off := now.Sub(d.Timestamp); off > skew || off < -skew {
		return ErrWatermark
	}
	return nil
}

// SignedRawData tells whether signature is that of rawData, as wx.getUserInfo gives
// both: hex of SHA-1 over the text as it stands and the session_key's text.
func SignedRawData(rawData, sessionKey, signature string) bool {
	if sessionKey == "" || len(rawData) > MaxUserData {
		return false
	}
	sum := sha1.Sum([]byte(rawData + sessionKey))
	return subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(signature)) == 1
}
