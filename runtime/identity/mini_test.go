package identity

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/gateway"
	"github.com/weft-dev/weft/runtime/simulator"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/storetest"
	"github.com/weft-dev/weft/runtime/vault"
	"github.com/weft-dev/weft/runtime/wechat"
)

const (
	miniID     = "wx0123456789abcdef"
	miniSecret = "the-app-s3cret"
	miniUser   = "oMini-the-openid"
	miniPhone  = "13812345678"
)

// posted is an Events that keeps what is posted, once for each ID.
type posted struct {
	mu   sync.Mutex
	list []Event
	err  error // of every Post
}

func (p *posted) Post(_ context.Context, e Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && !slices.ContainsFunc(p.list, func(had Event) bool { return had.ID == e.ID }) {
		p.list = append(p.list, e)
	}
	return p.err
}

func (p *posted) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *posted) all() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

// oneToken is the app's access_token at the fake WeChat.
type oneToken string

func (o oneToken) Token(context.Context) (string, error)         { return string(o), nil }
func (o oneToken) Renew(context.Context, string) (string, error) { return string(o), nil }

// town is a mini program's users before a fake WeChat.
type town struct {
	*Mini
	t      testing.TB
	wechat *simulator.WeChat
	app    MiniApp
	clock  *storetest.Clock
	store  store.Store
	vault  *vault.Vault
	events *posted
	data   string // the store's folder
}

