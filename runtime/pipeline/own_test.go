package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/config"
)

// tellsHost fills a host with one stage that takes a while and answers the host's
// name and the attempt.
func tellsHost(d time.Duration, ran *journal[string]) func(*world, string) {
	return func(w *world, name string) {
		w.stage("s", &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
			ran.add(fmt.Sprint(name, c.Event.Attempt))
			if !pause(ctx, d) {
				return Result{}, context.Cause(ctx)
			}
			return Result{Reply: textReply(fmt.Sprint(name, c.Event.Attempt)), ReplySet: true}, nil
		}})
	}
}

func (h *host) sharedCount(what string) int { return h.count("weft_shared_records_total", what) }

// delivery is one of an event to a host, and what it is to get.
type delivery struct {
	to   string
	at   time.Duration
	want string        // text of the reply, "success" or "again"
	by   time.Duration // when, counted from the start; the answer comes at most 250 ms later
}

func said(a Answer) string {
	switch a.Kind {
	case Again:
		return "again"
	case Success:
		return "success"
	case Forwarded:
		return string(a.Verbatim.Body)
	}
	return a.Reply.Text.Content
}

// What each delivery of an event to two hosts gets.
func TestSharedRecords(t *testing.T) {
	for name, c := range map[string]struct {
		takes      time.Duration
		pipe       func(*config.Pipeline)
		happens    func(a, b *host) // beside the deliveries; it has the time from the start to itself
		deliveries []delivery
		ran        string
	}{
		"both at once": {
			takes:      300 * ms,
			deliveries: []delivery{{"a", 0, "a1", 300 * ms}, {"b", 0, "a1", 300 * ms}},
			ran:        "a1",
		},
		"a repeat while it runs, and one after the answer": {
			takes:      300 * ms,
			deliveries: []delivery{{"a", 0, "a1", 300 * ms}, {"b", 250 * ms, "a1", 300 * ms}, {"b", time.Second, "a1", time.Second}, {"a", 2 * time.Second, "a1", 2 * time.Second}},
			ran:        "a1",
		},
		"the answer is kept for dedupe, then its id": {
			takes:      0,
			deliveries: []delivery{{"a", 0, "a1", 0}, {"b", 59 * time.Second, "a1", 59 * time.Second}, {"a", 61 * time.Second, "success", 61 * time.Second}},
			ran:        "a1",
		},
		"after dedupe on a host that knew nothing": {
			takes:      0,
			deliveries: []delivery{{"a", 0, "a1", 0}, {"b", 61 * time.Second, "success", 61 * time.Second}, {"b", 9 * time.Minute, "success", 9 * time.Minute}},
			ran:        "a1",
		},
		"no dedupe": {
			takes:      0,
			pipe:       func(p *config.Pipeline) { p.Dedupe = 0 },
			deliveries: []delivery{{"a", 0, "a1", 0}, {"b", time.Second, "b1", time.Second}},
			ran:        "a1 b1",
		},
		"it outlives answer_within": {
			takes:      7 * time.Second,
			deliveries: []delivery{{"a", 0, "success", 4500 * ms}, {"b", 1 * time.Second, "success", 4500 * ms}, {"b", 5 * time.Second, "success", 5 * time.Second}, {"b", 9 * time.Second, "success", 9 * time.Second}},
			ran:        "a1",
		},
		"the owner is killed while a repeat waits": {
			takes:      time.Second,
			happens:    func(a, _ *host) { time.Sleep(500 * ms); a.kill() },
			deliveries: []delivery{{"b", 400 * ms, "b2", 4000 * ms}},
			ran:        "a1 b2",
		},
		"the owner is killed so late that a repeat can't wait for it": { // the lease ends after answer_within of the repeat
			takes:      7 * time.Second,
			happens:    func(a, _ *host) { time.Sleep(2500 * ms); a.kill() },
			deliveries: []delivery{{"b", 100 * ms, "again", 5000 * ms}, {"b", 5600 * ms, "success", 10_100 * ms}},
			ran:        "a1 b2",
		},
		"the owner was killed when the repeat comes": {
			takes:      time.Second,
			happens:    func(a, _ *host) { time.Sleep(500 * ms); a.kill() },
			deliveries: []delivery{{"b", 5 * time.Second, "b2", 6 * time.Second}},
			ran:        "a1 b2",
		},
		"the owner was killed after its answer": {
			takes:      0,
			happens:    func(a, _ *host) { time.Sleep(500 * ms); a.kill() },
			deliveries: []delivery{{"b", 5 * time.Second, "a1", 5 * time.Second}},
			ran:        "a1",
		},
		"the owner was killed after it went late": {
			takes:      7 * time.Second,
			happens:    func(a, _ *host) { time.Sleep(4600 * ms); a.kill() },
			deliveries: []delivery{{"a", 0, "success", 4500 * ms}, {"b", 5 * time.Second, "success", 5 * time.Second}, {"b", 25 * time.Second, "success", 25 * time.Second}},
			ran:        "a1 b2", // from the queue
		},
		"the lease is lost for long": { // a is cut off, b takes over, a comes back
			takes: 4 * time.Second,
			happens: func(a, _ *host) {
				time.Sleep(500 * ms)
				a.seen.cut(true)
				time.Sleep(3400 * ms)
				a.seen.cut(false)
			},
			deliveries: []delivery{{"a", 0, "success", 4000 * ms}, {"b", 3500 * ms, "b2", 7500 * ms}, {"a", 8 * time.Second, "success", 8 * time.Second}},
			ran:        "a1 b2",
		},
		"a short outage is no matter": {
			takes: 1900 * ms,
			happens: func(a, b *host) {
				time.Sleep(100 * ms)
				a.seen.cut(true)
				b.seen.cut(true)
				time.Sleep(1200 * ms)
				a.seen.cut(false)
				b.seen.cut(false)
			},
			deliveries: []delivery{{"a", 0, "a1", 1900 * ms}, {"b", 50 * ms, "a1", 1900 * ms}},
			ran:        "a1",
		},
		"the board is away when it is answered": {
			takes: time.Second,
			happens: func(a, _ *host) {
				time.Sleep(900 * ms)
				a.seen.cut(true)
				time.Sleep(1600 * ms)
				a.seen.cut(false)
			},
			// The answer itself is not told any more.
			deliveries: []delivery{{"a", 0, "a1", time.Second}, {"b", 1500 * ms, "success", 3 * time.Second}},
			ran:        "a1",
		},
		"the board is away from before its beginning": {
			takes:      time.Second,
			happens:    func(a, _ *host) { a.seen.cut(true); time.Sleep(4200 * ms); a.seen.cut(false) },
			deliveries: []delivery{{"a", 3 * time.Second, "a1", 4 * time.Second}, {"a", 4100 * ms, "a1", 4100 * ms}, {"b", 6 * time.Second, "success", 6 * time.Second}},
			ran:        "a1",
		},
		"the board is slow": { // an event waits for it a second at most
			takes:      time.Second,
			happens:    func(a, _ *host) { a.seen.slow(300 * ms) },
			deliveries: []delivery{{"a", 10 * ms, "a1", 1210 * ms}, {"b", 3 * time.Second, "a1", 3 * time.Second}},
			ran:        "a1",
		},
		"an answer of the board is lost": {
			takes: time.Second,
			happens: func(a, _ *host) {
				a.seen.mu.Lock()
				defer a.seen.mu.Unlock()
				a.seen.lose = func(_, key string) bool { return key == "event/e1" && a.seen.writes < 4 }
			},
			deliveries: []delivery{{"a", 10 * ms, "a1", 1010 * ms}, {"b", 3 * time.Second, "a1", 3 * time.Second}},
			ran:        "a1",
		},
		"the record is lost": {
			takes: time.Second,
			happens: func(a, _ *host) {
				time.Sleep(500 * ms)
				a.seen.memBoard.mu.Lock()
				defer a.seen.memBoard.mu.Unlock()
				delete(a.seen.values, "event/e1")
			},
			deliveries: []delivery{{"a", 0, "a1", time.Second}, {"b", 2 * time.Second, "a1", 2 * time.Second}},
			ran:        "a1",
		},
		"what stands there can't be read": {
			takes: 0,
			happens: func(a, _ *host) {
				a.seen.memBoard.mu.Lock()
				defer a.seen.memBoard.mu.Unlock()
				a.seen.set("event/e1", []byte("rubbish"), time.Hour)
			},
			deliveries: []delivery{{"b", 10 * ms, "b1", 10 * ms}, {"a", 1 * time.Second, "b1", 1 * time.Second}},
			ran:        "b1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ran journal[string]
			hosts(t, func(w *world, host string) {
				tellsHost(c.takes, &ran)(w, host)
				if c.pipe != nil {
					c.pipe(w.pipe)
				}
			}, func(t *testing.T, a, b *host) {
				if c.happens != nil {
					go c.happens(a, b)
				}
				first := len(c.deliveries) == 0 || c.deliveries[0].to == "b" && strings.HasPrefix(c.ran, "a1")
				if first { // whose answer nobody sees
					a.async(t.Context(), 0, "e1")
				}
				var outs []<-chan got
				for i, d := range c.deliveries {
					h := a
					if d.to == "b" {
						h = b
					}
					at := d.at
					if i > 0 || first {
						at += ms / 10 // the first one is the first
					}
					outs = append(outs, h.async(t.Context(), at, "e1"))
				}
				var created int64
				for i, out := range outs {
					g, d := <-out, c.deliveries[i]
					if said(g.answer) != d.want || g.at < d.by || g.at > d.by+250*ms {
						t.Errorf("delivery %d to %s at %v got %q at %v, want %q by %v", i, d.to, d.at, said(g.answer), g.at, d.want, d.by)
					}
					if g.answer.Kind == Replied && !strings.HasPrefix(c.ran, "a1 b1") {
						if created != 0 && created != g.answer.Created {
							t.Errorf("CreateTime %d and %d", created, g.answer.Created)
						}
						created = g.answer.Created
					}
				}
				time.Sleep(time.Minute)
				if got := strings.Join(ran.all(), " "); got != c.ran {
					t.Errorf("ran %q, want %q", got, c.ran)
				}
				a.store.mustBeEmpty(t)
			})
		})
	}
}

