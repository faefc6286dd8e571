package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Probe asks for once what a host asks for as it goes: nothing is kept, counted,
// limited or repeated, and nothing that runs feels it. It never asks WeChat for a
// token that voids another one. Its methods return in the time of their context.
type Probe struct {
	Client Doer   // must not follow redirects
	Base   string // of WeChat's API, such as https://api.weixin.qq.com
}

// Probed is what a call of WeChat's API was answered with.
type Probed struct {
	Errcode Errcode    // its Code is 0 where nothing is wrong
	Rid     string     // under which WeChat knows the call; "": it says none
	Address netip.Addr // the caller's, where WeChat refuses it and says which; else not valid
	Date    time.Time  // by WeChat's clock, in whole seconds; zero: it says none
	Body    []byte     // of status 200
}

// errPlain is asking for a token that is not stable_token's.
var errPlain = errors.New("not asked for: the call would void the token that is in use")

// Token asks the source of c for an access_token as hosts do, but with a plain
// source, which is an error. foreign is for FromRedis. The token is "" where WeChat
// answers with an errcode, which is in said. The error holds nothing that is secret.
func (p Probe) Token(ctx context.Context, c CredentialConfig, foreign ForeignKeys) (token string, said Probed, err error) {
	var source tokenSource
	switch {
	case c.Source == FromHTTP:
		source = &serviceSource{service: c.Service, kind: AccessToken}
	case c.Source == FromRedis:
		source = &foreignSource{keys: foreign, key: c.Keys[AccessToken], kind: AccessToken}
	case c.Plain:
		return "", Probed{}, errPlain
	default:
		body, err := stableRequest(c.AppID, c.Secret, false)
		if err != nil {
			return "", Probed{}, err
		}
		if said, err = p.call(ctx, http.MethodPost, "/cgi-bin/stable_token", body); err != nil || said.Errcode.Code != 0 {
			return "", said, err
		}
		answer, failed := readToken(said.Body, AccessToken)
		if failed != nil {
			return "", said, failed
		}
		return answer.value, said, nil
	}
	answer, failed := source.fetch(ctx, "", false)
	if failed != nil {
		return "", Probed{}, failed
	}
	return answer.value, Probed{}, nil
}

// Call calls path with a token; "": without one, which WeChat answers with an
// errcode. body is JSON, nil for a GET. The error is a call without an answer of
// status 200 that can be read, and holds nothing that is secret; of said it leaves
// Date, where there is one.
func (p Probe) Call(ctx context.Context, path, token string, body any) (said Probed, err error) {
	if token != "" {
		path += "?" + url.Values{"access_token": {token}}.Encode()
	}
	if body == nil {
		return p.call(ctx, http.MethodGet, path, nil)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return Probed{}, err
	}
	return p.call(ctx, http.MethodPost, path, encoded)
}

func (p Probe) call(ctx context.Context, method, at string, body []byte) (said Probed, err error) {
	header, answer, failed := exchange(ctx, p.Client, method, p.Base+at, body)
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		said.Date = date
	}
	if failed != nil {
		return said, failed
	}
	if !json.Valid(readable(answer)) {
		return said, &fetchFailure{result: fetchUnusable}
	}
	code := readErrcode(answer)
	said.Errcode, said.Body = LookupErrcode(code.code), answer
	if code.code != 0 {
		said.Rid = Rid(code.text)
		if f := errcodeFailure(code.code, code.text); f.result == fetchAddress {
			said.Address = f.address
		}
	}
	return said, nil
}

// Decode reads an answer into v as WeChat writes it: see readable.
func (p *Probed) Decode(v any) error {
	if json.Unmarshal(readable(p.Body), v) != nil {
		return &fetchFailure{result: fetchUnusable} // the error may quote it
	}
	return nil
}
