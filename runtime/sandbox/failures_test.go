package sandbox

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fuseTest drives the fuse of one app, under synctest's clock.
type fuseTest struct {
	*testing.T
	f    *failures
	one  *fuse
	logs *logLines
}

func testFuse(t *testing.T, test func(t fuseTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		logs := &logLines{}
		f := newFailures(logs.logger().With(slog.String("plugin", "p")))
		test(fuseTest{T: t, f: f, one: f.app("shop"), logs: logs})
	})
}

// call makes a call for a user, and says how it was answered: "" where it was
// made.
func (t fuseTest) call(user string, v verdict) string {
	ticket, refused := t.one.admit(user, new(edition))
	if refused == "" {
		ticket.done(v)
	}
	return refused
}

// calls makes n calls that must be let in, of users user0, user1, …, from the
// given number of them in turn.
func (t fuseTest) calls(n, users int, v verdict) {
	t.Helper()
	for i := range n {
		if refused := t.call(fmt.Sprintf("user%d", i%users), v); refused != "" {
			t.Fatalf("call %d of %d refused: %s", i, n, refused)
		}
	}
}

// fused lets calls fail until the plugin is fused.
func (t fuseTest) fused() {
	t.Helper()
	t.calls(20, 20, verdictFailed)
	t.want(Fused)
}

func (t fuseTest) want(state HealthState) {
	t.Helper()
	if h := t.f.health(); h.State != state {
		t.Fatalf("%+v, want %s", h, state)
	}
}

// TestFuseOpens holds the rule: at least half of the last 100 calls, 20 at
// least, from at least 5 users.
func TestFuseOpens(t *testing.T) {
	for name, tc := range map[string]struct {
		good, failed, users int // the good calls come first
		want                HealthState
	}{
		"too few calls":         {good: 0, failed: 19, users: 19, want: Healthy},
		"20 calls":              {good: 0, failed: 20, users: 7, want: Fused},
		"half of 20":            {good: 10, failed: 10, users: 5, want: Fused},
		"less than half":        {good: 11, failed: 10, users: 5, want: Healthy},
		"four users":            {good: 12, failed: 12, users: 4, want: Healthy},
		"five users":            {good: 12, failed: 12, users: 5, want: Fused},
		"after many good ones":  {good: 5000, failed: 49, users: 49, want: Healthy},
		"half of the last 100":  {good: 5000, failed: 50, users: 50, want: Fused},
		"none failed":           {good: 5000, failed: 0, users: 1, want: Healthy},
		"events without a user": {good: 0, failed: 200, users: 0, want: Healthy},
		"almost half":           {good: 30, failed: 29, users: 29, want: Healthy},
	} {
		t.Run(name, func(t *testing.T) {
			testFuse(t, func(t fuseTest) {
				t.calls(tc.good, 1, verdictGood)
				for i := range tc.failed {
					user := ""
					if tc.users > 0 {
						user = fmt.Sprintf("user%d", i%tc.users)
					}
					if t.f.health().State != Healthy {
						t.Fatalf("fused after %d failures", i)
					}
					if refused := t.call(user, verdictFailed); refused != "" {
						t.Fatal(refused)
					}
				}
				t.want(tc.want)
				refused := t.call("somebody", verdictGood)
				if (refused != "") != (tc.want == Fused) {
					t.Errorf("then refused: %q", refused)
				}
			})
		})
	}
}

// TestFuseWindow holds the window against a plain list of all calls.
func TestFuseWindow(t *testing.T) {
	type outcome struct {
		user   int
		failed bool
	}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		testFuse(t, func(t fuseTest) {
			var last []outcome
			share, users := random.Float64()*0.7, 3+random.IntN(60)
			for i := range 600 {
				if random.IntN(200) == 0 { // calm for once
					for range 120 {
						last = append(last, outcome{})
						t.call("calm", verdictGood)
					}
				}
				one := outcome{user: random.IntN(users), failed: random.Float64() < share}
				last = append(last, one)
				last = last[max(0, len(last)-100):]
				failed, who := 0, map[int]bool{}
				for _, o := range last {
					if o.failed {
						failed++
						who[o.user] = true
					}
				}
				v := verdictGood
				if one.failed {
					v = verdictFailed
				}
				if refused := t.call(fmt.Sprint("user", one.user), v); refused != "" {
					t.Fatalf("call %d: %s", i, refused)
				}
				want := Healthy
				if one.failed && len(last) >= 20 && 2*failed >= len(last) && len(who) >= 5 {
					want = Fused
				}
				h := t.one.health()
				if h.State != want || h.Failed != failed || h.Calls != len(last) {
					t.Fatalf("seed %d, call %d: %+v, want %s, %d of %d", seed, i, h, want, failed, len(last))
				}
				if want == Fused {
					return
				}
				time.Sleep(21 * time.Second) // no user fails three times in a minute
				if one.failed {
					time.Sleep(time.Minute)
				}
			}
		})
	}
}

