package wechat

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
)

// SignPage returns the signature that a page hands to wx.config of the JS-SDK:
// hex(sha1("jsapi_ticket=…&noncestr=…&timestamp=…&url=…")). page is its address as
// the browser has it, undecoded; what it has from # on isn't signed. timestamp is in
// seconds since 1970. The page is told nonce as nonceStr.
func SignPage(ticket, nonce string, timestamp int64, page string) string {
	page, _, _ = strings.Cut(page, "#")
	var room [1024]byte
	text := append(room[:0], "jsapi_ticket="...)
	text = append(text, ticket...)
	text = append(text, "&noncestr="...)
	text = append(text, nonce...)
	text = append(text, "&timestamp="...)
	text = strconv.AppendInt(text, timestamp, 10)
	text = append(text, "&url="...)
	text = append(text, page...)
	sum := sha1.Sum(text)
	return hex.EncodeToString(sum[:])
}
