package server

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

const (
	miniUser  = "oMiniUser-0123456789"
	miniPhone = "13812345678"

	// miniSecret names the mini program's app_secret in the environment: what is in
	// the file is kept in the data folder.
	miniSecret = "WEFT_TEST_SECRET"
)

// miniTown is a host with a mini program, before a fake WeChat and a service that
// gets the events.
type miniTown struct {
	*gatewayTown
	events chan hostapi.Event
	told   string // all that was answered
	data   string // a folder that is searched, too; "": none
}

// miniSections are a mini program, an official account, and a pipeline that
// forwards what the host itself has to tell. more is of the mini program.
func miniSections(base, service, more string) string {
	return "apps:\n" +
		"  mini: { type: miniprogram, app_id: " + testAppID + ", token: " + testToken + ", mode: plain, app_secret: \"${WEFT_TEST_SECRET}\", api_base: \"" + base + "\"" + more + " }\n" +
		"  bare: { type: miniprogram, app_id: wx1111111111111111, token: " + testToken + ", mode: plain }\n" +
		"  shop: { type: official, app_id: wx2222222222222222, token: " + testToken + ", mode: plain, app_secret: s2 }\n" +
		"upstreams: { crm: { url: \"" + service + "\", private: [\"127.0.0.0/8\"], secret: s3 } }\n" +
		"pipeline: { stages: [ { forward: { to: crm, as: json }, when: 'event in [\"login\", \"phone\"] && origin == \"identity\"' } ] }\n"
}

func newMiniTown(t *testing.T, more string) *miniTown {
	t.Helper()
	t.Setenv(miniSecret, testSecret)
	m := &miniTown{events: make(chan hostapi.Event, 64)}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ev hostapi.Event
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(bytes.ReplaceAll(body, []byte("app_"), []byte("app")), &ev) != nil {
			t.Errorf("%v: the service got %s", err, body)
		}
		m.events <- ev
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(service.Close)
	m.gatewayTown = newTown(t, func(base string) string { return miniSections(base, service.URL, more) })
	m.wechat.SetUser(testAppID, simulator.User{OpenID: miniUser, UnionID: "uMiniUser", Phone: miniPhone})
	return m
}

func (m *miniTown) code(kind simulator.CodeKind) string {
	return m.wechat.NewCode(testAppID, kind, miniUser, "")
}

// post sends a request of the mini program, and wants a status and, of an error,
// its code.
func (m *miniTown) post(t *testing.T, path, token, body string, status int, code string) string {
	t.Helper()
	resp, answer := m.call(t, http.MethodPost, path, token, body)
	m.told += fmt.Sprint(resp.Header) + answer
	if resp.StatusCode != status || codeOf(answer) != code {
		t.Errorf("%s: %d %s, want %d %s", path, resp.StatusCode, answer, status, code)
	}
	if status < 400 && resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: may be kept: %v", path, resp.Header)
	}
	return answer
}

// miniTokens is the answer of a login.
type miniTokens struct {
	Token        string
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int64  `json:"expires_in"`
	NewUser      *bool  `json:"new_user"`
}

func readTokens(t *testing.T, answer string) (got miniTokens) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer), &got); err != nil || got.Token == "" || got.RefreshToken == "" {
		t.Fatalf("no session: %v", err)
	}
	return got
}

func (m *miniTown) login(t *testing.T) miniTokens {
	t.Helper()
	return readTokens(t, m.post(t, "/mp/mini/login", "", `{"code":"`+m.code(simulator.LoginCode)+`"}`, http.StatusOK, ""))
}

// event waits for the next event at the service.
func (m *miniTown) event(t *testing.T) hostapi.Event {
	t.Helper()
	select {
	case ev := <-m.events:
		return ev
	case <-time.After(10 * time.Second):
		t.Fatal("no event came in 10 s")
		return hostapi.Event{}
	}
}

