package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// fetchTime is how long a call for a credential may take.
const fetchTime = 5 * time.Second

// Doer sends a request as http.Client's Do does. It must not follow redirects:
// the request holds the app's secret.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// tokenSource is where a slot has new credentials from.
type tokenSource interface {
	// fetch asks for a new one. refused is the one that failed, "" where none
	// did; force asks for another one with all means, where the source has them.
	fetch(ctx context.Context, refused string, force bool) (tokenAnswer, *fetchFailure)
}

// newTokenSource makes the source of a kind; nil: the app has none.
func newTokenSource(a *AppCredentials, kind CredentialKind) tokenSource {
	c, o := &a.config, &a.host.options
	switch {
	case c.Source == FromHTTP:
		return &serviceSource{service: c.Service, kind: kind}
	case c.Source == FromRedis:
		if c.Keys[kind] == "" {
			return nil
		}
		return &foreignSource{keys: o.Foreign, key: c.Keys[kind], kind: kind}
	case kind != AccessToken:
		return &ticketSource{client: o.Client, base: c.Base, kind: kind, tokens: a}
	case c.Plain:
		return &plainSource{client: o.Client, base: c.Base, appID: c.AppID, secret: c.Secret}
	}
	return &stableSource{client: o.Client, base: c.Base, appID: c.AppID, secret: c.Secret}
}

// stableSource is POST /cgi-bin/stable_token: the same token for all who ask,
// until about five minutes before its end.
type stableSource struct {
	client              Doer
	base, appID, secret string
}

func (s *stableSource) fetch(ctx context.Context, _ string, force bool) (tokenAnswer, *fetchFailure) {
	body, err := stableRequest(s.appID, s.secret, force)
	if err != nil {
		return tokenAnswer{}, &fetchFailure{result: fetchFailed}
	}
	return askWeChat(ctx, s.client, http.MethodPost, s.base+"/cgi-bin/stable_token", body, AccessToken)
}

// stableRequest is the body of a call of stable_token.
func stableRequest(appID, secret string, force bool) ([]byte, error) {
	return json.Marshal(struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}{"client_credential", appID, secret, force})
}

// plainSource is GET /cgi-bin/token: each call gives a new token and voids the
// one before, which lives on for five minutes.
type plainSource struct {
	client              Doer
	base, appID, secret string
}

func (s *plainSource) fetch(ctx context.Context, _ string, _ bool) (tokenAnswer, *fetchFailure) {
	query := url.Values{"grant_type": {"client_credential"}, "appid": {s.appID}, "secret": {s.secret}}
	return askWeChat(ctx, s.client, http.MethodGet, s.base+"/cgi-bin/token?"+query.Encode(), nil, AccessToken)
}

// ticketSource is GET /cgi-bin/ticket/getticket.
type ticketSource struct {
	client Doer
	base   string
	kind   CredentialKind
	tokens *AppCredentials
}

func (s *ticketSource) fetch(ctx context.Context, _ string, _ bool) (tokenAnswer, *fetchFailure) {
	token, err := s.tokens.Get(ctx, AccessToken)
	if err != nil {
		return tokenAnswer{}, becauseOf(err)
	}
	answer, failed := s.ask(ctx, token.Value)
	if failed == nil || !voided(failed.errcode) {
		return answer, failed
	}
	if token, err = s.tokens.Refused(ctx, AccessToken, token.Value); err != nil {
		return tokenAnswer{}, becauseOf(err)
	}
	answer, failed = s.ask(ctx, token.Value)
	if failed != nil && voided(failed.errcode) {
		failed.result, failed.pause = fetchErrcode, 0 // it says nothing of the secret
	}
	return answer, failed
}

func (s *ticketSource) ask(ctx context.Context, token string) (tokenAnswer, *fetchFailure) {
	query := url.Values{"type": {strings.TrimSuffix(string(s.kind), "_ticket")}, "access_token": {token}}
	return askWeChat(ctx, s.client, http.MethodGet, s.base+"/cgi-bin/ticket/getticket?"+query.Encode(), nil, s.kind)
}

// becauseOf is the failure of a ticket for which there is no access_token.
func becauseOf(err error) *fetchFailure {
	var failed *fetchFailure
	if errors.As(err, &failed) {
		// The pause is the token's: a ticket is asked for again soon after it.
		because := *failed
		because.pause = 0
		return &because
	}
	return &fetchFailure{result: fetchTimeout}
}

// askWeChat makes a call that gives kind.
func askWeChat(ctx context.Context, client Doer, method, at string, body []byte, kind CredentialKind) (tokenAnswer, *fetchFailure) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	_, said, failed := exchange(ctx, client, method, at, body)
	if failed != nil {
		return tokenAnswer{}, failed
	}
	return readToken(said, kind)
}

