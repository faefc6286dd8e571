package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
	"github.com/weft-dev/weft/runtime/store/storetest"
)

// numbered are entries with the numbers up to n as keys and values.
func numbered(n int, line func(i int) string, delay time.Duration) []store.Entry {
	es := make([]store.Entry, n)
	for i := range es {
		key := fmt.Sprint(i)
		es[i] = store.Entry{Key: key, Line: line(i), Value: []byte(key), Delay: delay}
	}
	return es
}

func noLine(int) string { return "" }

func keysOf(claims []store.Claim) (keys []string) {
	for _, c := range claims {
		keys = append(keys, c.Key)
	}
	return keys
}

// More than one script does is done by several.
func TestQueueOfMany(t *testing.T) {
	n := redistest.Start(t)
	clock := storetest.NewClock()
	s := openTest(t, Options{Addrs: []string{n.Addr}, Now: clock.Now})
	many := 2*advanceEntries + 500
	if _, err := s.Append(t.Context(), "q", 0, numbered(many, noLine, time.Minute)...); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	if d, err := s.Depth(t.Context(), "q"); err != nil || d.Ready != many || d.Delayed != 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	claims, err := s.Claim(t.Context(), "q", "", many-1, time.Minute)
	if err != nil || len(claims) != many-1 {
		t.Fatalf("%d claims, %v", len(claims), err)
	}
	for i, c := range claims {
		if c.Key != fmt.Sprint(i) || i > 0 && c.Token == claims[i-1].Token {
			t.Fatalf("claim %d is of %q, token %d", i, c.Key, c.Token)
		}
	}
	clock.Advance(time.Minute)
	if claims, err = s.Claim(t.Context(), "q", "", many+1, time.Hour); err != nil || len(claims) != many {
		t.Fatalf("%d claims, %v", len(claims), err)
	}
	listed := 0
	err = s.List(t.Context(), "q", 0, func(i store.Info) bool {
		if i.Key != fmt.Sprint(listed) || !i.Claimed {
			t.Fatalf("entry %d is %+v", listed, i)
		}
		listed++
		return true
	})
	if err != nil || listed != many {
		t.Fatalf("%d listed, %v", listed, err)
	}
}

func TestQueueOfManyLines(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	many := 2*pageLines + 10
	es := numbered(many, func(i int) string { return fmt.Sprint(i) }, time.Hour)
	es[many-1].Line, es[many-1].Delay, es[3].Delay = "", 0, 0
	if _, err := s.Append(t.Context(), "q", 0, es...); err != nil {
		t.Fatal(err)
	}
	lines, err := s.Lines(t.Context(), "q")
	if err != nil || len(lines) != many || lines[0].Name != "" {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if !slices.IsSortedFunc(lines, func(a, b store.Line) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("they are not sorted")
	}
	d, err := s.Depth(t.Context(), "q")
	if err != nil || d.Ready != 2 || d.Delayed != many-2 || d.Oldest.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
}

// The values of one answer are bounded; a claim of many long ones is made by
// several scripts.
func TestQueueOfLongValues(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}, Timeout: 10 * time.Second})
	long := make([]byte, store.MaxValue)
	for i := range 3 {
		if _, err := s.Append(t.Context(), "q", 0, store.Entry{Key: fmt.Sprint(i), Value: long}); err != nil {
			t.Fatal(err)
		}
	}
	some, err := s.claimSome(t.Context(), "q", "", 9, time.Minute)
	if err != nil || len(some) != 1 {
		t.Fatalf("one script claims %d, %v", len(some), err)
	}
	claims, err := s.Claim(t.Context(), "q", "", 9, time.Minute)
	if err != nil || !slices.Equal(keysOf(claims), []string{"1", "2"}) {
		t.Fatalf("%q, %v", keysOf(claims), err)
	}
}

