package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// Bounds of a look at the durable queue: what it would go over is left to the
// next one.
const (
	MaxQueuePage = 1000     // entries that Queue gives, and that ChangeQueue and ChangeQueueAll change
	maxScan      = 10_000   // entries that are looked at
	maxScanBytes = 64 << 20 // of their values
	maxShown     = 128      // bytes of what an entry shows of its event
	changers     = 16       // changes at once: the store makes them durable together
)

// QueueState says where an entry of the durable queue stands.
type QueueState string

// The states of entries.
const (
	QueueReady   QueueState = "ready"   // to be run now
	QueueDelayed QueueState = "delayed" // to be run later
	QueueClaimed QueueState = "claimed" // being run
	QueueDead    QueueState = "dead"    // given up, until it is retried or dropped
)

// QueueFilter chooses entries; an empty member chooses all.
type QueueFilter struct {
	State    QueueState
	App      string
	Pipeline string
	Stage    string
}

// QueueEntry is an entry of the durable queue as an operator may see it: without
// the event's user and content. Of one that can't be read there is no more than
// what the store says.
type QueueEntry struct {
	Key      string
	State    QueueState
	App      string
	Pipeline string
	// Stages are those that the run goes on from, more than one where branches of
	// a parallel stage are left; none: it begins at the top.
	Stages   []string
	Async    bool // the stage runs alone
	Type     string
	Event    string
	Attempt  uint32 // of the run to come
	Tries    uint32 // that failed
	Appended time.Time
	Next     time.Time // when it is run; of a claimed one, when the claim ends; zero of a dead one
	Reason   string    // why it is dead, or can't be read
}

// QueuePage is a part of the durable queue.
type QueuePage struct {
	Entries []QueueEntry
	Next    uint64 // after which the next page begins; 0: there is none
}

// QueueChange is what ChangeQueue and ChangeQueueAll did.
type QueueChange struct {
	Changed int      // entries
	Missing []string // keys of no dead entry
	Next    uint64   // after which more may be to change; 0: nothing
}

// QueueAction is what an operator does with a dead entry.
type QueueAction uint8

// The actions.
const (
	QueueRetry QueueAction = iota + 1 // it is run at once, as if it had not been tried
	QueueDrop                         // it is removed; a repeat of its event runs nothing, as before
)

// Queue gives up to limit entries that f chooses, 1 to MaxQueuePage, in the order
// of appending and from that after a number on, 0 for the oldest. Any page may
// have fewer entries than the limit, none included, and yet a next one.
func (e *Engine) Queue(ctx context.Context, f QueueFilter, after uint64, limit int) (QueuePage, error) {
	page := QueuePage{}
	limit = min(max(limit, 1), MaxQueuePage)
	next, err := e.scan(ctx, f, after, func(en QueueEntry) bool {
		page.Entries = append(page.Entries, en)
		return len(page.Entries) < limit
	})
	if err != nil {
		return QueuePage{}, fmt.Errorf("listing the durable queue: %w", err)
	}
	page.Next = next
	return page, nil
}

// QueueDepths counts the entries of the durable queue: those of each app that
// has some, by name, "" of entries that an older version left.
func (e *Engine) QueueDepths(ctx context.Context) ([]store.Line, error) {
	lines, err := e.store.Lines(ctx, queueName)
	if err != nil {
		return nil, fmt.Errorf("counting the durable queue: %w", err)
	}
	return lines, nil
}

// ChangeQueue retries or drops the dead entries of keys, the first MaxQueuePage
// of them. After an error some of them may have been changed.
func (e *Engine) ChangeQueue(ctx context.Context, action QueueAction, keys []string) (QueueChange, error) {
	keys = keys[:min(len(keys), MaxQueuePage)]
	missing := make([]bool, len(keys))
	failed := make([]error, len(keys))
	var wg sync.WaitGroup
	for first := range min(changers, len(keys)) {
		wg.Go(func() {
			for i := first; i < len(keys); i += changers {
				err := e.change(ctx, action, keys[i])
				if missing[i] = errors.Is(err, store.ErrNotFound); !missing[i] {
					failed[i] = err
				}
			}
		})
	}
	wg.Wait()
	var change QueueChange
	var err error
	for i, key := range keys {
		switch {
		case missing[i]:
			change.Missing = append(change.Missing, key)
		case failed[i] == nil:
			change.Changed++
		case err == nil:
			err = fmt.Errorf("changing the durable queue: %w", failed[i])
		}
	}
	if change.Changed > 0 {
		e.poke()
		e.log.LogAttrs(ctx, slog.LevelInfo, action.done(), slog.Int("entries", change.Changed))
	}
	return change, err
}

