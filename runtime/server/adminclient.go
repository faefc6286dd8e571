package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/weft-dev/weft/runtime/config"
)

// maxAdminAnswer bounds an answer of the admin API, in bytes.
const maxAdminAnswer = 16 << 20

// adminClient asks a running host over its admin listener.
type adminClient struct {
	base  *url.URL
	token string
	where string // where the token is from, for errors
}

// newAdminClient makes a client of the host that address names, http://HOST:PORT,
// which is shown token; where address is empty, of the host that the section
// server of file describes.
func newAdminClient(file, address, token string) (*adminClient, error) {
	if address != "" {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("--admin %w: give http://HOST:PORT", ErrAddress)
		}
		return &adminClient{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, token: token, where: "$WEFT_ADMIN_TOKEN"}, nil
	}
	src, err := readAtMost(file, config.MaxFile+1)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w: name it with -c, or the host with --admin", err)
	}
	var from *sources // which keeps nothing
	s, problems := config.ParseServer(file, src, config.Options{Getenv: os.LookupEnv, ReadFile: from.secretReader()})
	if problems.Err() != nil {
		return nil, problems
	}
	host, err := reached("server.admin", s.Admin, "--admin")
	if err != nil {
		return nil, err
	}
	return &adminClient{base: &url.URL{Scheme: "http", Host: host}, token: s.AdminToken, where: "server.admin_token in " + file}, nil
}

// ask sends one request and decodes the answer.
func (c *adminClient) ask(ctx context.Context, method, path string, query url.Values, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking %s: %w", c.base, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return c.refused(resp, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the answer of %s can't be read: %w: is a Weft of this version running there?", c.base, err)
	}
	return nil
}

// send sends a request with the token.
func (c *adminClient) send(req *http.Request) (*http.Response, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
	resp, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("asking %s: %w: is `weft serve` running there?", c.base, err)
	}
	return resp, nil
}

// refused is the error of an answer that is not status 200.
func (c *adminClient) refused(resp *http.Response, answer []byte) error {
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.token == "":
		return fmt.Errorf("%s asks for a token: it is read from %s", c.base, c.where)
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s refuses the token: it has another one than %s", c.base, c.where)
	}
	return fmt.Errorf("%s answered %s: %s", c.base, resp.Status, errorMessage(answer))
}

// stream posts a request whose answer goes on, and returns its body.
func (c *adminClient) stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.base, err)
	}
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	return nil, errors.Join(c.refused(resp, answer), err, resp.Body.Close())
}