// TestSharedAgain: an event that on_error leaves to the next delivery is run by
// the host that gets it, and the attempts and the limit of 8 s are the event's.
func TestSharedAgain(t *testing.T) {
	var ran journal[string]
	hosts(t, func(w *world, name string) {
		w.stage("s", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
			ran.add(fmt.Sprint(name, c.Event.Attempt))
			return Result{}, reasonError("upstream")
		}})
		w.pipe.OnError = config.OnError{Kind: config.Again}
	}, func(t *testing.T, a, b *host) {
		first, second := a.async(t.Context(), 0, "e1"), b.async(t.Context(), 4600*ms, "e1")
		third := a.async(t.Context(), 9200*ms, "e1")
		for i, out := range []<-chan got{first, second, third} {
			want := []string{"again", "again", "success"}[i]
			if g := <-out; said(g.answer) != want {
				t.Errorf("delivery %d got %q at %v, want %q", i, said(g.answer), g.at, want)
			}
		}
		if got := strings.Join(ran.all(), " "); got != "a1 b2 a3" {
			t.Errorf("ran %q", got)
		}
		if d, _ := a.store.Depth(t.Context(), queueName); d.Delayed != 1 {
			t.Errorf("the queue has %+v", d)
		}
	})
}

// TestSharedQueue: an entry is run by one host, whichever gets it, and not again
// where a host has run it and could not remove it.
func TestSharedQueue(t *testing.T) {
	t.Run("a host that died leaves it to the other", func(t *testing.T) {
		var ran journal[string]
		hosts(t, func(w *world, name string) {
			w.stage("s", &fake{handle: func(_ context.Context, c *Call) (Result, error) {
				ran.add(fmt.Sprint(name, c.Event.Attempt))
				if name == "a" {
					return Result{}, reasonError("upstream")
				}
				return Result{}, nil
			}}).OnError = &config.OnError{Kind: config.Queue}
		}, func(t *testing.T, a, b *host) {
			if got := said(a.deliver("e1")); got != "success" {
				t.Errorf("got %q", got)
			}
			a.kill()
			if got := said(b.deliver("e1")); got != "success" {
				t.Errorf("the repeat got %q", got)
			}
			b.pass(2500 * ms) // the pause of a first failure, and a look at the queue
			if got := strings.Join(ran.all(), " "); got != "a1 b2" {
				t.Errorf("ran %q", got)
			}
			b.store.mustBeEmpty(t)
			if s := b.seen.record(t, "e1"); s.running || s.pending || s.state == open {
				t.Errorf("%+v", s)
			}
		})
	})
	t.Run("a claim that is lost while it runs", func(t *testing.T) {
		var ran journal[string]
		hosts(t, tellsHost(9*time.Second, &ran), func(t *testing.T, a, b *host) {
			a.async(t.Context(), 0, "e1")
			a.pass(5 * time.Second) // it is late
			a.store.loseClaims()
			b.engine.poke()
			a.pass(20 * time.Second)
			if got := strings.Join(ran.all(), " "); got != "a1" {
				t.Errorf("ran %q", got)
			}
			a.store.mustBeEmpty(t)
		})
	})
}

