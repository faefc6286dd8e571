package pipeline

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/telemetry"
)

// fake is a Plugin that counts its runs.
type fake struct {
	handle func(ctx context.Context, c *Call) (Result, error)
	wants  func(typ, event string) bool
	runs   atomic.Int32
}

func (f *fake) Handle(ctx context.Context, c *Call) (Result, error) {
	f.runs.Add(1)
	if f.handle == nil {
		return Result{}, nil
	}
	return f.handle(ctx, c)
}

func (f *fake) Wants(typ, event string) bool { return f.wants == nil || f.wants(typ, event) }

// takes makes a plugin that needs d and then answers text.
func takes(d time.Duration, text string) *fake {
	return &fake{handle: func(ctx context.Context, _ *Call) (Result, error) {
		if !pause(ctx, d) {
			return Result{}, ctx.Err()
		}
		return Result{Reply: textReply(text), ReplySet: true}, nil
	}}
}

// failing makes a plugin that fails at once.
func failing(reason string) *fake {
	return &fake{handle: func(context.Context, *Call) (Result, error) { return Result{}, reasonError(reason) }}
}

type reasonError string

func (e reasonError) Error() string  { return "it failed: " + string(e) }
func (e reasonError) Reason() string { return string(e) }

func textReply(s string) *hostapi.Reply { return &hostapi.Reply{Text: &hostapi.Text{Content: s}} }

// world is an engine with what is around it. Its pipeline is the documented
// default but for what a test sets.
type world struct {
	t       *testing.T
	store   *memStore
	queue   store.Store // as the engine sees it
	pipe    *config.Pipeline
	app     *config.App
	others  []*config.App // beside app, of the same pipeline
	most    int           // Options.Inflight
	shared  store.Board   // Options.Shared
	plugins map[string]Plugin
	ups     map[string]Upstream
	metrics *telemetry.Metrics
	engine  *Engine
	start   time.Time
	now     func() time.Time // the engine's clock; nil: the bubble's

	logMu sync.Mutex
	log   bytes.Buffer
}

func (w *world) Write(p []byte) (int, error) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log.Write(p)
}

func (w *world) logged() string {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log.String()
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, store: new(memStore), plugins: map[string]Plugin{}, ups: map[string]Upstream{}, metrics: telemetry.NewMetrics(), start: time.Now(),
		pipe: &config.Pipeline{
			Name: "main", AnswerWithin: 4500 * time.Millisecond, Deadline: 30 * time.Second, Dedupe: time.Minute,
			OnError: config.OnError{Kind: config.Stop},
		},
	}
	w.queue = w.store
	w.app = &config.App{Name: "shop", Type: config.Official, Pipeline: w.pipe}
	return w
}

// stage adds a plugin and a stage of it.
func (w *world) stage(name string, p Plugin) *config.Stage {
	w.plugins[name] = p
	st := &config.Stage{Name: name, Plugin: &config.Plugin{Name: name}}
	w.pipe.Stages = append(w.pipe.Stages, st)
	return st
}

func (w *world) always(name string, p Plugin) *config.Stage {
	w.plugins[name] = p
	st := &config.Stage{Name: name, Plugin: &config.Plugin{Name: name}}
	w.pipe.Always = append(w.pipe.Always, st)
	return st
}

func (w *world) build() *Set {
	w.t.Helper()
	set, problems := Build(&config.Config{Apps: append([]*config.App{w.app}, w.others...), Pipelines: []*config.Pipeline{w.pipe}}, w.plugins, Upstreams(w.ups))
	if problems.Err() != nil {
		w.t.Fatal(problems)
	}
	return set
}

// up starts an engine; it is closed when the test ends.
func (w *world) up() *world {
	w.t.Helper()
	e, err := NewEngine(Options{Store: w.queue, Metrics: w.metrics, Logger: slog.New(slog.NewTextHandler(w, nil)), Host: "h1", Inflight: w.most, Now: w.now, Shared: w.shared})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := e.Start(w.t.Context(), w.build()); err != nil {
		w.t.Fatal(err)
	}
	w.engine = e
	return w
}

// down ends the engine. Deferred in the bubble: its goroutines must end there.
func (w *world) down() {
	if err := w.engine.Close(); err != nil {
		w.t.Error(err)
	}
	if n := len(w.engine.locks.locks); n != 0 {
		w.t.Errorf("%d user locks are left", n)
	}
}

func event(id string) *hostapi.Event {
	return &hostapi.Event{ID: id, App: "shop", Type: "text", From: "oUser", User: "oUser", To: "gh_1", Content: "hi", Origin: "wechat", Raw: []byte("<xml/>")}
}

func (w *world) deliver(id string) Answer { return w.deliverEvent(w.t.Context(), event(id)) }

func (w *world) deliverEvent(ctx context.Context, ev *hostapi.Event) Answer {
	now := time.Now()
	came := &Callback{Query: "nonce=" + ev.ID, ContentType: "text/xml", Body: []byte("came " + ev.ID)}
	return w.engine.Deliver(ctx, Delivery{App: "shop", Event: ev, Timestamp: w.start, MaxSkew: 10 * time.Minute, Callback: came, Arrived: now})
}

// got is what a delivery was answered, and when, counted from the world's start.
type got struct {
	answer Answer
	at     time.Duration
}

// async delivers at a moment and gives the answer when it is there.
func (w *world) async(ctx context.Context, at time.Duration, id string) <-chan got {
	out := make(chan got, 1)
	go func() {
		time.Sleep(time.Until(w.start.Add(at)))
		a := w.deliverEvent(ctx, event(id))
		out <- got{a, time.Since(w.start)}
	}()
	return out
}

// count reads a counter by its labels' values, in the order of the labels' names.
func (w *world) count(name string, labels ...string) int {
	w.t.Helper()
	families, err := w.metrics.Gatherer().Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if strings.Join(values, " ") == strings.Join(labels, " ") {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return int(total)
}

func (w *world) outcome(o string) int { return w.count("weft_events_total", "shop", o) }

// pass lets time pass, and then whatever begins at that moment happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// journal is a list that plugins write to.
type journal[T any] struct {
	mu   sync.Mutex
	list []T
}

func (j *journal[T]) add(v T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, v)
}

func (j *journal[T]) all() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list)
}

func isText(a Answer, text string) bool {
	return a.Kind == Replied && a.Reply.Text != nil && a.Reply.Text.Content == text
}

// bubble runs a test under a fake clock.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

var errStore = errors.Join(store.ErrUnavailable, errors.New("disk full"))

// observed reads how often a histogram was observed, by its labels' values.
func (w *world) observed(name, labels string) int {
	w.t.Helper()
	families, err := w.metrics.Gatherer().Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && strings.Join(values, " ") == labels {
				return int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
