package pipeline

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weft-dev/weft/runtime/config"
)

// setOfApps makes a set of apps with these bounds, by name a0, a1 and so on.
func setOfApps(bounds ...int) *Set {
	set := &Set{apps: map[string]*app{}}
	for i, b := range bounds {
		name := fmt.Sprint("a", i)
		set.apps[name] = &app{name: name, limits: config.AppLimits{Inflight: b}}
	}
	return set
}

// fill has an app take as many places as it gets.
func (m *room) fill(s *share) int {
	for m.enter(s) {
	}
	return s.inflight
}

// What a burst gets: all of the room only where it has no neighbour.
func TestRoomOfABurst(t *testing.T) {
	for name, tc := range map[string]struct {
		most   int
		bounds []int
		want   []int // of apps that burst one after another
	}{
		"alone":                    {4096, []int{0}, []int{4096}},
		"alone, bounded":           {4096, []int{200}, []int{200}},
		"one of two":               {4096, []int{0, 0}, []int{2048}},
		"both of two":              {4096, []int{0, 0}, []int{2048, 1536}},
		"one of forty":             {4096, make([]int, 40), []int{51 + 1028}},
		"four of forty":            {4096, make([]int, 40), []int{51 + 1028, 51 + 514, 51 + 257, 51 + 129}},
		"under its own":            {4096, []int{10, 0}, []int{10, 1024 + 1531}},
		"over its own, as it says": {4096, []int{3000, 0}, []int{3000, 1024 + 36}},
		"more than there is":       {100, []int{500, 0, 0}, []int{16 + 52, 16, 16}},
		"more apps than places":    {3, []int{0, 0, 0, 0, 0}, []int{2, 1, 0}},
		"many, with a neighbour":   {1 << 16, []int{0, 7}, []int{1<<14 + (1<<16-1<<14-7)/2 + 1, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			m := room{most: tc.most}
			m.arrange(setOfApps(tc.bounds...))
			for i, want := range tc.want {
				if got := m.fill(m.shares[fmt.Sprint("a", i)]); got != want {
					t.Errorf("a%d has %d places, want %d", i, got, want)
				}
			}
		})
	}
}

// Whatever apps come and go, what they are given and what they had: the host's
// bound and the apps' own hold, and an app has its own places at any time. Where
// those were dealt out anew, that waits for the events of before.
func TestRoomHolds(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := room{most: 1 + rnd.IntN(60)}
		var in []*share // of each event in flight
		settled := true
		for range 2000 {
			switch k := rnd.IntN(100); {
			case k == 0 || len(m.shares) == 0:
				bounds := make([]int, 1+rnd.IntN(8))
				for i := range bounds {
					bounds[i] = max(rnd.IntN(40)-20, 0)
				}
				m.arrange(setOfApps(bounds...))
				settled = false
			case k < 60:
				s := m.shares[fmt.Sprint("a", rnd.IntN(8))]
				if s == nil || !s.listed {
					continue
				}
				before := s.inflight
				ok := m.enter(s)
				if ok {
					in = append(in, s)
				}
				if !ok && before < s.own {
					t.Fatalf("seed %d: %+v has no place of its own", seed, s)
				}
				if ok && s.bound > 0 && before >= s.bound {
					t.Fatalf("seed %d: %+v is over its bound", seed, s)
				}
			case len(in) > 0:
				i := rnd.IntN(len(in))
				m.leave(in[i])
				in[i] = in[len(in)-1]
				in = in[:len(in)-1]
			}
			all, taken, own := 0, 0, 0
			for _, s := range m.shares {
				all, taken, own = all+s.inflight, taken+max(s.inflight-s.own, 0), own+s.own
			}
			if all != len(in) || taken != m.taken || own+m.open != m.most || m.open < 0 {
				t.Fatalf("seed %d: %+v holds %d events, there are %d", seed, m, all, len(in))
			}
			settled = settled || m.taken <= m.open
			if settled && (all > m.most || m.taken > m.open) {
				t.Fatalf("seed %d: %d events of %d, %d of the %d open places", seed, all, m.most, m.taken, m.open)
			}
		}
		for _, s := range in {
			m.leave(s)
		}
		m.arrange(setOfApps())
		if len(m.shares) != 0 || m.taken != 0 {
			t.Errorf("seed %d: %+v is left", seed, m)
		}
	}
}
