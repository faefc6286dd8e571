package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weft-dev/weft/runtime/store"
)

// Lines is store.Queue's.
func (q *queue) Lines(ctx context.Context, queue string) (lines []store.Line, err error) {
	err = q.eachLine(ctx, queue, func(l line) { lines = append(lines, l.Line) })
	if err != nil {
		return nil, fmt.Errorf("look at the lines of queue %q: %w", queue, err)
	}
	return lines, nil
}

// Depth is store.Queue's. It counts the lines page by page.
func (q *queue) Depth(ctx context.Context, queue string) (d store.Depth, err error) {
	oldest := uint64(math.MaxUint64)
	err = q.eachLine(ctx, queue, func(l line) {
		if l.Depth.Ready > 0 && l.oldest < oldest {
			oldest, d.Oldest = l.oldest, l.Depth.Oldest
		}
		d.Ready, d.Delayed = d.Ready+l.Depth.Ready, d.Delayed+l.Depth.Delayed
		d.Claimed, d.Dead = d.Claimed+l.Depth.Claimed, d.Dead+l.Depth.Dead
	})
	if err != nil {
		return store.Depth{}, fmt.Errorf("count the entries of queue %q: %w", queue, err)
	}
	return d, nil
}

// line is a store.Line with the number of the oldest entry that is ready.
type line struct {
	store.Line
	oldest uint64
}

// eachLine calls f with each line of a queue, by name.
func (q *queue) eachLine(ctx context.Context, queue string, f func(line)) error {
	from := "-"
	for {
		r, err := q.call(ctx, q.lining, queue, from, pageLines, advanceEntries)
		if err != nil {
			return err
		}
		page := readLines(r)
		if err := r.end(); err != nil {
			return err
		}
		for _, l := range page {
			f(l)
		}
		if len(page) < pageLines {
			return nil
		}
		from = "(" + page[len(page)-1].Name
	}
}

// List is store.Queue's.
func (q *queue) List(ctx context.Context, queue string, after uint64, f func(store.Info) bool) error {
	err := store.ListPages(after, func(after uint64) ([]store.Info, error) { return q.page(ctx, queue, after) }, f)
	if err != nil {
		return fmt.Errorf("list queue %q: %w", queue, err)
	}
	return nil
}

// page reads the next entries of a queue, those over a number.
func (q *queue) page(ctx context.Context, queue string, over uint64) ([]store.Info, error) {
	r, err := q.call(ctx, q.listing, queue, binary.BigEndian.AppendUint64(nil, over), pageEntries, pageBytes)
	if err != nil {
		return nil, err
	}
	page := readInfos(r)
	if err := r.end(); err != nil {
		return nil, err
	}
	if len(page) > 0 && page[0].Seq <= over { // List would never end
		return nil, unavailable(errReply)
	}
	return page, nil
}