// exchange makes a call of WeChat, and returns what it said under status 200. The
// header is nil where nothing was answered.
func exchange(ctx context.Context, client Doer, method, at string, body []byte) (http.Header, []byte, *fetchFailure) {
	req, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		return nil, nil, &fetchFailure{result: fetchFailed} // the error has the URL
	}
	req.Header.Set("User-Agent", "Weft")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, brokenCall(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // what could be read was
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer+1))
	switch {
	case err != nil:
		return resp.Header, nil, brokenCall(ctx, err)
	case resp.StatusCode != http.StatusOK:
		return resp.Header, nil, &fetchFailure{result: fetchFailed, status: resp.StatusCode}
	case len(said) > maxTokenAnswer:
		return resp.Header, nil, &fetchFailure{result: fetchUnusable}
	}
	return resp.Header, said, nil
}

// brokenCall is a call that brought no answer.
func brokenCall(ctx context.Context, err error) *fetchFailure {
	var timeout net.Error
	if ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout() {
		return &fetchFailure{result: fetchTimeout}
	}
	f := &fetchFailure{result: fetchFailed}
	var network *net.OpError // its text is the address and the system's word
	var certificate *tls.CertificateVerificationError
	var upstream *Error
	switch {
	case errors.As(err, &network):
		f.cause = network.Error()
	case errors.As(err, &certificate):
		f.cause = certificate.Error()
	case errors.As(err, &upstream):
		f.cause = upstream.Error()
	}
	f.cause = shortened(f.cause)
	return f
}

// serviceSource is another system, over the interface that this host serves
// under /credential.
type serviceSource struct {
	service CredentialService
	kind    CredentialKind
}

func (s *serviceSource) fetch(ctx context.Context, refused string, _ bool) (tokenAnswer, *fetchFailure) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	method, body := http.MethodGet, []byte(nil)
	if refused != "" {
		encoded, err := json.Marshal(struct {
			Value string `json:"value"`
		}{refused})
		if err != nil {
			return tokenAnswer{}, &fetchFailure{result: fetchFailed}
		}
		method, body = http.MethodPost, encoded
	}
	status, said, err := s.service.Exchange(ctx, method, string(s.kind), body)
	switch {
	case err != nil:
		return tokenAnswer{}, brokenCall(ctx, err)
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound:
		return tokenAnswer{}, &fetchFailure{result: fetchRefused, status: status, pause: pauseAddress}
	case status != http.StatusOK:
		return tokenAnswer{}, &fetchFailure{result: fetchFailed, status: status}
	case len(said) > maxTokenAnswer:
		return tokenAnswer{}, &fetchFailure{result: fetchUnusable}
	}
	answer, err := decodeWire(said)
	if err != nil {
		return tokenAnswer{}, &fetchFailure{result: fetchUnusable}
	}
	return usableToken(answer.Value, answer.ExpiresIn)
}

// foreignLife is how long what another system left without an end is taken for
// good; it is looked at again long before.
const foreignLife = 5 * time.Minute

// foreignSource is a key that another system writes.
type foreignSource struct {
	keys ForeignKeys
	key  string
	kind CredentialKind
}

func (s *foreignSource) fetch(ctx context.Context, _ string, _ bool) (tokenAnswer, *fetchFailure) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	value, ttl, err := s.keys.LookForeign(ctx, s.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return tokenAnswer{}, &fetchFailure{result: fetchNone}
	case err != nil:
		return tokenAnswer{}, brokenCall(ctx, err)
	case ttl <= 0:
		ttl = foreignLife
	}
	token, err := decodeForeign(value)
	if err != nil {
		return tokenAnswer{}, &fetchFailure{result: fetchUnusable}
	}
	return tokenAnswer{value: token, life: min(ttl, maxTokenLife)}, nil
}

// decodeForeign reads what another system left: the credential as it is, a JSON
// string of it, or an object that has it as value, access_token or ticket.
func decodeForeign(b []byte) (string, error) {
	if len(b) > maxTokenAnswer {
		return "", fmt.Errorf("%d bytes, at most %d are read", len(b), maxTokenAnswer)
	}
	b = bytes.TrimSpace(b)
	value := string(b)
	switch {
	case bytes.HasPrefix(b, []byte("{")):
		w, err := decodeWire(b)
		if err != nil {
			return "", err
		}
		for _, value = range []string{w.Value, w.AccessToken, w.Ticket} {
			if value != "" {
				break
			}
		}
	case bytes.HasPrefix(b, []byte(`"`)):
		if err := json.Unmarshal(b, &value); err != nil {
			return "", errors.New("it is no JSON of the expected form")
		}
	}
	return value, checkCredentialValue(value)
}
