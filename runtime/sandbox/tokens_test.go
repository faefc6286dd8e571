package sandbox

import (
	"slices"
	"testing"
	"testing/synctest"
)

// TestTokensOrder: first come first served within a plugin, round robin between
// plugins.
func TestTokensOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tok := newTokens(2)
		var a, b line
		if !tok.take(&a, nil) {
			t.Fatal("the only token is not free")
		}
		var order []string
		wait := func(l *line, name string) {
			turn := make(chan struct{}, 1)
			if tok.take(l, turn) {
				t.Errorf("%s got a token that is held", name)
			}
			go func() {
				<-turn
				order = append(order, name)
				tok.give()
			}()
		}
		for _, w := range []struct {
			line *line
			name string
		}{{&a, "a1"}, {&a, "a2"}, {&a, "a3"}, {&b, "b1"}, {&b, "b2"}} {
			wait(w.line, w.name)
		}
		tok.give()
		synctest.Wait()
		if want := []string{"a1", "b1", "a2", "b2", "a3"}; !slices.Equal(order, want) {
			t.Errorf("served %q, want %q", order, want)
		}
		if tok.free != 1 || len(tok.lines) != 0 {
			t.Errorf("%d free, %d lines", tok.free, len(tok.lines))
		}
	})
}

// TestTokensLeave: who goes away loses no token, and takes none along.
func TestTokensLeave(t *testing.T) {
	tok := newTokens(1)
	var l line
	tok.take(&l, nil)
	first, second := make(chan struct{}, 1), make(chan struct{}, 1)
	tok.take(&l, first)
	tok.take(&l, second)
	if tok.leave(&l, first) {
		t.Error("got a token while it was held")
	}
	tok.give()
	if !tok.leave(&l, second) {
		t.Error("the token that came is lost")
	}
	tok.give()
	if tok.free != 1 || len(tok.lines) != 0 || len(l.waiting) != 0 {
		t.Errorf("%d free, %d lines", tok.free, len(tok.lines))
	}
}

func TestTokensCount(t *testing.T) {
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 2, 64: 63} {
		if got := newTokens(processors).free; got != want {
			t.Errorf("%d tokens for %d processors, want %d", got, processors, want)
		}
	}
}
