package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/store"
	"github.com/weft-dev/weft/runtime/store/bolt"
)

// killStages has the ledger put within answer_within and after it, beside the
// answer, and at the second attempt. The app has few places, so that many events
// are over its bound.
const killStages = `  on_error: queue
  stages:
    - { name: note, plugin: ledger, async: true, when: 'content startsWith "note "' }
    - { name: noted, reply: { text: noted }, when: 'content startsWith "note "' }
    - { name: ledger, plugin: ledger, when: '!(content startsWith "note ")' }
`

// killConfig serves the ledger with killStages.
func killConfig() string {
	config := strings.Replace(ledgerConfig, "  on_error: { reply: { text: broken } }\n  stages: [ { plugin: ledger } ]\n", killStages, 1)
	return strings.Replace(config, "mode: encrypted }", "mode: encrypted, limits: { inflight: 8 } }", 1)
}

// TestKillAtRandomMoments kills the host again and again, at random moments of a
// load that leaves events to the durable queue in every way: because they take
// too long, are over a bound, fail, or have an async stage. Each event that was
// answered, by whatever, is processed at least once in the end.
func TestKillAtRandomMoments(t *testing.T) {
	dir := ledgerFolder(t)
	if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(killConfig()), 0o600); err != nil {
		t.Fatal(err)
	}
	rounds := 3
	if os.Getenv("WEFT_BARS") != "" {
		rounds = 50
	}
	serve := []string{weftBinary(t), "serve", "-c", "pipeline.yaml"}
	l := &killLoad{kinds: map[string]string{}}
	for round := range rounds {
		l.run(startHost(t, dir, serve...), round, time.Duration(50+rand.IntN(700))*time.Millisecond)
	}
	last := startHost(t, dir, serve...)
	waitForQueue(t, last)
	if err := last.terminate(); err != nil {
		t.Fatalf("weft serve after SIGTERM: %v, want exit status 0\n%s", err, last.logs)
	}
	s, err := bolt.Open(t.Context(), bolt.Options{Dir: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	l.count(t, s, rounds)
}

// Kinds of events by what they were answered, and why.
const (
	answeredPut   = "answered what they put"
	answeredNoted = "answered, with an async stage left"
	queuedOver    = "acknowledged, over the bound" // now and then one that took too long
	queuedError   = "acknowledged, failed or over the bound"
	queuedLate    = "acknowledged, late or over the bound"
)

// killLoad is what was answered: a key for each event, with what kind it was of.
type killLoad struct {
	mu    sync.Mutex
	kinds map[string]string
	sent  atomic.Int64
}

// run sends events of all kinds, 16 at once, until the host is killed, which is
// so long after the beginning.
func (l *killLoad) run(h *host, round int, after time.Duration) {
	killed := time.AfterFunc(after, h.kill)
	defer killed.Stop()
	var all sync.WaitGroup
	for user := range 16 {
		all.Go(func() {
			for i := 0; ; i++ {
				if err := l.send(h, user, round, i); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	<-h.exited // so that the next host finds the store free
	h.exited <- nil
}

// send sends an event of a user. An error means that nobody answered.
func (l *killLoad) send(h *host, user, round, i int) error {
	verb := []string{"put", "note", "flaky"}[(user+i)%3]
	if (user+i)%50 == 0 {
		verb = "slow"
	}
	key := fmt.Sprintf("%s%d-%d-%d", verb, round, user, i)
	l.sent.Add(1)
	from := fmt.Sprintf("o%d", user)
	if verb == "flaky" { // of no user: else the plugin would be fused
		from = ""
	}
	said, err := h.text(from, fmt.Sprintf("%d%02d%06d", user+1, round, i), verb+" "+key)
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "status "): // not acknowledged
	case err != nil:
		return err
	case said == "": // acknowledged, and left to the queue
		l.note(key, map[string]string{"put": queuedOver, "note": queuedOver, "flaky": queuedError, "slow": queuedLate}[verb])
	case said == "noted":
		l.note(key, answeredNoted)
	default:
		l.note(key, answeredPut)
	}
	return nil
}

func (l *killLoad) note(key, kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kinds[key] = kind
}

// waitForQueue waits until the host has run whatever is in the durable queue.
func waitForQueue(t *testing.T, h *host) {
	t.Helper()
	_, after, _ := strings.Cut(h.logs.String(), `"admin":"`)
	addr, _, _ := strings.Cut(after, `"`)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Minute); ; <-tick.C {
		resp, err := h.client.Get("http://" + addr + "/admin/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		var status struct {
			Queues struct {
				Events struct{ Ready, Delayed, Claimed int }
			}
		}
		err = errors.Join(json.NewDecoder(resp.Body).Decode(&status), resp.Body.Close())
		q := status.Queues.Events
		switch {
		case err != nil:
			t.Fatal(err)
		case q.Ready+q.Delayed+q.Claimed == 0:
			return
		case time.Now().After(deadline):
			t.Fatalf("the queue still has %+v\n%s", q, tail(h.logs.String()))
		}
	}
}

// count reads from the store how often each event was processed, and closes it.
func (l *killLoad) count(t *testing.T, s store.Store, rounds int) {
	t.Helper()
	all, twice := map[string]int{}, map[string]int{}
	for key, kind := range l.kinds {
		all[kind]++
		n, err := s.Get(t.Context(), "state/ledger/shop", "a/"+key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			t.Errorf("%s (%s) was answered before a kill, and never processed", key, kind)
		case err != nil:
			t.Error(err)
		case string(n) != "1":
			twice[kind]++
		}
	}
	depth, err := s.Depth(t.Context(), "events")
	if err := errors.Join(err, s.Close()); err != nil {
		t.Error(err)
	}
	if depth.Dead > 0 {
		t.Errorf("%d dead letters", depth.Dead)
	}
	t.Logf("%d events sent in %d rounds, %d answered", l.sent.Load(), rounds, len(l.kinds))
	for _, kind := range []string{answeredPut, answeredNoted, queuedOver, queuedError, queuedLate} {
		t.Logf("%d %s: %d of them ran more than once", all[kind], kind, twice[kind])
		if all[kind] == 0 && rounds > 10 { // few rounds may have none
			t.Errorf("no event was %s", kind)
		}
	}
}
