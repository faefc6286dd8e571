package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/weft-dev/weft/runtime/store"
)

// visit is some commands for the node of a key, sent in one go on one connection.
type visit struct {
	key      string
	commands [][]any
	script   *script // of the first command, where that is an EVALSHA
	passing  bool    // what is read and written needn't be durable
	size     int     // bytes that it sends, about
	repeat   bool    // doing it twice does no harm
}

// A visit that sends much may take longer than Options.Timeout: a second for each
// perSecond bytes, at most maxLonger.
const (
	perSecond = 8 << 20
	maxLonger = 30 * time.Second
)

// allowed is how long v may take.
func (b *base) allowed(v visit) time.Duration {
	return b.o.Timeout + min(time.Duration(v.size)*time.Second/perSecond, maxLonger)
}

// Pauses between tries.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 100 * time.Millisecond
	maxMoves   = 3 // to another node of a cluster, without a pause
)

// visit makes v and returns the replies of its commands. Where Redis says that it
// did nothing, or was not reached, it is tried again until Options.Timeout.
// It returns at the end of ctx; what was sent may then still happen.
func (b *base) visit(ctx context.Context, v visit) ([]any, error) {
	return inTime(ctx, b, b.allowed(v), func(ctx context.Context) ([]any, error) { return b.tries(ctx, v) })
}

// inTime calls f, whose context ends after so long, and returns at the end of ctx
// whether f has or not; Close waits for f. An error of f is store.ErrUnavailable.
func inTime[T any](ctx context.Context, b *base, long time.Duration, f func(context.Context) (T, error)) (T, error) {
	var none, got T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if err := b.enter(); err != nil {
		return none, err
	}
	var failed error
	done := make(chan struct{})
	go func() {
		defer b.calls.Done()
		defer close(done)
		bounded, cancel := context.WithTimeout(ctx, long)
		defer cancel()
		got, failed = f(bounded)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	switch {
	case failed == nil:
		return got, nil
	case ctx.Err() != nil:
		return none, ctx.Err()
	}
	return none, unavailable(b.shown(failed))
}

// unavailable wraps err as store.ErrUnavailable. The end of a time that the caller
// didn't set isn't told as the end of a context.
func unavailable(err error) error {
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: Redis didn't answer in time", store.ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// maxShown is how much of what a server says is shown, in bytes.
const maxShown = 300

// shownError is an error with a text of its own.
type shownError struct {
	error
	text string
}

func (e shownError) Error() string { return e.text }
func (e shownError) Unwrap() error { return e.error }

// shown is err without what a server may repeat of what it was sent: one that
// doesn't know a command tells its arguments, the password of AUTH, too.
func (b *base) shown(err error) error {
	text := err.Error()
	for _, secret := range []string{b.o.Password, b.o.SentinelPassword} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	text, _, _ = strings.Cut(text, ", with args beginning with")
	return shownError{error: err, text: strings.ToValidUTF8(text[:min(len(text), maxShown)], "")}
}

// tries makes v until it is done, may have been done, or ctx ends. A Close
// doesn't wait for another try.
func (b *base) tries(ctx context.Context, v visit) ([]any, error) {
	node, asking, err := b.node(ctx, v.key)
	moves := 0
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		var replies []any
		if err == nil {
			replies, err = b.once(ctx, node, asking, v)
		}
		switch {
		case err == nil:
			return replies, nil
		case ctx.Err() != nil || b.ending.Err() != nil || !b.undone(v, err):
			b.doubt(err)
			return nil, err
		}
		next, ask, moved := b.moved(ctx, err)
		if moved && moves < maxMoves {
			moves++
			node, asking, err = next, ask, nil
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-b.ending.Done():
		}
		timer.Stop()
		if ctx.Err() != nil || b.ending.Err() != nil {
			return nil, err
		}
		node, asking, err = b.node(ctx, v.key)
	}
}

// doubt has the state of a cluster read anew, in the background, where a node
// failed otherwise than by refusing: another one may have taken its place.
func (b *base) doubt(err error) {
	var refused goredis.Error
	if b.cluster != nil && !errors.As(err, &refused) {
		b.cluster.ReloadState(b.ending)
	}
}

// node is the client for the primary that has key.
func (b *base) node(ctx context.Context, key string) (_ *goredis.Client, asking bool, err error) {
	if b.cluster == nil {
		return b.one, false, nil
	}
	c, err := b.cluster.MasterForKey(ctx, key)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errNotSent, err)
	}
	return c, false, nil
}

