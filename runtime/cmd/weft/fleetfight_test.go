package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// fightEvery is how often somebody else voids the tokens of the app.
const fightEvery = 400 * time.Millisecond

// What a fleet replaces at most when its tokens are refused: so many that follow
// each other, then one every so often; and with force_refresh one in 30 s.
const (
	healBurst  = 10
	healEvery  = 10 * time.Second
	forceApart = 30 * time.Second
	forceDaily = 20
)

// fight voids the app's tokens until ctx ends.
func fight(ctx context.Context, void func(appID string)) {
	tick := time.NewTicker(fightEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			void(testAppID)
		}
	}
}

// Production, 8 hosts, and a test environment, a host with a store of its own, are
// on one app id, and somebody else fetches tokens for it all the time: calls heal
// with one retry each while there are replacements, and when those are used up
// fetches are bounded all the same.
func TestFleetFight(t *testing.T) {
	_, store := oneRedis(t)
	f := newFleet(t, fleetHosts, simulator.Rules{}, store)
	f.add(t, fleetConfig(f.front.url, "embedded: {}"))
	l := newFleetLoad(f)
	for place := range f.hosts { // a token each, before the fight
		l.read(place)
	}
	first := len(f.wechat.Fetches(testAppID, simulator.StableToken))
	if first > 2 {
		t.Errorf("the two fetched %d tokens", first)
	}

	ctx, cancel := context.WithTimeout(t.Context(), (healBurst-2)*fightEvery)
	defer cancel()
	var outside sync.WaitGroup
	outside.Go(func() { fight(ctx, f.wechat.Invalidate) })
	l.run(ctx, fleetHosts+1, 20*time.Millisecond)
	outside.Wait()
	n, _ := l.report()
	healed := len(f.wechat.Fetches(testAppID, simulator.StableToken)) - first
	t.Logf("%d fetches in %v of fight", healed, (healBurst-2)*fightEvery)
	if n.retried < healBurst-2 {
		t.Errorf("%d calls were sent again, want some", n.retried)
	}
	// A call that takes longer than from one blow to the next may meet two.
	if l.slowest < fightEvery && (n.failed > 0 || n.unanswered > 0 || n.most > 1) {
		t.Errorf("%d of %d calls did not heal with one retry", n.failed+n.unanswered, n.made)
	}
	f.boundedFight(t, l)
}

// boundedFight goes on fighting until the replacements are used up, and then some:
// first with tokens that WeChat refuses while stable_token gives the same one again.
func (f *fleet) boundedFight(t *testing.T, l *fleetLoad) {
	t.Helper()
	begun := time.Now()
	before := len(f.wechat.Fetches(testAppID, simulator.StableToken))
	for _, void := range []func(string){f.wechat.Spoil, f.wechat.Invalidate} {
		ctx, cancel := context.WithTimeout(t.Context(), either(4*time.Second, 90*time.Second))
		var outside sync.WaitGroup
		outside.Go(func() { fight(ctx, void) })
		l.run(ctx, fleetHosts+1, 50*time.Millisecond)
		outside.Wait()
		cancel()
	}
	during := time.Since(begun)
	all := f.wechat.Fetches(testAppID, simulator.StableToken)
	forced := 0
	for _, c := range all {
		if c.Forced {
			forced++
		}
	}
	// A replacement is a normal call, and one with force_refresh where the first
	// brought the token that failed; two fleets each have their own.
	most := 2 * (2*(healBurst+int(during/healEvery)+1) + 1)
	l.report()
	t.Logf("%d fetches in %v of further fight, %d forced in all", len(all)-before, during.Round(time.Second), forced)
	if got := len(all) - before; got > most {
		t.Errorf("%d fetches, want %d at most", got, most)
	}
	if most := min(2*(int(during/forceApart)+1), 2*forceDaily); forced == 0 || forced > most {
		t.Errorf("%d forced, want 1 to %d", forced, most)
	}
}
