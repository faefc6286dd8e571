package server

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/telemetry"
	"github.com/weft-dev/weft/runtime/wechat"
)

const (
	maxBody = 1 << 20 // bytes of a callback's body; more is 413
	// firstRead is the most that is set aside for a body on its Content-Length's
	// word alone.
	firstRead = 16 << 10
	// refusalLog is how often a refused callback of an app is logged; the others
	// are counted in the next line.
	refusalLog = time.Second
)

// deliverer runs an event and says what its delivery is answered.
type deliverer interface {
	Deliver(ctx context.Context, d pipeline.Delivery) pipeline.Answer
}

// app is one app as the callback path needs it.
type app struct {
	name    string
	appID   string
	appType string
	skew    time.Duration
	account *wechat.Account
	broken  bool // its callbacks answer 503

	logged telemetry.Seldom // of refusals
}

// callbacks answers the callback paths. It keeps no state between requests but
// what is in the engine.
type callbacks struct {
	apps    map[string]*app // by name, for /wx/{app}
	paths   map[string]*app // by callback_path
	engine  deliverer
	metrics *telemetry.Metrics
	log     *slog.Logger
	now     func() time.Time
}

func newCallbacks(a *assembly, engine deliverer, m *telemetry.Metrics, log *slog.Logger) *callbacks {
	c := &callbacks{apps: map[string]*app{}, paths: map[string]*app{}, engine: engine, metrics: m, log: log, now: time.Now}
	for _, ac := range a.cfg.Apps {
		served := &app{
			name: ac.Name, appID: ac.AppID, appType: string(ac.Type), skew: ac.MaxSkew,
			account: a.accounts[ac.Name], broken: len(a.broken[ac.Name]) > 0,
		}
		c.apps[ac.Name] = served
		if ac.CallbackPath != "" {
			c.paths[ac.CallbackPath] = served
		}
	}
	return c
}

// addAbsent adds apps that would be there if their files were right.
func (c *callbacks) addAbsent(absent []config.SalvagedApp) {
	for _, ac := range absent {
		missing := &app{name: ac.Name, broken: true}
		c.apps[ac.Name] = missing
		if ac.CallbackPath != "" && c.paths[ac.CallbackPath] == nil {
			c.paths[ac.CallbackPath] = missing
		}
	}
}

// lacks is the answer where an app has nothing of what a path is for: it may have,
// where its configuration is wrong.
func (c *callbacks) lacks(name string) error {
	if served := c.apps[name]; served != nil && served.broken {
		return errBroken
	}
	return errNotFound
}

// byName serves /wx/{app}.
func (c *callbacks) byName(ec echo.Context) error {
	return c.serve(ec, c.apps[ec.Param("app")])
}

// byPath serves every path that nothing else does: the callback_path of an app.
func (c *callbacks) byPath(ec echo.Context) error {
	return c.serve(ec, c.paths[ec.Request().URL.Path])
}

func (c *callbacks) serve(ec echo.Context, a *app) error {
	if a == nil {
		return errNotFound
	}
	switch ec.Request().Method {
	case http.MethodGet:
		if a.broken {
			return errBroken
		}
		return c.verify(ec, a)
	case http.MethodPost:
		if a.broken {
			return errBroken
		}
		return c.deliver(ec, a)
	}
	return wrongMethod(ec, "GET, POST")
}

// verify answers the platform's verification of the URL.
func (c *callbacks) verify(ec echo.Context, a *app) error {
	q := wechat.ParseQuery(ec.Request().URL.RawQuery)
	if err := a.account.Verify(q, c.now()); err != nil {
		return c.refuse(ec, a, err)
	}
	c.metrics.Callback(a.name, "verified")
	return answer(ec, "text/plain; charset=utf-8", []byte(q.EchoStr))
}

