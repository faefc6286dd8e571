package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-dev/weft/runtime/pipeline"
	"github.com/weft-dev/weft/runtime/sandbox"
	"github.com/weft-dev/weft/runtime/store"
)

// Where the store has what layers there are: one value.
const (
	layersBucket = "weft/shadows"
	layersKey    = "layers"
)

const (
	layerLocks = 64
	clearStep  = 256 // keys that are removed in one change
	clearPause = time.Second
	clearTime  = 5 * time.Second // of one call of the store
	layersLook = time.Second     // how old what a host knows of the list is, where others change it, too
)

// layers are the layers of state of all shadows. They belong to the host. A layer
// is kept as long as it is in use; when it isn't, tidy has it removed step by step.
type layers struct {
	store  store.Store
	shared bool         // by hosts that change the list, too
	state  *pluginState // what lies under them, and what says how its errors end
	log    *slog.Logger

	seed  maphash.Seed
	locks [layerLocks]chan struct{} // of keys; each holds one where nobody has it

	life  context.Context // of the clearing
	end   context.CancelFunc
	wg    sync.WaitGroup
	saves chan struct{} // likewise, of the list in the store

	mu       sync.Mutex
	inUse    func(pipeline.Layer) bool // by what serves
	list     []layerRecord             // what the store has, when it was last read or written
	read     time.Time                 // when that was
	clearing bool
}

// layerRecord is a layer that has something in the store, or may have.
type layerRecord struct {
	Pipeline string   `json:"pipeline"`
	Stage    string   `json:"stage"`
	Plugin   string   `json:"plugin"`
	Over     string   `json:"over,omitempty"`
	Place    string   `json:"place"` // begins the names of its buckets: a layer that comes back has another one
	Apps     []string `json:"apps"`
	Gone     bool     `json:"gone,omitempty"` // to be removed
}

func (r *layerRecord) layer() pipeline.Layer {
	return pipeline.Layer{Pipeline: r.Pipeline, Stage: r.Stage, Plugin: r.Plugin, Over: r.Over}
}

func (r *layerRecord) is(l pipeline.Layer) bool { return !r.Gone && l == r.layer() }

// openLayers reads what layers there are, in a store that is shared with other
// hosts or not. The caller closes them, before the store.
func openLayers(ctx context.Context, state *pluginState, shared bool) (*layers, error) {
	ls := &layers{
		store: state.store, shared: shared, state: state, log: state.log, seed: maphash.MakeSeed(), saves: make(chan struct{}, 1),
		inUse: func(pipeline.Layer) bool { return true },
	}
	ls.saves <- struct{}{}
	for i := range ls.locks {
		ls.locks[i] = make(chan struct{}, 1)
		ls.locks[i] <- struct{}{}
	}
	if err := ls.refresh(ctx); err != nil {
		return nil, err
	}
	ls.life, ls.end = context.WithCancel(context.WithoutCancel(ctx))
	return ls, nil
}

// load reads the list; value is how the store has it, nil: not at all. One that
// can't be read is forgotten.
func (ls *layers) load(ctx context.Context) (value []byte, list []layerRecord, err error) {
	value, err = ls.store.Get(ctx, layersBucket, layersKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the layers of shadows: %w", err)
	}
	value = append([]byte{}, value...) // nil is none
	if list, err = decodeLayers(value); err != nil {
		ls.log.LogAttrs(ctx, slog.LevelError, "layers of shadows are forgotten", slog.String("error", err.Error()))
	}
	return value, list, nil
}

// refresh takes over what other hosts have made of the list, where what is known
// of it is old.
func (ls *layers) refresh(ctx context.Context) error {
	ls.mu.Lock()
	known := !ls.read.IsZero() && (!ls.shared || time.Since(ls.read) < layersLook)
	ls.mu.Unlock()
	if known {
		return nil
	}
	at := time.Now()
	_, list, err := ls.load(ctx)
	if err == nil {
		ls.know(list, at)
	}
	return err
}

