package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// Answer is what a call is answered with.
type Answer struct {
	Status      int    // 0: 200, as WeChat answers errors, too
	ContentType string // "": that of JSON
	Body        []byte
}

// answer is an Answer that may be a stream.
type answer struct {
	Answer
	errcode int
	size    int64                 // of stream, in bytes
	stream  func(io.Writer) error // in place of Body
	header  map[string]string
}

// says answers with a JSON object.
func says(v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("simulator: an answer is no JSON: %v", err)) // all are this package's own
	}
	return answer{Answer: Answer{Body: body}}
}

// fine is the answer of a call that has nothing to tell.
func fine() answer {
	return answer{Answer: Answer{Body: []byte(`{"errcode":0,"errmsg":"ok"}`)}}
}

// refuses answers with an errcode, its message as WeChat words it, and the rid
// that openapi/rid/get explains.
func (c *call) refuses(errcode int) answer {
	return c.refusesWith(errcode, message(errcode))
}

func (c *call) refusesWith(errcode int, errmsg string) answer {
	a := says(struct {
		Errcode int    `json:"errcode"`
		Errmsg  string `json:"errmsg"`
	}{errcode, errmsg + " rid: " + c.rid})
	a.errcode = errcode
	return a
}

// message is an errmsg as public code and threads quote it, without the rid.
func message(errcode int) string {
	switch errcode {
	case -1:
		return "system error"
	case 40001:
		return "invalid credential, access_token is invalid or not latest"
	case 40002:
		return "invalid grant_type"
	case 40003:
		return "invalid openid"
	case 40004:
		return "invalid media type"
	case 40007:
		return "invalid media_id"
	case 40008:
		return "invalid message type"
	case 40013:
		return "invalid appid"
	case 40014:
		return "invalid access_token"
	case 40029:
		return "invalid code"
	case 40033:
		return `invalid charset. please check your request, if include \uxxxx will create fail!`
	case 40037:
		return "invalid template_id"
	case 40097:
		return "invalid args"
	case 40125:
		return "invalid appsecret"
	case 40163:
		return "code been used"
	case 40164:
		return "invalid ip, not in whitelist"
	case 41001:
		return "access_token missing"
	case 41002:
		return "appid missing"
	case 41004:
		return "appsecret missing"
	case 41005:
		return "media data missing"
	case 41006:
		return "media_id missing"
	case 41008:
		return "missing code"
	case 42001:
		return "access_token expired"
	case 42003:
		return "code expired"
	case 43001:
		return "require GET method"
	case 43002:
		return "require POST method"
	case 43004:
		return "require subscribe"
	case 43101:
		return "user refuse to accept the msg"
	case 44002:
		return "empty post data"
	case 45009:
		return "reach max api daily quota limit"
	case 45011:
		return "api minute-quota reach limit, must slower, retry next minute"
	case 45015:
		return "response out of time limit or subscription is canceled"
	case 45047:
		return "out of response count limit"
	case 45065:
		return "clientmsgid exist"
	case 45067:
		return "clientmsgid size out of limit"
	case 47001:
		return "data format error"
	case 48001:
		return "api unauthorized"
	case 48006:
		return "forbid to clear quota because of reaching the limit"
	case 76001:
		return "rid not found"
	case 76002:
		return "rid invalid"
	case 76003:
		return "rid not belong to your account"
	case 76021:
		return "cgi_path not found, please check"
	case 76022:
		return "could not use this cgi_path, no permission"
	}
	return "errcode " + strconv.Itoa(errcode)
}

// SetAnswer sets what the calls under a token that are meant answer, where this
// package knows nothing better; the last one set wins. Where none is set, it is
// errcode 0.
func (w *WeChat) SetAnswer(where Where, a Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = put(w.answers, where, a)
}
