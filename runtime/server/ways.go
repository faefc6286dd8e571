package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/telemetry"
)

const (
	// credentialDial is for a connection to who has credentials, and for its TLS.
	credentialDial = 3 * time.Second
	// credentialIdle is how long such a connection is kept.
	credentialIdle = 10 * time.Second
)

// ways are the host's to WeChat, over all generations: who fetches credentials,
// calls the API, and counts what goes out.
type ways struct {
	credentials *gateway.Credentials
	apis        *gateway.APIs
	limiter     *gateway.Limiter
	callers     *gateway.Callers
	transport   *http.Transport // of the calls for credentials
	stop        context.CancelFunc
	counting    sync.WaitGroup // of the limiter
}

// openWays opens the host's ways to WeChat. foreign may be nil. The caller closes
// them, before the store.
func openWays(cfg *config.Config, s store.Store, foreign gateway.ForeignKeys, m *telemetry.Metrics, log *slog.Logger) (*ways, error) {
	key, err := serverKey(cfg)
	if err != nil {
		return nil, err
	}
	w := &ways{transport: newTransport()}
	w.credentials, err = gateway.NewCredentials(gateway.CredentialOptions{
		Store: s, Key: key, PreviousKeys: cfg.Server.PreviousKeys, Foreign: foreign, Logger: log,
		Client: &http.Client{Transport: w.transport, CheckRedirect: noRedirect},
	})
	if err != nil {
		return nil, fmt.Errorf("opening the credentials: %w", err)
	}
	w.apis = gateway.NewAPIs(gateway.APIsConfig{Quota: s, Counter: telemetry.NewWeChat(m.Registry()), Logger: log})
	w.limiter = gateway.NewLimiter(gateway.LimiterOptions{Store: s, Logger: log})
	w.callers = gateway.NewCallers(nil)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	w.counting.Go(func() { w.limiter.Run(ctx) })
	return w, nil
}

// newTransport is one for requests that hold secrets: without a proxy, which would
// see them.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext: (&net.Dialer{Timeout: credentialDial}).DialContext, TLSHandshakeTimeout: credentialDial,
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: credentialIdle,
	}
}

// noRedirect keeps a client at the address that it was given: its requests hold
// secrets.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// close ends what runs. Nobody calls any more.
func (w *ways) close() {
	w.stop()
	w.counting.Wait()
	w.apis.Close()
	w.credentials.Close()
	w.transport.CloseIdleConnections()
}

// use has the callers and the limits of a configuration hold from now on.
func (w *ways) use(a *assembly) {
	w.limiter.Set(a.limits)
	w.callers.Set(a.callers)
}