// know takes over a list that the store had at a time.
func (ls *layers) know(list []layerRecord, at time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !at.Before(ls.read) {
		ls.list, ls.read = list, at
	}
}

// placeLength is that of a layerRecord.Place.
const placeLength = len("shadow/") + 16

func decodeLayers(value []byte) ([]layerRecord, error) {
	var list []layerRecord
	if err := json.Unmarshal(value, &list); err != nil {
		return nil, fmt.Errorf("layers in the store: %w", err)
	}
	for _, r := range list {
		if len(r.Place) != placeLength || !strings.HasPrefix(r.Place, "shadow/") {
			return nil, errors.New("layers in the store: a place that is none")
		}
		for _, app := range r.Apps {
			if len(app) == 0 || len(app) > maxLayerApp {
				return nil, errors.New("layers in the store: an app that is none")
			}
		}
	}
	return list, nil
}

// maxLayerApp is how long an app's name is at most, so that a bucket's isn't too
// long.
const maxLayerApp = 63

// close ends the clearing, which goes on after the next start.
func (ls *layers) close() {
	ls.end()
	ls.wg.Wait()
}

// of gives a shadow's call its state.
func (ls *layers) of(layer pipeline.Layer, before *pipeline.Before) sandbox.State {
	return &layerState{layers: ls, layer: layer, before: before}
}

