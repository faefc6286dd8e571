package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os/exec"
	"strings"
	"testing"
)

// object is a part of a token as it is written.
type object map[string]any

func (o object) with(key string, value any) object {
	o = maps.Clone(o)
	if o[key] = value; value == nil {
		delete(o, key)
	}
	return o
}

func (o object) encode(t testing.TB) string {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return encoding.EncodeToString(b)
}

func decodeObject(t testing.TB, part string) (o object) {
	t.Helper()
	b, err := encoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// signed writes a token with any header and claims, and a true signature.
func signed(t testing.TB, header, claims object, key ed25519.PrivateKey) string {
	t.Helper()
	text := header.encode(t) + "." + claims.encode(t)
	return text + "." + encoding.EncodeToString(ed25519.Sign(key, []byte(text)))
}

// hashed writes a token with an HMAC, for which secret is the key.
func hashed(t testing.TB, header, claims object, secret []byte) string {
	t.Helper()
	text := header.encode(t) + "." + claims.encode(t)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + encoding.EncodeToString(mac.Sum(nil))
}

// Whatever is not our key's EdDSA over a token of this app is refused.
func TestTokenRefused(t *testing.T) {
	h := newHost(t)
	token := h.begin(testConfig()).Token
	head, rest, _ := strings.Cut(token, ".")
	body, signature, _ := strings.Cut(rest, ".")
	header, claims := decodeObject(t, head), decodeObject(t, body)
	own, strange := h.keys[0], ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	public := encoding.EncodeToString(strange.Public().(ed25519.PublicKey))

	h.good("the token written anew", signed(t, header, claims, own.private))
	for name, text := range map[string]string{
		"nothing":                         "",
		"no token":                        "x.y.z",
		"only dots":                       "..",
		"none":                            header.with("alg", "none").encode(t) + "." + body + ".",
		"none, our signature":             header.with("alg", "none").encode(t) + "." + body + "." + signature,
		"None":                            header.with("alg", "None").encode(t) + "." + body + ".",
		"no algorithm":                    signed(t, header.with("alg", nil), claims, own.private),
		"no signature":                    head + "." + body + ".",
		"HS256 by our public key":         hashed(t, header.with("alg", "HS256"), claims, own.public),
		"HS256 by its text":               hashed(t, header.with("alg", "HS256"), claims, []byte(encoding.EncodeToString(own.public))),
		"HS256 by our JWKS":               hashed(t, header.with("alg", "HS256"), claims, h.JWKS()),
		"HS256 by nothing":                hashed(t, header.with("alg", "HS256"), claims, nil),
		"HS256 in name":                   signed(t, header.with("alg", "HS256"), claims, own.private),
		"ES256 in name":                   signed(t, header.with("alg", "ES256"), claims, own.private),
		"RS256 in name":                   signed(t, header.with("alg", "RS256"), claims, own.private),
		"eddsa":                           signed(t, header.with("alg", "eddsa"), claims, own.private),
		"another key by our kid":          signed(t, header, claims, strange),
		"another key by its own kid":      signed(t, header.with("kid", public), claims, strange),
		"another key in the token itself": signed(t, header.with("kid", nil).with("jwk", object{"kty": "OKP", "crv": "Ed25519", "x": public}), claims, strange),
		"no kid":                          signed(t, header.with("kid", nil), claims, own.private),
		"a kid that is a list":            signed(t, header.with("kid", []string{own.id}), claims, own.private),
		"another app":                     signed(t, header, claims.with("aud", []string{"bank"}), own.private),
		"no app":                          signed(t, header, claims.with("aud", nil), own.private),
		"another issuer":                  signed(t, header, claims.with("iss", testIssuer+"/"), own.private),
		"no issuer":                       signed(t, header, claims.with("iss", nil), own.private),
		"no expiry":                       signed(t, header, claims.with("exp", nil), own.private),
		"expired":                         signed(t, header, claims.with("exp", h.clock.Now().Unix()-1), own.private),
		"an expiry that is no number":     signed(t, header, claims.with("exp", "never"), own.private),
		"no session":                      signed(t, header, claims.with("sid", nil), own.private),
		"a session that never was":        signed(t, header, claims.with("sid", sessionID{1}.String()), own.private),
		"a session's id with a line end":  signed(t, header, claims.with("sid", claims["sid"].(string)+"\n"), own.private),
		"other claims, same signature":    head + "." + claims.with("openid", "oOTHER").encode(t) + "." + signature,
		"with Bearer":                     "Bearer " + token,
		"a space after":                   token + " ",
		"padding":                         token + "==",
		"a line end within":               head + "\n." + body + "." + signature,
		"a fourth part":                   token + "." + signature,
		"too long":                        signed(t, header, claims.with("pad", strings.Repeat("x", maxToken)), own.private),
		"standard base64":                 head + "." + body + "." + base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 64)),
	} {
		_, err := h.Verify(t.Context(), testConfig(), text)
		refused(t, name, err)
		if err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error has the token: %v", name, err)
		}
	}
	bank := testConfig()
	bank.App = "bank"
	_, err := h.Verify(t.Context(), bank, token)
	refused(t, "the token at another app", err)
	for i := range token {
		changed := []byte(token)
		if changed[i]++; changed[i] == '.'+1 {
			continue // a dot that isn't one any more: no token of three parts, as above
		}
		if _, err := h.Verify(t.Context(), testConfig(), string(changed)); err == nil {
			t.Errorf("character %d changed, and it was taken: %s", i, changed)
		}
	}
}

