package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

var faqLayer = pipeline.Layer{Pipeline: "main", Stage: "answers", Plugin: "next", Over: "faq"}

// clockedStore opens a store that goes by a clock.
func clockedStore(t *testing.T, clock *storetest.Clock) store.Store {
	t.Helper()
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir(), Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func layersOf(t *testing.T, s store.Store) *layers {
	t.Helper()
	return layersOn(t, s, false)
}

func layersOn(t *testing.T, s store.Store, shared bool) *layers {
	t.Helper()
	ls, err := openLayers(t.Context(), &pluginState{store: s, log: discard()}, shared)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ls.close)
	return ls
}

func layerPlace(t *testing.T, ls *layers, l pipeline.Layer) string {
	t.Helper()
	place, err := ls.place(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return place
}

// at returns what is under a key, "-" for nothing.
func at(t *testing.T, s store.Store, bucket, key string) string {
	t.Helper()
	v, err := s.Get(t.Context(), bucket, key)
	if errors.Is(err, store.ErrNotFound) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// TestLayerModel: random operations on a layer over a state end as they do on a
// state of their own that began with the same; and the state under it stays as
// it was.
func TestLayerModel(t *testing.T) {
	keys, texts := []string{"a", "b", "c", "d"}, []string{"", "1", "22", "-3", "x"}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd, clock := rand.New(rand.NewPCG(seed, 7)), storetest.NewClock()
			own, shared := clockedStore(t, clock), clockedStore(t, clock)
			base := map[string]string{}
			for _, k := range keys[:3] {
				base["a/"+k] = texts[rnd.IntN(len(texts))]
				for _, s := range []store.Store{own, shared} {
					if _, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: "state/faq/shop", Key: "a/" + k, Value: []byte(base["a/"+k])}); err != nil {
						t.Fatal(err)
					}
				}
			}
			layer := faqLayer
			if seed%3 == 2 { // over nothing
				layer.Over = ""
				for k := range base {
					if _, err := own.Apply(t.Context(), store.Op{Kind: store.Delete, Bucket: "state/faq/shop", Key: k}); err != nil {
						t.Fatal(err)
					}
				}
			}
			plain, ls := &pluginState{store: own, log: discard()}, layersOf(t, shared)
			for i := range 300 {
				req := hostapi.StateRequest{
					Op: hostapi.StateOp(1 + rnd.IntN(5)), Key: keys[rnd.IntN(len(keys))], Value: []byte(texts[rnd.IntN(len(texts))]),
					Delta: int64(rnd.IntN(20) - 10), TTLMS: int64(rnd.IntN(3)) * 1000,
					Expect: []byte(texts[rnd.IntN(len(texts))]), ExpectAbsent: rnd.IntN(4) == 0,
				}
				if req.Op == hostapi.StateAdd && layer.Over != "" {
					req.TTLMS = 0 // a counter that the layer takes over begins a time of its own
				}
				if req.Op != hostapi.StateGet && req.Op != hostapi.StateCompareAndSet && rnd.IntN(3) == 0 {
					req.Once = string('A' + rune(rnd.IntN(4)))
				}
				scope := sandbox.StateCall{Plugin: "faq", App: "shop", User: "o1", EventID: fmt.Sprint("e", rnd.IntN(3)), Quota: 1 << 20}
				var want, got hostapi.StateResponse
				wantStatus := plain.State(t.Context(), scope, &req, &want)
				scope.Plugin = "next"
				gotStatus := ls.of(layer, nil).State(t.Context(), scope, &req, &got)
				if gotStatus != wantStatus || !reflect.DeepEqual(got, want) {
					t.Fatalf("operation %d, %+v:\n got %v %+v\nwant %v %+v", i, req, gotStatus, got, wantStatus, want)
				}
				if rnd.IntN(20) == 0 {
					clock.Advance(time.Duration(rnd.IntN(4000)) * time.Millisecond)
				}
			}
			for k, want := range base {
				if got := at(t, shared, "state/faq/shop", k); got != want {
					t.Errorf("%s is %q, was %q", k, got, want)
				}
			}
			if got := at(t, shared, "state/next/shop", "a/a"); got != "-" {
				t.Errorf("its own state has %q", got)
			}
		})
	}
}

