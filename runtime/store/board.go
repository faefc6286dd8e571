package store

import (
	"context"
	"time"
)

// Board is where hosts tell each other what passes: values that live for a short
// time, and messages. It is quick and promises nothing over a crash: a value may
// be lost before its time, and an older one may be back after a failover.
type Board interface {
	// Look returns the value under key, or ErrNotFound. The slice is the caller's.
	Look(ctx context.Context, key string) ([]byte, error)
	// Put sets value, up to MaxMessage bytes, under key, 1 to MaxKey bytes, for
	// ttl, over 0.
	Put(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Exchange sets value where the present one is expect (nil: there is none);
	// a nil value removes it, and ttl isn't looked at then. ok: it was done, and
	// there is nil. Else there is what stands there (nil: nothing), the caller's.
	// A present empty value is a non-nil empty slice.
	Exchange(ctx context.Context, key string, expect, value []byte, ttl time.Duration) (there []byte, ok bool, err error)
	// Publish tells message, up to MaxMessage bytes, to every host that listens
	// to topic, 1 to MaxName bytes, this one too; at best: one that is cut off
	// just then doesn't hear it.
	Publish(ctx context.Context, topic string, message []byte) error
	// Subscribe calls f, one call at a time, with each message (f's own) until
	// ctx ends or the store is closed, and with nil when messages may have been
	// missed: the connection was lost and is back, or f was too slow. It returns
	// when it listens. wait returns when f is not called any more; it is to be
	// called after the end of ctx, and not by f.
	Subscribe(ctx context.Context, topic string, f func(message []byte)) (wait func(), err error)
}