func newTown(t testing.TB) *town {
	t.Helper()
	c := &town{t: t, clock: storetest.NewClock(), events: new(posted), data: t.TempDir()}
	c.wechat = simulator.New(simulator.Options{Now: c.clock.Now})
	c.wechat.Set(simulator.App{ID: miniID, Secret: miniSecret})
	c.wechat.SetUser(miniID, simulator.User{OpenID: miniUser, UnionID: "uMini", Phone: miniPhone})
	srv := httptest.NewServer(c.wechat)
	apis := gateway.NewAPIs(gateway.APIsConfig{})
	t.Cleanup(func() { c.wechat.Close(); apis.Close(); srv.Close() })

	c.store = openBolt(t, c.data, c.clock.Now)
	c.use(c.store)
	c.app = MiniApp{
		Session: SessionConfig{App: "mini", AppID: miniID, Claims: []string{ClaimOpenID}, Session: time.Hour, Refresh: 24 * time.Hour},
		MaxSkew: 10 * time.Minute,
		SNS:     apis.SNS(gateway.SNSConfig{App: "mini", AppID: miniID, Secret: miniSecret, Base: srv.URL}),
	}
	resp, err := srv.Client().Get(srv.URL + "/cgi-bin/token?grant_type=client_credential&appid=" + miniID + "&secret=" + miniSecret)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var token struct {
		Value string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil || token.Value == "" {
		t.Fatalf("no token: %v", err)
	}
	if c.app.API, err = apis.Open(gateway.APIConfig{App: "mini", Base: srv.URL, Timeout: 10 * time.Second, Tokens: oneToken(token.Value)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.app.API.Close)
	return c
}

// use has the town's Mini keep everything in s.
func (c *town) use(s store.Store) {
	c.t.Helper()
	var err error
	if c.vault, err = vault.New(vault.Options{Store: s, Key: testKey(1), Now: c.clock.Now}); err != nil {
		c.t.Fatal(err)
	}
	sessions := newSessions(c.t, s, c.clock.Now, testKey(1))
	c.Mini = NewMini(MiniOptions{Sessions: sessions, Vault: c.vault, Events: c.events, Now: c.clock.Now})
}

func (c *town) code(kind simulator.CodeKind) string {
	return c.wechat.NewCode(miniID, kind, miniUser, "")
}

// login logs the user in, and returns the session too.
func (c *town) login() (Login, Session) {
	c.t.Helper()
	l, err := c.Login(c.t.Context(), c.app, c.code(simulator.LoginCode))
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := c.sessions.Verify(c.t.Context(), c.app.Session, l.Token)
	if err != nil || s.OpenID != miniUser || s.UnionID != "uMini" {
		c.t.Fatalf("%+v %v", s, err)
	}
	return l, s
}

// sealed makes encryptedData with the user's session_key.
func (c *town) sealed(plain string) Encrypted {
	return sealWith(c.t, c.wechat.SessionKey(miniID, miniUser), plain)
}

func sealWith(t testing.TB, sessionKey, plain string) Encrypted {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(sessionKey)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	n := 16 - len(plain)%16
	text := append([]byte(plain), bytes.Repeat([]byte{byte(n)}, n)...)
	iv := []byte("0123456789abcdef")
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	return Encrypted{Data: base64.StdEncoding.EncodeToString(text), IV: base64.StdEncoding.EncodeToString(iv)}
}

// marked is an object of JSON with a watermark of now.
func (c *town) marked(fields string) string {
	return fmt.Sprintf(`{%s"watermark":{"timestamp":%d,"appid":"%s"}}`, fields, c.clock.Now().Unix(), miniID)
}

// TestMiniLogin: the first login is a new user's, the others are not; each is an
// event.
func TestMiniLogin(t *testing.T) {
	c := newTown(t)
	first, _ := c.login()
	again, _ := c.login()
	if !first.NewUser || again.NewUser || first.ExpiresIn != time.Hour || first.Token == again.Token || first.RefreshToken == "" {
		t.Errorf("%v %v", first.NewUser, again.NewUser)
	}
	events := c.events.all()
	if len(events) != 2 || events[0].ID == events[1].ID {
		t.Fatalf("%+v", events)
	}
	for i, e := range events {
		want := Event{ID: e.ID, App: "mini", Name: EventLogin, User: User{miniUser, "uMini"}, At: c.clock.Now(), NewUser: i == 0}
		if e != want || len(e.ID) != 32 {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
}

// TestMiniLoginRefused: a code that is no good is one error, whatever is wrong, and
// leaves nothing.
func TestMiniLoginRefused(t *testing.T) {
	c := newTown(t)
	used := c.code(simulator.LoginCode)
	if _, err := c.Login(t.Context(), c.app, used); err != nil {
		t.Fatal(err)
	}
	old := c.code(simulator.LoginCode)
	c.clock.Advance(6 * time.Minute)
	calls := c.wechat.Count(simulator.Where{Path: "/sns/**"}).Calls
	for _, code := range []string{"", "with a blank", "码", strings.Repeat("x", maxCode+1)} {
		if _, err := c.Login(t.Context(), c.app, code); !errors.Is(err, ErrCode) {
			t.Errorf("%.20q: %v", code, err)
		}
	}
	if now := c.wechat.Count(simulator.Where{Path: "/sns/**"}).Calls; now != calls {
		t.Errorf("%d calls for codes that can be none", now-calls)
	}
	for name, code := range map[string]string{
		"unknown": "unknown-c0de", "used": used, "expired": old, "of another flow": c.code(simulator.PhoneCode),
	} {
		_, err := c.Login(t.Context(), c.app, code)
		if !errors.Is(err, ErrCode) || strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/sns/**"}, Times: 1, Errcode: -1})
	if _, err := c.Login(t.Context(), c.app, c.code(simulator.LoginCode)); errors.Is(err, ErrCode) || !errors.Is(err, gateway.ErrSNSBusy) {
		t.Errorf("WeChat is busy: %v", err)
	}
	if n := len(c.events.all()); n != 1 {
		t.Errorf("%d events, want that of the one login", n)
	}
}

// failing is a store whose changes fail.
type failing struct {
	store.Store
	mu  sync.Mutex
	err error
}

func (f *failing) Apply(ctx context.Context, op store.Op) (store.Result, error) {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return store.Result{}, err
	}
	return f.Store.Apply(ctx, op)
}

func (f *failing) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// TestMiniNotKept: what can't be kept is no login; a new user who comes again is
// still one, in one event.
func TestMiniNotKept(t *testing.T) {
	c := newTown(t)
	away := &failing{Store: c.store}
	c.use(away)
	c.events.fail(errors.New("the queue is full"))
	if _, err := c.Login(t.Context(), c.app, c.code(simulator.LoginCode)); !errors.Is(err, ErrKept) {
		t.Errorf("no event: %v", err)
	}
	c.events.fail(nil)
	away.fail(store.ErrQuota)
	if _, err := c.Login(t.Context(), c.app, c.code(simulator.LoginCode)); !errors.Is(err, ErrKept) {
		t.Errorf("no place for the session_key: %v", err)
	}
	away.fail(nil)
	if l, _ := c.login(); !l.NewUser {
		t.Error("the user is no new one any more")
	}
	if l, _ := c.login(); l.NewUser {
		t.Error("the user stays new")
	}
	if events := c.events.all(); len(events) != 2 || !events[0].NewUser || events[1].NewUser {
		t.Errorf("%+v", events)
	}
}

// TestMiniPhone: a number is kept sealed and shown masked.
func TestMiniPhone(t *testing.T) {
	c := newTown(t)
	_, s := c.login()
	code := c.code(simulator.PhoneCode)
	shown, err := c.Phone(t.Context(), c.app, s, code)
	if err != nil || shown != (Phone{"138****5678", "86"}) {
		t.Fatalf("%+v %v", shown, err)
	}
	if got, err := c.vault.Get(t.Context(), "mini", miniUser, vault.Phone); err != nil || string(got) != miniPhone {
		t.Errorf("the vault has %q, %v", got, err)
	}
	e := c.events.all()[1]
	if want := (Event{ID: e.ID, App: "mini", Name: EventPhone, User: User{miniUser, "uMini"}, At: c.clock.Now(), Phone: "138****5678"}); e != want {
		t.Errorf("%+v, want %+v", e, want)
	}
	for name, code := range map[string]string{"used": code, "unknown": "unknown-c0de", "of a login": c.code(simulator.LoginCode), "empty": ""} {
		if _, err := c.Phone(t.Context(), c.app, s, code); !errors.Is(err, ErrCode) || code != "" && strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.wechat.Strike(simulator.Fault{Where: simulator.Where{Path: "/wxa/business/**"}, Times: 1, Errcode: 48001})
	if _, err := c.Phone(t.Context(), c.app, s, c.code(simulator.PhoneCode)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "48001") {
		t.Errorf("not authorized: %v", err)
	}
	c.events.fail(errors.New("the queue is full"))
	if _, err := c.Phone(t.Context(), c.app, s, c.code(simulator.PhoneCode)); !errors.Is(err, ErrKept) || strings.Contains(err.Error(), miniPhone) {
		t.Errorf("no event: %v", err)
	}
}

func TestMasked(t *testing.T) {
	for pure, want := range map[string]string{
		"13812345678": "138****5678", "91234567": "****4567", "1234567": "*******", "1": "*", "186****5613": "186****5613",
		"+8613812345678": "+86*******5678",
	} {
		if got := masked(pure); got != want {
			t.Errorf("%s: %s, want %s", pure, got, want)
		}
	}
}

// TestMiniDecrypt: data opens with the newest session_key, and shows of the user's
// ids what sessions show.
func TestMiniDecrypt(t *testing.T) {
	c := newTown(t)
	_, s := c.login()
	e := c.sealed(c.marked(`"openId":"` + miniUser + `","nickName":"乐队<&>","unionId":"uMini",`))
	e.RawData = `{"nickName":"乐队<&>"}`
	sum := sha1.Sum([]byte(e.RawData + c.wechat.SessionKey(miniID, miniUser)))
	e.Signature = hex.EncodeToString(sum[:])
	got, err := c.Decrypt(t.Context(), c.app, s, e)
	want := fmt.Sprintf(`{"nickName":"乐队<&>","openId":"%s","watermark":{"timestamp":%d,"appid":"%s"}}`, miniUser, c.clock.Now().Unix(), miniID)
	if err != nil || string(got) != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
	hidden := c.app
	hidden.Session.Claims = []string{ClaimUnionID}
	if got, err := c.Decrypt(t.Context(), hidden, s, e); err != nil || strings.Contains(string(got), miniUser) || !strings.Contains(string(got), "uMini") {
		t.Errorf("without the openid: %s %v", got, err)
	}
	forged := e
	forged.Signature = strings.Repeat("0", 40)
	without := e
	without.Signature = ""
	unsigned := e
	unsigned.RawData = ""
	for name, e := range map[string]Encrypted{"forged": forged, "no signature": without, "no raw data": unsigned} {
		if got, err := c.Decrypt(t.Context(), c.app, s, e); !errors.Is(err, ErrSignature) || got != nil {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
	other := c.sealed(c.marked(`"openId":"oSomebody",`))
	if got, err := c.Decrypt(t.Context(), c.app, s, other); !errors.Is(err, ErrOther) || got != nil {
		t.Errorf("another user's: %s %v", got, err)
	}
	late := c.sealed(c.marked(""))
	c.clock.Advance(11 * time.Minute)
	if got, err := c.Decrypt(t.Context(), c.app, s, late); !errors.Is(err, wechat.ErrWatermark) || got != nil {
		t.Errorf("too late: %s %v", got, err)
	}
	foreign := c.app
	foreign.Session.AppID = "wx9999999999999999"
	if got, err := c.Decrypt(t.Context(), foreign, s, c.sealed(c.marked(""))); !errors.Is(err, wechat.ErrWatermark) || got != nil {
		t.Errorf("another app's: %s %v", got, err)
	}
}

// TestMiniSessionKeyNewest: of two logins at once the one that was begun later has the
// newer session_key, whichever ends first.
func TestMiniSessionKeyNewest(t *testing.T) {
	c := newTown(t)
	const older, newer = "b2xkb2xkb2xkb2xkb2xkbw==", "bmV3bmV3bmV3bmV3bmV3bg=="
	asked, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := newer
		if r.FormValue("js_code") == "slow" {
			key = older
			close(asked)
			<-release
		}
		_, _ = fmt.Fprintf(w, `{"openid":%q,"session_key":%q}`, miniUser, key)
	}))
	t.Cleanup(srv.Close)
	c.app.SNS = snsAt(t, srv.URL)
	login := func(code string) {
		if _, err := c.Login(t.Context(), c.app, code); err != nil {
			t.Error(err)
		}
	}
	var slow sync.WaitGroup
	slow.Go(func() { login("slow") })
	<-asked
	c.clock.Advance(time.Second)
	login("fast")
	close(release)
	slow.Wait()
	if key, err := c.vault.Get(t.Context(), "mini", miniUser, vault.SessionKey); err != nil || string(key) != newer {
		t.Errorf("kept is the older session_key: %v", err)
	}
	c.clock.Advance(time.Second)
	login("fast")
	if key, err := c.vault.Get(t.Context(), "mini", miniUser, vault.SessionKey); err != nil || string(key) != newer {
		t.Errorf("after another login: %v", err)
	}
}

// TestMiniSessionKeyChanges: data made with another session_key says that the user
// is to log in again, and opens after that.
func TestMiniSessionKeyChanges(t *testing.T) {
	c := newTown(t)
	nobody := Session{App: "mini", OpenID: "oNobody"}
	if _, err := c.Decrypt(t.Context(), c.app, nobody, Encrypted{}); !errors.Is(err, wechat.ErrSessionKey) {
		t.Errorf("who never logged in: %v", err)
	}
	_, s := c.login()
	before := c.wechat.SessionKey(miniID, miniUser)
	c.wechat.ForgetSession(miniID, miniUser)
	if _, err := c.sessions.Verify(t.Context(), c.app.Session, "x"); err == nil {
		t.Fatal("any text is a session")
	}
	code := c.code(simulator.LoginCode)
	other := newTown(t)
	other.login()
	newer := sealWith(t, other.wechat.SessionKey(miniID, miniUser), c.marked(`"a":1,`))
	if _, err := c.Decrypt(t.Context(), c.app, s, newer); !errors.Is(err, wechat.ErrSessionKey) {
		t.Errorf("with another session_key: %v", err)
	}
	if _, err := c.Login(t.Context(), c.app, code); err != nil {
		t.Fatal(err)
	}
	if after := c.wechat.SessionKey(miniID, miniUser); after == before {
		t.Fatal("WeChat gave the same session_key")
	}
	if got, err := c.Decrypt(t.Context(), c.app, s, c.sealed(c.marked(`"a":1,`))); err != nil || !strings.Contains(string(got), `"a":1`) {
		t.Errorf("after the login: %s %v", got, err)
	}
	if _, err := c.Decrypt(t.Context(), c.app, s, sealWith(t, before, c.marked(""))); !errors.Is(err, wechat.ErrSessionKey) {
		t.Errorf("with the session_key before: %v", err)
	}
	// One that can't be decoded opens nothing, and is no failure of ours.
	if err := c.vault.Put(t.Context(), "mini", miniUser, vault.SessionKey, []byte("tiihtNczf5v6AKRyjwExxxx="), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decrypt(t.Context(), c.app, s, c.sealed(c.marked(""))); !errors.Is(err, wechat.ErrSessionKey) {
		t.Errorf("a session_key of another form: %v", err)
	}
}

// TestMiniDecryptPhone: the number of the older phone button is treated as the
// newer one's.
func TestMiniDecryptPhone(t *testing.T) {
	c := newTown(t)
	_, s := c.login()
	for _, country := range []string{`"86"`, `86`} {
		got, err := c.Decrypt(t.Context(), c.app, s, c.sealed(c.marked(`"phoneNumber":"13900001111","purePhoneNumber":"13900001111","countryCode":`+country+`,`)))
		if err != nil || strings.Contains(string(got), "13900001111") || !strings.Contains(string(got), `"phoneNumber":"139****1111","purePhoneNumber":"139****1111"`) {
			t.Errorf("%s %v", got, err)
		}
	}
	if got, err := c.vault.Get(t.Context(), "mini", miniUser, vault.Phone); err != nil || string(got) != "13900001111" {
		t.Errorf("the vault has %q, %v", got, err)
	}
	events := c.events.all()
	if e := events[1]; len(events) != 3 || e.Name != EventPhone || e.Phone != "139****1111" {
		t.Errorf("%+v", events)
	}
	got, err := c.Decrypt(t.Context(), c.app, s, c.sealed(c.marked(`"phoneNumber":["13900001111"],"purePhoneNumber":"13900001111",`)))
	if err != nil || strings.Contains(string(got), "139") || len(c.events.all()) != 3 {
		t.Errorf("of another form: %s %v", got, err)
	}
}

// TestMiniDecryptPhoneAgain: the same data is the same event, however it is wrapped.
func TestMiniDecryptPhoneAgain(t *testing.T) {
	c := newTown(t)
	_, s := c.login()
	e := c.sealed(c.marked(`"phoneNumber":"13900001111","purePhoneNumber":"13900001111","countryCode":"86",`))
	wrapped := e
	wrapped.Data = e.Data[:40] + "\r\n " + e.Data[40:] + "\n"
	for _, e := range []Encrypted{e, wrapped} {
		if _, err := c.Decrypt(t.Context(), c.app, s, e); err != nil {
			t.Fatal(err)
		}
	}
	if events := c.events.all(); len(events) != 2 { // of the login, and one
		t.Errorf("%+v", events)
	}
}

// TestMiniSealed: neither number nor session_key nor openid stands anywhere in the
// data folder.
func TestMiniSealed(t *testing.T) {
	c := newTown(t)
	_, s := c.login()
	if _, err := c.Phone(t.Context(), c.app, s, c.code(simulator.PhoneCode)); err != nil {
		t.Fatal(err)
	}
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	key := c.wechat.SessionKey(miniID, miniUser)
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(c.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		for _, secret := range []string{key, string(raw), miniPhone, miniUser, "uMini"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%q is in %s", secret, d.Name())
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

// FuzzMiniAnswers: hostile answers of WeChat give a user or a number of the expected
// form, or an error that quotes nothing.
func FuzzMiniAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"openid":"o1","session_key":"tiihtNczf5v6AKRyjwEUhQ==","unionid":"u1","errcode":0}`,
		`{"OpenID":"o1","session_key":1}`, `{"openid":"o\u0000","session_key":"k"}`, `null`, `[]`,
		`{"phone_info":{"phoneNumber":"+852 91234567","purePhoneNumber":"91234567","countryCode":852}}`,
		`{"phone_info":{"phoneNumber":"91234567","countryCode":"86","watermark":{}}}`, `{"phone_info":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		u, key, err := decodeLogin(said)
		if err == nil && (u.OpenID == "" || key == "" || strings.ContainsAny(u.OpenID+key+u.UnionID, " \n\x00")) || err != nil && !errors.Is(err, ErrAnswer) {
			t.Errorf("%+v %v", u, err)
		}
		n, err := decodePhone(said)
		if err == nil {
			if m := masked(n.pure); len(m) != len(n.pure) || len(m) > maxPhone || !json.Valid(quoted(m)) {
				t.Errorf("%+v: %q", n, m)
			}
		} else if !errors.Is(err, ErrAnswer) {
			t.Error(err)
		}
	})
}