// TestFuseTrials walks through the life of a fuse.
func TestFuseTrials(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		began := time.Now()
		t.fused()
		user := 100
		next := func() string { user++; return fmt.Sprint("user", user) }
		// Each failed trial doubles the pause, to a minute.
		for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			pause *= time.Second
			if h := t.one.health(); h.Calls != 20 || h.Failed != 20 || !h.Since.Equal(began) || !h.NextTrial.Equal(time.Now().Add(pause)) {
				t.Fatalf("%+v; the next trial should be in %s", h, pause)
			}
			time.Sleep(pause - time.Nanosecond)
			if refused := t.call(next(), verdictGood); refused != textFused {
				t.Fatalf("before the pause of %s is over: %q", pause, refused)
			}
			time.Sleep(time.Nanosecond)
			trial, refused := t.one.admit(next(), new(edition))
			if refused != "" {
				t.Fatalf("after a pause of %s: %s", pause, refused)
			}
			if refused := t.call(next(), verdictGood); refused != textFused {
				t.Fatal("two trials at a time")
			}
			time.Sleep(time.Second)
			trial.done(verdictFailed)
		}
		time.Sleep(time.Minute)
		// A trial that tells nothing: the next call is it.
		for range 3 {
			if refused := t.call(next(), verdictNone); refused != "" {
				t.Fatal(refused)
			}
		}
		// Two good ones and a failed one: back again.
		t.call(next(), verdictGood)
		t.want(Trying)
		t.call(next(), verdictGood)
		t.want(Trying)
		t.call(next(), verdictFailed)
		t.want(Fused)
		if refused := t.call(next(), verdictGood); refused != textFused {
			t.Fatal("a trial without a pause after a failed one")
		}
		time.Sleep(time.Minute)
		t.want(Fused)
		for range trialsToClose {
			if refused := t.call(next(), verdictGood); refused != "" {
				t.Fatal(refused)
			}
		}
		t.want(Healthy)
		// The window is a fresh one.
		t.calls(19, 19, verdictFailed)
		t.want(Healthy)
		t.call("user19", verdictFailed)
		t.want(Fused)
		// As long as nobody calls, nothing changes.
		time.Sleep(time.Hour)
		t.want(Fused)
		if refused := t.call(next(), verdictGood); refused != "" {
			t.Fatal(refused)
		}
	})
}

// TestFuseLog: each change is a line, and none has an openid.
func TestFuseLog(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		t.calls(19, 19, verdictFailed)
		for range 3 {
			t.call("user0", verdictFailed) // skipped, and fused
		}
		time.Sleep(time.Second)
		t.call("user50", verdictFailed)
		time.Sleep(2 * time.Second)
		for range 3 {
			t.call("user51", verdictGood)
		}
		got := t.logs.buf.String()
		for i, want := range []string{
			`"msg":"plugin fused","plugin":"p","failed":20,"calls":20,"next_trial_in":"1s","app":"shop"`,
			`"msg":"plugin still fused","plugin":"p","failed_trials":1,"next_trial_in":"2s","app":"shop"`,
			`"msg":"plugin healthy again","plugin":"p","fused_for":"3s","failed_trials":1,"app":"shop"`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no line %d: %s", i, want)
			}
		}
		for range 3 {
			t.call("user0", verdictFailed)
		}
		if want := `"msg":"plugin skips a user","plugin":"p","for":"1m0s","skipped_users":1,"app":"shop"`; !strings.Contains(t.logs.buf.String(), want) {
			t.Errorf("no line %s", want)
		}
		if strings.Contains(t.logs.buf.String(), "user0") || strings.Contains(fmt.Sprintf("%+v", t.f.health()), "user0") {
			t.Error("an openid")
		}
	})
}

