package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/wechat"
)

// Bounds of what a recording keeps in memory.
const (
	maxPending  = 1000    // events that have begun and not ended
	maxTouched  = 100_000 // keys of state that were seen
	maxLines    = 256     // that the client has not taken
	maxRecorded = 256 << 10
	maxHeld     = 32 << 20 // bytes of events that have begun and not ended, and of what upstreams answered to them

	// Of an event that was answered this long ago, and has not ended, nothing may come any more.
	recordPatience = time.Minute
)

// recorder shows one recording at a time what the host does with callbacks, with
// personal data replaced. Without one it costs a look at a pointer. Its methods
// may be called by many goroutines at once.
type recorder struct {
	session atomic.Pointer[recording]
	mu      sync.Mutex // held while a recording begins or ends
	stopped bool
}

var errRecording = errors.New("a recording is under way: one at a time")

// begin starts a recording of an app, "" for all. The caller ends it.
func (r *recorder) begin(app string, engine *pipeline.Engine) (*recording, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session.Load() != nil || r.stopped {
		return nil, errRecording
	}
	s := newRecording(app)
	r.session.Store(s)
	engine.Watch(s.ran)
	return s, nil
}

func (r *recorder) end(s *recording, engine *pipeline.Engine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session.Store(nil)
	engine.Watch(nil)
	s.finish()
}

// stop ends what is under way, and lets nothing begin any more.
func (r *recorder) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if s := r.session.Load(); s != nil {
		s.finish()
	}
}

// of is the recording of an app; nil: there is none.
func (r *recorder) of(app string) *recording {
	if r == nil {
		return nil
	}
	s := r.session.Load()
	if s == nil || s.app != "" && s.app != app {
		return nil
	}
	return s
}

// recordLine is a line of a recording, as JSON: exactly one of its members.
type recordLine struct {
	Event *recordedEvent `json:"event,omitempty"`
	Given *recordedState `json:"given,omitempty"`
	// LeftOut counts events that could not be recorded: too many at once, too
	// large, or of a form that can't be written anew.
	LeftOut int `json:"left_out,omitempty"`
}

// recordedEvent is a callback and what became of it.
type recordedEvent struct {
	App  string    `json:"app"`
	At   time.Time `json:"at"`
	Body string    `json:"body"`
	// Sure says that the answer hung on nothing but the event, the state and the
	// upstreams: else nothing is expected.
	Sure      bool                       `json:"sure"`
	Reply     json.RawMessage            `json:"reply,omitempty"` // the JSON of Reply; none: no reply
	Raw       string                     `json:"raw,omitempty"`   // in place of Reply
	Upstreams map[string]*recordedAnswer `json:"upstreams,omitempty"`
	WeChat    map[string]*recordedAnswer `json:"wechat,omitempty"`
	Path      []recordedStep             `json:"path,omitempty"` // where a stage ended in an error
}

type recordedAnswer struct {
	Status int    `json:"status"`
	Type   string `json:"type,omitempty"`
	Body   string `json:"body,omitempty"`
}

type recordedStep struct {
	Stage   string `json:"stage"`
	Side    string `json:"side,omitempty"`
	Error   string `json:"error,omitempty"`
	OnError string `json:"on_error,omitempty"`
}

// recordedState is what a key had before the recording's first event touched it.
type recordedState struct {
	App    string `json:"app"`
	Plugin string `json:"plugin"`
	User   string `json:"user,omitempty"`
	Key    string `json:"key"`
	Value  string `json:"value"`
}

// recording is what one client sees.
type recording struct {
	app   string
	lines chan recordLine // closed by nobody; what is over says over
	over  chan struct{}   // closed when the host or the client ends it

	mu       sync.Mutex
	ended    bool
	replacer *replacer
	pending  map[string]*pendingEvent // by the event's id
	held     int                      // bytes of them
	whole    map[string]bool          // events that were recorded, by id
	touched  map[touchedKey]bool
	leftOut  int

	owns atomic.Pointer[ownOf]
}

// ownOf is what an app's operator has written himself, of the app that was looked
// at last.
type ownOf struct {
	app *config.App
	own func(string) bool
}