// moved finds the node that a MOVED or ASK of a cluster names.
func (b *base) moved(ctx context.Context, err error) (node *goredis.Client, asking, ok bool) {
	if b.cluster == nil {
		return nil, false, false
	}
	where, asking := strings.CutPrefix(err.Error(), "ASK ")
	if !asking {
		if where, ok = strings.CutPrefix(err.Error(), "MOVED "); !ok {
			b.cluster.ReloadState(ctx)
			return nil, false, false
		}
	}
	_, addr, _ := strings.Cut(where, " ")
	found := make(chan *goredis.Client, 1)
	// It loads the state of the cluster anew.
	lookup := b.cluster.ForEachMaster(ctx, func(_ context.Context, c *goredis.Client) error {
		if c.Options().Addr == addr {
			select {
			case found <- c:
			default:
			}
		}
		return nil
	})
	if lookup != nil {
		return nil, false, false
	}
	select {
	case node = <-found:
		return node, asking, true
	default:
		return nil, false, false
	}
}

// undone says whether v was surely not done, or may be done again. err may come
// from any command of the visit, but writes are in the first one only.
func (b *base) undone(v visit, err error) bool {
	var reply goredis.Error
	switch {
	case errors.Is(err, errUnsettled):
		return v.repeat
	case errors.Is(err, errNotSent), errors.Is(err, goredis.ErrPoolTimeout):
		return true
	case !errors.As(err, &reply):
		return v.repeat
	}
	for _, word := range []string{"MOVED ", "ASK ", "TRYAGAIN ", "CLUSTERDOWN ", "LOADING ", "READONLY ", "MASTERDOWN ", "NOREPLICAS ", "ERR max number of clients"} {
		if strings.HasPrefix(reply.Error(), word) {
			return true
		}
	}
	return false
}

// once makes v on one connection of node.
func (b *base) once(ctx context.Context, node *goredis.Client, asking bool, v visit) ([]any, error) {
	if long := b.allowed(v); long > b.o.Timeout {
		// The library's own questions, which no context bounds, don't get as long.
		node = node.WithTimeout(long)
	}
	conn := node.Conn()
	defer func() { _ = conn.Close() }() // gives it back to the pool: nothing can be done about a failure
	check := b.trust.checkOf(node)
	cmds, answers, err := b.send(ctx, conn, asking, v, check)
	if v.script != nil && err != nil && goredis.HasErrorPrefix(err, "NOSCRIPT") {
		whole := v
		whole.commands = append([][]any{append([]any{"eval", v.script.source}, v.commands[0][2:]...)}, v.commands[1:]...)
		cmds, answers, err = b.send(ctx, conn, asking, whole, check)
	}
	if err != nil {
		return nil, err
	}
	replies := make([]any, len(cmds))
	for i, c := range cmds {
		replies[i], err = c.Result()
		if err != nil && !errors.Is(err, goredis.Nil) {
			return nil, err
		}
	}
	if v.passing {
		return replies, nil
	}
	if err := b.trust.settle(ctx, node, conn, v.key, check, answers); err != nil {
		return nil, err
	}
	return replies, nil
}

// send sends the commands of v and those of check. The error is that of the first
// command of v that failed, else that of the first answer.
func (b *base) send(ctx context.Context, conn *goredis.Conn, asking bool, v visit, check check) (cmds, answers []*goredis.Cmd, err error) {
	pipe := conn.Pipeline()
	if asking {
		pipe.Do(ctx, "asking")
	}
	for _, c := range v.commands {
		cmds = append(cmds, pipe.Do(ctx, c...))
	}
	if !v.passing {
		for _, c := range check.commands(ctx, v.key) {
			if asking && c[0] == "eval" {
				pipe.Do(ctx, "asking")
			}
			answers = append(answers, pipe.Do(ctx, c...))
		}
	}
	_, err = pipe.Exec(ctx)
	for _, c := range cmds {
		if e := c.Err(); e != nil && !errors.Is(e, goredis.Nil) {
			return nil, nil, e
		}
	}
	for _, c := range answers {
		if e := c.Err(); e != nil && !errors.Is(e, goredis.Nil) {
			return nil, nil, fmt.Errorf("%w: %w", errUnsettled, e)
		}
	}
	if err != nil && !errors.Is(err, goredis.Nil) {
		return nil, nil, err
	}
	return cmds, answers, nil
}
