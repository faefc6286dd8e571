package simulator

import (
	"bytes"
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
	var body bytes.Buffer
	to := json.NewEncoder(&body)
	to.SetEscapeHTML(false)
	if err := to.Encode(v); err != nil {
		panic(fmt.Sprintf("simulator: an answer is no JSON: %v", err)) // all are this package's own
	}
	return answer{Answer: Answer{Body: bytes.TrimSpace(body.Bytes())}}
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
	for _, one := range errmsgs {
		if one.errcode == errcode {
			return one.errmsg
		}
	}
	return "errcode " + strconv.Itoa(errcode)
}

var errmsgs = [...]struct {
	errcode int
	errmsg  string
}{
	{-1, "system error"},
	{40001, "invalid credential, access_token is invalid or not latest"},
	{40002, "invalid grant_type"},
	{40003, "invalid openid"},
	{40004, "invalid media type"},
	{40007, "invalid media_id"},
	{40008, "invalid message type"},
	{40013, "invalid appid"},
	{40014, "invalid access_token"},
	{40029, "invalid code"},
	{40030, "invalid refresh_token"},
	{40033, `invalid charset. please check your request, if include \uxxxx will create fail!`},
	{40037, "invalid template_id"},
	{40097, "invalid args"},
	{40125, "invalid appsecret"},
	{40163, "code been used"},
	{40164, "invalid ip, not in whitelist"},
	{41001, "access_token missing"},
	{41002, "appid missing"},
	{41003, "refresh_token missing"},
	{41004, "appsecret missing"},
	{41005, "media data missing"},
	{41006, "media_id missing"},
	{41008, "missing code"},
	{42001, "access_token expired"},
	{42002, "refresh_token expired"},
	{42003, "code expired"},
	{43001, "require GET method"},
	{43002, "require POST method"},
	{43004, "require subscribe"},
	{43101, "user refuse to accept the msg"},
	{44001, "empty media data"},
	{44002, "empty post data"},
	{44004, "empty content"},
	{45009, "reach max api daily quota limit"},
	{45011, "api minute-quota reach limit, must slower, retry next minute"},
	{45015, "response out of time limit or subscription is canceled"},
	{45047, "out of response count limit"},
	{45065, "clientmsgid exist"},
	{45067, "clientmsgid size out of limit"},
	{47001, "data format error"},
	{47003, "argument invalid! data is empty"},
	{48001, "api unauthorized"},
	{48006, "forbid to clear quota because of reaching the limit"},
	{76001, "rid not found"},
	{76002, "rid invalid"},
	{76003, "rid not belong to your account"},
	{76021, "cgi_path not found, please check"},
	{76022, "could not use this cgi_path, no permission"},
	{87007, "session_key is not existed or expired"},
	{87008, "invalid sig_method"},
	{87009, "invalid signature"},
}

// SetAnswer sets what the calls that are meant answer, in place of what this
// package would, where they come with a token that works and their quota isn't
// used up; the last one set wins. A path that neither knows answers errcode 0.
// What gives credentials isn't touched.
func (w *WeChat) SetAnswer(where Where, a Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = put(w.answers, where, a)
}
