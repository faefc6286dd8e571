package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// clinic is a fake WeChat with one app, for Doctor to look at.
type clinic struct {
	wechat *simulator.WeChat
	base   string
	date   func(http.Header) // sets the answers' Date; nil: it is right
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	c := &clinic{wechat: simulator.New(simulator.Options{})}
	c.wechat.Set(simulator.App{ID: testAppID, Secret: testSecret})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.date != nil {
			c.date(w.Header())
		}
		c.wechat.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { c.wechat.Close(); srv.Close() })
	c.base = srv.URL
	return c
}

// app is the app's entry in pipeline.yaml, with more keys.
func (c *clinic) app(name, secret, more string) string {
	return fmt.Sprintf("  %s: { type: official, app_id: %s, token: %s, mode: plain, app_secret: %q, api_base: %q%s }\n", name, testAppID, testToken, secret, c.base, more)
}

const clinicPipeline = "pipeline: { stages: [ { reply: { text: hello } } ] }\n"

// look is Doctor on a configuration. No token and no secret may be in what it
// finds, nor may it have had WeChat void a token.
func (c *clinic) look(t *testing.T, sections string, opt DoctorOptions) []Finding {
	t.Helper()
	return c.lookAt(t, writeConfig(t, sections+clinicPipeline), opt)
}

func (c *clinic) lookAt(t *testing.T, file string, opt DoctorOptions) []Finding {
	t.Helper()
	plain := len(c.wechat.Fetches(testAppID, simulator.PlainToken))
	found, err := Doctor(t.Context(), file, opt)
	if err != nil {
		t.Fatal(err)
	}
	all, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range append(c.wechat.Issued(), testSecret, "wr0ngSecret", "r3disPassword", testToken) {
		if strings.Contains(string(all), secret) {
			t.Errorf("%q is in %s", secret, all)
		}
	}
	for _, f := range c.wechat.Fetches(testAppID, simulator.StableToken) {
		if f.Forced {
			t.Error("another token was forced")
		}
	}
	if n := len(c.wechat.Fetches(testAppID, simulator.PlainToken)) - plain; n > 0 {
		t.Errorf("%d plain tokens were fetched", n)
	}
	return found
}

// finding is the first of an app's check; app "": of what all share.
func finding(t *testing.T, found []Finding, app, check string) Finding {
	t.Helper()
	for _, f := range found {
		if f.App == app && f.Check == check {
			return f
		}
	}
	t.Fatalf("no %s of %q in %+v", check, app, found)
	return Finding{}
}

// holds says what is wrong with a finding.
func (f Finding) holds(t *testing.T, state FindingState, parts ...string) {
	t.Helper()
	if f.State != state {
		t.Errorf("%s is %s, want %s: %s", f.Check, f.State, state, f.Text)
	}
	for _, part := range parts {
		if !strings.Contains(f.Text+"\n"+f.Advice, part) {
			t.Errorf("%s: there is no %q in %q, %q", f.Check, part, f.Text, f.Advice)
		}
	}
}

func TestDoctor(t *testing.T) {
	c := newClinic(t)
	found := c.look(t, "apps:\n"+c.app("shop", testSecret, "")+"  bare: { type: official, app_id: wx1, token: "+testToken+", mode: plain }\n", DoctorOptions{})
	for _, check := range []string{"secret", "address", "callback", "quota", "clock"} {
		finding(t, found, "shop", check).holds(t, FindingFine)
	}
	finding(t, found, "shop", "quota").holds(t, FindingFine, "/cgi-bin/stable_token 9999999 of 10000000", "/cgi-bin/user/info")
	ips := finding(t, found, "shop", "callback_ip")
	ips.holds(t, FindingInfo, "192.0.2.1")
	if fmt.Sprint(ips.Addresses) != "[127.0.0.1 192.0.2.1 198.51.100.0/25]" {
		t.Errorf("addresses %v", ips.Addresses)
	}
	finding(t, found, "bare", "secret").holds(t, FindingLeftOut, "no app_secret")
	finding(t, found, "", "store").holds(t, FindingLeftOut)
	finding(t, found, "", "host").holds(t, FindingLeftOut)
	if last := found[len(found)-1]; last.App != "bare" {
		t.Errorf("the last finding is of %q", last.App)
	}
	for _, f := range c.look(t, "apps:\n"+c.app("shop", testSecret, "")+c.app("club", testSecret, ""), DoctorOptions{App: "club"}) {
		if f.App == "shop" {
			t.Error("another app was looked at")
		}
	}
	if _, err := Doctor(t.Context(), writeConfig(t, "apps:\n"+c.app("shop", testSecret, "")+clinicPipeline), DoctorOptions{App: "nope"}); err == nil {
		t.Error("an app that isn't there was looked at")
	}
}

