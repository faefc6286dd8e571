package gateway

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// second is a second of the limiter's clock.
const second = int64(time.Second)

// drain takes all that a bucket has at now.
func drain(b *bucket, now int64) (taken int) {
	for {
		if _, ok := b.take(now); !ok {
			return taken
		}
		taken++
	}
}

// TestBucketAccuracy: over ten seconds, asked at uneven times, a bucket lets through
// what its rate says within a hundredth.
func TestBucketAccuracy(t *testing.T) {
	rates := []Rate{
		{50, time.Second},
		{1000, time.Second},
		{3333, time.Second},
		{29_999, time.Second},
		{6000, time.Minute},
		{59_999, time.Minute},
		{999_999, time.Minute},
	}
	if os.Getenv("WEFT_BARS") != "" {
		rates = append(rates, Rate{700_001, time.Second}, Rate{999_999, time.Second})
	}
	for _, r := range rates {
		t.Run(r.String(), func(t *testing.T) {
			want := float64(r.Calls) * float64(10*time.Second) / float64(r.Per)
			source := rand.New(rand.NewPCG(1, uint64(r.Calls)))
			b, taken := newBucket(r), 0
			now := 7 * second
			drain(b, now)
			step := max(1, int64(float64(10*second)/want)) // three times as many are asked for
			for end := now + 10*second; now < end; now += source.Int64N(2*step/3 + 1) {
				if _, ok := b.take(now); ok {
					taken++
				}
			}
			if off := float64(taken)/want - 1; off > 0.001 || off < -0.01 {
				t.Errorf("%d went through, %.0f should: %+.2f %%", taken, want, 100*off)
			}
		})
	}
}

// TestBucketKeeps: what a bucket holds when nobody has asked for long.
func TestBucketKeeps(t *testing.T) {
	for r, want := range map[Rate]int{
		{1, time.Second}: 1, {3, time.Second}: 3, {50, time.Second}: 50, {700_001, time.Second}: 700_001,
		{1, time.Minute}: 1, {9, time.Minute}: 1, {100, time.Minute}: 10, {1, time.Hour}: 1, {1_000_000, 24 * time.Hour}: 100_000,
	} {
		b := newBucket(r)
		if got := drain(b, 100*int64(24*time.Hour)); got != want {
			t.Errorf("%v: %d, want %d", r, got, want)
		}
	}
}

// TestBucketWait: after the wait that a refusal tells one goes through, and not
// before.
func TestBucketWait(t *testing.T) {
	for _, r := range []Rate{{1, time.Second}, {7, time.Second}, {1, time.Minute}, {100, time.Minute}} {
		b, now := newBucket(r), second
		drain(b, now)
		for range 3 {
			wait, ok := b.take(now)
			if ok || wait <= 0 || wait > r.Per {
				t.Fatalf("%v: %v, %v", r, wait, ok)
			}
			if _, ok := b.take(now + int64(wait) - 1); ok {
				t.Errorf("%v: one went through before its time", r)
			}
			now += int64(wait)
			if _, ok := b.take(now); !ok {
				t.Errorf("%v: none went through after the wait", r)
			}
		}
	}
}

// TestBucketChange: another rate finds the bucket as full as it was.
func TestBucketChange(t *testing.T) {
	for _, c := range []struct {
		from, to    Rate
		taken, left int // of from, of to
	}{
		{Rate{100, time.Second}, Rate{10, time.Second}, 0, 10},
		{Rate{100, time.Second}, Rate{10, time.Second}, 100, 0},
		{Rate{10, time.Second}, Rate{1000, time.Second}, 10, 0},
		{Rate{10, time.Second}, Rate{1000, time.Second}, 5, 500},
		{Rate{1, time.Minute}, Rate{50, time.Second}, 1, 0},
		{Rate{50, time.Second}, Rate{1, time.Minute}, 50, 0},
		{Rate{50, time.Second}, Rate{50, time.Second}, 20, 30},
	} {
		b, now := newBucket(c.from), 5*second
		for range c.taken {
			b.take(now)
		}
		b.change(c.to, now)
		if got := drain(b, now); got != c.left {
			t.Errorf("%v to %v, %d taken: %d left, want %d", c.from, c.to, c.taken, got, c.left)
		}
		wait, ok := b.take(now)
		if most := c.to.Per / time.Duration(c.to.Calls); ok || wait > most+1 {
			t.Errorf("%v to %v: %v until the next, at most %v", c.from, c.to, wait, most)
		}
	}
}

func TestBucketGivesBack(t *testing.T) {
	b := newBucket(Rate{10, time.Second})
	drain(b, second)
	b.giveBack()
	b.giveBack()
	if got := drain(b, second); got != 2 {
		t.Errorf("%d of 2 came back", got)
	}
}

