package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-dev/weft/hostapi"
)

// The cases of dedup.json: an event is a duplicate where no plugin runs.
func TestDedupVectors(t *testing.T) {
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS is not set")
	}
	src, err := os.ReadFile(filepath.Join(dir, "dedup.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			Name       string
			Enabled    *bool
			TTL        int64 `json:"ttl_ms"`
			Keys       []string
			Deliveries []map[string]any
			Duplicate  []bool
			Checks     []struct {
				At        int64 `json:"at_ms"`
				Duplicate bool
			}
		}
	}
	if err := json.Unmarshal(src, &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p := &fake{}
				w.stage("s", p)
				if c.Enabled != nil && !*c.Enabled {
					w.pipe.Dedupe = 0
				}
				if c.TTL > 0 {
					w.pipe.Dedupe = time.Duration(c.TTL) * ms
				}
				w.up()
				defer w.down()
				duplicate := func(id string, skew time.Duration) bool {
					runs := p.runs.Load()
					w.engine.Deliver(t.Context(), Delivery{App: "shop", Event: event(id), Timestamp: w.start, MaxSkew: skew, Arrived: time.Now()})
					return p.runs.Load() == runs
				}
				for i, d := range c.Deliveries {
					if got := duplicate(identity(d), 10*time.Minute); got != c.Duplicate[i] {
						t.Errorf("delivery %d: duplicate %v", i, got)
					}
				}
				for _, check := range c.Checks {
					w.pass(time.Until(w.start.Add(time.Duration(check.At) * ms)))
					for _, key := range c.Keys {
						if got := duplicate(key, w.pipe.Dedupe); got != check.Duplicate {
							t.Errorf("%s at %d ms: duplicate %v", key, check.At, got)
						}
					}
				}
			})
		})
	}
}

// identity stands in for Event.id, which is made in wechat: by MsgId, users and
// time where there is one, else by everything.
func identity(d map[string]any) string {
	parts := make(map[string]any)
	for k, v := range d {
		if k != "query" {
			parts[k] = v
		}
	}
	if id, ok := d["MsgId"]; ok {
		parts = map[string]any{"id": id, "from": d["FromUserName"], "to": d["ToUserName"], "at": d["CreateTime"], "type": d["MsgType"], "event": d["Event"]}
	}
	sum := sha256.Sum256(fmt.Append(nil, parts)) // maps print with sorted keys
	return hex.EncodeToString(sum[:16])
}

// The answer is kept for dedupe, the bare id until timestamp + max_skew; then
// nothing is.
func TestRecordsExpire(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := takes(0, strings.Repeat("x", 1000))
		w.stage("s", p)
		w.up()
		defer w.down()
		l := &w.engine.ledger
		w.deliver("e1")
		w.pass(time.Minute - ms)
		if a := w.deliver("e1"); a.Kind != Replied {
			t.Errorf("before dedupe: %+v", a)
		}
		if l.bytes < 1000+recordOverhead {
			t.Errorf("%d bytes counted", l.bytes)
		}
		w.pass(ms)
		if a := w.deliver("e1"); a.Kind != Success || a.Reply != nil {
			t.Errorf("after dedupe: %+v", a)
		}
		if l.bytes != recordOverhead {
			t.Errorf("%d bytes of a bare id", l.bytes)
		}
		w.pass(9*time.Minute - ms)
		if a := w.deliver("e1"); a.Kind != Success || p.runs.Load() != 1 {
			t.Errorf("before max_skew: %+v", a)
		}
		w.pass(ms)
		w.deliver("e2")
		w.pass(0)
		if l.index["e1"] != nil || l.bytes != recordOverhead+textReply(strings.Repeat("x", 1000)).Size() {
			t.Errorf("%d records, %d bytes", len(l.index), l.bytes)
		}
	})
}

// A record that is due is not used, however many others are due before it.
func TestManyDueAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := &fake{}
		w.stage("s", p)
		w.up()
		defer w.down()
		const n = 1000
		for i := range n {
			w.deliver(fmt.Sprint("e", i))
		}
		w.pass(time.Hour)
		for i := range n {
			w.deliver(fmt.Sprint("e", n-1-i))
		}
		if p.runs.Load() != 2*n {
			t.Errorf("%d runs", p.runs.Load())
		}
		w.pass(time.Hour)
		for i := range n {
			w.deliver(fmt.Sprint("f", i))
		}
		w.pass(0)
		if l := &w.engine.ledger; len(l.index) != n || l.settled.n != n || len(l.due) != n || l.bytes != n*recordOverhead {
			t.Errorf("%d records, %d settled, %d due, %d bytes", len(l.index), l.settled.n, len(l.due), l.bytes)
		}
	})
}

// Over the bounds the oldest goes, counted; one that is being run stays.
func TestRecordsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		big := &hostapi.Reply{Text: &hostapi.Text{Content: strings.Repeat("x", 64<<10)}}
		w.stage("s", &fake{handle: func(ctx context.Context, c *Call) (Result, error) {
			if c.Event.ID == "open" {
				select {
				case <-time.After(4 * time.Second):
				case <-ctx.Done():
				}
				return Result{}, nil
			}
			return Result{Reply: big, ReplySet: true}, nil
		}})
		w.up()
		defer w.down()
		open := w.async(t.Context(), 0, "open")
		w.pass(0)
		const n = maxRecordBytes/(64<<10) + 100
		for i := range n {
			w.deliver(fmt.Sprint("e", i))
		}
		w.pass(0) // the last one settles after its answer
		l := &w.engine.ledger
		if l.bytes > maxRecordBytes || len(l.index) > n || l.index["open"] == nil {
			t.Errorf("%d bytes, %d records", l.bytes, len(l.index))
		}
		evicted := n + 1 - len(l.index)
		if got := w.count("weft_records_evicted_total"); got != evicted || got < 100 {
			t.Errorf("%d evictions counted, %d happened", got, evicted)
		}
		if l.index["e0"] != nil || l.index[fmt.Sprint("e", n-1)] == nil {
			t.Error("not the oldest went")
		}
		<-open
	})
}

// The bound of their number.
func TestRecordCount(t *testing.T) {
	evicted := 0
	l := ledger{evicted: func() { evicted++ }}
	for i := range maxRecords + 10 {
		rec := &record{id: fmt.Sprint(i), state: late, dedupe: time.Minute}
		l.add(rec)
		l.settle(rec)
	}
	if len(l.index) != maxRecords || evicted != 10 || l.index["9"] != nil || l.index["10"] == nil {
		t.Errorf("%d records, %d evicted", len(l.index), evicted)
	}
}