// TestDoctorWrong: what WeChat refuses is told as what to change, and where.
func TestDoctorWrong(t *testing.T) {
	for name, c := range map[string]struct {
		secret string
		sick   func(*clinic)
		check  string
		state  FindingState
		parts  []string
		code   int
	}{
		"secret": {"wr0ngSecret", func(*clinic) {}, "secret", FindingWrong, []string{"app_secret is not", "pipeline.yaml:4:3: apps.shop.app_secret"}, 40125},
		"unknown app": {
			testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Errcode: 40013}) },
			"secret", FindingWrong,
			[]string{"apps.shop.app_id"},
			40013,
		},
		"frozen": {testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Errcode: 40243}) }, "secret", FindingWrong, []string{"frozen"}, 40243},
		"address": {
			testSecret, func(c *clinic) {
				c.wechat.Set(simulator.App{ID: testAppID, Secret: testSecret, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
			},
			"address", FindingWrong,
			[]string{"add 127.0.0.1 to it"},
			40164,
		},
		"address, garbled": {
			testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Errcode: 40164, Errmsg: "invalid ip \x1b[2J"}) },
			"address", FindingWrong,
			[]string{"this machine's address is not on"},
			40164,
		},
		"address to be confirmed": {testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Errcode: 89503}) }, "address", FindingWrong, []string{"administrator"}, 89503},
		"busy":                    {testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Errcode: -1}) }, "wechat", FindingWarning, []string{"busy"}, -1},
		"token quota": {
			testSecret, func(c *clinic) {
				c.wechat.SetQuota(simulator.Where{Path: "/cgi-bin/stable_token"}, simulator.Quota{Daily: -1})
			},
			"quota", FindingWrong,
			[]string{"quota is used up"},
			45009,
		},
		"unknown code": {testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Errcode: 12345}) }, "secret", FindingWrong, []string{"12345"}, 12345},
		"away":         {testSecret, func(c *clinic) { c.wechat.SetDown(true) }, "wechat", FindingWrong, []string{"api_base"}, 0},
		"garbage":      {testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Ends: simulator.Garbage}) }, "wechat", FindingWrong, []string{"can't be used"}, 0},
		"bad gateway":  {testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Ends: simulator.BadGateway}) }, "wechat", FindingWrong, []string{"502"}, 0},
		"huge":         {testSecret, func(c *clinic) { c.wechat.Strike(simulator.Fault{Ends: simulator.Huge, Size: 1 << 20}) }, "wechat", FindingWrong, []string{"can't be used"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			clinic := newClinic(t)
			c.sick(clinic)
			found := clinic.look(t, "apps:\n"+clinic.app("shop", c.secret, ""), DoctorOptions{})
			f := finding(t, found, "shop", c.check)
			f.holds(t, c.state, c.parts...)
			switch {
			case c.code == 0 && f.Errcode != nil, c.code != 0 && (f.Errcode == nil || f.Errcode.Code != c.code || f.Errcode.Meaning == "" || f.Errcode.MeaningZH == ""):
				t.Errorf("errcode %+v", f.Errcode)
			}
			if n := clinic.wechat.Count(simulator.Where{}).Calls; n > 2 { // a GET may be sent again
				t.Errorf("%d calls were made without a token", n)
			}
		})
	}
}

