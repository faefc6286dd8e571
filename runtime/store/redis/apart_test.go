package redis

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/redis/redistest"
)

// TestSetsOfHostsAreApart: those with another prefix, or another database, know
// nothing of each other.
func TestSetsOfHostsAreApart(t *testing.T) {
	n := redistest.Start(t)
	sets := []*Store{
		openTest(t, Options{Addrs: []string{n.Addr}}),
		openTest(t, Options{Addrs: []string{n.Addr}, DB: 1}),
		openTest(t, Options{Addrs: []string{n.Addr}, Prefix: "weft:t"}),
		openTest(t, Options{Addrs: []string{n.Addr}, Prefix: "weft:t:t"}),
	}
	for i, s := range sets {
		if _, err := s.Get(t.Context(), "b", "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("set %d, Get: %v", i, err)
		}
		if err := set(s, "k"); err != nil {
			t.Error(err)
		}
		if _, err := s.Lock(t.Context(), "l", time.Minute); err != nil {
			t.Errorf("set %d, Lock: %v", i, err)
		}
		if lines, err := s.Lines(t.Context(), "q"); err != nil || len(lines) > 0 {
			t.Errorf("set %d, Lines: %v, %v", i, lines, err)
		}
		_ = claimOne(t, s)
		if _, ok, err := s.Exchange(t.Context(), "k", nil, []byte("v"), time.Minute); err != nil || !ok {
			t.Errorf("set %d, Exchange: %v, %v", i, ok, err)
		}
	}
	var heard []<-chan string
	for _, s := range sets {
		heard = append(heard, hear(t, s))
	}
	for i, s := range sets {
		for _, topic := range []string{"t:t", "t:t:t", "1:t", "t"} { // the last one is listened to
			if err := s.Publish(t.Context(), topic, []byte(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, s := range sets {
		publish(t, s, fmt.Sprint("end of ", i))
	}
	for i := range sets {
		expect(t, heard[i], fmt.Sprint(i))
		expect(t, heard[i], fmt.Sprint("end of ", i))
	}
}
