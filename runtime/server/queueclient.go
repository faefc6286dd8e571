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
	"strconv"

	"github.com/weft-dev/weft/runtime/config"
	"github.com/weft-dev/weft/runtime/pipeline"
)

// maxQueueAnswer bounds an answer of the queue's API, in bytes; askedPage is how
// many entries of a listing fit in.
const (
	maxQueueAnswer = 16 << 20
	askedPage      = 500
)

// QueueClient asks a running host about its durable queue, over the admin
// listener.
type QueueClient struct {
	base  *url.URL
	token string
	where string // where the token is from, for errors
}

// QueueQuery chooses entries of the durable queue; an empty member chooses all.
type QueueQuery struct {
	State    string // ready, delayed, claimed or dead; Retry and Drop don't look at it
	App      string
	Pipeline string
	Stage    string
}

// NewQueueClient makes a client of the host that address names, http://HOST:PORT,
// which is shown token; where address is empty, of the host that the section
// server of file describes. It asks nothing yet.
func NewQueueClient(file, address, token string) (*QueueClient, error) {
	if address != "" {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			return nil, errors.New("--admin is no address: give http://HOST:PORT")
		}
		return &QueueClient{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, token: token, where: "$WEFT_ADMIN_TOKEN"}, nil
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w: name it with -c, or the host with --admin", err)
	}
	s, problems := config.ParseServer(file, src, config.Options{Getenv: os.LookupEnv, ReadFile: os.ReadFile})
	if problems.Err() != nil {
		return nil, problems
	}
	host, err := reached("server.admin", s.Admin, "--admin")
	if err != nil {
		return nil, err
	}
	return &QueueClient{base: &url.URL{Scheme: "http", Host: host}, token: s.AdminToken, where: "server.admin_token in " + file}, nil
}

// List gives up to limit entries, at least 1, from that after an earlier list's
// Next on, "" for the oldest.
func (c *QueueClient) List(ctx context.Context, q QueueQuery, after string, limit int) (QueueList, error) {
	list := QueueList{Entries: []QueueEntry{}, Next: after}
	for {
		values := url.Values{"limit": {strconv.Itoa(min(limit-len(list.Entries), askedPage))}}
		for name, value := range map[string]string{"state": q.State, "app": q.App, "pipeline": q.Pipeline, "stage": q.Stage, "after": list.Next} {
			if value != "" {
				values.Set(name, value)
			}
		}
		var page QueueList
		if err := c.ask(ctx, http.MethodGet, "/admin/v1/queue", values, nil, &page); err != nil {
			return QueueList{}, err
		}
		list.Entries, list.Next = append(list.Entries, page.Entries...), page.Next
		if list.Next == "" || len(list.Entries) >= limit {
			return list, nil
		}
	}
}

// Retry has the dead entries of keys run again at once, as if they had not been
// tried.
func (c *QueueClient) Retry(ctx context.Context, keys []string) (QueueChange, error) {
	return c.change(ctx, "retry", keys)
}

// Drop removes the dead entries of keys.
func (c *QueueClient) Drop(ctx context.Context, keys []string) (QueueChange, error) {
	return c.change(ctx, "drop", keys)
}

// RetryAll is Retry of all dead entries that q chooses.
func (c *QueueClient) RetryAll(ctx context.Context, q QueueQuery) (QueueChange, error) {
	return c.changeAll(ctx, "retry", q)
}

// DropAll is Drop of all dead entries that q chooses.
func (c *QueueClient) DropAll(ctx context.Context, q QueueQuery) (QueueChange, error) {
	return c.changeAll(ctx, "drop", q)
}

func (c *QueueClient) change(ctx context.Context, action string, keys []string) (QueueChange, error) {
	var all QueueChange
	for len(keys) > 0 {
		n := min(len(keys), pipeline.MaxQueuePage)
		var part QueueChange
		if err := c.order(ctx, action, queueOrder{Keys: keys[:n]}, &part); err != nil {
			return all, err
		}
		all.Changed, all.Missing, keys = all.Changed+part.Changed, append(all.Missing, part.Missing...), keys[n:]
	}
	return all, nil
}

func (c *QueueClient) changeAll(ctx context.Context, action string, q QueueQuery) (QueueChange, error) {
	var all QueueChange
	order := queueOrder{All: true, App: q.App, Pipeline: q.Pipeline, Stage: q.Stage}
	for {
		var part QueueChange
		if err := c.order(ctx, action, order, &part); err != nil {
			return all, err
		}
		all.Changed += part.Changed
		if order.After = part.Next; order.After == "" {
			return all, nil
		}
	}
}

func (c *QueueClient) order(ctx context.Context, action string, order queueOrder, into *QueueChange) error {
	body, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	return c.ask(ctx, http.MethodPost, "/admin/v1/queue/"+action, nil, body, into)
}

// ask sends one request and decodes the answer.
func (c *QueueClient) ask(ctx context.Context, method, path string, query url.Values, body []byte, into any) error {
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
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxQueueAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return c.refused(resp, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the answer of %s is no queue's: %w: is a Weft of this version running there?", c.base, err)
	}
	return nil
}

// send sends a request with the token.
func (c *QueueClient) send(req *http.Request) (*http.Response, error) {
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
func (c *QueueClient) refused(resp *http.Response, answer []byte) error {
	switch {
	case resp.StatusCode == http.StatusUnauthorized && c.token == "":
		return fmt.Errorf("%s asks for a token: it is read from %s", c.base, c.where)
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s refuses the token: it has another one than %s", c.base, c.where)
	}
	return fmt.Errorf("%s answered %s: %s", c.base, resp.Status, errorMessage(answer))
}