// encrypted is a body with data that is sealed with the user's session_key.
func (m *miniTown) encrypted(t *testing.T, fields string, at time.Time) map[string]string {
	t.Helper()
	sessionKey := m.wechat.SessionKey(testAppID, miniUser)
	key, err := base64.StdEncoding.DecodeString(sessionKey)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	plain := fmt.Sprintf(`{%s"watermark":{"timestamp":%d,"appid":"%s"}}`, fields, at.Unix(), testAppID)
	n := 16 - len(plain)%16
	text, iv := append([]byte(plain), bytes.Repeat([]byte{byte(n)}, n)...), []byte("0123456789abcdef")
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	raw := `{"nickName":"Band"}`
	sum := sha1.Sum([]byte(raw + sessionKey))
	return map[string]string{
		"encrypted_data": base64.StdEncoding.EncodeToString(text), "iv": base64.StdEncoding.EncodeToString(iv),
		"raw_data": raw, "signature": hex.EncodeToString(sum[:]),
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMini is a mini program's user from the first login to the last: the pipeline
// is told, and nothing secret is told to anybody.
func TestMini(t *testing.T) {
	m := newMiniTown(t, ", oauth: { claims: [openid, unionid], session: 1h }")
	first := m.login(t)
	if first.NewUser == nil || !*first.NewUser || first.ExpiresIn != 3600 {
		t.Errorf("%+v", first)
	}
	want := hostapi.Event{
		App: "mini", AppID: testAppID, AppType: "miniprogram", Type: "event", Event: "login", From: miniUser, User: miniUser, Origin: "identity",
		Attempt: 1, Fields: []hostapi.Field{{Name: "new_user", Value: "true"}, {Name: "unionid", Value: "uMiniUser"}},
	}
	m.wantEvent(t, want)
	if again := m.login(t); *again.NewUser {
		t.Error("the user is new twice")
	}
	want.Fields[0].Value = "false"
	m.wantEvent(t, want)

	answer := m.post(t, "/mp/mini/phone", first.Token, `{"code":"`+m.code(simulator.PhoneCode)+`"}`, http.StatusOK, "")
	if answer != `{"phone":"138****5678","country_code":"86"}`+"\n" {
		t.Errorf("%s", answer)
	}
	want.Event, want.Fields[0] = "phone", hostapi.Field{Name: "phone", Value: "138****5678"}
	m.wantEvent(t, want)

	body := m.encrypted(t, `"openId":"`+miniUser+`","nickName":"Band",`, time.Now())
	answer = m.post(t, "/mp/mini/decrypt", first.Token, jsonOf(t, body), http.StatusOK, "")
	if !strings.HasPrefix(answer, `{"data":{"nickName":"Band","openId":"`+miniUser+`","watermark":`) {
		t.Errorf("%s", answer)
	}
	m.post(t, "/mp/mini/decrypt", first.Token, jsonOf(t, m.encrypted(t, `"phoneNumber":"13900001111","purePhoneNumber":"13900001111",`, time.Now())), http.StatusOK, "")
	want.Fields[0].Value = "139****1111"
	m.wantEvent(t, want)

	second := readTokens(t, m.post(t, "/mp/mini/refresh", "", `{"refresh_token":"`+first.RefreshToken+`"}`, http.StatusOK, ""))
	if second.NewUser != nil || second.RefreshToken == first.RefreshToken {
		t.Errorf("%+v", second)
	}
	m.post(t, "/mp/mini/decrypt", second.Token, jsonOf(t, body), http.StatusOK, "")
	m.post(t, "/mp/mini/refresh", "", `{"refresh_token":"`+first.RefreshToken+`"}`, http.StatusUnauthorized, "session_invalid")
	m.post(t, "/mp/mini/decrypt", second.Token, jsonOf(t, body), http.StatusUnauthorized, "session_invalid")
	m.post(t, "/mp/mini/refresh", "", `{"refresh_token":"`+second.RefreshToken+`"}`, http.StatusUnauthorized, "session_invalid")

	if lines := m.log.lines(t, "configuration"); len(lines) != 0 { // words that WeChat does not send are warned of
		t.Errorf("%v", lines)
	}
	m.nothingTold(t, "13900001111", first.Token, first.RefreshToken)
}

func (m *miniTown) wantEvent(t *testing.T, want hostapi.Event) {
	t.Helper()
	got := m.event(t)
	if len(got.ID) != 32 || len(got.TraceParent) != 55 || time.Since(time.Unix(got.Created, 0)).Abs() > time.Minute {
		t.Errorf("%+v", got)
	}
	got.ID, got.TraceParent, got.Created, got.DeadlineMS, got.ConfigID, got.Attrs = "", "", 0, 0, 0, nil
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// nothingTold wants no secret in an answer, the log, the metrics or the data folder.
// tokens may be in answers.
func (m *miniTown) nothingTold(t *testing.T, phone string, tokens ...string) {
	t.Helper()
	key := m.wechat.SessionKey(testAppID, miniUser)
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || key == "" {
		t.Fatalf("the user has no session_key: %v", err)
	}
	where := map[string]string{"an answer": m.told, "the log": m.log.String(), "the metrics": m.metrics(t)}
	for _, dir := range []string{filepath.Join(filepath.Dir(m.file), "data"), m.data} {
		if dir != "" {
			readFolder(t, dir, where)
		}
	}
	secrets := append([]string{testSecret, key, string(raw), miniPhone, phone}, m.wechat.Issued()...)
	for at, text := range where {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %s", secret, at)
			}
		}
		for _, token := range tokens {
			if at != "an answer" && strings.Contains(text, token) {
				t.Errorf("a session's token is in %s", at)
			}
		}
	}
}

// readFolder adds the files of a folder, of which there must be some.
func readFolder(t *testing.T, dir string, to map[string]string) {
	t.Helper()
	before := len(to)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		to[path] = string(b)
		return err
	})
	if err != nil || len(to) == before {
		t.Fatalf("%s: %d files, %v", dir, len(to)-before, err)
	}
}

