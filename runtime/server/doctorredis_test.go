package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store/redis"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// onRedis are sections for a store on Redis, with more keys of store.redis.
func onRedis(apps, more string, addrs ...string) string {
	return fmt.Sprintf("apps:\n%sstore: { redis: { addrs: [ %s ]%s } }\n", apps, `"`+strings.Join(addrs, `", "`)+`"`, more)
}

// lookWithKey is look with a server.key, which a store on Redis needs.
func (c *clinic) lookWithKey(t *testing.T, sections string) []Finding {
	t.Helper()
	t.Setenv("WEFT_TEST_KEY", strings.Repeat("A", 43)+"=")
	file := writeConfig(t, sections+clinicPipeline)
	replaceIn(t, file, "drain: 5s", `drain: 5s, key: "${WEFT_TEST_KEY}"`)
	return c.lookAt(t, file, DoctorOptions{})
}

func TestDoctorRedis(t *testing.T) {
	c := newClinic(t)
	shop := c.app("shop", testSecret, "")
	look := func(t *testing.T, more string, addrs ...string) []Finding {
		return c.lookWithKey(t, onRedis(shop, more, addrs...))
	}
	t.Run("fine", func(t *testing.T) {
		n := redistest.Start(t)
		found := look(t, "", n.Addr)
		finding(t, found, "", "redis").holds(t, FindingFine, n.Addr, "version")
		finding(t, found, "", "appendfsync").holds(t, FindingFine, "loses nothing")
		finding(t, found, "", "replicas").holds(t, FindingInfo, "no replica")
		finding(t, found, "", "eviction").holds(t, FindingFine)
		if size := n.Do("dbsize"); size != "0" {
			t.Errorf("%s keys were written", size)
		}
		n.Kill()
		finding(t, look(t, "", n.Addr), "", "redis").holds(t, FindingWrong, "refused", "store.redis")
	})
	t.Run("loses", func(t *testing.T) {
		n := redistest.Start(t, "--appendfsync", "everysec", "--maxmemory-policy", "volatile-lru", "--requirepass", "r3disPassword")
		found := look(t, `, password: "r3disPassword"`, n.Addr)
		finding(t, found, "", "appendfsync").holds(t, FindingWarning, "up to a second", "appendfsync always")
		finding(t, found, "", "eviction").holds(t, FindingWrong, "volatile-lru", "noeviction")
		finding(t, look(t, `, password: "wr0ngSecret"`, n.Addr), "", "redis").holds(t, FindingWrong, "refuses", "username and password")
		finding(t, look(t, "", n.Addr), "", "redis").holds(t, FindingWrong, "refuses")
	})
	t.Run("keeps nothing", func(t *testing.T) {
		n := redistest.Start(t, "--appendonly", "no")
		finding(t, look(t, "", n.Addr), "", "appendfsync").holds(t, FindingWarning, "no append-only file")
	})
	t.Run("Sentinels", func(t *testing.T) {
		s := redistest.StartSentinels(t, 1, "--appendfsync", "everysec")
		found := look(t, ", mode: sentinel, master: main", s.Addrs...)
		finding(t, found, "", "sentinels").holds(t, FindingFine, "3 Sentinels")
		finding(t, found, "", "replicas").holds(t, FindingFine, "1 replicas")
		finding(t, found, "", "appendfsync").holds(t, FindingFine, "a replica has each write")
		finding(t, look(t, "", s.Nodes[1].Addr), "", "redis").holds(t, FindingWrong, "is a replica", "mode: sentinel")
		s.Guards[0].Kill()
		finding(t, look(t, ", mode: sentinel, master: main", s.Addrs...), "", "sentinels").holds(t, FindingWarning, s.Addrs[0])
		all := look(t, ", mode: sentinel, master: other", s.Addrs...)
		if !slices.ContainsFunc(all, func(f Finding) bool { return f.Check == "sentinels" && f.State == FindingWrong }) {
			t.Errorf("a primary that no Sentinel knows: %+v", all)
		}
	})
}

