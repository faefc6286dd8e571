package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"
)

// Bounds of every connection.
const (
	headerTime = 5 * time.Second   // for a request's header
	bodyTime   = 5 * time.Second   // for its body, after the header: WeChat hangs up after 5 s
	idleTime   = 120 * time.Second // between requests
	maxHeader  = 16 << 10          // bytes of a request's header, query included
)

// newEcho returns an echo that answers errors in our form, gives each request a
// trace and turns a panic into a logged 500.
func newEcho(log *slog.Logger) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = errorHandler(log)
	e.Use(withTrace, withRecover(log), withNoSniff, withBodyTime)
	return e
}

// withRecover answers 500 for a panic in a handler. For an authentic callback
// that is the one answer that keeps the event: nothing ran to its end, and
// WeChat sends it again.
func withRecover(log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(ec echo.Context) (err error) {
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				log.LogAttrs(ec.Request().Context(), slog.LevelError, "panic in a handler", slog.String("trace", traceOf(ec)),
					slog.String("panic", cut(fmt.Sprint(v), 1024)), slog.String("stack", string(debug.Stack())))
				err = errInternal
			}()
			return next(ec)
		}
	}
}

// withNoSniff keeps browsers from reading an answer as anything but its type:
// the verification gives back what it was sent.
func withNoSniff(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		ec.Response().Header().Set("X-Content-Type-Options", "nosniff")
		return next(ec)
	}
}

// withBodyTime gives a body bodyTime to come, whether or not the handler reads
// it: the server reads what a handler left. Not http.Server.ReadTimeout, which
// would end the contexts of requests that wait for their answer.
func withBodyTime(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		if ec.Request().ContentLength != 0 {
			if err := setReadDeadline(ec, time.Now().Add(bodyTime)); err != nil {
				return err
			}
		}
		return next(ec)
	}
}

// bodyRead takes the deadline off once the body is there: from then on the
// connection is read only to see the client hang up.
func bodyRead(ec echo.Context) error { return setReadDeadline(ec, time.Time{}) }

func setReadDeadline(ec echo.Context, t time.Time) error {
	err := http.NewResponseController(ec.Response().Writer).SetReadDeadline(t)
	// A writer that knows no deadlines has the body in memory.
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("setting the read deadline: %w", err)
	}
	return nil
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// listener is a bound address and the HTTP server on it.
type listener struct {
	name string
	ln   net.Listener
	srv  *http.Server
	log  *slog.Logger
	done chan struct{} // closed when the server has ended; nil before serve
	err  error         // why it ended by itself; read after done
}

// listen binds address. writeTime bounds a request from its header to the end
// of its answer.
func listen(ctx context.Context, name, address string, h http.Handler, writeTime time.Duration, log *slog.Logger) (*listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("server.%s: %w: %s", name, err, listenAdvice(err))
	}
	return &listener{
		name: name, ln: ln, log: log,
		srv: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: headerTime,
			WriteTimeout:      writeTime,
			IdleTimeout:       idleTime,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}, nil
}

// listenAdvice is what to do where an address can't be bound.
func listenAdvice(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "ports under 1024 are the system's: choose another one, with a proxy before it, or let the program have them (setcap cap_net_bind_service=+ep)"
	}
	return "choose another address, or stop what listens there"
}

// addr is HOST:PORT with the port that was given.
func (l *listener) addr() string { return l.ln.Addr().String() }

// addrPort is addr as the fence of upstreams compares it.
func (l *listener) addrPort() netip.AddrPort {
	at, ok := l.ln.Addr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{} // listen binds TCP only
	}
	return at.AddrPort()
}

// serve accepts connections until stop. stop waits for its goroutine.
func (l *listener) serve() {
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		if err := l.srv.Serve(l.ln); !errors.Is(err, http.ErrServerClosed) {
			l.err = fmt.Errorf("server.%s: %w", l.name, err)
		}
	}()
}

// stop takes no new connection, waits for requests until ctx ends, cuts those
// that are left, and waits for the server's goroutine. A cut request is logged
// and no error: any client can hold one open. Called again it does nothing.
func (l *listener) stop(ctx context.Context) error {
	if l.done == nil {
		return l.ln.Close()
	}
	err := l.srv.Shutdown(ctx)
	if ctx.Err() != nil && err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "requests were cut", slog.String("listener", l.name))
		err = l.srv.Close()
	}
	<-l.done
	if err != nil {
		return fmt.Errorf("closing server.%s: %w", l.name, err)
	}
	return nil
}
