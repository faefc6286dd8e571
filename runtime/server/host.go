// Package server is where all rooms are joined, and only here: it reads the
// configuration, loads what it names, serves callbacks over HTTP and stops again.
// It does the work of the commands, too.
//
// One callback's way stands in callback.go, the start and stop of a host in
// host.go, the loading of a configuration in assemble.go.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/telemetry"
)

const (
	// answerSlack is what a request may take beside the time until its answer.
	answerSlack = 10 * time.Second
	// adminTime bounds a request to the admin listener.
	adminTime = 30 * time.Second
	// cutTime is what requests still have to send their answer when the drain took
	// all its time.
	cutTime = 2 * time.Second
	// closeTime is what plugins have to end after that.
	closeTime = 5 * time.Second
)

// Host is a running Weft: listeners, pipelines, plugins and store.
type Host struct {
	file      string         // of the configuration
	server    config.Server  // no reload changes it
	running   *config.Config // the first configuration, of which that and the store hold; used by one goroutine at a time
	log       *slog.Logger
	store     store.Store
	sandbox   *sandbox.Sandbox // of all generations
	state     *pluginState     // likewise: plugins of another state share no instances
	layers    *layers
	upstreams *gateway.Pool // likewise
	ways      *ways         // likewise
	engine    *pipeline.Engine
	metrics   *telemetry.Metrics
	recorder  recorder
	current   atomic.Pointer[generation] // that serves; nil before the first does
	units     *units
	reloads   *reloads
	health    *health
	public    *listener
	admin     *listener
	own       atomic.Pointer[[]netip.AddrPort] // of the listeners; nil before they are bound

	identities *identities
}

// Serve runs the configuration in file until ctx ends, then drains and returns.
// Each signal of hangup has it read the configuration again. It returns
// config.Problems where the configuration is wrong at the start; nothing served,
// then. A start that ctx ends is no error.
func Serve(ctx context.Context, file string, log *slog.Logger, hangup <-chan os.Signal) error {
	defer spareProcessor()()
	h, err := Start(ctx, file, log)
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		log.LogAttrs(ctx, slog.LevelInfo, "stopped before it served", slog.String("while", err.Error()))
		return nil
	case err != nil:
		return err
	}
	failed := h.untilEnd(ctx, hangup)
	return errors.Join(failed, h.Stop(context.WithoutCancel(ctx)))
}

// untilEnd returns when ctx ends or a listener fails, which is the error.
func (h *Host) untilEnd(ctx context.Context, hangup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.public.done:
			return h.public.err
		case <-h.admin.done:
			return h.admin.err
		case <-hangup:
			// What comes of it is in log and status; the error is ctx's.
			_, _ = h.Reload(ctx, triggerSignal)
		}
	}
}

// spareProcessor has Go use one processor more than there are, until back is
// called. While a plugin computes on one and the store waits for the disk on
// another, that one looks at the network; guests have no part in it.
func spareProcessor() (back func()) {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return func() { runtime.GOMAXPROCS(n) }
}

// Start reads file, loads all that it names and accepts callbacks when it
// returns. What is broken of it serves as it was accepted last, see units.
// The caller stops the Host. ctx bounds the start only.
func Start(ctx context.Context, file string, log *slog.Logger) (*Host, error) {
	return startWatching(ctx, file, log, time.Tick(watchEvery))
}

// startWatching is Start with a look at the files at each tick.
func startWatching(ctx context.Context, file string, log *slog.Logger, ticks <-chan time.Time) (*Host, error) {
	h := &Host{file: file, log: log, metrics: telemetry.NewMetrics(), reloads: newReloads(ticks)}
	if err := h.start(ctx); err != nil {
		return nil, errors.Join(err, h.closeAll(context.WithoutCancel(ctx)))
	}
	return h, nil
}

// start brings the parts up, each on those before it. What it leaves in h when
// it fails, closeAll closes.
func (h *Host) start(ctx context.Context) error {
	var lost config.Problems
	first := read(h.file, newSources(false))
	h.units, lost = openUnits(first)
	h.units.discard = h.closeAssembly
	s, problems, err := h.settle(ctx, first)
	switch {
	case err != nil:
		return err
	case s == nil:
		return append(problems, lost...)
	}
	s.assembly.problems = append(lost, s.assembly.problems...)
	h.current.Store(h.generation(1, s))
	h.announce(ctx, s.assembly)
	for _, p := range few(s.problems, config.MaxProblems) {
		h.log.LogAttrs(ctx, slog.LevelError, "configuration", slog.String("problem", p.String()))
	}
	if err := h.engine.Start(context.WithoutCancel(ctx), s.assembly.set); err != nil {
		return fmt.Errorf("starting the pipelines: %w", err)
	}
	h.accept(ctx, s)
	h.ways.use(s.assembly)
	h.layers.use(s.usesLayer())
	h.layers.tidy(ctx)
	h.startReloads(ctx)
	return h.open(ctx)
}