func TestQueueLeavesNothing(t *testing.T) {
	n := redistest.Start(t)
	clock := storetest.NewClock()
	s := openTest(t, Options{Addrs: []string{n.Addr}, Now: clock.Now})
	if _, err := s.Append(t.Context(), "q", 0, numbered(9, func(i int) string { return fmt.Sprint(i % 3) }, 0)...); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"0", "1", "2"} {
		claims, err := s.Claim(t.Context(), "q", line, 9, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		c := claims[0]
		if err := errors.Join(
			s.Release(t.Context(), "q", c, time.Second),
			s.Bury(t.Context(), "q", claims[1], "why"), s.Drop(t.Context(), "q", claims[1].Key),
			s.Ack(t.Context(), "q", claims[2]),
		); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
		if claims, err = s.Claim(t.Context(), "q", line, 9, time.Minute); err != nil || len(claims) != 1 {
			t.Fatalf("%q, %v", keysOf(claims), err)
		}
		if err := s.Ack(t.Context(), "q", claims[0]); err != nil {
			t.Fatal(err)
		}
	}
	if keys := n.Do("keys", "*"); keys != fmt.Sprint([]string{s.queueKey("q", queueParts[0])}) {
		t.Errorf("left of an empty queue, beside its last number: %s", keys)
	}
}

// A claim is in Redis: it outlives the store that made it, and is good for one
// that is opened later.
func TestClaimOutlivesItsStore(t *testing.T) {
	n := redistest.Start(t)
	clock := storetest.NewClock()
	o := Options{Addrs: []string{n.Addr}, Now: clock.Now}
	first, second := openTest(t, o), openTest(t, o)
	claims, err := first.Append(t.Context(), "q", time.Minute, numbered(2, noLine, 0)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute - time.Microsecond)
	if none, err := second.Claim(t.Context(), "q", "", 9, time.Minute); err != nil || len(none) != 0 {
		t.Fatalf("%q, %v", keysOf(none), err)
	}
	if err := second.Extend(t.Context(), "q", claims[0], time.Minute); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Microsecond)
	if free, err := second.Claim(t.Context(), "q", "", 9, time.Minute); err != nil || !slices.Equal(keysOf(free), []string{"1"}) {
		t.Fatalf("%q, %v", keysOf(free), err)
	}
	if err := second.Ack(t.Context(), "q", claims[0]); err != nil {
		t.Fatal(err)
	}
}

// A clock that goes back, as that of a replica that takes over may, doesn't give
// a claim back that was lost.
func TestQueueWhenTheClockGoesBack(t *testing.T) {
	n := redistest.Start(t)
	clock := storetest.NewClock()
	s := openTest(t, Options{Addrs: []string{n.Addr}, Now: clock.Now})
	claims, err := s.Append(t.Context(), "q", time.Second, numbered(1, noLine, 0)...)
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	if d, err := s.Depth(t.Context(), "q"); err != nil || d.Ready != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	clock.Advance(-time.Minute)
	if err := s.Ack(t.Context(), "q", claims[0]); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	again, err := s.Claim(t.Context(), "q", "", 9, time.Second)
	if err != nil || len(again) != 1 {
		t.Fatalf("%q, %v", keysOf(again), err)
	}
	if err := s.Ack(t.Context(), "q", again[0]); err != nil {
		t.Error(err)
	}
}

// The time of a claim is the server's.
func TestClaimEndsByTheTimeOfRedis(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	const hold = 300 * time.Millisecond
	asked := time.Now()
	if _, err := s.Append(t.Context(), "q", hold, numbered(1, noLine, 0)...); err != nil {
		t.Fatal(err)
	}
	lines, err := s.Lines(t.Context(), "q")
	if err != nil || len(lines) != 1 {
		t.Fatalf("%+v, %v", lines, err)
	}
	if at := lines[0].Next; at.Before(asked.Add(hold).Truncate(time.Microsecond)) || at.After(time.Now().Add(hold)) {
		t.Errorf("next is %v after the call", at.Sub(asked))
	}
	poll(t, "the claim ends", func() (bool, error) {
		claims, err := s.Claim(t.Context(), "q", "", 1, time.Minute)
		return len(claims) == 1, err
	})
	if took := time.Since(asked); took < hold {
		t.Errorf("it ended after %v", took)
	}
}

// poll waits until ok says so, for 30 s at most.
func poll(t *testing.T, what string, ok func() (bool, error)) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		done, err := ok()
		if err == nil && done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s, last error %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Whatever else is under the keys of a queue makes an error at worst, which says
