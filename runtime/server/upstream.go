package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/wechat"
)

// client sends requests to one upstream, as gateway.Upstream does.
type client interface {
	fetcher
	Post(ctx context.Context, r *gateway.Request) (gateway.Answer, error)
	Timeout() time.Duration
}

// service is an upstream as the pipeline sees it. Of one whose address is wrong
// client is nil: its configuration never serves.
type service struct {
	client   client
	accounts map[string]*wechat.Account // by app
}

var (
	errNoUpstream = errors.New("the upstream's address is wrong")
	errNoAccount  = errors.New("the event's app has no account to seal with")
)

// upstreamError is an answer that was understood by HTTP and not by us.
type upstreamError struct{ err error }

func (e *upstreamError) Error() string { return e.err.Error() }

func (e *upstreamError) Unwrap() error { return e.err }

// Reason is the label of weft_stage_errors_total.
func (e *upstreamError) Reason() string { return "upstream" }

// caught makes an error of a panic, so that a mistake of ours costs one stage of one
// event, not the host. The text has nothing of what was sent or answered.
func caught(err *error) {
	v := recover()
	if v == nil {
		return
	}
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	*err = fmt.Errorf("the host panicked: %s: %s", what, cut(string(debug.Stack()), maxStack))
}

// maxStack is how many bytes of a stack an error has.
const maxStack = 4 << 10

// ForwardRaw posts the callback as it came, or one made of the event.
func (s service) ForwardRaw(ctx context.Context, ev *hostapi.Event, came *pipeline.Callback) (_ *pipeline.Verbatim, err error) {
	defer caught(&err)
	if s.client == nil {
		return nil, errNoUpstream
	}
	if came == nil {
		if came, err = s.seal(ev, time.Now()); err != nil {
			return nil, err
		}
	}
	answer, err := s.client.Post(ctx, &gateway.Request{
		Query: came.Query, ContentType: came.ContentType, Body: came.Body, EventID: ev.ID, Attempt: ev.Attempt,
	})
	if err != nil {
		return nil, err
	}
	said := strings.TrimSpace(string(answer.Body))
	return &pipeline.Verbatim{ContentType: answer.ContentType, Body: answer.Body, Silent: said == "" || said == wechat.Success}, nil
}

// Read opens and reads an answer to a raw forward.
func (s service) Read(ev *hostapi.Event, v *pipeline.Verbatim) (_ *hostapi.Reply, err error) {
	defer caught(&err)
	account := s.accounts[ev.App]
	switch {
	case v.Silent:
		return nil, nil
	case account == nil:
		return nil, errNoAccount
	}
	doc, format, err := account.OpenReply(v.Body)
	if err != nil {
		return nil, &upstreamError{fmt.Errorf("the answer can't be opened: %w", err)}
	}
	reply, err := wechat.DecodeReply(doc, format)
	if err != nil {
		return nil, &upstreamError{fmt.Errorf("the answer can't be read: %w", err)}
	}
	return reply, nil
}

// seal makes a callback of an event, in its app's mode, as WeChat would.
func (s service) seal(ev *hostapi.Event, now time.Time) (*pipeline.Callback, error) {
	account := s.accounts[ev.App]
	if account == nil {
		return nil, errNoAccount
	}
	format, contentType := wechat.XML, "text/xml"
	if ev.Format == wechat.JSON.String() {
		format, contentType = wechat.JSON, "application/json"
	}
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	nonce := hex.EncodeToString(random[:8])
	rand.Read(random[:])
	body, q := account.AppendCallback(nil, ev.Raw, format, ev.To, now.Unix(), nonce, random)
	query := q.Encode()
	if ev.From != "" {
		query += "&openid=" + url.QueryEscape(ev.From)
	}
	return &pipeline.Callback{Query: query, ContentType: contentType, Body: body}, nil
}

// ForwardJSON posts the event as services.md says and reads the reply.
func (s service) ForwardJSON(ctx context.Context, call *pipeline.Call) (_ *hostapi.Reply, err error) {
	defer caught(&err)
	if s.client == nil {
		return nil, errNoUpstream
	}
	ev := *call.Event
	ev.Attrs, ev.Reply, ev.Raw, ev.DeadlineMS = call.Attrs, call.Reply, nil, s.left(ctx).Milliseconds()
	answer, err := s.client.Post(ctx, &gateway.Request{
		ContentType: "application/json", Body: ev.AppendJSON(nil), EventID: ev.ID, Attempt: ev.Attempt, NoContent: true,
	})
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(string(answer.Body)) == "" {
		return nil, nil
	}
	reply := new(hostapi.Reply)
	switch err := reply.DecodeJSON(answer.Body); {
	case err != nil:
		return nil, &upstreamError{fmt.Errorf("the answer is no reply: %w", err)}
	case reply.Kind() == "":
		return nil, &upstreamError{errors.New("the answer is a reply without a body: nothing to say is an empty answer, or 204")}
	case reply.Size() > hostapi.MaxReply:
		return nil, &upstreamError{fmt.Errorf("the answer's reply has over %d bytes", hostapi.MaxReply)}
	}
	return reply, nil
}

// left is the time for a request.
func (s service) left(ctx context.Context) time.Duration {
	left := s.client.Timeout()
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, max(time.Until(deadline), 0))
	}
	return left
}
