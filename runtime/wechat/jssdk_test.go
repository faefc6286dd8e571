package wechat

import (
	"strings"
	"testing"
)

func TestVectorsJSSDK(t *testing.T) {
	var cases []struct {
		Name, NonceStr, Timestamp, URL, Signature string
		Ticket                                    string `json:"jsapi_ticket"`
	}
	vectors(t, "jssdk_signature.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			for _, fragment := range []string{"", "#", "#/a?b#c"} {
				got := SignPage(c.Ticket, c.NonceStr, unix(t, c.Timestamp).Unix(), c.URL+fragment)
				if got != c.Signature {
					t.Errorf("with %q: signature %s, want %s", fragment, got, c.Signature)
				}
			}
		})
	}
}

// TestSignPage holds the signature of a long address, and that all of it counts.
func TestSignPage(t *testing.T) {
	page := "https://www.acme.cn/?q=" + strings.Repeat("%E4%BD%A0", 300)
	got := SignPage("ticket", "nonce", 1700000000, page)
	if want := "945bbf8d2ceeaf38a46d26c9629de5c5bc021b63"; got != want { // openssl dgst -sha1
		t.Errorf("signature %s, want %s", got, want)
	}
	for _, other := range []string{page + "&", page + "/", strings.Replace(page, "https", "http", 1)} {
		if SignPage("ticket", "nonce", 1700000000, other) == got {
			t.Errorf("another address has the signature: %s", other[len(other)-5:])
		}
	}
}