// TestMiniRefused: each thing that is wrong has its answer.
func TestMiniRefused(t *testing.T) {
	m := newMiniTown(t, "")
	used := m.code(simulator.LoginCode)
	session := readTokens(t, m.post(t, "/mp/mini/login", "", `{"code":"`+used+`"}`, http.StatusOK, ""))
	m.event(t)
	good := m.encrypted(t, "", time.Now())
	with := func(name, value string) string {
		changed := map[string]string{}
		for k, v := range good {
			changed[k] = v
		}
		changed[name] = value
		return jsonOf(t, changed)
	}
	other := strings.ReplaceAll(session.Token, ".", ".e")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + strings.Split(session.Token, ".")[1] + "."
	for _, c := range []struct {
		path, token, body string
		status            int
		code              string
	}{
		{"/mp/mini/login", "", `{"code":"` + used + `"}`, 401, "code_refused"},
		{"/mp/mini/login", "", `{"code":"unknown"}`, 401, "code_refused"},
		{"/mp/mini/login", "", `{"code":"a b"}`, 401, "code_refused"},
		{"/mp/mini/login", "", `{"code":"` + m.code(simulator.PhoneCode) + `"}`, 401, "code_refused"},
		{"/mp/mini/login", "", `{}`, 400, "bad_body"},
		{"/mp/mini/login", "", ``, 400, "bad_body"},
		{"/mp/mini/login", "", `{"code":1}`, 400, "bad_body"},
		{"/mp/mini/login", "", `[`, 400, "bad_body"},
		{"/mp/mini/login", "", `"` + strings.Repeat("x", maxBody) + `"`, 413, "too_large"},
		{"/mp/bare/login", "", `{"code":"x"}`, 503, "app_unavailable"},
		{"/mp/shop/login", "", `{"code":"x"}`, 404, "not_found"},
		{"/mp/nowhere/login", "", `{"code":"x"}`, 404, "not_found"},
		{"/mp/mini/other", "", `{}`, 404, "not_found"},
		{"/mp/mini/refresh", "", `{}`, 400, "bad_body"},
		{"/mp/mini/refresh", "", `{"refresh_token":"x"}`, 401, "session_invalid"},
		{"/mp/bare/refresh", "", `{"refresh_token":"` + session.RefreshToken + `"}`, 401, "session_invalid"},
		{"/mp/mini/phone", "", `{"code":"x"}`, 401, "session_invalid"},
		{"/mp/mini/phone", other, `{"code":"x"}`, 401, "session_invalid"},
		{"/mp/mini/phone", none, `{"code":"x"}`, 401, "session_invalid"},
		{"/mp/bare/phone", session.Token, `{"code":"x"}`, 401, "session_invalid"},
		{"/mp/mini/phone", session.Token, `{}`, 400, "bad_body"},
		{"/mp/mini/phone", session.Token, `{"code":"unknown"}`, 401, "code_refused"},
		{"/mp/mini/phone", session.Token, `{"code":"` + m.code(simulator.LoginCode) + `"}`, 401, "code_refused"},
		{"/mp/mini/decrypt", "", jsonOf(t, good), 401, "session_invalid"},
		{"/mp/mini/decrypt", session.Token, `{}`, 400, "bad_body"},
		{"/mp/mini/decrypt", session.Token, with("iv", "AAAA"), 400, "bad_data"},
		{"/mp/mini/decrypt", session.Token, with("encrypted_data", "AA AA"), 400, "bad_data"},
		{"/mp/mini/decrypt", session.Token, with("encrypted_data", strings.Repeat("A", 64)), 401, "session_expired"},
		{"/mp/mini/decrypt", session.Token, with("signature", strings.Repeat("0", 40)), 403, "not_authentic"},
		{"/mp/mini/decrypt", session.Token, with("raw_data", "{}"), 403, "not_authentic"},
		{"/mp/mini/decrypt", session.Token, jsonOf(t, m.encrypted(t, "", time.Now().Add(-time.Hour))), 403, "not_authentic"},
		{"/mp/mini/decrypt", session.Token, jsonOf(t, m.encrypted(t, `"openId":"oOther",`, time.Now())), 403, "not_authentic"},
	} {
		m.post(t, c.path, c.token, c.body, c.status, c.code)
	}
	if resp, _ := m.call(t, http.MethodGet, "/mp/mini/login", "", ""); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", resp.StatusCode, resp.Header)
	}
	m.wechat.ForgetSession(testAppID, miniUser) // WeChat has another session_key from now on; ours opens what is ours
	m.post(t, "/mp/mini/decrypt", session.Token, jsonOf(t, good), http.StatusOK, "")
	if len(m.events) != 0 {
		t.Errorf("an event of what was refused: %+v", <-m.events)
	}
	m.login(t)
	m.nothingTold(t, "-none-", session.Token, session.RefreshToken)
}

