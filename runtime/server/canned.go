package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
)

// canned answers in the place of WeChat and of upstreams, which are not asked, for
// the event under way.
type canned struct {
	mu      sync.Mutex
	answers config.Answers
	asked   []string // what was asked, beside the callback, in words
	unasked []unanswered
}

// unanswered is something that was asked and has no answer.
type unanswered struct{ what, advice string }

// begin gives the answers for the next event.
func (c *canned) begin(answers config.Answers) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers, c.asked, c.unasked = answers, nil, nil
}

// take gives what was asked since begin.
func (c *canned) take() (asked []string, without []unanswered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.unasked
}

// choose gives the answer to a call: of the keys that have it, without prefix a
// pattern of paths, the one with the most that is no *; nil where none has.
func choose(answers map[string]*config.Canned, prefix, method, path string) *config.Canned {
	var best string
	for key := range answers {
		pattern, ok := strings.CutPrefix(key, prefix)
		if !ok || pattern == "" {
			continue
		}
		scope, err := gateway.ParseScope([]string{pattern})
		if err == nil && scope.Allows(method, path) && (best == "" || cmp.Or(cmp.Compare(exactness(key), exactness(best)), strings.Compare(best, key)) > 0) {
			best = key
		}
	}
	return answers[best]
}

func exactness(pattern string) int { return len(pattern) - strings.Count(pattern, "*") }

// callShown is a call in words.
func callShown(to, method, path, query string, body []byte) string {
	text := callKey(to, method, path)
	if query != "" {
		text += "?" + query
	}
	if len(body) > 0 {
		text += " " + strconv.Quote(string(body))
	}
	return text
}

// apiOf gives an app's client of WeChat's API.
func (c *canned) apiOf(string) apiCaller { return cannedAPI{c} }

// callKey is the key of a call to an upstream.
func callKey(to, method, path string) string {
	return strings.TrimSuffix(to+" "+method+" "+path, " ")
}

// cannedAPI is WeChat's API.
type cannedAPI struct{ canned *canned }

var errNoAnswer = errors.New("there is no answer here")

// Call gives the answer to a call. It reads the errcode of a body in JSON.
func (a cannedAPI) Call(_ context.Context, r *gateway.APIRequest) (*gateway.APIResponse, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, fmt.Errorf("reading a request: %w", err)
		}
	}
	c := a.canned
	c.mu.Lock()
	defer c.mu.Unlock()
	method, path := r.Target.Method(), r.Target.Path()
	c.asked = append(c.asked, callShown("wechat", method, path, r.Target.Query(), body))
	answer := choose(c.answers.WeChat, "", method, path)
	if answer == nil {
		key := method + " " + path
		c.unasked = append(c.unasked, unanswered{"WeChat was asked " + key, "write wechat: { \"" + key + "\": { body: … } }"})
		return nil, errNoAnswer
	}
	said := struct{ Errcode int }{}
	_ = json.Unmarshal([]byte(answer.Body), &said) // what is no JSON has no errcode
	return &gateway.APIResponse{
		Status: answer.Status, Header: http.Header{"Content-Type": {answer.Type}}, Length: int64(len(answer.Body)),
		Body: io.NopCloser(bytes.NewReader([]byte(answer.Body))), Errcode: said.Errcode,
	}, nil
}

// cannedClient answers in the place of an upstream.
type cannedClient struct {
	canned  *canned
	name    string
	timeout time.Duration
}

// Timeout is the upstream's.
func (u *cannedClient) Timeout() time.Duration { return u.timeout }

// toldBeside is what an upstream is told that does not come with the callback: what
// the stages before made of it.
func toldBeside(r *gateway.Request) string {
	var made struct {
		Attrs json.RawMessage `json:"attrs"`
		Reply json.RawMessage `json:"reply"`
	}
	if !r.NoContent || json.Unmarshal(r.Body, &made) != nil { // raw: the callback as it came
		return ""
	}
	text := ""
	if made.Attrs != nil {
		text += " attrs " + string(made.Attrs)
	}
	if made.Reply != nil {
		text += " reply " + string(made.Reply)
	}
	return text
}

// Post gives the answer of the event under way.
func (u *cannedClient) Post(_ context.Context, r *gateway.Request) (gateway.Answer, error) {
	c := u.canned
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, u.name+toldBeside(r))
	answer := c.answers.Upstreams[u.name]
	switch {
	case answer == nil:
		c.unasked = append(c.unasked, unanswered{"upstream " + u.name + " was asked", "write upstreams: { " + u.name + ": { body: … } }"})
		return gateway.Answer{}, &upstreamError{fmt.Errorf("upstream %s has no answer here", u.name)}
	case answer.Status == http.StatusOK, answer.Status == http.StatusNoContent && r.NoContent:
		return gateway.Answer{ContentType: answer.Type, Body: []byte(answer.Body)}, nil
	}
	return gateway.Answer{}, &upstreamError{errors.New("upstream " + u.name + " answered " + strconv.Itoa(answer.Status))}
}

// Fetch gives the answer to a plugin's request: that of its path, else the
// upstream's.
func (u *cannedClient) Fetch(_ context.Context, r *gateway.FetchRequest) (gateway.FetchAnswer, error) {
	c := u.canned
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, callShown(u.name, r.Method, r.Path, r.Query, r.Body))
	answer := choose(c.answers.Upstreams, u.name+" ", r.Method, r.Path)
	if answer == nil {
		answer = c.answers.Upstreams[u.name]
	}
	if answer == nil {
		key := callKey(u.name, r.Method, r.Path)
		c.unasked = append(c.unasked, unanswered{"upstream " + key + " was asked", "write upstreams: { \"" + key + "\": { body: … } }, or of " + u.name})
		return gateway.FetchAnswer{}, errNoAnswer
	}
	header := http.Header{}
	if answer.Type != "" {
		header.Set("Content-Type", answer.Type)
	}
	return gateway.FetchAnswer{Status: answer.Status, Header: header, Body: []byte(answer.Body)}, nil
}

// unanswered says what an event asked that has no answer.
func (r *CaseReport) unanswered(ev *config.CaseEvent, without []unanswered) {
	for _, u := range without {
		r.fail(ev.Pos, u.what+", and has no answer here", "", "", u.advice)
	}
}

// compareAsked holds what an event asked against what is expected.
func (r *CaseReport) compareAsked(ev *config.CaseEvent, asked []string) {
	for _, what := range asked {
		if ev.NoSends && isSend(what) {
			r.fail(ev.Pos, "sends", "none", strconv.Quote(what), "")
		}
	}
	if ev.Asks == nil || slices.Equal(ev.Asks.Value, asked) {
		return
	}
	r.fail(ev.Asks.Pos, "asks", listShown(ev.Asks.Value), listShown(asked), "")
}

// isSend tells whether a call, as callShown has it, sends a message. Below this path
// WeChat has some calls that don't: typing shows that somebody writes, and a broadcast
// can be asked for, slowed down and taken back.
func isSend(call string) bool {
	call, ok := strings.CutPrefix(call, "wechat POST /cgi-bin/message/")
	if !ok {
		return false
	}
	end := strings.IndexAny(call, "? ") // of the path
	if end < 0 {
		end = len(call)
	}
	switch call[:end] {
	case "custom/typing", "mass/get", "mass/delete", "mass/speed/get", "mass/speed/set":
		return false
	}
	return true
}

func listShown(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = strconv.Quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