// A session of one app, moved in the store to where another app's would stand, is
// not opened there, nor where it was when the app has another account.
func TestRecordIsBound(t *testing.T) {
	h := newHost(t)
	id := sessionID{7}
	c := testConfig()
	sealed, err := h.sealRecord(c, id, record{OpenID: "o"})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []struct {
		app, appID string
		id         sessionID
	}{{"bank", c.AppID, id}, {c.App, c.AppID, sessionID{7, 1}}, {c.App, "wx2", id}} {
		bucket, key := at.id.place(at.app)
		setValue(t, h.store, bucket, key, sealed)
		_, _, err := h.record(t.Context(), SessionConfig{App: at.app, AppID: at.appID}, at.id)
		refused(t, "moved to "+bucket, err)
	}
	bucket, key := id.place(c.App)
	setValue(t, h.store, bucket, key, sealed)
	if r, _, err := h.record(t.Context(), c, id); err != nil || r.OpenID != "o" {
		t.Errorf("where it belongs: %+v, %v", r, err)
	}
}

// What a token tells of the user is what the app's settings say.
func TestClaims(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		claims []string
		want   object
	}{
		{nil, object{}},
		{[]string{ClaimOpenID}, object{"openid": testUser.OpenID}},
		{[]string{ClaimUnionID}, object{"unionid": testUser.UnionID}},
		{[]string{ClaimOpenID, ClaimUnionID}, object{"openid": testUser.OpenID, "unionid": testUser.UnionID}},
	} {
		config := testConfig()
		config.Claims = c.claims
		token := h.begin(config).Token
		h.good("a session with few claims", token)
		got := decodeObject(t, strings.Split(token, ".")[1])
		now := float64(h.clock.Now().Unix())
		if got["iss"] != testIssuer || got["exp"] != now+3600 || got["iat"] != now || len(got["sid"].(string)) != 22 {
			t.Errorf("%v", got)
		}
		for _, always := range []string{"iss", "aud", "iat", "exp", "sid"} {
			delete(got, always)
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("claims %q give %v", c.claims, got)
		}
	}
}

