package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/store"
)

// onceTTL is how long a once name of state is remembered: as long as an event
// is run again by itself (pipeline.md, 'Durable runs').
const onceTTL = time.Hour

// maxStateTTL is the longest life of a value that is counted; a longer one is
// kept for ever.
const maxStateTTL = 100 * 365 * 24 * time.Hour

// plainUser is the longest user, in bytes, that stands in a key as it is. A
// longer one, which no openid is, stands there as its SHA-256.
const plainUser = 128

// pluginState is what plugins keep: the state calls of the sandbox over the
// store. A plugin's keys in one app are the bucket state/PLUGIN/APP.
type pluginState struct {
	store    store.Store
	log      *slog.Logger
	recorder *recorder // nil: nobody records
}

var _ sandbox.State = (*pluginState)(nil)

// State does one state operation, which the sandbox has checked, and fills resp.
// It returns when the change is durable, or with TIMEOUT when ctx ends.
func (s *pluginState) State(ctx context.Context, scope sandbox.StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status {
	status := s.do(ctx, scope, req, resp)
	s.recorder.of(scope.App).touch(scope, req, resp, status)
	return status
}

func (s *pluginState) do(ctx context.Context, scope sandbox.StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status {
	bucket, key := stateBucket(scope), stateKey(scope, req)
	if req.Op == hostapi.StateGet {
		value, err := s.store.Get(ctx, bucket, key)
		if errors.Is(err, store.ErrNotFound) {
			return hostapi.NotFound
		}
		if err != nil {
			return s.failed(ctx, scope, resp, err)
		}
		resp.Value, resp.Found = value, true
		return hostapi.OK
	}
	res, err := s.store.Apply(ctx, stateChange(bucket, key, scope, req))
	if err != nil {
		return s.failed(ctx, scope, resp, err)
	}
	switch req.Op {
	case hostapi.StateDelete:
		resp.Found = res.Found
	case hostapi.StateAdd:
		resp.Number = res.Number
	case hostapi.StateCompareAndSet:
		if !res.Applied {
			resp.Found, resp.Value = res.Found, res.Value
			return hostapi.Conflict
		}
	}
	return hostapi.OK
}

func stateBucket(scope sandbox.StateCall) string { return "state/" + scope.Plugin + "/" + scope.App }

// stateKey is the key in the store: the scope, the user with its length, so
// that no two users share a key, and the plugin's own key.
func stateKey(scope sandbox.StateCall, req *hostapi.StateRequest) string {
	if req.Scope == hostapi.ScopeApp {
		return "a/" + req.Key
	}
	if len(scope.User) > plainUser {
		sum := sha256.Sum256([]byte(scope.User))
		return "h/" + hex.EncodeToString(sum[:]) + "/" + req.Key
	}
	return "u/" + strconv.Itoa(len(scope.User)) + "/" + scope.User + "/" + req.Key
}

func stateChange(bucket, key string, scope sandbox.StateCall, req *hostapi.StateRequest) store.Op {
	op := store.Op{Bucket: bucket, Key: key, Quota: scope.Quota, TTL: stateTTL(req.TTLMS)}
	if req.Once != "" {
		op.Once, op.OnceTTL = scope.EventID+"/"+req.Once, onceTTL
	}
	switch req.Op {
	case hostapi.StateSet:
		op.Kind, op.Value = store.Set, req.Value
	case hostapi.StateDelete:
		op.Kind = store.Delete
	case hostapi.StateAdd:
		op.Kind, op.Delta = store.Add, req.Delta
	case hostapi.StateCompareAndSet:
		op.Kind, op.Value = store.CompareAndSet, req.Value
		if !req.ExpectAbsent {
			op.Expect = append([]byte{}, req.Expect...)
		}
	}
	return op
}

func stateTTL(ms int64) time.Duration {
	if ms > math.MaxInt64/int64(time.Millisecond) || time.Duration(ms)*time.Millisecond > maxStateTTL {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// failed maps an error of the store to what the guest is told.
func (s *pluginState) failed(ctx context.Context, scope sandbox.StateCall, resp *hostapi.StateResponse, err error) hostapi.Status {
	switch {
	case errors.Is(err, store.ErrQuota):
		return hostapi.Limited
	case errors.Is(err, store.ErrNotCounter):
		resp.Error = "the value is no counter, or would leave the range of 64 bits"
		return hostapi.Invalid
	case ctx.Err() != nil:
		return hostapi.Timeout
	}
	s.log.LogAttrs(ctx, slog.LevelError, "state failed", slog.String("plugin", scope.Plugin), slog.String("app", scope.App),
		slog.String("event_id", scope.EventID), slog.String("error", err.Error()))
	return hostapi.Unavailable
}
