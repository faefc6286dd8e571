package main

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

const fleetHosts = 8

// fleetLife is that of a token where there is no outage: a new one is fetched in
// its last tenth. WeChat tells it in whole seconds.
const fleetLife = 3 * time.Second

// untilTokens returns a context that ends when WeChat was asked for so many tokens.
func (f *fleet) untilTokens(calls int) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Duration(calls+20)*fleetLife)
	go func() {
		defer cancel()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for len(f.wechat.Fetches(testAppID, simulator.StableToken)) < calls {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

// oneFetchEach checks that each call for a token gave a new one, and that there
// were as many expiries as there should.
func (f *fleet) oneFetchEach(expiries int, during time.Duration) {
	f.t.Helper()
	calls := f.wechat.Fetches(testAppID, simulator.StableToken)
	fresh := 0
	for _, c := range calls {
		if c.New {
			fresh++
		}
		if !c.New || c.Forced || c.Outcome != "ok" {
			f.t.Errorf("a call for a token that gave no new one: %+v", c)
		}
	}
	f.t.Logf("%d hosts, %d expiries in %v: %d calls of stable_token gave %d tokens", len(f.hosts), fresh-1, during.Round(time.Second), len(calls), fresh)
	if fresh-1 < expiries {
		f.t.Errorf("%d expiries, want %d", fresh-1, expiries)
	}
}

// Of 8 hosts with one Redis, exactly one fetches for each expiry, and no caller has
// to do with a token that is over.
func TestFleetTokens(t *testing.T) {
	expiries := either(4, 50)
	_, store := oneRedis(t)
	f := newFleet(t, fleetHosts, simulator.Rules{Life: fleetLife}, store)
	l := newFleetLoad(f)
	begun := time.Now()
	ctx, cancel := f.untilTokens(expiries + 1)
	defer cancel()
	l.run(ctx, fleetHosts, 80*time.Millisecond)
	f.oneFetchEach(expiries, time.Since(begun))
	n, _ := l.report()
	if n.failed > 0 || n.unanswered > 0 {
		t.Errorf("%d calls and reads failed", n.failed+n.unanswered)
	}
	l.noneOver(n)
}

// A system that can't go through the gateway reads the token from the hosts, keeps
// it until WeChat refuses it, and names it then: still one fetch for each expiry.
func TestFleetLegacy(t *testing.T) {
	expiries := either(3, 20)
	_, store := oneRedis(t)
	f := newFleet(t, fleetHosts, simulator.Rules{Life: fleetLife}, store)
	l := newFleetLoad(f)
	begun := time.Now()
	ctx, cancel := f.untilTokens(expiries + 1)
	defer cancel()
	var legacy sync.WaitGroup
	legacy.Go(func() { l.keepUntilRefused(ctx) })
	l.run(ctx, fleetHosts, 80*time.Millisecond)
	legacy.Wait()
	f.oneFetchEach(expiries, time.Since(begun))
	n, _ := l.report()
	if n.failed > 0 || n.unanswered > 0 {
		t.Errorf("%d calls and reads failed", n.failed+n.unanswered)
	}
	l.noneOver(n)
}

// keepUntilRefused is the legacy system.
func (l *fleetLoad) keepUntilRefused(ctx context.Context) {
	t := l.fleet.t
	token, err := l.token(0, http.MethodGet, "")
	if err != nil {
		t.Error(err)
	}
	calls, refusals := 0, 0
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for place := 0; ; place++ {
		select {
		case <-ctx.Done():
			if t.Logf("the legacy system made %d calls and had its token refused %d times", calls, refusals); refusals == 0 {
				t.Error("the legacy system's token was never refused")
			}
			return
		case <-tick.C:
		}
		calls++
		status, answer, err := l.send(l.fleet.front.url, http.MethodGet, "/cgi-bin/user/get?access_token="+token, "")
		if err != nil {
			t.Errorf("a direct call: %v", reason(err)) // the error has the token
			continue
		}
		if wechatError(status, answer) == nil {
			continue
		}
		refusals++
		next, err := l.token(place, http.MethodPost, `{"value":"`+token+`"}`)
		if err != nil || next == token {
			t.Errorf("no other token for one that was refused: %v", err)
			continue
		}
		token = next
	}
}
