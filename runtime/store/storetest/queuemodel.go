package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
)

// queueModel makes random calls of a queue, with the clock going on, and
// compares each outcome, and the whole queue after it, with that of a plain list.
func queueModel(t *testing.T, open Open) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			f := start(t, open)
			m := &plainQueue{f: f, rnd: rand.New(rand.NewPCG(seed, 2))}
			for range 300 {
				m.step()
				m.compare()
			}
		})
	}
}

// plainQueue is a queue as a list in the order of appending.
type plainQueue struct {
	f       *fixture
	rnd     *rand.Rand
	entries []*plainEntry
	claims  []store.Claim // all there ever were, good or lost
}

type plainEntry struct {
	key, value, reason string
	tries              uint32
	appended, ready    time.Time
	token              uint64 // claimed until ready
	dead               bool
}

func (m *plainQueue) find(ok func(*plainEntry) bool) *plainEntry {
	if i := slices.IndexFunc(m.entries, ok); i >= 0 {
		return m.entries[i]
	}
	return nil
}

func (m *plainQueue) remove(e *plainEntry) {
	m.entries = slices.DeleteFunc(m.entries, func(x *plainEntry) bool { return x == e })
}

// seconds is a short time, perhaps 0.
func (m *plainQueue) seconds() time.Duration { return time.Duration(m.rnd.IntN(4)) * time.Second }

// some is one of the claims there were, the later ones more often, and its entry
// where it is good.
func (m *plainQueue) some() (store.Claim, *plainEntry) {
	if len(m.claims) == 0 {
		return store.Claim{Key: "none", Token: 7}, nil
	}
	c := m.claims[max(m.rnd.IntN(len(m.claims)), len(m.claims)-1-m.rnd.IntN(5))]
	return c, m.find(func(e *plainEntry) bool { return e.token == c.Token })
}

// step makes one call, in both.
func (m *plainQueue) step() {
	f, now := m.f, m.f.clock.Now()
	switch m.rnd.IntN(10) {
	case 0, 1, 2:
		m.append(now)
	case 3, 4:
		m.claim(now)
	case 5:
		c, e := m.some()
		hold := time.Second + m.seconds()
		if m.outcome(f.Extend(f.Context(), "q", c, hold), e) {
			e.ready = now.Add(hold)
		}
	case 6:
		c, e := m.some()
		if m.outcome(f.Ack(f.Context(), "q", c), e) {
			m.remove(e)
		}
	case 7:
		c, e := m.some()
		delay := m.seconds()
		c.Value, c.Tries = fmt.Append(nil, m.rnd.IntN(100)), c.Tries+1
		if m.outcome(f.Release(f.Context(), "q", c, delay), e) {
			e.token, e.value, e.tries, e.ready = 0, string(c.Value), c.Tries, now.Add(delay)
		}
	case 8:
		m.deadLetter(now)
	default:
		f.clock.Advance(m.seconds())
		m.expire()
	}
}

// outcome checks err: none where the model has the entry, else store.ErrNotFound.
func (m *plainQueue) outcome(err error, e *plainEntry) bool {
	m.f.Helper()
	if (e == nil) != errors.Is(err, store.ErrNotFound) || e != nil && err != nil {
		m.f.Fatalf("error %v, while the entry is %+v", err, e)
	}
	return e != nil
}

func (m *plainQueue) expire() {
	for _, e := range m.entries {
		if e.token != 0 && !m.f.clock.Now().Before(e.ready) {
			e.token = 0
		}
	}
}