// deliver takes a callback to the engine and its answer back.
func (c *callbacks) deliver(ec echo.Context, a *app) error {
	arrived := c.now()
	body, err := readBody(ec)
	if err != nil {
		if errors.Is(err, errTooLarge) {
			c.metrics.Callback(a.name, "too_large")
		} else {
			c.metrics.Callback(a.name, "refused")
		}
		return err
	}
	opened, err := a.account.Open(wechat.ParseQuery(ec.Request().URL.RawQuery), body, c.now())
	if err != nil {
		return c.refuse(ec, a, err)
	}
	ev := new(hostapi.Event)
	if err := wechat.Decode(a.name, opened, ev); err != nil {
		c.metrics.Callback(a.name, "undecodable")
		c.log.LogAttrs(ec.Request().Context(), slog.LevelWarn, "callback undecodable", slog.String("app", a.name),
			slog.String("trace", traceOf(ec)), slog.String("reason", err.Error()))
		return success(ec)
	}
	c.metrics.Callback(a.name, "accepted")
	ev.App, ev.AppID, ev.AppType = a.name, a.appID, a.appType
	ev.Origin, ev.Attempt, ev.TraceParent = "wechat", 1, traceParentOf(ec)
	ans := c.engine.Deliver(ec.Request().Context(), pipeline.Delivery{
		App: a.name, Event: ev, Timestamp: opened.Timestamp, MaxSkew: a.skew, Arrived: arrived,
		Callback: &pipeline.Callback{Query: ec.Request().URL.RawQuery, ContentType: ec.Request().Header.Get("Content-Type"), Body: body},
	})
	c.metrics.EventSeconds(a.name, c.now().Sub(arrived))
	switch ans.Kind {
	case pipeline.Again:
		return errAgain
	case pipeline.Replied:
		return c.reply(ec, a, &opened, ev, ans)
	case pipeline.Forwarded:
		return verbatim(ec, ans.Verbatim)
	}
	return success(ec)
}

// reply encodes and seals an answer. One that can't be encoded is a mistake of
// the plugin or of the configuration: it is logged, and WeChat gets success,
// because asking it to send the callback again would not help.
func (c *callbacks) reply(ec echo.Context, a *app, opened *wechat.Opened, ev *hostapi.Event, ans pipeline.Answer) error {
	doc, err := wechat.AppendReply(make([]byte, 0, 1024), ans.Reply, ev, ans.Created, opened.Format)
	if err != nil {
		c.log.LogAttrs(ec.Request().Context(), slog.LevelError, "reply not encodable", slog.String("app", a.name),
			slog.String("event_id", ev.ID), slog.String("trace", traceOf(ec)), slog.String("error", err.Error()))
		return success(ec)
	}
	if !opened.Sealed {
		return answer(ec, contentType(opened.Format), doc)
	}
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	sealed := a.account.AppendSealed(make([]byte, 0, 2*len(doc)+512), doc, *opened, c.now().Unix(), random)
	return answer(ec, contentType(opened.EnvelopeFormat), sealed)
}

// refuse counts a callback that is not taken and turns the protocol's error
// into an answer.
func (c *callbacks) refuse(ec echo.Context, a *app, err error) error {
	c.metrics.Callback(a.name, "refused")
	c.logRefusal(ec, a, err)
	if errors.Is(err, wechat.ErrMode) {
		return errMode
	}
	return errNotAuthentic
}

// logRefusal logs at most one refusal of an app in refusalLog: anybody can make
// them.
func (c *callbacks) logRefusal(ec echo.Context, a *app, err error) {
	skipped, ok := a.logged.Pass(c.now(), refusalLog)
	if !ok {
		return
	}
	c.log.LogAttrs(ec.Request().Context(), slog.LevelWarn, "callback refused", slog.String("app", a.name),
		slog.String("trace", traceOf(ec)), slog.String("error", err.Error()), slog.Int64("skipped", skipped))
}

// readBody reads a callback's body: at most maxBody bytes, until the deadline of
// withBodyTime, which it takes off.
func readBody(ec echo.Context) ([]byte, error) {
	r := ec.Request()
	if r.ContentLength > maxBody {
		ec.Response().Header().Set("Connection", "close")
		return nil, errTooLarge
	}
	src := http.MaxBytesReader(ec.Response().Writer, r.Body, maxBody)
	body := make([]byte, 0, min(max(r.ContentLength, 0), firstRead)+512)
	for {
		n, err := src.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			return body, bodyRead(ec)
		}
		if err != nil {
			return nil, bodyError(err)
		}
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	}
	return errBody
}

func success(ec echo.Context) error {
	return answer(ec, "text/plain; charset=utf-8", []byte(wechat.Success))
}

func answer(ec echo.Context, contentType string, body []byte) error {
	return ec.Blob(http.StatusOK, contentType, body)
}

// verbatim gives an upstream's answer on as it came.
func verbatim(ec echo.Context, v *pipeline.Verbatim) error {
	header := ec.Response().Header()
	if v.ContentType != "" {
		header.Set(echo.HeaderContentType, v.ContentType)
	} else {
		header[echo.HeaderContentType] = nil // none, and none that is guessed
	}
	ec.Response().WriteHeader(http.StatusOK)
	_, err := ec.Response().Write(v.Body)
	return err
}

func contentType(f wechat.Format) string {
	if f == wechat.JSON {
		return "application/json; charset=utf-8"
	}
	return "application/xml; charset=utf-8"
}