// TestLayerBefore: the shadow sees what the primary saw, though it runs later.
func TestLayerBefore(t *testing.T) {
	s := openStore(t)
	state := &pluginState{store: s, log: discard()}
	ls := layersOf(t, s)
	scope := sandbox.StateCall{Plugin: "faq", App: "shop", User: "o1", EventID: "e1", Quota: 1 << 20}
	add := hostapi.StateRequest{Op: hostapi.StateAdd, Key: "n", Delta: 1}
	get := hostapi.StateRequest{Op: hostapi.StateGet, Key: "text"}
	for i := range int64(4) {
		before := new(pipeline.Before)
		watched := &watchedState{inner: state, before: before}
		var primary, shadow hostapi.StateResponse
		if st := watched.State(t.Context(), scope, &add, &primary); st != hostapi.OK || primary.Number != i+1 {
			t.Fatalf("%v %+v", st, primary)
		}
		set := hostapi.StateRequest{Op: hostapi.StateSet, Key: "text", Value: []byte{byte('0' + i)}}
		if st := watched.State(t.Context(), scope, &set, new(hostapi.StateResponse)); st != hostapi.OK {
			t.Fatal(st)
		}
		call := ls.of(faqLayer, before)
		if st := call.State(t.Context(), scope, &get, &shadow); (st == hostapi.OK) != (i > 0) || i > 0 && string(shadow.Value) != string('0'+byte(i)-1) {
			t.Errorf("event %d: it reads %v %q", i, st, shadow.Value)
		}
		shadow = hostapi.StateResponse{}
		if st := call.State(t.Context(), scope, &add, &shadow); st != hostapi.OK || shadow.Number != primary.Number {
			t.Errorf("event %d: it counts %d", i, shadow.Number)
		}
	}
}

// TestBeforeIsBounded: what is over the bound is said to be unknown.
func TestBeforeIsBounded(t *testing.T) {
	state := &pluginState{store: openStore(t), log: discard()}
	scope := scopeOf("shop", "o1", "e1")
	for what, size := range map[string]int{"keys": 1, "bytes": 60 << 10} {
		before := new(pipeline.Before)
		watched := &watchedState{inner: state, before: before}
		for range 2 { // the second time there is something before
			for i := range maxBeforeKeys + 1 {
				set := hostapi.StateRequest{Op: hostapi.StateSet, Key: fmt.Sprint(what, i), Value: make([]byte, size)}
				if st := watched.State(t.Context(), scope, &set, new(hostapi.StateResponse)); st != hostapi.OK {
					t.Fatal(st)
				}
			}
			if what == "bytes" {
				before = new(pipeline.Before)
				watched = &watchedState{inner: state, before: before}
			}
		}
		if what == "keys" && !before.Partial {
			t.Errorf("%s: %d keys are known", what, len(before.Values))
		}
		if len(before.Values) > maxBeforeKeys {
			t.Errorf("%s: %d keys", what, len(before.Values))
		}
	}
	away := &watchedState{inner: noState{}, before: new(pipeline.Before)}
	set := hostapi.StateRequest{Op: hostapi.StateSet, Key: "k"}
	if st := away.State(t.Context(), scope, &set, new(hostapi.StateResponse)); st != hostapi.Unavailable || !away.before.Partial {
		t.Errorf("the store away: %v, %+v", st, away.before)
	}
}

// TestLayerQuota: the bound of the plugin's state holds in its layer.
func TestLayerQuota(t *testing.T) {
	ls := layersOf(t, openStore(t))
	scope := scopeOf("shop", "o1", "e1")
	scope.Quota = 100
	set := hostapi.StateRequest{Op: hostapi.StateSet, Key: "k", Value: make([]byte, 200)}
	if st := ls.of(faqLayer, nil).State(t.Context(), scope, &set, new(hostapi.StateResponse)); st != hostapi.Limited {
		t.Errorf("got %v", st)
	}
	var got []hostapi.Status
	for i := range 60 {
		del := hostapi.StateRequest{Op: hostapi.StateDelete, Key: fmt.Sprint("key", i)}
		got = append(got, ls.of(faqLayer, nil).State(t.Context(), scope, &del, new(hostapi.StateResponse)))
	}
	if got[0] != hostapi.OK || got[59] != hostapi.Limited {
		t.Errorf("marks without a bound: %v", got)
	}
}

