package gateway

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-dev/weft/runtime/simulator"
)

const (
	testHosts = 8
	testLife  = 2 * time.Hour
)

// eachHost reads a credential on every host every so often for a while, and checks
// that WeChat takes each one that is given out.
func (w *tokenTown) eachHost(kind CredentialKind, every, during time.Duration) {
	var all sync.WaitGroup
	for _, h := range w.hosts {
		all.Go(func() {
			for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(every) {
				c, err := h.app.Get(w.t.Context(), kind)
				if err != nil {
					w.t.Errorf("no credential: %v", err)
					continue
				}
				if _, state := w.wechat.TokenState(c.Value); !state.Works() {
					w.t.Errorf("a token that is %s was given out", state)
				}
			}
		})
	}
	all.Wait()
}

// Of 8 hosts, exactly one fetches for each expiry.
func TestOneFetchPerExpiry(t *testing.T) {
	for _, plain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			config, kind := testApp(), simulator.StableToken
			if config.Plain = plain; plain {
				kind = simulator.PlainToken
			}
			w := newTokenTown(t, testHosts, config, simulator.Rules{})
			begun := time.Now()
			w.eachHost(AccessToken, 31*time.Second, 50*testLife)
			all, fresh := w.executed(kind)
			// A token is renewed 135 to 270 s before its end.
			least, most := int(time.Since(begun)/testLife), int(time.Since(begun)/(testLife-5*time.Minute))+1
			if all != fresh || all < least || all > most {
				t.Errorf("plain %t: %d calls gave %d tokens in %v, want %d to %d", plain, all, fresh, time.Since(begun), least, most)
			}
			t.Logf("plain %t: %d calls, %d tokens", plain, all, fresh)
		})
	}
}

// Where WeChat gives a new token later than is thought, the same one given again
// is no failure: all hosts together ask again later, a few times, and the new one
// is there before the end of the other.
func TestAskedTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTokenTown(t, testHosts, testApp(), simulator.Rules{RenewWindow: time.Minute})
		w.eachHost(AccessToken, 31*time.Second, 10*testLife)
		all, fresh := w.executed(simulator.StableToken)
		if fresh < 10 || fresh > 12 || all > 4*fresh {
			t.Errorf("%d calls gave %d tokens in 10 lives", all, fresh)
		}
		unchanged := uint64(0)
		for _, h := range w.hosts {
			s := h.Stats()[0]
			if unchanged += s.Fetches["unchanged"]; s.Error != "" {
				t.Errorf("it counts as a failure: %s", s.Error)
			}
		}
		if unchanged == 0 || w.calls() != all {
			t.Errorf("%d unchanged of %d calls", unchanged, all)
		}
	})
}
