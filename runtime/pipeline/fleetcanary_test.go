package pipeline

import (
	"testing"
	"time"
)

// rolledBackOn waits until a host's canaries of n stages have ended.
func (h *host) rolledBackOn(n int) bool {
	h.pass(ms)
	ended := 0
	for _, c := range h.engine.Canaries() {
		if c.RolledBack != nil {
			ended++
		}
	}
	return ended == n
}

// TestCanaryEndsOnAllHosts: at once where hosts hear of one another, after a while
// where they don't, and without a new try over a restart.
func TestCanaryEndsOnAllHosts(t *testing.T) {
	for name, c := range map[string]struct {
		deaf   bool // b can't listen when it starts
		before func(a, b *host)
		in     time.Duration
	}{
		"told":                         {in: ms},
		"not heard":                    {before: func(a, _ *host) { a.seen.cut(true) }, in: canaryLook},
		"it could not listen at first": {deaf: true, before: func(_, b *host) { b.seen.cut(false); b.pass(2 * time.Second) }, in: ms},
	} {
		t.Run(name, func(t *testing.T) {
			hosts(t, func(w *world, name string) {
				w.fails()
				if name == "b" {
					w.shared.(*seen).cut(c.deaf)
					w.plugins["s-next"] = says("next")
				}
			}, func(t *testing.T, a, b *host) {
				if got := b.send(1); got != "next" {
					t.Fatalf("answered %q", got)
				}
				if c.before != nil {
					c.before(a, b)
				}
				a.send(2)
				b.pass(c.in)
				if !b.rolledBackOn(1) {
					t.Errorf("%+v", b.engine.Canaries())
				}
				if got := b.send(3); got != "old" {
					t.Errorf("answered %q", got)
				}
			})
		})
	}
}

// TestCanariesOfTwoHosts: what two hosts roll back, or forget, at one time is all
// kept.
func TestCanariesOfTwoHosts(t *testing.T) {
	hosts(t, func(w *world, name string) {
		for _, stage := range []string{"a", "b"} {
			p := says("next")
			if stage == name {
				p = failing("trap")
			}
			c := w.canary(stage, says("old"), p, 100_000)
			c.Rollback.MinEvents = 1
		}
	}, func(t *testing.T, a, b *host) {
		both := make(chan string, 2)
		for i, h := range []*host{a, b} {
			go func() { both <- h.send(i) }()
		}
		<-both
		<-both
		if !a.rolledBackOn(2) || !b.rolledBackOn(2) {
			t.Errorf("%+v\n%+v", a.engine.Canaries(), b.engine.Canaries())
		}
		_, rolled, err := a.engine.readRolledBack(t.Context())
		if err != nil || len(rolled) != 2 {
			t.Errorf("the store has %v, %v", rolled, err)
		}
		a.pipe.Stages[0].Canary.Lines = "other lines"
		a.engine.Swap(a.build())
		a.pass(ms)
		if _, rolled, _ = a.engine.readRolledBack(t.Context()); len(rolled) != 1 {
			t.Errorf("the store has %v", rolled)
		}
		if !b.rolledBackOn(2) {
			t.Error("a host that has the lines of before tries them again")
		}
	})
}
