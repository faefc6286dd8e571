package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

const testOpenID = "oABC-the-openid"

// town is a store that vaults with several keys are over.
type town struct {
	t     *testing.T
	store store.Store
	clock *storetest.Clock
}

func newTown(t *testing.T) *town {
	w := &town{t: t, clock: storetest.NewClock()}
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: t.TempDir(), Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w.store = s
	return w
}

func (w *town) vault(key byte, previous ...byte) *Vault {
	w.t.Helper()
	o := Options{Store: w.store, Key: testKey(key), Now: w.clock.Now}
	for _, p := range previous {
		o.PreviousKeys = append(o.PreviousKeys, testKey(p))
	}
	return newVault(w.t, o)
}

func (w *town) put(v *Vault, value string, ttl time.Duration) {
	w.t.Helper()
	if err := v.Put(w.t.Context(), "shop", testOpenID, Phone, []byte(value), ttl); err != nil {
		w.t.Fatal(err)
	}
	w.clock.Advance(time.Millisecond)
}

// has checks the phone number of the test's user; "": there is none.
func (w *town) has(what string, v *Vault, want string) {
	w.t.Helper()
	got, err := v.Get(w.t.Context(), "shop", testOpenID, Phone)
	if want == "" && !errors.Is(err, store.ErrNotFound) || want != "" && (err != nil || string(got) != want) {
		w.t.Errorf("%s: %q, %v, want %q", what, got, err, want)
	}
}

func TestFields(t *testing.T) {
	w := newTown(t)
	v := w.vault(1)
	w.has("nothing yet", v, "")
	w.put(v, "13800138000", time.Hour)
	w.has("put", v, "13800138000")
	for _, other := range [][3]string{{"bank", testOpenID, Phone}, {"shop", "oOTHER", Phone}, {"shop", testOpenID, SessionKey}} {
		if got, err := v.Get(t.Context(), other[0], other[1], other[2]); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %q, %v", other, got, err)
		}
	}
	w.put(v, "13900139000", time.Hour)
	w.has("put again", v, "13900139000")
	w.clock.Advance(time.Hour)
	w.has("an hour later", v, "")
	w.put(v, "13700137000", 0)
	w.clock.Advance(1000 * time.Hour)
	w.has("put for ever", v, "13700137000")
	if err := v.Remove(t.Context(), "shop", testOpenID, Phone); err != nil {
		t.Fatal(err)
	}
	w.has("removed", v, "")
	if err := v.Put(t.Context(), "shop", testOpenID, Phone, nil, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Get(t.Context(), "shop", testOpenID, Phone); err != nil || len(got) != 0 {
		t.Errorf("an empty value: %q, %v", got, err)
	}
}

// A value that was known before the one that is kept doesn't take its place, also where
// it changes in between.
func TestFieldsKnown(t *testing.T) {
	w := newTown(t)
	v := w.vault(1)
	known := func(v *Vault, value string, at time.Time) {
		t.Helper()
		if err := v.PutKnown(t.Context(), "shop", testOpenID, Phone, []byte(value), at); err != nil {
			t.Error(err)
		}
	}
	now := w.clock.Now()
	w.clock.Advance(10 * time.Second)
	known(v, "first", now)
	w.has("where there was none", v, "first")
	known(v, "earlier", now.Add(-1))
	w.has("an earlier one", v, "first")
	known(v, "same", now)
	w.has("one of the same time", v, "same")
	known(v, "later", now.Add(time.Second))
	w.has("a later one", v, "later")
	known(w.vault(2, 1), "other key", now.Add(2*time.Second))
	known(v, "between", now.Add(time.Second+1))
	w.has("what is later under another key", w.vault(1, 2), "other key")

	// Two hosts at once: the later one stays.
	raced := *v
	raced.store = beforeStore{w.store, func() { known(v, "faster", now.Add(5*time.Second)) }}
	known(&raced, "slower", now.Add(4*time.Second))
	w.has("of two at once", v, "faster")
	raced.store = beforeStore{w.store, func() {
		if err := v.Remove(t.Context(), "shop", testOpenID, Phone); err != nil {
			t.Error(err)
		}
	}}
	known(&raced, "again", now.Add(6*time.Second))
	w.has("that was removed meanwhile", v, "again")
	// A host whose clock was an hour ahead leaves nothing that stays for an hour; one that
	// is as far ahead as hosts may be does not count.
	now = w.clock.Now()
	known(v, "ahead", now.Add(time.Hour))
	known(v, "in time", now)
	w.has("after one of a wrong clock", v, "in time")
	known(v, "a little ahead", now.Add(clockSkew))
	known(v, "slower", now)
	w.has("after one of a clock that is a little ahead", v, "a little ahead")
	if err := v.PutKnown(t.Context(), "", testOpenID, Phone, nil, now); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("without an app: %v", err)
	}
}

// beforeStore has something happen before each change that expects a value.
type beforeStore struct {
	store.Store
	before func()
}

func (s beforeStore) Apply(ctx context.Context, op store.Op) (store.Result, error) {
	if op.Expect != nil {
		s.before()
	}
	return s.Store.Apply(ctx, op)
}

