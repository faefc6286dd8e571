package wechat

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
)

// sign returns hex(sha1(concat(sort(token, timestamp, nonce)))), and with a
// text that isn't nil its msg_signature, where the text is a fourth part. The
// sort is by bytes.
func sign(token, timestamp, nonce string, text []byte) (sig [40]byte) {
	a, b, c := token, timestamp, nonce
	if b < a {
		a, b = b, a
	}
	if c < b {
		b, c = c, b
	}
	if b < a {
		a, b = b, a
	}
	var small [128]byte
	head := small[:0] // what goes before the text, and from cut on behind it
	cut := -1
	for _, s := range [...]string{a, b, c} {
		if cut < 0 && string(text) < s {
			cut = len(head)
		}
		head = append(head, s...)
	}
	if cut < 0 {
		cut = len(head)
	}
	h := sha1.New()
	h.Write(head[:cut])
	h.Write(text)
	h.Write(head[cut:])
	var sum [sha1.Size]byte
	hex.Encode(sig[:], h.Sum(sum[:0]))
	return sig
}

// signedBy returns the index of the token that made sig, -1 where none did. An
// empty part is never taken.
func signedBy(tokens []string, sig, timestamp, nonce string, text []byte) int {
	var want [40]byte
	if len(sig) != len(want) || timestamp == "" || nonce == "" {
		return -1
	}
	copy(want[:], sig)
	for i, token := range tokens {
		got := sign(token, timestamp, nonce, text)
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return i
		}
	}
	return -1
}
