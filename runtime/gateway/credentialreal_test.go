package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store/bolt"
	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// realTown is hosts with a real store, over real connections, in real time.
type realTown struct {
	t      *testing.T
	wechat *simulator.WeChat
	log    *lockedBuffer
	apps   []*AppCredentials
}

// realLife is that of a token.
const realLife = 2 * time.Second

// newRealTown makes hosts; store opens that of each.
func newRealTown(t *testing.T, store func(*slog.Logger) CredentialStore) *realTown {
	w := &realTown{t: t, wechat: simulator.New(simulator.Options{}), log: &lockedBuffer{}}
	w.wechat.Set(simulator.App{ID: testAppID, Secret: testAppSecret, Rules: simulator.Rules{Life: realLife, RenewWindow: realLife / 10}})
	server := httptest.NewServer(w.wechat)
	t.Cleanup(func() {
		w.wechat.Close()
		server.Close()
		for _, secret := range append(w.wechat.Issued(), testAppSecret) {
			if strings.Contains(w.log.String(), secret) {
				t.Error("a secret was logged")
			}
		}
	})
	logger := slog.New(slog.NewTextHandler(w.log, nil))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range testHosts {
		c, err := NewCredentials(CredentialOptions{Store: store(logger), Key: testKey(), Client: client, Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		config := testApp()
		config.Base = server.URL
		app, err := c.Open(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseApp(app) })
		w.apps = append(w.apps, app)
	}
	return w
}

// read reads the token on all hosts for a while and returns how many reads there
// were. Each must bring one that WeChat takes.
func (w *realTown) read(during time.Duration) (reads int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, app := range w.apps {
		all.Go(func() {
			n := 0
			for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				n++
				asked := time.Now()
				c, err := app.Get(w.t.Context(), AccessToken)
				if err != nil {
					w.t.Errorf("no credential: %v", err)
					continue
				}
				_, state := w.wechat.TokenState(c.Value)
				if late := time.Now().After(c.Expires); !c.Expires.After(asked) || !state.Works() && !(late && state == simulator.Expired) {
					w.t.Errorf("a token that is %s was given out, good for %v", state, c.Expires.Sub(asked))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			reads += n
		})
	}
	all.Wait()
	return reads
}

// lives is how many lives of a token a test takes.
func lives(short int) int {
	if os.Getenv("WEFT_BARS") != "" {
		return 50
	}
	return short
}

func redisOf(t *testing.T, node *redistest.Node) func(*slog.Logger) CredentialStore {
	return func(logger *slog.Logger) CredentialStore {
		s, err := redis.Open(t.Context(), redis.Options{Addrs: []string{node.Addr}, Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
}

// Eight users of one real store, and one fetch for each expiry.
func TestOneFetchPerExpiryForReal(t *testing.T) {
	for name, open := range map[string]func(*testing.T) func(*slog.Logger) CredentialStore{
		"redis": func(t *testing.T) func(*slog.Logger) CredentialStore { return redisOf(t, redistest.Start(t)) },
		"bolt": func(t *testing.T) func(*slog.Logger) CredentialStore {
			s, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return func(*slog.Logger) CredentialStore { return s }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRealTown(t, open(t))
			during := time.Duration(lives(3)) * realLife
			reads := w.read(during)
			fetches := w.wechat.Fetches(testAppID, simulator.StableToken)
			for _, f := range fetches {
				if !f.New || f.Outcome != "ok" {
					t.Errorf("a call that gave no new token: %+v", f)
				}
			}
			if least, most := int(during/realLife), int(during/(realLife*9/10))+2; len(fetches) < least || len(fetches) > most {
				t.Errorf("%d calls in %v, want %d to %d", len(fetches), during, least, most)
			}
			t.Logf("%d calls, each for a new token, %d reads", len(fetches), reads)
		})
	}
}

// Redis is stopped for many lives of a token, WeChat is busy to 30 % and cuts 10 %
// of the calls: no read fails.
func TestRedisStoppedForReal(t *testing.T) {
	node := redistest.Start(t)
	w := newRealTown(t, redisOf(t, node))
	w.wechat.Strike(simulator.Fault{Share: 0.3, Errcode: -1})
	w.wechat.Strike(simulator.Fault{Share: 0.05, Ends: simulator.CutBefore})
	w.wechat.Strike(simulator.Fault{Share: 0.05, Ends: simulator.CutAfter})
	away := time.Duration(lives(10)) * realLife / 5 // 20 s, or 4
	var all sync.WaitGroup
	var reads int
	all.Go(func() { reads = w.read(2*realLife + 2*away) })
	time.Sleep(realLife)
	node.Stop()
	time.Sleep(away)
	node.Restart()
	all.Wait()
	calls, tokens := 0, 0
	for _, f := range w.wechat.Fetches(testAppID, simulator.StableToken) {
		calls++
		if f.New {
			tokens++
		}
	}
	if most := int((2*realLife+2*away)/(realLife*9/10)) + 2; tokens > most {
		t.Errorf("%d tokens, want %d at most", tokens, most)
	}
	t.Logf("%d calls, %d tokens, %d reads", calls, tokens, reads)
}