// TestSharedDrain: a host that stops gives its lease back, and the next one has
// what it knew.
func TestSharedDrain(t *testing.T) {
	var ran journal[string]
	hosts(t, tellsHost(0, &ran), func(t *testing.T, a, b *host) {
		a.deliver("e1")
		a.down()
		if keys := a.seen.keys("host/"); len(keys) != 1 {
			t.Errorf("leases %v", keys)
		}
		next := newHost(t, a.store, a.seen.memBoard)
		tellsHost(0, &ran)(next.world, "next")
		next.up()
		if got := said(next.deliver("e1")); got != "a1" {
			t.Errorf("got %q", got)
		}
		next.down()
	})
}

// TestSharedOverflow: an event over a bound is looked up first, too.
func TestSharedOverflow(t *testing.T) {
	for _, overflow := range []config.Overflow{config.OverflowQueue, config.OverflowAck} {
		var ran journal[string]
		hosts(t, func(w *world, name string) {
			tellsHost(time.Second, &ran)(w, name)
			w.pipe.Overflow = overflow
			if name == "b" {
				w.most = 1
			}
		}, func(t *testing.T, a, b *host) {
			first, other := a.async(t.Context(), 0, "e1"), b.async(t.Context(), 0, "e2")
			b.pass(100 * ms)
			if got := said(b.deliver("e1")); got != "a1" {
				t.Errorf("%v: got %q", overflow, got)
			}
			<-first
			<-other
			b.pass(time.Minute)
			if got := ran.all(); len(got) != 2 {
				t.Errorf("%v: ran %v", overflow, got)
			}
			b.store.mustBeEmpty(t)
		})
	}
}

