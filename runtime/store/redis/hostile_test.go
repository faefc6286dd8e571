package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// keyCalls are the calls that touch the bucket b, the lock l and the key k of the
// board, with what each of them could change.
func keyCalls(t *testing.T, s *Store) map[string]error {
	t.Helper()
	errs := map[string]error{}
	_, errs["Get"] = s.Get(t.Context(), "b", "k")
	for kind := store.Set; kind <= store.CompareAndSet; kind++ {
		_, errs[fmt.Sprint("Apply ", kind)] = s.Apply(t.Context(), store.Op{
			Kind: kind, Bucket: "b", Key: "k", Value: []byte("v"), Delta: 1, TTL: time.Hour, Quota: 10, Once: fmt.Sprint("o", kind), OnceTTL: time.Hour,
		})
	}
	_, errs["Clear"] = s.Clear(t.Context(), "b", 10)
	_, errs["Lock"] = s.Lock(t.Context(), "l", time.Minute)
	errs["Renew"] = s.Renew(t.Context(), store.Lock{Name: "l", Fence: 1}, time.Minute)
	errs["Unlock"] = s.Unlock(t.Context(), store.Lock{Name: "l", Fence: 1})
	_, errs["Look"] = s.Look(t.Context(), "k")
	_, _, errs["Exchange"] = s.Exchange(t.Context(), "k", []byte("w"), nil, 0)
	errs["Put"] = s.Put(t.Context(), "k", nil, time.Minute)
	return errs
}

// expected says whether err is one that the interface has.
func expected(err error) bool {
	for _, e := range []error{nil, store.ErrNotFound, store.ErrUnavailable, store.ErrQuota, store.ErrNotCounter, store.ErrHeld, store.ErrLost} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// TestForeignTypes: somebody else's value of another type under each of our keys
// makes calls fail, changes nothing else and is left alone.
func TestForeignTypes(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	k := s.bucketKeys("b")
	for _, key := range []string{k.values, k.expiry, k.marks, k.markExpiry, k.size} {
		t.Run(key, func(t *testing.T) {
			n.Do("flushall")
			n.Do("rpush", key, "theirs")
			failed := 0
			for name, err := range keyCalls(t, s) {
				if !expected(err) {
					t.Errorf("%s: %v", name, err)
				}
				if errors.Is(err, store.ErrUnavailable) && strings.HasPrefix(name, "Apply") {
					failed++
					if len(err.Error()) > 300 {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			if got := n.Do("lrange", key, 0, -1); failed != 4 || got != "[theirs]" {
				t.Errorf("%d changes failed, the value is %s", failed, got)
			}
			for _, other := range []string{k.values, k.expiry, k.marks, k.markExpiry, k.size, k.scratch} {
				if other != key && n.Do("exists", other) != "0" {
					t.Errorf("%s was written", other)
				}
			}
		})
	}
	for _, key := range []string{s.lockKey("l"), s.boardKey("k")} {
		n.Do("flushall")
		n.Do("rpush", key, "theirs")
		for name, err := range keyCalls(t, s) {
			if !expected(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestGarbage: what is no record of ours makes calls fail, none panics, and no
// error shows it.
func TestGarbage(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	k := s.bucketKeys("b")
	for _, garbage := range []string{
		"", "oSecret", "\x01", "\x02oSecret\x00\x00\x00", "\x01\xff\xff\xff\xff\xff\xff\xff\xffoSecret", "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x09oSecret",
		"nan", "inf", "-1", "1e308", "9007199254740993", "0x10", strings.Repeat("9", 400), strings.Repeat("oSecret", 1<<20), "\x01" + strings.Repeat("\x00", 8+store.MaxValue+1),
	} {
		n.Do("flushall")
		n.Do("hset", k.values, "k", garbage)
		for kind := store.Set; kind <= store.CompareAndSet; kind++ {
			n.Do("hset", k.marks, fmt.Sprint("o", kind), garbage)
		}
		n.Do("zadd", k.expiry, 1, "gone")
		n.Do("zadd", k.markExpiry, 1, "gone")
		n.Do("set", k.size, garbage)
		n.Do("hset", s.lockKey("l"), "f", garbage, "u", garbage)
		n.Do("set", s.boardKey("k"), garbage)
		for name, err := range keyCalls(t, s) {
			if !expected(err) || err != nil && (strings.Contains(err.Error(), "oSecret") || len(err.Error()) > 300) {
				t.Errorf("%.20q: %s: %.400v", garbage, name, err)
			}
		}
		n.Do("del", k.size)
		for name, err := range keyCalls(t, s) {
			if !expected(err) {
				t.Errorf("%.20q, no size: %s: %.400v", garbage, name, err)
			}
		}
	}
}

// anyReply makes what Redis might answer of data.
func anyReply(data []byte, depth int) (any, []byte) {
	if len(data) == 0 {
		return nil, nil
	}
	kind, data := data[0], data[1:]
	switch kind % 6 {
	case 0:
		n := min(len(data), int(kind)/6)
		return string(data[:n]), data[n:]
	case 1:
		n := min(len(data), 8)
		number := int64(0)
		for _, b := range data[:n] {
			number = number<<8 | int64(b)
		}
		return number, data[n:]
	case 2:
		words := []string{"done", "repeated", "lost", "quota", "counter", "again", "damaged", "held", "17", "-9223372036854775808"}
		return words[int(kind)/6%len(words)], data
	case 3:
		if depth > 3 {
			return nil, data
		}
		list := []any{}
		for range int(kind) / 6 % 5 {
			var item any
			item, data = anyReply(data, depth+1)
			list = append(list, item)
		}
		return list, data
	case 4:
		return nil, data
	default:
		return int64(kind) / 6 % 2, data
	}
}

func FuzzReplies(f *testing.F) {
	f.Add([]byte{3 + 6*3, 2, 5, 2 + 6*8})           // done 0 17
	f.Add([]byte{3 + 6*3, 2 + 6, 5 + 6, 2 + 6*9})   // repeated 1 min
	f.Add([]byte{3 + 6*3, 2 + 12, 5 + 6, 6 * 2, 1}) // lost 1 text
	f.Add([]byte{3 + 6*2, 2 + 36, 6 * 3, 'a', 'b', 'c'})
	f.Add([]byte{3 + 6, 2 + 42})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, _ := anyReply(data, 0)
		if res, err := readOutcome(r); err != nil && (res.Applied || res.Found || res.Value != nil) {
			t.Errorf("%+v with %v", res, err)
		}
		if fence, err := readLocked(r); err == nil && (fence == 0 || fence >= 1<<53) {
			t.Errorf("fence %d", fence)
		}
		if there, ok, err := readExchange(r); ok && (there != nil || err != nil) {
			t.Errorf("%q, %v", there, err)
		}
		if data, err := readFound(r); (data == nil) != (err != nil) {
			t.Errorf("%q, %v", data, err)
		}
		for _, err := range []error{readRefusal(nil), readRefusal([]any{r, r})} {
			if !errors.Is(err, store.ErrUnavailable) || len(err.Error()) > 300 {
				t.Error(err)
			}
		}
	})
}

func FuzzReplication(f *testing.F) {
	f.Add("# Replication\r\nrole:master\r\nconnected_slaves:1\r\nslave0:ip=127.0.0.1,port=1,state=online,offset=1,lag=0\r\nmaster_replid:abc\r\n")
	f.Add("role:slave\nslave:state=online\nslavex:state=online")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readReplication(text)
		if err == nil && (r.online > strings.Count(text, "state=online") || len(r.id) > 64) {
			t.Errorf("%+v of %q", r, text)
		}
	})
}