// TestFuseApps: what happens in one app is nothing to another.
func TestFuseApps(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		if t.f.app("shop") != t.one || t.f.app("other") == t.one {
			t.Fatal("not one fuse for each app")
		}
		t.fused()
		other := fuseTest{T: t.T, f: t.f, one: t.f.app("other"), logs: t.logs}
		other.calls(200, 20, verdictGood)
		for range 3 {
			other.call("user1", verdictFailed)
		}
		h := t.f.health()
		if h.State != Fused || h.Fused != 1 || h.Skipped != 1 || len(h.Apps) != 2 ||
			h.Apps[0].App != "other" || h.Apps[0].State != Healthy || h.Apps[0].Failed != 3 || h.Apps[0].Calls != 100 || h.Apps[0].Skipped != 1 ||
			h.Apps[1].App != "shop" || h.Apps[1].State != Fused {
			t.Errorf("%+v", h)
		}
	})
}

// TestFuseLateCalls: calls that were under way as the fuse opened or closed are
// none of the new window's, nor trials.
func TestFuseLateCalls(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		var early []ticket
		for i := range 60 {
			one, refused := t.one.admit(fmt.Sprint("early", i), new(edition))
			if refused != "" {
				t.Fatal(refused)
			}
			early = append(early, one)
		}
		t.fused()
		for _, one := range early[:20] {
			one.done(verdictGood)
		}
		t.want(Fused)
		for _, one := range early[20:40] {
			one.done(verdictFailed)
		}
		if h := t.one.health(); h.Trials != 0 || h.Failed != 20 || h.Calls != 20 {
			t.Errorf("%+v", h)
		}
		time.Sleep(time.Second)
		t.calls(trialsToClose, trialsToClose, verdictGood)
		for _, one := range early[40:] {
			one.done(verdictFailed)
		}
		if h := t.one.health(); h.State != Healthy || h.Failed != 0 || h.Calls != 0 {
			t.Errorf("%+v", h)
		}
	})
}

// TestFuseFlooders: users with poison messages who are always the first to call
// keep a fused plugin from the others for one trial each, not for good.
func TestFuseFlooders(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		t.fused()
		began := time.Now()
		const flooders = 5
		for n := 0; t.f.health().State != Healthy; n++ {
			for i := range flooders {
				t.call(fmt.Sprint("flooder", i), verdictFailed)
			}
			t.call(fmt.Sprint("honest", n%3), verdictGood)
			time.Sleep(100 * time.Millisecond)
		}
		// Their trials end after 1, 2, 4, 8 and 16 s; the next is due 32 s later.
		if took := time.Since(began).Round(time.Second); took != 63*time.Second {
			t.Errorf("healthy again after %s", took)
		}
	})
	// Where nobody else calls, they get trials again.
	testFuse(t, func(t fuseTest) {
		t.fused()
		time.Sleep(time.Second)
		t.call("only", verdictFailed)
		time.Sleep(2*time.Second + trialPatience - 1)
		if refused := t.call("only", verdictGood); refused != textFused {
			t.Errorf("a trial again at once: %q", refused)
		}
		time.Sleep(time.Nanosecond)
		if refused := t.call("only", verdictGood); refused != "" {
			t.Error(refused)
		}
	})
	// The memory of them is bounded.
	testFuse(t, func(t fuseTest) {
		t.fused()
		for i := range 10 * maxTriers {
			time.Sleep(time.Minute)
			if refused := t.call(fmt.Sprint("flooder", i), verdictFailed); refused != "" {
				t.Fatal(refused)
			}
		}
		if n := len(t.one.trial.triers); n != maxTriers {
			t.Errorf("%d", n)
		}
		time.Sleep(time.Minute)
		if refused := t.call(fmt.Sprint("flooder", 9*maxTriers), verdictFailed); refused != textFused {
			t.Errorf("one of the last %d: %q", maxTriers, refused)
		}
	})
}

// TestFailuresMemory: whatever users fail, memory is bounded, and the user who
// failed last is the last to be forgotten.
func TestFailuresMemory(t *testing.T) {
	testFuse(t, func(t fuseTest) {
		for i := range 200_000 {
			user := fmt.Sprint("user", i)
			for range 3 {
				t.one.users.fail(t.one.id(user), t.one.now())
			}
			if n := len(t.one.users.young) + len(t.one.users.old); n > maxOffenders {
				t.Fatalf("%d users", n)
			}
			if i > maxOffenders && i%100 == 0 {
				for _, back := range []int{0, maxOffenders/2 - 1} {
					if !t.one.users.skipped(t.one.id(fmt.Sprint("user", i-back)), t.one.now()) {
						t.Fatalf("user %d before user %d is forgotten", back, i)
					}
				}
			}
		}
		if h := t.one.health(); h.Skipped < maxOffenders/2 || h.Skipped > maxOffenders {
			t.Errorf("%+v", h)
		}
		time.Sleep(2 * time.Minute)
		t.one.users.fail(1, t.one.now())
		if n := len(t.one.users.young); n != 1 {
			t.Errorf("%d users after two minutes", n)
		}
	})
}

