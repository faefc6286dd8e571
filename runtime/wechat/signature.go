package wechat

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
)

// sign returns hex(sha1(concat(sort(token, timestamp, nonce)))), and with a
// text that isn't nil its msg_signature, where the text is a fourth part. The
// sort is by bytes.
func sign(token, timestamp, nonce string, text []byte) (sig [40]byte) {
	a, b, c := token, timestamp, nonce
	if less(b, a) {
		a, b = b, a
	}
	if less(c, b) {
		b, c = c, b
	}
	if less(b, a) {
		a, b = b, a
	}
	var small [128]byte
	head := append(small[:0], a...) // what goes before the text, and from cut on behind it
	cut := 0
	if !lessText(text, a) {
		cut = len(head)
	}
	head = append(head, b...)
	if !lessText(text, b) {
		cut = len(head)
	}
	head = append(head, c...)
	if !lessText(text, c) {
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
		var differ uint64
		for j := 0; j < len(got); j += 8 {
			differ |= binary.LittleEndian.Uint64(got[j:]) ^ binary.LittleEndian.Uint64(want[j:])
		}
		if eq64(differ, 0) == 1 {
			return i
		}
	}
	return -1
}

// less compares by bytes; mostly the first one tells.
func less(a, b string) bool {
	if a != "" && b != "" && a[0] != b[0] {
		return a[0] < b[0]
	}
	return a < b
}

func lessText(a []byte, b string) bool {
	if len(a) > 0 && b != "" && a[0] != b[0] {
		return a[0] < b[0]
	}
	return string(a) < b
}
