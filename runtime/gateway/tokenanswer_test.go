package gateway

import (
	"context"
	"strings"
	"testing"
	"time"
)

// What WeChat and others say, well-formed or nearly so.
func TestDecodeToken(t *testing.T) {
	for body, want := range map[string]struct {
		value   string
		life    time.Duration
		result  fetchResult
		errcode int
		rid     string
	}{
		`{"access_token":"8_abc","expires_in":7200}`:                      {value: "8_abc", life: 2 * time.Hour},
		"\ufeff {\"access_token\":\"8_abc\",\"expires_in\":\"7200\"}\r\n": {value: "8_abc", life: 2 * time.Hour},
		"{\"access_token\":\"8_abc\",\"expires_in\":60,\"x\":\"\x01\t\"}": {value: "8_abc", life: time.Minute},
		`{"access_token":"8_abc","expires_in":99999999999}`:               {value: "8_abc", life: maxTokenLife},
		`{"errcode":0,"access_token":"8_abc","expires_in":1}`:             {value: "8_abc", life: time.Second},
		`{"errcode":"0","access_token":"8_abc","expires_in":1}`:           {value: "8_abc", life: time.Second},
		`{"errcode":"40125","errmsg":"invalid appsecret rid: 65f0c1a2-3c4d5e6f-77889900"}`: {
			result: fetchRefused, errcode: 40125, rid: "65f0c1a2-3c4d5e6f-77889900",
		},
		`{"errcode":-1,"errmsg":"system error"}`:                                   {result: fetchBusy, errcode: -1},
		`{"errcode":45011,"errmsg":"api minute-quota reach limit"}`:                {result: fetchBusy, errcode: 45011},
		`{"errcode":99999,"errmsg":"rid: 0123456789abcdef0123456789abcdef"}`:       {result: fetchErrcode, errcode: 99999}, // no rid, perhaps a secret
		`{"errcode":40001,"errmsg":"\u0000","access_token":"8_a","expires_in":60}`: {result: fetchRefused, errcode: 40001},
		`{"access_token":"8_abc","expires_in":0}`:                                  {result: fetchUnusable},
		`{"access_token":"8_abc","expires_in":-5}`:                                 {result: fetchUnusable},
		`{"access_token":"8_abc"}`:                                                 {result: fetchUnusable},
		`{"access_token":"","expires_in":7200}`:                                    {result: fetchUnusable},
		`{"access_token":"a b","expires_in":7200}`:                                 {result: fetchUnusable},
		`{"access_token":"a\u0000","expires_in":7200}`:                             {result: fetchUnusable},
		`{"access_token":["8_abc"],"expires_in":7200}`:                             {result: fetchUnusable},
		`{"access_token":"8_abc","expires_in":1.5}`:                                {result: fetchUnusable},
		`{"ticket":"8_abc","expires_in":7200}`:                                     {result: fetchUnusable},
		`{}`:                                                                       {result: fetchUnusable},
		``:                                                                         {result: fetchUnusable},
		`<html><body>502 Bad Gateway</body></html>`:                                {result: fetchUnusable},
		`[]`: {result: fetchUnusable},
		`{"access_token":"` + strings.Repeat("a", maxTokenValue+1) + `","expires_in":7200}`: {result: fetchUnusable},
		`{"access_token":"` + strings.Repeat("a", maxTokenValue) + `","expires_in":7200}`: {
			value: strings.Repeat("a", maxTokenValue), life: 2 * time.Hour,
		},
	} {
		got, failed := readToken([]byte(body), AccessToken)
		if failed == nil {
			failed = &fetchFailure{}
		}
		if got.value != want.value || got.life != want.life || failed.result != want.result || failed.errcode != want.errcode || failed.rid != want.rid {
			t.Errorf("%.80q: %+v, %+v", body, got, failed)
		}
	}
}

func TestAddressIn(t *testing.T) {
	for message, want := range map[string]string{
		"invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 65f0c1a2-3c4d5e6f-77889900": "203.0.113.9",
		"invalid ip 2001:db8::7, not in whitelist":                                                         "2001:db8::7",
		"not in whitelist": "invalid IP",
		"deadbeef: 1.2.3":  "invalid IP",
	} {
		if got := addressIn(message); got.String() != want {
			t.Errorf("%q: %s", message, got)
		}
	}
}

// A decoder of what comes from outside says yes only to what can be used.
func FuzzTokenAnswer(f *testing.F) {
	f.Add([]byte(`{"access_token":"8_abc","expires_in":7200}`))
	f.Add([]byte(`{"errcode":40164,"errmsg":"invalid ip 203.0.113.9, not in whitelist rid: 65f0c1a2-3c4d5e6f-77889900"}`))
	f.Add([]byte("{\"ticket\":\"8_a\x01\",\"errcode\":\"0\",\"expires_in\":\"7200\"}"))
	f.Add([]byte(`"8_abc"`))
	f.Add([]byte(`8_abc`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range credentialKinds {
			got, failed := readToken(body, kind)
			if failed != nil {
				if failed.result == fetchOK || len(failed.Error()) > 1000 || len(failed.rid) > 40 || got != (tokenAnswer{}) {
					t.Errorf("%+v, %+v", got, failed)
				}
				continue
			}
			if checkCredentialValue(got.value) != nil || got.life < time.Second || got.life > maxTokenLife {
				t.Errorf("%+v", got)
			}
		}
		if value, err := decodeForeign(body); err == nil && checkCredentialValue(value) != nil {
			t.Errorf("%q", value)
		}
	})
}

// Whatever stands on the board and in the store is read or refused.
func FuzzSharedState(f *testing.F) {
	seal, err := newSealer(testKey(), nil)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	f.Add(seal.seal("key", &held{Credential: Credential{Value: "8_abc", Expires: now}, fence: 7, fetched: now}))
	f.Add([]byte(`{"settings":"00","until":1800000000000,"failures":3,"result":2,"errcode":-1}`))
	f.Add([]byte(`{"day":20000,"forced":-1,"last":9223372036854775807,"free":9223372036854775807}`))
	f.Add(make([]byte, recordHead+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := seal.open("another key", b); err == nil {
			t.Errorf("opened %v", h)
		}
		if h, err := decodeRecord(b); err == nil && checkCredentialValue(h.Value) != nil {
			t.Errorf("%q", h.Value)
		}
		if n, err := decodeNotice(b); err == nil && n.Result >= uint8(fetchResults) {
			t.Errorf("%+v", n)
		}
		r := decodeRation(b, now)
		if at, ok := r.heal(now, healEvery); !ok && at.After(now.Add(2*time.Hour)) {
			t.Errorf("no replacement until %v", at)
		}
		if at, ok := r.force(now); !ok && at.After(now.Add(2*time.Hour)) {
			t.Errorf("nothing forced until %v", at)
		}
	})
}

// TestTicketFailsAsItsToken: a ticket that wants a token says why there is none, and
// doesn't wait as long as the token does.
func TestTicketFailsAsItsToken(t *testing.T) {
	failed := &fetchFailure{result: fetchFailed, status: 502, cause: "dial tcp 10.0.0.1:443: connect: connection refused", rid: "r-1", pause: time.Minute}
	got := becauseOf(&CredentialError{App: "shop", Kind: AccessToken, cause: failed})
	if got.Error() != failed.Error() || got.pause != 0 || failed.pause != time.Minute {
		t.Errorf("got %q, pause %v", got.Error(), got.pause)
	}
	if got := becauseOf(context.Canceled); got.result != fetchTimeout {
		t.Errorf("got %q", got.Error())
	}
}
