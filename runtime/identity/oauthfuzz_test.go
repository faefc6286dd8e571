package identity

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

func fuzzKeys(f *testing.F) []stateKey {
	f.Helper()
	var keys []stateKey
	for i := range byte(2) {
		k, err := newStateKey(testKey(i + 1))
		if err != nil {
			f.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

// FuzzOAuthState: a state and a cookie are taken as they were made, or not at all.
func FuzzOAuthState(f *testing.F) {
	keys, now := fuzzKeys(f), time.Unix(1_780_000_000, 0)
	l := newLogin(keys[1], "shop", "https://www.acme.cn/", wechat.ScopeUserInfo, now)
	other := newLogin(keys[0], "other", "https://www.acme.cn/", wechat.ScopeBase, now)
	l.nonce, other.nonce = [nonceSize]byte{1}, [nonceSize]byte{2} // the same in every process
	for _, one := range []login{l, other} {
		f.Add(one.state(), one.cookie())
	}
	f.Add(l.state(), other.cookie())
	f.Add("", "")
	f.Add(strings.ToUpper(l.state()), l.cookie()+"=")
	f.Fuzz(func(t *testing.T, state, cookie string) {
		if got, err := readState(keys, "shop", state, now); err == nil && (state != l.state() || got.nonce != l.nonce) {
			t.Errorf("the state %q was taken", state)
		}
		if got, err := readCookie(keys, "shop", cookie); err == nil && (cookie != l.cookie() || got.redirect != l.redirect || got.scope != l.scope) {
			t.Errorf("the cookie %q was taken", cookie)
		}
		_, err := resume(keys, "shop", state, []*http.Cookie{{Name: cookieName + "0", Value: cookie}}, now)
		if (err == nil) != (state == l.state() && cookie == l.cookie()) {
			t.Errorf("%q with %q: %v", state, cookie, err)
		}
	})
}

// FuzzLoginRecord: what is read of the store is written the same way.
func FuzzLoginRecord(f *testing.F) {
	r := loginRecord{outcome: invalidCode, at: 1_780_000_000_000, code: bytes.Repeat([]byte{7}, macSize)}
	f.Add(r.encode())
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1}, loginRecordSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeLoginRecord(b)
		if err == nil && (!bytes.Equal(r.encode(), b) || r.outcome >= outcomes) {
			t.Errorf("%x is %+v", b, r)
		}
		_ = r.outcome.String()
	})
}

// FuzzOAuthAnswer: whatever answers in WeChat's place, a user that is named is one,
// and an error shows nothing of it.
func FuzzOAuthAnswer(f *testing.F) {
	f.Add([]byte(`{"openid":"oOne","unionid":"uOne","scope":"snsapi_userinfo","access_token":"8_t"}`))
	f.Add([]byte(`{"openid":"o One"}`))
	f.Add([]byte(`{"openid":7}`))
	f.Add([]byte(`{"is_snapshotuser":1,"openid":"oOne"}`))
	f.Add([]byte(`{"errcode":42001,"errmsg":"S3CRET"}`))
	f.Add([]byte("\x00[}"))
	answer := make(chan []byte, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b := <-answer
		answer <- b
		_, _ = w.Write(b)
	}))
	f.Cleanup(srv.Close)
	c := &OAuthConfig{Session: SessionConfig{App: "shop", Claims: []string{ClaimUnionID}}, SNS: snsAt(f, srv.URL)}
	f.Fuzz(func(t *testing.T, b []byte) {
		answer <- b
		u, err := exchange(t.Context(), c, wechat.ScopeUserInfo, "c0de")
		<-answer
		if err == nil && (!plainID(u.OpenID) || u.UnionID != "" && !plainID(u.UnionID)) || err != nil && u != (User{}) {
			t.Errorf("%q: %+v %v", b, u, err)
		}
		if err != nil && (strings.Contains(err.Error(), "S3CRET") || len(err.Error()) > 500 || strings.Contains(err.Error(), oauthSecret)) {
			t.Errorf("%q: %v", b, err)
		}
	})
}
