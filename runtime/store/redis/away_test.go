package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

var noDeadline = context.Background()

// calls makes one of each kind of call.
func calls(ctx context.Context, s *Store) map[string]error {
	errs := map[string]error{"Ping": s.Ping(ctx), "Apply": set(s, "k")}
	_, errs["Get"] = s.Get(ctx, "b", "k")
	_, errs["Clear"] = s.Clear(ctx, "b", 1)
	_, errs["Lock"] = s.Lock(ctx, "l", time.Minute)
	_, errs["Look"] = s.Look(ctx, "k")
	errs["Publish"] = s.Publish(ctx, "t", nil)
	_, errs["Subscribe"] = s.Subscribe(ctx, "t", func([]byte) {})
	_, errs["Survey"] = s.Survey(ctx)
	return errs
}

func TestAway(t *testing.T) {
	n := redistest.Start(t)
	addr := n.Addr
	n.Kill()
	for name, o := range map[string]Options{
		"single":    {Addrs: []string{addr}},
		"sentinels": {Mode: Sentinel, Addrs: []string{addr}, Master: "main"},
		"cluster":   {Mode: Cluster, Addrs: []string{addr}},
	} {
		t.Run(name, func(t *testing.T) {
			o.Timeout = 300 * time.Millisecond
			s := openTest(t, o)
			began := time.Now()
			for name, err := range calls(t.Context(), s) {
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if took := time.Since(began); took > 9*700*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestAwayAndBack: calls fail while the server is away, and go on when it is back.
func TestAwayAndBack(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	if err := set(s, "k"); err != nil {
		t.Fatal(err)
	}
	n.Kill()
	unavailableWithin(t, 2500*time.Millisecond, func() error { return set(s, "k") })
	done := make(chan error, 1)
	go func() { done <- set(s, "k") }() // tries on
	n.Restart()
	if err := <-done; err != nil {
		t.Errorf("it came back while a call tried: %v", err)
	}
	if err := set(s, "k"); err != nil {
		t.Errorf("it is back: %v", err)
	}
}

// TestHangs: a server that takes connections and doesn't answer.
func TestHangs(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	if err := set(s, "k"); err != nil {
		t.Fatal(err)
	}
	n.Pause()
	unavailableWithin(t, 2500*time.Millisecond, func() error { return set(s, "k") })
	unavailableWithin(t, 2500*time.Millisecond, func() error { _, err := s.Get(t.Context(), "b", "k"); return err })

	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "b", "k"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("at the end of its context: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, end)
	if _, err := s.Lock(ended, "l", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("at the end of its context: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("calls outlived their contexts by %v", took)
	}
	began = time.Now()
	if err := s.Close(); err != nil || time.Since(began) > 2500*time.Millisecond {
		t.Errorf("Close: %v after %v", err, time.Since(began))
	}
	n.Resume()
}

// TestWriteIsNotRepeated: a change whose answer was cut off may have been made,
// so it isn't made again.
func TestWriteIsNotRepeated(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}, Timeout: 500 * time.Millisecond})
	add := func() (store.Result, error) {
		return s.Apply(t.Context(), store.Op{Kind: store.Add, Bucket: "b", Key: "n", Delta: 1})
	}
	if _, err := add(); err != nil {
		t.Fatal(err)
	}
	n.Pause()
	if _, err := add(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	n.Resume()
	if r, err := add(); err != nil || r.Number != 3 {
		t.Errorf("%+v, %v: want what was sent while it hung to be made once", r, err)
	}
}

// TestScriptsAreLost: a server that was told to forget its scripts is given them
// again.
func TestScriptsAreLost(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	for range 2 {
		n.Do("script", "flush")
		if err := set(s, "k"); err != nil {
			t.Error(err)
		}
	}
}

// TestFullServer: a full server refuses whole changes, and says what to do.
func TestFullServer(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}})
	if err := set(s, "k"); err != nil {
		t.Fatal(err)
	}
	n.Do("config", "set", "maxmemory", "1")
	err := set(s, "k2")
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "maxmemory") {
		t.Errorf("%v", err)
	}
	n.Do("config", "set", "maxmemory", "0")
	if _, err := s.Get(t.Context(), "b", "k2"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{},
		{Addrs: []string{"a:1", "b:1"}},
		{Addrs: []string{"nowhere"}},
		{Addrs: []string{"a:1"}, Mode: 9},
		{Addrs: []string{"a:1"}, Mode: Sentinel},
		{Addrs: []string{"a:1"}, Master: "main"},
		{Addrs: []string{"a:1"}, Mode: Cluster, DB: 1},
		{Addrs: []string{"a:1"}, DB: -1},
		{Addrs: []string{"a:1"}, Timeout: -1},
		{Addrs: []string{"a:1"}, Prefix: "a{b"},
		{Addrs: []string{"a:1"}, Prefix: strings.Repeat("a", 65)},
	} {
		if _, err := Open(t.Context(), o); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	o := Options{Addrs: []string{"a:1"}, Username: "u", Password: "s3cret", SentinelPassword: "s3cret"}
	if text := fmt.Sprintf("%v %+v %#v %s %v", o, o, o, o, o.LogValue()); strings.Contains(text, "s3cret") {
		t.Errorf("printed: %s", text)
	}
}

// TestLargeCallsHaveLonger: what sends much outlives a pause that ends others.
func TestLargeCallsHaveLonger(t *testing.T) {
	n := redistest.Start(t)
	s := openTest(t, Options{Addrs: []string{n.Addr}, Timeout: 300 * time.Millisecond})
	if err := set(s, "k"); err != nil {
		t.Fatal(err)
	}
	large := make([]byte, store.MaxValue)
	n.Pause()
	resume := time.AfterFunc(time.Second, n.Resume)
	defer resume.Stop()
	if err := set(s, "k"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a small one: %v", err)
	}
	var es []store.Entry
	for i := range 4 { // 2 s more
		es = append(es, store.Entry{Key: fmt.Sprint(i), Value: large})
	}
	if _, err := s.Append(t.Context(), "q", 0, es...); err != nil {
		t.Errorf("a large one: %v", err)
	}
}