// TestBucketHammer: many at once, while the rate changes, get no more than the
// highest rate lets through, and no less than the lowest.
func TestBucketHammer(t *testing.T) {
	low, high := Rate{1000, time.Second}, Rate{2000, time.Second}
	b := newBucket(low)
	var clock, taken atomic.Int64
	drain(b, 0)
	const end = 10 * second
	var wg, changer sync.WaitGroup
	stop := make(chan struct{})
	changer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b.change([]Rate{low, high}[i%2], clock.Load())
			runtime.Gosched()
		}
	})
	for range 8 {
		wg.Go(func() {
			for now := clock.Add(50_000); now < end; now = clock.Add(50_000) {
				if _, ok := b.take(now); ok {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	changer.Wait()
	if got := taken.Load(); got < 10*1000*99/100 || got > 10*2000+2000 {
		t.Errorf("%d went through in 10 s at 1000/s to 2000/s", got)
	}
}

// TestBucketHammerExact: many at once take exactly what there is.
func TestBucketHammerExact(t *testing.T) {
	for range 50 {
		b := newBucket(Rate{1000, time.Second})
		var taken atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 300 {
					if _, ok := b.take(second); ok {
						taken.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if taken.Load() != 1000 {
			t.Fatalf("%d of 1000 went through", taken.Load())
		}
	}
}

// TestLimiterRealTime: over 10 s of a real clock, with many asking at once, 1,000
// and 100,000 a second go through within a hundredth.
func TestLimiterRealTime(t *testing.T) {
	if os.Getenv("WEFT_BARS") == "" {
		t.Skip("set WEFT_BARS to measure, without -race")
	}
	for _, r := range []Rate{{1000, time.Second}, {100_000, time.Second}} {
		l := NewLimiter(LimiterOptions{})
		l.Set(map[string][]EndpointLimit{"shop": {{Pattern: "/**", Paths: scope(t, "/**"), Rate: r}}})
		for l.Take("shop", "GET", "/a") == nil {
		}
		var taken atomic.Int64
		begin := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for time.Since(begin) < 10*time.Second {
					if l.Take("shop", "GET", "/a") == nil {
						taken.Add(1)
					}
				}
			})
		}
		wg.Wait()
		want := float64(r.Calls) * time.Since(begin).Seconds()
		off := 100 * (float64(taken.Load())/want - 1)
		t.Logf("%v: %d went through, %.0f should: %+.3f %%", r, taken.Load(), want, off)
		if off > 1 || off < -1 {
			t.Errorf("%v: %+.2f %%", r, off)
		}
	}
}

// TestLimiterAllocatesNothing: no call that goes through does, whatever patterns
// it matches or not, and nor does a bucket that refuses.
func TestLimiterAllocatesNothing(t *testing.T) {
	for name, calls := range map[string]int{"what goes through": maxCalls, "what is refused": 1} {
		b := newBucket(Rate{calls, time.Second})
		if n := testing.AllocsPerRun(1000, func() { b.take(second) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	l := NewLimiter(LimiterOptions{})
	var limits []EndpointLimit
	for _, pattern := range []string{"/**", "POST /cgi-bin/message/custom/send", "/cgi-bin/*/get*", "/**/*a*b*c*/x", "GET /cgi-bin/user/*"} {
		limits = append(limits, EndpointLimit{Pattern: pattern, Paths: scope(t, pattern), Rate: Rate{maxCalls, time.Second}, Daily: 1_000_000_000})
	}
	l.Set(map[string][]EndpointLimit{"shop": limits})
	for _, path := range []string{"/a", "/cgi-bin/message/custom/send", "/cgi-bin/" + strings.Repeat("x/", 100) + strings.Repeat("abc", 40)} {
		if n := testing.AllocsPerRun(1000, func() {
			if err := l.Take("shop", "POST", path); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("Take of %.40s: %v allocations", path, n)
		}
	}
}

// BenchmarkLimiter takes from one bucket by all processors at once, beside
// golang.org/x/time/rate. open: all go through; shut: nearly none.
func BenchmarkLimiter(b *testing.B) {
	for _, c := range []struct {
		name string
		rate Rate
	}{{"open", Rate{1_000_000, time.Millisecond}}, {"shut", Rate{10, time.Second}}} {
		perSecond := float64(c.rate.Calls) * float64(time.Second) / float64(c.rate.Per)
		parallel := func(name string, take func() bool) {
			b.Run(fmt.Sprintf("%s/%s", c.name, name), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						take()
					}
				})
			})
		}
		l := NewLimiter(LimiterOptions{})
		ours := newBucket(c.rate)
		parallel("weft", func() bool { _, ok := ours.take(l.clock(l.now())); return ok })
		theirs := rate.NewLimiter(rate.Limit(perSecond), int(perSecond))
		parallel("x-time-rate", theirs.Allow)
	}
}