// TestFailuresHammer: many callers at once; never two trials, and no call is
// lost.
func TestFailuresHammer(t *testing.T) {
	f := newFailures(slog.New(slog.DiscardHandler))
	var wg sync.WaitGroup
	var trials, most, broken atomic.Int64
	var bad atomic.Bool
	bad.Store(true)
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 7))
			for i := range 20_000 {
				if g == 0 && i%1000 == 0 {
					bad.Store(i/1000%2 == 0)
					// The trial is due now.
					one := f.app("app0")
					one.mu.Lock()
					one.trial.next = 0
					one.mu.Unlock()
				}
				one := f.app(fmt.Sprint("app", random.IntN(2)))
				ticket, refused := one.admit(fmt.Sprint("user", random.IntN(10_000)), new(edition))
				if refused != "" {
					continue
				}
				if ticket.trial && one.app == "app0" {
					most.Store(max(most.Load(), trials.Add(1)))
				}
				v := verdict(random.IntN(3))
				if one.app == "app0" && v != verdictNone && !bad.Load() {
					v = verdictGood
				}
				if v == verdictFailed {
					broken.Add(1)
				}
				if ticket.trial && one.app == "app0" {
					runtime.Gosched()
					trials.Add(-1)
				}
				ticket.done(v)
				if g == 1 && i%100 == 0 {
					f.health()
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > 1 {
		t.Errorf("%d trials at once", most.Load())
	}
	for name, one := range *f.apps.Load() {
		if one.trial.running {
			t.Errorf("%s: a trial runs for good", name)
		}
		if w := one.window; w != nil {
			n := 0
			for _, user := range w.users {
				if user != 0 {
					n++
				}
			}
			if n != w.failed || w.calls > windowSize {
				t.Errorf("%s: %d failed in the ring, %d counted, of %d", name, n, w.failed, w.calls)
			}
		}
	}
	if broken.Load() == 0 {
		t.Error("nothing failed")
	}
}

// TestFuseAllocations: a call costs none, whether it is made, is refused, or
// some calls failed lately.
func TestFuseAllocations(t *testing.T) {
	calm, watched, open := fusesIn(t)
	of := new(edition)
	for name, one := range map[string]*fuse{"calm": calm, "watched": watched, "open": open} {
		if n := testing.AllocsPerRun(1000, func() {
			if ticket, refused := one.admit("oUser", of); refused == "" {
				ticket.done(verdictGood)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// fusesIn gives a fuse in each phase; the second stays watched for 90 calls.
func fusesIn(tb testing.TB) (calm, watched, open *fuse) {
	f := newFailures(slog.New(slog.DiscardHandler))
	fail := func(one *fuse, n int) *fuse {
		for i := range n {
			ticket, _ := one.admit(fmt.Sprint("user", i), new(edition))
			ticket.done(verdictFailed)
		}
		return one
	}
	calm, watched, open = f.app("calm"), fail(f.app("watched"), 4), fail(f.app("open"), 20)
	if open.health().State != Fused || watched.health().Failed != 4 {
		tb.Fatal("not in the phases")
	}
	return calm, watched, open
}

// BenchmarkFuse is the cost of the policy to a call: nothing failed lately,
// one call of 50 fails, a user is skipped, or it is fused.
func BenchmarkFuse(b *testing.B) {
	calm, _, open := fusesIn(b)
	skipping := newFailures(slog.New(slog.DiscardHandler)).app("skipping")
	for range 3 {
		ticket, _ := skipping.admit("poison", new(edition))
		ticket.done(verdictFailed)
	}
	for _, bc := range []struct {
		name  string
		one   *fuse
		every int // of so many calls one fails
	}{{"calm", calm, 0}, {"watched", newFailures(slog.New(slog.DiscardHandler)).app("watched"), 50}, {"skipping", skipping, 0}, {"open", open, 1}} {
		of := new(edition)
		run := func(next func() bool) {
			for i := 1; next(); i++ {
				ticket, refused := bc.one.admit("oDF3iY9ffA-hqb2vVvbr7qxf6A0Q", of)
				switch {
				case refused != "":
				case bc.every > 0 && i%bc.every == 0:
					ticket.user = ""
					ticket.done(verdictFailed)
				default:
					ticket.done(verdictGood)
				}
			}
		}
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			run(b.Loop)
		})
		b.Run(bc.name+"-parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) { run(pb.Next) })
		})
	}
}