// own is ownTexts of an app.
func (s *recording) own(app *config.App) func(string) bool {
	if o := s.owns.Load(); o != nil && o.app == app {
		return o.own
	}
	o := &ownOf{app, ownTexts(app)}
	s.owns.Store(o)
	return o.own
}

type touchedKey struct {
	app, plugin, user, key string
}

// pendingEvent is one under way.
type pendingEvent struct {
	began    time.Time
	event    *hostapi.Event
	doc      []byte // with personal data replaced
	account  *wechat.Account
	own      func(string) bool
	answer   *pipeline.Answer
	trace    *pipeline.Trace
	asked    map[string]*upstreamAnswer
	calls    map[askedCall]recordedAnswer // of plugins; nil: none
	unsure   bool                         // a call brought what can't be told
	repeated int                          // deliveries beside the first
	size     int                          // in bytes, about
}

// upstreamAnswer is what an upstream answered.
type upstreamAnswer struct {
	raw    bool // it was asked with the callback as it came
	answer gateway.Answer
	err    error
}

func newRecording(app string) *recording {
	return &recording{
		app: app, replacer: newReplacer(), pending: map[string]*pendingEvent{}, whole: map[string]bool{}, touched: map[touchedKey]bool{},
		lines: make(chan recordLine, maxLines), over: make(chan struct{}),
	}
}

func (s *recording) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.over)
	}
}

// send hands a line to the client, where it keeps up.
func (s *recording) send(l recordLine) {
	select {
	case s.lines <- l:
	default:
		s.leftOut++
	}
}

// began notes an event whose delivery begins.
func (s *recording) began(ev *hostapi.Event, account *wechat.Account, own func(string) bool, at time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[ev.ID]
	switch {
	case s.ended:
		return
	case p != nil:
		p.repeated++
		return
	case len(s.whole) >= maxPending*10, len(ev.Raw) > maxRecorded, s.replacer.full():
		s.leftOut++
		return
	case len(s.pending) >= maxPending, s.held >= maxHeld:
		s.forgetLost(at)
		if len(s.pending) >= maxPending || s.held >= maxHeld {
			s.leftOut++
			return
		}
	}
	// What is personal in it has to be known before a plugin gives it to its state.
	doc, ok := s.replacer.event(ev)
	if !ok || s.replacer.full() {
		s.leftOut++
		return
	}
	p = &pendingEvent{began: at, event: ev, doc: doc, account: account, own: own, asked: map[string]*upstreamAnswer{}, size: len(doc) + len(ev.Raw)}
	s.pending[ev.ID] = p
	s.held += p.size
}

// forget takes an event off those that have not ended.
func (s *recording) forget(p *pendingEvent) {
	delete(s.pending, p.event.ID)
	s.held -= p.size
}

// forgetLost forgets the events that were answered long ago and of whose run
// nothing has come: there was none, or it is far back in the queue.
func (s *recording) forgetLost(now time.Time) {
	for _, p := range s.pending {
		if p.answer != nil && now.Sub(p.began) > recordPatience {
			s.forget(p)
			s.leftOut++
		}
	}
}

// answered notes what a delivery was answered.
func (s *recording) answered(id string, a *pipeline.Answer) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[id]
	if p == nil || p.answer != nil {
		return
	}
	p.answer = a
	s.complete(p)
}

// ran notes the trace of a run.
func (s *recording) ran(t *pipeline.Trace) {
	if t.Alone != "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[t.Event.ID]
	if p == nil || p.trace != nil {
		return
	}
	p.trace = t
	s.complete(p)
}

// upstream notes what an upstream answered to an event.
func (s *recording) upstream(name string, r *gateway.Request, answer gateway.Answer, err error) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[r.EventID]
	if p == nil || p.asked[name] != nil {
		return
	}
	if size := len(answer.Body); size > maxRecorded || s.held+size > maxHeld {
		s.forget(p)
		s.leftOut++
		return
	}
	p.asked[name] = &upstreamAnswer{raw: !r.NoContent, answer: answer, err: err}
	p.size += len(answer.Body)
	s.held += len(answer.Body)
}

