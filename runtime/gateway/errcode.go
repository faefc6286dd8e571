package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Class says what is to be done about an errcode.
type Class string

// The classes. Of every code that is in none of the others the call itself is
// wrong, and no repeating helps.
const (
	ClassOK       Class = "ok"
	ClassRefresh  Class = "refresh_once"   // another token, then once more
	ClassBackoff  Class = "backoff"        // not executed: wait, then once more
	ClassQuota    Class = "quota_stop"     // nothing until the quota begins anew, or was cleared
	ClassAsOK     Class = "treat_as_ok"    // what was wanted is already so
	ClassUser     Class = "user_state"     // the user's doing: mark the user, don't alert
	ClassRelogin  Class = "relogin"        // the user logs in, or authorizes, again
	ClassOperator Class = "operator_alert" // somebody changes a setting, on our side or WeChat's
	ClassCaller   Class = "caller_error"
)

// Text is a sentence in both languages.
type Text struct{ English, Chinese string }

// Errcode is what is known of a code of WeChat's answers.
type Errcode struct {
	Code    int
	Known   bool // it is in the catalogue
	Class   Class
	Meaning Text
	Advice  Text
}

// LookupErrcode returns the entry of a code. One that is not in the catalogue,
// as WeChat has thousands, is a caller error without a meaning of its own.
func LookupErrcode(code int) Errcode {
	i, ok := slices.BinarySearchFunc(errcodes[:], code, func(r errcodeRow, code int) int { return r.code - code })
	if !ok {
		return Errcode{
			Code: code, Class: ClassCaller, Advice: advices[adviceUnknown],
			Meaning: Text{"a code that Weft has no entry for", "Weft 尚未收录的错误码"},
		}
	}
	r := errcodes[i]
	return Errcode{Code: code, Known: true, Class: r.class, Meaning: Text{r.english, r.chinese}, Advice: advices[r.advice]}
}

// Errcodes returns the codes of the catalogue, sorted.
func Errcodes() []int {
	codes := make([]int, len(errcodes))
	for i, r := range errcodes {
		codes[i] = r.code
	}
	return codes
}

// Names of the headers that translate an errcode. Texts are UTF-8,
// percent-encoded.
const (
	HeaderErrorCode      = "Weft-Error-Code"
	HeaderErrorClass     = "Weft-Error-Class"
	HeaderErrorMeaning   = "Weft-Error-Meaning"
	HeaderErrorMeaningZH = "Weft-Error-Meaning-Zh"
	HeaderErrorAdvice    = "Weft-Error-Advice"
	HeaderErrorAdviceZH  = "Weft-Error-Advice-Zh"
	HeaderErrorRid       = "Weft-Error-Rid"
)

// SetHeader tells a caller what an errcode means. rid may be empty.
func (e Errcode) SetHeader(h http.Header, rid string) {
	h.Set(HeaderErrorCode, strconv.Itoa(e.Code))
	h.Set(HeaderErrorClass, string(e.Class))
	h.Set(HeaderErrorMeaning, url.PathEscape(e.Meaning.English))
	h.Set(HeaderErrorMeaningZH, url.PathEscape(e.Meaning.Chinese))
	h.Set(HeaderErrorAdvice, url.PathEscape(e.Advice.English))
	h.Set(HeaderErrorAdviceZH, url.PathEscape(e.Advice.Chinese))
	if rid != "" {
		h.Set(HeaderErrorRid, rid)
	}
}

// Rid finds the id of the request in an errmsg, `… rid: 5f8a3b1c-…`, by which
// WeChat's /cgi-bin/openapi/rid/get tells more; "" where there is none.
func Rid(errmsg string) string {
	const most = 64
	_, rid, found := strings.Cut(errmsg, "rid:")
	if !found {
		return ""
	}
	rid = strings.TrimLeft(rid, " ")
	end := strings.IndexFunc(rid, func(r rune) bool { return r != '-' && (r > 'z' || !unreserved(byte(r)) || r == '~' || r == '.') })
	if end >= 0 {
		rid = rid[:end]
	}
	if len(rid) > most {
		return ""
	}
	return rid
}
