package sdktest

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/sdk"
)

// keepOnce is how long the first response of a once name is kept.
const keepOnce = time.Hour

// memory is a state. It expires values by its clock when they are looked at.
type memory struct {
	now    func() time.Time
	values map[string]entry
	first  map[onceKey]response
}

type entry struct {
	value []byte
	until time.Time // zero: for ever
}

type onceKey struct{ event, name string }

// response is what a once name got at first, with OK.
type response struct {
	resp  hostapi.StateResponse
	until time.Time
}

func newMemory(now func() time.Time) memory {
	return memory{now: now, values: map[string]entry{}, first: map[onceKey]response{}}
}

func (m *memory) all() map[string]string {
	all := map[string]string{}
	for k := range m.values {
		if v, ok := m.get(k); ok {
			all[k] = string(v)
		}
	}
	return all
}

// run does req for ev, a repeat of a once name by its first response.
func (m *memory) run(ev *sdk.Event, req *hostapi.StateRequest, resp *hostapi.StateResponse) sdk.Status {
	key, status := fullKey(ev, req, resp)
	if status != hostapi.OK {
		return status
	}
	once := onceKey{ev.ID, req.Once}
	if r, ok := m.first[once]; ok && req.Once != "" && m.now().Before(r.until) {
		*resp = r.resp
		return hostapi.OK
	}
	status = m.apply(key, req, resp)
	if req.Once != "" && status == hostapi.OK {
		m.first[once] = response{*resp, m.now().Add(keepOnce)}
	}
	return status
}

// fullKey returns the key as State of Harness shows it, or what is wrong with
// the request.
func fullKey(ev *sdk.Event, req *hostapi.StateRequest, resp *hostapi.StateResponse) (string, sdk.Status) {
	noOnce := req.Op == hostapi.StateGet || req.Op == hostapi.StateCompareAndSet
	switch {
	case len(req.Key) > hostapi.MaxStateKey, len(req.Value) > hostapi.MaxStateValue,
		len(req.Expect) > hostapi.MaxStateValue, len(req.Once) > hostapi.MaxStateOnce:
		return "", hostapi.TooLarge
	case req.Once != "" && noOnce:
		resp.Error = "once goes with set, delete and add only"
	case req.Key == "":
		resp.Error = "the key is empty"
	case req.TTLMS < 0:
		resp.Error = "the ttl is negative"
	case req.Scope == hostapi.ScopeUser && ev.User == "":
		resp.Error = "the event has no user"
	case req.Scope != hostapi.ScopeUser && req.Scope != hostapi.ScopeApp:
		resp.Error = "there is no such scope"
	case req.Scope == hostapi.ScopeUser:
		return "user:" + ev.User + ":" + req.Key, hostapi.OK
	default:
		return "app:" + req.Key, hostapi.OK
	}
	return "", hostapi.Invalid
}

func (m *memory) apply(key string, req *hostapi.StateRequest, resp *hostapi.StateResponse) sdk.Status {
	old, found := m.get(key)
	switch req.Op {
	case hostapi.StateGet:
		if !found {
			return hostapi.NotFound
		}
		resp.Value, resp.Found = bytes.Clone(old), true
	case hostapi.StateSet:
		m.set(key, req)
	case hostapi.StateDelete:
		delete(m.values, key)
		resp.Found = found
	case hostapi.StateAdd:
		return m.add(key, old, found, req, resp)
	case hostapi.StateCompareAndSet:
		if found == req.ExpectAbsent || found && !bytes.Equal(old, req.Expect) {
			resp.Value, resp.Found = bytes.Clone(old), found
			return hostapi.Conflict
		}
		m.set(key, req)
	default:
		resp.Error = "there is no such operation"
		return hostapi.Invalid
	}
	return hostapi.OK
}

func (m *memory) add(key string, old []byte, found bool, req *hostapi.StateRequest, resp *hostapi.StateResponse) sdk.Status {
	var n int64
	if found {
		var err error
		if n, err = strconv.ParseInt(string(old), 10, 64); err != nil {
			resp.Error = "the value is not a counter"
			return hostapi.Invalid
		}
	}
	if req.Delta > 0 && n > math.MaxInt64-req.Delta || req.Delta < 0 && n < math.MinInt64-req.Delta {
		resp.Error = "the sum is past 64 bits"
		return hostapi.Invalid
	}
	resp.Number = n + req.Delta
	e := m.values[key]
	if !found {
		e = entry{until: m.until(req.TTLMS)}
	}
	e.value = strconv.AppendInt(nil, resp.Number, 10)
	m.values[key] = e
	return hostapi.OK
}

func (m *memory) get(key string) ([]byte, bool) {
	e, ok := m.values[key]
	if ok && !e.until.IsZero() && !m.now().Before(e.until) {
		delete(m.values, key)
		return nil, false
	}
	return e.value, ok
}

func (m *memory) set(key string, req *hostapi.StateRequest) {
	m.values[key] = entry{bytes.Clone(req.Value), m.until(req.TTLMS)}
}

// until returns when a value that is kept for ms milliseconds is gone; so long
// that no clock shows it counts as for ever.
func (m *memory) until(ms int64) time.Time {
	if ms == 0 || ms > int64(math.MaxInt64/time.Millisecond) {
		return time.Time{}
	}
	return m.now().Add(time.Duration(ms) * time.Millisecond)
}