// TestMiniWeChatFails: what WeChat's end does is told apart, logged, and no 500.
func TestMiniWeChatFails(t *testing.T) {
	m := newMiniTown(t, ", api: { timeout: 1s }")
	session := m.login(t)
	for _, c := range []struct {
		fault  simulator.Fault
		path   string
		kind   simulator.CodeKind
		status int
		code   string
	}{
		{simulator.Fault{Errcode: -1}, "login", simulator.LoginCode, 503, "wechat_busy"},
		{simulator.Fault{Errcode: 45011}, "login", simulator.LoginCode, 503, "wechat_busy"},
		{simulator.Fault{Errcode: 40125}, "login", simulator.LoginCode, 502, "wechat_refused"},
		{simulator.Fault{Errcode: 40164}, "login", simulator.LoginCode, 502, "wechat_refused"},
		{simulator.Fault{Errcode: 40226}, "login", simulator.LoginCode, 401, "code_refused"},
		{simulator.Fault{Ends: simulator.BadGateway}, "login", simulator.LoginCode, 502, "wechat_unavailable"},
		{simulator.Fault{Ends: simulator.Garbage}, "login", simulator.LoginCode, 502, "wechat_unavailable"},
		{simulator.Fault{Ends: simulator.Truncated, Size: 20}, "login", simulator.LoginCode, 502, "wechat_unavailable"},
		{simulator.Fault{Ends: simulator.Huge, Size: 1 << 20}, "login", simulator.LoginCode, 502, "wechat_unavailable"},
		{simulator.Fault{Ends: simulator.Garbage}, "phone", simulator.PhoneCode, 502, "wechat_unavailable"},
		{simulator.Fault{Errcode: 48001}, "phone", simulator.PhoneCode, 502, "wechat_refused"},
		{simulator.Fault{Ends: simulator.BadGateway}, "phone", simulator.PhoneCode, 502, "wechat_unavailable"},
	} {
		c.fault.Where, c.fault.Times = simulator.Where{Path: map[string]string{"login": "/sns/**", "phone": "/wxa/business/**"}[c.path]}, 1
		m.wechat.Strike(c.fault)
		m.post(t, "/mp/mini/"+c.path, session.Token, `{"code":"`+m.code(c.kind)+`"}`, c.status, c.code)
	}
	m.wechat.SetDown(true)
	m.post(t, "/mp/mini/login", "", `{"code":"`+m.code(simulator.LoginCode)+`"}`, 502, "wechat_unavailable")
	m.wechat.SetDown(false)
	if lines := m.log.lines(t, "login failed"); len(lines) == 0 || lines[0]["app"] != "mini" || lines[0]["trace"] == "" {
		t.Errorf("the log has %v", lines)
	}
	if lines := m.log.lines(t, "request failed"); len(lines) != 0 {
		t.Errorf("%v", lines)
	}
	m.login(t)
	m.nothingTold(t, "-none-", session.Token, session.RefreshToken)
}

