package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/wechat"
)

// maxNames is how many names of apps an error lists.
const maxNames = 20

// sendTime bounds a callback that we send, far over what WeChat waits.
const sendTime = 30 * time.Second

// ErrAddress is returned for an address that was given and is none.
var ErrAddress = errors.New("is no address")

// Callback says what SendCallback sends.
type Callback struct {
	App  string // name in pipeline.yaml
	User string // openid
	// Document is the callback's XML or JSON as it stands. Where it is nil, one
	// is made: an event where Event is set, else a text message.
	Document []byte
	Event    string
	Key      string // EventKey
	Text     string
	URL      string // "": /wx/APP at server.listen
}

// CallbackAnswer is what came back.
type CallbackAnswer struct {
	// Document is the opened answer: XML, JSON, "success" or nothing.
	Document []byte
	// Text is the content of a text answer; "" where the answer is none.
	Text string
}

// SendCallback does what WeChat does: it builds a callback for an app of the
// configuration in file, seals and signs it in the app's mode, posts it, and
// verifies and opens the answer. An answer that is not status 200 is an error.
// Included files that are wrong are left out.
func SendCallback(ctx context.Context, file string, c Callback) (CallbackAnswer, error) {
	cfg, wrong, err := readGood(file)
	if err != nil {
		return CallbackAnswer{}, err
	}
	app, err := appIn(file, cfg, wrong, c.App)
	if err != nil {
		return CallbackAnswer{}, err
	}
	account, err := openAccount(app)
	if err != nil {
		return CallbackAnswer{}, fmt.Errorf("%s: app %s: %w", app.Pos, app.Name, err)
	}
	target, err := callbackURL(c.URL, cfg.Server.Listen, app.Name)
	if err != nil {
		return CallbackAnswer{}, err
	}
	body, contentType, query := buildCallback(account, app, c, time.Now())
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	sealed, err := post(ctx, target, query, contentType, body)
	if err != nil {
		return CallbackAnswer{}, err
	}
	plain, format, err := account.OpenReply(sealed)
	if err != nil {
		return CallbackAnswer{}, fmt.Errorf("the answer of %s: %w: it begins with %q", shown(target), err, cut(string(sealed), 80))
	}
	return CallbackAnswer{Document: plain, Text: replyText(plain, format)}, nil
}

// appIn is findApp of a file without the included ones that are wrong. Where the app
// isn't there it may be in one of these: the error has their problems, too.
func appIn(file string, cfg *config.Config, wrong config.Problems, name string) (*config.App, error) {
	app, err := findApp(cfg, name)
	if err == nil {
		return app, nil
	}
	err = fmt.Errorf("%s: %w", file, err)
	if len(wrong) > 0 {
		err = errors.Join(err, wrong)
	}
	return nil, err
}

func findApp(cfg *config.Config, name string) (*config.App, error) {
	names := make([]string, 0, len(cfg.Apps))
	for _, a := range cfg.Apps {
		if a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no app %q: there is none", name)
	}
	more := ""
	if n := len(names) - maxNames; n > 0 {
		names, more = names[:maxNames], fmt.Sprintf(" and %d more", n)
	}
	return nil, fmt.Errorf("no app %q: there is %s%s", name, strings.Join(names, ", "), more)
}

// callbackURL is where to post: given, or where a host that listens at listen is
// reached from here.
func callbackURL(given, listen, app string) (*url.URL, error) {
	if given != "" {
		u, err := url.Parse(given)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("--url %w: give http://HOST:PORT/PATH", ErrAddress)
		}
		return u, nil
	}
	host, err := reached("server.listen", listen, "--url")
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "http", Host: host, Path: "/wx/" + app}, nil
}