// TestLayerErrors: a store that is away, and one that takes too long.
func TestLayerErrors(t *testing.T) {
	s := openStore(t)
	ls := layersOf(t, s)
	ls.store = failing{s, errOutage}
	set := hostapi.StateRequest{Op: hostapi.StateSet, Key: "k"}
	if st := ls.of(faqLayer, nil).State(t.Context(), scopeOf("shop", "", "e1"), &set, new(hostapi.StateResponse)); st != hostapi.Unavailable {
		t.Errorf("got %v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if st := ls.of(faqLayer, nil).State(ctx, scopeOf("shop", "", "e1"), &set, new(hostapi.StateResponse)); st != hostapi.Timeout {
		t.Errorf("got %v", st)
	}
}

// TestLayersKept: a layer is kept over a restart as long as its line is there,
// and all of it goes with the line; one that comes back is a new one.
func TestLayersKept(t *testing.T) {
	s := openStore(t)
	ls := layersOf(t, s)
	other := faqLayer
	other.Stage = "other"
	put := func(ls *layers, l pipeline.Layer, app string, n int) {
		t.Helper()
		for i := range n {
			req := hostapi.StateRequest{Op: hostapi.StateSet, Key: fmt.Sprint("k", i), Value: []byte(l.Stage), TTLMS: int64(i%2) * 3_600_000}
			if i%3 == 0 {
				req.Once = "once"
			}
			scope := sandbox.StateCall{Plugin: "next", App: app, EventID: fmt.Sprint("e", i), Quota: 1 << 20}
			if st := ls.of(l, nil).State(t.Context(), scope, &req, new(hostapi.StateResponse)); st != hostapi.OK {
				t.Fatal(st)
			}
		}
	}
	has := func(ls *layers, l pipeline.Layer, app string) bool {
		t.Helper()
		var resp hostapi.StateResponse
		req := hostapi.StateRequest{Op: hostapi.StateGet, Key: "k2"}
		st := ls.of(l, nil).State(t.Context(), sandbox.StateCall{Plugin: "next", App: app}, &req, &resp)
		return st == hostapi.OK && string(resp.Value) == l.Stage
	}
	only := func(ls *layers, use ...pipeline.Layer) {
		ls.use(func(l pipeline.Layer) bool { return slices.Contains(use, l) })
		ls.tidy(t.Context())
	}
	put(ls, faqLayer, "shop", clearStep+10)
	put(ls, faqLayer, "blog", 5)
	put(ls, other, "shop", 5)
	place := layerPlace(t, ls, faqLayer)
	only(ls, faqLayer, other)
	ls.close()

	ls = layersOf(t, s)
	ls.tidy(t.Context()) // before it is known which are in use
	only(ls, faqLayer, other)
	if !has(ls, faqLayer, "shop") || !has(ls, faqLayer, "blog") || !has(ls, other, "shop") {
		t.Error("a layer is lost with a restart")
	}
	only(ls, other)
	put(ls, faqLayer, "shop", 1) // it has come back
	if has(ls, faqLayer, "shop") || layerPlace(t, ls, faqLayer) == place {
		t.Error("a layer that came back has what it had")
	}
	ls.wg.Wait()
	for _, app := range []string{"shop", "blog"} {
		for _, part := range []string{layerValues, layerGone, layerOnce} {
			if left, err := s.Clear(t.Context(), layerBucket(place, app, part), 1); left || err != nil {
				t.Errorf("left of app %s, %s: %v", app, part, err)
			}
		}
	}
	if !has(ls, other, "shop") {
		t.Error("another layer is gone, too")
	}
	if n := len(ls.list); n != 2 {
		t.Errorf("%d records", n)
	}
	ls.close()

	ls = layersOf(t, s)
	only(ls)
	ls.wg.Wait()
	if at(t, s, layersBucket, layersKey) != "[]" {
		t.Errorf("left: %s", at(t, s, layersBucket, layersKey))
	}
}

// TestLayersDamaged: a list that can't be read is no outage.
func TestLayersDamaged(t *testing.T) {
	s := openStore(t)
	if _, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: layersBucket, Key: layersKey, Value: []byte("[{]")}); err != nil {
		t.Fatal(err)
	}
	ls := layersOf(t, s)
	set := hostapi.StateRequest{Op: hostapi.StateSet, Key: "k"}
	if st := ls.of(faqLayer, nil).State(t.Context(), sandbox.StateCall{App: "shop"}, &set, new(hostapi.StateResponse)); st != hostapi.OK {
		t.Errorf("got %v", st)
	}
}