// TestDoctorCalls: what calls with a token find.
func TestDoctorCalls(t *testing.T) {
	const check, ips, quota = "/cgi-bin/callback/check", "/cgi-bin/getcallbackip", "/cgi-bin/openapi/quota/get"
	says := func(path, body string) func(*clinic) {
		return func(c *clinic) { c.wechat.SetAnswer(simulator.Where{Path: path}, simulator.Answer{Body: []byte(body)}) }
	}
	strikes := func(path string, code int) func(*clinic) {
		return func(c *clinic) { c.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: path}, Errcode: code}) }
	}
	for name, c := range map[string]struct {
		sick  func(*clinic)
		check string
		state FindingState
		parts []string
	}{
		"no name":          {says(check, `{"dns":[],"ping":[]}`), "callback", FindingWrong, []string{"DNS"}},
		"hostile name":     {says(check, `{"dns":[{"ip":"\u001b[2J"}]}`), "callback", FindingWrong, nil},
		"pings lost":       {says(check, `{"dns":[{"ip":"192.0.2.10"}],"ping":[{"ip":"192.0.2.10","package_loss":"100%"}]}`), "callback", FindingWarning, []string{"192.0.2.10", "firewall"}},
		"another form":     {says(check, `{"dns":7}`), "callback", FindingWarning, []string{"can't be used"}},
		"no callback set":  {strikes(check, 40201), "callback", FindingWarning, []string{"/wx/shop", "console"}},
		"not allowed":      {strikes(check, 48001), "callback", FindingWarning, []string{"permission"}},
		"token refused":    {strikes(check, 40001), "credentials", FindingWrong, []string{"something beside this host"}},
		"addresses":        {says(ips, `{"ip_list":["nonsense","10.0.0.1","10.0.0.1","fe80::1%25eth0"]}`), "callback_ip", FindingInfo, []string{"10.0.0.1"}},
		"no addresses":     {says(ips, `{}`), "callback_ip", FindingInfo, []string{"doesn't say"}},
		"quota of nothing": {says(quota, `{"errcode":0}`), "quota", FindingWarning, []string{"can't be used"}},
		"5 of 100":         {says(quota, `{"quota":{"daily_limit":100,"used":95,"remain":5}}`), "quota", FindingWarning, []string{"5 of 100", "midnight"}},
		"10 of 100":        {says(quota, `{"quota":{"daily_limit":100,"used":90,"remain":10}}`), "quota", FindingFine, []string{"10 of 100"}},
		"0 of 100":         {says(quota, `{"quota":{"daily_limit":100,"used":100,"remain":0}}`), "quota", FindingWrong, []string{"0 of 100"}},
		"quota refused":    {strikes(quota, 48001), "quota", FindingWarning, []string{"permission"}},
	} {
		t.Run(name, func(t *testing.T) {
			clinic := newClinic(t)
			c.sick(clinic)
			finding(t, clinic.look(t, "apps:\n"+clinic.app("shop", testSecret, ""), DoctorOptions{}), "shop", c.check).holds(t, c.state, c.parts...)
		})
	}
}

// TestDoctorQuotaPaths: the paths that an app limits are asked for, each once.
func TestDoctorQuotaPaths(t *testing.T) {
	c := newClinic(t)
	limits := `, api: { rate: { "/cgi-bin/**": 5/s }, daily: { "GET /cgi-bin/user/get": 10, "/cgi-bin/user/*": 10, "POST /cgi-bin/message/custom/send": 5 } }`
	c.look(t, "apps:\n"+c.app("shop", testSecret, limits), DoctorOptions{})
	var asked []string
	for _, call := range c.wechat.Received(simulator.Where{Path: "/cgi-bin/openapi/quota/get"}) {
		asked = append(asked, string(call.Body))
	}
	want := `[{"cgi_path":"/cgi-bin/stable_token"} {"cgi_path":"/cgi-bin/user/get"} {"cgi_path":"/cgi-bin/message/custom/send"}` +
		` {"cgi_path":"/cgi-bin/message/template/send"} {"cgi_path":"/cgi-bin/user/info"}]`
	if fmt.Sprint(asked) != want {
		t.Errorf("got  %s\nwant %s", asked, want)
	}
}

func TestDoctorClock(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration // of this machine
		state FindingState
		parts []string
	}{
		"right":            {0, FindingFine, nil},
		"a little behind":  {-20 * time.Second, FindingFine, nil},
		"a minute ahead":   {time.Minute, FindingWarning, []string{"ahead of WeChat's", "NTP"}},
		"a minute behind":  {-time.Minute, FindingWarning, []string{"behind WeChat's"}},
		"an hour ahead":    {time.Hour, FindingWrong, []string{"max_skew, 10m0s"}},
		"an epoch, behind": {-24 * 365 * time.Hour, FindingWrong, []string{"behind"}},
	} {
		t.Run(name, func(t *testing.T) {
			clinic := newClinic(t)
			clinic.date = func(h http.Header) { h.Set("Date", time.Now().Add(-c.ahead).UTC().Format(http.TimeFormat)) }
			// A secret that is wrong doesn't keep the clock from being told.
			finding(t, clinic.look(t, "apps:\n"+clinic.app("shop", "wr0ngSecret", ""), DoctorOptions{}), "shop", "clock").holds(t, c.state, c.parts...)
		})
	}
	clinic := newClinic(t)
	clinic.date = func(h http.Header) { h.Set("Date", "\x1b[2Jyesterday") }
	for _, f := range clinic.look(t, "apps:\n"+clinic.app("shop", testSecret, ""), DoctorOptions{}) {
		if f.Check == "clock" {
			t.Errorf("a clock was read from nonsense: %+v", f)
		}
	}
}

