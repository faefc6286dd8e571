package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// board is store.Board: no call of it waits for replicas.
type board struct {
	b     *base
	board *script
}

func newBoard(b *base) *board { return &board{b: b, board: newScript("board")} }

// Look is store.Board's.
func (d *board) Look(ctx context.Context, key string) ([]byte, error) {
	err := store.CheckBoardKey(key)
	var data []byte
	if err == nil {
		data, err = d.b.look(ctx, visit{passing: true}, d.board, d.b.boardKey(key), "look", "", false, 0, false, "")
	}
	if err != nil {
		return nil, fmt.Errorf("look at the board: %w", err)
	}
	return data, nil
}

// Put is store.Board's.
func (d *board) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, _, err := d.change(ctx, key, ttl, value, "put", value, true, microsOf(ttl), false, "")
	if err != nil {
		return fmt.Errorf("put on the board: %w", err)
	}
	return nil
}

// Exchange is store.Board's.
func (d *board) Exchange(ctx context.Context, key string, expect, value []byte, ttl time.Duration) (there []byte, ok bool, err error) {
	if value == nil {
		ttl = time.Second // not looked at
	}
	there, ok, err = d.change(ctx, key, ttl, value, "exchange", value, value != nil, microsOf(ttl), expect != nil, expect)
	if err != nil {
		return nil, false, fmt.Errorf("exchange on the board: %w", err)
	}
	return there, ok, nil
}

func (d *board) change(ctx context.Context, key string, ttl time.Duration, value []byte, args ...any) (there []byte, ok bool, err error) {
	if err := store.CheckPut(key, value, ttl); err != nil {
		return nil, false, err
	}
	reply, err := d.b.passing(ctx, d.board, []string{d.b.boardKey(key)}, args...)
	if err != nil {
		return nil, false, err
	}
	return readExchange(reply)
}

// readExchange reads the reply of board.lua.
func readExchange(reply any) (there []byte, ok bool, err error) {
	list, _ := reply.([]any)
	switch {
	case len(list) == 1 && list[0] == "done":
		return nil, true, nil
	case len(list) == 1 && list[0] == "lost":
		return nil, false, nil
	case len(list) == 2 && list[0] == "lost":
		if data, isText := list[1].(string); isText {
			return []byte(data), false, nil
		}
	}
	return nil, false, readRefusal(list)
}

// Publish is store.Board's.
func (d *board) Publish(ctx context.Context, topic string, message []byte) error {
	err := store.CheckName("topic", topic)
	if err == nil {
		err = store.CheckMessage(message)
	}
	if err == nil {
		channel := d.b.channel(topic)
		_, err = d.b.visit(ctx, visit{key: channel, passing: true, commands: [][]any{{"publish", channel, append([]byte{}, message...)}}})
	}
	if err != nil {
		return fmt.Errorf("publish to topic %q: %w", topic, err)
	}
	return nil
}
