package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/telemetry"
	"github.com/weft-dev/weft/runtime/wechat"
)

// appBench is a bench with one app of a configuration on it: its callbacks take
// the way of a host's, from the sealed request to the sealed answer. One
// goroutine uses it.
type appBench struct {
	*bench
	app      *config.App
	assembly *assembly
	engine   *pipeline.Engine
	public   *echo.Echo

	out canned // what answers in the place of WeChat and of upstreams

	under   sync.Mutex        // guards what follows
	told    int               // events of the host's own so far
	answer  *pipeline.Answer  // of the event under way; nil: none yet
	eventID string            // of the event under way
	order   map[string]int    // of the events by id
	traces  []*pipeline.Trace // of the runs that ended since the last take
}

// benchTime is what an event may take over its pipeline's deadline, with all that
// it sets off.
const benchTime = time.Minute

var errBenchTime = errors.New("an event sets off what does not end")

// Secrets of apps on a bench. They keep nothing from anybody.
const (
	benchToken = "bench"
	benchKey   = "benchbenchbenchbenchbenchbenchbenchbenchben"
)

// openAppBench loads an app of cfg. Where it can't serve the error is
// config.Problems. The caller closes the bench, also after an error.
func openAppBench(ctx context.Context, cfg *config.Config, app *config.App, now time.Time, cacheDir string) (*appBench, error) {
	b := &appBench{order: map[string]int{}}
	var err error
	if b.bench, err = openBench(ctx, now, cacheDir); err != nil {
		return b, err
	}
	alone := aloneIn(cfg, app)
	b.app = alone.Apps[0]
	b.assembly, err = assemble(ctx, alone, assembleOptions{
		sandbox: b.sandbox, upstreams: gateway.NewPool(nil, b.log.logger()), state: b.state(), log: b.log.logger(),
		client: func(u *config.Upstream, _ client) client { return &cannedClient{&b.out, u.Name, u.Timeout} },
		api:    b.out.apiOf,
	})
	if err != nil {
		return b, err
	}
	if problems := slices.Concat(b.assembly.problems, b.assembly.appProblems()); problems.Err() != nil {
		return b, problems
	}
	metrics := telemetry.NewMetrics()
	b.engine, err = pipeline.NewEngine(pipeline.Options{Store: b.store, Metrics: metrics, Logger: b.log.logger(), Host: "bench", Now: b.clock.now})
	if err != nil {
		return b, fmt.Errorf("making the engine: %w", err)
	}
	b.engine.Watch(b.watch)
	if err := b.engine.Start(ctx, b.assembly.set); err != nil {
		return b, fmt.Errorf("starting the pipeline: %w", err)
	}
	callbacks := newCallbacks(b.assembly, b, metrics, b.log.logger())
	callbacks.now = b.clock.now
	b.public = newEcho(b.log.logger())
	b.public.RouteNotFound("/wx/:app", callbacks.byName)
	b.random.begin()
	return b, nil
}

// aloneIn is cfg with one of its apps, without its secrets, and what that uses.
// Shadows are left out: they change no answer, and run when they like.
func aloneIn(cfg *config.Config, app *config.App) *config.Config {
	own, pipe := *app, *app.Pipeline
	pipe.Stages, pipe.Always = withoutShadows(pipe.Stages), withoutShadows(pipe.Always)
	own.Token, own.EncodingAESKey, own.Previous, own.Pipeline = benchToken, benchKey, nil, &pipe
	alone := *cfg
	alone.Apps, alone.Pipelines, alone.Plugins = []*config.App{&own}, []*config.Pipeline{&pipe}, nil
	for _, p := range cfg.Plugins {
		if slices.Contains(p.Apps, app) {
			used := *p
			used.Apps = alone.Apps
			alone.Plugins = append(alone.Plugins, &used)
		}
	}
	return &alone
}

func withoutShadows(stages []*config.Stage) []*config.Stage {
	out := make([]*config.Stage, len(stages))
	for i, st := range stages {
		bare := *st
		bare.Shadow, bare.Parallel, bare.Switch = nil, withoutShadows(st.Parallel), nil
		for _, br := range st.Switch {
			way := *br
			way.Stages = withoutShadows(br.Stages)
			bare.Switch = append(bare.Switch, &way)
		}
		out[i] = &bare
	}
	return out
}

func (b *appBench) close(ctx context.Context) error {
	var errs []error
	if b.engine != nil {
		errs = append(errs, b.engine.Close())
	}
	if b.assembly != nil {
		errs = append(errs, b.assembly.close(ctx))
	}
	return errors.Join(append(errs, b.bench.close(ctx))...)
}

// benchInput is what an app is given: a callback as WeChat has it, or an event of the
// host's own, without what it has of the app.
type benchInput struct {
	callback []byte
	own      *hostapi.Event
}

// benchResult is what became of one event.
type benchResult struct {
	event   string // its id
	answer  pipeline.Answer
	reply   *hostapi.Reply // that WeChat gets; nil: none
	traces  []*pipeline.Trace
	asked   []string
	unasked []unanswered
	wrong   string // what is wrong with the answer; "": nothing
}

