package simulator

import (
	"bytes"
	"encoding/json"
	"net/http"
)

func messagesEndpoints(to map[string]endpoint) {
	to["/cgi-bin/message/custom/send"] = endpoint{method: http.MethodPost, serve: (*WeChat).customSend}
	to["/cgi-bin/message/template/send"] = endpoint{method: http.MethodPost, serve: (*WeChat).templateSend}
	to["/cgi-bin/message/subscribe/send"] = endpoint{method: http.MethodPost, serve: (*WeChat).subscribeSend}
	to["/cgi-bin/message/subscribe/bizsend"] = endpoint{method: http.MethodPost, serve: (*WeChat).subscribeSend}
	to["/cgi-bin/message/mass/send"] = endpoint{method: http.MethodPost, serve: (*WeChat).massSend}
	to["/cgi-bin/message/mass/sendall"] = endpoint{method: http.MethodPost, serve: (*WeChat).massSend}
}

// sent is what the messages have in common.
type sent struct {
	ToUser     any    `json:"touser"` // of mass/send it is a list
	MsgType    string `json:"msgtype"`
	TemplateID string `json:"template_id"`
	Text       struct {
		Content string `json:"content"`
	} `json:"text"`
	// ClientMsgID is what the caller calls a mass message, ClientMsg a template
	// message; the same one isn't sent twice.
	ClientMsgID string          `json:"clientmsgid"`
	ClientMsg   string          `json:"client_msg_id"`
	Data        json.RawMessage `json:"data"`
}

// message reads a message that may be sent to its user.
func (c *call) message() (sent, answer, bool) {
	var m sent
	if json.Unmarshal(c.body, &m) != nil {
		return m, c.refuses(47001), false
	}
	// Escapes in messages and menus are refused: their JSON is raw UTF-8.
	if bytes.Contains(c.body, []byte(`\u`)) {
		return m, c.refuses(40033), false
	}
	return m, answer{}, true
}

// to checks the user that a message is for.
func (c *call) to(m sent) (User, answer, bool) {
	openID, _ := m.ToUser.(string)
	if openID == "" || len(openID) > openIDMax {
		return User{}, c.refuses(40003), false
	}
	u := c.app.user(openID)
	if u.Refuses != 0 {
		return u, c.refuses(u.Refuses), false
	}
	return u, answer{}, true
}

// takes gives a message its id, once for what the caller calls it.
func (w *WeChat) takes(c *call, m sent, msgid string) answer {
	name := m.ClientMsgID + m.ClientMsg
	if len(name) > 64 {
		return c.refuses(45067)
	}
	if name != "" {
		if id, ok := c.app.named[name]; ok {
			a := says(map[string]any{"errcode": 45065, "errmsg": message(45065) + " rid: " + c.rid, "msg_id": id})
			a.errcode = 45065
			return a
		}
	}
	w.messages++
	if name != "" {
		if len(c.app.named) >= remembered {
			c.app.named = map[string]int64{}
		}
		c.app.named[name] = w.messages
	}
	told := map[string]any{"errcode": 0, "errmsg": "ok"}
	if msgid != "" {
		told[msgid] = w.messages
	}
	return says(told)
}

// customSend is POST /cgi-bin/message/custom/send.
func (w *WeChat) customSend(c *call) answer {
	m, a, ok := c.message()
	if !ok {
		return a
	}
	if _, a, ok = c.to(m); !ok {
		return a
	}
	switch m.MsgType {
	case "text":
		if m.Text.Content == "" {
			return c.refuses(44004)
		}
	case "image", "voice", "video", "music", "news", "mpnews", "mpnewsarticle", "msgmenu", "wxcard", "miniprogrampage", "link":
	default:
		return c.refuses(40008)
	}
	return w.takes(c, m, "")
}

// templateSend is POST /cgi-bin/message/template/send.
func (w *WeChat) templateSend(c *call) answer {
	m, a, ok := c.message()
	if !ok {
		return a
	}
	u, a, ok := c.to(m)
	switch {
	case !ok:
		return a
	case u.Unsubscribed:
		return c.refuses(43004)
	case m.TemplateID == "":
		return c.refuses(40037)
	}
	return w.takes(c, m, "msgid")
}

// subscribeSend is POST /cgi-bin/message/subscribe/send of mini programs, and
// bizsend of official accounts.
func (w *WeChat) subscribeSend(c *call) answer {
	m, a, ok := c.message()
	if !ok {
		return a
	}
	_, a, ok = c.to(m)
	switch {
	case !ok:
		return a
	case m.TemplateID == "":
		return c.refuses(40037)
	case len(m.Data) == 0:
		return c.refuses(47003)
	}
	return w.takes(c, m, "msgid")
}

// massSend is POST /cgi-bin/message/mass/send and sendall.
func (w *WeChat) massSend(c *call) answer {
	m, a, ok := c.message()
	if !ok {
		return a
	}
	if m.MsgType == "" {
		return c.refuses(40008)
	}
	return w.takes(c, m, "msg_id")
}
