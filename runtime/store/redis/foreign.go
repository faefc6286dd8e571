package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// maxForeign is the most that is read of a key of another system, in bytes.
const maxForeign = 64 << 10

var errForeign = errors.New("another system's key has no string, or one that is too long")

// LookForeign returns what another system has left under key, as it stands and
// without the prefix, and for how long it will be there: 0, for ever.
// store.ErrNotFound: nothing is there.
func (b *base) LookForeign(ctx context.Context, key string) (value []byte, ttl time.Duration, err error) {
	replies, err := b.visit(ctx, visit{
		key: key, passing: true, repeat: true,
		commands: [][]any{{"getrange", key, 0, maxForeign}, {"pttl", key}},
	})
	if err != nil {
		return nil, 0, fmt.Errorf("look at another system's key: %w", err)
	}
	text, ok := replies[0].(string)
	left, counted := replies[1].(int64)
	switch {
	case !ok || !counted || len(text) > maxForeign:
		return nil, 0, fmt.Errorf("look at another system's key: %w", unavailable(errForeign))
	case text == "" || left == -2: // gone since
		return nil, 0, store.ErrNotFound
	}
	return []byte(text), time.Duration(max(left, 0)) * time.Millisecond, nil
}
