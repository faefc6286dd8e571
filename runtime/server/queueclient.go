package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/weft-dev/weft/runtime/pipeline"
)

// askedPage is how many entries of a listing fit in an answer.
const askedPage = 500

// QueueClient asks a running host about its durable queue, over the admin
// listener.
type QueueClient struct{ *adminClient }

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
	c, err := newAdminClient(file, address, token)
	if err != nil {
		return nil, err
	}
	return &QueueClient{c}, nil
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