// complete sends an event of which all is known. A repeat of one that has ended
// before has no run.
func (s *recording) complete(p *pendingEvent) {
	if p.answer == nil {
		return
	}
	dropped := p.answer.Outcome == outcomeOfDropped
	if p.trace == nil && p.answer.Outcome != outcomeOfRepeats && !dropped {
		return
	}
	s.forget(p)
	if p.trace == nil && !dropped && !s.whole[p.event.ID] { // its run was before the recording
		return
	}
	s.whole[p.event.ID] = true
	e := s.recorded(p)
	for range 1 + p.repeated {
		s.send(recordLine{Event: e})
	}
}

// Outcomes of deliveries that run nothing.
const (
	outcomeOfRepeats = "repeat"
	outcomeOfDropped = "dropped"
)

// recorded tells an event and what became of it.
func (s *recording) recorded(p *pendingEvent) *recordedEvent {
	e := &recordedEvent{App: p.event.App, At: p.began.UTC(), Body: string(p.doc), Sure: p.sure()}
	for name, asked := range p.asked {
		if e.Upstreams == nil {
			e.Upstreams = map[string]*recordedAnswer{}
		}
		e.Upstreams[name] = s.canned(p, asked)
	}
	s.addCalls(e, p)
	if !e.Sure {
		return e
	}
	switch p.answer.Kind {
	case pipeline.Replied:
		e.Reply, e.Raw = s.reply(p.answer.Reply, p.own)
	case pipeline.Forwarded:
		if !p.answer.Verbatim.Silent {
			plain, ok := openBody(p.account, p.answer.Verbatim.Body)
			e.Sure, e.Raw = ok, s.replacer.text(plain)
		}
	}
	if p.trace != nil && failedSteps(p.trace) {
		for _, st := range p.trace.Steps {
			e.Path = append(e.Path, recordedStep{st.Stage, st.Side, st.Error, string(st.OnError)})
		}
	}
	return e
}

func (s *recording) reply(reply *hostapi.Reply, own func(string) bool) (asJSON json.RawMessage, raw string) {
	made := s.replacer.reply(reply, own)
	if made.Raw != nil && utf8.Valid(made.Raw.Body) {
		return nil, string(made.Raw.Body)
	}
	return made.AppendJSON(nil), ""
}

// canned is what an upstream is to answer again.
func (s *recording) canned(p *pendingEvent, asked *upstreamAnswer) *recordedAnswer {
	if asked.err != nil {
		return &recordedAnswer{Status: http.StatusBadGateway}
	}
	body, ok := string(asked.answer.Body), true
	if asked.raw {
		body, ok = openBody(p.account, asked.answer.Body)
	}
	if !ok || !utf8.ValidString(body) {
		return &recordedAnswer{Status: http.StatusOK}
	}
	return &recordedAnswer{Status: http.StatusOK, Type: asked.answer.ContentType, Body: s.replacer.text(body)}
}

// openBody opens an answer that was made for WeChat.
func openBody(account *wechat.Account, body []byte) (string, bool) {
	if account == nil || len(bytes.TrimSpace(body)) == 0 {
		return string(body), true
	}
	plain, _, err := account.OpenReply(body)
	return string(plain), err == nil && utf8.Valid(plain)
}

// sure says that the same answer comes again: the stages ended in time, and no
// error was one of the moment.
func (p *pendingEvent) sure() bool {
	switch p.answer.Outcome {
	case "late", "again", outcomeOfDropped:
		return false
	}
	if p.trace == nil {
		return true
	}
	if p.trace.Durable { // over a bound: it was run after its answer
		return false
	}
	for _, st := range p.trace.Steps {
		switch st.Error {
		case "timeout", "busy", "fused", "memory":
			return false
		}
	}
	return p.trace.End == "done" || p.trace.End == "stopped" || p.trace.End == "queued"
}

func failedSteps(t *pipeline.Trace) bool {
	for _, st := range t.Steps {
		if st.Error != "" {
			return true
		}
	}
	return false
}

