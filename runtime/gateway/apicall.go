package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// maxTries is how often a call is sent at most.
	maxTries = 12
	// The pauses before a repeat: the first, which doubles, and the longest. A
	// tenth of a second is enough for a server that is busy; a limit per minute
	// needs more.
	firstPause, firstLimited, longestPause = 100 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond
	// leastTime is what a try is worth beginning for.
	leastTime = 100 * time.Millisecond
	// alertEvery is how often a code that an operator should see is logged.
	alertEvery = time.Minute
)

// APIRequest is a call of WeChat's API.
type APIRequest struct {
	Target Target
	// Header is what came with it, nil: nothing. Content-Type, Accept, traceparent
	// and tracestate go out.
	Header http.Header
	// Body may be nil. It is read while Call runs and, where that ends early, until
	// a Read that is under way returns. Its errors are ErrBody.
	Body   io.Reader
	Length int64 // of Body; below 0: not known
	// Repeatable is the caller's word that a second execution does no harm.
	Repeatable bool
}

// APIResponse is an answer of WeChat's, whatever it says.
type APIResponse struct {
	Status int
	Header http.Header   // those that are meant for a caller
	Length int64         // of Body; below 0: not known
	Body   io.ReadCloser // to be closed, by the goroutine that reads it
	// Errcode is that of a JSON answer, 0 where it has none. Rid is the id of the
	// request for WeChat's own look-up; "": none came.
	Errcode int
	Rid     string

	whole bool // the body is in memory
}

// Call sends a request with the app's token added, and once more where that
// helps and does no harm: with another token after 40001, 40014 and 42001; after
// 45011; after -1 where it is a GET or Repeatable; a GET where the connection broke,
// and beside the first try after half of Timeout. A body over 1 MiB is not sent
// twice.
//
// It returns when the answer has begun, at the latest when Timeout passed in which
// nothing of the body moved. Every error is a *CallError.
func (a *API) Call(ctx context.Context, r *APIRequest) (*APIResponse, error) {
	c := &call{api: a, request: r, endpoint: a.state.endpoint(r.Target.path, a.config.Timeout), clock: newCallTime(ctx, a.config.Timeout), parent: ctx}
	given := false // the answer, whose body ends the call
	defer func() {
		if !given { // also after a panic
			c.close()
		}
	}()
	answer, err := c.run()
	result := "ok"
	switch {
	case err != nil:
		result = kindOf(err).result
	case answer.Errcode != 0:
		result = "errcode"
	case answer.Status >= http.StatusBadRequest:
		result = "http"
	}
	a.host.counter.APICall(a.config.App, c.endpoint.name(), result)
	if err != nil {
		return nil, err
	}
	given = true
	return answer, nil
}

// call is a call that is under way, until its answer's body is closed.
type call struct {
	api      *API
	request  *APIRequest
	endpoint *apiEndpoint
	parent   context.Context // the caller's
	clock    *callTime
	body     *requestBody
	slot     bool
	endTry   context.CancelCauseFunc // of the try that counts; nil: there was none
	ended    sync.Once
}

// close ends the call.
func (c *call) close() {
	c.ended.Do(func() {
		c.clock.close()
		if c.endTry != nil {
			c.endTry(nil)
		}
		if c.slot {
			<-c.api.state.slots
		}
	})
}

// error is one of this call.
func (c *call) error(kind, cause error) *CallError {
	return &CallError{App: c.api.config.App, Path: c.request.Target.path, Kind: kind, cause: cause}
}

// run waits for a place, reads what is kept of the body and sends the call.
func (c *call) run() (*APIResponse, *CallError) {
	if c.endpoint.breaker.State() == gobreaker.StateOpen { // before the body is read
		return nil, c.error(ErrCircuit, nil)
	}
	if err := c.mayNot(); err != nil {
		return nil, err
	}
	select {
	case c.api.state.slots <- struct{}{}:
		c.slot = true
	case <-c.clock.ctx.Done():
		return nil, c.failedBefore(ErrBusy, nil)
	}
	var ok bool
	if c.body, ok = newRequestBody(c.request.Body, c.request.Length, c.clock); !ok {
		return nil, c.error(ErrBody, nil) // also where the caller went away in the middle of it
	}
	token, err := c.api.config.Tokens.Token(c.clock.ctx)
	if err != nil || token == "" {
		return nil, c.failedBefore(ErrToken, err)
	}
	c.api.state.called()
	return c.send(token)
}