// While the key is changed, hosts with the old and the new one take each other's
// sessions; when the old one is gone, its tokens are.
func TestKeyChange(t *testing.T) {
	h, c := newHost(t), testConfig()
	host := func(key byte, previous ...[]byte) *Sessions {
		return newSessions(t, h.store, h.clock.Now, testKey(key), previous...)
	}
	old, ready, changed, after := host(1), host(1, testKey(2)), host(2, testKey(1)), host(2)
	first := h.begin(c)
	if _, err := changed.Verify(t.Context(), testConfig(), first.Token); err != nil {
		t.Errorf("the old key's token on a host with the new one: %v", err)
	}
	second, err := changed.Rotate(t.Context(), c, first.RefreshToken)
	if err != nil {
		t.Fatalf("the old key's refresh token on a host with the new one: %v", err)
	}
	_, err = old.Verify(t.Context(), testConfig(), second.Token)
	refused(t, "the new key's token on a host that doesn't have it", err)
	if _, err := ready.Verify(t.Context(), testConfig(), second.Token); err != nil {
		t.Errorf("the new key's token on a host that is ready for it: %v", err)
	}
	_, err = after.Verify(t.Context(), testConfig(), first.Token)
	refused(t, "the old key's token after the change", err)
	third, err := after.Rotate(t.Context(), c, second.RefreshToken)
	if err != nil {
		t.Fatalf("the new key's refresh token after the change: %v", err)
	}
	if _, err := after.Verify(t.Context(), testConfig(), third.Token); err != nil {
		t.Errorf("the new key's token after the change: %v", err)
	}
	// A token that was used before the change is known as such after it.
	_, err = changed.Rotate(t.Context(), c, first.RefreshToken)
	refused(t, "the old key's refresh token, again", err)
	_, err = after.Verify(t.Context(), testConfig(), third.Token)
	refused(t, "a token of the session that this has ended", err)

	var set struct{ Keys []jwk }
	if err := json.Unmarshal(host(2, testKey(1), testKey(2)).JWKS(), &set); err != nil || len(set.Keys) != 2 {
		t.Errorf("the keys that verify: %+v, %v", set, err)
	} else if set.Keys[0].ID != after.keys[0].id || set.Keys[1].ID != old.keys[0].id {
		t.Errorf("the keys that verify: %+v", set)
	}
}

// nodeVerifies is another program's way to verify a session: it has the JWKS and
// the token, nothing of ours, and finds the key by its thumbprint (RFC 7638).
const nodeVerifies = `
const crypto = require('crypto');
const { jwks, token } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const [head, body, signature] = token.split('.');
const header = JSON.parse(Buffer.from(head, 'base64url'));
const jwk = jwks.keys.find(k => k.kid === header.kid && k.use === 'sig' && k.alg === header.alg && header.alg === 'EdDSA');
const named = JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x });
if (crypto.createHash('sha256').update(named).digest('base64url') !== jwk.kid) throw new Error('the kid is no thumbprint');
const key = crypto.createPublicKey({ key: jwk, format: 'jwk' });
if (!crypto.verify(null, Buffer.from(head + '.' + body), key, Buffer.from(signature, 'base64url'))) throw new Error('not signed so');
process.stdout.write(Buffer.from(body, 'base64url'));
`

func TestNodeVerifies(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is missing: `make deps` installs it")
	}
	h := newHost(t)
	verify := func(token string) (string, error) {
		in, err := json.Marshal(object{"jwks": json.RawMessage(newSessions(t, h.store, nil, testKey(2), testKey(1)).JWKS()), "token": token})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "node", "-e", nodeVerifies)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		return string(out), err
	}
	token := h.begin(testConfig()).Token
	out, err := verify(token)
	if err != nil || !strings.Contains(out, `"openid":"`+testUser.OpenID+`"`) {
		t.Errorf("%s, %v", out, err)
	}
	head, rest, _ := strings.Cut(token, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	if out, err := verify(head + "." + decodeObject(t, claims).with("openid", "oOTHER").encode(t) + "." + signature); err == nil {
		t.Errorf("changed claims were verified: %s", out)
	}
}

func FuzzVerify(f *testing.F) {
	h := newHost(f)
	token, err := h.writeToken(testConfig(), sessionID{1}, record{OpenID: "o"}) // the same in every process of the fuzzer
	if err != nil {
		f.Fatal(err)
	}
	part := strings.Split(token, ".")
	f.Add(token)
	f.Add(part[0] + "." + part[1] + ".")
	f.Add("eyJhbGciOiJub25lIn0." + part[1] + ".")
	f.Add("..")
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := h.readToken("shop", text)
		if (err == nil) != (text == token) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil {
			refused(t, text, err)
		}
	})
}

func FuzzRefresh(f *testing.F) {
	h := newHost(f)
	made := refreshToken{id: sessionID{1}} // the same in every process of the fuzzer
	made.tag = h.keys[0].tag("shop", made)
	token := made.String()
	f.Add(token)
	f.Add(token[:85] + "B")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := h.readRefresh("shop", text)
		if (err == nil) != (text == token) || err == nil && got.String() != text {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"openid":"o","unionid":"u","refresh":[1,2,3],"until":1}`))
	f.Add([]byte(`{"openid":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, plain []byte) {
		r, err := decodeRecord(plain)
		if err != nil {
			refused(t, "a record", err)
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeRecord(again); err != nil || back != r {
			t.Errorf("%+v became %+v, %v", r, back, err)
		}
	})
}