// ChangeQueueAll retries or drops the dead entries that f chooses, whose State is
// not looked at, from that after a number on, 0 for the oldest. It does a part at
// a time; the caller goes on with Next.
func (e *Engine) ChangeQueueAll(ctx context.Context, action QueueAction, f QueueFilter, after uint64) (QueueChange, error) {
	f.State = QueueDead
	page, err := e.Queue(ctx, f, after, MaxQueuePage)
	if err != nil {
		return QueueChange{}, err
	}
	keys := make([]string, len(page.Entries))
	for i, en := range page.Entries {
		keys[i] = en.Key
	}
	change, err := e.ChangeQueue(ctx, action, keys)
	change.Missing, change.Next = nil, page.Next // somebody else was faster
	return change, err
}

func (e *Engine) change(ctx context.Context, action QueueAction, key string) error {
	if key == "" || len(key) > store.MaxName { // no entry has it
		return store.ErrNotFound
	}
	if action == QueueDrop {
		return e.store.Drop(ctx, queueName, key)
	}
	return e.store.Retry(ctx, queueName, key)
}

func (a QueueAction) done() string {
	if a == QueueDrop {
		return "dead entries of the durable queue dropped"
	}
	return "dead entries of the durable queue retried"
}

// scan calls f for the entries that filter chooses, until it returns false or
// enough was looked at. next is after which the rest is; 0: there is none.
func (e *Engine) scan(ctx context.Context, filter QueueFilter, after uint64, f func(QueueEntry) bool) (next uint64, err error) {
	now := e.ledger.now()
	looked, size, full := 0, 0, false
	err = e.store.List(ctx, queueName, after, func(info store.Info) bool {
		if full {
			next = after
			return false
		}
		looked, size, after = looked+1, size+len(info.Value), info.Seq
		en, branches := queueEntry(&info, now)
		full = filter.chooses(&en, branches) && !f(en) || looked == maxScan || size >= maxScanBytes
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err() // of a list that was left in the middle
	}
	return next, err
}

// queueEntry is what is shown of an entry. whole is its stage where Stages has
// branches of that.
func queueEntry(info *store.Info, now time.Time) (shown QueueEntry, whole string) {
	shown = QueueEntry{
		Key: info.Key, App: info.Line, State: QueueReady, Tries: info.Tries, Appended: info.Appended, Next: info.Ready, Reason: info.Reason,
	}
	switch {
	case info.Dead:
		shown.State, shown.Next = QueueDead, time.Time{}
	case info.Claimed:
		shown.State = QueueClaimed
	case info.Ready.After(now):
		shown.State = QueueDelayed
	}
	var en entry
	if err := en.decode(info.Value); err != nil {
		if shown.Reason == "" {
			shown.Reason = err.Error()
		}
		return shown, ""
	}
	shown.App, shown.Pipeline, shown.Async, shown.Attempt = en.event.App, en.pipeline, en.alone, en.event.Attempt
	shown.Type, shown.Event = showWord(en.event.Type), showWord(en.event.Event)
	shown.Stages = en.at.leaves(nil)
	return shown, en.at.stage
}

// leaves appends the stages that a run goes on from.
func (p *place) leaves(to []string) []string {
	if p.parts == nil {
		if p.stage != "" {
			to = append(to, p.stage)
		}
		return to
	}
	for i := range p.parts {
		if p.parts[i].end == queued {
			to = p.parts[i].at.leaves(to)
		}
	}
	return to
}

// showWord is the beginning of a word that came from outside.
func showWord(s string) string {
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), maxShown)], ""))
}

func (f *QueueFilter) chooses(en *QueueEntry, whole string) bool {
	return (f.State == "" || f.State == en.State) && (f.App == "" || f.App == en.App) &&
		(f.Pipeline == "" || f.Pipeline == en.Pipeline) &&
		(f.Stage == "" || f.Stage == whole || slices.Contains(en.Stages, f.Stage))
}
