package gateway

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

// With hosts that die in the middle of a refresh, a store that is away for 20 s of
// each minute in which a token runs out, and a WeChat that is busy, or cuts the
// connection, every third time, no token is given out that WeChat refuses, there is
// one new one for each expiry and never more than two calls that gave one and
// were heard.
func TestOneFetchPerExpiryWithFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, testHosts, testApp(), simulator.Rules{})
		w.wechat.Strike(simulator.Fault{Share: 0.3, Errcode: -1})
		w.wechat.Strike(simulator.Fault{Share: 0.05, Ends: simulator.CutBefore})
		w.wechat.Strike(simulator.Fault{Share: 0.05, Ends: simulator.CutAfter})
		begun := time.Now()
		during := 50 * testLife
		var trouble sync.WaitGroup
		kill := w.killer()
		trouble.Go(func() { w.trouble(begun.Add(during), kill) })
		w.eachHost(AccessToken, 31*time.Second, during)
		trouble.Wait()
		heard := 0
		var tokens, most int
		for _, f := range w.wechat.Fetches(testAppID, simulator.StableToken) {
			if f.New {
				tokens++
				heard = 0
			}
			if f.Executed && f.Outcome == "ok" {
				heard++
			}
			most = max(most, heard)
		}
		if least := int(during / testLife); tokens < least || tokens > least+3 {
			t.Errorf("%d tokens in %v", tokens, during)
		}
		if most > 2 {
			t.Errorf("%d calls gave the same token", most)
		}
		t.Logf("%d tokens, at most %d calls heard for one", tokens, most)
	})
}

// trouble kills a host in the middle of each renewal, and takes the store away for
// 20 s about that time.
func (w *tokenTown) trouble(end time.Time, kill *atomic.Bool) {
	for time.Now().Before(end) {
		time.Sleep(testLife / 50)
		newest := w.hosts[0].app.slots[0].current.Load()
		if newest == nil || time.Until(newest.Expires) > leadMost+testLife/50 {
			continue
		}
		kill.Store(true)
		time.Sleep(time.Until(newest.Expires.Add(-leadMost)) + rand.N(2*time.Minute))
		w.commonStore.down.Store(true)
		time.Sleep(20 * time.Second)
		w.commonStore.back()
	}
	if w.killed < 30 {
		w.t.Errorf("%d hosts were killed in the middle of a refresh", w.killed)
	}
}

// killer lets the next host whose call for a token is executed see nothing of the
// answer, nor of the store, for half a minute, each time that it is set.
func (w *tokenTown) killer() *atomic.Bool {
	var kill atomic.Bool
	for _, h := range w.hosts {
		h.client.after = func() {
			if !kill.CompareAndSwap(true, false) {
				return
			}
			w.killed++ // one at a time
			h.client.dead.Store(true)
			h.view.cut.Store(true)
			time.AfterFunc(30*time.Second, func() {
				h.client.dead.Store(false)
				h.view.cut.Store(false)
			})
		}
	}
	return &kill
}
