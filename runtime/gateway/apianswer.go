package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
)

const (
	// maxHead is how much of an answer is looked at for an errcode, in bytes. That
	// of an error is a few hundred.
	maxHead = 16 << 10
	// maxRequestHead is the same of the answer that shows a request made before,
	// with its token.
	maxRequestHead = 1 << 20
)

// read makes an answer of a response: it looks at the beginning where that may be
// JSON, and takes out what nobody may see.
func (c *call) read(resp *http.Response, token string) (*APIResponse, error) {
	most := maxHead
	if strings.EqualFold(c.endpoint.path, "/cgi-bin/openapi/rid/get") {
		most = maxRequestHead
	}
	head, whole, err := readHead(resp.Body, most)
	if err != nil {
		return nil, err
	}
	hide(head, token)
	if most == maxRequestHead {
		hideTokens(head)
	}
	answer := &APIResponse{Status: resp.StatusCode, Header: passBack(resp.Header, token), Length: resp.ContentLength, whole: whole}
	if said := readErrcode(head); said.found {
		answer.Errcode, answer.Rid = said.code, Rid(said.text)
	}
	body := &answerBody{head: head, rest: resp.Body, call: c}
	if whole {
		_ = resp.Body.Close() // it was read to its end
		body.rest = http.NoBody
		if answer.Length < 0 {
			answer.Length = int64(len(head))
		}
	}
	answer.Body = body
	c.clock.rest()
	return answer, nil
}

// readHead reads the beginning of a body: until it is seen to be no JSON object,
// or to the end, or to the most. whole: that was all.
func readHead(body io.Reader, most int) (head []byte, whole bool, err error) {
	head = make([]byte, 0, 1<<10)
	for len(head) < most {
		if len(head) == cap(head) {
			grown := make([]byte, len(head), min(4*cap(head), most))
			copy(grown, head)
			head = grown
		}
		n, err := body.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		switch {
		case errors.Is(err, io.EOF):
			return head, true, nil
		case err != nil:
			return nil, false, err
		}
		if text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"); len(text) > 0 && text[0] != '{' && head[0] != 0xef {
			return head, false, nil
		}
	}
	return head, false, nil
}

// hide puts asterisks over the token. The length stays.
func hide(text []byte, token string) {
	for {
		i := bytes.Index(text, []byte(token))
		if i < 0 {
			return
		}
		copy(text[i:], strings.Repeat("*", len(token)))
		text = text[i+len(token):]
	}
}

// hideTokens puts asterisks over the access_token of each URL, whosever it is.
func hideTokens(text []byte) {
	const name = "access_token"
	for i := bytes.Index(text, []byte(name)); i >= 0; i = bytes.Index(text, []byte(name)) {
		text = text[i+len(name):]
		value := bytes.TrimPrefix(bytes.TrimPrefix(text, []byte("=")), []byte(`\u003d`))
		if len(value) == len(text) {
			continue
		}
		for j := 0; j < len(value) && (unreserved(value[j]) || value[j] == '%'); j++ {
			value[j] = '*'
		}
	}
}

// passBack returns the headers of an answer that are meant for a caller.
func passBack(from http.Header, token string) http.Header {
	to := make(http.Header, 4)
	for name, values := range from {
		switch name {
		case "Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Range", "Accept-Ranges",
			"Date", "Last-Modified", "Etag", "Expires", "Cache-Control", "Retry-After", "Error-Code", "Logicret", "Retkey":
		default:
			if !strings.HasPrefix(name, "X-Wechat-") && !strings.HasPrefix(name, "X-Wx-") {
				continue
			}
		}
		if len(values) <= 4 && !strings.Contains(strings.Join(values, " "), token) {
			to[name] = values
		}
	}
	return to
}