// TestMiniEventSurvives: a login whose event could not be run is told by the next
// host over the same data.
func TestMiniEventSurvives(t *testing.T) {
	t.Setenv(miniSecret, testSecret)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(refusing.Close)
	w := simulator.New(simulator.Options{})
	w.Set(simulator.App{ID: testAppID, Secret: testSecret})
	srv := httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); srv.Close() })
	sections := strings.Replace(miniSections(srv.URL, refusing.URL, ""), "when:", "on_error: queue, when:", 1)
	file := writeConfig(t, sections)
	log := new(syncBuffer)
	h, err := startWatching(t.Context(), file, NewLogger(log), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &miniTown{gatewayTown: &gatewayTown{testHost: &testHost{h, log}, wechat: w, file: file}, events: make(chan hostapi.Event, 8)}
	first := m.login(t)
	h2 := m.testHost
	waitUntil(t, "the event waits for its next try", func() bool {
		d, err := h2.store.Depth(t.Context(), "events")
		return err == nil && d.Delayed == 1
	})
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.events <- hostapi.Event{}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(service.Close)
	replaceIn(t, file, refusing.URL, service.URL)
	m.testHost = startHost(t, file)
	m.event(t)
	m.waitForDepth(t, store.Depth{})
	body := m.encrypted(t, `"a":1,`, time.Now()) // the session and the session_key are still there
	m.post(t, "/mp/mini/decrypt", first.Token, jsonOf(t, body), http.StatusOK, "")
}