// TestLayersTogether: many calls at once lose no count.
func TestLayersTogether(t *testing.T) {
	s := openStore(t)
	if _, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: "state/faq/shop", Key: "a/n", Value: []byte("100")}); err != nil {
		t.Fatal(err)
	}
	ls := layersOf(t, s)
	done := make(chan bool)
	for range 8 {
		go func() {
			defer func() { done <- true }()
			for range 10 {
				add := hostapi.StateRequest{Op: hostapi.StateAdd, Key: "n", Delta: 1}
				if st := ls.of(faqLayer, nil).State(t.Context(), sandbox.StateCall{App: "shop", Quota: 1 << 20}, &add, new(hostapi.StateResponse)); st != hostapi.OK {
					t.Error(st)
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
	if got := at(t, s, layerBucket(layerPlace(t, ls, faqLayer), "shop", layerValues), "a/n"); got != "180" {
		t.Errorf("the counter is %s", got)
	}
	if got := at(t, s, "state/faq/shop", "a/n"); got != "100" {
		t.Errorf("the primary's counter is %s", got)
	}
}

// TestLayersOfTwoHosts: hosts with one store share a layer, lose none of what each
// has noted of it, and no count of it.
func TestLayersOfTwoHosts(t *testing.T) {
	s := openStore(t)
	if _, err := s.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: "state/faq/shop", Key: "a/n0", Value: []byte("100")}); err != nil {
		t.Fatal(err)
	}
	hosts := []*layers{layersOn(t, s, true), layersOn(t, s, true)}
	add := func(ls *layers, app, key string) {
		req := hostapi.StateRequest{Op: hostapi.StateAdd, Key: key, Delta: 1}
		if st := ls.of(faqLayer, nil).State(t.Context(), sandbox.StateCall{App: app, Quota: 1 << 20}, &req, new(hostapi.StateResponse)); st != hostapi.OK {
			t.Error(st)
		}
	}
	var wg sync.WaitGroup
	const each, keys = 20, 8
	for i, ls := range hosts {
		for range each {
			wg.Go(func() {
				for k := range keys {
					add(ls, "shop", fmt.Sprint("n", k))
				}
				add(ls, fmt.Sprint("app", i), "n")
			})
		}
	}
	wg.Wait()
	place := layerPlace(t, hosts[0], faqLayer)
	for k := range keys {
		want := 2 * each
		if k == 0 {
			want += 100
		}
		if got := at(t, s, layerBucket(place, "shop", layerValues), fmt.Sprint("a/n", k)); got != fmt.Sprint(want) {
			t.Errorf("counter %d is %s, want %d", k, got, want)
		}
	}
	_, list, err := hosts[1].load(t.Context())
	if err != nil || len(list) != 1 || len(list[0].Apps) != 3 {
		t.Errorf("the list is %+v, %v", list, err)
	}
	hosts[1].mu.Lock()
	hosts[1].read = time.Now().Add(-layersLook)
	hosts[1].list = nil // what it knew before the other made the layer
	hosts[1].mu.Unlock()
	get := hostapi.StateRequest{Op: hostapi.StateGet, Key: "n0"}
	var resp hostapi.StateResponse
	if st := hosts[1].of(faqLayer, nil).State(t.Context(), sandbox.StateCall{App: "shop"}, &get, &resp); st != hostapi.OK || string(resp.Value) != fmt.Sprint(100+2*each) {
		t.Errorf("a host that has not written sees %v %q", st, resp.Value)
	}
}

func FuzzLayers(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", `[{"pipeline":"main","stage":"s","plugin":"p","over":"q","place":"shadow/0123456789abcdef","apps":["shop"]}]`,
		`[{"place":"weft/shadows"}]`, `[{"place":"shadow/0123456789abcdef","apps":[""],"gone":true}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		list, err := decodeLayers(value)
		if err != nil {
			return
		}
		for _, r := range list {
			for _, app := range r.Apps {
				if name := layerBucket(r.Place, app, layerValues); len(name) > store.MaxName || !strings.HasPrefix(name, "shadow/") {
					t.Errorf("a bucket %q", name)
				}
			}
		}
		if len(list) > 0 && slices.ContainsFunc(list, func(r layerRecord) bool { return r.Place == "" }) {
			t.Error("a record without a place")
		}
	})
}