// failedBefore is an error of a call that was not sent.
func (c *call) failedBefore(kind, cause error) *CallError {
	if c.parent.Err() != nil {
		return c.error(ErrCanceled, nil)
	}
	return c.error(kind, cause)
}

// send sends the call as often as that helps.
func (c *call) send(token string) (answer *APIResponse, failed *CallError) {
	renewed := false
	for tries := 1; ; tries++ {
		next, err := c.next(token, tries)
		if err = worse(failed, err); err != nil && !sent(err) && tries > 1 {
			return answer, failed // a repeat that was not sent changes nothing
		}
		if answer, failed = next, err; !c.helps(answer, failed) {
			return answer, failed
		}
		c.clock.resume()
		if failed == nil && LookupErrcode(answer.Errcode).Class == ClassRefresh {
			if renewed {
				return answer, nil
			}
			another, err := c.api.config.Tokens.Renew(c.clock.ctx, token)
			if err != nil || another == "" || another == token || !c.body.whole() {
				return answer, nil
			}
			token, renewed = another, true
			continue
		}
		if !c.body.whole() || tries >= maxTries || !c.pause(c.clock.ctx, answer, tries) {
			return answer, failed
		}
		if another, err := c.api.config.Tokens.Token(c.clock.ctx); err == nil && another != "" {
			token = another // it may have been renewed during the pause
		}
	}
}

// worse is what is told of two tries that failed: where the first may have been
// executed, that the second had no connection says nothing of the call.
func worse(before, now *CallError) *CallError {
	if before != nil && now != nil && now.Kind == ErrUnreachable {
		return before
	}
	return now
}

// sent tells whether WeChat may have seen a call that failed.
func sent(err *CallError) bool {
	switch err.Kind {
	case ErrTimeout, ErrBroken, ErrUnreachable, ErrCanceled, ErrBody:
		return true
	}
	return false
}

// helps tells whether an outcome is one after which a repeat helps and does no
// harm. An answer that is not in memory was no refusal.
func (c *call) helps(answer *APIResponse, failed *CallError) bool {
	get := c.request.Target.method == http.MethodGet
	if failed != nil {
		return get && (failed.Kind == ErrTimeout || failed.Kind == ErrBroken || failed.Kind == ErrUnreachable)
	}
	if !answer.whole {
		return false
	}
	switch answer.Errcode {
	case 45011:
		return true
	case -1:
		return get || c.request.Repeatable
	}
	return LookupErrcode(answer.Errcode).Class == ClassRefresh
}

