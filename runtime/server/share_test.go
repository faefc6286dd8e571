package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weft-dev/weft/runtime/wechat"
)

// What TestNeighbourOverItsShare floods with: the host has places for
// shareInflight events, of which one of two apps gets shareOfOne in a burst.
// Each event takes its plugin's whole timeout, a second, so that the app could do
// shareOfOne a second; it gets 20 times as many.
const (
	shareInflight = 40
	shareOfOne    = 20
	shareFlood    = 20 * shareOfOne // events a second
)

// TestNeighbourOverItsShare: an app that gets 20 times as many events as its
// share is good for, with a plugin that hangs, then with one that spins, is
// hardly felt by its neighbour. In a full run, on a machine that does nothing
// else, the bars of the design hold.
func TestNeighbourOverItsShare(t *testing.T) {
	full := os.Getenv("WEFT_BARS") != ""
	run := neighbourRun{rounds: 1, requests: 50, every: 4 * time.Millisecond}
	if full {
		run.rounds, run.requests = 6, 400
	}
	for what, module := range map[string]string{"hangs": "sleep", "spins": "endless"} {
		t.Run(what, func(t *testing.T) {
			guest := textGuest(t, filepath.Join("..", "sandbox", "testdata", module+".wat"), "")
			var calm, attacked []phase
			for round := range run.rounds {
				// A host for each round: the backlog of one must not be in the next one's calm.
				t.Run(fmt.Sprint("round ", round+1), func(t *testing.T) {
					c, a := newShares(t, run, guest).round(t)
					t.Logf("calm: median %v, 99%% %v; beside a flood: median %v, 99%% %v", c.median, c.p99, a.median, a.p99)
					calm, attacked = append(calm, c), append(attacked, a)
				})
			}
			if full && len(attacked) == run.rounds {
				checkBars(t, calm, attacked)
			}
		})
	}
}

// shares are neighbours of which one floods.
type shares struct {
	neighbours
	flood []request
}

func newShares(t *testing.T, run neighbourRun, guest string) *shares {
	n := &shares{neighbours: neighbours{
		run: run, account: testAccount(t, wechat.Encrypted), client: &http.Client{Transport: &http.Transport{}}, next: counter(),
	}}
	t.Cleanup(n.client.CloseIdleConnections)
	file := writeConfig(t, "apps:\n"+appYAML("good", "encrypted", "pipeline: good\n")+appYAML("flood", "encrypted", "pipeline: flood\n")+fmt.Sprintf(`plugins:
  good: { source: %q, grants: { state: true }, limits: { timeout: 8s } }
  bad: { source: %q, limits: { timeout: 1s, fuel: 1000000000000 } }
pipelines:
  good: { stages: [ { plugin: good } ] }
  flood: { on_error: { reply: { text: sorry } }, stages: [ { plugin: bad } ] }
`, probe(t), guest))
	replaceIn(t, file, "drain: 5s", fmt.Sprintf("drain: 50ms, inflight: %d", shareInflight))
	n.testHost = startHost(t, file)
	seconds := float64(run.requests)*run.every.Seconds() + 2
	for range int(seconds * shareFlood) {
		n.flood = append(n.flood, seal(n.account, n.badMessage(t, "flood"), time.Now()))
	}
	return n
}

// round measures without and with the flood.
func (n *shares) round(t *testing.T) (calm, flooded phase) {
	n.measure(t, nil) // so that all is warm
	calm = n.measure(t, nil)
	end := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { n.send(t, end) })
	n.waitForShare(t)
	flooded = n.measure(t, nil)
	for _, a := range n.engine.Load().Apps {
		if a.App == "flood" && a.Inflight > shareOfOne {
			t.Errorf("%d events of the flood are in flight", a.Inflight)
		}
	}
	over := n.metric(t, "weft_overflow_total")
	if len(over) != 1 || over[`app="flood",what="queued"`] < shareOfOne {
		t.Errorf("over a bound: %v", over)
	}
	close(end)
	all.Wait()
	return calm, flooded
}

// send sends the flood at its rate, whatever becomes of it, until end. It waits
// for the answers.
func (n *shares) send(t *testing.T, end <-chan struct{}) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * shareOfOne}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(time.Second / shareFlood)
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for _, r := range n.flood {
		select {
		case <-tick.C:
		case <-end:
			return
		}
		all.Go(func() {
			resp, err := client.Post(n.url("/wx/flood")+"?"+r.query, "text/xml", bytes.NewReader(r.body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("the flood is answered %d, %v", resp.StatusCode, err)
			}
		})
	}
}

// waitForShare waits until the flood has all that it may have.
func (n *shares) waitForShare(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(n.metric(t, "weft_overflow_total")) == 0 {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the flood never was over its share")
		}
	}
}