// touch notes an operation of state that was done: the first one of a key
// tells what there was before the recording.
func (s *recording) touch(scope sandbox.StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse, status hostapi.Status) {
	if s == nil {
		return
	}
	k := touchedKey{app: scope.App, plugin: scope.Plugin, key: req.Key}
	if req.Scope == hostapi.ScopeUser {
		k.user = scope.User
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.touched[k] || len(s.touched) >= maxTouched {
		return
	}
	before, told := stateBefore(req, resp, status)
	if !told {
		return
	}
	s.touched[k] = true
	if before == nil || !utf8.Valid(before) || strings.ContainsAny(k.user, ":") || len(before) > maxRecorded {
		return
	}
	line := &recordedState{App: k.app, Plugin: k.plugin, Key: s.replacer.text(k.key), Value: s.replacer.text(string(before))}
	if k.user != "" {
		line.User = s.replacer.value(personOpenID, k.user)
	}
	s.send(recordLine{Given: line})
}

// stateBefore is what a key held before an operation, nil for nothing, or for
// what the operation has not looked at.
func stateBefore(req *hostapi.StateRequest, resp *hostapi.StateResponse, status hostapi.Status) (before []byte, told bool) {
	switch {
	case status == hostapi.NotFound:
		return nil, true
	case status == hostapi.Conflict:
		if resp.Found {
			return resp.Value, true
		}
		return nil, true
	case status != hostapi.OK:
		return nil, false
	}
	switch req.Op {
	case hostapi.StateGet:
		return resp.Value, true
	case hostapi.StateAdd:
		if n := resp.Number - req.Delta; n != 0 {
			return strconv.AppendInt(nil, n, 10), true
		}
	case hostapi.StateCompareAndSet:
		if !req.ExpectAbsent {
			return req.Expect, true
		}
	case hostapi.StateDelete:
		if resp.Found {
			return []byte{}, true
		}
	}
	return nil, true
}

// ownTexts tells whether a text stands in what the operator has written for an
// app: then it is nobody's personal data.
func ownTexts(app *config.App) func(string) bool {
	var all []string
	for _, c := range app.Configs {
		all = append(all, string(c.JSON))
	}
	var visit func(stages []*config.Stage)
	add := func(r *config.Reply) {
		if r != nil {
			all = append(all, string(pipeline.FixedReply(r).AppendJSON(nil)))
		}
	}
	visit = func(stages []*config.Stage) {
		for _, st := range stages {
			add(st.Reply)
			if st.OnError != nil {
				add(st.OnError.Reply)
			}
			visit(st.Parallel)
			for _, br := range st.Switch {
				visit(br.Stages)
			}
		}
	}
	add(app.Pipeline.OnError.Reply)
	visit(app.Pipeline.Stages)
	text := strings.Join(all, "\n")
	return func(s string) bool { return strings.Contains(text, s) }
}

// recordedEngine shows a recording the deliveries and their answers.
type recordedEngine struct {
	deliverer
	recorder *recorder
	assembly *assembly
}

// Deliver implements deliverer.
func (e recordedEngine) Deliver(ctx context.Context, d pipeline.Delivery) pipeline.Answer {
	s := e.recorder.of(d.App)
	if s == nil {
		return e.deliverer.Deliver(ctx, d)
	}
	own := func(string) bool { return false }
	if app, err := findApp(e.assembly.cfg, d.App); err == nil {
		own = s.own(app)
	}
	s.began(d.Event, e.assembly.accounts[d.App], own, d.Arrived)
	a := e.deliverer.Deliver(ctx, d)
	s.answered(d.Event.ID, &a)
	return a
}

// recordedClient shows a recording what an upstream answers.
type recordedClient struct {
	client
	name     string
	recorder *recorder
}

// client stands in the place of an upstream's.
func (r *recorder) client(u *config.Upstream, c client) client {
	if c == nil {
		return nil
	}
	return recordedClient{c, u.Name, r}
}

// Post implements client.
func (c recordedClient) Post(ctx context.Context, r *gateway.Request) (gateway.Answer, error) {
	answer, err := c.client.Post(ctx, r)
	if s := c.recorder.session.Load(); s != nil {
		s.upstream(c.name, r, answer, err)
	}
	return answer, err
}
