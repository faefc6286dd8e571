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
	key, line, value, reason string
	tries                    uint32
	appended, ready          time.Time
	token                    uint64 // claimed until ready
	dead                     bool
}

// line is the name of one of few lines.
func (m *plainQueue) line() string { return []string{"", "a", "b"}[m.rnd.IntN(3)] }

// live is how many entries of a line are not dead.
func (m *plainQueue) live(line string) (n int) {
	for _, e := range m.entries {
		if e.line == line && !e.dead {
			n++
		}
	}
	return n
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
	hold, delay, line, quota := m.seconds(), m.seconds(), m.line(), m.rnd.IntN(10)
	claims, err := f.Append(f.Context(), "q", hold, store.Entry{Key: key, Line: line, Value: []byte(key), Delay: delay, Quota: quota})
	there := m.find(func(e *plainEntry) bool { return e.key == key }) != nil
	if !there && quota > 0 && m.live(line) >= quota {
		f.is(err, store.ErrQuota)
		return
	}
	f.ok(err)
	if hold > 0 && (len(claims) != 1 || (claims[0].Token == 0) != there) {
		f.Fatalf("claims %+v of a key that is there: %v", claims, there)
	}
	if there {
		return
	}
	e := &plainEntry{key: key, line: line, value: key, appended: now, ready: now.Add(delay)}
	if hold > 0 {
		e.ready, e.token = now.Add(hold), claims[0].Token
		m.claims = append(m.claims, claims[0])
	}
	m.entries = append(m.entries, e)
}

func (m *plainQueue) claim(now time.Time) {
	f := m.f
	n, hold, line := 1+m.rnd.IntN(3), time.Second+m.seconds(), m.line()
	claims, err := f.Claim(f.Context(), "q", line, n, hold)
	f.ok(err)
	var want []string
	for _, e := range m.entries {
		if len(want) == n || e.line != line || e.dead || e.token != 0 || e.ready.After(now) {
			continue
		}
		want = append(want, e.key)
		if i := len(want) - 1; i < len(claims) {
			if c := claims[i]; c.Line != line || string(c.Value) != e.value || c.Tries != e.tries {
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

// compare compares List, Depth and Lines.
func (m *plainQueue) compare() {
	f, now := m.f, m.f.clock.Now()
	f.Helper()
	all, lines := store.Depth{}, map[string]*store.Line{}
	got := f.list()
	if len(got) != len(m.entries) {
		f.Fatalf("%d entries, want %d", len(got), len(m.entries))
	}
	for i, e := range m.entries {
		g := got[i]
		if g.Key != e.key || g.Line != e.line || string(g.Value) != e.value || g.Tries != e.tries || g.Dead != e.dead || g.Reason != e.reason ||
			g.Claimed != (e.token != 0) || i > 0 && g.Seq <= got[i-1].Seq || !g.Appended.Equal(e.appended) {
			f.Fatalf("entry %d is %+v, want %+v", i, g, *e)
		}
		l := lines[e.line]
		if l == nil {
			l = &store.Line{Name: e.line}
			lines[e.line] = l
		}
		for _, d := range []*store.Depth{&all, &l.Depth} {
			switch {
			case e.dead:
				d.Dead++
			case e.token != 0:
				d.Claimed++
			case e.ready.After(now):
				d.Delayed++
			default:
				if d.Ready++; d.Ready == 1 {
					d.Oldest = e.appended
				}
			}
		}
		if !e.dead && (l.Next.IsZero() || e.ready.Before(l.Next)) {
			l.Next = e.ready
		}
	}
	if depth, err := f.Depth(f.Context(), "q"); err != nil || !sameDepth(depth, all) {
		f.Fatalf("depth %+v, %v, want %+v", depth, err, all)
	}
	have, err := f.Lines(f.Context(), "q")
	f.ok(err)
	if len(have) != len(lines) {
		f.Fatalf("lines %+v, want %d", have, len(lines))
	}
	for i, h := range have {
		want := lines[h.Name]
		if want == nil || !sameDepth(h.Depth, want.Depth) || i > 0 && have[i-1].Name >= h.Name {
			f.Fatalf("lines %+v; %q should be %+v", have, h.Name, want)
		}
		if ready := h.Depth.Ready > 0; ready && (h.Next.IsZero() || h.Next.After(now)) || !ready && !h.Next.Equal(want.Next) {
			f.Fatalf("next of %q is %v, want %v", h.Name, h.Next, want.Next)
		}
	}
}

func sameDepth(a, b store.Depth) bool {
	same := a.Oldest.Equal(b.Oldest)
	a.Oldest = b.Oldest
	return same && a == b
}
