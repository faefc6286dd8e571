package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// maxAtOnce is how many calls of an app may be under way at once. More wait.
	maxAtOnce = 512
	// dialTime is for a connection and its TLS, each.
	dialTime = 5 * time.Second
	// apiIdle is how long a connection to WeChat is kept for the next call.
	apiIdle = 10 * time.Second
	// pingAfter is how long an HTTP/2 connection may be silent before it is asked
	// whether it lives, and pingTime how long that may take.
	pingAfter, pingTime = 5 * time.Second, 3 * time.Second
)

// Tokens gives the access_token of an app. Both methods may be called by many
// goroutines at once, wait no longer than ctx, and have no token in their errors.
type Tokens interface {
	Token(ctx context.Context) (string, error)
	// Renew returns another token than the one that WeChat refused.
	Renew(ctx context.Context, refused string) (string, error)
}

// APICounter counts calls. Its methods may be called by many goroutines at once.
// The endpoint is a path or "other"; of an app there are at most 101.
type APICounter interface {
	// APICall counts a call by what became of it: ok, errcode, http (a status of
	// 400 and more without an errcode), or why there was no answer: timeout,
	// broken, unreachable, circuit_open, quota_stop, limited, busy, no_token,
	// bad_body, canceled.
	APICall(app, endpoint, result string)
	// APIErrcode counts an answer of WeChat's with an errcode other than 0, each
	// of a call that is repeated. It is "other" where the catalogue has no entry.
	APIErrcode(app, endpoint, errcode string)
}

// APIsConfig is what the clients of a host share.
type APIsConfig struct {
	Quota   QuotaStore   // nil: stops of endpoints are this host's own
	Counter APICounter   // nil: nothing is counted
	Logger  *slog.Logger // nil: nothing is logged
	TLS     *tls.Config  // nil: the system's roots
}

// APIs holds the clients of WeChat's API of a host's apps over changes of its
// configuration. All methods may be called by many goroutines at once.
type APIs struct {
	transport *http.Transport
	logins    *http.Transport // of SNS: HTTP/1 alone
	quotas    *quotas
	counter   APICounter
	log       *slog.Logger
	stop      context.CancelFunc
	keeper    sync.WaitGroup

	mu   sync.Mutex
	apps map[string]*apiState // by app and base
}

// NewAPIs makes the host's clients. They end with Close.
func NewAPIs(c APIsConfig) *APIs {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Counter == nil {
		c.Counter = uncounted{}
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &APIs{counter: c.Counter, log: c.Logger, stop: stop, quotas: newQuotas(c.Quota, c.Logger), apps: make(map[string]*apiState)}
	s.transport, s.logins = newAPITransport(c.TLS), newAPITransport(c.TLS)
	s.logins.ForceAttemptHTTP2, s.logins.HTTP2, s.logins.Protocols = false, nil, new(http.Protocols)
	s.logins.Protocols.SetHTTP1(true)
	s.keeper.Go(func() { s.quotas.keep(ctx) })
	return s
}

func newAPITransport(config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTime}
	return &http.Transport{
		DialContext:            dialer.DialContext, // and no proxy: it would see tokens
		TLSClientConfig:        config.Clone(),     // each has the protocols that it offers put in
		TLSHandshakeTimeout:    dialTime,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTime},
		DisableCompression:     true, // an answer is given on as it came
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    128,
		IdleConnTimeout:        apiIdle,
		MaxResponseHeaderBytes: maxHeader,
		WriteBufferSize:        32 << 10,
		ReadBufferSize:         32 << 10,
	}
}

// Close ends what runs beside the calls. Every call must have ended.
func (s *APIs) Close() {
	s.stop()
	s.keeper.Wait()
	s.transport.CloseIdleConnections()
	s.logins.CloseIdleConnections()
}

// APIConfig says how an app calls WeChat's API.
type APIConfig struct {
	App     string
	Base    string        // https://api.weixin.qq.com, http for tests
	Timeout time.Duration // until the answer begins, and between two pieces of a stream; over 0
	Tokens  Tokens
	// Admit keeps to the limits that are set for the app: it is asked before each
	// request to WeChat, and an error is ErrLimited; it doesn't wait. It is called
	// by many goroutines at once; nil: there are none.
	Admit func(method, path string) error
}

// API is an app's client of WeChat's API, for callers of the gateway and for
// plugins. All methods may be called by many goroutines at once.
type API struct {
	config APIConfig
	base   url.URL
	host   *APIs
	state  *apiState
	key    string // of APIs.apps
}

// Open returns the client of an app, to be given back with Close. What is known
// of its endpoints (circuits, stops) is the host's, by app: other settings change
// nothing of it, but for another base.
func (s *APIs) Open(c APIConfig) (*API, error) {
	base, err := url.Parse(c.Base)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.RawQuery != "" || base.User != nil {
		return nil, errors.New("api_base is no address of an API")
	}
	for len(base.Path) > 0 && base.Path[len(base.Path)-1] == '/' {
		base.Path = base.Path[:len(base.Path)-1]
	}
	base.RawPath = ""
	s.mu.Lock()
	defer s.mu.Unlock()
	key := c.App + " " + base.String()
	state := s.apps[key]
	if state == nil {
		state = newAPIState(c.App, s.quotas.open(c.App), s.log)
		s.apps[key] = state
	}
	state.holders++
	return &API{config: c, base: *base, host: s, state: state, key: key}, nil
}

// Close gives the client back, once. Every call of it must have ended.
func (a *API) Close() {
	s := a.host
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.state.holders--; a.state.holders == 0 {
		delete(s.apps, a.key)
		s.quotas.close(a.state.quota)
	}
}

type uncounted struct{}

func (uncounted) APICall(string, string, string)    {}
func (uncounted) APIErrcode(string, string, string) {}