// reached is the HOST:PORT at which a host is reached from here that listens at
// listen, the value of key; flag is what gives another one.
func reached(key, listen, flag string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	if port == "0" {
		return "", fmt.Errorf("%s picks a port: give the address with %s", key, flag)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// shown is an address for errors, without what may be a secret in it: user,
// password and query.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// buildCallback makes the body and the query of a callback.
func buildCallback(account *wechat.Account, app *config.App, c Callback, now time.Time) (body []byte, contentType string, q wechat.Query) {
	doc, format := c.Document, wechat.XML
	if doc == nil {
		doc = callbackDocument(app, c, now)
	} else if bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")) {
		format = wechat.JSON
	}
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	nonce := hex.EncodeToString(random[:8])
	rand.Read(random[:])
	body, q = account.AppendCallback(nil, doc, format, toUser(app), now.Unix(), nonce, random)
	if format == wechat.JSON {
		return body, "application/json", q
	}
	return body, "text/xml", q
}

// toUser is the account's own id in sample callbacks.
func toUser(app *config.App) string { return "gh_" + app.Name }

func callbackDocument(app *config.App, c Callback, now time.Time) []byte {
	var b bytes.Buffer
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	element := func(name, value string) {
		if strings.Contains(value, "]]>") {
			value = escape.Replace(value)
		} else {
			value = "<![CDATA[" + value + "]]>"
		}
		b.WriteString("<" + name + ">" + value + "</" + name + ">")
	}
	number := func(name string, n int64) {
		b.WriteString("<" + name + ">" + strconv.FormatInt(n, 10) + "</" + name + ">")
	}
	b.WriteString("<xml>")
	element("ToUserName", toUser(app))
	element("FromUserName", c.User)
	number("CreateTime", now.Unix())
	if c.Event != "" {
		element("MsgType", "event")
		element("Event", c.Event)
		element("EventKey", c.Key)
	} else {
		element("MsgType", "text")
		element("Content", c.Text)
		number("MsgId", now.UnixNano())
	}
	b.WriteString("</xml>")
	return b.Bytes()
}

// post sends a callback and returns the answer's body. A query of the address
// goes before the callback's own, as WeChat does it.
func post(ctx context.Context, target *url.URL, q wechat.Query, contentType string, body []byte) ([]byte, error) {
	full := *target
	full.RawQuery = strings.TrimLeft(target.RawQuery+"&"+q.Encode(), "&")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, full.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("posting to %s: %w", shown(target), err)
	}
	req.Header.Set("Content-Type", contentType)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("posting to %s: %w: is `weft serve` running there?", shown(target), err)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", shown(target), err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s%s", shown(target), resp.Status, errorMessage(answer), refusalAdvice(answer))
	}
	return answer, nil
}

// refusalAdvice is what to look at when a host refuses a callback that was made
// from a file; "" where there is nothing to say.
func refusalAdvice(answer []byte) string {
	var e errorBody
	if json.Unmarshal(answer, &e) != nil {
		return ""
	}
	switch e.Error.Code {
	case errNotAuthentic.code:
		return ": the host has another token, encoding_aes_key or app_id than this file, or a clock is off: did it take the file over?"
	case errMode.code:
		return ": the host has another mode than this file: did it take the file over?"
	case errBroken.code:
		return ": `weft check` and the host's log say what is wrong with it"
	}
	return ""
}

// errorMessage is the message of an error in our form, else the body's start.
func errorMessage(body []byte) string {
	var e errorBody
	if err := json.Unmarshal(body, &e); err == nil && e.Error.Code != "" {
		return e.Error.Message + " (" + e.Error.Code + ", trace " + e.Error.Trace + ")"
	}
	return strconv.Quote(cut(string(body), 200))
}

// replyText is the content of a text answer.
func replyText(doc []byte, format wechat.Format) string {
	var reply struct{ MsgType, Content string }
	var err error
	switch format {
	case wechat.XML:
		err = xml.Unmarshal(doc, &reply)
	case wechat.JSON:
		err = json.Unmarshal(doc, &reply)
	}
	if err != nil || reply.MsgType != "text" {
		return ""
	}
	return reply.Content
}