// nothing of it.
func TestQueueOfGarbage(t *testing.T) {
	n := redistest.Start(t)
	const secret = "openid-of-somebody"
	spoil := map[string]func(key func(part string) string){
		"meta that is too short": func(key func(string) string) { n.Do("hset", key("m"), "\x00\x00\x00\x00\x00\x00\x00\x01", secret) },
		"meta whose line is longer than it": func(key func(string) string) {
			n.Do("hset", key("m"), "\x00\x00\x00\x00\x00\x00\x00\x01", strings.Repeat("\xff", metaHead))
		},
		"a value that is gone": func(key func(string) string) { n.Do("del", key("v")) },
		"meta that is gone":    func(key func(string) string) { n.Do("del", key("m")) },
		"a value that is too large": func(key func(string) string) {
			n.Do("hset", key("v"), "\x00\x00\x00\x00\x00\x00\x00\x02", make([]byte, store.MaxValue+1))
		},
		"meta that is too large": func(key func(string) string) {
			n.Do("hset", key("m"), "\x00\x00\x00\x00\x00\x00\x00\x02", make([]byte, 1<<20))
		},
		"a member without a place": func(key func(string) string) { n.Do("zadd", key("r"), 0, "\x00"+secret) },
		"a time that is short":     func(key func(string) string) { n.Do("zadd", key("d"), 0, "\x00\xf0\x01") },
		"a line that is long":      func(key func(string) string) { n.Do("zadd", key("l"), 0, strings.Repeat(secret, 99)) },
		"an order that is none":    func(key func(string) string) { n.Do("zadd", key("o"), 0, secret) },
		"a number that is none":    func(key func(string) string) { n.Do("hset", key("k"), "0", secret) },
		"a count that is none":     func(key func(string) string) { n.Do("hset", key("n"), "number", secret) },
	}
	for _, part := range strings.Split(queueParts, "") {
		spoil["a wrong type under "+part] = func(key func(string) string) { n.Do("set", key(part), secret) }
	}
	for name, f := range spoil {
		t.Run(name, func(t *testing.T) {
			n.Do("flushall")
			s := openTest(t, Options{Addrs: []string{n.Addr}})
			claims, err := s.Append(t.Context(), "q", time.Hour, numbered(1, noLine, 0)...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Append(t.Context(), "q", 0, store.Entry{Key: "other"}); err != nil {
				t.Fatal(err)
			}
			f(func(part string) string { return s.queueKey("q", part[0]) })
			errs := everyQueueCall(t, s, claims[0])
			met := false
			for call, err := range errs {
				met = met || errors.Is(err, store.ErrUnavailable)
				if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s: %v", call, err)
				}
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("%s tells what it read: %v", call, err)
				}
			}
			if !met {
				t.Error("no call met it")
			}
		})
	}
}

// everyQueueCall makes each call of a queue and returns the errors by name.
func everyQueueCall(t *testing.T, s *Store, c store.Claim) map[string]error {
	errs := map[string]error{}
	ctx := t.Context()
	errs["List"] = s.List(ctx, "q", 0, func(store.Info) bool { return true })
	_, errs["Lines"] = s.Lines(ctx, "q")
	_, errs["Depth"] = s.Depth(ctx, "q")
	_, errs["Claim"] = s.Claim(ctx, "q", "", 9, time.Minute)
	_, errs["Append"] = s.Append(ctx, "q", 0, store.Entry{Key: "new", Quota: 99})
	errs["Extend"] = s.Extend(ctx, "q", c, time.Hour)
	errs["Bury"] = s.Bury(ctx, "q", c, "why")
	errs["Retry"] = s.Retry(ctx, "q", c.Key)
	errs["Release"] = s.Release(ctx, "q", c, 0)
	errs["Ack"] = s.Ack(ctx, "q", c)
	errs["Drop"] = s.Drop(ctx, "q", c.Key)
	return errs
}

// BenchmarkQueue measures what storetest.BenchQueue does, on a server that syncs
// each write.
func BenchmarkQueue(b *testing.B) {
	n := redistest.Start(b)
	storetest.BenchQueue(b, func(b *testing.B) store.Queue {
		n.Do("flushall")
		return openTest(b, Options{Addrs: []string{n.Addr}})
	})
}
