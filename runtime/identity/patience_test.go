package identity

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// slowStore is a store of one record whose calls take their time.
type slowStore struct {
	store.Store
	get   func(ctx context.Context) ([]byte, error)
	apply func(ctx context.Context, op store.Op) (store.Result, error)
}

func (s slowStore) Get(ctx context.Context, _, _ string) ([]byte, error) { return s.get(ctx) }

func (s slowStore) Apply(ctx context.Context, op store.Op) (store.Result, error) {
	return s.apply(ctx, op)
}

// hang is a call to a node that has gone, as the Redis driver gives it up.
func hang(ctx context.Context) error {
	const timeout = 2 * time.Second
	select {
	case <-time.After(timeout):
		return store.ErrUnavailable
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestRotatePatience: reading the session and changing it have one patience together,
// so that a rotation is over, one way or the other, before its client gives it up.
func TestRotatePatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, nil, nil, testKey(1))
		c, id := testConfig(), sessionID{1}
		refresh := s.newRefresh(c.App, id)
		sealed, err := s.sealRecord(c, id, record{OpenID: "o", Refresh: refresh.hash(), Until: time.Now().Add(time.Hour).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		back := time.Now().Add(4 * time.Second) // the session can be read again, and not changed
		s.store = slowStore{
			get: func(ctx context.Context) ([]byte, error) {
				if time.Now().Before(back) {
					return nil, hang(ctx)
				}
				return sealed, nil
			},
			apply: func(ctx context.Context, _ store.Op) (store.Result, error) { return store.Result{}, hang(ctx) },
		}
		begun := time.Now()
		if _, err := s.Rotate(t.Context(), c, refresh.String()); !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
		if took := time.Since(begun); took < patience || took > patience+2*time.Second+pause {
			t.Errorf("it took %v", took)
		}
		back = time.Now().Add(time.Hour)
		begun = time.Now()
		if _, err := s.Rotate(t.Context(), c, refresh.String()); err == nil || errors.Is(err, ErrSession) {
			t.Error(err)
		}
		if took := time.Since(begun); took != patience {
			t.Errorf("a session that can't be read took %v", took)
		}
	})
}

// TestRepeatPatience: a browser's second request waits for its first one as long as
// that may take, and no longer for one whose host has gone.
func TestRepeatPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, err := newStateKey(testKey(1))
		if err != nil {
			t.Fatal(err)
		}
		l := newLogin(key, "shop", oauthPage, "", time.Now())
		took := endTime - time.Second // of the first one
		begun := time.Now()
		r := loginRecord{outcome: underWay, at: begun.UnixMilli(), code: l.codeMark("c0de")}
		o := &OAuth{now: time.Now, store: slowStore{get: func(context.Context) ([]byte, error) {
			if time.Since(begun) < took {
				return r.encode(), nil
			}
			ended := r
			ended.outcome, ended.at = loggedIn, begun.Add(took).UnixMilli()
			return ended.encode(), nil
		}}}
		if end, err := o.repeat(t.Context(), &l, r, "c0de"); err != nil || end != loggedIn {
			t.Errorf("%v %v", end, err)
		}
		took = time.Hour // its host has gone
		if end, err := o.repeat(t.Context(), &l, r, "c0de"); err != nil || end != unavailable || time.Since(begun) != FinishTime {
			t.Errorf("%v after %v: %v", end, time.Since(begun), err)
		}
		if end, err := o.repeat(t.Context(), &l, r, "c0de"); err != nil || end != unavailable || time.Since(begun) != FinishTime {
			t.Errorf("later: %v after %v: %v", end, time.Since(begun), err)
		}
	})
}