// pause waits before a repeat; false: there is to be none, or ctx ended.
func (c *call) pause(ctx context.Context, answer *APIResponse, tries int) bool {
	if !c.api.state.mayRepeat() {
		return false
	}
	pause := firstPause
	if answer != nil && answer.Errcode == 45011 {
		pause = firstLimited
	}
	pause = min(pause<<(tries-1), longestPause)
	pause -= rand.N(pause / 2)
	if c.clock.left() < pause+leastTime {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// mayNot tells why a request may not be sent now.
func (c *call) mayNot() *CallError {
	if until, stopped := c.api.state.quota.stopped(c.endpoint.path, time.Now()); stopped {
		err := c.error(ErrQuota, nil)
		err.Until = until
		return err
	}
	return nil
}

// next is the next try, or the first two of a GET.
func (c *call) next(token string, tries int) (*APIResponse, *CallError) {
	if tries == 1 && c.request.Target.method == http.MethodGet && c.body.whole() {
		return c.firstOfTwo(token)
	}
	if c.endTry != nil {
		c.endTry(nil)
	}
	var ctx context.Context
	ctx, c.endTry = context.WithCancelCause(c.clock.ctx)
	return c.try(ctx, token)
}

// firstOfTwo is the first try of a GET and, where half of the time brings no answer,
// a second one beside it: the first may be lost, or WeChat slow. The answer that
// comes first counts; of the second only one that the first can't better.
func (c *call) firstOfTwo(token string) (*APIResponse, *CallError) {
	ctx, end := context.WithCancelCause(c.clock.ctx)
	c.endTry = end
	other, endOther := context.WithCancelCause(c.clock.ctx)
	var won atomic.Bool     // one of them counts
	var answer *APIResponse // of the second
	var failed *CallError
	var panicked any
	over := make(chan struct{})
	second := time.AfterFunc(c.clock.left()/2, func() {
		defer func() {
			panicked = recover()
			close(over)
		}()
		answer, failed = c.second(other, token)
		if answer != nil && !unfit(answer) && won.CompareAndSwap(false, true) {
			end(errBeaten)
		}
	})
	first, err := c.try(ctx, token)
	if second.Stop() {
		endOther(nil)
		return first, err
	}
	counts := err == nil && won.CompareAndSwap(false, true)
	if counts {
		endOther(errBeaten)
	}
	if <-over; panicked != nil {
		panic(panicked) // where a caller's end takes care of it
	}
	left := answer
	switch {
	case counts:
	case answer != nil:
		left, first, err = first, answer, nil
		c.endTry, endOther = endOther, end
	case failed != nil && sent(failed):
		err = worse(err, failed)
	}
	if left != nil {
		left.Body.(*answerBody).drop()
	}
	endOther(nil)
	if err == nil {
		c.clock.rest() // the second may have had it go on
	}
	return first, err
}

// second is the try of a GET beside its first one, and as many more as WeChat refuses
// for the moment.
func (c *call) second(ctx context.Context, token string) (answer *APIResponse, failed *CallError) {
	if c.clock.left() < leastTime || !c.api.state.mayRepeat() {
		return nil, nil
	}
	for tries := 1; ; tries++ {
		next, err := c.try(ctx, token)
		if err != nil {
			return answer, err
		}
		if answer = next; !unfit(answer) {
			return answer, nil
		}
		c.clock.resume() // the first is still waited for
		if !c.helps(answer, nil) || tries >= maxTries || !c.pause(ctx, answer, tries) {
			return answer, nil
		}
	}
}

// unfit tells whether an answer says no more than that WeChat can't answer just now.
func unfit(answer *APIResponse) bool {
	return answer.Status >= http.StatusInternalServerError || answer.whole && (answer.Errcode == -1 || answer.Errcode == 45011)
}

// errBeaten is why the context of a try ends where the one beside it has an answer.
var errBeaten = errors.New("another try was answered first")

// try sends the call once. ctx ends with the call.
func (c *call) try(ctx context.Context, token string) (*APIResponse, *CallError) {
	if err := c.mayNot(); err != nil {
		return nil, err
	}
	if admit := c.api.config.Admit; admit != nil {
		if err := admit(c.request.Target.method, c.endpoint.path); err != nil {
			return nil, c.error(ErrLimited, err)
		}
	}
	done, err := c.endpoint.breaker.Allow()
	if err != nil {
		return nil, c.error(ErrCircuit, nil)
	}
	verdict := errSick // of a panic, too
	defer func() { done(verdict) }()
	answer, failed := c.exchange(ctx, token)
	if verdict = judgeCall(answer, failed); errors.Is(context.Cause(ctx), errBeaten) {
		verdict = errAside
	}
	if failed == nil {
		c.learn(answer)
	}
	return answer, failed
}

// judgeCall tells the breaker what a try says about WeChat. An errcode shows that
// it is there, -1 too: on a busy day it goes with a third of the answers, the next
// try brings one, and a circuit that opens would keep that from all.
func judgeCall(answer *APIResponse, failed *CallError) error {
	switch {
	case failed == nil && answer.Status < http.StatusInternalServerError:
		return nil
	case failed != nil && (failed.Kind == ErrCanceled || failed.Kind == ErrBody):
		return errAside
	}
	return errSick
}

// learn keeps what an answer says for other calls.
func (c *call) learn(answer *APIResponse) {
	const noSuchURL = 40066
	state, app, now := c.api.state, c.api.config.App, time.Now()
	if answer.Status < http.StatusBadRequest && answer.Errcode != noSuchURL {
		state.answered(c.endpoint)
	}
	if answer.Errcode == 0 {
		if answer.Status != http.StatusOK {
			return
		}
		switch c.endpoint.path {
		case "/cgi-bin/clear_quota", "/cgi-bin/clear_quota/v2", "/cgi-bin/openapi/quota/clear":
			c.api.host.quotas.clear(state.quota)
		}
		return
	}
	e, label := LookupErrcode(answer.Errcode), "other"
	if e.Known {
		label = strconv.Itoa(e.Code)
	}
	c.api.host.counter.APIErrcode(app, c.endpoint.name(), label)
	switch e.Class {
	case ClassQuota:
		until := c.api.host.quotas.stop(state.quota, c.endpoint.path, now)
		state.log.Warn("quota used up: the path gets no calls", slog.String("app", app), slog.String("path", c.endpoint.path),
			slog.Int("errcode", e.Code), slog.String("rid", answer.Rid), slog.Time("until", until))
	case ClassOperator:
		if skipped, ok := state.alert.Pass(now, alertEvery); ok {
			state.log.Error("WeChat refuses calls until a setting is changed: "+e.Advice.English, slog.String("app", app), slog.String("path", c.endpoint.path),
				slog.Int("errcode", e.Code), slog.String("meaning", e.Meaning.English), slog.String("rid", answer.Rid), slog.Int64("skipped", skipped))
		}
	}
}

// exchange sends the request and reads the beginning of the answer.
func (c *call) exchange(ctx context.Context, token string) (*APIResponse, *CallError) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	resp, err := c.api.host.transport.RoundTrip(c.outgoing(ctx, token))
	if err != nil {
		return nil, c.failed(err, connected.Load())
	}
	if resp.StatusCode < http.StatusOK { // what switches protocols has a body that doesn't end with ctx; others are none
		_ = resp.Body.Close()
		return nil, c.error(ErrBroken, nil)
	}
	answer, err := c.read(resp, token)
	if err != nil {
		_ = resp.Body.Close() // it broke
		return nil, c.failed(err, true)
	}
	return answer, nil
}

// failed is an exchange that broke off. connected: something may have been sent.
func (c *call) failed(err error, connected bool) *CallError {
	var timeout net.Error
	switch {
	case c.body.failed.Load(), c.body.reading.Load() && c.clock.ctx.Err() != nil && c.parent.Err() == nil:
		return c.error(ErrBody, nil)
	case c.parent.Err() != nil:
		return c.error(ErrCanceled, nil)
	case !connected && ours(err):
		return c.error(ErrUnreachable, err)
	case !connected:
		return c.error(ErrUnreachable, nil)
	case c.clock.ctx.Err() != nil, errors.Is(err, context.Canceled), errors.Is(err, errStill), errors.As(err, &timeout) && timeout.Timeout():
		return c.error(ErrTimeout, nil)
	}
	return c.error(ErrBroken, nil)
}

// outgoing makes the request. What carries the token goes nowhere else.
func (c *call) outgoing(ctx context.Context, token string) *http.Request {
	at := c.api.base
	at.Path += c.request.Target.path
	at.RawQuery = "access_token=" + url.QueryEscape(token)
	if c.request.Target.query != "" {
		at.RawQuery += "&" + c.request.Target.query
	}
	req := &http.Request{
		Method: c.request.Target.method, URL: &at, Header: http.Header{"User-Agent": {"Weft"}}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: c.body.reader(), ContentLength: c.body.length,
	}
	if c.body.whole() { // used where a kept connection turns out to be closed before anything was sent
		req.GetBody = func() (io.ReadCloser, error) { return c.body.reader(), nil }
	}
	if req.Body == nil {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	for _, name := range []string{"Accept", "Content-Type", "Traceparent", "Tracestate"} {
		if values := c.request.Header.Values(name); len(values) == 1 {
			req.Header.Set(name, values[0])
		}
	}
	return req.WithContext(ctx)
}
