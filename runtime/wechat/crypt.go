package wechat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
)

// A sealed message is base64 of AES-256-CBC of
//
//	random (16) | length of message (4, big endian) | message | app id | padding
//
// padded by PKCS#7 to blocks of 32 bytes, not 16. The IV is the key's first 16
// bytes. Nothing but msg_signature protects it against change.
const (
	padBlock  = 32
	sealedTop = 16 + 4 // before the message
)

// Key is an app's AES key. It prints without its bytes.
type Key struct{ b [32]byte }

// ParseAESKey reads an EncodingAESKey: 43 characters of base64 that stand for
// 32 bytes. The 2 spare bits of the last character may be set; WeChat hands
// out such keys. The error does not hold s.
func ParseAESKey(s string) (Key, error) {
	var k Key
	if len(s) != 43 {
		return k, errors.New("must be the 43 characters that the platform shows")
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(b) != len(k.b) {
		return k, errors.New("must be 43 characters of base64: A-Z a-z 0-9 + /")
	}
	copy(k.b[:], b)
	return k, nil
}

// String says that it is a key, and no more.
func (Key) String() string { return "AES key" }

// GoString is String.
func (Key) GoString() string { return "AES key" }

// key is a Key made ready for use; safe for many goroutines.
type key struct {
	block cipher.Block
	iv    [aes.BlockSize]byte
}

func newKey(k Key) *key {
	block, err := aes.NewCipher(k.b[:])
	if err != nil {
		panic(err) // not of 32 bytes: can't be
	}
	return &key{block: block, iv: [aes.BlockSize]byte(k.b[:])}
}

// open decodes and opens text into buf, which has room for it, and returns the
// message within buf. ok is false for whatever is wrong.
func (k *key) open(buf, text []byte, appID string) (msg []byte, ok bool) {
	n, err := base64.StdEncoding.Decode(buf, text)
	if err != nil || n == 0 || n%padBlock != 0 {
		return nil, false
	}
	b := buf[:n]
	cipher.NewCBCDecrypter(k.block, k.iv[:]).CryptBlocks(b, b)
	pad, good := padding((*[padBlock]byte)(b[n-padBlock:]))
	end := n - pad - len(appID) // of the message
	if end < sealedTop {
		return nil, false
	}
	length := binary.BigEndian.Uint32(b[16:])
	good &= eq64(uint64(length), uint64(end-sealedTop))
	good &= eqString(b[end:end+len(appID)], appID)
	return b[sealedTop:end], good == 1
}

// padding returns how many bytes of padding the last block ends with, 0 where
// it is not right, and 1 or 0 for right or wrong, in a time that does not
// depend on the bytes.
func padding(last *[padBlock]byte) (n, good int) {
	n = int(last[padBlock-1])
	good = subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, padBlock)
	same := uint64(n) * onesBits
	var differ uint64
	for i := 0; i < padBlock; i += 8 { // the bytes from i on, the last of them highest
		inside := 8 * max(0, min(8, n-(padBlock-8-i)))
		mask := ^uint64(0) << (64 - inside)
		differ |= (binary.LittleEndian.Uint64(last[i:]) ^ same) & mask
	}
	good &= eq64(differ, 0)
	return subtle.ConstantTimeSelect(good, n, 0), good
}

func eq64(a, b uint64) int {
	d := a ^ b
	return subtle.ConstantTimeEq(int32(uint32(d)|uint32(d>>32)), 0)
}

// eqString compares in a time that depends on the lengths only, and without
// making a copy of s.
func eqString(b []byte, s string) int {
	if len(b) != len(s) {
		return 0
	}
	var d byte
	for i := range b {
		d |= b[i] ^ s[i]
	}
	return subtle.ConstantTimeByteEq(d, 0)
}

// sealedLen returns the length before base64 of a sealed message of n bytes.
func sealedLen(n int, appID string) int {
	n += sealedTop + len(appID)
	return n + padBlock - n%padBlock
}

// seal appends the sealed message, before base64, to b.
func (k *key) seal(b []byte, random [16]byte, msg []byte, appID string) []byte {
	start := len(b)
	b = slices.Grow(b, sealedLen(len(msg), appID))
	b = append(b, random[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(msg)))
	b = append(b, msg...)
	b = append(b, appID...)
	pad := padBlock - (len(b)-start)%padBlock
	for range pad {
		b = append(b, byte(pad))
	}
	cipher.NewCBCEncrypter(k.block, k.iv[:]).CryptBlocks(b[start:], b[start:])
	return b
}
