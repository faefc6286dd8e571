package wechat

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"
)

// AppendSealed appends the answer to the callback o: msg sealed with the key
// that opened o and signed with the token that signed it, in the format of its
// envelope. The timestamp, Unix seconds, is the answer's own; the nonce is the
// request's. random is 16 bytes that nobody can guess, new for each answer.
//
// msg is appended as it stands where o was not sealed, and where it is empty
// or Success: those are never sealed.
func (a *Account) AppendSealed(dst, msg []byte, o Opened, timestamp int64, random [16]byte) []byte {
	if !o.Sealed || len(msg) == 0 || string(msg) == Success {
		return append(dst, msg...)
	}
	e := envelope{
		format: o.EnvelopeFormat, token: o.token, key: o.key, appID: a.appID,
		nonce: cleanNonce(o.Nonce),
	}
	var digits [20]byte
	e.timestamp = strconv.AppendInt(digits[:0], timestamp, 10)
	return e.append(dst, msg, random)
}

// cleanNonce leaves out what can't be written in XML as it stands: the answer's
// signature is over what the reader reads. Where nothing is left it is "0".
func cleanNonce(s string) string {
	odd := func(c byte) bool { return c < ' ' || c > '~' }
	for i := range len(s) {
		if !odd(s[i]) {
			continue
		}
		if b := slices.DeleteFunc([]byte(s), odd); len(b) > 0 {
			return string(b)
		}
		return "0"
	}
	return s
}

// envelope is what is around a sealed answer.
type envelope struct {
	format    Format
	token     string
	key       *key
	appID     string
	nonce     string
	timestamp []byte
}

// The parts of an envelope, byte for byte as in the platform's samples.
var envelopeParts = [...][5]string{
	XML: {
		"<xml>\n<Encrypt><![CDATA[", "]]></Encrypt>\n<MsgSignature><![CDATA[",
		"]]></MsgSignature>\n<TimeStamp>", "</TimeStamp>\n<Nonce>", "</Nonce>\n</xml>",
	},
	JSON: {`{"Encrypt":"`, `","MsgSignature":"`, `","TimeStamp":`, `,"Nonce":`, `}`},
}

func (e *envelope) append(dst, msg []byte, random [16]byte) []byte {
	const around = 256 // more than the parts, a signature and a timestamp
	parts := &envelopeParts[e.format]
	binary := sealedLen(len(msg), e.appID)
	whole := around + base64.StdEncoding.EncodedLen(binary) + 2*len(e.nonce)

	// What goes out is put together at the front of the room that is made here,
	// the sealed message behind it.
	dst = slices.Grow(dst, whole+binary)
	sealed := e.key.seal(dst[len(dst)+whole:len(dst)+whole], random, msg, e.appID)

	dst = append(dst, parts[0]...)
	start := len(dst)
	dst = base64.StdEncoding.AppendEncode(dst, sealed)
	sig := sign(e.token, string(e.timestamp), e.nonce, dst[start:])
	dst = append(dst, parts[1]...)
	dst = append(dst, sig[:]...)
	dst = append(dst, parts[2]...)
	dst = append(dst, e.timestamp...)
	dst = append(dst, parts[3]...)
	if e.format == JSON {
		dst = appendJSON(dst, e.nonce)
	} else {
		dst = appendCDATA(dst, e.nonce)
	}
	return append(dst, parts[4]...)
}

// AppendCallback is the other side: it appends msg, a message in format f, as
// WeChat would post it to the account named to (ToUserName), and returns the
// query to post it with. The mode and the secrets are the account's current
// ones. Encrypted: an envelope with the sealed message. Compatible: msg with
// Encrypt added as its last element; msg is sealed alone where that can't be
// done. Plain: msg.
func (a *Account) AppendCallback(dst, msg []byte, f Format, to string, timestamp int64, nonce string, random [16]byte) ([]byte, Query) {
	token := a.now.tokens[0]
	q := Query{Timestamp: strconv.FormatInt(timestamp, 10), Nonce: nonce}
	sig := sign(token, q.Timestamp, nonce, nil)
	q.Signature = string(sig[:])
	if a.mode == Plain {
		return append(dst, msg...), q
	}
	q.EncryptType = "aes"
	sealed := a.now.keys[0].seal(nil, random, msg, a.appID)
	text := base64.StdEncoding.AppendEncode(nil, sealed)
	sig = sign(token, q.Timestamp, nonce, text)
	q.MsgSignature = string(sig[:])

	w := writer{b: dst, json: f == JSON}
	if a.mode == Compatible {
		if end := bodyEnd(msg, f); end > 0 {
			w.b = append(w.b, msg[:end]...)
			w.text("Encrypt", string(text))
			w.b = append(w.b, msg[end:]...)
			if holdsEncrypt(w.b[len(dst):], f) {
				return w.b, q
			}
			w.b = dst
		}
	}
	w.open("")
	w.text("ToUserName", to)
	w.text("Encrypt", string(text))
	w.shut("")
	return w.b, q
}

// bodyEnd returns where the root of a document ends, before its end tag or
// bracket; -1 where msg is none, or has an Encrypt of its own.
func bodyEnd(msg []byte, f Format) int {
	var t tree
	if t.scan(f, msg) != nil || t.leaves == 0 {
		return -1
	}
	for i := range t.size {
		if n := t.at(i); n.parent == 0 && string(t.bytes(n.name)) == "Encrypt" {
			return -1
		}
	}
	if f == JSON {
		return bytes.LastIndexByte(msg, '}')
	}
	return bytes.LastIndex(msg, []byte("</"))
}

// holdsEncrypt tells whether body can be read and has one Encrypt: the last end
// tag of a document may be a part of an instruction or a comment behind it.
func holdsEncrypt(body []byte, f Format) bool {
	var t tree
	if t.scan(f, body) != nil {
		return false
	}
	_, ok := t.only("Encrypt")
	return ok
}

// OpenReply is the other side: it checks and opens an answer and returns the
// message and its format. Success, the empty answer and, where the account has
// a mode without sealing, a plain answer are returned as they are, Success and
// the empty one with format 0. In compatible mode an answer may be of either
// kind.
//
// The error is ErrMode for a plain answer in encrypted mode and a sealed one in
// plain mode, and ErrNotAuthentic for all that is wrong with a sealed one.
// Whether the timestamp is fresh is not looked at. All secrets of the account
// are tried, those of Previous whatever its Until.
func (a *Account) OpenReply(body []byte) (plain []byte, f Format, err error) {
	if len(body) == 0 || string(body) == Success {
		return body, 0, nil
	}
	format := Sniff(body)
	var t tree
	if err := t.scan(format, body); err != nil {
		if a.mode == Encrypted {
			return nil, 0, ErrNotAuthentic
		}
		return body, format, nil
	}
	text, ok := t.only("Encrypt")
	s := a.all()
	switch {
	case !ok && a.mode == Encrypted && !s.plain, ok && !s.sealed:
		return nil, 0, ErrMode
	case !ok:
		return body, format, nil
	}
	sig, _ := t.only("MsgSignature")
	timestamp, _ := t.only("TimeStamp")
	nonce, _ := t.only("Nonce")
	o := Opened{Nonce: string(nonce)}
	if !o.openSealed(s, string(sig), string(timestamp), text, a.appID) {
		return nil, 0, ErrNotAuthentic
	}
	return o.Body, o.Format, nil
}
