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
)

// With a real store, over real connections, in real time: eight users of one
// store, tokens of 2 s, and one fetch for each expiry.
func TestOneFetchPerExpiryForReal(t *testing.T) {
	const life = 2 * time.Second
	during := 3 * life
	if os.Getenv("WEFT_BARS") != "" {
		during = 50 * life
	}
	wechat := simulator.New(simulator.Options{})
	wechat.Set(simulator.App{ID: testAppID, Secret: testAppSecret, Rules: simulator.Rules{Life: life, RenewWindow: life / 10}})
	server := httptest.NewServer(wechat)
	defer server.Close()
	defer wechat.Close()
	log := &logText{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	shared, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir(), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shared.Close() }()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var all sync.WaitGroup
	for range testHosts {
		c, err := NewCredentials(CredentialOptions{Store: shared, Key: testKey(), Client: client, Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		config := testApp()
		config.Base = server.URL
		app, err := c.Open(config)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseApp(app)
		all.Go(func() {
			for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				asked := time.Now()
				c, err := app.Get(t.Context(), AccessToken)
				if err != nil {
					t.Errorf("no credential: %v", err)
					continue
				}
				_, state := wechat.TokenState(c.Value)
				if late := time.Now().After(c.Expires); !c.Expires.After(asked) || !state.Works() && !(late && state == simulator.Expired) {
					t.Errorf("a token that is %s was given out, good for %v", state, c.Expires.Sub(asked))
				}
			}
		})
	}
	all.Wait()
	fetches := wechat.Fetches(testAppID, simulator.StableToken)
	for _, f := range fetches {
		if !f.New || f.Outcome != "ok" {
			t.Errorf("a call that gave no new token: %+v", f)
		}
	}
	if least, most := int(during/life), int(during/(life*9/10))+2; len(fetches) < least || len(fetches) > most {
		t.Errorf("%d calls in %v, want %d to %d", len(fetches), during, least, most)
	}
	t.Logf("%d calls, each for a new token", len(fetches))
	for _, secret := range append(wechat.Issued(), testAppSecret) {
		if strings.Contains(log.String(), secret) {
			t.Error("a secret was logged")
		}
	}
}