// deliver sets the clock, has what is due then run, and gives the app an event. It
// returns when all is over that the event has set off and that is due.
func (b *appBench) deliver(ctx context.Context, now time.Time, in benchInput, answers config.Answers) (*benchResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.app.Pipeline.Deadline+benchTime, errBenchTime)
	defer cancel()
	b.out.begin(answers)
	b.under.Lock()
	b.answer, b.eventID = nil, ""
	b.under.Unlock()
	if now.Before(b.clock.now()) { // a clock doesn't go back; then it stands still
		now = b.clock.now()
	}
	b.clock.set(now)
	b.engine.Wake()
	if err := b.engine.Idle(ctx); err != nil {
		return nil, err
	}
	sealed, wrong, err := b.hand(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := b.engine.Idle(ctx); err != nil {
		return nil, err
	}
	b.under.Lock()
	defer b.under.Unlock()
	r := &benchResult{event: b.eventID, traces: b.sorted(), wrong: wrong}
	r.asked, r.unasked = b.out.take()
	if wrong != "" {
		return r, nil
	}
	r.answer = *b.answer
	switch a := r.answer; a.Kind {
	case pipeline.Replied:
		r.reply = a.Reply
	case pipeline.Forwarded:
		if !a.Verbatim.Silent {
			r.reply = &hostapi.Reply{Raw: &hostapi.Raw{Body: a.Verbatim.Body}}
		}
	}
	if r.answer.Kind == pipeline.Replied {
		if plain, _, err := b.assembly.accounts[b.app.Name].OpenReply(sealed); err != nil {
			r.wrong = "WeChat can't open the answer: " + err.Error()
		} else if string(plain) == wechat.Success {
			r.wrong = "the reply can't be encoded, and WeChat got success"
		}
	}
	return r, nil
}

// hand gives the app an event. sealed is the answer to a callback; wrong is what has
// kept the event from the pipeline.
func (b *appBench) hand(ctx context.Context, in benchInput) (sealed []byte, wrong string, err error) {
	if in.own != nil {
		wrong, err = b.tell(ctx, *in.own)
		return nil, wrong, err
	}
	status, sealed, err := b.post(ctx, in.callback)
	if err != nil {
		return nil, "", err
	}
	b.under.Lock()
	defer b.under.Unlock()
	if b.answer == nil {
		wrong = fmt.Sprintf("the callback was answered HTTP %d: %s", status, errorMessage(sealed))
	}
	return sealed, wrong, nil
}

// tell queues an event of the host's own, as a login does.
func (b *appBench) tell(ctx context.Context, ev hostapi.Event) (wrong string, err error) {
	b.under.Lock()
	b.told++
	ev.ID, ev.AppID, ev.AppType = fmt.Sprintf("%032x", b.told), b.app.AppID, string(b.app.Type)
	b.begun(ev.ID)
	b.under.Unlock()
	switch err := b.engine.Post(ctx, b.app.Name, &ev); {
	case errors.Is(err, pipeline.ErrFull):
		return "the event is not queued: " + err.Error(), nil
	case err != nil:
		return "", fmt.Errorf("telling an event of the host's own: %w", err)
	}
	b.under.Lock()
	defer b.under.Unlock()
	b.answer = &pipeline.Answer{Kind: pipeline.Success, Outcome: "queued"}
	return "", nil
}

// begun notes which event is under way. The caller holds under.
func (b *appBench) begun(id string) {
	b.eventID = id
	if _, seen := b.order[id]; !seen {
		b.order[id] = len(b.order)
	}
}

// post seals a callback as WeChat does and hands it to the callback path.
func (b *appBench) post(ctx context.Context, doc []byte) (status int, body []byte, err error) {
	format, contentType := wechat.XML, "text/xml"
	if bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")) {
		format, contentType = wechat.JSON, "application/json"
	}
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	nonce := hex.EncodeToString(random[:8])
	rand.Read(random[:])
	sealed, q := b.assembly.accounts[b.app.Name].AppendCallback(nil, doc, format, toUser(b.app), b.clock.now().Unix(), nonce, random)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://bench/wx/"+b.app.Name+"?"+q.Encode(), bytes.NewReader(sealed))
	if err != nil {
		return 0, nil, fmt.Errorf("making the callback: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	w := &benchWriter{header: http.Header{}, status: http.StatusOK}
	b.public.ServeHTTP(w, req)
	return w.status, w.body.Bytes(), nil
}

// Deliver implements deliverer: a delivery's own times go by the real clock.
func (b *appBench) Deliver(ctx context.Context, d pipeline.Delivery) pipeline.Answer {
	b.under.Lock()
	b.begun(d.Event.ID)
	b.under.Unlock()
	d.Arrived = time.Now()
	a := b.engine.Deliver(ctx, d)
	b.under.Lock()
	defer b.under.Unlock()
	b.answer = &a
	return a
}

func (b *appBench) watch(t *pipeline.Trace) {
	b.under.Lock()
	defer b.under.Unlock()
	b.traces = append(b.traces, t)
}

// sorted takes the traces: those of earlier events first; of an event the run of
// its delivery, then those of the queue, and its async stages by their names.
func (b *appBench) sorted() []*pipeline.Trace {
	traces := b.traces
	b.traces = nil
	slices.SortStableFunc(traces, func(x, y *pipeline.Trace) int {
		return cmp.Or(
			cmp.Compare(b.order[x.Event.ID], b.order[y.Event.ID]),
			strings.Compare(x.Alone, y.Alone),
			cmp.Compare(x.Event.Attempt, y.Event.Attempt),
		)
	})
	return traces
}

// benchWriter keeps an answer.
type benchWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *benchWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *benchWriter) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *benchWriter) Write(p []byte) (int, error) { return w.body.Write(p) }