// place is where a layer stands; "": it has nothing yet.
func (ls *layers) place(ctx context.Context, l pipeline.Layer) (string, error) {
	if err := ls.refresh(ctx); err != nil {
		return "", err
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if i := ls.find(l); i >= 0 {
		return ls.list[i].Place, nil
	}
	return "", nil
}

func (ls *layers) find(l pipeline.Layer) int {
	return slices.IndexFunc(ls.list, func(r layerRecord) bool { return r.is(l) })
}

// enter makes sure that the store knows of a layer before something is written
// to it for an app, and returns its place.
func (ls *layers) enter(ctx context.Context, l pipeline.Layer, app string) (place string, err error) {
	if err := ls.refresh(ctx); err != nil {
		return "", err
	}
	ls.mu.Lock()
	if i := ls.find(l); i >= 0 && slices.Contains(ls.list[i].Apps, app) {
		defer ls.mu.Unlock()
		return ls.list[i].Place, nil
	}
	ls.mu.Unlock()
	err = ls.change(ctx, func(list []layerRecord) []layerRecord {
		i := slices.IndexFunc(list, func(r layerRecord) bool { return r.is(l) })
		if i < 0 {
			var random [8]byte
			rand.Read(random[:]) // never fails: crypto/rand ends the process instead
			list = append(list, layerRecord{
				Pipeline: l.Pipeline, Stage: l.Stage, Plugin: l.Plugin, Over: l.Over, Place: "shadow/" + hex.EncodeToString(random[:]),
			})
			i = len(list) - 1
		}
		if !slices.Contains(list[i].Apps, app) {
			list[i].Apps = append(slices.Clone(list[i].Apps), app)
		}
		place = list[i].Place
		return list
	})
	return place, err
}

// change makes a change of the list durable, beside those of other hosts, then
// takes it over. change gets a list of its own, perhaps more than once; mu is
// held.
func (ls *layers) change(ctx context.Context, change func([]layerRecord) []layerRecord) error {
	select {
	case <-ls.saves:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { ls.saves <- struct{}{} }()
	for {
		at := time.Now()
		before, list, err := ls.load(ctx)
		if err != nil {
			return err
		}
		ls.mu.Lock()
		list = change(list)
		ls.mu.Unlock()
		value, err := json.Marshal(list)
		var res store.Result
		if err == nil {
			res, err = ls.store.Apply(ctx, store.Op{Kind: store.CompareAndSet, Bucket: layersBucket, Key: layersKey, Value: value, Expect: before})
		}
		if err != nil {
			return fmt.Errorf("writing the layers of shadows: %w", err)
		}
		if res.Applied {
			ls.know(list, at)
			return nil
		}
	}
}

// use says which layers are in use from now on. It is called before what uses
// them serves; until it was called all are.
func (ls *layers) use(inUse func(pipeline.Layer) bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.inUse = inUse
}

// tidy removes all layers but those in use; the removing runs on behind it. What
// can't be noted is gone at the next call. An event that still uses one of the
// others makes it anew, and so it goes then.
func (ls *layers) tidy(ctx context.Context) {
	unused := func(r layerRecord) bool { return !r.Gone && !ls.inUse(r.layer()) }
	if err := ls.refresh(ctx); err != nil {
		ls.log.LogAttrs(ctx, slog.LevelError, "layers of shadows not looked through", slog.String("error", err.Error()))
	}
	ls.mu.Lock()
	change := slices.ContainsFunc(ls.list, unused)
	ls.mu.Unlock()
	if change {
		ctx, cancel := context.WithTimeout(ctx, clearTime)
		defer cancel()
		err := ls.change(ctx, func(list []layerRecord) []layerRecord {
			for i := range list {
				list[i].Gone = list[i].Gone || unused(list[i])
			}
			return list
		})
		if err != nil {
			ls.log.LogAttrs(ctx, slog.LevelError, "layers of shadows not removed", slog.String("error", err.Error()))
		}
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	gone := slices.ContainsFunc(ls.list, func(r layerRecord) bool { return r.Gone })
	if gone && !ls.clearing {
		ls.clearing = true
		ls.wg.Go(ls.clearAll)
	}
}

// clearAll removes what is gone until there is nothing of it, or the host stops.
func (ls *layers) clearAll() {
	for {
		ls.mu.Lock()
		i := slices.IndexFunc(ls.list, func(r layerRecord) bool { return r.Gone })
		if ls.clearing = i >= 0; !ls.clearing {
			ls.mu.Unlock()
			return
		}
		r := ls.list[i]
		ls.mu.Unlock()
		err := ls.clear(&r)
		if err == nil {
			continue
		}
		if ls.life.Err() == nil {
			ls.log.LogAttrs(ls.life, slog.LevelError, "layer of a shadow not removed", slog.String("pipeline", r.Pipeline), slog.String("stage", r.Stage), slog.String("error", err.Error()))
		}
		pause := time.NewTimer(clearPause)
		select {
		case <-pause.C:
		case <-ls.life.Done():
			pause.Stop()
			ls.mu.Lock()
			ls.clearing = false
			ls.mu.Unlock()
			return
		}
	}
}

// clear removes a layer, then its record: twice where a host that doesn't know yet
// that it is gone may have written in between.
func (ls *layers) clear(r *layerRecord) error {
	err := ls.clearBuckets(r)
	if err == nil && ls.shared {
		pause := time.NewTimer(2*layersLook + clearTime) // a call that was under way included
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ls.life.Done():
			return ls.life.Err()
		}
		err = ls.clearBuckets(r)
	}
	if err != nil {
		return err
	}
	return ls.call(func(ctx context.Context) error {
		return ls.change(ctx, func(list []layerRecord) []layerRecord {
			return slices.DeleteFunc(list, func(other layerRecord) bool { return other.Place == r.Place })
		})
	})
}

// clearBuckets removes what a layer has.
func (ls *layers) clearBuckets(r *layerRecord) error {
	for _, app := range r.Apps {
		for _, part := range []string{layerValues, layerGone, layerOnce} {
			for left := true; left; {
				err := ls.call(func(ctx context.Context) (err error) {
					left, err = ls.store.Clear(ctx, layerBucket(r.Place, app, part), clearStep)
					return err
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (ls *layers) call(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ls.life, clearTime)
	defer cancel()
	return f(ctx)
}

// lock takes the lock of a key, which the caller gives back.
func (ls *layers) lock(ctx context.Context, app, key string) (unlock func(), err error) {
	lock := ls.locks[maphash.String(ls.seed, app+"/"+key)%layerLocks]
	select {
	case <-lock:
		return func() { lock <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