// settle searches what can serve, of a reading. Its files are watched from then
// on.
func (h *Host) settle(ctx context.Context, r *reading) (*selection, config.Problems, error) {
	h.reloads.watch = watch{taken: r.from}
	return h.units.settle(ctx, r, h.assemble)
}

// accept has what serves be fallen back to from now on.
func (h *Host) accept(ctx context.Context, s *selection) {
	if err := h.units.accept(s); err != nil {
		h.log.LogAttrs(ctx, slog.LevelError, "the next start can't fall back to this configuration", slog.String("error", err.Error()))
	}
	h.units.report(ctx, s, s.problems, h.log)
}

// openParts opens what lives as long as the host does.
func (h *Host) openParts(ctx context.Context, cfg *config.Config) error {
	if err := os.MkdirAll(cfg.Server.Data, 0o700); err != nil {
		return fmt.Errorf("server.data: %w: choose a folder that the host may write", err)
	}
	opened, foreign, err := openStoreOf(ctx, &cfg.Store, h.log)
	if err != nil {
		return err
	}
	h.store = opened
	if h.ways, err = openWays(cfg, opened, foreign, h.metrics, h.log); err != nil {
		return err
	}
	h.state = &pluginState{store: opened, log: h.log, recorder: &h.recorder}
	if h.layers, err = openLayers(ctx, h.state, cfg.Store.Redis != nil); err != nil {
		return err
	}
	h.upstreams = gateway.NewPool(h.listeners, h.log)
	if h.sandbox, err = sandbox.New(ctx, sandbox.Options{CacheDir: filepath.Join(cfg.Server.Data, "cache"), Logger: h.log}); err != nil {
		return fmt.Errorf("starting the sandbox: %w", err)
	}
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("reading the host's name: %w", err)
	}
	opt := pipeline.Options{Store: h.store, Metrics: h.metrics, Logger: h.log, Host: hostname, Inflight: cfg.Server.Inflight}
	if cfg.Store.Redis != nil {
		opt.Shared = h.store
	}
	if h.engine, err = pipeline.NewEngine(opt); err != nil {
		return fmt.Errorf("making the engine: %w", err)
	}
	if h.identities, err = openIdentities(cfg, h.store, h.postIdentity); err != nil {
		return err
	}
	for _, c := range []prometheus.Collector{
		newPluginMetrics(func() map[string]*sandbox.Plugin { return h.current.Load().assembly.plugins }),
		newQueueMetrics(h.engine),
		newUpstreamMetrics(h.upstreams),
		newCredentialMetrics(h.ways.credentials),
		newCanaryMetrics(h.engine.Canaries),
		newBoundMetrics(h.engine),
	} {
		if err := h.metrics.Registry().Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// assemble is the assembler of the host's units. The first configuration says what
// the host runs with; what another root can't change without a restart is wrong
// with it, and doesn't matter in one that was accepted before.
func (h *Host) assemble(ctx context.Context, cfg *config.Config, root *version) (*assembly, config.Problems, error) {
	switch running := h.running; {
	case running == nil:
		h.running, h.server = cfg, cfg.Server
		h.units.keepIn(cfg.Server.Data)
		if err := h.openParts(ctx, cfg); err != nil {
			return nil, nil, err
		}
	case root.modules != nil:
		same := *cfg
		same.Server, same.Store = running.Server, running.Store
		cfg = &same
	default:
		if problems := cfg.Restart(running); len(problems) > 0 {
			return nil, problems, nil
		}
	}
	a, err := assemble(ctx, cfg, assembleOptions{
		sandbox:   h.sandbox,
		upstreams: h.upstreams,
		ways:      h.ways,
		state:     h.state,
		layers:    h.layers,
		log:       h.log,
		client:    h.recorder.client,
		recorder:  &h.recorder,
		module:    h.units.moduleReader(root),
		lastGood:  h.units.good,
	})
	if err != nil {
		return nil, nil, err
	}
	return a, a.problems, nil
}

// announce logs what is to be known of an assembly that serves.
func (h *Host) announce(ctx context.Context, a *assembly) {
	for _, p := range a.problems {
		h.log.LogAttrs(ctx, slog.LevelWarn, "configuration", slog.String("problem", p.String()))
	}
	for _, app := range a.cfg.Apps {
		for _, p := range a.broken[app.Name] {
			h.log.LogAttrs(ctx, slog.LevelError, "app out of service", slog.String("app", app.Name), slog.String("problem", p.String()))
		}
	}
}

// generation makes one of a selection, whose assembly it owns from then on.
func (h *Host) generation(number uint64, s *selection) *generation {
	c := newCallbacks(s.assembly, recordedEngine{h.engine, &h.recorder, s.assembly}, h.metrics, h.log)
	c.addAbsent(s.absent)
	s.assembly.set.Await(s.outOfService())
	return &generation{number: number, since: time.Now(), assembly: s.assembly, callbacks: c}
}

// open binds both listeners, and only then accepts: a start that fails accepts
// nothing.
func (h *Host) open(ctx context.Context) error {
	h.health = &health{store: h.store}
	public := newEcho(h.log)
	h.health.route(public)
	h.gatewayRoutes(public)
	h.jsapiRoutes(public)
	h.miniRoutes(public)
	h.oauthRoutes(public)
	h.keyRoutes(public)
	// Whatever method, so that the answer to a wrong one is ours.
	public.RouteNotFound("/wx/:app", func(ec echo.Context) error { return h.current.Load().callbacks.byName(ec) })
	public.RouteNotFound("/*", h.answerElse)
	admin := newEcho(h.log)
	admin.Use(withToken(h.server.AdminToken, h.server.Admin))
	h.health.route(admin)
	admin.GET("/metrics", echo.WrapHandler(h.metrics.Handler()))
	admin.Any("/admin/v1/status", readOnly(h.answerStatus))
	admin.Any("/admin/v1/shadows", readOnly(h.answerShadows))
	admin.Any("/admin/v1/reload", postOnly(h.answerReload))
	queueAPI{h.engine}.route(admin)
	admin.Any("/admin/v1/record", postOnly(h.answerRecord))

	var err error
	if h.public, err = listen(ctx, "listen", h.server.Listen, public, config.MaxAnswerWithin+answerSlack, h.log); err != nil {
		return err
	}
	if h.admin, err = listen(ctx, "admin", h.server.Admin, admin, adminTime, h.log); err != nil {
		return err
	}
	if h.server.AdminToken == "" && !loopback(h.admin.addr()) {
		return fmt.Errorf("server.admin: %s is not loopback: set server.admin_token", h.admin.addr())
	}
	h.own.Store(&[]netip.AddrPort{h.public.addrPort(), h.admin.addrPort()})
	h.public.serve()
	h.admin.serve()
	cfg := h.current.Load().assembly.cfg
	h.log.LogAttrs(ctx, slog.LevelInfo, "serving", slog.String("listen", h.public.addr()), slog.String("admin", h.admin.addr()),
		slog.String("version", Version()), slog.Int("apps", len(cfg.Apps)), slog.Int("plugins", len(cfg.Plugins)))
	return nil
}

// listeners are the addresses that the host listens at.
func (h *Host) listeners() []netip.AddrPort {
	if own := h.own.Load(); own != nil {
		return *own
	}
	return nil
}

// Stop takes no new callback, lets those in flight and the events behind them
// end within server.drain, and closes everything. What did not end is in the
// durable queue and runs again after the next start. When Stop returns, no
// goroutine of the Host is left.
func (h *Host) Stop(ctx context.Context) error {
	h.health.stopping.Store(true)
	h.log.LogAttrs(ctx, slog.LevelInfo, "stopping", slog.String("drain", h.server.Drain.String()))
	drain, cancel := context.WithTimeout(ctx, h.server.Drain)
	defer cancel()
	// Requests that are left when the time is up stay connected: the engine makes
	// their events durable and answers them, and closeAll lets that out.
	err := errors.Join(h.reloads.stop(drain), h.public.srv.Shutdown(drain))
	if err = errors.Join(err, h.engine.Drain(drain)); err != nil {
		h.log.LogAttrs(ctx, slog.LevelWarn, "drain incomplete: the rest runs after the next start", slog.String("error", err.Error()))
	}
	err = h.closeAll(ctx)
	h.log.LogAttrs(ctx, slog.LevelInfo, "stopped")
	return err
}

// closeAll closes what there is, the last opened first.
func (h *Host) closeAll(ctx context.Context) error {
	var errs []error
	h.reloads.cancel()
	h.recorder.stop()
	cut, cancel := context.WithTimeout(ctx, cutTime)
	defer cancel()
	for _, l := range []*listener{h.public, h.admin} {
		if l != nil {
			errs = append(errs, l.stop(cut))
		}
	}
	if h.identities != nil {
		h.identities.oauth.Close()
	}
	if h.engine != nil {
		errs = append(errs, h.engine.Close())
	}
	ending, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	errs = append(errs, h.reloads.close(ending))
	if serving := h.current.Load(); serving != nil {
		errs = append(errs, serving.retire(ending), serving.assembly.close(ending))
	}
	if h.layers != nil {
		h.layers.close()
	}
	if h.sandbox != nil {
		if err := h.sandbox.Close(ending); err != nil {
			errs = append(errs, fmt.Errorf("closing the sandbox: %w", err))
		}
	}
	if h.ways != nil {
		h.ways.close()
	}
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	return errors.Join(errs...)
}
