package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// Bounds of one script, so that no call keeps Redis from the others for long. A
// call that is to do more runs it again.
const (
	advanceEntries = 1000    // entries that become ready by their time
	claimEntries   = 256     // entries claimed
	pageEntries    = 256     // entries listed
	pageLines      = 256     // lines looked at
	pageBytes      = 4 << 20 // of values in one answer, but for the last of them
)

// queueParts are the keys of a queue, in the order in which queue.lua names them:
// COUNT, NUMBERS, META …
const queueParts = "nkmvwolrdcx"

// queue is the Queue of a Store. A queue is kept in hashes and sorted sets, as
// queue.lua says, and each call is a script, so that it happens in whole or not at
// all. Claims are in Redis, too: they outlive the host, and end by their time.
type queue struct {
	b *base

	appending, claiming, extending, acking, releasing, burying, retrying, dropping, lining, listing *script
}

func newQueue(b *base) *queue {
	of := func(name string) *script { return newScript("queue", "queue_"+name) }
	return &queue{
		b: b, appending: of("append"), claiming: of("claim"), extending: of("extend"), acking: of("ack"),
		releasing: of("release"), burying: of("bury"), retrying: of("retry"), dropping: of("drop"),
		lining: of("lines"), listing: of("list"),
	}
}

// call runs a script on a queue until it has done all of its work. What it answers
// after its word is left in the reply.
func (q *queue) call(ctx context.Context, s *script, name string, args ...any) (*reply, error) {
	if err := store.CheckName("queue", name); err != nil {
		return nil, err
	}
	keys := make([]string, len(queueParts))
	for i := range keys {
		keys[i] = q.b.queueKey(name, queueParts[i])
	}
	for {
		answer, err := q.b.eval(ctx, s, keys, args...)
		if err != nil {
			return nil, err
		}
		r, word := newReply(answer)
		switch {
		case r.err != nil:
			return nil, r.err
		case word == "ok":
			return r, nil
		case word == "none":
			return nil, store.ErrNotFound
		case word == "quota":
			return nil, store.ErrQuota
		case word != "again":
			return nil, unavailable(errReply)
		}
	}
}

// Append is store.Queue's.
func (q *queue) Append(ctx context.Context, queue string, hold time.Duration, entries ...store.Entry) ([]store.Claim, error) {
	claims, err := q.append(ctx, queue, hold, entries)
	if err != nil {
		return nil, fmt.Errorf("append to queue %q: %w", queue, err)
	}
	return claims, nil
}

func (q *queue) append(ctx context.Context, queue string, hold time.Duration, entries []store.Entry) ([]store.Claim, error) {
	if hold < 0 {
		return nil, store.CheckHold(hold)
	}
	args := make([]any, 0, 2+5*len(entries))
	args = append(args, microsOf(hold), newToken())
	for i := range entries {
		e := &entries[i]
		if err := store.CheckEntry(e); err != nil {
			return nil, err
		}
		args = append(args, e.Key, e.Line, e.Value, microsOf(e.Delay), e.Quota)
	}
	r, err := q.call(ctx, q.appending, queue, args...)
	if err != nil || hold == 0 {
		return nil, err
	}
	claims := readAppended(r, entries)
	return claims, r.end()
}

// Claim is store.Queue's.
func (q *queue) Claim(ctx context.Context, queue, line string, max int, hold time.Duration) ([]store.Claim, error) {
	claims, err := q.claim(ctx, queue, line, max, hold)
	if err != nil {
		return nil, fmt.Errorf("claim from queue %q: %w", queue, err)
	}
	return claims, nil
}

func (q *queue) claim(ctx context.Context, queue, line string, max int, hold time.Duration) ([]store.Claim, error) {
	if err := store.CheckClaim(queue, line, max, hold); err != nil {
		return nil, err
	}
	var claims []store.Claim
	for {
		some, err := q.claimSome(ctx, queue, line, min(max-len(claims), claimEntries), hold)
		if err != nil && len(claims) > 0 {
			return claims, nil // what is claimed is the caller's, the next call meets the error
		}
		claims = append(claims, some...)
		if err != nil || len(some) == 0 || len(claims) == max {
			return claims, err
		}
	}
}

// claimSome makes claims of up to max entries, not of all that are ready where
// their values are long.
func (q *queue) claimSome(ctx context.Context, queue, line string, max int, hold time.Duration) ([]store.Claim, error) {
	r, err := q.call(ctx, q.claiming, queue, line, max, microsOf(hold), newToken(), pageBytes, advanceEntries)
	if err != nil {
		return nil, err
	}
	claims := readClaims(r)
	return claims, r.end()
}

// Extend is store.Queue's.
func (q *queue) Extend(ctx context.Context, queue string, c store.Claim, hold time.Duration) error {
	if err := store.CheckHold(hold); err != nil {
		return fmt.Errorf("extend a claim of queue %q: %w", queue, err)
	}
	return q.settle(ctx, "extend a claim", q.extending, queue, c, microsOf(hold))
}

// Ack is store.Queue's.
func (q *queue) Ack(ctx context.Context, queue string, c store.Claim) error {
	return q.settle(ctx, "acknowledge an entry", q.acking, queue, c)
}

// Release is store.Queue's.
func (q *queue) Release(ctx context.Context, queue string, c store.Claim, delay time.Duration) error {
	const doing = "release an entry"
	if err := store.CheckValue(c.Value); err != nil {
		return fmt.Errorf("%s of queue %q: %w", doing, queue, err)
	}
	return q.settle(ctx, doing, q.releasing, queue, c, c.Value, c.Tries, microsOf(delay))
}

// Bury is store.Queue's.
func (q *queue) Bury(ctx context.Context, queue string, c store.Claim, reason string) error {
	return q.settle(ctx, "bury an entry", q.burying, queue, c, store.CutReason(reason))
}

// settle runs a script on a claimed entry.
func (q *queue) settle(ctx context.Context, doing string, s *script, queue string, c store.Claim, args ...any) error {
	token := binary.BigEndian.AppendUint64(nil, c.Token)
	if _, err := q.call(ctx, s, queue, append([]any{c.Key, token}, args...)...); err != nil {
		return fmt.Errorf("%s of queue %q: %w", doing, queue, err)
	}
	return nil
}

// Retry is store.Queue's.
func (q *queue) Retry(ctx context.Context, queue, key string) error {
	return q.revive(ctx, "retry", q.retrying, queue, key)
}

// Drop is store.Queue's.
func (q *queue) Drop(ctx context.Context, queue, key string) error {
	return q.revive(ctx, "drop", q.dropping, queue, key)
}

// revive runs a script on a dead entry.
func (q *queue) revive(ctx context.Context, doing string, s *script, queue, key string) error {
	err := store.CheckName("key", key)
	if err == nil {
		_, err = q.call(ctx, s, queue, key)
	}
	if err != nil {
		return fmt.Errorf("%s an entry of queue %q: %w", doing, queue, err)
	}
	return nil
}

// newToken gives the token of a script's first claim, the next ones have the next
// numbers. Random ones, because a count could go back where a replica takes over,
// and give two hosts the same claim. A script's whole numbers are exact below 2^53.
func newToken() uint64 { return 1 + rand.Uint64N(1<<52) }
