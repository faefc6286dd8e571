package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// CredentialOptions are what all apps of a host share.
type CredentialOptions struct {
	Store CredentialStore
	// Key is server.key, 32 bytes, the same on all hosts; what was sealed with
	// one of PreviousKeys is still read.
	Key          []byte
	PreviousKeys [][]byte
	Client       Doer             // to WeChat
	Foreign      ForeignKeys      // nil: no app has FromRedis
	Now          func() time.Time // nil: time.Now
	Logger       *slog.Logger     // nil: nothing is logged
}

// Credentials are those of all apps of a host, over changes of its configuration:
// whoever opens an app that is open with the same settings gets what is open, with
// its credentials and what is known of its source. They are shared with other
// hosts through the store. All methods may be called by many goroutines at once.
type Credentials struct {
	options  CredentialOptions
	sealer   *sealer
	stop     context.CancelFunc
	ctx      context.Context // ends with Close
	listener sync.WaitGroup
	away     atomic.Int64 // when the store was not reached the last time, Unix nanoseconds

	mu     sync.Mutex
	closed bool
	apps   map[string][]*openedApp // by name, the one that was opened last at the end
}

// openedApp is an app that somebody has open.
type openedApp struct {
	app     *AppCredentials
	holders int
}

// NewCredentials begins to listen to other hosts; the store may be away. Close
// ends it.
func NewCredentials(o CredentialOptions) (*Credentials, error) {
	sealer, err := newSealer(o.Key, o.PreviousKeys)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Credentials{options: o, sealer: sealer, apps: make(map[string][]*openedApp)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.listener.Go(func() { c.listen(c.ctx) })
	return c, nil
}

// Close ends all that runs, and waits for it. Every app must have been closed;
// what was not, is.
func (c *Credentials) Close() {
	c.mu.Lock()
	c.closed = true
	apps := c.apps
	c.apps = nil
	c.mu.Unlock()
	c.stop()
	c.listener.Wait()
	for _, list := range apps {
		for _, o := range list {
			o.app.shut()
		}
	}
}

// AppCredentials are those of one app. All methods may be called by many
// goroutines at once.
type AppCredentials struct {
	host    *Credentials
	config  CredentialConfig
	slots   [len(credentialKinds)]*slot // nil: not from the app's source
	ctx     context.Context             // ends with the last holder
	stop    context.CancelFunc
	keepers sync.WaitGroup
}

// Open returns the credentials of an app; nothing is fetched before somebody
// wants one. The caller gives them back with CloseApp. Where the app is open with
// other settings, what it has is taken over, if it is of the same account and
// source, and its source is asked anew. Errors say which setting can't be.
func (c *Credentials) Open(config CredentialConfig) (*AppCredentials, error) {
	config.Base = strings.TrimSuffix(config.Base, "/")
	config.Keys = maps.Clone(config.Keys)
	if err := c.check(&config); err != nil {
		return nil, fmt.Errorf("credentials of app %s: %w", config.App, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("credentials of app %s: %w", config.App, errCredentialsClosed)
	}
	list := c.apps[config.App]
	if i := slices.IndexFunc(list, func(o *openedApp) bool { return o.app.config.equal(&config) }); i >= 0 {
		o := list[i]
		o.holders++
		c.apps[config.App] = append(slices.Delete(list, i, i+1), o)
		return o.app, nil
	}
	a := c.newApp(config)
	if len(list) > 0 {
		a.succeed(list[len(list)-1].app)
	}
	c.apps[config.App] = append(list, &openedApp{app: a, holders: 1})
	return a, nil
}

// CloseApp gives back what Open returned, once for each time. With the last one
// what runs for it ends; it is waited for.
func (c *Credentials) CloseApp(a *AppCredentials) {
	if c.release(a) {
		a.shut()
	}
}

// release takes a holder away; true: it was the last one.
func (c *Credentials) release(a *AppCredentials) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.apps[a.config.App]
	i := slices.IndexFunc(list, func(o *openedApp) bool { return o.app == a })
	if i < 0 {
		return false
	}
	if list[i].holders--; list[i].holders > 0 {
		return false
	}
	if list = slices.Delete(list, i, i+1); len(list) > 0 {
		c.apps[a.config.App] = list
	} else {
		delete(c.apps, a.config.App)
	}
	return true
}

// check says what can't be.
func (c *Credentials) check(config *CredentialConfig) error {
	switch config.Source {
	case FromWeChat:
		at, err := url.Parse(config.Base)
		if err != nil || at.Hostname() == "" || at.Scheme != "http" && at.Scheme != "https" || at.RawQuery != "" || at.Fragment != "" {
			return errors.New("api_base is no address of WeChat's API")
		}
		if config.AppID == "" || config.Secret == "" {
			return errors.New("app_id and app_secret are needed to fetch them")
		}
	case FromHTTP:
		if config.Service == nil {
			return errors.New("the service that has them is not given")
		}
	case FromRedis:
		if c.options.Foreign == nil {
			return errors.New("they are to be read from Redis, and the store is none")
		}
		for kind := range config.Keys {
			if kind.index() < 0 {
				return fmt.Errorf("there is no kind %q of credential", kind)
			}
		}
	default:
		return fmt.Errorf("there is no source %q of credentials", config.Source)
	}
	return nil
}

// newApp makes what is open, with nothing fetched.
func (c *Credentials) newApp(config CredentialConfig) *AppCredentials {
	a := &AppCredentials{host: c, config: config}
	a.ctx, a.stop = context.WithCancel(c.ctx)
	for i, kind := range credentialKinds {
		source := newTokenSource(a, kind)
		if source == nil {
			continue
		}
		a.slots[i] = &slot{
			app: a, kind: kind, source: source, store: c.options.Store, key: slotKey(&config, kind),
			log:      c.options.Logger.With(slog.String("app", config.App), slog.String("kind", string(kind))),
			settings: settingsMark(c.sealer, &config), counts: new(slotCounts), kick: make(chan struct{}, 1),
		}
	}
	return a
}

// slotKey is where the hosts share a credential: its app, account, source and
// kind. None of them is secret. At most store.MaxName bytes.
func slotKey(c *CredentialConfig, kind CredentialKind) string {
	from := c.AppID
	switch {
	case c.Source != FromWeChat: // the account stays: what serves another one under this name is not its
		from += "/" + c.ServiceName
	case c.Plain:
		from += "/plain"
	}
	key := strings.Join([]string{"credential", c.App, string(c.Source), from, string(kind)}, "/")
	if len(key) > store.MaxName {
		sum := sha256.Sum256([]byte(key))
		key = "credential/" + hex.EncodeToString(sum[:])
	}
	return key
}

// succeed takes over what older has for the same account and source, and its
// counts.
func (a *AppCredentials) succeed(older *AppCredentials) {
	for i, s := range a.slots {
		before := older.slots[i]
		if s == nil || before == nil {
			continue
		}
		s.counts = before.counts
		if h := before.current.Load(); h != nil && before.key == s.key && a.config.Source != FromRedis {
			s.current.Store(h)
			s.mu.Lock()
			s.start()
			s.mu.Unlock()
		}
	}
}

// shut ends the keepers and waits for them.
func (a *AppCredentials) shut() {
	for _, s := range a.slots {
		if s != nil {
			s.end()
		}
	}
	a.stop()
	a.keepers.Wait()
}

// slot is that of a kind.
func (a *AppCredentials) slot(kind CredentialKind) (*slot, error) {
	if i := kind.index(); i >= 0 && a.slots[i] != nil {
		return a.slots[i], nil
	}
	return nil, &CredentialError{App: a.config.App, Kind: kind, cause: errUnknownKind}
}

// Get returns the credential from memory. Where there is no valid one it waits
// until one is fetched, or an attempt has failed and the next is more than a few
// seconds away, or ctx ends. Errors: ctx's, wrapped, or a *CredentialError.
func (a *AppCredentials) Get(ctx context.Context, kind CredentialKind) (Credential, error) {
	s, err := a.slot(kind)
	if err != nil {
		return Credential{}, err
	}
	return s.get(ctx)
}

// Held returns the credential in memory; false: there is no valid one.
func (a *AppCredentials) Held(kind CredentialKind) (Credential, bool) {
	s, err := a.slot(kind)
	if err != nil {
		return Credential{}, false
	}
	h := s.usable("")
	if h == nil {
		return Credential{}, false
	}
	return h.Credential, true
}

// Refused is told that WeChat refused value (40001, 40014, 42001), and returns
// another credential: the one that has taken its place, or one that is fetched
// now, as Get does. Replacements are rationed over all hosts. Until there is
// another one, Get returns value while it is not expired.
func (a *AppCredentials) Refused(ctx context.Context, kind CredentialKind, value string) (Credential, error) {
	s, err := a.slot(kind)
	if err != nil {
		return Credential{}, err
	}
	return s.refused(ctx, value)
}

// Token is Get of the access_token.
func (a *AppCredentials) Token(ctx context.Context) (string, error) {
	c, err := a.Get(ctx, AccessToken)
	return c.Value, err
}

// Renew is Refused of the access_token.
func (a *AppCredentials) Renew(ctx context.Context, refused string) (string, error) {
	c, err := a.Refused(ctx, AccessToken, refused)
	return c.Value, err
}

// equal tells whether two apps of one host have the same settings.
func (c *CredentialConfig) equal(o *CredentialConfig) bool {
	return c.App == o.App && c.Source == o.Source && c.AppID == o.AppID && c.Secret == o.Secret && c.Base == o.Base &&
		c.Plain == o.Plain && c.Service == o.Service && c.ServiceName == o.ServiceName && maps.Equal(c.Keys, o.Keys)
}