func (m *plainQueue) append(now time.Time) {
	f := m.f
	key := fmt.Sprint(m.rnd.IntN(30))
	hold, delay := m.seconds(), m.seconds()
	claims, err := f.Append(f.Context(), "q", hold, store.Entry{Key: key, Value: []byte(key), Delay: delay})
	f.ok(err)
	there := m.find(func(e *plainEntry) bool { return e.key == key }) != nil
	if hold > 0 && (len(claims) != 1 || (claims[0].Token == 0) != there) {
		f.Fatalf("claims %+v of a key that is there: %v", claims, there)
	}
	if there {
		return
	}
	e := &plainEntry{key: key, value: key, appended: now, ready: now.Add(delay)}
	if hold > 0 {
		e.ready, e.token = now.Add(hold), claims[0].Token
		m.claims = append(m.claims, claims[0])
	}
	m.entries = append(m.entries, e)
}

func (m *plainQueue) claim(now time.Time) {
	f := m.f
	n, hold := 1+m.rnd.IntN(3), time.Second+m.seconds()
	claims := f.claim(n, hold)
	var want []string
	for _, e := range m.entries {
		if len(want) == n || e.dead || e.token != 0 || e.ready.After(now) {
			continue
		}
		want = append(want, e.key)
		if i := len(want) - 1; i < len(claims) {
			if c := claims[i]; string(c.Value) != e.value || c.Tries != e.tries {
				f.Fatalf("claimed %+v, want %+v", c, e)
			}
			e.token, e.ready = claims[i].Token, now.Add(hold)
		}
	}
	f.keys(claims, want...)
	m.claims = append(m.claims, claims...)
}

// deadLetter buries, retries or drops.
func (m *plainQueue) deadLetter(now time.Time) {
	f := m.f
	key := fmt.Sprint(m.rnd.IntN(30))
	e := m.find(func(e *plainEntry) bool { return e.dead && (e.key == key || m.rnd.IntN(2) == 0) })
	if e != nil {
		key = e.key
	} else if there := m.find(func(e *plainEntry) bool { return e.dead && e.key == key }); there != nil {
		e = there
	}
	switch m.rnd.IntN(4) {
	case 0:
		if m.outcome(f.Retry(f.Context(), "q", key), e) {
			e.dead, e.reason, e.tries, e.ready = false, "", 0, now
		}
	case 1:
		if m.outcome(f.Drop(f.Context(), "q", key), e) {
			m.remove(e)
		}
	default:
		c, e := m.some()
		if m.outcome(f.Bury(f.Context(), "q", c, "why "+key), e) {
			e.token, e.dead, e.reason = 0, true, "why "+key
		}
	}
}

// compare compares List, Depth and Next.
func (m *plainQueue) compare() {
	f, now := m.f, m.f.clock.Now()
	f.Helper()
	var d store.Depth
	var next time.Time
	got := f.list()
	if len(got) != len(m.entries) {
		f.Fatalf("%d entries, want %d", len(got), len(m.entries))
	}
	for i, e := range m.entries {
		g := got[i]
		if g.Key != e.key || string(g.Value) != e.value || g.Tries != e.tries || g.Dead != e.dead || g.Reason != e.reason ||
			g.Claimed != (e.token != 0) || i > 0 && g.Seq <= got[i-1].Seq || !g.Appended.Equal(e.appended) {
			f.Fatalf("entry %d is %+v, want %+v", i, g, *e)
		}
		switch {
		case e.dead:
			d.Dead++
			continue
		case e.token != 0:
			d.Claimed++
		case e.ready.After(now):
			d.Delayed++
		default:
			if d.Ready++; d.Ready == 1 {
				d.Oldest = e.appended
			}
		}
		if next.IsZero() || e.ready.Before(next) {
			next = e.ready
		}
	}
	if depth, err := f.Depth(f.Context(), "q"); err != nil || !depth.Oldest.Equal(d.Oldest) {
		f.Fatalf("the oldest is of %v, %v, want %v", depth.Oldest, err, d.Oldest)
	}
	f.depth(d)
	at, err := f.Next(f.Context(), "q")
	f.ok(err)
	if d.Ready > 0 && (at.IsZero() || at.After(now)) || d.Ready == 0 && !at.Equal(next) {
		f.Fatalf("next is %v, want %v", at, next)
	}
}
