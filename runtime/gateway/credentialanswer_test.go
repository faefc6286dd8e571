package gateway

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// Eight hosts, and a ninth that has its credentials from one of them, as a system
// beside us has: one fetch for each expiry, and what is refused there is replaced
// here.
func TestSharedWithAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, testHosts, testApp(), simulator.Rules{})
		other := w.add(CredentialConfig{App: "theirs", Source: FromHTTP, Service: w.hosts[0].app, ServiceName: "weft"})
		w.eachHost(AccessToken, 31*time.Second, 20*testLife)
		all, fresh := w.executed(simulator.StableToken)
		if all != fresh || all < 20 || all > 22 {
			t.Errorf("%d calls gave %d tokens in 20 lives", all, fresh)
		}
		before := w.get(other, AccessToken)
		w.wechat.Invalidate(testAppID)
		if got := w.refused(other, before); got.Value != w.get(w.hosts[0], AccessToken).Value {
			t.Error("the two have different tokens")
		}
		if again, _ := w.executed(simulator.StableToken); again != all+1 {
			t.Errorf("%d calls, want %d", again, all+1)
		}
	})
}

func TestExchangeRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, 1, testApp(), simulator.Rules{})
		for _, c := range []struct {
			method, kind, body string
			status             int
		}{
			{http.MethodGet, "access_token", "", http.StatusOK},
			{http.MethodPost, "access_token", `{"value":"made-up"}`, http.StatusOK},
			{http.MethodGet, "session_key", "", http.StatusNotFound},
			{http.MethodGet, "", "", http.StatusNotFound},
			{http.MethodPost, "access_token", "", http.StatusBadRequest},
			{http.MethodPost, "access_token", `{"value":""}`, http.StatusBadRequest},
			{http.MethodPost, "access_token", `{"value":"` + strings.Repeat("a", 1<<20) + `"}`, http.StatusBadRequest},
			{http.MethodDelete, "access_token", "", http.StatusMethodNotAllowed},
		} {
			status, answer, err := w.hosts[0].app.Exchange(t.Context(), c.method, c.kind, []byte(c.body))
			if status != c.status || (err == nil) != (status == http.StatusOK) || (answer == nil) != (err != nil) {
				t.Errorf("%s %s %.40s: %d, %q, %v", c.method, c.kind, c.body, status, answer, err)
			}
			if err == nil && !bytes.Contains(answer, []byte(`"expires_in":71`)) {
				t.Errorf("%s", answer)
			}
		}
		w.wechat.Strike(simulator.Fault{Errcode: 40125})
		time.Sleep(testLife)
		if status, _, err := w.hosts[0].app.Exchange(t.Context(), http.MethodGet, "access_token", nil); status != http.StatusServiceUnavailable || err == nil {
			t.Errorf("%d, %v", status, err)
		}
	})
}

func FuzzRefused(f *testing.F) {
	f.Add([]byte(`{"value":"8_abc"}`))
	f.Add([]byte(`{"value":"\u0038_abc","Value":""}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if value, err := decodeRefused(body); err == nil && checkCredentialValue(value) != nil {
			t.Errorf("%q", value)
		}
	})
}
