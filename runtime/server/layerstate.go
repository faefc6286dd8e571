package server

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/store"
)

// The buckets of a layer in an app.
const (
	layerValues = "v"
	layerGone   = "g" // keys that are the layer's though it has no value: what lies under it doesn't show
	layerOnce   = "o" // what once has been done, with its outcome
)

func layerBucket(place, app, part string) string { return place + "/" + app + "/" + part }

// layerState is the state of one call of a shadow: a layer over what its primary
// saw.
type layerState struct {
	layers *layers
	layer  pipeline.Layer
	before *pipeline.Before // nil: nothing is known of the primary's call
}

var _ sandbox.State = (*layerState)(nil)

// State does one state operation in the layer. What lies under it is read only.
func (s *layerState) State(ctx context.Context, scope sandbox.StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status {
	o := &layerOp{layerState: s, scope: scope, key: stateKey(scope, req), req: req, resp: resp}
	unlock, err := s.layers.lock(ctx, scope.App, o.key)
	if err == nil {
		defer unlock()
		var status hostapi.Status
		if status, err = o.do(ctx); err == nil {
			return status
		}
	}
	return s.layers.state.failed(ctx, scope, resp, err)
}

// layerOp is one operation; it has the lock of its key.
type layerOp struct {
	*layerState
	scope sandbox.StateCall
	key   string
	req   *hostapi.StateRequest
	resp  *hostapi.StateResponse
	place string // of the layer; "": it has nothing
}

// layerValue is what stands under a key as the shadow sees it.
type layerValue struct {
	data  []byte
	found bool
	own   bool // it is the layer's
}

func (o *layerOp) do(ctx context.Context) (hostapi.Status, error) {
	if o.req.Op == hostapi.StateGet {
		var err error
		if o.place, err = o.layers.place(ctx, o.layer); err != nil {
			return 0, err
		}
		v, err := o.look(ctx)
		if err != nil || !v.found {
			return hostapi.NotFound, err
		}
		o.resp.Value, o.resp.Found = v.data, true
		return hostapi.OK, nil
	}
	var err error
	if o.place, err = o.layers.enter(ctx, o.layer, o.scope.App); err != nil {
		return 0, err
	}
	if done, err := o.recall(ctx); done || err != nil {
		return hostapi.OK, err
	}
	v, err := o.look(ctx)
	if err != nil {
		return 0, err
	}
	status, err := o.change(ctx, v)
	if err == nil && status == hostapi.OK {
		err = o.remember(ctx)
	}
	return status, err
}

// look finds the value: the layer's, or what shows through.
func (o *layerOp) look(ctx context.Context) (layerValue, error) {
	data, found, err := o.get(ctx, layerValues)
	if found || err != nil {
		return layerValue{data, found, true}, err
	}
	if o.layer.Over == "" {
		return layerValue{}, nil
	}
	if _, gone, err := o.get(ctx, layerGone); gone || err != nil {
		return layerValue{}, err
	}
	if o.before != nil {
		if data, known := o.before.Values[o.key]; known {
			return layerValue{data: data, found: data != nil}, nil
		}
	}
	under := o.scope
	under.Plugin = o.layer.Over
	data, found, err = o.read(ctx, stateBucket(under), o.key)
	return layerValue{data: data, found: found}, err
}

// get reads a key in a part of the layer.
func (o *layerOp) get(ctx context.Context, part string) (data []byte, found bool, err error) {
	if o.place == "" {
		return nil, false, nil
	}
	return o.read(ctx, layerBucket(o.place, o.scope.App, part), o.key)
}

func (o *layerOp) read(ctx context.Context, bucket, key string) (data []byte, found bool, err error) {
	data, err = o.layers.store.Get(ctx, bucket, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	return data, err == nil, err
}

// change makes the change, v being what stands under the key.
func (o *layerOp) change(ctx context.Context, v layerValue) (hostapi.Status, error) {
	op := stateChange(layerBucket(o.place, o.scope.App, layerValues), o.key, o.scope, o.req)
	op.Once, op.OnceTTL = "", 0
	hides := op.TTL > 0 // what is under it must not show again when it expires
	switch o.req.Op {
	case hostapi.StateDelete:
		o.resp.Found, hides = v.found, true
	case hostapi.StateCompareAndSet:
		if v.found == o.req.ExpectAbsent || v.found && !bytes.Equal(v.data, o.req.Expect) {
			o.resp.Found, o.resp.Value = v.found, v.data
			return hostapi.Conflict, nil
		}
		if op.Expect = nil; v.own { // of the layer's own value; another host may be changing it
			op.Expect = append([]byte{}, v.data...)
		}
	case hostapi.StateAdd:
		if v.found && !v.own { // the layer's begins where the other stands, with a time of its own
			n, err := counterAfter(v.data, o.req.Delta)
			if err != nil {
				return 0, err
			}
			op.Kind, op.Value = store.CompareAndSet, strconv.AppendInt(nil, n, 10)
			o.resp.Number = n
		}
	}
	if hides && o.layer.Over != "" {
		if err := o.hide(ctx); err != nil {
			return 0, err
		}
	}
	res, err := o.layers.store.Apply(ctx, op)
	switch {
	case err != nil:
		return 0, err
	case op.Kind == store.Add:
		o.resp.Number = res.Number
	case res.Applied:
	case o.req.Op == hostapi.StateCompareAndSet:
		o.resp.Found, o.resp.Value = res.Found, res.Value
		return hostapi.Conflict, nil
	default: // another host was first to take the counter over
		o.resp.Number = 0
		return o.change(ctx, layerValue{data: res.Value, found: true, own: true})
	}
	return hostapi.OK, nil
}

// counterAfter is a counter that is kept as text, after delta.
func counterAfter(text []byte, delta int64) (int64, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != string(text) {
		return 0, store.ErrNotCounter
	}
	sum := n + delta
	if (sum > n) != (delta > 0) && delta != 0 {
		return 0, store.ErrNotCounter
	}
	return sum, nil
}

// hide makes the key the layer's, whether or not it has a value.
func (o *layerOp) hide(ctx context.Context) error {
	if _, gone, err := o.get(ctx, layerGone); gone || err != nil {
		return err
	}
	_, err := o.layers.store.Apply(ctx, store.Op{Kind: store.Set, Bucket: layerBucket(o.place, o.scope.App, layerGone), Key: o.key, Quota: o.scope.Quota})
	return err
}

// recall finds the outcome of what was done once.
func (o *layerOp) recall(ctx context.Context) (done bool, err error) {
	if o.req.Once == "" {
		return false, nil
	}
	text, done, err := o.read(ctx, layerBucket(o.place, o.scope.App, layerOnce), o.once())
	if err != nil || !done {
		return false, err
	}
	found, number, _ := strings.Cut(string(text), " ")
	switch o.req.Op { // the first may have been of another kind
	case hostapi.StateDelete:
		o.resp.Found = found == "found"
	case hostapi.StateAdd:
		o.resp.Number, err = strconv.ParseInt(number, 10, 64)
	}
	return true, err
}

// remember keeps the outcome of what is done once.
func (o *layerOp) remember(ctx context.Context) error {
	if o.req.Once == "" {
		return nil
	}
	outcome := "none "
	if o.resp.Found {
		outcome = "found "
	}
	_, err := o.layers.store.Apply(ctx, store.Op{
		Kind: store.Set, Bucket: layerBucket(o.place, o.scope.App, layerOnce), Key: o.once(),
		Value: strconv.AppendInt([]byte(outcome), o.resp.Number, 10), TTL: onceTTL,
	})
	return err
}

func (o *layerOp) once() string { return o.scope.EventID + "/" + o.req.Once }

// Bounds of what is remembered of the state before a primary's call.
const (
	maxBeforeKeys  = 64
	maxBeforeBytes = 256 << 10
)

// watchedState is the state of a primary's call: it notes what stood under the
// keys that the call changes.
type watchedState struct {
	inner  sandbox.State
	before *pipeline.Before
	bytes  int
}

// State notes, then does the operation.
func (s *watchedState) State(ctx context.Context, scope sandbox.StateCall, req *hostapi.StateRequest, resp *hostapi.StateResponse) hostapi.Status {
	if req.Op != hostapi.StateGet {
		s.note(ctx, scope, req)
	}
	return s.inner.State(ctx, scope, req, resp)
}

func (s *watchedState) note(ctx context.Context, scope sandbox.StateCall, req *hostapi.StateRequest) {
	key := stateKey(scope, req)
	if _, known := s.before.Values[key]; known || s.before.Partial {
		return
	}
	var old hostapi.StateResponse
	status := s.inner.State(ctx, scope, &hostapi.StateRequest{Op: hostapi.StateGet, Scope: req.Scope, Key: req.Key}, &old)
	s.bytes += len(key) + len(old.Value)
	if status != hostapi.OK && status != hostapi.NotFound || len(s.before.Values) == maxBeforeKeys || s.bytes > maxBeforeBytes {
		s.before.Partial = true
		return
	}
	if s.before.Values == nil {
		s.before.Values = map[string][]byte{}
	}
	var value []byte
	if status == hostapi.OK {
		value = append([]byte{}, old.Value...)
	}
	s.before.Values[key] = value
}