// TestMiniOverRedis: who logs in on one host is known on the other, and nothing
// personal stands in Redis in plain.
func TestMiniOverRedis(t *testing.T) {
	t.Setenv(miniSecret, testSecret)
	node := redistest.Start(t, "--rdbcompression", "no")
	more := fmt.Sprintf("store: { redis: { addrs: [%q] } }\n", node.Addr)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(service.Close)
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, keySize))
	w := simulator.New(simulator.Options{})
	w.Set(simulator.App{ID: testAppID, Secret: testSecret})
	w.SetUser(testAppID, simulator.User{OpenID: miniUser, UnionID: "uMiniUser", Phone: miniPhone})
	srv := httptest.NewServer(w)
	t.Cleanup(func() { w.Close(); srv.Close() })
	host := func() *miniTown {
		file := writeConfig(t, miniSections(srv.URL, service.URL, "")+more)
		replaceIn(t, file, "drain: 5s", "drain: 5s, key: \""+key+"\"")
		return &miniTown{gatewayTown: &gatewayTown{testHost: startHost(t, file), wechat: w, file: file}}
	}
	a, b := host(), host()
	first := a.login(t)
	b.post(t, "/mp/mini/phone", first.Token, `{"code":"`+b.code(simulator.PhoneCode)+`"}`, http.StatusOK, "")
	b.post(t, "/mp/mini/decrypt", first.Token, jsonOf(t, b.encrypted(t, "", time.Now())), http.StatusOK, "")
	second := readTokens(t, b.post(t, "/mp/mini/refresh", "", `{"refresh_token":"`+first.RefreshToken+`"}`, http.StatusOK, ""))
	if again := b.login(t); *again.NewUser {
		t.Error("the user is new on the other host")
	}
	a.post(t, "/mp/mini/refresh", "", `{"refresh_token":"`+first.RefreshToken+`"}`, http.StatusUnauthorized, "session_invalid")
	b.post(t, "/mp/mini/decrypt", second.Token, jsonOf(t, b.encrypted(t, "", time.Now())), http.StatusUnauthorized, "session_invalid")
	a.waitForDepth(t, store.Depth{})
	a.told += b.told + b.log.String()
	node.Do("save")
	a.data = strings.TrimSuffix(strings.TrimPrefix(node.Do("config", "get", "dir"), "[dir "), "]")
	a.nothingTold(t, "-none-", first.Token, first.RefreshToken, second.Token, second.RefreshToken)
	files := map[string]string{}
	readFolder(t, a.data, files)
	if all := fmt.Sprint(files); !strings.Contains(all, "138****5678") {
		t.Error("the event of the number is not in Redis's files: the search reads them wrongly")
	}
}

// FuzzMiniRequest: no body of a mini program is answered with a 500.
func FuzzMiniRequest(f *testing.F) {
	for _, seed := range []string{`{"code":"x"}`, `{"refresh_token":"AA.BB"}`, `{"encrypted_data":"AAAA","iv":"AAAA"}`, `{`, `null`, `[]`, `{"code":{}}`} {
		f.Add("login", "Bearer x", []byte(seed))
		f.Add("decrypt", "Bearer e30.e30.e30", []byte(seed))
		f.Add("refresh", "", []byte(seed))
	}
	f.Setenv(miniSecret, testSecret)
	w := simulator.New(simulator.Options{})
	w.Set(simulator.App{ID: testAppID, Secret: testSecret})
	srv := httptest.NewServer(w)
	f.Cleanup(func() { w.Close(); srv.Close() })
	h := startHost(f, writeConfig(f, miniSections(srv.URL, "http://127.0.0.1:1/", "")))
	f.Fuzz(func(t *testing.T, path, authorization string, body []byte) {
		switch path {
		case "login", "refresh", "phone", "decrypt":
		default:
			path = "login"
		}
		r := httptest.NewRequest(http.MethodPost, "/mp/mini/"+path, bytes.NewReader(body))
		r.Header.Set("Authorization", authorization)
		answer := httptest.NewRecorder()
		h.public.srv.Handler.ServeHTTP(answer, r)
		if answer.Code < 400 || answer.Code >= 500 {
			t.Errorf("%s %q: %d %s", path, body, answer.Code, answer.Body)
		}
	})
}

// TestMiniOutOfService: a mini program whose file is broken is out of service, and
// not unknown.
func TestMiniOutOfService(t *testing.T) {
	file := writeUnits(t, "include: [ \"apps/*.yaml\" ]\n"+echoSections(), map[string]string{
		"apps/mini.yaml": "weft: 1\napps:\n  mini: { type: miniprogram, app_id: wx1111111111111111, token: t, mode: plain, what: x }\n",
	})
	m := &miniTown{gatewayTown: &gatewayTown{testHost: startHost(t, file), file: file}}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for _, path := range []string{"login", "refresh", "phone", "decrypt"} {
		m.post(t, "/mp/mini/"+path, "", `{"code":"x"}`, http.StatusServiceUnavailable, "app_unavailable")
	}
}