// While hosts change the key one after the other, each reads what any of them has
// put last.
func TestFieldsKeyChange(t *testing.T) {
	w := newTown(t)
	old, ready, changed := w.vault(1), w.vault(1, 2), w.vault(2, 1)
	w.put(old, "first", 0)
	w.has("the old key's on a changed host", changed, "first")
	w.put(changed, "second", 0)
	w.has("the new key's on a host that is ready", ready, "second")
	w.has("on the host that put it", changed, "second")
	w.put(ready, "third", 0)
	w.has("the old key's, put later, on a changed host", changed, "third")
	w.has("on a host that has the new key alone", w.vault(2), "second")
	if err := changed.Remove(t.Context(), "shop", testOpenID, Phone); err != nil {
		t.Fatal(err)
	}
	w.has("removed under both", ready, "")
	w.has("removed under the old one", old, "")
}

// A value that was spoilt under one key hides none that was put under the other.
func TestFieldSpoilt(t *testing.T) {
	w := newTown(t)
	old, changed := w.vault(1), w.vault(2, 1)
	w.put(old, "first", 0)
	w.put(changed, "second", 0)
	spoil := func(v *Vault) {
		bucket, key := v.keys[0].place("shop", testOpenID, Phone)
		if _, err := w.store.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: bucket, Key: key, Value: []byte("spoilt")}); err != nil {
			t.Fatal(err)
		}
	}
	spoil(old)
	w.has("spoilt under the old key", changed, "second")
	spoil(changed)
	if got, err := changed.Get(t.Context(), "shop", testOpenID, Phone); !errors.Is(err, ErrSealed) {
		t.Errorf("spoilt under both: %q, %v", got, err)
	}
	w.put(changed, "third", 0)
	w.has("put again", changed, "third")
}

// A sealed value that was moved to another user, app or field is not opened there.
func TestFieldIsBound(t *testing.T) {
	w := newTown(t)
	v := w.vault(1)
	w.put(v, "13800138000", 0)
	bucket, key := v.keys[0].place("shop", testOpenID, Phone)
	sealed, err := w.store.Get(t.Context(), bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	short := v.Seal(fieldPurpose, []byte("short"), joined(nil, "shop", "oSHORT", Phone))
	for _, c := range []struct {
		app, openid, field string
		sealed             []byte
	}{
		{"bank", testOpenID, Phone, sealed},
		{"shop", "oOTHER", Phone, sealed},
		{"shop", testOpenID, SessionKey, sealed},
		{"shop", testOpenID, Phone, sealed[:len(sealed)-1]},
		{"shop", testOpenID, Phone, nil},
		{"shop", "oSHORT", Phone, short},
	} {
		bucket, key := v.keys[0].place(c.app, c.openid, c.field)
		if _, err := w.store.Apply(t.Context(), store.Op{Kind: store.Set, Bucket: bucket, Key: key, Value: c.sealed}); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Get(t.Context(), c.app, c.openid, c.field); !errors.Is(err, ErrSealed) {
			t.Errorf("%s %s %s: %q, %v", c.app, c.openid, c.field, got, err)
		}
	}
}

func TestFieldBounds(t *testing.T) {
	w := newTown(t)
	v := w.vault(1)
	if err := v.Put(t.Context(), "shop", testOpenID, Phone, make([]byte, maxField), 0); err != nil {
		t.Errorf("the largest value: %v", err)
	}
	secret := bytes.Repeat([]byte("13800138000 "), maxField/8)
	errs := map[string]error{"too large": v.Put(t.Context(), "shop", testOpenID, Phone, secret, 0)}
	for _, names := range [][3]string{{"", testOpenID, Phone}, {"shop", "", Phone}, {"shop", testOpenID, ""}} {
		errs[fmt.Sprintf("put %q", names)] = v.Put(t.Context(), names[0], names[1], names[2], secret[:11], 0)
		errs[fmt.Sprintf("remove %q", names)] = v.Remove(t.Context(), names[0], names[1], names[2])
		_, errs[fmt.Sprintf("get %q", names)] = v.Get(t.Context(), names[0], names[1], names[2])
	}
	for name, err := range errs {
		if !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	errs["put, closed"] = v.Put(t.Context(), "shop", testOpenID, Phone, secret[:11], 0)
	errs["remove, closed"] = v.Remove(t.Context(), "shop", testOpenID, Phone)
	_, errs["get, closed"] = v.Get(t.Context(), "shop", testOpenID, Phone)
	for name, err := range errs {
		if err == nil || strings.Contains(err.Error(), testOpenID) || strings.Contains(err.Error(), "138001") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Many goroutines put and get fields of their own users and of one that they share.
func TestFieldsHammer(t *testing.T) {
	w := newTown(t)
	v := w.vault(2, 1)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			own := fmt.Sprintf("user %d", worker)
			for i := range 15 {
				want := fmt.Sprintf("%d of %s", i, own)
				for _, user := range []string{own, "shared"} {
					if err := v.Put(t.Context(), "shop", user, Phone, []byte(want), 0); err != nil {
						t.Error(err)
					}
				}
				if got, err := v.Get(t.Context(), "shop", own, Phone); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v", want, got, err)
				}
				if got, err := v.Get(t.Context(), "shop", "shared", Phone); err != nil || !strings.Contains(string(got), " of user ") {
					t.Errorf("shared: %q, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}
