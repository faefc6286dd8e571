package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// maxRefusedBody is the most that a request for another credential may have, in
// bytes: a value with every character escaped.
const maxRefusedBody = 6*maxTokenValue + 1<<10

// Exchange answers what other systems ask under /credential/{app}/{kind}, of a
// caller that may: GET gives the credential, {"value","expires_in"}, and POST of
// {"value"} another one than that, which was refused. An error says why there is
// no answer, and the status what it is: 400, 404 (no such kind), 405, 503, or 504
// where ctx ended. It is a CredentialService.
func (a *AppCredentials) Exchange(ctx context.Context, method, kind string, body []byte) (status int, answer []byte, err error) {
	var c Credential
	switch method {
	case http.MethodGet:
		c, err = a.Get(ctx, CredentialKind(kind))
	case http.MethodPost:
		var value string
		if value, err = decodeRefused(body); err != nil {
			return http.StatusBadRequest, nil, err
		}
		c, err = a.Refused(ctx, CredentialKind(kind), value)
	default:
		return http.StatusMethodNotAllowed, nil, errors.New("a credential is asked for by GET, another one by POST")
	}
	switch {
	case errors.Is(err, errUnknownKind):
		return http.StatusNotFound, nil, err
	case errors.Is(err, ErrNoCredential):
		return http.StatusServiceUnavailable, nil, err
	case err != nil:
		return http.StatusGatewayTimeout, nil, err
	}
	answer, err = json.Marshal(struct {
		Value     string `json:"value"`
		ExpiresIn int64  `json:"expires_in"`
	}{c.Value, int64(c.Expires.Sub(a.host.options.Now()) / time.Second)})
	if err != nil {
		return http.StatusInternalServerError, nil, fmt.Errorf("encode an answer: %w", err)
	}
	return http.StatusOK, answer, nil
}

// decodeRefused reads which credential was refused.
func decodeRefused(body []byte) (string, error) {
	var said struct {
		Value string `json:"value"`
	}
	if len(body) > maxRefusedBody || json.Unmarshal(body, &said) != nil || checkCredentialValue(said.Value) != nil {
		return "", errors.New(`the body must be {"value": "the credential that was refused"}`)
	}
	return said.Value, nil
}