// TestSharedVerbatim: the largest answer of an upstream reaches a repeat on
// another host as it came; a larger one than hosts tell each other is success.
func TestSharedVerbatim(t *testing.T) {
	for size, want := range map[int]int{256 << 10: 256 << 10, maxSharedAnswer: len("success")} {
		hosts(t, func(w *world, _ string) {
			legacy := newService()
			legacy.verbatim = &Verbatim{ContentType: "text/xml", Body: []byte(strings.Repeat("x", size))}
			w.forward("legacy", config.ForwardRaw, legacy)
		}, func(t *testing.T, a, b *host) {
			if got := a.deliver("e1"); len(said(got)) != size {
				t.Fatalf("%+v", got.Kind)
			}
			b.pass(time.Second)
			if got := b.deliver("e1"); len(said(got)) != want || got.Outcome != outcomeRepeat {
				t.Errorf("of %d bytes %d were answered", size, len(said(got)))
			}
		})
	}
}

// TestUntoldIsBounded: an outage with many events keeps the memory that it may.
func TestUntoldIsBounded(t *testing.T) {
	var ran journal[string]
	hosts(t, tellsHost(0, &ran), func(t *testing.T, a, _ *host) {
		a.seen.cut(true)
		a.pass(3 * time.Second)
		for i := range maxUntold + 10 {
			a.deliver(fmt.Sprint("e", i))
		}
		a.pass(ms)
		if n := len(a.engine.fleet.untold); n != maxUntold {
			t.Errorf("%d are kept", n)
		}
		if n := a.sharedCount(sharedUntold); n != 10 {
			t.Errorf("%d are counted", n)
		}
		if n := a.sharedCount(sharedLocal); n != maxUntold+10 {
			t.Errorf("%d events are counted", n)
		}
		if n := strings.Count(a.logged(), "level=WARN"); n > 3 {
			t.Errorf("%d lines are logged", n)
		}
		a.seen.cut(false)
		a.pass(2 * time.Second)
		if n := len(a.seen.keys("event/")); n != maxUntold || len(a.engine.fleet.untold) != 0 {
			t.Errorf("%d were told", n)
		}
	})
}

