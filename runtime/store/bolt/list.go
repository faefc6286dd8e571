package bolt

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-dev/weft/runtime/store"
)

// List reads so many entries, or bytes of values, in one transaction, so that a
// slow reader keeps no page of the file from being used again.
const (
	pageEntries = 256
	pageBytes   = 1 << 20
)

// List is store.Queue's.
func (s *Store) List(ctx context.Context, queue string, after uint64, f func(store.Info) bool) error {
	if err := store.CheckName("queue", queue); err != nil {
		return fmt.Errorf("list a queue: %w", err)
	}
	err := store.ListPages(after, func(after uint64) ([]store.Info, error) { return s.page(ctx, queue, after) }, f)
	if err != nil {
		return fmt.Errorf("list queue %q: %w", queue, err)
	}
	return nil
}

// page reads the next entries of a queue, those over a number.
func (s *Store) page(ctx context.Context, queue string, over uint64) ([]store.Info, error) {
	if over == math.MaxUint64 {
		return nil, nil
	}
	var page []store.Info
	prefix := nameKey(queue, "")
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		size := 0
		cursor := tx.Bucket([]byte(entriesBucket)).Cursor()
		for k, v := cursor.Seek(entryKey(queue, over+1)); bytes.HasPrefix(k, prefix); k, v = cursor.Next() {
			if len(page) == pageEntries || size >= pageBytes {
				break
			}
			seq, err := decodeNumber(k[len(prefix):])
			if err != nil {
				return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
			}
			e, err := decodeEntry(v)
			if err != nil {
				return fmt.Errorf("entry %d: %w: %w", seq, store.ErrUnavailable, err)
			}
			page = append(page, infoOf(seq, e))
			size += len(v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.markClaimed(queue, page)
	return page, nil
}

// infoOf copies an entry for the caller.
func infoOf(seq uint64, e entry) store.Info {
	info := store.Info{
		Seq: seq, Key: string(e.key), Line: string(e.line), Value: append([]byte{}, e.value...), Tries: e.tries,
		Appended: time.Unix(0, e.appended), Dead: e.dead, Reason: string(e.reason),
	}
	if !e.dead {
		info.Ready = time.Unix(0, e.ready)
	}
	return info
}

// markClaimed marks the claimed entries of page, and sets when they can be
// claimed.
func (s *Store) markClaimed(queue string, page []store.Info) {
	s.withQueue(queue, func(q *queueState, now int64) {
		for _, l := range q.lines {
			q.advance(l, now)
		}
		if len(q.claims) == 0 {
			return
		}
		until := make(map[uint64]int64, len(q.claims))
		for _, c := range q.claims {
			until[c.seq] = c.until
		}
		for i := range page {
			if t, ok := until[page[i].Seq]; ok && !page[i].Dead {
				page[i].Claimed, page[i].Ready = true, time.Unix(0, t)
			}
		}
	})
}