// TestDoctorServers: what no server of a test can be made to say.
func TestDoctorServers(t *testing.T) {
	good := redis.Server{Addr: "10.0.0.1:6379", Role: "master", Version: "7.2.4", AOF: true, Fsync: "always", Eviction: "noeviction"}
	for name, c := range map[string]struct {
		sick  func(*redis.Server)
		check string
		state FindingState
		part  string
	}{
		"old":              {func(s *redis.Server) { s.Version = "6.2.1" }, "redis", FindingWrong, "Redis 7 or newer"},
		"ten":              {func(s *redis.Server) { s.Version = "10.0.0" }, "redis", FindingFine, "10.0.0"},
		"of no version":    {func(s *redis.Server) { s.Version = "" }, "redis", FindingWrong, "unknown"},
		"disk full":        {func(s *redis.Server) { s.AOFFails = true }, "appendfsync", FindingWrong, "disk"},
		"no sync":          {func(s *redis.Server) { s.Fsync = "no" }, "appendfsync", FindingWarning, "half a minute"},
		"rented":           {func(s *redis.Server) { s.Fsync = "" }, "appendfsync", FindingInfo, "isn't told"},
		"behind":           {func(s *redis.Server) { s.Replicas, s.Behind = 1, 1 }, "replicas", FindingWarning, "1 are connected"},
		"alone in cluster": {func(s *redis.Server) { s.Cluster = true }, "replicas", FindingWarning, "Cluster"},
		"an hour ahead":    {func(s *redis.Server) { s.Ahead = time.Hour }, "clock", FindingWarning, "1h0m0s ahead of"},
		"an hour behind":   {func(s *redis.Server) { s.Ahead = -time.Hour }, "clock", FindingWarning, "behind"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			c.sick(&s)
			finding(t, serverFindings(s), "", c.check).holds(t, c.state, c.part)
		})
	}
	broken := good
	broken.Cluster, broken.Broken, broken.Replicas = true, true, 1
	if f := serverFindings(broken); f[len(f)-1].State != FindingWrong {
		t.Errorf("a broken Cluster: %+v", f)
	}
	two := []redis.Guard{{Addr: "a:1", Primary: "x:1"}, {Addr: "b:1", Primary: "y:1"}}
	finding(t, guardFindings(two), "", "sentinels").holds(t, FindingWarning, "different primaries")
}

// TestDoctorFromRedis: a token that another system leaves in Redis is read, and
// used.
func TestDoctorFromRedis(t *testing.T) {
	c := newClinic(t)
	n := redistest.Start(t)
	sections := onRedis(c.app("shop", testSecret, `, credentials: { from: redis, keys: { access_token: "wx:token" } }`), "", n.Addr)
	found := c.lookWithKey(t, sections)
	finding(t, found, "shop", "credentials").holds(t, FindingWrong, "wx:token", "the other system has none")
	finding(t, found, "shop", "clock").holds(t, FindingFine)
	if n := c.wechat.Count(simulator.Where{Path: "/cgi-bin/stable_token"}).Calls; n > 0 {
		t.Errorf("%d tokens were fetched beside the other system", n)
	}
	n.Do("set", "wx:token", "stale-token")
	found = c.lookWithKey(t, sections)
	finding(t, found, "shop", "credentials").holds(t, FindingFine)
	all := slices.DeleteFunc(found, func(f Finding) bool { return f.State != FindingWrong })
	if len(all) != 1 {
		t.Errorf("one token that is refused is told as %+v", all)
	}
	finding(t, all, "shop", "credentials").holds(t, FindingWrong, "refuses the token", "another account's")
	n.Do("set", "wx:token", `{"access_token":"`+c.token(t)+`"}`)
	finding(t, c.lookWithKey(t, sections), "shop", "callback").holds(t, FindingFine)
}

// token fetches a token as the other system does.
func (c *clinic) token(t *testing.T) string {
	t.Helper()
	p := gateway.Probe{Client: http.DefaultClient, Base: c.base}
	token, _, err := p.Token(t.Context(), gateway.CredentialConfig{Source: gateway.FromWeChat, AppID: testAppID, Secret: testSecret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestDoctorFromHTTP: likewise of one that is asked over HTTP.
func TestDoctorFromHTTP(t *testing.T) {
	c := newClinic(t)
	var asked []string
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"value":%q,"expires_in":7000}`, c.token(t))
	}))
	t.Cleanup(srv.Close)
	app := c.app("shop", testSecret, `, credentials: { from: http, upstream: tokens }`)
	sections := func(private string) string {
		return fmt.Sprintf("apps:\n%supstreams: { tokens: { url: %q%s } }\n", app, srv.URL+"/credential/shop?key=wr0ngSecret", private)
	}
	found := c.look(t, sections(", private: [127.0.0.1]"), DoctorOptions{})
	finding(t, found, "shop", "credentials").holds(t, FindingFine, "upstream tokens")
	finding(t, found, "shop", "quota").holds(t, FindingFine)
	if fmt.Sprint(asked) != "[GET /credential/shop/access_token]" {
		t.Errorf("asked %s", asked)
	}
	status = http.StatusForbidden
	finding(t, c.look(t, sections(", private: [127.0.0.1]"), DoctorOptions{}), "shop", "credentials").holds(t, FindingWrong, "403", "headers")
	finding(t, c.look(t, sections(""), DoctorOptions{}), "shop", "credentials").holds(t, FindingWrong, gateway.ErrFenced.Error())
	srv.Close()
	finding(t, c.look(t, sections(", private: [127.0.0.1]"), DoctorOptions{}), "shop", "credentials").holds(t, FindingWrong, "refused")
}

// TestDoctorSlow: who doesn't answer takes no more than the time of a check.
func TestDoctorSlow(t *testing.T) {
	c := newClinic(t)
	c.wechat.Strike(simulator.Fault{Ends: simulator.HangBefore})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	d := &doctor{client: http.DefaultClient}
	app := &config.App{Name: "shop", AppID: testAppID, AppSecret: testSecret, APIBase: c.base, Credentials: config.Credentials{From: config.FromWeChat}}
	finding(t, d.lookAtApp(ctx, app), "", "wechat").holds(t, FindingWrong, "no answer came in time")
}