// TestSharedHammer: whatever host a delivery comes to, an event is run once, and
// all its deliveries get one answer.
func TestSharedHammer(t *testing.T) {
	const events, each = 300, 4
	var ran journal[string]
	hosts(t, func(w *world, name string) {
		w.pipe.OrderUser = name == "a"
		w.stage("s", &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
			ran.add(c.Event.ID)
			pause(ctx, time.Duration(len(c.Event.ID)%3)*50*ms)
			return Result{Reply: textReply(name + c.Event.ID), ReplySet: true}, nil
		}})
	}, func(t *testing.T, a, b *host) {
		var outs [events][each]<-chan got
		for i := range events {
			for j := range each {
				h := []*host{a, b}[(i+j)%2]
				id := strings.Repeat("e", 1+i%7) + fmt.Sprint(i)
				out := make(chan got, 1)
				go func() {
					time.Sleep(time.Duration(i%10+j*7) * 10 * ms)
					out <- got{answer: h.deliverEvent(t.Context(), userEvent(id, fmt.Sprint("u", i)))}
				}()
				outs[i][j] = out
			}
		}
		for i := range events {
			var all []string
			for j := range each {
				all = append(all, said((<-outs[i][j]).answer))
			}
			slices.Sort(all)
			if got := slices.Compact(all); len(got) != 1 || got[0] == "again" {
				t.Errorf("event %d got %q", i, got)
			}
		}
		list := ran.all()
		slices.Sort(list)
		if n := len(list); n != events || len(slices.Compact(list)) != events {
			t.Errorf("%d runs of %d events", n, events)
		}
	})
}

func FuzzSharedRecord(f *testing.F) {
	rec := sharedRecord{state: given, running: true, kind: Replied, attempt: 3, owner: "h1.X", first: time.UnixMilli(1), known: time.UnixMilli(2)}
	a := Answer{Kind: Replied, Reply: textReply("x"), Created: 7}
	v := Answer{Kind: Forwarded, Verbatim: &Verbatim{ContentType: "text/xml", Body: []byte("<xml/>"), Silent: true}}
	for _, seed := range [][]byte{nil, {1}, rec.append(nil), a.appendShared(nil), v.appendShared(nil), (&Answer{Kind: Forwarded, Verbatim: &Verbatim{}}).appendShared(nil)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again sharedRecord
		if s.decode(b) == nil {
			if err := again.decode(s.append(nil)); err != nil || again != s {
				t.Errorf("%+v became %+v, %v", s, again, err)
			}
		}
		var a, same Answer
		if a.decodeShared(slices.Clone(b)) == nil {
			if err := same.decodeShared(a.appendShared(nil)); err != nil || same.Kind != a.Kind || a.Kind == Again {
				t.Errorf("%+v became %+v, %v", a, same, err)
			}
		}
	})
}
