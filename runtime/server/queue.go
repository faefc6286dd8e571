package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/store"
)

// queuePage is how many entries a listing gives where it doesn't say.
const queuePage = 100

// queueAPI answers /admin/v1/queue: GET lists the durable queue, POST …/retry
// and …/drop change its dead entries.
type queueAPI struct{ engine *pipeline.Engine }

// route adds the paths to e.
func (q queueAPI) route(e *echo.Echo) {
	e.Any("/admin/v1/queue", readOnly(q.list))
	e.Any("/admin/v1/queue/retry", postOnly(q.change(pipeline.QueueRetry)))
	e.Any("/admin/v1/queue/drop", postOnly(q.change(pipeline.QueueDrop)))
}

// postOnly refuses what is not POST, and what a browser sends for a page of
// another site: the listener may have no token.
func postOnly(next echo.HandlerFunc) echo.HandlerFunc {
	check := http.NewCrossOriginProtection()
	return func(ec echo.Context) error {
		if ec.Request().Method != http.MethodPost {
			return wrongMethod(ec, http.MethodPost)
		}
		if check.Check(ec.Request()) != nil {
			return errCrossOrigin
		}
		return next(ec)
	}
}

// QueueEntry is an entry of the durable queue, as the admin API and the command
// give it: nothing of the user and of what was written is in it.
type QueueEntry struct {
	Key      string     `json:"key"`
	State    string     `json:"state"` // ready, delayed, claimed or dead
	App      string     `json:"app,omitempty"`
	Pipeline string     `json:"pipeline,omitempty"`
	Stages   []string   `json:"stages"` // that it goes on from; none: from the top
	Async    bool       `json:"async"`
	Type     string     `json:"type,omitempty"`
	Event    string     `json:"event,omitempty"`
	Attempt  uint32     `json:"attempt"`
	Tries    uint32     `json:"tries"`
	Appended time.Time  `json:"appended"`
	Next     *time.Time `json:"next,omitempty"` // null of a dead one
	Reason   string     `json:"reason,omitempty"`
}

// QueueList is what GET answers.
type QueueList struct {
	Entries []QueueEntry `json:"entries"`
	Next    string       `json:"next,omitempty"` // the after of the next page
}

// QueueChange is what POST answers.
type QueueChange struct {
	Changed int      `json:"changed"`
	Missing []string `json:"missing,omitempty"` // keys of no dead entry
	Next    string   `json:"next,omitempty"`    // the after with which it goes on
}

// queueOrder is the body of a POST.
type queueOrder struct {
	Keys     []string `json:"keys,omitempty"`
	All      bool     `json:"all,omitempty"`
	App      string   `json:"app,omitempty"`
	Pipeline string   `json:"pipeline,omitempty"`
	Stage    string   `json:"stage,omitempty"`
	After    string   `json:"after,omitempty"`
}

func (q queueAPI) list(ec echo.Context) error {
	query := ec.QueryParams()
	for name := range query {
		if !slices.Contains([]string{"state", "app", "pipeline", "stage", "after", "limit"}, name) || len(query[name]) != 1 {
			return badQueue("parameters are state, app, pipeline, stage, after and limit, each once")
		}
	}
	f := pipeline.QueueFilter{
		State: pipeline.QueueState(query.Get("state")), App: query.Get("app"), Pipeline: query.Get("pipeline"), Stage: query.Get("stage"),
	}
	if query.Has("state") && !slices.Contains(queueStates(), f.State) {
		return badQueue("state is ready, delayed, claimed or dead")
	}
	limit := queuePage
	if query.Has("limit") {
		var err error
		if limit, err = strconv.Atoi(query.Get("limit")); err != nil || limit < 1 || limit > pipeline.MaxQueuePage {
			return badQueue("limit is 1 to " + strconv.Itoa(pipeline.MaxQueuePage))
		}
	}
	after, err := queueAfter(query.Get("after"))
	if err != nil {
		return err
	}
	page, err := q.engine.Queue(ec.Request().Context(), f, after, limit)
	if err != nil {
		return queueError(err)
	}
	list := QueueList{Entries: make([]QueueEntry, len(page.Entries)), Next: queueNext(page.Next)}
	for i, en := range page.Entries {
		list.Entries[i] = queueEntryOf(en)
	}
	return ec.JSON(http.StatusOK, list)
}

func queueEntryOf(en pipeline.QueueEntry) QueueEntry {
	out := QueueEntry{
		Key: en.Key, State: string(en.State), App: en.App, Pipeline: en.Pipeline, Stages: en.Stages, Async: en.Async,
		Type: en.Type, Event: en.Event, Attempt: en.Attempt, Tries: en.Tries, Appended: en.Appended.UTC(), Reason: en.Reason,
	}
	if out.Stages == nil {
		out.Stages = []string{}
	}
	if !en.Next.IsZero() {
		next := en.Next.UTC()
		out.Next = &next
	}
	return out
}

func (q queueAPI) change(action pipeline.QueueAction) echo.HandlerFunc {
	return func(ec echo.Context) error {
		order, err := readOrder(ec)
		if err != nil {
			return err
		}
		after, err := queueAfter(order.After)
		if err != nil {
			return err
		}
		var change pipeline.QueueChange
		ctx := ec.Request().Context()
		if order.All {
			f := pipeline.QueueFilter{App: order.App, Pipeline: order.Pipeline, Stage: order.Stage}
			change, err = q.engine.ChangeQueueAll(ctx, action, f, after)
		} else {
			change, err = q.engine.ChangeQueue(ctx, action, order.Keys)
		}
		if err != nil {
			return queueError(err)
		}
		return ec.JSON(http.StatusOK, QueueChange{Changed: change.Changed, Missing: change.Missing, Next: queueNext(change.Next)})
	}
}

// readOrder reads the body of a POST, strictly: what is misspelt must not choose
// more than was meant.
func readOrder(ec echo.Context) (queueOrder, error) {
	var order queueOrder
	body, err := readBody(ec)
	if err != nil {
		return order, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&order); err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.Join(errors.New("more than one value"), more)
		}
	}
	switch {
	case err != nil:
		return order, badQueue("the body is a JSON object of keys, or of all, app, pipeline, stage and after")
	case order.All == (len(order.Keys) > 0), len(order.Keys) > 0 && order.App+order.Pipeline+order.Stage+order.After != "":
		return order, badQueue("either keys, or all: true with app, pipeline and stage as far as it is less")
	case len(order.Keys) > pipeline.MaxQueuePage:
		return order, badQueue("at most " + strconv.Itoa(pipeline.MaxQueuePage) + " keys")
	}
	return order, nil
}

func queueStates() []pipeline.QueueState {
	return []pipeline.QueueState{pipeline.QueueReady, pipeline.QueueDelayed, pipeline.QueueClaimed, pipeline.QueueDead}
}

// queueAfter reads what queueNext wrote.
func queueAfter(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, badQueue("after is a next of an answer")
	}
	return n, nil
}

func queueNext(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func badQueue(text string) error { return &httpError{http.StatusBadRequest, "bad_request", text} }

// queueError is the answer to an error of the engine; nil where there is none.
func queueError(err error) error {
	if errors.Is(err, store.ErrUnavailable) {
		return errStoreAway
	}
	return err
}
