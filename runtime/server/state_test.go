package server

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
)

var errOutage = errors.New("the disk is gone")

// failing is a store whose calls end in an error.
type failing struct {
	store.Store
	err error
}

func (f failing) Get(context.Context, string, string) ([]byte, error) { return nil, f.err }

func (f failing) Apply(context.Context, store.Op) (store.Result, error) {
	return store.Result{}, f.err
}

func openStore(t *testing.T) store.Store {
	t.Helper()
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func scopeOf(app, user, event string) sandbox.StateCall {
	return sandbox.StateCall{Plugin: "p", App: app, User: user, EventID: event}
}

// TestState walks through the operations, one after another on one store.
func TestState(t *testing.T) {
	s := &pluginState{store: openStore(t), log: discard()}
	shop := scopeOf("shop", "o1", "e1")
	get := hostapi.StateRequest{Op: hostapi.StateGet, Key: "k"}
	set := func(v string) hostapi.StateRequest {
		return hostapi.StateRequest{Op: hostapi.StateSet, Key: "k", Value: []byte(v)}
	}
	user := func(r hostapi.StateRequest) hostapi.StateRequest { r.Scope = hostapi.ScopeUser; return r }
	add := func(once string) hostapi.StateRequest {
		return hostapi.StateRequest{Op: hostapi.StateAdd, Key: "n", Delta: 2, Once: once}
	}
	cas := func(expect []byte, absent bool, v string) hostapi.StateRequest {
		return hostapi.StateRequest{Op: hostapi.StateCompareAndSet, Key: "c", Expect: expect, ExpectAbsent: absent, Value: []byte(v)}
	}
	del := hostapi.StateRequest{Op: hostapi.StateDelete, Key: "k"}
	value := func(v string) hostapi.StateResponse { return hostapi.StateResponse{Value: []byte(v), Found: true} }
	type step struct {
		name   string
		scope  sandbox.StateCall
		req    hostapi.StateRequest
		status hostapi.Status
		resp   hostapi.StateResponse
	}
	none := hostapi.StateResponse{}
	for _, c := range []step{
		{"get nothing", shop, get, hostapi.NotFound, none},
		{"set", shop, set("v"), hostapi.OK, none},
		{"get", shop, get, hostapi.OK, value("v")},
		{"another app has its own", scopeOf("other", "o1", "e1"), get, hostapi.NotFound, none},
		{"a user has its own", shop, user(get), hostapi.NotFound, none},
		{"set for a user", shop, user(set("mine")), hostapi.OK, none},
		{"get for a user", shop, user(get), hostapi.OK, value("mine")},
		{"another user", scopeOf("shop", "o2", "e1"), user(get), hostapi.NotFound, none},
		{"the app's is left alone", shop, get, hostapi.OK, value("v")},
		{"delete", shop, del, hostapi.OK, hostapi.StateResponse{Found: true}},
		{"delete nothing", shop, del, hostapi.OK, none},
		{"add", shop, add(""), hostapi.OK, hostapi.StateResponse{Number: 2}},
		{"add once", shop, add("a"), hostapi.OK, hostapi.StateResponse{Number: 4}},
		{"add once, repeated", shop, add("a"), hostapi.OK, hostapi.StateResponse{Number: 4}},
		{"add once, another event", scopeOf("shop", "o1", "e2"), add("a"), hostapi.OK, hostapi.StateResponse{Number: 6}},
		{"make a text", shop, hostapi.StateRequest{Op: hostapi.StateSet, Key: "n", Value: []byte("x")}, hostapi.OK, none},
		{"add to a text", shop, add(""), hostapi.Invalid, hostapi.StateResponse{Error: "the value is no counter, or would leave the range of 64 bits"}},
		{"compare with what is not there", shop, cas([]byte("1"), false, "2"), hostapi.Conflict, none},
		{"compare with nothing", shop, cas(nil, true, ""), hostapi.OK, none},
		{"compare with nothing, lost", shop, cas(nil, true, "1"), hostapi.Conflict, hostapi.StateResponse{Found: true, Value: []byte{}}},
		{"compare with empty", shop, cas(nil, false, "1"), hostapi.OK, none},
		{"compare, lost", shop, cas([]byte("2"), false, "3"), hostapi.Conflict, value("1")},
	} {
		var resp hostapi.StateResponse
		status := s.State(t.Context(), c.scope, &c.req, &resp)
		if len(resp.Value) == 0 {
			resp.Value = c.resp.Value
		}
		if status != c.status || !reflect.DeepEqual(resp, c.resp) {
			t.Fatalf("%s: %v %+v, want %v %+v", c.name, status, resp, c.status, c.resp)
		}
	}
}

// TestStateErrors maps what a store answers to what a guest gets.
func TestStateErrors(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		err    error
		status hostapi.Status
	}{
		{"quota", t.Context(), store.ErrQuota, hostapi.Limited},
		{"away", t.Context(), store.ErrUnavailable, hostapi.Unavailable},
		{"closed", t.Context(), store.ErrClosed, hostapi.Unavailable},
		{"unknown", t.Context(), errOutage, hostapi.Unavailable},
		{"out of time", ended, context.Canceled, hostapi.Timeout},
	} {
		log := new(syncBuffer)
		s := &pluginState{store: failing{err: c.err}, log: NewLogger(log)}
		for _, op := range []hostapi.StateOp{hostapi.StateGet, hostapi.StateSet} {
			var resp hostapi.StateResponse
			req := hostapi.StateRequest{Op: op, Key: "secret-key"}
			if got := s.State(c.ctx, scopeOf("shop", "oUser1", "e1"), &req, &resp); got != c.status {
				t.Errorf("%s: %v, want %v", c.name, got, c.status)
			}
		}
		if strings.Contains(log.String(), "oUser1") || strings.Contains(log.String(), "secret-key") {
			t.Errorf("%s: the log names the user or the key: %s", c.name, log)
		}
	}
}

// TestStateKeys holds that no two scopes, users or keys share a key.
func TestStateKeys(t *testing.T) {
	seen := map[string]string{}
	long := strings.Repeat("o", plainUser+1)
	for _, user := range []string{"o", "o/k", "1/o", "o/1", long, long + "1"} {
		for _, key := range []string{"k", "k/k", "/k", "o/k", strings.Repeat("k", hostapi.MaxStateKey)} {
			for _, scope := range []hostapi.StateScope{hostapi.ScopeApp, hostapi.ScopeUser} {
				got := stateKey(scopeOf("shop", user, "e"), &hostapi.StateRequest{Key: key, Scope: scope})
				what := user + " " + key
				if scope == hostapi.ScopeApp {
					what = "app " + key
				}
				if old, ok := seen[got]; ok && old != what {
					t.Errorf("%q and %q are both %q", old, what, got)
				}
				seen[got] = what
				if len(got) > store.MaxKey {
					t.Errorf("%q has %d bytes", what, len(got))
				}
			}
		}
	}
}

func TestStateTTL(t *testing.T) {
	for ms, want := range map[int64]time.Duration{
		0: 0, 1: time.Millisecond, 1 << 62: 0, maxStateTTL.Milliseconds(): maxStateTTL, maxStateTTL.Milliseconds() + 1: 0,
	} {
		if got := stateTTL(ms); got != want {
			t.Errorf("%d ms: %v, want %v", ms, got, want)
		}
	}
}