// TestDoctorPlain: of an app whose fetches void the token in use none is fetched;
// the running host is asked.
func TestDoctorPlain(t *testing.T) {
	c := newClinic(t)
	sections := "apps:\n" + c.app("shop", testSecret, ", credentials: { plain: true }") + "callers:\n" + keyLine("crm", crmKey) + ", apps: [shop], paths: [\"/cgi-bin/user/*\"] }\n"
	found := c.look(t, sections, DoctorOptions{})
	finding(t, found, "shop", "secret").holds(t, FindingLeftOut, "void the one in use", "--admin")
	finding(t, found, "shop", "wechat").holds(t, FindingFine)
	finding(t, found, "shop", "clock").holds(t, FindingFine)

	host := startHost(t, writeConfig(t, sections+clinicPipeline))
	opt := DoctorOptions{Admin: "http://" + host.admin.addr()}
	found = c.look(t, sections, opt)
	finding(t, found, "", "host").holds(t, FindingFine, host.admin.addr())
	finding(t, found, "shop", "secret").holds(t, FindingLeftOut, "hasn't called WeChat")

	g := &gatewayTown{testHost: host, wechat: c.wechat}
	c.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/cgi-bin/token"}, Errcode: 40125})
	g.call(t, "GET", "/api/shop/cgi-bin/user/get", crmKey, "")
	found = c.look(t, sections, opt)
	f := finding(t, found, "shop", "secret")
	f.holds(t, FindingWrong, "the running host has no token", "app_secret")
	if f.Errcode == nil || f.Errcode.Code != 40125 {
		t.Errorf("errcode %+v", f.Errcode)
	}
}

// TestDoctorHost: a host that refuses, and one that is no Weft, are left out.
func TestDoctorHost(t *testing.T) {
	c := newClinic(t)
	sections := "apps:\n" + c.app("shop", testSecret, "")
	for name, answer := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"no Weft": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
	} {
		srv := httptest.NewServer(answer)
		f := finding(t, c.look(t, sections, DoctorOptions{Admin: srv.URL, AdminToken: "adm1nToken"}), "", "host")
		f.holds(t, FindingLeftOut)
		if strings.Contains(f.Text, "adm1nToken") {
			t.Errorf("%s: %s", name, f.Text)
		}
		srv.Close()
	}
}

// ending is a connection whose certificate ends then.
func ending(end time.Time) *tls.ConnectionState {
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{NotAfter: end}}}
}

// TestDoctorPublic: the host's own public address, with a certificate or without.
func TestDoctorPublic(t *testing.T) {
	c := newClinic(t)
	sick := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(sick.Close)
	look := func(base string) Finding {
		file := writeConfig(t, "apps:\n"+c.app("shop", testSecret, "")+clinicPipeline)
		replaceIn(t, file, "drain: 5s", fmt.Sprintf("drain: 5s, public: %q", base))
		found, err := Doctor(t.Context(), file, DoctorOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return finding(t, found, "", "public")
	}
	host := startHost(t, writeConfig(t, echoSections()))
	look(host.url("")).holds(t, FindingFine, "leads to a host")
	look(sick.URL).holds(t, FindingWrong, "certificate", "the whole chain")
	look(c.base).holds(t, FindingWarning, "no host of ours")
	missing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(missing.Close)
	look(missing.URL).holds(t, FindingWarning, "status 404")
	gone := httptest.NewServer(nil)
	gone.Close()
	look(gone.URL).holds(t, FindingWarning, "isn't reached", "from outside")

	end := time.Now().Add(24 * time.Hour)
	if f := certificateEnds(ending(end), time.Now()); len(f) != 1 || f[0].State != FindingWarning {
		t.Errorf("a certificate that ends tomorrow: %+v", f)
	}
	if f := certificateEnds(ending(end), end.Add(-doctorCert-time.Hour)); len(f) != 0 {
		t.Errorf("one that ends later: %+v", f)
	}
}

// TestDoctorIncluded: an included file that is wrong is told, and the others' apps
// are looked at.
func TestDoctorIncluded(t *testing.T) {
	c := newClinic(t)
	file := writeUnits(t, "include: [ \"apps/*.yaml\" ]\napps:\n"+c.app("shop", testSecret, "")+clinicPipeline, map[string]string{"apps/bad.yaml": "weft: 1\napps: { club: 7 }\n"})
	found, err := Doctor(t.Context(), file, DoctorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	finding(t, found, "", "configuration").holds(t, FindingWrong, "bad.yaml", "weft check")
	finding(t, found, "shop", "secret").holds(t, FindingFine)
}
