package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/weft-dev/weft/runtime/simulator"
)

func answer(rw http.ResponseWriter, value any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(value) // who asked may be gone
}

// login is wx.login on the user's phone.
func (t *town) login(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, map[string]any{"errMsg": "login:ok", "code": t.wechat.NewCode(miniID, simulator.LoginCode, inMini, "")})
}

// number is what bindgetphonenumber of a phone button gets.
func (t *town) number(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, map[string]any{"errMsg": "getPhoneNumber:ok", "code": t.wechat.NewCode(miniID, simulator.PhoneCode, inMini, "")})
}

// profile is what wx.getUserProfile gives: sealed with the user's session_key.
func (t *town) profile(rw http.ResponseWriter, _ *http.Request) {
	key := t.wechat.SessionKey(miniID, inMini)
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(secret) != aes.BlockSize {
		http.Error(rw, `{"errMsg":"getUserProfile:fail the user has not logged in"}`, http.StatusConflict)
		return
	}
	user := map[string]any{"nickName": "小明", "gender": 0, "language": "zh_CN", "city": "", "province": "", "country": "", "avatarUrl": ""}
	raw, err := json.Marshal(user)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	user["openId"] = inMini
	user["watermark"] = map[string]any{"appid": miniID, "timestamp": t.now().Unix()}
	sealed, iv, err := seal(secret, user)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	sum := sha1.Sum([]byte(string(raw) + key))
	answer(rw, map[string]any{
		"errMsg": "getUserProfile:ok", "rawData": string(raw), "signature": hex.EncodeToString(sum[:]),
		"encryptedData": base64.StdEncoding.EncodeToString(sealed), "iv": base64.StdEncoding.EncodeToString(iv),
	})
}

// seal encrypts as WeChat does: AES-128-CBC, padded by PKCS#7.
func seal(key []byte, value any) (sealed, iv []byte, err error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	plain = append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...)
	iv = make([]byte, aes.BlockSize)
	rand.Read(iv)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(plain, plain)
	return plain, iv, nil
}
